"""Projects, dropped files and sites: what a user gives is checked, kept under names of our own, and never lost."""

import gzip
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from studio_client import EXAMPLES, ROOT, Opened, refused, studio_in

from ligandsmith.structure.ligands import heavy_positions, read_ligand

HOSTILE = [
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "'; DROP TABLE jobs; --",
    "a\x00b",
    "CON",
    "\u202egnp",
    "💊" * 30,
]
PROTEIN = EXAMPLES / "7sza" / "protein.pdb.gz"
LIGAND = EXAMPLES / "7sza" / "ligand.sdf"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with studio_in(tmp_path_factory.mktemp("projects")) as found:
        yield found


def drop(opened: Opened, project: str, *files: tuple[str, bytes]) -> Any:
    """Files dropped on the page of a project."""
    return opened.client.post(f"{project}/structures", files=[("file", file) for file in files])


def root(opened: Opened) -> Path:
    return opened.studio.projects.root


def test_the_shipped_examples_are_those_of_the_repository() -> None:
    for path in EXAMPLES.glob("*/*"):
        shipped = ROOT / "src/ligandsmith/studio/examples" / path.relative_to(EXAMPLES)
        assert shipped.read_bytes() == path.read_bytes()


def test_an_example_is_ready_for_a_job(opened: Opened) -> None:
    content = opened.client.get(opened.project("7off")).json()
    assert content["title"] == "7OFF, KEAP1"
    assert content["protein"]["chains"] == [{"name": "A", "residues": 291}]
    assert content["reference"]["heavy_atoms"] == 27
    assert content["site"] == {"ligand": True}
    assert content["jobs"] == []


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_is_text_and_never_a_path(opened: Opened, title: str) -> None:
    before = {path.name for path in root(opened).parent.iterdir()}
    content = opened.client.post("/api/projects", json={"title": title}).json()
    assert content["title"] == " ".join(title.split())
    folder = root(opened) / content["id"]
    assert folder.parent == root(opened)
    assert (folder / "project.json").is_file()
    assert content["id"].replace("-", "").isalnum()
    assert content["id"].isascii()
    assert {path.name for path in root(opened).parent.iterdir()} == before


def test_projects_of_one_title_are_told_apart(opened: Opened) -> None:
    ids = [opened.client.post("/api/projects", json={"title": "Same"}).json()["id"] for _ in range(3)]
    assert ids == ["same", "same-2", "same-3"]


@pytest.mark.parametrize("id", ["..", ".trash", "%2e%2e", "none", "a/b", "A", "-", "studio.sqlite"])
def test_an_id_leads_nowhere_else(opened: Opened, id: str) -> None:
    assert opened.client.get(f"/api/projects/{id}").status_code == 404
    assert opened.client.delete(f"/api/projects/{id}").status_code in (404, 405)


def test_a_removed_project_is_in_the_trash(opened: Opened) -> None:
    project = opened.project(title="To remove")
    assert opened.client.delete(project).status_code == 200
    refused(opened.client.get(project), 404, "no such project")
    (kept,) = (root(opened) / ".trash").glob("to-remove.*")
    assert (kept / "protein.pdb.gz").is_file()
    assert all(each["id"] != "to-remove" for each in opened.client.get("/api/projects").json())


def test_a_strangers_project_file_names_no_file_elsewhere(opened: Opened) -> None:
    folder = root(opened) / "foreign"
    folder.mkdir()
    (folder / "project.json").write_text(json.dumps({"title": "x", "protein": "../../secret.pdb"}))
    refused(opened.client.get("/api/projects/foreign"), 404)
    assert opened.client.get("/api/projects").status_code == 200


def test_a_protein_and_a_ligand_are_told_apart_by_content(opened: Opened) -> None:
    project = opened.project("")
    answer = drop(opened, project, ("ligand.pdb", LIGAND.read_bytes()), ("protein.txt", PROTEIN.read_bytes()))
    content = answer.json()
    assert content["protein"]["file"] == "protein.pdb.gz"
    assert content["protein"]["name"] == "protein.txt"
    assert content["reference"]["file"] == "ligand.sdf"
    assert content["reference"]["heavy_atoms"] == 20
    assert opened.client.get(f"{project}/structures/ligand").text.startswith(LIGAND.read_text()[:40])
    assert "ATOM  " in opened.client.get(f"{project}/structures/protein").text
    refused(opened.client.get(f"{project}/structures/other"), 404)


def test_an_mmcif_file_is_given_as_pdb_where_asked(opened: Opened) -> None:
    structure = gemmi.read_pdb_string(gzip.decompress(PROTEIN.read_bytes()))
    structure.setup_entities()
    cif = structure.make_mmcif_document().as_string().encode()
    project = opened.project("")
    content = drop(opened, project, ("x.cif", cif)).json()
    assert content["protein"]["file"] == "protein.cif"
    assert content["protein"]["num_atoms"] == 1802
    assert opened.client.get(f"{project}/structures/protein").text.startswith("data_")
    assert "ATOM      1" in opened.client.get(f"{project}/structures/protein?format=pdb").text
    replaced = drop(opened, project, ("x.pdb", gzip.decompress(PROTEIN.read_bytes()))).json()
    assert replaced["protein"]["file"] == "protein.pdb"
    assert [path.name for path in (root(opened) / content["id"]).glob("protein*")] == ["protein.pdb"]


