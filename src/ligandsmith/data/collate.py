"""list[Complex] -> ComplexBatch: padding, masks, classes; and the sampler that keeps padding small.

The sampler gives every record exactly once per epoch. A global batch is the same set of records for any number of
processes, so that N processes with batch size B/N see what one process with batch size B sees.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
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
SHARDS_TOGETHER = 64  # shards whose blocks are shuffled together in a larger set
ONE_SHARD = np.zeros(1, dtype=np.int64)


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


class RecordOrder:
    """Numbers of records in an order, kept as runs of consecutive ones, so that it takes about a byte per record where
    blocks are shuffled as a whole."""

    def __init__(self, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.begins, self.ends = begins, ends
        self.starts = np.concatenate([[0], np.cumsum(ends - begins)])  # position of the first record of each run

    @classmethod
    def of_range(cls, begin: int, end: int, shards: NDArray[np.int64]) -> "RecordOrder":
        """The records from `begin` to `end` - 1, a run for each block; of many shards, no run lies in two."""
        edges = np.arange(begin // BLOCK + 1, -(-end // BLOCK), dtype=np.int64) * BLOCK
        if len(shards) > SHARDS_TOGETHER:
            edges = np.union1d(edges, shards[(shards > begin) & (shards < end)])
        bounds = np.concatenate([[begin], edges, [end]]) if end > begin else np.zeros(1, dtype=np.int64)
        return cls(bounds[:-1], bounds[1:])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __add__(self, other: "RecordOrder") -> "RecordOrder":
        return RecordOrder(np.concatenate([self.begins, other.begins]), np.concatenate([self.ends, other.ends]))

    def between(self, first: int, last: int) -> "RecordOrder":
        """The records at the positions from `first` to `last` - 1."""
        i, j = np.searchsorted(self.starts, first, "right") - 1, np.searchsorted(self.starts, last, "left")
        begins, ends = self.begins[i:j].copy(), self.ends[i:j].copy()
        if last > first:
            begins[0] += first - self.starts[i]
            ends[-1] -= self.starts[j] - last
        return RecordOrder(begins, ends)

    def numbers(self) -> NDArray[np.int64]:
        """The records one by one."""
        return np.repeat(self.begins - self.starts[:-1], self.ends - self.begins) + np.arange(len(self))

    def shuffled(self, rng: np.random.Generator, shards: NDArray[np.int64]) -> "RecordOrder":
        """In random order; of more than a window only the runs, with their records in order, since drawing each record
        from anywhere would decode a whole block for it. Of many shards, which begin at the records `shards`, some are
        shuffled together, so that a cache of some shards is enough."""
        if len(self) <= WINDOW:
            numbers = rng.permutation(self.numbers())
            return RecordOrder(numbers, numbers + 1)
        order = rng.permutation(len(self.begins))
        if len(shards) > SHARDS_TOGETHER:
            group = rng.permutation(len(shards)) // SHARDS_TOGETHER
            order = order[np.argsort(group[np.searchsorted(shards, self.begins[order], "right") - 1], kind="stable")]
        return RecordOrder(self.begins[order], self.ends[order])


class BucketSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) of one rank, of similar sizes; the order depends on (seed, epoch) only.

    `start` skips batches of the epoch (resuming). A rank left without a record in the last batch gets one whose
    weight is zero (`weights`).
    """

    def __init__(  # noqa: PLR0913 (a batch depends on all of these)
        self, sizes: NDArray[Any], batch_size: int, *, seed: int | None, always: int | None = None,
        extra: int = 0, ranks: tuple[int, int] = (0, 1), shards: NDArray[np.int64] = ONE_SHARD,
    ) -> None:  # fmt: skip
        """`seed=None` keeps one order (validation). The first `always` records (default: all) come in every epoch; of
        the rest, `extra` come, another part each epoch until all have. `ranks` is (rank, number of processes), `shards`
        the first record of each file."""
        self.rank, self.world = ranks
        self.sizes, self.global_batch = np.asarray(sizes), batch_size * self.world
        self.seed, self.shards = seed, shards
        self.always = len(self.sizes) if always is None else always
        self.extra = min(extra, len(self.sizes) - self.always)
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        return math.ceil((self.always + self.extra) / self.global_batch)

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """All global batches of the epoch, in order. They are made as they are taken: a list would grow with the data
        set."""
        g = self.global_batch
        for window, rng in self._windows():
            batches: list[NDArray[np.int64]] = []
            for begin in range(0, len(window), CHUNK * g if rng else len(window)):
                chunk = self._by_size(window[begin : begin + (CHUNK * g if rng else len(window))])
                batches += [chunk[i : i + g] for i in range(0, len(chunk), g)]
            yield from (batches[i] for i in (rng.permutation(len(batches)) if rng else range(len(batches))))

    def _by_size(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        return members[np.argsort(self.sizes[members], kind="stable")]

    def _windows(self) -> Iterator[tuple[NDArray[np.int64], np.random.Generator | None]]:
        """All members, in random order with a seed: at once, or a window of random blocks at a time where there are too
        many to stay in memory; and the generator for what follows."""
        members, rng = self._members(), None if self.seed is None else np.random.default_rng((self.seed, self.epoch))
        order = members if rng is None else members.shuffled(rng, self.shards)
        if len(order) <= WINDOW:
            yield order.numbers(), rng
            return
        size = max(WINDOW // self.global_batch, 1) * self.global_batch
        for number, first in enumerate(range(0, len(order), size)):
            window = order.between(first, min(first + size, len(order))).numbers()
            if self.seed is not None:
                rng = np.random.default_rng((self.seed, self.epoch, number))
                window = rng.permutation(window)
            yield window, rng

    def _members(self) -> RecordOrder:
        """The records of the epoch: those of every epoch and this epoch's part of the rest."""
        always = RecordOrder.of_range(0, self.always, self.shards)
        return always + self._part_of_rest() if self.extra else always

    def _part_of_rest(self) -> RecordOrder:
        rest = RecordOrder.of_range(self.always, len(self.sizes), self.shards)
        rest = rest.shuffled(np.random.default_rng(self.seed or 0), self.shards)
        first = self.epoch * self.extra % len(rest)
        beyond = max(first + self.extra - len(rest), 0)
        return rest.between(first, first + self.extra - beyond) + rest.between(0, beyond)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in islice(self.batches(), self.start, None):
            mine = batch[self.rank :: self.world]
            chosen = mine if len(mine) else batch[:1]
            yield [(self.epoch, int(i)) for i in chosen]

    def weights(self) -> Iterator[tuple[Tensor, int]]:
        """For each batch that `__iter__` gives: the weights of this rank's records, and the size of the global batch.

        The mean over ranks of Σ weight · loss is the mean over the global batch.
        """
        for batch in islice(self.batches(), self.start, None):
            mine, total = len(batch[self.rank :: self.world]), len(batch)
            yield torch.full((max(mine, 1),), self.world / total if mine else 0.0), total
