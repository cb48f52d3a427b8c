"""A file of ligands is relaxed whole: properties kept, failures kept and named, work continued."""

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.chem.protein import load_protein
from ligandsmith.chem.relax import relax
from ligandsmith.chem.sdf import read_sdf, write_sdf
from ligandsmith.chem.surroundings import ProteinSurroundings
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation import relaxation
from ligandsmith.evaluation.relaxation import RelaxTool, relax_sdf, relaxation_lines
from ligandsmith.evaluation.sources import load_reference, load_samples
from ligandsmith.evaluation.tools.clashes import count_posecheck_clashes
from ligandsmith.evaluation.tools.runner import Site, ToolFailure, run_tool

SITE = Path(__file__).parents[2] / "examples/complexes/7sza"
PROTEIN, LIGAND = SITE / "protein.pdb.gz", SITE / "ligand.sdf"


@pytest.fixture
def ligands(tmp_path: Path) -> Path:
    """The crystal pose, one with noise, one far away, and a record that is no molecule."""
    crystal = load_reference(LIGAND)
    x = crystal.GetConformer().GetPositions()
    mols = []
    for k, y in enumerate((x, x + np.random.default_rng(0).normal(0, 0.1, x.shape), x + 300.0)):
        mol = Chem.Mol(crystal)
        mol.GetConformer().SetPositions(y)
        mol.SetProp("_Name", f"title {k}")
        mols.append((mol, {"index": k, "note": "a note"}))
    path = tmp_path / "ligands.sdf"
    write_sdf(path, mols)
    path.write_text(path.read_text() + "hello\n$$$$\n")
    return path


def test_the_file_of_relaxed_poses(ligands: Path, tmp_path: Path) -> None:
    original = ligands.read_bytes()
    summary = relax_sdf(ligands, PROTEIN, LIGAND, tmp_path / "out", workers=2)
    records = read_sdf(tmp_path / "out/relaxed.sdf")
    assert [r.title for r in records] == ["title 0", "title 1", "title 2"]
    for k, record in enumerate(records):
        assert record.mol is not None
        assert (record.mol.GetProp("index"), record.mol.GetProp("note")) == (str(k), "a note")
        assert record.mol.HasProp("relax_failed") == (k == 2)
        assert record.mol.HasProp("relax_moved_rmsd") == (k != 2)
        assert any(a.GetAtomicNum() == 1 for a in record.mol.GetAtoms()) == (k != 2)
        assert Chem.MolToSmiles(Chem.RemoveHs(record.mol)) == Chem.MolToSmiles(load_reference(LIGAND))
    assert ligands.read_bytes() == original
    assert json.loads((tmp_path / "out/relax.json").read_text()) == summary
    assert (summary["n"], summary["relaxed"]) == (4, 2)
    assert summary["failures"] == {"no protein atom within 6 Å": 1, "not a molfile record": 1}
    assert summary["median_moved_rmsd"] < 0.4
    assert summary["clashes_after"]["mean"] <= summary["clashes_before"]["mean"]
    assert relaxation_lines(summary)[0] == "2 of 4 molecules relaxed"


def test_the_hydrogens_of_the_protein_are_cleared_too() -> None:
    reference = load_reference(LIGAND)
    protein = load_protein(PROTEIN, reference)
    around = ProteinSurroundings(protein)
    noise = np.random.default_rng(0)
    counts: dict[str, list[int]] = {"made": [], "all": [], "heavy": []}
    for _ in range(8):
        mol = Chem.Mol(reference)
        mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + noise.normal(0, 0.6, 3))
        counts["made"].append(count_posecheck_clashes(mol, protein))
        for name, surroundings in (("all", around.of(mol)), ("heavy", around.heavy)):
            counts[name].append(count_posecheck_clashes(Chem.RemoveHs(relax(mol, surroundings).mol), protein))
    made, all_atoms, heavy = (np.mean(counts[name]) for name in ("made", "all", "heavy"))
    assert all_atoms < heavy - 1
    assert all_atoms < made - 5


def test_failures_of_the_generation_stay_accounted_for(ligands: Path, tmp_path: Path) -> None:
    failures = [{"index": 3, "reason": "valence", "detail": ""}, {"index": 4, "reason": "valence", "detail": ""}]
    write_sdf(ligands, [(r.mol, {"index": k}) for k, r in enumerate(read_sdf(ligands)[:3]) if r.mol is not None])
    (tmp_path / "samples.json").write_text(json.dumps({"requested": 5, "failures": failures}))
    relax_sdf(ligands, PROTEIN, LIGAND, tmp_path / "out")
    samples = load_samples(tmp_path / "out/relaxed.sdf")
    assert [s.reason for s in samples] == ["", "", "", "valence", "valence"]


def test_interrupted_work_continues(ligands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = relax_sdf(ligands, PROTEIN, LIGAND, tmp_path / "out")

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(relaxation, "relax", never)
    assert relax_sdf(ligands, PROTEIN, LIGAND, tmp_path / "out") == first


def test_a_rise_of_clashes_is_a_failure(ligands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([1, 2])
    monkeypatch.setattr(relaxation, "count_clashes", lambda *_: next(counts))
    site = Site(protein=load_protein(PROTEIN))
    with pytest.raises(ToolFailure, match="clashes would rise: from 1 to 2"):
        RelaxTool().open(site)(load_reference(LIGAND))


def test_without_a_protein_there_is_no_answer() -> None:
    assert run_tool(RelaxTool(), Site(), [load_reference(LIGAND)]) == "no protein given"


def test_what_cannot_be_relaxed(ligands: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.sdf"
    empty.write_text("")
    with pytest.raises(LigandsmithError, match="no records"):
        relax_sdf(empty, PROTEIN)
    with pytest.raises(LigandsmithError, match="no such file"):
        relax_sdf(ligands, tmp_path / "none.pdb")
    same = ligands.rename(tmp_path / "relaxed.sdf")
    with pytest.raises(LigandsmithError, match="would be overwritten"):
        relax_sdf(same, PROTEIN)
