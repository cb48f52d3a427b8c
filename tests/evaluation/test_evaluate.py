"""Evaluation of an SDF: one row for each requested molecule, and nothing that did not happen counts as zero."""

import csv
import json
import sys
from pathlib import Path

import pytest
from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf, write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.evaluation.output import summary_table, write_evaluation
from ligandsmith.evaluation.protocols import adapted
from ligandsmith.evaluation.sources import load_known, load_samples

COMPLEX = Path(__file__).parents[2] / "examples/complexes/7off"
REFERENCE = COMPLEX / "ligand.sdf"
POCKET = COMPLEX / "protein.pdb.gz"
POSEBUSTERS = EvaluationOptions(adapted("quick", ["posebusters"]))


@pytest.fixture
def ligand() -> Chem.Mol:
    mol = read_sdf(REFERENCE)[0].mol
    assert mol is not None
    return mol


@pytest.fixture
def generated(ligand: Chem.Mol, tmp_path: Path) -> Path:
    """Five requested: two copies of a ligand, one broken into fragments, one failure, one never generated."""
    broken = Chem.RWMol(ligand)
    broken.RemoveBond(18, 22)
    Chem.SanitizeMol(broken)
    path = tmp_path / "ligands.sdf"
    write_sdf(path, [(ligand, {"index": 0}), (broken.GetMol(), {"index": 3}), (ligand, {"index": 4})])
    log = {"requested": 5, "failures": [{"index": 1, "reason": "valence", "detail": "atom 3"}]}
    (tmp_path / "samples.json").write_text(json.dumps(log))
    return path


