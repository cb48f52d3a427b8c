"""Imports run one way: a module may import its own layer and those below, and `evaluation` never needs torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src/ligandsmith"
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "files", "types", "config"),
    ("data",),
    ("diffusion", "chem"),
    ("models",),
    ("losses",),
    ("training", "samples", "sampling", "generation", "concurrency", "closing", "many"),
    ("arguments", "doctor", "generation_commands", "selection_commands", "cli"),
)
COMMAND_LINE = ("doctor", "generation_commands", "selection_commands", "cli")
RANK = {room: rank for rank, layer in enumerate(LAYERS) for room in layer}
EVALUATION_MAY_IMPORT = {"errors", "files", "evaluation", "chem.sdf", "chem.relax", "chem.surroundings", "many.engines"}
ENTRANCES = {"__init__", "__main__"}  # import lazily, from anywhere


def imported_modules(source: str, module: str) -> set[str]:
    """Dotted names below `ligandsmith` that a module imports at run time; TYPE_CHECKING blocks do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parent = ["ligandsmith", *module.split(".")[: -node.level]] if node.level else []
            base = ".".join([*parent, *(node.module or "").split(".")]).strip(".")
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name.removeprefix("ligandsmith.") for name in found if name.startswith("ligandsmith.")}


def modules() -> list[tuple[str, str]]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [(".".join(path.relative_to(PACKAGE).with_suffix("").parts), path.read_text()) for path in paths]


def violations(module: str, source: str) -> list[str]:
    room = module.split(".", maxsplit=1)[0]
    imports = imported_modules(source, module)
    if room in ENTRANCES:
        return []
    if room == "evaluation":
        allowed = tuple(EVALUATION_MAY_IMPORT)
        return [f"{module} imports {name}" for name in imports if not name.startswith(allowed)]
    if room not in RANK:
        return [f"{module}: give it a place in LAYERS"]
    rooms = {name: name.split(".")[0] for name in imports}
    return [
        f"{module} imports {name}"
        for name, other in rooms.items()
        if other != "__version__"
        and not (other == "evaluation" and room in COMMAND_LINE)
        and RANK.get(other, len(LAYERS)) > RANK[room]
    ]


def test_imports_run_one_way() -> None:
    found = modules()
    assert len(found) > 10
    assert [v for module, source in found for v in violations(module, source)] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("data.pocket", "from ligandsmith.models.layers import RBF"),
        ("models.size", "import ligandsmith.training.trainer"),
        ("chem.builder", "def f():\n    from ligandsmith.generation import x"),
        ("data.collate", "from ..training import trainer"),
        ("evaluation.poses", "from ligandsmith.types import Ligand"),
        ("evaluation.poses", "from ligandsmith.chem.builder import build_molecule"),
        ("attic", "import math"),
    ],
)
def test_a_wrong_way_import_is_seen(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


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
