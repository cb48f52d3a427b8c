"""The notebooks of examples/ run from top to bottom."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def run(name: str, folder: Path) -> str:
    """What a notebook prints; raises an error where a cell does."""
    shutil.copytree(EXAMPLES / "complexes", folder / "complexes")
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))


def test_the_notebook_goes_from_a_protein_to_ranked_ligands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM", "3")
    monkeypatch.setenv("TOOLS", "strain")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    printed = run("from_protein_to_ligands.ipynb", tmp_path)
    assert "3 requested, 3 sampled" in printed
    assert (tmp_path / "7off/report.html").stat().st_size > 100_000
    assert "ligand_" in (tmp_path / "7off/top.sdf").read_text()


def test_the_notebook_optimises_a_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGET", "25")
    monkeypatch.setenv("CHECKPOINT", "tiny")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    printed = run("optimise.ipynb", tmp_path)
    assert "26 ligands, " in printed
    assert (tmp_path / "better/history.csv").read_text().count("\n") == 27
    assert 'id="optimisation"' in (tmp_path / "better/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_installs_the_package_and_its_input_on_colab_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: started.append(words))
    monkeypatch.chdir(tmp_path)
    exec(first, {})
    assert (started, list(tmp_path.iterdir())) == ([], [])
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(first, {})
    assert started == [[sys.executable, "-m", "pip", "install", "--quiet", "ligandsmith[evaluate]"]]
    source = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    (site,) = re.findall(r'SITE = Path\("(.+)"\)', source)
    assert (tmp_path / site / "protein.pdb.gz").is_file()
