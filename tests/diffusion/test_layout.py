"""Latents of real ligands with their bonds: what stands where, noise, padding."""

import pytest
import torch

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.diffusion.process import Layout, real_pairs
from ligandsmith.structure.vocabulary import BOND_CLASSES, VOCABULARY

LAYOUT = Layout(3, len(BOND_CLASSES))


@pytest.fixture(scope="module")
def batch() -> ComplexBatch:
    data = ComplexDataset(None, "train")
    return collate([data[i] for i in (3, 4, 9)], VOCABULARY)


def test_bonds_stand_behind_the_atoms(batch: ComplexBatch) -> None:
    ligand = batch.ligand
    z = LAYOUT.with_bonds(torch.ones(*ligand.mask.shape, LAYOUT.atom), ligand.bonds, ligand.mask)
    assert z.shape[-1] == LAYOUT.width(ligand.mask.shape[1])
    pairs = ligand.mask.unsqueeze(1) & ligand.mask.unsqueeze(2) & ~torch.eye(ligand.mask.shape[1], dtype=torch.bool)
    assert torch.equal(LAYOUT.bonds(z).argmax(-1), ligand.bonds)
    assert torch.equal(LAYOUT.bonds(z).sum(-1), pairs.float())


def test_the_noise_of_a_bond_is_one_value(batch: ComplexBatch) -> None:
    mask = batch.ligand.mask
    keys = torch.arange(len(mask))
    drawn = LAYOUT.noise(keys, "test", mask)
    bonds = LAYOUT.bonds(drawn)
    assert torch.equal(bonds, bonds.transpose(1, 2))
    assert not bonds[~real_pairs(mask)].any()
    assert float(bonds[bonds != 0].std()) == pytest.approx(1, abs=0.05)
    n = int(mask[0].sum())
    assert torch.equal(LAYOUT.noise(keys[:1], "test", mask[:1, :n])[0], LAYOUT.single(drawn[0], n))


def test_molecules_are_unpadded_and_padded_again(batch: ComplexBatch) -> None:
    mask = batch.ligand.mask
    z = LAYOUT.noise(torch.arange(len(mask)), "test", mask)
    singles = [LAYOUT.single(row, int(n)) for row, n in zip(z, mask.sum(-1), strict=True)]
    assert torch.equal(LAYOUT.stacked(singles, mask.shape[1]), z)


def test_atoms_are_reordered_with_their_bonds(batch: ComplexBatch) -> None:
    ligand = batch.ligand
    n = int(ligand.mask[0].sum())
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    z = LAYOUT.with_bonds(torch.rand(*ligand.mask.shape, LAYOUT.atom), ligand.bonds, ligand.mask)
    other = LAYOUT.reordered(LAYOUT.single(z[0], n), order)
    assert torch.equal(other[:, : LAYOUT.atom], z[0, order, : LAYOUT.atom])
    bonds = LAYOUT.bonds(other.unsqueeze(0)).argmax(-1)[0]
    assert torch.equal(bonds, ligand.bonds[0, :n, :n][order][:, order])
