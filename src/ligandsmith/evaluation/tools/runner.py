"""Slow scores of single molecules: one answer per molecule, by several processes, kept on disk. Never imports torch.

A tool is killed and started again where a molecule takes too long or takes its process down; that molecule then has a
failure as its answer. Answers are appended to a file as they come, so an interrupted evaluation continues.
"""

import hashlib
import importlib
import json
import multiprocessing
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from rdkit import Chem
from tqdm import tqdm

from ligandsmith.chem.protein import ProteinView
from ligandsmith.errors import one_line
from ligandsmith.parallel.processes import WorkerFailure, results_from_processes

INSTALL = "pip install 'ligandsmith[evaluate]'"
Answer = dict[str, Any] | str  # named plain values (JSON), or why this molecule has none


class ToolFailure(Exception):
    """A tool cannot answer for one molecule. The text is the reason, one line."""


@contextmanager
def failing_as(what: str) -> Iterator[None]:
    """Turns an error of a library within the block into the ToolFailure 'what: error'."""
    try:
        yield
    except (ValueError, RuntimeError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise ToolFailure(f"{what}: {one_line(error)}") from error


@dataclass(frozen=True)
class Site:
    """Where molecules are judged: a protein and a reference ligand in it (heavy atoms), as far as they are given."""

    name: str = ""
    protein: ProteinView | None = None
    reference: Chem.Mol | None = None

    def required_protein(self) -> ProteinView:
        """The protein; raises ToolFailure without one."""
        if self.protein is None:
            raise ToolFailure("no protein given")
        return self.protein

    def key(self) -> str:
        """Changes with the coordinates of protein and reference."""
        digest = hashlib.sha256()
        if self.protein is not None:
            digest.update(self.protein.element.tobytes() + self.protein.x.tobytes())
        if self.reference is not None:
            x = self.reference.GetConformer().GetPositions().round(3)
            digest.update(Chem.MolToSmiles(self.reference).encode() + x.tobytes())
        return digest.hexdigest()


def import_optional(package: str) -> Any:
    """A package of the extra `evaluate`, imported without its warnings; raises ImportError."""
    with warnings.catch_warnings(record=True):
        return importlib.import_module(package)


def not_installed(*packages: str) -> str:
    """Which package is missing and how to get it; empty if none. Imports them, so that forks need not."""
    for package in packages:
        try:
            import_optional(package)
        except ImportError:
            return f"{package} is not installed: {_how_to_get(package)}"
    return ""


def _how_to_get(package: str) -> str:
    has_wheels = sys.version_info < (3, 13) and sys.platform == "linux" and platform.machine() == "x86_64"
    if package == "vina" and not has_wheels:
        return "it has wheels only for Python 3.11 and 3.12 on Linux (x86-64)"
    return INSTALL


class Tool(Protocol):
    """A frozen dataclass of settings that can score molecules at a site."""

    @property
    def name(self) -> str:
        """Prefix of what it writes."""

    @property
    def seconds(self) -> float:
        """Longest time for one molecule, the first of a process including the set-up; then it is a failure."""

    def missing(self, site: Site) -> str:
        """Why it cannot run at all (not installed, no protein); empty if it can."""

    def settings(self) -> Mapping[str, Any]:
        """What changes its answers, versions included; plain values."""

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        """Set up for a site, once per process; the function answers for a heavy-atom molecule or raises ToolFailure."""


def run_tool(
    tool: Tool, site: Site, mols: Sequence[Chem.Mol | None], folder: Path | None = None, workers: int = 1
) -> list[Answer | None] | str:
    """The answer for each molecule (None for None), or why there are none at all.

    With `folder`, answers are kept in `folder/NAME.jsonl` and not computed again.
    """
    cause = tool.missing(site)
    if cause:
        return cause
    store = AnswerStore(None if folder is None else folder / f"{tool.name}.jsonl")
    keys = answer_keys(tool, site, mols)
    asked = {key: mol for key, mol in zip(keys, mols, strict=True) if key is not None and mol is not None}
    todo = {key: mol for key, mol in asked.items() if key not in store.answers}
    with tqdm(total=len(todo), desc=tool.name, unit="mol", disable=None if todo else True) as bar:
        for key, answer, final in _compute(tool, site, todo, workers):
            store.add(key, answer, keep=final)
            bar.update()
    return [None if key is None else store.answers[key] for key in keys]


def answer_keys(tool: Tool, site: Site, mols: Sequence[Chem.Mol | None]) -> list[str | None]:
    """The keys under which the answers for molecules are kept; None for None."""
    context = json.dumps([tool.name, dict(tool.settings()), site.key()], sort_keys=True)
    return [None if mol is None else pose_key(mol, context) for mol in mols]


def pose_key(mol: Chem.Mol, context: str = "") -> str:
    """Hash of a molecule's graph and coordinates, and of what else decides its answer."""
    block = Chem.MolToMolBlock(mol, kekulize=False).partition("\n")[2]  # without the title
    return hashlib.sha256((context + Chem.MolToSmiles(mol) + block).encode()).hexdigest()[:24]


class AnswerStore:
    """Answers by key, in a file of JSON lines that only grows."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {}
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                with suppress(ValueError, TypeError, RecursionError):  # cut short by an interruption, or damaged
                    key, answer = json.loads(line)
                    if "\N{REPLACEMENT CHARACTER}" not in line and isinstance(answer, dict | str):
                        self.answers[key] = answer  # any other is computed again
            if text and not text.endswith("\n"):
                with path.open("a", encoding="utf-8") as stream:
                    stream.write("\n")

    def add(self, key: str, answer: Answer, keep: bool = True) -> None:
        """Remember an answer, and with `keep` write it down."""
        self.answers[key] = answer
        if keep and self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps([key, answer]) + "\n")


class _WorkAtSite:
    """A tool at a site, in a worker process: set up with the first molecule, under its time limit."""

    def __init__(self, tool: Tool, site: Site) -> None:
        self.tool, self.site = tool, site

    @cached_property
    def answer(self) -> Callable[[Chem.Mol], dict[str, Any]]:
        os.environ["OMP_NUM_THREADS"] = "1"
        return self.tool.open(self.site)

    def __call__(self, question: tuple[str, Chem.Mol]) -> tuple[Answer, bool]:
        """The answer and whether it is final: where the tool cannot be set up, the next run tries again."""
        is_open = False
        try:
            answer, is_open = self.answer, True
            return answer(question[1]), True
        except ToolFailure as error:
            return str(error), is_open
        except Exception as error:  # noqa: BLE001 (one odd molecule must not end the evaluation of thousands)
            return f"{self.tool.name}: {type(error).__name__}: {one_line(error)}", is_open


def _compute(tool: Tool, site: Site, todo: Mapping[str, Chem.Mol], workers: int) -> Iterator[tuple[str, Answer, bool]]:
    """Keys with their answers as they come, and whether each is final: what may lie in the machine (memory, a full
    disk) is tried again by the next run."""
    # A fork has what `missing` imported. Within a Ray task, whose process has threads that it would cut off, only
    # "spawn" is safe.
    fork = "fork" in multiprocessing.get_all_start_methods() and "ray" not in sys.modules
    work, method = _WorkAtSite(tool, site), "fork" if fork else "spawn"
    with closing(results_from_processes(work, todo.items(), workers, tool.seconds, method=method)) as results:
        for (key, _), result in results:
            if not isinstance(result, WorkerFailure):
                yield key, *result
            elif result.exit_code is None:
                yield key, f"{tool.name}: no answer within {tool.seconds:g} s", True
            else:
                yield key, f"{tool.name}: its process ended ({result.exit_code})", False
