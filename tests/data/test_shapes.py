"""Batches in few shapes: the same molecules, every record once, like composition."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ligandsmith.batches import collate
from ligandsmith.config import PocketConfig
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.static_shapes import LIGAND, POCKET, ROWS, EvenSampler, collate_to_static_shapes
from ligandsmith.data.transforms import to_frame
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY


@pytest.fixture(scope="module")
def records() -> list[Complex]:
    data = ComplexDataset(None, "train")
    found = [to_frame(data[i], PocketConfig()) for i in range(4)]
    return [replace(found[0], pocket=None), *found[1:]]


def test_padding_changes_no_molecule(records: list[Complex]) -> None:
    padded = collate_to_static_shapes(records, VOCABULARY)
    plain = collate([*records[1:], records[0]], VOCABULARY)  # with a pocket first
    assert padded.ids == plain.ids
    assert padded.num_with_pocket == ROWS
    n, atoms = plain.ligand.mask.shape
    assert padded.ligand.mask.shape[0] == ROWS
    assert padded.ligand.mask.shape[1] % LIGAND == 0
    for name in ("x", "element", "charge", "num_h", "mask"):
        assert torch.equal(getattr(padded.ligand, name)[:n, :atoms], getattr(plain.ligand, name)), name
    assert torch.equal(padded.ligand.bonds[:n, :atoms, :atoms], plain.ligand.bonds)
    assert padded.ligand.mask[n:].sum(-1).tolist() == [1] * (ROWS - n)
    assert padded.ligand.mask[:n].sum() == plain.ligand.mask.sum()
    assert padded.pocket is not None
    assert plain.pocket is not None
    assert padded.pocket.mask.shape[1] % POCKET == 0
    assert padded.pocket.mask.any(-1).tolist() == [True] * 3 + [False] * (ROWS - 3)
    assert torch.equal(padded.pocket.x[:n, : plain.pocket.mask.shape[1]], plain.pocket.x)
    assert padded.ligand.fixed is not None
    assert not padded.ligand.fixed.any()


def test_every_batch_has_its_part_of_both_kinds() -> None:
    sizes = np.random.default_rng(0).integers(5, 60, 900)
    sampler = EvenSampler(sizes, 25, seed=3, always=100, extra=200)
    for epoch in (1, 2):
        sampler.epoch = epoch
        batches = list(sampler.batches())
        assert len(batches) == len(sampler) == 12
        seen = np.concatenate(batches)
        assert len(seen) == len(set(seen)) == 300
        assert set(range(100)) <= set(seen.tolist())
        counts = [(int((b < 100).sum()), len(b)) for b in batches]
        assert {c for c, _ in counts} <= {8, 9}
        assert {n for _, n in counts} <= {24, 25, 26}
        assert all((np.diff((b >= 100).astype(int)) >= 0).all() for b in batches)  # the first kind first
    first = list(sampler.batches())
    sampler.epoch = 1
    assert any(not np.array_equal(a, b) for a, b in zip(first, sampler.batches(), strict=True))


def test_sizes_within_a_batch_are_alike() -> None:
    sizes = np.random.default_rng(1).integers(5, 60, 600)
    sampler = EvenSampler(sizes, 30, seed=0, always=200, extra=400)
    sampler.epoch = 1
    spread = np.mean([np.std(sizes[b]) for b in sampler.batches()])
    assert spread < 0.4 * sizes.std()
