"""list[Complex] -> ComplexBatch: padding, masks, classes; and the sampler that keeps padding small.

The sampler gives every record exactly once per epoch. A global batch is the same set of records for any number of
processes, so that N processes with batch size B/N see what one process with batch size B sees.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from ligandsmith.batches import ComplexBatch, LigandBatch, PocketBatch
from ligandsmith.config import PocketConfig
from ligandsmith.data.fragments import draw_fragment
from ligandsmith.data.properties import PROPERTIES
from ligandsmith.data.transforms import to_frame
from ligandsmith.records import Complex, Ligand, Pocket
from ligandsmith.structure.vocabulary import Vocabulary

NONE = np.zeros(0, np.uint8)
NO_POCKET = Pocket(NONE, NONE, NONE, np.zeros(0, np.int16), np.zeros((0, 3), np.float32))
CHUNK = 32  # global batches whose records are sorted by size together
BLOCK = 64  # consecutive records that a reader decodes together (the row group of a shard)
WINDOW = 16384  # records shuffled together in a larger set; a reader keeps twice as many in memory


def _padded(arrays: Sequence[NDArray[Any]], size: int, dtype: torch.dtype = torch.long) -> Tensor:
    out = torch.zeros((len(arrays), size, *arrays[0].shape[1:]), dtype=dtype)
    rows = out.numpy()  # the same memory: filling rows by torch costs four times as much
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    return out


def _mask(lengths: Sequence[int], size: int) -> Tensor:
    return torch.arange(size).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)


def collate_ligands(ligands: Sequence[Ligand], vocabulary: Vocabulary, size: int = 0) -> LigandBatch:
    """Ligands padded to the largest of the batch, or to `size` atoms if that is more."""
    lengths = [ligand.num_atoms for ligand in ligands]
    size = max(size, *lengths)
    first_charge = {q: i for i, q in enumerate(vocabulary.charges)}
    bonds = torch.zeros(len(ligands), size, size, dtype=torch.long)
    for row, ligand in zip(bonds.numpy(), ligands, strict=True):
        i, j = ligand.bond_index.T
        row[i, j] = row[j, i] = ligand.bond_type
    return LigandBatch(
        x=_padded([m.x for m in ligands], size, torch.float32),
        element=_padded([vocabulary.ligand_element_classes(m.element) for m in ligands], size),
        charge=_padded([np.array([first_charge[q] for q in m.charge.tolist()]) for m in ligands], size),
        aromatic=_padded([m.aromatic for m in ligands], size),
        num_h=_padded([np.minimum(m.num_h, vocabulary.max_hydrogens) for m in ligands], size),
        bonds=bonds,
        mask=_mask(lengths, size),
        fixed=_masks([m.fixed for m in ligands], lengths, False, size),
        properties=_properties(ligands),
    )


def _properties(ligands: Sequence[Ligand]) -> Tensor | None:
    """Properties [B, 3], or None where none is known of any ligand."""
    if all(m.properties is None for m in ligands):
        return None
    unknown = np.full(len(PROPERTIES), np.nan, dtype=np.float32)
    return torch.from_numpy(np.stack([unknown if m.properties is None else m.properties for m in ligands]))


def collate_pockets(pockets: Sequence[Pocket | None], vocabulary: Vocabulary) -> PocketBatch | None:
    """Pockets padded to the largest; a missing one is a row without atoms; None if all are missing."""
    if all(p is None for p in pockets):
        return None
    found = [NO_POCKET if p is None else p for p in pockets]
    lengths = [p.num_atoms for p in found]
    size = max(lengths)
    return PocketBatch(
        x=_padded([p.x for p in found], size, torch.float32),
        element=_padded([vocabulary.pocket_element_classes(p.element) for p in found], size),
        residue=_padded([p.residue for p in found], size),
        atom_name=_padded([p.atom_name for p in found], size),
        residue_index=_padded([p.residue_index for p in found], size),
        mask=_mask(lengths, size),
        latent=_stored_latents(pockets, size),
        kept=_masks([p.kept for p in found], lengths, True, size),
    )


def _masks(masks: Sequence[NDArray[Any] | None], lengths: Sequence[int], default: bool, size: int) -> Tensor | None:
    """Masks [B, size] of the atoms, `default` for a molecule without one; None where none has one."""
    if all(mask is None for mask in masks):
        return None
    every = [np.full(n, default) if mask is None else mask for mask, n in zip(masks, lengths, strict=True)]
    return _padded(every, size).bool()


def _stored_latents(pockets: Sequence[Pocket | None], size: int) -> Tensor | None:
    """Latents of a frozen encoder, if every pocket that is there brings its own."""
    latents = [None if p is None else p.latent for p in pockets]
    found = [latent for latent in latents if latent is not None]
    if len(found) < sum(p is not None for p in pockets):
        return None
    nothing = np.zeros((0, found[0].shape[1]))
    return _padded([nothing if latent is None else latent for latent in latents], size, torch.float32)


def collate(records: Sequence[Complex], vocabulary: Vocabulary) -> ComplexBatch:
    """Records already in their frames -> one batch."""
    return ComplexBatch(
        ligand=collate_ligands([r.ligand for r in records], vocabulary),
        pocket=collate_pockets([r.pocket for r in records], vocabulary),
        ids=tuple(r.id for r in records),
    )


def batch_rows(batch: ComplexBatch, begin: int, end: int) -> ComplexBatch:
    """Molecules `begin` to `end` of a batch, padded to the largest of them."""
    atoms = int(batch.ligand.mask[begin:end].sum(-1).max())
    ligand = _cut(batch.ligand, begin, end, atoms)
    pocket = batch.pocket
    size = 0 if pocket is None else int(pocket.mask[begin:end].sum(-1).max())
    properties = batch.ligand.properties
    return ComplexBatch(
        ligand=replace(
            ligand,
            bonds=ligand.bonds[:, :, :atoms],
            properties=None if properties is None else properties[begin:end],
        ),
        pocket=None if pocket is None or not size else _cut(pocket, begin, end, size),
        ids=batch.ids[begin:end],
    )


def _cut(batch: Any, begin: int, end: int, atoms: int) -> Any:
    tensors = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return replace(batch, **{k: v[begin:end, :atoms] for k, v in tensors.items() if v is not None})


class FramedDataset(torch.utils.data.Dataset[Complex]):
    """A data set whose items are cut and centred, some with a part of the ligand given. In training (with a seed) the
    variation depends on (seed, epoch, index) only."""

    def __init__(
        self, base: Any, config: PocketConfig, seed: int | None, fragment_prob: float = 0.0, *,
        surroundings: bool = False, pocket_latents: Mapping[str, NDArray[np.float16]] | None = None,
    ) -> None:  # fmt: skip
        """`pocket_latents` [M, Z] of a frozen encoder, by record id."""
        self.base, self.config, self.seed, self.fragment_prob = base, config, seed, fragment_prob
        self.surroundings, self.pocket_latents = surroundings, pocket_latents

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, key: tuple[int, int] | int) -> Complex:
        """`key` is an index or (epoch, index): workers live longer than an epoch, so the sampler names it."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        rng = None if self.seed is None else np.random.default_rng((self.seed, epoch, index))
        record = self.base[index]
        if self.pocket_latents is not None and record.pocket is not None:
            record = replace(record, pocket=replace(record.pocket, latent=self.pocket_latents[record.id]))
        # Stored latents know the surroundings already.
        whole = self.surroundings and self.pocket_latents is None
        record = to_frame(record, self.config, rng, surroundings=whole)
        if rng is None or rng.random() >= self.fragment_prob:
            return record
        return replace(record, ligand=replace(record.ligand, fixed=draw_fragment(record.ligand, rng)))


