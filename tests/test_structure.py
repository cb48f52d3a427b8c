"""The structure of the code: docstrings, size, what a reader has to open, the list of benchmarks, allowed skips."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from ci_skips import unexpected_skips

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.__main__ import HELPERS, benchmarks, main, page  # noqa: E402
from benchmarks.reading_load import PACKAGE, ligand, public_classes, training_step, undocumented  # noqa: E402


def test_every_public_name_has_a_docstring() -> None:
    missing = [
        n for p in sorted(PACKAGE.rglob("*.py")) for n in undocumented(p.read_text(), str(p.relative_to(PACKAGE)))[1]
    ]
    assert missing == []


def test_a_missing_docstring_is_seen() -> None:
    assert undocumented('"""M."""\ndef f(): ...\nclass _C:\n    def g(self): ...\n', "m") == (2, ["m.f"])


def _public_names(source: str) -> set[str]:
    """Functions, classes and constants of a module; loggers and type variables may share a name."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and "TypeVar(" not in ast.unparse(node.value):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")} - {"log"}


def _shared_names(sources: dict[str, str]) -> dict[str, list[str]]:
    """Public names that several modules define, with these modules."""
    modules = defaultdict(list)
    for module, source in sources.items():
        for name in _public_names(source):
            modules[name].append(module)
    return {name: where for name, where in modules.items() if len(where) > 1}


def test_no_two_things_share_a_name() -> None:
    shared = _shared_names({str(p.relative_to(PACKAGE)): p.read_text() for p in sorted(PACKAGE.rglob("*.py"))})
    assert shared == {}


def test_a_shared_name_is_seen() -> None:
    one = 'A = B = 1\nlog = 1\nT = TypeVar("T")\ndef f(): ...'
    two = 'B = 2\nlog = _C = 1\nT = TypeVar("T")\nclass f: ...'
    assert _shared_names({"one": one, "two": two}) == {"B": ["one", "two"], "f": ["one", "two"]}


def test_a_training_step_reads_few_files() -> None:
    files = training_step()
    assert len(files) <= 12
    assert sum(len(public_classes(path)) for path in files) <= 30


def test_a_ligand_reads_few_files() -> None:
    assert len(ligand(relax=False)) <= 30
    assert len(ligand()) <= 37


def test_the_page_of_benchmarks_is_up_to_date() -> None:
    assert (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", sorted(benchmarks()))
def test_every_benchmark_answers_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: the imports of one would take seconds for each."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", name, "--help"])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert all(name not in benchmarks() for name in HELPERS)


def test_only_a_missing_gpu_may_be_skipped_in_ci() -> None:
    assert unexpected_skips(["Skipped: no GPU", "Skipped: ray is not installed"]) == ["Skipped: ray is not installed"]
