"""The commands `optimise` and `analogues`, from the flags to the files, and what they refuse."""

import json
import sys
from pathlib import Path

import pytest
from rdkit import Chem, DataStructs

from ligandsmith.cli.main import main
from ligandsmith.design.history import morgan_fingerprint
from ligandsmith.structure.ligands import read_ligand

SITE = Path(__file__).parents[2] / "examples/complexes/7sza"
OTHER = Path(__file__).parents[2] / "examples/complexes/7off/ligand.sdf"
SCORERS = Path(__file__).parents[2] / "examples/scorers"
PROTEIN, LIGAND = str(SITE / "protein.pdb.gz"), str(SITE / "ligand.sdf")
QUICK = ["--steps", "8", "--candidates", "1", "--device", "cpu", "--threads", "1"]


def optimise(out: Path, *flags: str) -> int:
    words = ["optimise", "--protein", PROTEIN, "--num_atoms", "8-12", "--budget", "8", *QUICK, "--out", str(out)]
    return main([*words, *flags])


def test_its_folder_can_be_evaluated_and_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = f"tpsa={sys.executable} {SCORERS / 'polar_surface.py'} {{sdf}} {{csv}}"
    flags = ["--ligand", LIGAND, LIGAND, "--scorer", command, "--objective", "-tpsa, qed:2"]
    assert optimise(out, *flags) == 0
    said = capsys.readouterr()
    assert "written: " in said.out
    before = (out / "history.csv").read_bytes()
    assert b"tpsa" in before
    assert optimise(out, *flags) == 0
    assert (out / "history.csv").read_bytes() == before
    assert main(["evaluate", str(out), "--protein", PROTEIN, "--ligand", LIGAND, "--protocol", "none"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    count = len(list(Chem.SDMolSupplier(str(out / "ligands.sdf"))))
    assert summary["metrics"]["valid"]["n"] == count
    assert main(["report", str(out)]) == 0
    assert optimise(out, *flags, "--seed", "3") == 1
    assert "different seed" in capsys.readouterr().err
    assert optimise(out, *flags, "--seed", "3", "--overwrite") == 0
    assert (out / "history.csv").read_bytes() != before


def test_constraints_hold(tmp_path: Path) -> None:
    assert optimise(tmp_path, "--ligand", LIGAND, "--objective", "qed", "--forbid", "[#7]") == 0
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert all("forbidden [#7]" in row or "several" in row or "N" not in row.split(",")[4].upper() for row in rows[2:])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ligand", LIGAND, "--budget", "0"], "--budget 0: give a number of ligands from 1"),
        (["--ligand", LIGAND, "--objective", "vina_mon"], "no metric or scorer 'vina_mon'; near it: vina_min"),
        (["--ligand", LIGAND, "--objective", "logp"], "logp has no better direction"),
        (["--ligand", LIGAND, "--objective", "-logp,qed:0"], "a weight must be above 0"),
        (["--ligand", LIGAND, str(OTHER)], "hit 2 lies outside the pocket"),
        (["--ligand", str(OTHER)], "empty pocket"),
        (["--ligand", LIGAND, "--scorer", "no_such_module:score"], "no_such_module cannot be imported"),
        (["--ligand", LIGAND, "--scorer", "score {sdf}"], "there is no {csv}"),
        (["--ligand", LIGAND, "--keep", str(OTHER)], "the fragment lies"),
        (["--ligand", LIGAND, "--similarity", "0.8-0.4"], "'0.8-0.4' is no range within 0 to 1"),
        (["--residues", "A:1", "--center", "1,2,3"], "argument --center: not allowed with argument --residues"),
        ([], "one of the arguments --ligand --residues --center --het is required"),
        (["--ligand", str(SITE / "none.sdf")], "no such file"),
        (["--ligand", LIGAND, "--workers", "0"], "--workers"),
        (["--ligand", LIGAND, "--moves", "jump"], "--moves: no move 'jump'; there are: noise, shrink, fresh"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    try:
        status = optimise(tmp_path / "out", *flags)
    except SystemExit as error:
        status = int(error.code or 0)
    assert status != 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / "out").exists()


def test_similarity_needs_a_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    center = ",".join(f"{v:.2f}" for v in read_ligand(SITE / "ligand.sdf").GetConformer().GetPositions().mean(0))
    assert optimise(tmp_path / "out", "--center", center, "--objective", "similarity") == 1
    assert "give one with --ligand" in capsys.readouterr().err


def test_analogues_are_within_the_range_or_failures(tmp_path: Path) -> None:
    words = ["analogues", LIGAND, "--protein", PROTEIN, "--num", "4", "--steps", "10", "--candidates", "3"]
    words += ["--similarity", "0.3-0.9", "--device", "cpu", "--threads", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    record = json.loads((tmp_path / "samples.json").read_text())
    assert len(record["molecules"]) + len(record["failures"]) == 4
    hit = morgan_fingerprint(read_ligand(SITE / "ligand.sdf"))
    for molecule in record["molecules"]:
        mol = Chem.MolFromSmiles(molecule["smiles"])
        assert 0.3 <= DataStructs.TanimotoSimilarity(hit, morgan_fingerprint(mol)) <= 0.9
    for failure in record["failures"]:
        assert failure["candidates"] == 3
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.sdf")}
    assert main(words) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.sdf")} == before
