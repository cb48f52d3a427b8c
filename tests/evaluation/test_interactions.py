"""Interactions with the protein: those known of real complexes, and none where there are none."""

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.chem.protein import load_protein
from ligandsmith.chem.residues import residue_molecule
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.evaluation.tools.interactions import InteractionsTool
from ligandsmith.evaluation.tools.runner import Site, run_tool

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"


def site(name: str) -> Site:
    mol = read_sdf(COMPLEXES / name / "ligand.sdf")[0].mol
    assert mol is not None
    return Site(name, load_protein(COMPLEXES / name / "protein.pdb.gz", mol), mol)


def moved(mol: Chem.Mol, shift: tuple[float, float, float]) -> Chem.Mol:
    copy = Chem.Mol(mol)
    copy.GetConformer().SetPositions(mol.GetConformer().GetPositions() + np.array(shift))
    return copy


def pairs(answer: dict[str, object]) -> set[tuple[str, str]]:
    found = answer["interactions"]
    assert isinstance(found, list)
    return {(each["residue"], each["type"]) for each in found}


@pytest.fixture(autouse=True)
def prolif() -> None:
    pytest.importorskip("prolif")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        # Keap1's Kelch domain: arginines 415 and 483, serines 508 and 555, glutamine 530, tyrosines 525 and 572
        ("7off", {("A:ARG483", "HBAcceptor"), ("A:SER508", "HBAcceptor"), ("A:SER555", "HBAcceptor"),
                  ("A:GLN530", "HBAcceptor"), ("A:ARG415", "PiCation"), ("A:TYR572", "PiStacking")}),
        # celecoxib in COX-2: the sulphonamide at arginine 499, rings among leucine 338, phenylalanine 504, valine 509
        ("3ln1", {("C:ARG499", "HBAcceptor"), ("C:LEU338", "Hydrophobic"), ("C:PHE504", "Hydrophobic"),
                  ("C:VAL509", "Hydrophobic")}),
        ("7sza", {("A:ASP183", "HBDonor"), ("A:GLU115", "HBDonor"), ("A:ILE116", "HBAcceptor")}),
    ],
)  # fmt: skip
def test_a_crystal_ligand_has_its_known_interactions(name: str, known: set[tuple[str, str]]) -> None:
    place = site(name)
    assert place.reference is not None
    answer = InteractionsTool().open(place)(place.reference)
    assert known <= pairs(answer)
    assert answer["interaction_recovery"] == 1
    hydrogen_bonds = [kind for _, kind in pairs(answer) if kind in {"HBDonor", "HBAcceptor"}]
    assert answer["hb_donors"] + answer["hb_acceptors"] == len(hydrogen_bonds)
    json.dumps(answer)


def test_the_places_are_those_of_the_atoms() -> None:
    place = site("7sza")
    assert place.reference is not None
    assert place.protein is not None
    answer = InteractionsTool().open(place)(place.reference)
    bond = next(each for each in answer["interactions"] if each["type"] == "HBDonor" and "ASP183" in each["residue"])
    ligand = place.reference.GetConformer().GetPositions()
    assert np.linalg.norm(ligand - bond["ligand_xyz"], axis=1).min() < 0.01
    assert np.linalg.norm(place.protein.x - bond["protein_xyz"], axis=1).min() < 0.01
    assert np.linalg.norm(np.subtract(bond["ligand_xyz"], bond["protein_xyz"])) < 3.5


def test_another_place_recovers_less_and_a_far_one_nothing() -> None:
    place = site("7off")
    assert place.reference is not None
    answer = InteractionsTool().open(place)
    assert answer(moved(place.reference, (2.0, 2.0, 0.0)))["interaction_recovery"] < 0.6
    far = answer(moved(place.reference, (200.0, 0.0, 0.0)))
    assert far["interactions"] == []
    assert (far["interaction_recovery"], far["hydrophobic"]) == (0, 0)
    alone = InteractionsTool().open(replace(place, reference=None))(place.reference)
    assert alone["interaction_recovery"] is None
    assert alone["hb_acceptors"] > 0


def test_a_carboxylate_beside_an_arginine_is_ionic_and_an_acid_is_not() -> None:
    place = site("7off")
    assert place.protein is not None
    arginine = next(
        i for i, residue in enumerate(place.protein.residues) if (residue.name, residue.number) == ("ARG", 483)
    )
    own = place.protein.residue_index == arginine
    places = dict(zip(np.array(place.protein.name)[own], place.protein.x[own], strict=True))
    away = (places["NH2"] - places["CD"]) / np.linalg.norm(places["NH2"] - places["CD"])
    answers = []
    for smiles in ("[O-]C=O", "OC=O"):
        mol = Chem.MolFromSmiles(smiles)
        conformer = Chem.Conformer(3)
        conformer.SetPositions(np.array([places["NH2"] + away * d for d in (2.9, 4.1, 5.3)]))
        mol.AddConformer(conformer)
        answers.append(pairs(InteractionsTool().open(replace(place, reference=None))(mol)))
    assert ("A:ARG483", "Anionic") in answers[0]
    assert ("A:ARG483", "Anionic") not in answers[1]


def test_gaps_missing_atoms_and_metals_do_no_harm(tmp_path: Path) -> None:
    place = site("7off")
    assert place.reference is not None
    text = gzip.decompress((COMPLEXES / "7off/protein.pdb.gz").read_bytes()).decode()
    carbon, oxygen = place.reference.GetSubstructMatch(Chem.MolFromSmarts("[$(C[OH])]=O"))
    ligand = place.reference.GetConformer().GetPositions()
    beyond = ligand[oxygen] + 1.7 * (ligand[oxygen] - ligand[carbon])  # 2.1 Å from the oxygen
    zinc = "HETATM 9999 ZN    ZN B 900    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          ZN\n".format(*beyond)
    lines = [
        line
        for line in text.splitlines(keepends=True)
        if not (line[22:26].strip() == "524" or (line[22:26].strip() == "525" and line[12:16].strip() in {"CB", "OH"}))
    ]
    path = tmp_path / "broken.pdb"
    path.write_text("".join(lines).replace("END\n", "") + zinc + "END\n")
    whole = InteractionsTool().open(place)(place.reference)
    broken = InteractionsTool().open(Site("", load_protein(path)))(place.reference)
    elsewhere = {(residue, kind) for residue, kind in pairs(whole) if "525" not in residue and "524" not in residue}
    assert elsewhere <= pairs(broken)
    assert ("B:ZN900", "MetalAcceptor") in pairs(broken)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ASP", "CNC(=O)[C@H](CC(=O)[O-])NC(C)=O"),
        ("ARG", "CNC(=O)[C@H](CCCNC(N)=[NH2+])NC(C)=O"),
        ("LYS", "CNC(=O)[C@H](CCCC[NH3+])NC(C)=O"),
        ("HIS", "CNC(=O)[C@H](Cc1c[nH]cn1)NC(C)=O"),
    ],
)
def test_residues_are_prepared_as_at_ph_7(name: str, expected: str) -> None:
    protein = site("7sza").protein
    assert protein is not None
    found = [i for i, residue in enumerate(protein.residues) if residue.name == name]
    mols = [residue_molecule(protein, i) for i in found]
    assert expected in [Chem.MolToSmiles(mol) for mol, _ in mols if mol is not None]


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    mol = Chem.MolFromSmiles("C")
    assert run_tool(InteractionsTool(), Site(), [mol]) == "no protein given"
    monkeypatch.setitem(sys.modules, "prolif", None)
    assert InteractionsTool().missing(site("7sza")) == "prolif is not installed: pip install 'ligandsmith[evaluate]'"
