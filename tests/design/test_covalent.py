"""Warheads are bonded to residues at the geometry of a bond, stay while ligands are grown, and are told in the SDF."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

from ligandsmith.chem.fragment import read_fragment
from ligandsmith.design.constraints import Constraints, Sphere
from ligandsmith.design.covalent import CovalentSite
from ligandsmith.design.warheads import read_warhead, shipped_warheads, unreacted_smiles
from ligandsmith.diffusion.guidance import GrowthPotential
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Pocket
from ligandsmith.structure.ligands import mol_from_ligand
from ligandsmith.structure.pocket import read_pocket

EXAMPLE = Path(__file__).parents[2] / "examples/complexes/7off"


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    """The pocket of 7off, whose SER508 is a cysteine here: the same places."""
    pocket, _ = read_pocket(EXAMPLE / "protein.pdb.gz", EXAMPLE / "ligand.sdf")
    return pocket


@pytest.mark.parametrize("name", [n for n, w in shipped_warheads().items() if "SER" in w.residues])
def test_warheads_are_placed_at_the_geometry_of_a_bond_without_touching_the_pocket(pocket: Pocket, name: str) -> None:
    site = CovalentSite(pocket, "A:SER508", name)
    assert site.placements
    others = np.delete(pocket.x, site.touched, axis=0)
    for placed in site.placements:
        x = placed.fragment.ligand.x
        length, angle = site.length_and_angle(x[site.warhead.bonded])
        assert 1.3 < length < 1.6
        assert 103 < angle < 127
        assert np.linalg.norm(x[:, None] - others[None], axis=-1).min() > 2.1
        assert placed.fragment.grows is not None
        assert set(np.flatnonzero(placed.fragment.grows)) <= set(site.warhead.grows)
        assert site.broken(mol_from_ligand(placed.fragment.ligand)) == []


@pytest.mark.parametrize(
    ("name", "bound", "before"),
    [
        ("acrylamide", "CCC(=O)Nc1ccccc1", "C=CC(=O)Nc1ccccc1"),
        ("butynamide", "C(C)=CC(=O)NC", "CC#CC(=O)NC"),
        ("chloroacetamide", "CC(=O)NC", "CNC(=O)CCl"),
        ("nitrile", "C(=N)Cc1ccccc1", "N#CCc1ccccc1"),
        ("aldehyde", "C(O)CC", "CCC=O"),
        ("boronic_acid", "[BH-](O)(O)CNC", "CNCB(O)O"),
        ("epoxide", "CC(O)CC", "CCC1CO1"),
    ],
)
def test_the_ligand_before_the_reaction_is_known(name: str, bound: str, before: str) -> None:
    mol = Chem.MolFromSmiles(bound)
    assert unreacted_smiles(mol, shipped_warheads()[name]) == Chem.CanonSmiles(before)


def test_every_shipped_warhead_has_both_forms() -> None:
    shipped = shipped_warheads()
    assert len(shipped) == 18
    for warhead in shipped.values():
        assert warhead.unreacted is not None
        numbers = {a.GetAtomMapNum() for a in warhead.unreacted.GetAtoms()} - {0}
        assert numbers == {a.GetAtomMapNum() for a in warhead.adduct.GetAtoms()} - {0}
        assert warhead.grows


def test_the_warhead_of_a_file_has_a_dummy_atom_for_the_residue(tmp_path: Path, pocket: Pocket) -> None:
    path = tmp_path / "warhead.sdf"

    def written(smiles: str) -> str:
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.SetPositions(np.random.default_rng(0).normal(size=(mol.GetNumAtoms(), 3)) * 3)
        mol.AddConformer(conformer)
        path.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
        return str(path)

    site = CovalentSite(pocket, "A:SER508", written("*C(=O)NC"))
    assert site.warhead.name == "warhead"
    assert site.placements[0].fragment.num_atoms == 4
    assert "unreacted_smiles" not in site.notes(mol_from_ligand(site.placements[0].fragment.ligand))
    with pytest.raises(LigandsmithError, match="0 dummy atoms; give one"):
        read_warhead(written("CC(=O)NC"))
    with pytest.raises(LigandsmithError, match="2 dummy atoms; give one"):
        read_warhead(written("*CC(=O)N*"))
    with pytest.raises(LigandsmithError, match="no atom with a hydrogen"):
        read_warhead(written("*C(F)(F)F"))


@pytest.mark.parametrize(
    ("residue", "warhead", "said"),
    [
        ("A:CYS9", "nitrile", "no residue A:CYS9 within reach of the site; there are"),
        ("A:ALA510", "nitrile", "ALA does not react; these do: CYS, SER, THR, LYS, TYR"),
        ("A:SER508", "acrylamide", "acrylamide reacts with CYS, LYS, not SER"),
        ("A:SER508", "warhead", "--warhead warhead: no such file, nor one of acrylamide"),
        ("A:SER431", "nitrile", "no room for nitrile at OG; it is buried, or faces away from the site"),
        ("A:SER508", "", "--covalent names the residue and --warhead what is bonded to it; give both"),
    ],
)
def test_what_cannot_be_is_refused(pocket: Pocket, residue: str, warhead: str, said: str) -> None:
    with pytest.raises(LigandsmithError, match=said):
        Constraints(covalent=residue, warhead=warhead).at(pocket)


def test_a_residue_that_is_bonded_already_and_a_place_that_is_taken_are_refused(pocket: Pocket) -> None:
    oxygen = next(i for i in np.flatnonzero(pocket.residue_index == pocket.labels.index("A:SER:508"))
                  if pocket.element[i] == 8 and pocket.atom_name[i] != pocket.atom_name[3])  # fmt: skip
    x = pocket.x.copy()
    x[0] = x[oxygen] + [2.0, 0, 0]
    with pytest.raises(LigandsmithError, match="its OG is bonded to A:GLY333 already"):
        CovalentSite(replace(pocket, x=x), "A:SER508", "nitrile")
    with pytest.raises(LigandsmithError, match="--exclude leaves no room for the warhead"):
        Constraints(covalent="A:SER508", warhead="nitrile", exclude=(Sphere(*pocket.x[oxygen].tolist(), 5.0),)).at(
            pocket
        )
    placed = Constraints(covalent="A:SER508", warhead="nitrile").at(pocket)
    taken = Chem.MolFromSmiles("CCC")
    conformer = Chem.Conformer(3)
    conformer.SetPositions(pocket.x[oxygen] + np.array([[1, 0, 0], [2.5, 0, 0], [3.5, 1, 0]]))
    taken.AddConformer(conformer)
    with pytest.raises(LigandsmithError, match="the fragment of --fix lies where the warhead has to be"):
        placed.fixed_atoms(read_fragment(taken))
    assert placed.fixed_atoms(None) == 3
    assert len(placed.surroundings(pocket).element) == pocket.num_atoms - 3


def test_a_ligand_that_left_the_residue_or_lies_on_it_is_refused(pocket: Pocket) -> None:
    placed = Constraints(covalent="A:SER508", warhead="nitrile").at(pocket)
    start = placed.start(20, 1, None)
    assert start.kept is start.fragment
    assert start.fragment is not None
    mol = mol_from_ligand(start.fragment.ligand)
    assert placed.violations(mol) == []
    assert placed.notes(mol) == {
        "covalent_residue": "A:SER508:OG", "covalent_atom": "1", "unreacted_smiles": "CC#N",
    }  # fmt: skip
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + 0.5)
    assert [v.reason for v in placed.violations(mol)] == ["no bond to A:SER508"]


def test_new_atoms_are_drawn_to_where_a_fragment_grows() -> None:
    place = torch.tensor([[[0.0, 0, 0], [9, 0, 0], [0, 0, 0], [0, 0, 0]]] * 2)
    x = torch.tensor([[[0.0, 0, 0], [9, 0, 0], [4, 0, 0], [4.5, 0, 0]], [[0, 0, 0], [9, 0, 0], [1.4, 0, 0], [3, 0, 0]]])
    grows, new = torch.tensor([[True, False, False, False]] * 2), torch.tensor([[False, False, True, True]] * 2)
    potential = GrowthPotential(place, grows, new)
    every = torch.ones(2, 4, dtype=torch.bool)
    move = potential.apply(x, every, torch.tensor(1.0), 0.5) - x
    assert move[0, 2, 0] == pytest.approx(-0.5)
    assert -0.45 < move[0, 3, 0] < -0.4
    assert not move[0, :2].any()
    assert not move[1].any()  # the nearest is a bond away
    assert torch.equal(potential.apply(x, every, torch.tensor(1.0), 0.01), x)
    assert torch.equal(GrowthPotential(place, ~every, new).apply(x, every, torch.tensor(1.0), 0.5), x)
