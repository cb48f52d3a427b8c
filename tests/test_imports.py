"""Imports run one way: each package imports only the packages below it, without a circle, type checking included."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.reading_load import circular, import_graph, imported_modules, package_sources

GROUND = {"errors", "files", "unpickling", "config", "options", "records"}
TENSORS = GROUND | {"batches", "predictions"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "unpickling": {"errors"},
    "config": {"errors", "files"},
    "options": {"config"},
    "records": set(),
    "batches": {"records", "structure"},
    "predictions": {"batches"},
    "parallel": GROUND,
    "structure": GROUND,
    "chem": GROUND | {"structure"},
    "diffusion": TENSORS,
    "data": TENSORS | {"structure", "parallel"},
    "models": TENSORS | {"structure", "data", "diffusion"},
    "checkpoints": TENSORS | {"structure", "models"},
    "training": TENSORS | {"structure", "chem", "data", "diffusion", "models", "checkpoints", "parallel"},
    "generation": TENSORS | {"structure", "chem", "data", "diffusion", "models", "checkpoints", "parallel"},
    "evaluation": GROUND | {"structure", "chem", "parallel"},
    "finetuning": TENSORS
    | {"structure", "chem", "data", "diffusion", "models", "checkpoints", "parallel"}
    | {"training", "generation", "evaluation"},
    "design": TENSORS | {"structure", "chem", "diffusion", "generation", "evaluation", "parallel"},
    "studio": GROUND | {"structure", "chem", "evaluation", "parallel"},
}
ALLOWED["cli"] = set(ALLOWED)
PUBLIC = {"", "__main__"}  # `ligandsmith` itself hands out names on first use


def violations(module: str, imports: set[str]) -> list[str]:
    package = module.split(".", maxsplit=1)[0]
    if package in PUBLIC:
        return []
    if package not in ALLOWED:
        return [f"{module}: give it a place in ALLOWED"]
    return [f"{module} imports {name}" for name in sorted(imports)
            if (other := name.split(".")[0]) != package and other not in ALLOWED[package]]  # fmt: skip


def test_imports_run_one_way() -> None:
    graph = import_graph(package_sources())
    assert len(graph) > 100
    assert [v for module, imports in graph.items() for v in violations(module, imports)] == []


def test_no_modules_import_each_other() -> None:
    assert circular(import_graph(package_sources())) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("data.pocket", "from ligandsmith.models.layers import RBF"),
        ("models.size", "import ligandsmith.training.trainer"),
        ("chem.builder", "def f():\n    from ligandsmith.generation import x"),
        ("data.collate", "from ..training import trainer"),
        (
            "structure.pocket",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ligandsmith.chem import sdf",
        ),
        ("evaluation.metrics", "from ligandsmith.batches import LigandBatch"),
        ("generation.output", "from ligandsmith.training.losses import LEVEL"),
        ("attic", "import math"),
    ],
)
def test_a_wrong_way_import_is_seen(module: str, source: str) -> None:
    assert len(violations(module, imported_modules(source, module))) == 1


def test_a_circle_is_seen() -> None:
    sources = {"chem.a": "from ligandsmith.chem import b", "chem.b": "import ligandsmith.chem.a"}
    assert set(circular(import_graph(sources))) == {"chem.a", "chem.b"}


def test_evaluation_leaves_torch_alone() -> None:
    code = "import sys, ligandsmith.evaluation.evaluate; print('torch' in sys.modules, 'rdkit' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]


def test_generation_leaves_the_tools_of_training_alone() -> None:
    """Importing them takes longer than making a few ligands."""
    slow = {"lightning_fabric", "matplotlib", "torch._dynamo"}
    code = f"import sys, ligandsmith.generation; print({slow} & {{*sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
