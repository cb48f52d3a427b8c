"""The commands of README, Get started and the tutorials run, with few ligands and few steps."""

import re
import shutil
from pathlib import Path

import pytest
from doc_commands import ROOT, block_lines

from ligandsmith.cli import main as cli

DOCS = ROOT / "docs"
TRAINING = "--preset tiny --limit 8 --max_steps 2 --batch_size 2 --num_workers 0 --threads 1 --device cpu"
SMALLER = {
    "generate": "--num 2 --steps 12 --candidates 2 --threads 1 --device cpu",
    "analogues": "--num 1 --steps 12 --candidates 2 --threads 1 --device cpu",
    "optimise": "--budget 2 --steps 12 --threads 1 --device cpu",
    "train-vae": TRAINING,
    "train-denoiser": TRAINING,
    "train-all": TRAINING,
}
# Files of other programs, clusters, several processes; `doctor` measures all stages of training (test_doctor.py).
UNAVAILABLE = re.compile(r"\.lmdb|--engine ray|torchrun|--num_gpus|ligandsmith doctor|results\.pt")


def run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, extra: dict[str, str] | None = None) -> None:
    """Run the ligandsmith commands of a page in a folder; `extra` has further flags for a command."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (folder / "examples").symlink_to(ROOT / "examples")
    for line in block_lines(page):
        if line.kind == "ligandsmith" and not UNAVAILABLE.search(line.text):
            words = f"{SMALLER.get(line.name, '')} {(extra or {}).get(line.name, '')}".split()
            assert cli.main([line.name, *line.arguments, *words]) == cli.OK, line.text
        elif line.text.startswith("cp "):
            shutil.copy(*line.arguments)


def test_get_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(DOCS / "get-started.md", tmp_path, monkeypatch, {"evaluate": "--protocol none"})
    assert (tmp_path / "first/report.html").is_file()
    assert (tmp_path / "first/ligands.sdf").is_file()


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(ROOT / "README.md", tmp_path, monkeypatch, {"evaluate": "--protocol none"})
    assert (tmp_path / "first/per_molecule.csv").is_file()
    assert (tmp_path / "best_denoiser.pt").is_file()


def test_design_for_a_pocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = {"evaluate": "--tools strain vina", "rank": "--filters connected"}
    run_page(DOCS / "tutorials/pocket.md", tmp_path, monkeypatch, tools)
    assert (tmp_path / "relaxed/top.sdf").is_file()
    assert (tmp_path / "relaxed/report.html").is_file()
    assert (tmp_path / "7off_hbond/samples.json").is_file()


@pytest.mark.gate
def test_grow_and_optimise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(DOCS / "tutorials/optimise.md", tmp_path, monkeypatch, {"evaluate": "--protocol none"})
    assert (tmp_path / "better/report.html").is_file()
    assert (tmp_path / "flat/history.csv").is_file()
    assert (tmp_path / "near/samples.json").is_file()


def test_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(DOCS / "tutorials/crossdocked.md", tmp_path, monkeypatch, {"generate": "--candidates 1 --no-relax"})
    assert (tmp_path / "runs/first/best_denoiser.pt").is_file()
    assert (tmp_path / "runs/first/7off/samples.json").is_file()
    assert (tmp_path / "runs/first/training.html").is_file()
    assert (tmp_path / "data/examples/splits.json").is_file()


def test_evaluate_another_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in (("made", "ligand.sdf"), ("references", "ligand.sdf"), ("proteins", "protein.pdb.gz")):
        (tmp_path / folder).mkdir()
        for pocket in ("7off", "7sza"):
            target = tmp_path / folder / f"{pocket}.{name.partition('.')[2]}"
            shutil.copy(ROOT / "examples/complexes" / pocket / name, target)
    (tmp_path / "manifest.csv").write_text("ligands,pocket,requested\nmade/7off.sdf,7off,2\n", encoding="utf-8")
    run_page(DOCS / "tutorials/evaluate.md", tmp_path, monkeypatch, {"evaluate": "--protocol none --overwrite"})
    assert (tmp_path / "scores/summary.json").is_file()


def test_scale_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = DOCS / "tutorials/scale-out.md"
    manifest = re.search(r"^```\n(pocket,.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert manifest
    (tmp_path / "pockets.csv").write_text(manifest[1], encoding="utf-8")
    run_page(page, tmp_path, monkeypatch, {"evaluate": "--protocol none"})
    assert (tmp_path / "run/7sza/ligands.sdf").is_file()
    assert (tmp_path / "run/evaluation/report.html").is_file()
