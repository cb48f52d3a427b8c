"""Results are never lost: a folder with others is refused in a line that names a file and --overwrite, or replaced."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ligandsmith.cli.main import FAILED, OK, main
from ligandsmith.evaluation.report.results import read_results
from ligandsmith.files import clear_leftovers, clear_temporary_folders, held_alone, temporary_folder
from tiny_runs import ROOT, Tiny

EXAMPLES = ROOT / "examples/complexes"
SITE = EXAMPLES / "7sza"
LIGAND = str(SITE / "ligand.sdf")
PROTEIN = str(SITE / "protein.pdb.gz")
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ligandsmith.files.HOLD_TRIES", 1)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused; returns its one line."""

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main(list(words)) == FAILED
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        return lines[0]

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def generate(out: Path, *extra: str) -> list[str]:
    words = ["generate", "--protein", PROTEIN, "--ligand", LIGAND, "--out", str(out)]
    settings = "--checkpoint tiny --device cpu --num 2 --num_atoms 6 --steps 2 --candidates 1 --threads 1"
    return [*words, *settings.split(), *extra]


def test_generate(tmp_path: Path, refused: Refused) -> None:
    out = tmp_path / "out"
    assert main(generate(out)) == OK
    (out / "notes.txt").write_text("mine")
    before = content(out)
    assert main(generate(out)) == OK  # the same again
    line = refused(*generate(out, "--seed", "1"))
    assert "ligands.sdf with --overwrite" in line
    assert {k: v for k, v in content(out).items() if k != "samples.json"} == {
        k: v for k, v in before.items() if k != "samples.json"
    }
    assert main(generate(out, "--seed", "1", "--overwrite")) == OK
    assert json.loads((out / "samples.json").read_text())["identity"]["seed"] == 1
    assert (out / "notes.txt").read_text() == "mine"
    (out / "samples.json").unlink()
    assert "--overwrite" in refused(*generate(out))
    assert main(generate(out, "--overwrite")) == OK
    assert (out / "ligands.sdf").read_bytes() == before["ligands.sdf"]


@pytest.mark.parametrize("command", ["optimise", "analogues"])
def test_design(command: str, tmp_path: Path, refused: Refused) -> None:
    out = tmp_path / "out"
    own = {"optimise": ["--ligand", LIGAND, "--objective", "qed", "--budget", "2", "--num_atoms", "8-12"],
           "analogues": [LIGAND, "--num", "2"]}[command]  # fmt: skip
    words = [command, *own, "--protein", PROTEIN, "--out", str(out), "--checkpoint", "tiny", "--device", "cpu"]
    words += ["--steps", "2", "--candidates", "1", "--threads", "1"]
    assert main(words) == OK
    (out / "notes.txt").write_text("mine")
    before = content(out)
    assert main(words) == OK  # the same again
    assert "different seed" in (line := refused(*words, "--seed", "1"))
    assert "--overwrite" in line
    with held_alone(out):
        assert "another process" in refused(*words)
    assert content(out).keys() == before.keys()
    assert main([*words, "--seed", "1", "--overwrite"]) == OK
    assert json.loads((out / "samples.json").read_text())["identity"]["seed"] == 1
    assert (out / "notes.txt").read_text() == "mine"


def test_scores_of_earlier_ligands_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(generate(tmp_path)) == OK
    assert main(["evaluate", str(tmp_path / "ligands.sdf"), "--protocol", "none"]) == OK
    scores = content(tmp_path)
    (tmp_path / "notes.csv").write_text("mine")
    capsys.readouterr()
    assert main(generate(tmp_path)) == OK  # nothing is made
    assert "older" not in capsys.readouterr().out
    assert main(generate(tmp_path, "--seed", "1", "--overwrite")) == OK
    said = f"note: per_molecule.csv, summary.json, molecules.sdf in {tmp_path}: older than these ligands"
    assert said in capsys.readouterr().out.splitlines()
    assert content(tmp_path)["summary.json"] == scores["summary.json"]


def test_generate_for_many_pockets(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "pockets.csv").write_text(f"pocket,protein,ligand\na,{PROTEIN},{LIGAND}\n")
    words = ["generate", "--checkpoint", "tiny", "--manifest", str(tmp_path / "pockets.csv"), "--device", "cpu"]
    words += [*["--num", "1", "--num_atoms", "6", "--steps", "2", "--candidates", "1", "--out"], str(tmp_path / "run")]
    assert main(words) == OK
    assert main(words) == OK
    assert "generation.json with --overwrite" in refused(*words, "--seed", "1")
    assert main([*words, "--seed", "1", "--overwrite"]) == OK
    assert json.loads((tmp_path / "run/a/samples.json").read_text())["identity"]["seed"] == 1


