"""Batches: padding that says nothing, and samplers that lose nothing, for any number of processes."""

import inspect
import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from ligandsmith.batches import collate, collate_pockets
from ligandsmith.config import PocketConfig
from ligandsmith.data.collate import BLOCK, SHARDS_TOGETHER, WINDOW, BucketSampler, FramedDataset
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.shards import ROWS_PER_GROUP, ShardReader
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY

SIZES = np.random.default_rng(0).integers(6, 60, 347)


@pytest.fixture(scope="module")
def records() -> list[Complex]:
    data = ComplexDataset(None, "train")
    return [data[i] for i in range(4)]


def test_a_batch_holds_every_record_and_zeros(records: list[Complex]) -> None:
    records = [*records[:2], replace(records[2], pocket=None)]
    batch = collate(records, VOCABULARY)
    assert batch.pocket is not None
    assert batch.ids == tuple(r.id for r in records)
    for b, record in enumerate(records):
        ligand, n = record.ligand, record.ligand.num_atoms
        assert batch.ligand.mask[b].tolist() == [i < n for i in range(batch.ligand.mask.shape[1])]
        assert np.array_equal(batch.ligand.x[b, :n].numpy(), ligand.x)
        elements = np.array(VOCABULARY.ligand_elements)[batch.ligand.element[b, :n]]
        assert np.array_equal(elements, ligand.element)
        assert np.array_equal(np.array(VOCABULARY.charges)[batch.ligand.charge[b, :n]], ligand.charge)
        assert np.array_equal(batch.ligand.num_h[b, :n].numpy(), ligand.num_h)
        bonds = batch.ligand.bonds[b]
        assert torch.equal(bonds, bonds.t())
        assert int((bonds > 0).sum()) == 2 * len(ligand.bond_type)
        i, j = ligand.bond_index.T.astype(int)
        assert np.array_equal(bonds[i, j].numpy(), ligand.bond_type)
        assert not bonds[n:].any()
        assert not batch.ligand.x[b, n:].any()
        m = 0 if record.pocket is None else record.pocket.num_atoms
        assert int(batch.pocket.mask[b].sum()) == m
        assert not batch.pocket.x[b, m:].any()
        if record.pocket is not None:
            assert np.array_equal(batch.pocket.residue_index[b, :m].numpy(), record.pocket.residue_index)
            assert np.array_equal(batch.pocket.atom_name[b, :m].numpy(), record.pocket.atom_name)


def test_without_any_pocket_there_is_no_pocket_batch(records: list[Complex]) -> None:
    assert collate([replace(r, pocket=None) for r in records], VOCABULARY).pocket is None


def test_stored_latents_come_along_if_every_pocket_has_them(records: list[Complex]) -> None:
    pockets = [r.pocket for r in records[:2]]
    stored = [replace(p, latent=np.full((p.num_atoms, 3), 1.5, np.float16)) for p in pockets if p is not None]
    batch = collate_pockets([stored[0], None, stored[1]], VOCABULARY)
    assert batch is not None
    assert batch.latent is not None
    assert torch.equal(batch.latent, 1.5 * batch.mask.unsqueeze(-1).expand(-1, -1, 3))
    mixed = collate_pockets([stored[0], pockets[1]], VOCABULARY)
    assert mixed is not None
    assert mixed.latent is None


def test_a_framed_record_depends_on_seed_epoch_and_index_only(records: list[Complex]) -> None:
    framed = FramedDataset(records, PocketConfig(), seed=3)
    first = framed[(1, 2)]
    assert np.array_equal(first.ligand.x, framed[(1, 2)].ligand.x)
    assert not np.array_equal(first.ligand.x, framed[(2, 2)].ligand.x)
    assert not np.array_equal(first.ligand.x, FramedDataset(records, PocketConfig(), seed=4)[(1, 2)].ligand.x)
    fixed = FramedDataset(records, PocketConfig(), seed=None)
    assert np.array_equal(fixed[2].ligand.x, fixed[(9, 2)].ligand.x)
    assert len(fixed) == 4


def sampler(epoch: int = 0, seed: int | None = 1, **options: object) -> BucketSampler:
    made = BucketSampler(SIZES, options.pop("batch_size", 12), seed=seed, **options)  # type: ignore[arg-type]
    made.epoch = epoch
    return made


