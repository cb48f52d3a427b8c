"""Parts of ligands that are given in training: pieces between bonds outside of rings."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from ligandsmith.config import MAX_FRAGMENT_SHARE
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.fragments import MOST_CUTS, draw_fragment
from ligandsmith.records import Ligand
from ligandsmith.structure.ligands import ligand_from_mol, mol_from_ligand


def ligand(smiles: str) -> Ligand:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    found = ligand_from_mol(mol, smiles)
    assert isinstance(found, Ligand)
    return found


def test_pieces_end_at_bonds_outside_of_rings() -> None:
    data = ComplexDataset(None, "train")
    rng = np.random.default_rng(0)
    drawn = 0
    for i in range(40):
        mol = mol_from_ligand(data[i].ligand)
        fixed = draw_fragment(data[i].ligand, rng)
        if fixed is None:
            continue
        drawn += 1
        assert 0 < fixed.mean() <= MAX_FRAGMENT_SHARE
        ends = [b for b in mol.GetBonds() if fixed[b.GetBeginAtomIdx()] != fixed[b.GetEndAtomIdx()]]
        assert 1 <= len(ends) <= MOST_CUTS
        assert not any(bond.IsInRing() for bond in ends)
    assert drawn >= 20


def test_growing_and_linking_are_both_drawn() -> None:
    """Of a chain of two rings: one end, and both ends without the middle."""
    rng = np.random.default_rng(0)
    chain = ligand("c1ccccc1CCCCCc1ccccc1")
    drawn = [fixed for fixed in (draw_fragment(chain, rng) for _ in range(200)) if fixed is not None]
    ends = [(bool(fixed[0]), bool(fixed[-1]), bool(fixed[8])) for fixed in drawn]
    assert (True, False, False) in ends
    assert (True, True, False) in ends


def test_nothing_is_given_of_a_ligand_that_is_one_ring() -> None:
    assert draw_fragment(ligand("c1ccc2ccccc2c1"), np.random.default_rng(0)) is None


@pytest.mark.parametrize("seed", range(3))
def test_the_same_draw_gives_the_same_fragment(seed: int) -> None:
    m = ligand("CC(=O)Nc1ccc(O)cc1")
    a, b = (draw_fragment(m, np.random.default_rng(seed)) for _ in range(2))
    assert (a is None and b is None) or np.array_equal(a, b)