def test_a_data_set(tmp_path: Path, refused: Refused) -> None:
    source, out = tmp_path / "in", tmp_path / "data"
    (source / "x").mkdir(parents=True)
    (source / "x" / "ligand.sdf").write_bytes((SITE / "ligand.sdf").read_bytes())
    (source / "x" / "protein.pdb.gz").write_bytes((SITE / "protein.pdb.gz").read_bytes())
    assert main(["prepare", str(source), "--out", str(out)]) == OK
    (out / "notes.txt").write_text("mine")
    before = content(out)
    line = refused("prepare", str(source), "--out", str(out))
    assert "manifest.json" in line
    assert "--overwrite" in line
    (tmp_path / "in.smi").write_text("CCO\n")
    assert "--overwrite" in refused("conformers", str(tmp_path / "in.smi"), "--out", str(out))
    assert content(out) == before
    (out / "complexes-00001.parquet").write_text("of an earlier, larger one")
    assert main(["prepare", str(source), "--out", str(out), "--overwrite"]) == OK
    assert content(out) == before
    scratch = tmp_path / ".more.part"
    scratch.mkdir()
    (scratch / "complexes-00000.parquet").write_text("of a killed process")
    with held_alone(scratch):
        assert "another process" in refused("prepare", str(source), "--out", str(tmp_path / "more"))
    (scratch / "complexes-00000.parquet").write_text("of a killed process")
    assert main(["prepare", str(source), "--out", str(tmp_path / "more")]) == OK
    assert set(content(tmp_path / "more")) == set(before) - {"notes.txt"}
    assert not scratch.exists()


def test_scores_choices_and_pages(tmp_path: Path, refused: Refused, capsys: pytest.CaptureFixture[str]) -> None:
    sdf, other = tmp_path / "a.sdf", tmp_path / "b.sdf"
    sdf.write_bytes((SITE / "ligand.sdf").read_bytes())
    other.write_bytes((EXAMPLES / "3ln1" / "ligand.sdf").read_bytes())
    evaluate = ["evaluate", str(sdf), "--protocol", "none"]
    assert main(evaluate) == OK
    assert main(evaluate) == OK
    assert main([*evaluate, "--protein", PROTEIN]) == OK  # more of the same
    assert "different ligands" in (line := refused("evaluate", str(other), "--protocol", "none"))
    assert "per_molecule.csv with --overwrite" in line
    assert "different protein" in refused(*evaluate, "--protein", str(EXAMPLES / "3ln1" / "protein.pdb.gz"))
    assert "a.sdf" in json.loads((tmp_path / "summary.json").read_text())["inputs"][0]["ligands"]
    with held_alone(tmp_path):
        for words in (evaluate, ["rank", str(tmp_path), "--by", "qed"], ["report", str(tmp_path)]):
            assert "another process" in refused(*words)

    assert [name for name, _ in read_results(tmp_path).ranking] == ["connected", "clashes", "qed"]
    rank = ["rank", str(tmp_path), "--by", "-sa,qed:2", "--filters", "connected"]
    assert main(rank) == OK
    assert main(rank) == OK
    assert "top.sdf with --overwrite" in refused("rank", str(tmp_path), "--by", "qed")
    assert main(["report", str(tmp_path)]) == OK
    said = (
        "weighted ranks of synthetic accessibility (lower better, weight 1), QED (higher better, weight 2); filtered by"
    )
    assert read_results(tmp_path).choice
    assert said.split(" of ", maxsplit=1)[0] in (tmp_path / "report.md").read_text()
    assert "weight 2" in (tmp_path / "report.html").read_text()
    assert main(["rank", str(tmp_path), "--by", "qed", "--overwrite"]) == OK
    assert main(["report", str(tmp_path)]) == OK
    assert "Pareto fronts of QED (higher better)" in (tmp_path / "report.md").read_text()
    (tmp_path / "report.json").unlink()
    (tmp_path / "report.md").write_text("mine")
    assert "report.html with --overwrite" in refused("report", str(tmp_path))
    assert (tmp_path / "report.md").read_text() == "mine"
    assert main(["evaluate", str(other), "--protocol", "none", "--overwrite"]) == OK
    assert read_results(tmp_path).choice is None  # it was of other molecules
    (tmp_path / "ranking.json").unlink()
    assert "--overwrite" in refused("rank", str(tmp_path), "--by", "qed")


