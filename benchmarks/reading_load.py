"""How much of the code one training step and one ligand run through, and the size and structure of the package.

Files are traced at run time: those of the package in which a function runs, and the public classes that they define. A
training step is `Trainer._batch` of a denoiser whose VAEs are frozen; a ligand goes from a PDB file to an SDF file by
`read_pocket`, `load` and `generate_to_folder`, all imports made before. The last line is JSON.

    python -m benchmarks reading_load [--list]
"""

import argparse
import ast
import io
import sys
import tempfile
import threading
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import ligandsmith
from benchmarks.measure import report
from ligandsmith.config import preset
from ligandsmith.generation import GenerationOptions, generate_to_folder, load, read_pocket
from ligandsmith.options import DataOptions, Hardware, TrainOptions
from ligandsmith.training import stages, trainer
from ligandsmith.training.options import Request

PACKAGE = Path(ligandsmith.__file__).parent
SITE = Path(__file__).resolve().parents[1] / "examples/complexes/7off"


@contextmanager
def traced(files: set[str]) -> Iterator[None]:
    """Collect the files of the package in which a function is called."""

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            files.add(frame.f_code.co_filename)

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def training_step() -> set[str]:
    """Files of a training step."""
    files: set[str] = set()
    original = trainer.Trainer._batch

    def batch(self: trainer.Trainer, *args: Any, **kwargs: Any) -> None:
        with traced(files):
            original(self, *args, **kwargs)

    with tempfile.TemporaryDirectory() as folder:
        data = DataOptions(batch_size=4, num_workers=0, limit=16)
        options = TrainOptions(Path(folder), max_steps=2, num_epochs=1)
        request = Request(preset("tiny"), data, options, Hardware("cpu", threads=1))
        trainer.Trainer._batch = batch  # type: ignore[method-assign]
        try:
            weights = PACKAGE / "weights"
            stages.train_denoiser(request, weights / "ligand_vae_tiny.pt", weights / "protein_vae_tiny.pt")
        finally:
            trainer.Trainer._batch = original  # type: ignore[method-assign]
    return files


def ligand(relax: bool = True) -> set[str]:
    """Files of one ligand from PDB to SDF, with or without its relaxation in the pocket."""
    files: set[str] = set()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, traced(files):
        pocket, _ = read_pocket(SITE / "protein.pdb.gz", SITE / "ligand.sdf")
        options = GenerationOptions(num=1, relax=relax, num_atoms="20", steps=8)  # so few that no candidate is the last
        generate_to_folder(load("small"), pocket, options, Path(folder) / "out")
    return files


def public_classes(path: str) -> list[str]:
    """Names of the public classes of a file."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return [n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]


def code_lines(source: str) -> int:
    """Lines with code: without blank lines, comments and docstrings."""
    tree = ast.parse(source)
    texts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            texts |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    used: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            used |= set(range(token.start[0], token.end[0] + 1))
    return len(used - texts)


def undocumented(source: str, module: str) -> tuple[int, list[str]]:
    """Number of public names (module, classes, functions, methods) and those without a docstring."""
    tree = ast.parse(source)
    found: list[tuple[str, Any]] = [(module, tree)] if source.strip() else []

    def visit(node: Any, prefix: str) -> None:
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef) and not child.name.startswith("_"):
                found.append((f"{prefix}.{child.name}", child))
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{prefix}.{child.name}")

    visit(tree, module)
    return len(found), [name for name, node in found if ast.get_docstring(node) is None]


def package_sources() -> dict[str, str]:
    """Source by dotted name below `ligandsmith`; a package's `__init__` has the name of the package."""
    return {
        ".".join(p.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").strip("."): p.read_text("utf-8")
        for p in sorted(PACKAGE.rglob("*.py"))
    }


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
        while name and name not in sources:
            name = name.rpartition(".")[0]
        return name

    return {
        module: {known(name) for name in imported_modules(source, module)} - {"", module}
        for module, source in sources.items()
    }


def circular(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="also list the files, classes and undocumented names")
    args = parser.parse_args()
    sources = package_sources()
    traces: dict[str, Callable[[], set[str]]] = {"training step": training_step, "PDB to SDF": ligand}
    result: dict[str, Any] = {"benchmark": "reading_load"}
    for name, trace in traces.items():
        files = sorted(trace())
        classes = {path: public_classes(path) for path in files}
        count = sum(map(len, classes.values()))
        print(f"{name}: {len(files)} files, {count} public classes")
        if args.list:
            for path, found in classes.items():
                print(f"  {Path(path).relative_to(PACKAGE)}: {', '.join(found)}")
        result |= {f"{name} files": len(files), f"{name} classes": count}
    names = [undocumented(source, module or "ligandsmith") for module, source in sources.items()]
    missing = [name for _, group in names for name in group]
    result |= {
        "code lines": sum(map(code_lines, sources.values())), "public names": sum(n for n, _ in names),
        "without docstring": len(missing), "import circle": circular(import_graph(sources)),
    }  # fmt: skip
    for name in ("code lines", "public names", "without docstring", "import circle"):
        print(f"{name}: {result[name]}")
    if args.list:
        print(*missing, sep="\n")
    report(**result)


if __name__ == "__main__":
    main()