def test_a_mol2_ligand_becomes_an_sdf(opened: Opened) -> None:
    atoms = ["C 38.0 -26.0 10.0 C.3", "O 39.4 -26.0 10.0 O.3", "H 37.6 -25.0 10.0 H", "H 37.6 -26.5 10.9 H",
             "H 37.6 -26.5 9.1 H", "H 39.7 -26.9 10.0 H"]  # fmt: skip
    bonds = [(1, 2), (1, 3), (1, 4), (1, 5), (2, 6)]
    mol2 = "\n".join([
        "@<TRIPOS>MOLECULE", "m", " 6 5 0 0 0", "SMALL", "NO_CHARGES", "", "@<TRIPOS>ATOM",
        *(f"{k} {atom}" for k, atom in enumerate(atoms, 1)), "@<TRIPOS>BOND",
        *(f"{k} {i} {j} 1" for k, (i, j) in enumerate(bonds, 1)), "",
    ])  # fmt: skip
    content = drop(opened, opened.project("7off"), ("a.mol2", mol2.encode())).json()
    assert content["reference"]["smiles"] == "CO"
    assert content["reference"]["file"] == "ligand.sdf"


FLAT = "\n  flat 2D\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.0000 C   0  0\n"
FLAT += "    1.5000    0.0000    0.0000 O   0  0\n  1  2  1  0\nM  END\n$$$$\n"
WATER = b"HETATM    1  O   HOH A   1       1.000   1.000   1.000  1.00  0.00           O\n"
NOT_A_NUMBER = "ATOM      1  CA  ALA A   1      xx.xxx   1.000   1.000  1.00  0.00           C\n"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("../../broken.pdb", NOT_A_NUMBER.encode(), ["broken.pdb", "not a number"]),
        ("half.pdb.gz", PROTEIN.read_bytes()[:2000], ["half.pdb.gz", "damaged gzip"]),
        ("bomb.pdb.gz", gzip.compress(b"A" * 600_000_000, 1), ["bomb.pdb.gz", "MB unpacked"]),
        ("empty.pdb", b"", ["empty.pdb", "neither a PDB"]),
        ("picture.sdf", b"\x89PNG\r\n\x1a\n\x00\xff", ["picture.sdf", "neither a PDB"]),
        ("x.pdbqt", NOT_A_NUMBER.encode(), ["x.pdbqt", "PDBQT"]),
        ("water.pdb", WATER, ["no heavy"]),
        ("cut.sdf", LIGAND.read_bytes()[:600] + b"\nM  END\n", ["cut.sdf"]),
        ("flat.sdf", FLAT.encode(), ["flat.sdf", "no 3D coordinates"]),
        ("<script>.sdf", b"data_x\nloop_\n", ["<script>.sdf", "not a PDB or mmCIF"]),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_and_nothing_is_lost(opened: Opened, name: str, data: bytes, words: list[str]) -> None:
    project = opened.project()
    folder = root(opened) / project.rsplit("/", 1)[1]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    answer = drop(opened, project, (name, data))
    refused(answer, 422, *words)
    assert str(folder) not in answer.text
    assert "upload" not in answer.json()["detail"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_of_several_files_all_or_none_are_taken(opened: Opened) -> None:
    project = opened.project("")
    answer = drop(opened, project, ("p.pdb.gz", PROTEIN.read_bytes()), ("l.sdf", FLAT.encode()))
    refused(answer, 422, "l.sdf")
    assert opened.client.get(project).json()["protein"] is None
    two = drop(opened, project, ("a.pdb.gz", PROTEIN.read_bytes()), ("b.pdb.gz", PROTEIN.read_bytes()))
    refused(two, 422, "two files of a protein")
    assert drop(opened, project).status_code == 422


def test_another_protein_needs_another_site(opened: Opened) -> None:
    project = opened.project()
    opened.client.put(f"{project}/site", json={"center": [1, 2, 3]})
    other = EXAMPLES / "7off" / "protein.pdb.gz"
    assert drop(opened, project, ("other.pdb.gz", other.read_bytes())).json()["site"] is None


@pytest.mark.parametrize(
    ("site", "kept"),
    [
        ({"ligand": True}, {"ligand": True}),
        ({"residues": ["A:SER508", "A:415"]}, {"residues": ["A:SER508", "A:ARG415"]}),
        ({"center": [38.9, -26.9, 10.5], "radius": 8}, {"center": [38.9, -26.9, 10.5], "radius": 8.0}),
    ],
)
def test_a_site_is_previewed_and_kept(opened: Opened, site: dict[str, Any], kept: dict[str, Any]) -> None:
    project = opened.project("7off")
    shown = opened.client.post(f"{project}/sites:preview", json=site).json()
    assert "A:SER508" in shown["residues"] or "radius" in site
    assert shown["num_atoms"] > 10
    assert any("7off" not in note and "residues" in note for note in shown["notes"])
    assert np.linalg.norm(np.array(shown["center"]) - [38.9, -26.9, 10.5]) < 12
    assert opened.client.get(project).json()["site"] == {"ligand": True}
    assert opened.client.put(f"{project}/site", json=site).json()["site"] == kept


def test_a_molecule_of_the_protein_file_is_a_site(opened: Opened) -> None:
    text = gzip.decompress(PROTEIN.read_bytes()).decode()
    mol = read_ligand(LIGAND)
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    lines = [
        f"HETATM{9000 + k:5d} {f'{s}{k}':<4} DUI A 501    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {s:>2}"
        for k, (s, (x, y, z)) in enumerate(zip(symbols, heavy_positions(mol), strict=True))
    ]
    project = opened.project("")
    pdb = "\n".join([*(line for line in text.splitlines() if not line.startswith("END")), *lines, "END", ""])
    content = drop(opened, project, ("with.pdb", pdb.encode())).json()
    (ligand,) = content["protein"]["ligands"]
    assert (ligand["id"], ligand["heavy_atoms"], ligand["kind"]) == ("A:DUI501", 20, "ligand")
    shown = opened.client.post(f"{project}/sites:preview", json={"het": "A:DUI501"}).json()
    assert np.allclose(shown["center"], ligand["center"], atol=0.01)
    assert any("A:DUI:501" in note for note in shown["notes"])
    assert opened.client.put(f"{project}/site", json={"het": "A:DUI501"}).json()["site"] == {"het": "A:DUI501"}
    command = opened.client.post(f"{project}/jobs?dry_run=true", json={"task": "generate"}).json()["command"]
    assert "--het A:DUI:501" in command


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ({}, ["in one way"]),
        ({"ligand": True, "center": [1, 2, 3]}, ["in one way"]),
        ({"het": "A:NOT1"}, ["no residue A:NOT1"]),
        ({"residues": ["Z:999"]}, ["no residue Z:999"]),
        ({"residues": ["A"] * 201}, ["residues"]),
        ({"center": [1, 2]}, ["center"]),
        ({"center": ["nan", 0, 0]}, ["center"]),
        ({"center": [900, 900, 900]}, ["empty pocket"]),
        ({"center": [1, 2, 3], "radius": -1}, ["radius"]),
        ({"path": "/etc/passwd"}, ["path"]),
    ],
)
def test_a_site_that_cannot_be_is_refused(opened: Opened, site: dict[str, Any], words: list[str]) -> None:
    project = opened.project("7off")
    refused(opened.client.post(f"{project}/sites:preview", json=site), 422, *words)
    assert opened.client.get(project).json()["site"] == {"ligand": True}


