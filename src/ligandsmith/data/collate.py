"""list[Complex] -> ComplexBatch: padding, masks, classes; and the sampler that keeps padding small.

The sampler gives every record exactly once per epoch. A global batch is the same set of records for any number of
processes, so that N processes with batch size B/N see what one process with batch size B sees.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from ligandsmith.config import PocketConfig
from ligandsmith.data.fragments import draw_fragment
from ligandsmith.data.transforms import to_frame
from ligandsmith.records import Complex

CHUNK = 32  # global batches whose records are sorted by size together
BLOCK = 64  # consecutive records that a reader decodes together (the row group of a shard)
WINDOW = 16384  # records shuffled together in a larger set; a reader keeps twice as many in memory


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