@pytest.mark.parametrize("seed", [1, None])
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_record_comes_once_per_epoch(seed: int | None, epoch: int) -> None:
    chosen = sampler(epoch, seed)
    batches = list(chosen)
    assert len(batches) == len(chosen)
    assert sorted(i for batch in batches for _, i in batch) == list(range(len(SIZES)))
    assert {e for batch in batches for e, _ in batch} == {epoch}


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_same_global_batches(world: int) -> None:
    whole = [[i for _, i in batch] for batch in sampler(2)]
    parts = [list(sampler(2, batch_size=12 // world, ranks=(rank, world))) for rank in range(world)]
    assert {len(part) for part in parts} == {len(whole)}
    for number, batch in enumerate(whole):
        held = Counter(i for part in parts for _, i in part[number])
        assert set(held) == set(batch)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_weights_average_to_the_global_mean(world: int) -> None:
    """Also in a last batch of fewer records than processes."""
    sizes, loss = np.arange(13), torch.arange(13.0) ** 2
    ranks = [BucketSampler(sizes, 12 // world, seed=5, ranks=(rank, world)) for rank in range(world)]
    weights = [part.weights() for part in ranks]
    for number, batch in enumerate(ranks[0].batches()):
        total = 0.0
        for part, own in zip(ranks, weights, strict=True):
            mine, (weight, size) = [i for _, i in list(part)[number]], next(own)
            assert size == len(batch)
            total += float((weight * loss[mine]).sum()) / world
        assert total == pytest.approx(float(loss[batch.tolist()].mean()))


def test_epochs_differ_and_repeat() -> None:
    assert list(sampler(1)) == list(sampler(1))
    assert list(sampler(1)) != list(sampler(2))
    fixed = [[[i for _, i in batch] for batch in sampler(epoch, seed=None)] for epoch in (1, 2)]
    assert fixed[0] == fixed[1]


def test_a_resumed_epoch_goes_on_where_it_stopped() -> None:
    resumed = sampler(1)
    resumed.start = 7
    assert list(resumed) == list(sampler(1))[7:]


def test_batches_are_of_similar_sizes() -> None:
    spread = np.mean([np.ptp(SIZES[[i for _, i in batch]]) for batch in sampler(1)])
    at_random = np.mean([np.ptp(SIZES[part]) for part in np.array_split(np.random.default_rng(0).permutation(347), 29)])
    assert spread < 0.3 * at_random


def test_an_epoch_takes_part_of_the_extra_records_until_all_had_their_turn() -> None:
    always, extra = 100, 60
    seen: Counter[int] = Counter()
    for epoch in range(1, 6):
        members = [i for batch in sampler(epoch, always=always, extra=extra) for _, i in batch]
        assert len(members) == len(set(members)) == always + extra
        assert set(range(always)) < set(members)
        seen.update(i for i in members if i >= always)
    assert set(seen) == set(range(always, len(SIZES)))
    assert max(seen.values()) <= 2


def test_no_more_extra_records_than_there_are() -> None:
    members = [i for batch in sampler(always=300, extra=500) for _, i in batch]
    assert sorted(members) == list(range(len(SIZES)))


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("extra", [0, 150])
def test_a_large_set_is_read_a_window_of_blocks_at_a_time(
    monkeypatch: pytest.MonkeyPatch, world: int, extra: int
) -> None:
    monkeypatch.setattr("ligandsmith.data.collate.BLOCK", 10)
    monkeypatch.setattr("ligandsmith.data.collate.WINDOW", 60)
    sizes = np.random.default_rng(0).integers(5, 50, 1007)
    sampler = BucketSampler(sizes, 4, seed=2, always=1007 - 2 * extra, extra=extra, ranks=(0, world))
    batches = list(sampler.batches())
    assert len(batches) == len(sampler)
    order = np.concatenate(batches)
    assert len(order) == len(set(order.tolist())) == 1007 - extra
    window = 60 // sampler.global_batch * sampler.global_batch
    blocks = [len(set((order[i : i + window] // 10).tolist())) for i in range(0, len(order), window)]
    assert max(blocks) <= 2 * window // 10
    assert np.abs(np.diff(order)).mean() > 50  # the windows themselves are from all over the set
    sampler.epoch = 1
    assert not np.array_equal(np.concatenate(list(sampler.batches())), order)


def test_every_tensor_of_a_batch_is_pinned(records: list[Complex], monkeypatch: pytest.MonkeyPatch) -> None:
    batch = collate(records, VOCABULARY)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
    pinned = batch.pin_memory()
    assert pinned.ids == batch.ids
    for part in ("ligand", "pocket"):
        for name, value in vars(getattr(pinned, part)).items():
            before = getattr(getattr(batch, part), name)
            assert (value is None and before is None) or (value is not before and torch.equal(value, before))


def test_the_order_of_training_fits_the_reader() -> None:
    """Blocks are what a reader decodes at once, and two windows of them fit into what it keeps."""
    kept = inspect.signature(ShardReader).parameters["cached_groups"].default
    assert BLOCK == ROWS_PER_GROUP
    assert kept * ROWS_PER_GROUP >= 2 * WINDOW


def test_an_epoch_takes_a_byte_or_two_for_each_record() -> None:
    sizes = np.full(2_000_000, 20, dtype=np.int32)
    sampler = BucketSampler(sizes, 256, seed=0)
    tracemalloc.start()
    try:
        assert sum(len(batch) for batch in sampler.batches()) == len(sizes)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(sizes)
    finally:
        tracemalloc.stop()


def test_a_large_set_is_read_some_shards_at_a_time() -> None:
    """So that a cache of some shards is enough, in an order that differs from epoch to epoch."""
    rows, count = 1000, 200
    sampler = BucketSampler(np.full(rows * count, 20), 16, seed=0, shards=np.arange(count) * rows)
    orders = []
    for epoch in (1, 2):
        sampler.epoch = epoch
        order = np.concatenate(list(sampler.batches())) // rows
        group = SHARDS_TOGETHER * rows // WINDOW * WINDOW  # a window may reach into the next shards
        assert len(set(order[:group].tolist())) <= SHARDS_TOGETHER
        assert len(set(order[:2000].tolist())) > 20
        orders.append(order)
    assert not np.array_equal(*orders)