def test_what_is_evaluated_is_never_written_over(tmp_path: Path, refused: Refused) -> None:
    sdf = tmp_path / "molecules.sdf"
    sdf.write_bytes((SITE / "ligand.sdf").read_bytes())
    line = refused("evaluate", str(sdf), "--protocol", "none", "--overwrite")
    assert "would be overwritten; give another folder with --out" in line
    assert [p.name for p in tmp_path.iterdir()] == ["molecules.sdf"]


def test_relax(tmp_path: Path, refused: Refused) -> None:
    words = ["relax", LIGAND, "--protein", PROTEIN, "--ligand", LIGAND, "--out", str(tmp_path)]
    assert main(words) == OK
    before = content(tmp_path)
    assert main(words) == OK
    other = ["relax", str(EXAMPLES / "3ln1" / "ligand.sdf"), "--protein", PROTEIN, "--out", str(tmp_path)]
    assert "relaxed.sdf with --overwrite" in refused(*other)
    with held_alone(tmp_path):
        assert "another process" in refused(*words)
    assert content(tmp_path) == before
    assert main([*other, "--overwrite"]) == OK
    assert (tmp_path / "relaxed.sdf").read_bytes() != before["relaxed.sdf"]


def test_export(tmp_path: Path, refused: Refused) -> None:
    weights = ROOT / "src/ligandsmith/weights"
    words = ["export", str(weights / "ligand_vae_tiny.pt"), "--out", str(tmp_path)]
    assert main(words) == OK
    assert main(words) == OK
    (tmp_path / "README.md").write_text("my model card")
    assert "README.md with --overwrite" in refused(*words)
    assert (tmp_path / "README.md").read_text() == "my model card"
    assert main([*words, "--overwrite"]) == OK


def test_training(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protein = ["--model_type", "protein", "--max_steps", "1"]
    assert tiny.run("train-vae", tmp_path, *protein) == OK
    before = content(tmp_path)
    assert tiny.run("train-vae", tmp_path, *protein) == FAILED
    line = capsys.readouterr().err
    assert "best_protein_vae.pt with --overwrite" in line
    assert "--resume auto" in line
    assert content(tmp_path) == before
    with held_alone(tmp_path / "logs" / "protein_vae"):
        assert tiny.run("train-vae", tmp_path, *protein, "--resume", "auto") == FAILED
        assert "another process" in capsys.readouterr().err
    assert tiny.run("train-vae", tmp_path, *protein, "--resume", "auto") == OK
    start = ["--init_from", str(tmp_path / "best_protein_vae.pt"), "--overwrite"]
    assert tiny.run("train-vae", tmp_path, *protein, *start) == FAILED
    assert "would remove it" in capsys.readouterr().err
    assert tiny.run("train-vae", tmp_path, *protein, "--overwrite", "--seed", "1") == OK
    assert sorted(p.name for p in (tmp_path / "logs" / "protein_vae").iterdir()) == [
        "1",
        "2",
    ]  # a resumed run continues its own


def test_a_learning_rate_that_destroys_the_weights(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model_type", "ligand", "--learning_rate", "1e3", "--max_steps", "3"]
    assert tiny.run("train-vae", tmp_path, *words) == FAILED
    assert "error: non-finite loss" in (line := capsys.readouterr().err)
    assert "lower --learning_rate" in line


def test_leftovers_are_of_dead_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = int(ended.stdout)
    names = [f"a.sdf.{dead}.part", f".a.sdf.{dead}.tmp", f"a.sdf.{os.getpid()}.part", "mine.part", "a.12.parts"]
    for name in names:
        (tmp_path / name).write_text("half")
    (tmp_path / f"ligandsmith-{dead}-x").mkdir()
    with temporary_folder() as folder:
        clear_leftovers(tmp_path)
        clear_temporary_folders()
        assert folder.is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names[2:])


def test_a_worker_that_outlives_its_process_does_not_hold_the_folder(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from ligandsmith.files import held_alone
with held_alone(Path(sys.argv[1])):
    if os.fork() == 0:
        os.kill(os.getppid(), 9)  # not before the worker runs: until then, it still has what it inherited
        time.sleep(20)
        os._exit(0)
    time.sleep(20)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    process.wait()
    with held_alone(tmp_path):
        pass
