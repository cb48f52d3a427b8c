"""Where the molecules of an evaluation come from."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf, write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.evaluate import evaluate
from ligandsmith.evaluation.sources import find_sources, load_samples
from ligandsmith.evaluation.torch_files import read_result_file

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"
NAMES = ("3ln1", "7off", "7sza")


def reference(name: str) -> Chem.Mol:
    mol = read_sdf(COMPLEXES / name / "ligand.sdf")[0].mol
    assert mol is not None
    return mol


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One SDF for each pocket, and folders of proteins and references with the pockets' names."""
    for kind in ("made", "proteins", "references"):
        (tmp_path / kind).mkdir()
    for name in NAMES:
        write_sdf(tmp_path / "made" / f"{name}.sdf", [(reference(name), {})] * 2)
        shutil.copy(COMPLEXES / name / "protein.pdb.gz", tmp_path / "proteins" / f"{name}.pdb.gz")
        shutil.copy(COMPLEXES / name / "ligand.sdf", tmp_path / "references" / f"{name}.sdf")
    return tmp_path


def test_a_folder_of_pockets_is_one_evaluation(folder: Path) -> None:
    evaluation = evaluate(folder / "made", folder / "proteins", folder / "references")
    assert [(row["pocket"], row["index"]) for row in evaluation.rows] == [(n, i) for n in NAMES for i in (0, 1)]
    metrics = evaluation.summary["metrics"]
    assert metrics["unique"]["mean"] == 0.5
    assert metrics["heavy_atoms_over_reference"]["mean"] == 0
    assert evaluation.summary["reference"]["qed"] == pytest.approx(metrics["qed"]["mean"])
    assert set(evaluation.summary["pockets"]) == set(NAMES)
    assert {i["pocket"]: i["requested"] for i in evaluation.summary["inputs"]} == dict.fromkeys(NAMES, 2)


def test_folders_of_generate_are_pockets(folder: Path) -> None:
    for name in NAMES[:2]:
        (folder / "runs" / name).mkdir(parents=True)
        shutil.copy(folder / "made" / f"{name}.sdf", folder / "runs" / name / "ligands.sdf")
    assert [s.pocket for s in find_sources(folder / "runs")] == list(NAMES[:2])
    assert [s.pocket for s in find_sources(folder / "runs" / NAMES[0])] == [NAMES[0]]


def test_a_manifest_names_files_relative_to_itself(folder: Path) -> None:
    path = folder / "m.csv"
    path.write_text("pocket,ligands,protein,requested\nä b,made/7off.sdf,proteins/7off.pdb.gz,5\n,made/3ln1.sdf,,\n")
    first, second = find_sources(path)
    assert (first.pocket, first.requested, second.pocket, second.protein) == ("ä b", 5, "3ln1", None)
    assert [s.reason for s in first.samples()] == ["", "", *["not generated"] * 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,file\n", "'ligands' is required"),
        ("ligands\nnone.sdf\n", "line 2: no such file"),
        ("ligands,requested\nmade/7off.sdf,many\n", "line 2: requested is 'many'"),
        ("ligands\nmade/7off.sdf\nmade/7off.sdf\n", "pocket 7off is there twice"),
        ("ligands\n", "no rows"),
    ],
)
def test_a_bad_manifest_is_one_clear_line(text: str, message: str, folder: Path) -> None:
    (folder / "m.csv").write_text(text)
    with pytest.raises(LigandsmithError, match=message):
        find_sources(folder / "m.csv")


def test_pockets_without_their_protein_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "proteins" / "7off.pdb.gz").unlink()
    with pytest.raises(LigandsmithError, match=r"0 files for pocket 7off; expected 7off\.pdb"):
        find_sources(folder / "made", folder / "proteins")
    with pytest.raises(LigandsmithError, match="for several pockets give a folder"):
        find_sources(folder / "made", COMPLEXES / "7off" / "protein.pdb.gz")
    with pytest.raises(LigandsmithError, match="no SDF files"):
        find_sources(folder / "proteins")


def test_published_result_files_are_read_without_torch(tmp_path: Path) -> None:
    mols = [reference(name) for name in NAMES]
    records = [
        [
            {"mol": m, "smiles": "", "ligand_filename": f"P/{n}.sdf", "pos": np.zeros(3), "v": torch.ones(2)},
            {"mol": None, "smiles": "", "ligand_filename": f"P/{n}.sdf"},
        ]
        for n, m in zip(NAMES, mols, strict=True)
    ]
    torch.save(records, tmp_path / "r.pt")
    sources = find_sources(tmp_path / "r.pt")
    assert [s.pocket for s in sources] == list(NAMES)
    for source, mol in zip(sources, mols, strict=True):
        first, second = source.samples()
        assert first.mol is not None
        assert Chem.MolToSmiles(first.mol) == Chem.MolToSmiles(Chem.RemoveHs(mol))
        assert np.allclose(first.mol.GetConformer().GetPositions(), mol.GetConformer().GetPositions(), atol=1e-3)
        assert (second.mol, second.reason) == (None, "not generated")
    assert evaluate(tmp_path / "r.pt").summary["metrics"]["valid"]["mean"] == 0.5


class Malicious:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return open, (str(self.mark), "w")


def test_a_result_file_runs_no_code(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save([[{"mol": Malicious(mark)}]], tmp_path / "bad.pt")
    with pytest.raises(LigandsmithError, match="refused to unpickle"):
        read_result_file(tmp_path / "bad.pt")
    assert not mark.exists()
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(LigandsmithError, match=r"not a file of torch\.save"):
        read_result_file(tmp_path / "text.pt")
    with zipfile.ZipFile(tmp_path / "cut.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps([{"mol": None}])[:-4])
    with pytest.raises(LigandsmithError, match=r"cut\.pt"):
        read_result_file(tmp_path / "cut.pt")


def without_bonds(mol: Chem.Mol) -> Chem.Mol:
    bare = Chem.RWMol(mol)
    for bond in list(mol.GetBonds()):
        bare.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    for atom in bare.GetAtoms():
        atom.SetIsAromatic(False)
        atom.SetFormalCharge(0)
        atom.SetNoImplicit(True)
    return bare.GetMol()


def test_bonds_are_found_where_the_hydrogens_are_there(tmp_path: Path) -> None:
    mol = Chem.AddHs(reference("7off"), addCoords=True)
    (tmp_path / "x.sdf").write_text(Chem.MolToMolBlock(without_bonds(mol), kekulize=False) + "$$$$\n")
    (sample,) = load_samples(tmp_path / "x.sdf")
    assert sample.mol is not None
    assert Chem.MolToSmiles(sample.mol, isomericSmiles=False) == Chem.MolToSmiles(
        reference("7off"), isomericSmiles=False
    )


def test_atoms_alone_are_a_failure_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "x.sdf").write_text(Chem.MolToMolBlock(without_bonds(reference("7off")), kekulize=False) + "$$$$\n")
    (sample,) = load_samples(tmp_path / "x.sdf")
    assert (sample.mol, sample.reason) == (None, "no bond orders")


def test_duplicated_and_foreign_titles_are_kept_apart_by_index(tmp_path: Path) -> None:
    mol = Chem.Mol(reference("7off"))
    mol.SetProp("_Name", "リガンド <b>")
    write_sdf(tmp_path / "x.sdf", [(mol, {}), (mol, {})])
    rows = evaluate(tmp_path / "x.sdf").rows
    assert [(r["index"], r["title"]) for r in rows] == [(0, "リガンド <b>"), (1, "リガンド <b>")]
    assert json.dumps(rows)
