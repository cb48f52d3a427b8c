"""Answers of slow tools: kept on disk, in order, and a molecule that hangs or kills its process is a failure alone."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.chem.protein import ProteinView
from ligandsmith.evaluation.tools.runner import Answer, AnswerStore, Site, ToolFailure, pose_key, run_tool
from ligandsmith.structure.protein import Residue
from ligandsmith.structure.vocabulary import Kind


@dataclass(frozen=True)
class Counter:
    """Counts atoms, and leaves a line in `log` for each molecule it has seen."""

    log: str = ""
    factor: int = 1
    name: str = "counter"
    seconds: float = 30.0
    cause: str = ""

    def missing(self, site: Site) -> str:
        del site
        return self.cause

    def settings(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        del site
        return self.answer

    def answer(self, mol: Chem.Mol) -> dict[str, Any]:
        if self.log:
            with open(self.log, "a") as stream:
                stream.write(f"{Chem.MolToSmiles(mol)}\n")
        return {"atoms": self.factor * mol.GetNumAtoms(), "omp": os.environ.get("OMP_NUM_THREADS")}


@dataclass(frozen=True)
class Fragile(Counter):
    """Hangs on bromine, dies on iodine, raises on chlorine (a failure) and on fluorine (a bug); slow on sulfur."""

    seconds: float = 1.0

    def answer(self, mol: Chem.Mol) -> dict[str, Any]:
        symbols = {atom.GetSymbol() for atom in mol.GetAtoms()}
        if "Br" in symbols:
            time.sleep(60)
        if "I" in symbols:
            os._exit(7)
        if "Cl" in symbols:
            raise ToolFailure("counter: chlorine")
        if "F" in symbols:
            raise ZeroDivisionError("fluorine")
        if "S" in symbols:
            time.sleep(0.3)
        return {"atoms": mol.GetNumAtoms()}


@dataclass(frozen=True)
class NeverOpens(Counter):
    """Cannot be set up at a site."""

    how: str = "failure"

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        if self.how == "failure":
            raise ToolFailure("counter: no receptor")
        if self.how == "death":
            os._exit(3)
        raise ValueError("no\nreceptor")


def molecule(smiles: str, shift: float = 0.0) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.arange(3.0 * mol.GetNumAtoms()).reshape(-1, 3) + shift)
    mol.AddConformer(conformer, assignId=True)
    return mol


def protein(x: float) -> ProteinView:
    return ProteinView(
        "",
        (Residue("A", 1, "", "ALA", Kind.POLYMER),),
        np.array([0]),
        ("CA",),
        np.array([6]),
        np.array([[x, 0.0, 0.0]]),
    )


def atoms(answers: list[Answer | None] | str) -> list[Any]:
    assert not isinstance(answers, str)
    return [a["atoms"] if isinstance(a, dict) else a for a in answers]


def seen(tool: Counter) -> list[str]:
    path = Path(tool.log)
    return path.read_text().split() if path.exists() else []


def test_answers_are_in_the_order_asked_and_none_stays_none(tmp_path: Path) -> None:
    tool = Counter(str(tmp_path / "log"))
    mols = [molecule("CCC"), None, molecule("C"), molecule("CCC"), molecule("CC")]
    answers = run_tool(tool, Site(), mols)
    assert atoms(answers) == [3, None, 1, 3, 2]
    assert isinstance(answers[0], dict)
    assert answers[0]["omp"] == "1"
    assert sorted(seen(tool)) == ["C", "CC", "CCC"]  # the same molecule twice is one question
    assert run_tool(tool, Site(), []) == []
    assert run_tool(tool, Site(), [None]) == [None]


def test_a_tool_that_cannot_run_says_so(tmp_path: Path) -> None:
    assert run_tool(Counter(cause="not installed"), Site(), [molecule("C")], tmp_path) == "not installed"
    assert list(tmp_path.iterdir()) == []


def test_kept_answers_are_not_computed_again(tmp_path: Path) -> None:
    tool = Counter(str(tmp_path / "log"))
    mols = [molecule("CC"), molecule("CO"), molecule("CC", shift=0.5)]
    first = run_tool(tool, Site(), mols[:2], tmp_path)
    assert len(seen(tool)) == 2
    again = run_tool(tool, Site(), mols[:2][::-1], tmp_path)
    assert again == first[::-1]
    assert len(seen(tool)) == 2
    run_tool(tool, Site(), mols, tmp_path)
    assert seen(tool)[2:] == ["CC"]  # another pose is another question
    assert len((tmp_path / "counter.jsonl").read_text().splitlines()) == 3


def test_other_settings_and_other_sites_are_other_questions(tmp_path: Path) -> None:
    tool = Counter(str(tmp_path / "log"))
    mol = molecule("CC")
    assert atoms(run_tool(tool, Site(), [mol], tmp_path)) == [2]
    assert atoms(run_tool(replace(tool, factor=5), Site(), [mol], tmp_path)) == [10]
    run_tool(tool, Site(protein=protein(0.0)), [mol], tmp_path)
    run_tool(tool, Site(protein=protein(1.0)), [mol], tmp_path)
    run_tool(tool, Site(reference=mol), [mol], tmp_path)
    assert len(seen(tool)) == 5
    run_tool(replace(tool, seconds=99.0), Site("renamed", protein=protein(1.0)), [mol], tmp_path)
    assert len(seen(tool)) == 5


@pytest.mark.parametrize("rest", ['["', '["0123", {"atoms": 1', "", '["0123", {"atoms": 1}, 3]\n', "3\n", "null\n"])
def test_a_line_cut_short_is_passed_over(rest: str, tmp_path: Path) -> None:
    tool = Counter(str(tmp_path / "log"))
    run_tool(tool, Site(), [molecule("C"), molecule("CC")], tmp_path)
    path = tmp_path / "counter.jsonl"
    whole, last = path.read_text().splitlines()
    path.write_text(f"{whole}\n{rest}")
    assert atoms(run_tool(tool, Site(), [molecule("C"), molecule("CC")], tmp_path)) == [1, 2]
    assert len(seen(tool)) == 3
    assert last in path.read_text().splitlines() or whole in path.read_text().splitlines()
    run_tool(tool, Site(), [molecule("C"), molecule("CC")], tmp_path)
    assert len(seen(tool)) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_what_hangs_or_dies_is_a_failure_and_the_others_survive(workers: int, tmp_path: Path) -> None:
    smiles = ["C", "CBr", "CC", "CI", "CCC", "CCl", "CCCC", "CF", "CCCCC"]
    tool, mols = Fragile(), [molecule(s) for s in smiles]
    answers = run_tool(tool, Site(), mols, tmp_path, workers)
    assert atoms(answers) == [
        1, "counter: no answer within 1 s", 2, "counter: its process ended (7)", 3, "counter: chlorine", 4,
        "counter: ZeroDivisionError: fluorine", 5,
    ]  # fmt: skip
    kept = [json.loads(line)[1] for line in (tmp_path / "counter.jsonl").read_text().splitlines()]
    assert len(kept) == len(mols) - 1
    assert "counter: its process ended (7)" not in kept  # may lie in the machine: tried again
    written = (tmp_path / "counter.jsonl").read_text()
    assert run_tool(tool, Site(), mols, tmp_path, workers) == answers
    assert (tmp_path / "counter.jsonl").read_text() == written  # the one that hangs is not tried again


def test_a_worker_killed_from_outside_is_a_failure_that_is_tried_again(tmp_path: Path) -> None:
    mols = [molecule("S" + "C" * n) for n in range(6)]  # 0.3 s each

    def kill_a_worker() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.01)
        os.kill(children[0].pid or 0, signal.SIGKILL)

    thread = threading.Thread(target=kill_a_worker)
    thread.start()
    answers = atoms(run_tool(Fragile(), Site(), mols, tmp_path, workers=2))
    thread.join()
    assert answers.count("counter: its process ended (-9)") == 1
    assert atoms(run_tool(Fragile(), Site(), mols, tmp_path, workers=2)) == [1, 2, 3, 4, 5, 6]


def test_waiting_for_a_turn_is_not_part_of_a_molecules_time() -> None:
    mols = [molecule("S" + "C" * n) for n in range(6)]  # 1.8 s in all, each far below the limit of 1 s
    assert atoms(run_tool(Fragile(), Site(), mols)) == [1, 2, 3, 4, 5, 6]


def test_two_workers_answer_as_one(tmp_path: Path) -> None:
    mols = [molecule("C" * n) for n in range(1, 20)]
    one, two = (run_tool(Counter(), Site(), mols, tmp_path / str(n), workers=n) for n in (1, 2))
    assert one == two
    kept = [sorted((tmp_path / n / "counter.jsonl").read_text().splitlines()) for n in ("1", "2")]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("failure", "counter: no receptor"),
        ("error", "counter: ValueError: no receptor"),
        ("death", "counter: its process ended (3)"),
    ],
)
def test_a_tool_that_cannot_be_set_up_fails_on_every_molecule_and_is_tried_again(
    how: str, cause: str, tmp_path: Path
) -> None:
    mols = [molecule("C"), molecule("CC")]
    assert run_tool(NeverOpens(how=how), Site(), mols, tmp_path) == [cause, cause]
    assert run_tool(NeverOpens(how=how), Site(), mols, workers=2) == [cause, cause]
    assert atoms(run_tool(Counter(), Site(), mols, tmp_path)) == [1, 2]


def test_the_store_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.jsonl"
    AnswerStore(path).add("a", {"v": 1.5, "none": None})
    AnswerStore(path).add("b", "why")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        ["a", {"v": 1.5, "none": None}],
        ["b", "why"],
    ]
    assert AnswerStore(path).answers == {"a": {"v": 1.5, "none": None}, "b": "why"}
    AnswerStore(None).add("a", "kept in memory only")


def test_a_key_changes_with_graph_and_coordinates_and_not_with_properties() -> None:
    named = molecule("CO")
    named.SetProp("_Name", "x")
    named.SetProp("score", "1")
    keys = [pose_key(m) for m in (molecule("CO"), molecule("CN"), molecule("CO", 0.25), named)]
    assert len(set(keys[:3])) == 3
    assert keys[3] == keys[0]
