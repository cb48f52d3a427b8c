"""What is sound about a ligand is kept whole, and can be completed again."""

import numpy as np
import pytest
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import AllChem

from ligandsmith.chem.fragment import LEAST_REGROWN, SMALLEST_PIECE, Kept, kept_part
from ligandsmith.config import MAX_FRAGMENT_SHARE
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.structure.ligands import mol_from_ligand

AMIDE = "c1ccccc1CCCC(=O)N1CCOCC1"  # phenyl 0-5, chain 6-10, morpholine 11-16


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return Chem.RemoveHs(mol)


def defective(mol: Chem.Mol, *atoms: int) -> NDArray[np.bool_]:
    return np.isin(np.arange(mol.GetNumAtoms()), atoms)


def kept_of(smiles: str, *atoms: int, always: int = 0) -> Kept:
    kept = kept_part(embedded(smiles), defective(embedded(smiles), *atoms), always)
    assert kept is not None
    return kept


def test_a_ring_with_a_faulty_atom_goes_as_a_whole_and_the_rest_stays_where_it_is() -> None:
    mol = embedded(AMIDE)
    part, order = kept_of(AMIDE, 14)
    n = part.num_atoms
    assert sorted(order.tolist()) == list(range(17))
    assert order[:n].tolist() == list(range(11))
    assert np.array_equal(part.ligand.x, mol.GetConformer().GetPositions()[order[:n]].astype(np.float32))
    assert Chem.MolToSmiles(mol_from_ligand(part.ligand)) == "O=CCCCc1ccccc1"  # a hydrogen where the ring was


def test_both_sides_of_a_faulty_chain_stay() -> None:
    part, _ = kept_of(AMIDE, 6, 7, 8, 9, 10)
    assert Chem.MolToSmiles(mol_from_ligand(part.ligand)) == "C1COCCN1.c1ccccc1"


def test_room_is_made_around_a_small_fault_and_crumbs_go() -> None:
    mol = embedded("c1ccccc1CCCCCCO")
    for seed in range(8):
        kept = kept_part(mol, defective(mol, 10), seed=seed)
        assert kept is not None
        left_out = 13 - kept.part.num_atoms
        assert left_out >= max(LEAST_REGROWN, 13 * (1 - MAX_FRAGMENT_SHARE))
        pieces = Chem.GetMolFrags(mol_from_ligand(kept.part.ligand))
        assert min(map(len, pieces)) >= SMALLEST_PIECE


def test_without_a_known_fault_the_seed_says_where() -> None:
    mol = embedded("CCCCCCCCCCCCCCCC")
    left = [kept_part(mol, defective(mol), seed=seed) for seed in range(6)]
    orders = {tuple(kept.order.tolist()) for kept in left if kept is not None}
    assert len(orders) > 2
    again = kept_part(mol, defective(mol), seed=3)
    assert again is not None
    assert tuple(again.order.tolist()) in orders


@pytest.mark.parametrize("always", [2, 7])
def test_atoms_that_must_stay_come_first_and_stay(always: int) -> None:
    part, order = kept_of(AMIDE, 3, 14, always=always)
    assert order[:always].tolist() == list(range(always))
    assert part.num_atoms >= always


def test_nothing_is_left_of_a_ligand_that_is_one_ring_system() -> None:
    mol = embedded("c1ccc2ccccc2c1")
    assert kept_part(mol, defective(mol, 0)) is None


def test_parts_of_crystal_ligands_are_molecules() -> None:
    data, rng = ComplexDataset(None, "validation"), np.random.default_rng(0)
    looked_at = 0
    for i in range(0, len(data), 3):
        mol = mol_from_ligand(data[i].ligand)
        kept = kept_part(mol, rng.random(mol.GetNumAtoms()) < 0.1, seed=i)
        if kept is not None:
            part, whole = mol_from_ligand(kept.part.ligand), Chem.RenumberAtoms(mol, kept.order.tolist())
            for bond in part.GetBonds():
                same = whole.GetBondBetweenAtoms(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
                assert same.GetBondType() == bond.GetBondType()
            looked_at += 1
    assert looked_at >= 10
