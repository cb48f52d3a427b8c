"""Proposals: what they keep of their parents lies where it lay, and they have the size that is allowed."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from ligandsmith.chem.fragment import Fragment, read_fragment
from ligandsmith.config import MAX_ATOMS
from ligandsmith.design.moves import FRAGMENT_MOVES, SIMPLE_MOVES, Limits, Parent, Proposal, propose
from ligandsmith.structure.ligands import read_ligand, without_hydrogens

LIGAND = Path(__file__).parents[2] / "examples/complexes/7off/ligand.sdf"
MOVES = (*SIMPLE_MOVES, *FRAGMENT_MOVES)


def shifted(mol: Chem.Mol, by: float) -> Chem.Mol:
    copy = Chem.Mol(mol)
    copy.GetConformer().SetPositions(mol.GetConformer().GetPositions() + np.array([by, 0.0, 0.0]))
    return copy


@pytest.fixture(scope="module")
def parents() -> list[Parent]:
    mol = without_hydrogens(read_ligand(LIGAND))
    return [Parent(4, mol), Parent(9, shifted(mol, 3.0))]


def proposals(move: str, parents: list[Parent], limits: Limits, count: int = 8) -> list[Proposal]:
    made = [propose(move, i, parents, limits, np.random.default_rng(i)) for i in range(count)]
    return [proposal for proposal in made if proposal is not None]


def places(mol: Chem.Mol) -> set[tuple[float, ...]]:
    return {tuple(x) for x in mol.GetConformer().GetPositions().astype(np.float32).tolist()}


@pytest.mark.parametrize("move", MOVES)
def test_a_move_keeps_to_the_sizes_and_what_it_keeps_lies_where_it_lay(move: str, parents: list[Parent]) -> None:
    n = parents[0].mol.GetNumAtoms()
    limits = Limits(n - 4, n + 3)
    made = proposals(move, parents, limits)
    assert made
    known = places(parents[0].mol) | places(parents[1].mol)
    for proposal in made:
        assert limits.low <= proposal.size <= limits.high
        assert proposal.parents == {"fresh": (), "crossover": (4, 9)}.get(move, (4,))
        if proposal.fragment is not None:
            assert proposal.fragment.num_atoms < proposal.size
            assert {tuple(x) for x in proposal.fragment.ligand.x.tolist()} <= known
        if proposal.ligand is not None:
            assert proposal.ligand.num_atoms == proposal.size
            assert {tuple(x) for x in proposal.ligand.x.tolist()} <= known


@pytest.mark.parametrize("move", MOVES)
def test_the_fragment_to_keep_comes_first_in_every_move(move: str, parents: list[Parent]) -> None:
    mol = parents[0].mol
    ring = list(mol.GetRingInfo().AtomRings()[0])
    keep = read_fragment(Chem.Mol(piece(mol, ring)))
    first = Parent(4, Chem.RenumberAtoms(mol, [*ring, *(i for i in range(mol.GetNumAtoms()) if i not in ring)]))
    n = mol.GetNumAtoms()
    made = proposals(move, [first, Parent(9, first.mol)], Limits(n - 4, n + 3, keep))
    for proposal in made:
        assert proposal.fragment is not None
        assert np.array_equal(proposal.fragment.ligand.x[: len(ring)], keep.ligand.x)
    assert made or move == "crossover"


def piece(mol: Chem.Mol, atoms: list[int]) -> Chem.Mol:
    """These atoms of a molecule, in this order, with hydrogens at the cuts."""
    copy = Chem.RWMol(Chem.RenumberAtoms(mol, [*atoms, *(i for i in range(mol.GetNumAtoms()) if i not in atoms)]))
    for i in range(mol.GetNumAtoms() - 1, len(atoms) - 1, -1):
        copy.RemoveAtom(i)
    Chem.SanitizeMol(copy)
    return copy.GetMol()


def test_what_a_parent_does_not_allow_is_no_proposal() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("c1ccccc1"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    benzene = Parent(0, Chem.RemoveHs(mol))
    limits = Limits(5, 8)
    assert proposals("hop", [benzene], limits) == []  # nothing but a scaffold
    assert proposals("shrink", [benzene], limits) == []
    assert proposals("crossover", [benzene], limits) == []
    assert proposals("noise 0.3", [benzene], Limits(7, 8)) == []  # too small a parent


def test_limits() -> None:
    assert Limits(10, 20).size(30) == 20
    assert Limits(10, 20).size(5) == 10
    assert Limits(10, 20).size(5, least=15) == 15
    assert Limits(10, 20).size(5, least=21) is None
    assert Limits(10, 200).size(150) == MAX_ATOMS


def test_closed_atoms_of_the_kept_fragment_stay_closed(parents: list[Parent]) -> None:
    mol = parents[0].mol
    ring = list(mol.GetRingInfo().AtomRings()[0])
    plain = read_fragment(piece(mol, ring))
    grows = np.zeros(len(ring), np.bool_)
    grows[1] = True
    first = Parent(4, Chem.RenumberAtoms(mol, [*ring, *(i for i in range(mol.GetNumAtoms()) if i not in ring)]))
    n = mol.GetNumAtoms()
    for proposal in proposals("grow", [first], Limits(n, n + 3, Fragment(plain.ligand, grows))):
        assert proposal.fragment is not None
        assert proposal.fragment.grows is not None
        assert proposal.fragment.grows[: len(ring)].tolist() == grows.tolist()
