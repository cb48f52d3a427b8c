"""Batches padded to few shapes, for what is prepared once for each shape."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ligandsmith.batches import ComplexBatch, LigandBatch, PocketBatch, collate
from ligandsmith.data.collate import CHUNK, BucketSampler, RecordOrder
from ligandsmith.records import PROPERTIES, Complex
from ligandsmith.structure.vocabulary import Vocabulary

ROWS, LIGAND, POCKET = 16, 4, 80  # records and atoms are padded to multiples of these


class EvenSampler(BucketSampler):
    """Spreads the records of every epoch, which come first, and the others evenly over the batches."""

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """See `BucketSampler`."""
        rng = np.random.default_rng((self.seed or 0, self.epoch))
        orders = [RecordOrder.of_range(0, self.always, self.shards).shuffled(rng, self.shards)]
        others = self._part_of_rest() if self.extra else RecordOrder.of_range(0, 0, self.shards)
        orders.append(others.shuffled(rng, self.shards))
        chunks = math.ceil(len(self) / CHUNK)
        counts, *bounds = (_even_bounds(n, chunks) for n in (len(self), *map(len, orders)))
        for chunk in range(chunks):
            split = [
                np.array_split(
                    self._by_size(order.between(*edges[chunk : chunk + 2]).numbers()), np.diff(counts)[chunk]
                )
                for order, edges in zip(orders, bounds, strict=True)
            ]
            made = [np.concatenate(pair) for pair in zip(*split, strict=True)]
            yield from (made[i] for i in rng.permutation(len(made)))


def _even_bounds(number: int, parts: int) -> list[int]:
    """Where `np.array_split` would divide so many things."""
    size, longer = divmod(number, parts)
    return [i * size + min(i, longer) for i in range(parts + 1)]


def collate_to_static_shapes(records: Sequence[Complex], vocabulary: Vocabulary) -> ComplexBatch:
    """As `collate`, those with a pocket first, and padded further."""
    records = sorted(records, key=lambda record: record.pocket is None)
    num_with_pocket = sum(record.pocket is not None for record in records)
    return pad_to_static_shapes(replace(collate(records, vocabulary), num_with_pocket=num_with_pocket))


def pad_to_static_shapes(batch: ComplexBatch) -> ComplexBatch:
    """Rows and atoms added up to a multiple. A row that only pads is a molecule of one atom without a pocket; `ids` has
    none of them."""
    assert batch.num_with_pocket is not None
    rows, pocket = up(len(batch.ids), ROWS), batch.pocket
    if pocket is not None:
        pocket = PocketBatch(**_all_padded(pocket, (rows, up(pocket.mask.shape[1], POCKET))))
    ligand = _ligands(batch.ligand, rows, up(batch.ligand.mask.shape[1], LIGAND))
    return ComplexBatch(ligand, pocket, batch.ids, up(batch.num_with_pocket, ROWS))


def _ligands(ligand: LigandBatch, rows: int, atoms: int) -> LigandBatch:
    size = len(ligand.mask)
    properties = torch.full((rows, len(PROPERTIES)), torch.nan)
    if ligand.properties is not None:
        properties[:size] = ligand.properties
    if ligand.fixed is None:
        ligand = replace(ligand, fixed=torch.zeros_like(ligand.mask))
    bonds = padded(ligand.bonds, (rows, atoms, atoms))
    out = LigandBatch(**_all_padded(ligand, (rows, atoms)) | {"bonds": bonds, "properties": properties})
    out.mask[size:, 0] = True
    return out


def _all_padded(record: Any, shape: tuple[int, ...]) -> dict[str, Tensor]:
    tensors = {f.name: getattr(record, f.name) for f in fields(record)}
    return {k: padded(v, shape) for k, v in tensors.items() if v is not None and k not in ("bonds", "properties")}


def up(number: int, multiple: int) -> int:
    """The next multiple, or the number itself."""
    return -(-number // multiple) * multiple


def padded(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Zeros behind the first dimensions of `value`, up to `shape`."""
    pad: list[int] = [0, 0] * (value.ndim - len(shape))
    for have, want in zip(reversed(value.shape[: len(shape)]), reversed(shape), strict=True):
        pad += [0, want - have]
    return F.pad(value, pad)