def test_rows_are_the_requested_molecules_with_their_reasons(generated: Path) -> None:
    evaluation = evaluate(generated, protein=POCKET, reference=REFERENCE, novelty=["CCO"])
    rows = evaluation.rows
    assert [row["index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["reason"] for row in rows] == ["", "valence", "not generated", "", ""]
    assert rows[1]["detail"] == "atom 3"
    assert [row["valid_connected"] for row in rows] == [1, 0, 0, 0, 1]
    assert [row["unique"] for row in rows] == [1, None, None, None, 0]
    summary = evaluation.summary
    assert summary["failures"] == {"valence": 1, "not generated": 1}
    metrics = summary["metrics"]
    assert (metrics["valid"]["mean"], metrics["valid"]["n"]) == (0.6, 5)
    assert (metrics["qed"]["n"], metrics["qed"]["population"], metrics["qed"]["population_size"]) == (2, "connected", 2)
    assert metrics["clashes"]["mean"] == 0
    assert metrics["novel"]["mean"] == 1
    assert metrics["pb_valid"]["status"] == "not run: not asked for"
    assert metrics["pb_valid"]["mean"] is None
    assert summary["reference"]["qed"] == pytest.approx(metrics["qed"]["mean"])


def test_posebusters_rates_are_kept_check_by_check(generated: Path) -> None:
    pytest.importorskip("posebusters")
    evaluation = evaluate(generated, protein=POCKET, options=POSEBUSTERS)
    checks = evaluation.summary["posebusters"]["checks"]
    assert evaluation.summary["posebusters"]["suite"] == "dock"
    assert checks["all_atoms_connected"]["mean"] == pytest.approx(2 / 3)
    assert checks["minimum_distance_to_protein"]["mean"] == 1
    metrics = evaluation.summary["metrics"]
    assert metrics["pb_valid"]["mean"] == pytest.approx(2 / 3)
    assert metrics["pb_valid_of_requested"]["mean"] == pytest.approx(2 / 5)
    assert [row["pb_all_atoms_connected"] for row in evaluation.rows] == [True, None, None, False, True]
    assert "PoseBusters all_atoms_connected: 0.667 (n 3)" in summary_table(evaluation)


def test_a_missing_tool_is_not_run_and_never_zero(generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "posebusters", None)
    summary = evaluate(generated, options=POSEBUSTERS).summary
    for name in ("pb_valid", "pb_valid_of_requested"):
        assert "posebusters is not installed: pip install" in summary["metrics"][name]["status"]
        assert summary["metrics"][name]["mean"] is None
    assert summary["posebusters"]["status"].startswith("not run")
    assert summary["funnel"][-1]["n"] is None


def test_output_files_hold_every_row_and_metric(generated: Path, tmp_path: Path) -> None:
    evaluation = evaluate(generated)
    table, summary = write_evaluation(evaluation, tmp_path / "out")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert set(METRICS) <= set(rows[0])
    assert (rows[1]["reason"], rows[1]["qed"], rows[1]["valid"]) == ("valence", "", "0.0")
    assert json.loads(summary.read_text()) == evaluation.summary
    text = summary_table(evaluation)
    assert all(name in text for name in METRICS)
    assert "no molecule: valence (1)" in text
    assert "2 / 2 connected" in text
    with pytest.raises(LigandsmithError, match="cannot write"):
        write_evaluation(evaluation, generated / "below_a_file")


def test_corrupt_and_flat_records_are_failure_rows(ligand: Chem.Mol, tmp_path: Path) -> None:
    path = tmp_path / "other.sdf"
    write_sdf(path, [(ligand, {})])
    flat = Chem.Mol(ligand)
    flat.GetConformer().SetPositions(ligand.GetConformer().GetPositions() * [1, 1, 0])
    flat.GetConformer().Set3D(False)
    text = path.read_text() + "not a molecule\n$$$$\n" + Chem.MolToMolBlock(flat) + "$$$$\n"
    path.write_text(text)
    evaluation = evaluate(path)
    assert [row["reason"] for row in evaluation.rows] == ["", "not a molfile record", "no 3D coordinates"]
    assert evaluation.summary["metrics"]["valid"]["mean"] == pytest.approx(1 / 3)


def test_all_failed_is_a_result_with_nothing_to_average(tmp_path: Path) -> None:
    (tmp_path / "ligands.sdf").write_text("")
    (tmp_path / "samples.json").write_text('{"failures": [{"index": 0, "reason": "valence"}]}')
    summary = evaluate(tmp_path / "ligands.sdf").summary
    assert summary["metrics"]["valid"]["mean"] == 0
    assert summary["metrics"]["qed"]["mean"] is None
    assert summary["metrics"]["diversity"]["n"] == 0
    assert [stage["n"] for stage in summary["funnel"][:5]] == [1, 1, 0, 0, 0]


def test_requested_counts_what_no_file_mentions(generated: Path) -> None:
    assert [s.reason for s in load_samples(generated, 7)][5:] == ["not generated"] * 2
    with pytest.raises(LigandsmithError, match="3 records and 1 failures, more than the 2 requested"):
        evaluate(generated, requested=2)


def test_samples_json_belongs_to_ligands_sdf_alone(generated: Path) -> None:
    other = generated.with_name("docked.sdf")
    other.write_bytes(generated.read_bytes())
    assert len(load_samples(other)) == 3


def test_records_without_an_index_fill_the_places_without_failure(generated: Path, ligand: Chem.Mol) -> None:
    write_sdf(generated, [(ligand, {})] * 3)
    assert [(s.index, s.mol is None) for s in load_samples(generated)] == [
        (0, False),
        (1, True),
        (2, False),
        (3, False),
        (4, True),
    ]


@pytest.mark.parametrize("log", ["{", "[]", '{"failures": [{"index": 0}]}', '{"requested": "x"}'])
def test_unusable_samples_json_is_an_error(log: str, generated: Path) -> None:
    generated.with_name("samples.json").write_text(log)
    with pytest.raises(LigandsmithError, match=r"cannot use .*samples\.json"):
        load_samples(generated)


def test_bad_input_is_a_one_line_error(tmp_path: Path, generated: Path) -> None:
    empty = tmp_path / "empty.sdf"
    empty.write_text("")
    with pytest.raises(LigandsmithError, match="no records in"):
        evaluate(empty)
    with pytest.raises(LigandsmithError, match="no such file"):
        evaluate(tmp_path / "none.sdf")
    with pytest.raises(LigandsmithError, match="no such file"):
        evaluate(generated, protein=tmp_path / "none.pdb")
    with pytest.raises(LigandsmithError, match=r"no usable reference ligand: .*no molecule"):
        evaluate(generated, reference=empty)


def test_known_molecules_come_as_smiles_or_inchikeys(tmp_path: Path) -> None:
    path = tmp_path / "train.smi"
    path.write_text("smiles name\nOCC ethanol\n\nC[C@H](N)C(=O)O\nLFQSCWFLJHTTHZ-UHFFFAOYSA-N\n")
    known = load_known(path)
    assert known.smiles == {"CCO", "CC(N)C(=O)O"}
    assert known.inchikeys == {"LFQSCWFLJHTTHZ"}
    path.write_text("CCO\nxx(y\n")
    with pytest.raises(LigandsmithError, match=r"train\.smi, line 2: 'xx\(y'"):
        load_known(path)
    with pytest.raises(LigandsmithError, match="cannot read known molecules"):
        load_known(tmp_path / "none.smi")
