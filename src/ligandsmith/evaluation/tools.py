"""Slow scores of single molecules: one answer per molecule, by several processes, kept on disk. Never imports torch.

A tool is killed and started anew where a molecule takes too long or takes its process down; that molecule then has a
failure as its answer. Answers are appended to a file as they come, so an interrupted evaluation continues.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, TimeoutError, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pebble import ProcessExpired, ProcessPool
from rdkit import Chem, rdBase
from tqdm import tqdm

from ligandsmith.evaluation.failure import ToolFailure
from ligandsmith.evaluation.poses import Protein

Answer = dict[str, Any] | str  # named plain values (JSON), or why this molecule has none


@dataclass(frozen=True)
class Site:
    """Where molecules are judged: a protein and a reference ligand in it (heavy atoms), as far as they are given."""

    name: str = ""
    protein: Protein | None = None
    reference: Chem.Mol | None = None

    def key(self) -> str:
        """Changes with the coordinates of protein and reference."""
        digest = hashlib.sha256()
        if self.protein is not None:
            digest.update(self.protein.element.tobytes() + self.protein.x.tobytes())
        if self.reference is not None:
            digest.update(Chem.MolToSmiles(self.reference).encode() + _coordinates(self.reference))
        return digest.hexdigest()


class Tool(Protocol):
    """A frozen dataclass of settings that can score molecules at a site."""

    @property
    def name(self) -> str:
        """Prefix of what it writes."""
        ...

    @property
    def seconds(self) -> float:
        """Longest time for one molecule; then it is a failure."""
        ...

    def missing(self, site: Site) -> str:
        """Why it cannot run at all (not installed, no protein); empty if it can."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """What changes its answers, versions included; plain values."""
        ...

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        """Set up for a site, once per process; the function answers for a heavy-atom molecule or raises ToolFailure."""
        ...


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
    context = json.dumps([tool.name, dict(tool.settings()), site.key()], sort_keys=True)
    keys = [None if mol is None else molecule_key(mol, context) for mol in mols]
    asked = {key: mol for key, mol in zip(keys, mols, strict=True) if key is not None and mol is not None}
    todo = {key: mol for key, mol in asked.items() if key not in store.answers}
    with tqdm(total=len(todo), desc=tool.name, unit="mol", disable=None if todo else True) as bar:
        for key, answer in _compute(tool, site, todo, workers):
            store.add(key, answer)
            bar.update()
    return [None if key is None else store.answers[key] for key in keys]


def molecule_key(mol: Chem.Mol, context: str = "") -> str:
    """Hash of a molecule's graph and coordinates, and of what else decides its answer."""
    text = Chem.MolToSmiles(mol).encode() + Chem.MolToMolBlock(mol, kekulize=False).encode()
    return hashlib.sha256(context.encode() + text).hexdigest()[:24]


def _coordinates(mol: Chem.Mol) -> bytes:
    return bytes(mol.GetConformer().GetPositions().round(3).tobytes())


class AnswerStore:
    """Answers by key, in a file of JSON lines that only grows."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {}
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            for line in text.splitlines():
                with suppress(ValueError):  # a line cut short by an interruption
                    key, answer = json.loads(line)
                    self.answers[key] = answer
            if text and not text.endswith("\n"):
                with path.open("a", encoding="utf-8") as stream:
                    stream.write("\n")

    def add(self, key: str, answer: Answer) -> None:
        self.answers[key] = answer
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps([key, answer]) + "\n")


_answer: Callable[[Chem.Mol], dict[str, Any]]


def _open_in_worker(tool: Tool, site: Site) -> None:
    global _answer  # noqa: PLW0603 (what a worker process keeps between molecules)
    os.environ["OMP_NUM_THREADS"] = "1"
    rdBase.DisableLog("rdApp.*")
    _answer = tool.open(site)


def _answer_in_worker(mol: Chem.Mol) -> Answer:
    try:
        return _answer(mol)
    except ToolFailure as failure:
        return str(failure)


def _compute(tool: Tool, site: Site, todo: Mapping[str, Chem.Mol], workers: int) -> Iterator[tuple[str, Answer]]:
    if not todo:
        return
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    pool = ProcessPool(
        max_workers=max(1, min(workers, len(todo))),
        initializer=_open_in_worker,
        initargs=(tool, site),
        context=multiprocessing.get_context(method),
    )
    try:
        futures: dict[Future[Answer], str] = {
            pool.schedule(_answer_in_worker, args=(mol,), timeout=tool.seconds): key for key, mol in todo.items()
        }
        for future in as_completed(futures):
            yield futures[future], _result(future, tool)
        pool.close()
    finally:
        pool.stop()
        pool.join()


def _result(future: "Future[Answer]", tool: Tool) -> Answer:
    try:
        return future.result()
    except TimeoutError:
        return f"{tool.name}: no answer within {tool.seconds:g} s"
    except ProcessExpired as death:
        return f"{tool.name}: its process ended ({death.exitcode})"