def test_pockets_are_suggested(opened: Opened) -> None:
    """The bound ligand's place is the best pocket of these proteins, though the finder does not see the ligand."""
    project = opened.project("7sza")
    answer = opened.client.get(f"{project}/sites:suggest")
    if find_spec("fpocket_rs") is None:
        refused(answer, 409, "fpocket-rs", "pip install")
        return
    best, *others = answer.json()
    reference = opened.client.get(project).json()["reference"]["center"]
    assert np.linalg.norm(np.array(best["center"]) - reference) < 4
    assert all(best["score"] >= other["score"] for other in others)
    assert "fpocket-rs" in best["source"]
    pocket = opened.client.post(f"{project}/sites:preview", json={"ligand": True}).json()["residues"]
    assert len(set(best["residues"]) & set(pocket)) > 8


def test_a_project_without_a_protein_says_what_is_missing(opened: Opened) -> None:
    project = opened.project("")
    refused(opened.client.post(f"{project}/sites:preview", json={"center": [0, 0, 0]}), 422, "no protein")
    refused(opened.client.post(f"{project}/sites:preview", json={"ligand": True}), 422, "no reference ligand")
    refused(opened.client.get(f"{project}/structures/ligand"), 422, "no reference ligand")
    refused(opened.client.post(f"{project}/jobs", json={"task": "generate"}), 422, "no protein")
    refused(opened.client.get(f"{project}/sites:suggest"), 409 if find_spec("fpocket_rs") is None else 422)


def test_a_missing_file_is_told(opened: Opened) -> None:
    project = opened.project()
    folder = root(opened) / project.rsplit("/", 1)[1]
    shutil.move(folder / "protein.pdb.gz", folder / "elsewhere")
    refused(opened.client.get(project), 422, "no such file")
    assert opened.client.get("/api/projects").status_code == 200
