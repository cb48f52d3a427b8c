"""Vina on crystal complexes, on molecules it cannot take, and without what it needs."""

import gzip
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolAlign

from ligandsmith.chem.protein import ProteinView, load_protein
from ligandsmith.chem.receptor import atom_types, receptor_pdbqt
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.evaluation.tools.runner import Site, run_tool
from ligandsmith.evaluation.tools.toolbox import make_tools
from ligandsmith.evaluation.tools.vina import VinaTool, receptor_key, site_box
from ligandsmith.structure.protein import Residue
from ligandsmith.structure.vocabulary import Kind

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"

needs_vina = pytest.mark.skipif(
    importlib.util.find_spec("vina") is None or importlib.util.find_spec("meeko") is None, reason="no vina or meeko"
)


def complex_site(name: str) -> Site:
    mol = read_sdf(COMPLEXES / name / "ligand.sdf")[0].mol
    return Site(name, load_protein(COMPLEXES / name / "protein.pdb.gz", mol), mol)


@pytest.fixture(scope="module")
def site() -> Site:
    return complex_site("7sza")


@pytest.fixture(scope="module")
def answer(site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
    return VinaTool().open(site)


def ligand_of(site: Site) -> Chem.Mol:
    assert site.reference is not None
    return Chem.Mol(site.reference)


def protein_of(site: Site) -> ProteinView:
    assert site.protein is not None
    return site.protein


def moved(mol: Chem.Mol, shift: np.ndarray) -> Chem.Mol:
    copy = Chem.Mol(mol)
    copy.GetConformer().SetPositions(mol.GetConformer().GetPositions() + shift)
    return copy


def placed(smiles: str, center: np.ndarray) -> Chem.Mol:
    """A heavy-atom molecule with its centre at a place."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    mol = Chem.RemoveHs(mol)
    return moved(mol, center - mol.GetConformer().GetPositions().mean(0))


def center_of(site: Site) -> np.ndarray:
    return np.asarray(ligand_of(site).GetConformer().GetPositions().mean(0))


@needs_vina
@pytest.mark.parametrize("name", ["7off", "3ln1", "7sza"])
def test_a_crystal_pose_scores_well_and_its_minimum_is_near_and_no_worse(name: str) -> None:
    site = complex_site(name)
    mol = ligand_of(site)
    x = mol.GetConformer().GetPositions()
    nearest = protein_of(site).x[np.argsort(np.linalg.norm(protein_of(site).x - x.mean(0), axis=1))[0]]
    into = 3.0 * (nearest - x.mean(0)) / np.linalg.norm(nearest - x.mean(0))
    answer = VinaTool().open(site)
    crystal, pushed = answer(mol), answer(moved(mol, into))
    assert crystal["vina_score"] < -6
    assert crystal["vina_score"] < pushed["vina_score"] - 2
    assert crystal["vina_min"] <= crystal["vina_score"]
    assert pushed["vina_min"] < pushed["vina_score"]
    assert crystal.keys() == {"vina_score", "vina_min", "min_pose"}
    pose = Chem.MolFromMolBlock(crystal["min_pose"])
    assert Chem.MolToSmiles(pose) == Chem.MolToSmiles(mol)
    assert 0.01 < rdMolAlign.CalcRMS(pose, Chem.Mol(mol)) < 1.0


@needs_vina
def test_docking_depends_on_the_seed_and_not_on_the_order_or_the_process(site: Site) -> None:
    tool = VinaTool(modes=("score", "dock"), exhaustiveness=1)
    mols = [placed("Oc1ccccc1", center_of(site)), placed("NCc1ccncc1", center_of(site))]
    forwards, backwards = run_tool(tool, site, mols), run_tool(tool, site, mols[::-1], workers=2)
    assert isinstance(forwards, list)
    assert isinstance(backwards, list)
    assert forwards == backwards[::-1]
    for mol, answer in zip(mols, forwards, strict=True):
        assert isinstance(answer, dict)
        assert answer.keys() == {"vina_score", "vina_dock", "dock_rmsd", "dock_pose"}
        assert answer["vina_dock"] < -3
        pose = Chem.MolFromMolBlock(answer["dock_pose"])
        assert rdMolAlign.CalcRMS(pose, Chem.Mol(mol)) == pytest.approx(answer["dock_rmsd"], abs=1e-3)
    other = run_tool(replace(tool, seed=1), site, mols[:1])
    assert isinstance(other[0], dict)
    assert other[0]["dock_pose"] != forwards[0]["dock_pose"]  # type: ignore[index]


@needs_vina
def test_docking_finds_a_pose_again_that_was_taken_out_of_the_pocket(site: Site) -> None:
    answer = VinaTool(modes=("score", "dock"), exhaustiveness=1).open(site)(moved(ligand_of(site), np.full(3, 30.0)))
    assert answer["vina_dock"] < -8
    assert answer["vina_dock"] < answer["vina_score"]
    assert answer["dock_rmsd"] > 30


@needs_vina
def test_a_molecule_outside_the_box_is_scored_as_it_would_be_inside(
    site: Site, answer: Callable[[Chem.Mol], dict[str, Any]]
) -> None:
    mol = ligand_of(site)
    away = replace(site, reference=moved(mol, np.array([60.0, 0.0, 0.0])))
    inside, outside = answer(mol), VinaTool().open(away)(mol)
    assert outside["vina_score"] == pytest.approx(inside["vina_score"], abs=1e-3)
    assert outside["vina_min"] == pytest.approx(inside["vina_min"], abs=0.05)


@needs_vina
def test_molecules_outside_the_box_may_differ_in_their_atom_types(site: Site) -> None:
    away = replace(site, reference=moved(ligand_of(site), np.array([60.0, 0.0, 0.0])))
    mols = [placed(smiles, center_of(site)) for smiles in ("c1ccccc1", "COC", "CCl")]
    answers = run_tool(VinaTool(), away, mols)
    assert answers == [run_tool(VinaTool(), away, [mol])[0] for mol in mols]
    assert all(isinstance(answer, dict) for answer in answers)


@needs_vina
def test_the_answer_does_not_depend_on_what_was_answered_before(
    site: Site, answer: Callable[[Chem.Mol], dict[str, Any]]
) -> None:
    mol = ligand_of(site)
    first = answer(mol)
    answer(placed("CCO", center_of(site)))
    answer(moved(mol, np.full(3, 50.0)))
    assert answer(mol) == first


@needs_vina
@pytest.mark.parametrize(
    ("smiles", "reason"),
    [("OB(O)c1ccccc1", "vina: no atom type for B"), ("[O-]C(=O)C.C[NH3+]", "vina: several fragments")],
)
def test_molecules_that_vina_cannot_take_are_failures(smiles: str, reason: str, site: Site) -> None:
    answers = run_tool(VinaTool(), site, [placed(smiles, center_of(site)), placed("CCO", center_of(site))])
    assert answers[0] == reason
    assert isinstance(answers[1], dict)


@needs_vina
@pytest.mark.parametrize("smiles", ["C[Si](C)(C)O", "OC1CCCCCCCCCCC1", "CP(=O)(O)O", "FC(Cl)(Br)CI", "CS(=O)C", "C"])
def test_rare_elements_macrocycles_and_single_atoms_are_scored(
    smiles: str, site: Site, answer: Callable[[Chem.Mol], dict[str, Any]]
) -> None:
    assert answer(placed(smiles, center_of(site)))["min_pose"]


def test_what_is_missing_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    if not VinaTool().missing(site):
        assert VinaTool().missing(Site()) == "no protein given"
        assert VinaTool(modes=("scor",)).missing(site) == "vina: no mode 'scor'; choose from: score, minimise, dock"
    else:
        monkeypatch.setitem(sys.modules, "vina", ModuleType("vina"))
    for absent in ("vina", "meeko"):
        cause = f"{absent} is not installed: pip install 'ligandsmith[evaluate]'"
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, absent, None)
            assert VinaTool().missing(site) == cause
            assert run_tool(VinaTool(), site, [ligand_of(site)]) == cause
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    monkeypatch.setitem(sys.modules, "vina", None)
    no_wheels = "vina is not installed: it has wheels only for Python 3.11 and 3.12 on Linux (x86-64)"
    assert VinaTool().missing(site) == no_wheels


@needs_vina
def test_a_second_run_computes_nothing(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tool,) = make_tools({"vina": {"modes": ["score"]}}, tmp_path)
    first = run_tool(tool, site, [ligand_of(site), None], tmp_path)
    receptors = list((tmp_path / "receptors").iterdir())
    assert [path.name for path in receptors] == [f"{receptor_key(protein_of(site))}.pdbqt"]

    def forbidden(self: VinaTool, site: Site) -> None:
        raise AssertionError("opened again")

    monkeypatch.setattr(VinaTool, "open", forbidden)
    assert run_tool(tool, site, [ligand_of(site), None], tmp_path) == first
    assert first[1] is None


def test_settings_are_what_changes_the_answers(tmp_path: Path) -> None:
    pytest.importorskip("vina")
    pytest.importorskip("meeko")
    plain = VinaTool().settings()
    assert VinaTool(cache=tmp_path, seconds=1.0, modes=("minimise", "score"), seed=3).settings() == plain
    assert VinaTool(modes=("score",)).settings() != plain
    docking = VinaTool(modes=("dock",))
    assert replace(docking, seed=1).settings() != docking.settings()
    assert replace(docking, exhaustiveness=1).settings() != docking.settings()


def test_the_box_holds_the_reference_with_a_margin(site: Site) -> None:
    center, size = site_box(site)
    x = ligand_of(site).GetConformer().GetPositions()
    assert (np.abs(x - center) <= size / 2 - 5.0 + 1e-9).all()
    assert (size >= 22.5).all()
    center, size = site_box(replace(site, reference=None))
    assert (size <= 45.0).all()
    assert np.allclose(center, (protein_of(site).x.min(0) + protein_of(site).x.max(0)) / 2)


def little_protein(atoms: list[tuple[str, str, int, tuple[float, float, float]]]) -> ProteinView:
    """Atoms (residue, name, element, place), a residue for each run of the same residue name."""
    names: list[str] = []
    for residue, *_ in atoms:
        if not names or names[-1] != residue:
            names.append(residue)
    index = [names.index(residue) for residue, *_ in atoms]
    residues = tuple(Residue("A", k + 1, "", n, Kind.POLYMER) for k, n in enumerate(names))
    return ProteinView(
        path="", residues=residues, residue_index=np.array(index),
        name=tuple(a[1] for a in atoms), element=np.array([a[2] for a in atoms]), x=np.array([a[3] for a in atoms]),
    )  # fmt: skip


def test_standard_residues_have_the_types_and_hydrogens_of_their_atoms(site: Site) -> None:
    protein = protein_of(site)
    types, donor = atom_types(protein)
    found = {
        (protein.residues[r].name, name): (kind, gives)
        for r, name, kind, gives in zip(protein.residue_index, protein.name, types, donor, strict=True)
    }
    assert found["LYS", "NZ"] == ("N", True)
    assert found["ASP", "OD1"] == ("OA", False)
    assert found["SER", "OG"] == ("OA", True)
    assert found["TYR", "CZ"] == ("A", False)
    assert found["TYR", "OH"] == ("OA", True)
    assert found["PRO", "N"] == ("N", False)
    assert found["GLY", "N"] == ("N", True)
    assert found["GLY", "O"] == ("OA", False)
    lines = receptor_pdbqt(protein).splitlines()
    assert len(lines) == len(types) + sum(donor)
    hydrogens = np.array(
        [[float(row[30:38]), float(row[38:46]), float(row[46:54])] for row in lines if row[77:] == "HD"]
    )
    owners = protein.x[np.array(donor)]
    assert np.allclose(np.linalg.norm(hydrogens - owners, axis=1), 1.0, atol=0.05)


def test_a_histidine_turns_its_lone_pair_to_a_metal_and_its_hydrogen_to_an_acceptor() -> None:
    ring = [
        ("HIS", "CB", 6, (-1.5, 0.0, 0.0)), ("HIS", "CG", 6, (0.0, 0.0, 0.0)), ("HIS", "ND1", 7, (0.8, 1.1, 0.0)),
        ("HIS", "CD2", 6, (0.8, -1.1, 0.0)), ("HIS", "CE1", 6, (2.1, 0.7, 0.0)), ("HIS", "NE2", 7, (2.1, -0.7, 0.0)),
    ]  # fmt: skip
    for extra, hydrogen in (
        ([], "NE2"),
        ([("ZN", "ZN", 30, (3.5, -2.2, 0.0))], "ND1"),
        ([("ASP", "OD1", 8, (0.3, 3.8, 0.0))], "ND1"),
        ([("LYS", "NZ", 7, (0.3, 3.8, 0.0))], "NE2"),
    ):
        protein = little_protein(ring + extra)
        types, donor = atom_types(protein)
        assert [n for n, gives in zip(protein.name, donor, strict=True) if gives and n != "NZ"] == [hydrogen]
        assert types[protein.name.index(hydrogen)] == "N"
        assert types[protein.name.index("ND1" if hydrogen == "NE2" else "NE2")] == "NA"


def test_cofactors_metals_and_modified_residues_are_typed_by_element_and_distance(tmp_path: Path) -> None:
    protein = little_protein([
        ("LIG", "C1", 6, (0.0, 0.0, 0.0)), ("LIG", "O1", 8, (1.43, 0.0, 0.0)), ("LIG", "O2", 8, (-1.21, 0.0, 0.0)),
        ("LIG", "N1", 7, (0.0, 1.34, 0.0)), ("LIG", "C2", 6, (0.0, 2.68, 0.0)), ("LIG", "N2", 7, (0.0, 4.15, 0.0)),
        ("MSE", "SE", 34, (10.0, 0.0, 0.0)), ("MG", "MG", 12, (20.0, 0.0, 0.0)), ("SR", "SR", 38, (30.0, 0.0, 0.0)),
        ("CU", "CU", 29, (40.0, 0.0, 0.0)),
    ])  # fmt: skip
    types, donor = atom_types(protein)
    assert types == ["C", "OA", "OA", "NA", "C", "N", "SA", "Mg", "Zn", "Zn"]
    assert donor == [False, True, False, False, False, True, False, False, False, False]
    vina = pytest.importorskip("vina")
    (tmp_path / "receptor.pdbqt").write_text(receptor_pdbqt(protein))
    vina.Vina(cpu=1, verbosity=0).set_receptor(str(tmp_path / "receptor.pdbqt"))


def test_copies_of_a_chain_with_the_same_name_are_all_in_the_receptor(tmp_path: Path) -> None:
    text = gzip.decompress((COMPLEXES / "7sza/protein.pdb.gz").read_bytes()).decode()
    lines = [line for line in text.splitlines() if line.startswith("ATOM")]
    shifted = [f"{line[:30]}{float(line[30:38]) + 60.0:8.3f}{line[38:]}" for line in lines]
    (tmp_path / "dimer.pdb").write_text("\n".join([*lines, *shifted, "END\n"]))
    one, two = load_protein(COMPLEXES / "7sza/protein.pdb.gz"), load_protein(tmp_path / "dimer.pdb")
    assert len(two.residues) == 2 * len(one.residues)
    assert len(two.x) == 2 * len(one.x)
    assert sum(atom_types(two)[1]) == 2 * sum(atom_types(one)[1])
