"""From a data set on disk to batches: which records a model trains on, in which order, with which stored latents."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ligandsmith.batches import ComplexBatch
from ligandsmith.config import Config
from ligandsmith.data.collate import BucketSampler, FramedDataset, collate
from ligandsmith.data.crossdocked.reader import CrossDockedDataset
from ligandsmith.data.dataset import KINDS, SPLITS, ComplexDataset, Split, open_dataset, read_splits, shard_paths
from ligandsmith.data.shards import ShardReader
from ligandsmith.data.static_shapes import EvenSampler, collate_to_static_shapes
from ligandsmith.errors import LigandsmithError
from ligandsmith.options import DataOptions
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY, Vocabulary

log = logging.getLogger("ligandsmith")
LISTED = 20  # ids in a warning
Population = Literal["ligands", "pockets", "complexes"]


class Joined:
    """Several data sets in a row, with stored pocket latents laid over their records."""

    def __init__(self, parts: Sequence[Any], latents: dict[str, NDArray[np.float16]] | None = None) -> None:
        self.parts, self.latents = list(parts), latents
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, i: int) -> Complex:
        part = int(np.searchsorted(self.starts, i, side="right")) - 1
        record: Complex = self.parts[part][i - int(self.starts[part])]
        if self.latents is None or record.pocket is None:
            return record
        return replace(record, pocket=replace(record.pocket, latent=self.latents[record.id]))

    def costs(self) -> NDArray[np.int64]:
        """What batches are sorted by: ligand size, then pocket size."""
        pairs = [part.sizes() for part in self.parts]
        return np.concatenate([ligand * 1000 + pocket for ligand, pocket in pairs])


class Selected:
    """Some records of a data set."""

    def __init__(self, base: Any, rows: NDArray[np.int64]) -> None:
        self.base, self.rows = base, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Complex:
        record: Complex = self.base[int(self.rows[i])]
        return record

    def sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of ligand atoms and of pocket atoms of each record."""
        ligand, pocket = self.base.sizes()
        return ligand[self.rows], pocket[self.rows]


def open_records(
    options: DataOptions, split: Split, population: Population, vocabulary: Vocabulary = VOCABULARY
) -> tuple[Joined, int]:
    """The records a population needs, and how many of them come in every epoch."""
    usable = partial(_usable, limit=options.limit, vocabulary=vocabulary)
    if options.data is not None and options.data.suffix == ".lmdb":
        if options.split_file is None:
            raise LigandsmithError(f"{options.data}: an LMDB needs --split_file crossdocked_pocket10_pose_split.pt")
        records = usable(CrossDockedDataset(options.data, options.split_file, split))
        return Joined([records]), len(records)
    kinds = _kinds(options.data, split)
    if population == "ligands" and kinds == {"ligands"}:
        ligands = usable(ComplexDataset(options.data, split, "ligands"))
        return Joined([ligands]), len(ligands)
    complexes = usable(ComplexDataset(options.data, split))
    if population == "pockets" or not options.ligand_only or "ligands" not in kinds:
        return Joined([complexes]), len(complexes)
    ligands = usable(ComplexDataset(options.data, split, "ligands"))
    both = Joined([complexes, ligands])
    return both, len(both) if population == "ligands" else len(complexes)


def _kinds(data: Path | None, split: Split) -> set[str]:
    """The kinds of records that a data set has in a split. Warns of ids of the split that have no record."""
    folder = open_dataset(data)
    ids = set(read_splits(folder).get(split, ()))
    found = {k: ids & set(ShardReader(paths).index()["id"]) for k in KINDS if (paths := shard_paths(folder, k))}
    if absent := sorted(ids.difference(*found.values())):
        listing = ", ".join(absent[:LISTED]) + (", …" if len(absent) > LISTED else "")
        log.warning("%s: %d ids of the split %s have no record: %s", folder / SPLITS, len(absent), split, listing)
    return {kind for kind, there in found.items() if there}


def _usable(records: Any, limit: int, vocabulary: Vocabulary) -> Any:
    """The first `limit` records (0: all) of those whose ligands have elements of the vocabulary only."""
    if set(VOCABULARY.ligand_elements) <= set(vocabulary.ligand_elements):
        return Selected(records, np.arange(min(limit, len(records)))) if limit else records
    rows: list[int] = []
    for i in range(len(records)):
        if limit and len(rows) == limit:
            break
        if np.isin(records[i].ligand.element, vocabulary.ligand_elements).all():
            rows.append(i)
    if not limit and len(rows) < len(records):
        missing = len(records) - len(rows)
        log.info("%d of %d records left out: ligands with elements that this preset lacks", missing, len(records))
    return Selected(records, np.array(rows, dtype=np.int64))


@dataclass(frozen=True)
class Loaders:
    """Training and validation batches with their samplers."""

    train: DataLoader[Complex]
    train_sampler: BucketSampler
    validation: DataLoader[Complex]
    validation_sampler: BucketSampler
    records: Joined


def make_loaders(
    options: DataOptions, population: Population, config: Config, vocabulary: Vocabulary,
    ranks: tuple[int, int] = (0, 1), latents: dict[str, NDArray[np.float16]] | None = None,
) -> Loaders:  # fmt: skip
    """Loaders of one process. To the complexes of an epoch come `ligands_per_complex` times as many ligands alone."""
    train, always = open_records(options, Split.TRAIN, population, vocabulary)
    validation, fixed = open_records(
        replace(options, ligand_only=population == "ligands"), Split.VALIDATION, population
    )
    train.latents = validation.latents = latents
    read = partial(collate, vocabulary=vocabulary)
    extra = min(round(always * options.ligands_per_complex), len(train) - always)
    train_sampler = (EvenSampler if options.static_shapes else BucketSampler)(
        train.costs(), options.batch_size, seed=options.seed, always=always, extra=extra, ranks=ranks
    )
    validation_sampler = BucketSampler(validation.costs(), options.batch_size, seed=None, always=fixed, ranks=ranks)
    framed = partial(FramedDataset, config=config.pocket, surroundings=population == "complexes")
    fragments = config.diffusion.fragment_prob if population == "complexes" and config.denoiser.fragments else 0.0
    return Loaders(
        _loader(
            framed(train, seed=options.seed, fragment_prob=fragments), train_sampler, options,
            partial(collate_to_static_shapes, vocabulary=vocabulary) if options.static_shapes else read,
        ),
        train_sampler,
        _loader(framed(validation, seed=None), validation_sampler, replace(options, num_workers=0), read),
        validation_sampler,
        train,
    )  # fmt: skip


def _loader(
    dataset: FramedDataset, sampler: BucketSampler, options: DataOptions, read: Callable[[list[Complex]], ComplexBatch]
) -> "DataLoader[Complex]":
    # A generator of its own: drawing the workers' seeds from the global one would make a resumed run differ.
    return DataLoader(
        dataset, batch_sampler=sampler, collate_fn=read, num_workers=options.num_workers,
        persistent_workers=options.num_workers > 0, pin_memory=torch.cuda.is_available(), generator=torch.Generator(),
    )  # fmt: skip