def shuffled(members: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Members in random order; of more than a window only the blocks, with their members in order, since drawing each
    record from anywhere would decode a whole block for it."""
    if len(members) <= WINDOW:
        return rng.permutation(members)
    members = np.sort(members)
    blocks = np.split(members, np.flatnonzero(np.diff(members // BLOCK)) + 1)
    return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])


class BucketSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) of one rank, of similar sizes; the order depends on (seed, epoch) only.

    `start` skips batches of the epoch (resuming). A rank left without a record in the last batch gets one whose
    weight is zero (`weights`).
    """

    def __init__(
        self, sizes: NDArray[Any], batch_size: int, *, seed: int | None, always: int | None = None,
        extra: int = 0, ranks: tuple[int, int] = (0, 1),
    ) -> None:  # fmt: skip
        """`seed=None` keeps one order (validation). The first `always` records (default: all) come in every epoch; of
        the rest, `extra` come, another part each epoch until all have. `ranks` is (rank, number of processes)."""
        self.rank, self.world = ranks
        self.sizes, self.global_batch = np.asarray(sizes), batch_size * self.world
        self.seed = seed
        self.always = len(self.sizes) if always is None else always
        self.extra = min(extra, len(self.sizes) - self.always)
        self.epoch, self.start = 0, 0
        self._plan: tuple[int, list[NDArray[np.int64]]] | None = None

    def __len__(self) -> int:
        return math.ceil((self.always + self.extra) / self.global_batch)

    def batches(self) -> list[NDArray[np.int64]]:
        """All global batches of the epoch, in order."""
        if self._plan is None or self._plan[0] != self.epoch:
            self._plan = (self.epoch, self._draw())
        return self._plan[1]

    def _draw(self) -> list[NDArray[np.int64]]:
        g = self.global_batch
        members = self._members()
        n = len(members)
        if self.seed is None:
            order = self._by_size(members)
            return [order[i : i + g] for i in range(0, n, g)]
        rng = np.random.default_rng((self.seed, self.epoch))
        out: list[NDArray[np.int64]] = []
        for window in self._windows(members, rng):
            batches: list[NDArray[np.int64]] = []
            for begin in range(0, len(window), CHUNK * g):
                chunk = self._by_size(window[begin : begin + CHUNK * g])
                batches += [chunk[i : i + g] for i in range(0, len(chunk), g)]
            out += [batches[i] for i in rng.permutation(len(batches))]
        return out

    def _by_size(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        return members[np.argsort(self.sizes[members], kind="stable")]

    def _windows(self, members: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """All members in random order: at once, or a window of random blocks at a time where there are too many to stay
        in memory."""
        order = shuffled(members, rng)
        if len(members) <= WINDOW:
            return [order]
        size = max(WINDOW // self.global_batch, 1) * self.global_batch
        return [rng.permutation(order[i : i + size]) for i in range(0, len(order), size)]

    def _members(self) -> NDArray[np.int64]:
        """Indices of the epoch: the records of every epoch and this epoch's window of the rest."""
        rest = np.arange(self.always, len(self.sizes))
        if not self.extra:
            return np.arange(self.always)
        rng = np.random.default_rng(self.seed or 0)
        window = (np.arange(self.extra) + self.epoch * self.extra) % len(rest)
        return np.concatenate([np.arange(self.always), shuffled(rest, rng)[window]])

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.batches()[self.start :]:
            mine = batch[self.rank :: self.world]
            chosen = mine if len(mine) else batch[:1]
            yield [(self.epoch, int(i)) for i in chosen]

    def weights(self) -> Iterator[tuple[Tensor, int]]:
        """For each batch that `__iter__` gives: the weights of this rank's records, and the size of the global batch.

        The mean over ranks of Σ weight · loss is the mean over the global batch.
        """
        for batch in self.batches()[self.start :]:
            mine, total = len(batch[self.rank :: self.world]), len(batch)
            yield torch.full((max(mine, 1),), self.world / total if mine else 0.0), total
