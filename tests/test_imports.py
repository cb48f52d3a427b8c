"""Imports run one way: each package imports only the packages below it, without a circle, type checking included."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src/ligandsmith"
GROUND = {"errors", "files", "config", "options", "records"}
TENSORS = GROUND | {"batches", "predictions"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "config": {"errors"},
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
}
ALLOWED["cli"] = set(ALLOWED)
PUBLIC = {"", "__main__"}  # `ligandsmith` itself hands out names on first use


def modules() -> dict[str, str]:
    """Source by dotted name below `ligandsmith`; a package's `__init__` has the name of the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {".".join(p.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").strip("."): p.read_text()
            for p in paths}  # fmt: skip


def imported_modules(source: str, module: str) -> set[str]:
    """Dotted names below `ligandsmith` that a module imports anywhere, in functions and under TYPE_CHECKING, too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = ["ligandsmith", *module.split(".")[: -node.level]] if node.level else []
            base = ".".join([*parent, *(node.module or "").split(".")]).strip(".")
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name.removeprefix("ligandsmith.") for name in found if name.startswith("ligandsmith.")}


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports. `from package import name` counts for the module or package."""

    def known(name: str) -> str:
        while name not in sources and name:
            name = name.rpartition(".")[0]
        return name

    return {module: {known(name) for name in imported_modules(source, module)} - {"", module}
            for module, source in sources.items()}  # fmt: skip


def violations(module: str, imports: set[str]) -> list[str]:
    package = module.split(".", maxsplit=1)[0]
    if package in PUBLIC:
        return []
    if package not in ALLOWED:
        return [f"{module}: give it a place in ALLOWED"]
    return [f"{module} imports {name}" for name in sorted(imports)
            if (other := name.split(".")[0]) != package and other not in ALLOWED[package]]  # fmt: skip


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_run_one_way() -> None:
    graph = import_graph(modules())
    assert len(graph) > 100
    assert [v for module, imports in graph.items() for v in violations(module, imports)] == []


def test_no_modules_import_each_other() -> None:
    assert circle(import_graph(modules())) == []


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
    assert set(circle(import_graph(sources))) == {"chem.a", "chem.b"}


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
