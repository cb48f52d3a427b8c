"""The notebook of examples/ runs from top to bottom."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "from_protein_to_ligands.ipynb"


def test_the_notebook_goes_from_a_protein_to_ranked_ligands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM", "3")
    monkeypatch.setenv("TOOLS", "strain")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copytree(EXAMPLES / "complexes", tmp_path / "complexes")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert "3 requested, 3 sampled" in printed
    assert (tmp_path / "7off/report.html").stat().st_size > 100_000
    assert "ligand_" in (tmp_path / "7off/top.sdf").read_text()


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
