"""Scores of the user's own: a Python function or a command, named by flags and by nothing else.

`--scorer my_module:score` calls `score(mols)` with a list of RDKit molecules (heavy atoms, with their pose) and takes
one number each. `--scorer "command {sdf} {csv}"` runs a command that reads an SDF, whose records have the property
`index`, and writes a CSV with the columns `index` and `score`. `NAME=...` names the objective, by default that of the
function or of the program. What goes wrong for some molecules is a failure of these.
"""

import csv
import importlib
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rdkit import Chem

from ligandsmith.chem.sdf import write_sdf
from ligandsmith.errors import LigandsmithError, one_line, shortened
from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.files import csv_content, temporary_folder
from ligandsmith.parallel.processes import WorkerFailure, results_from_processes
from ligandsmith.parallel.signals import end_with_children

FUNCTION = re.compile(r"[\w.]+:\w+")
NAMED = re.compile(r"([A-Za-z_]\w*)=(.+)", re.DOTALL)
SECONDS_OF_SCORER = 300.0  # for all molecules of a round
Score = float | str  # or why there is none
# Columns of the table of all ligands; a function of such a name gives its objective the name of its module.
TABLE_COLUMNS = frozenset(
    ("index", "round", "move", "parents", "smiles", "score", "estimate", "defects", "chosen", "reason", "detail")
)


@dataclass(frozen=True)
class Scorer:
    """A scorer by name. `text` is what the user gave, without the name."""

    name: str
    text: str
    seconds: float = SECONDS_OF_SCORER

    def __call__(self, mols: Sequence[Chem.Mol]) -> list[Score]:
        """A score for each molecule, or why it has none."""
        if not mols:
            return []
        return self._of_function(mols) if FUNCTION.fullmatch(self.text) else self._of_command(mols)

    def _of_function(self, mols: Sequence[Chem.Mol]) -> list[Score]:
        """In a process of its own, which is ended where it takes too long."""
        work = partial(_called, self.text)
        with closing(results_from_processes(work, [list(mols)], 1, self.seconds)) as results:
            answer = next(results)[1]
        if isinstance(answer, WorkerFailure):
            cause = "its process ended" if answer.exit_code is not None else f"no scores within {self.seconds:g} s"
            answer = f"{cause} ({answer.exit_code})" if answer.exit_code is not None else cause
        elif not isinstance(answer, str) and len(answer) != len(mols):
            answer = f"gave {len(answer)} numbers for {len(mols)} molecules"
        if isinstance(answer, str):
            return [f"{self.name}: {answer}"] * len(mols)
        return [_finite(value, self.name) for value in answer]

    def _of_command(self, mols: Sequence[Chem.Mol]) -> list[Score]:
        with temporary_folder() as folder:
            sdf, table = folder / "molecules.sdf", folder / "scores.csv"
            write_sdf(sdf, ((mol, {"index": i}) for i, mol in enumerate(mols)))
            words = [word.replace("{sdf}", str(sdf)).replace("{csv}", str(table)) for word in shlex.split(self.text)]
            problem = _run(words, self.seconds)
            scores = _read_scores(table, len(mols))
        why = f"{self.name}: {problem or 'no row of it in the CSV'}"
        return [why if score is None else _finite(score, self.name) for score in scores]


def load_scorers(texts: Sequence[str], seconds: float = SECONDS_OF_SCORER) -> tuple[Scorer, ...]:
    """The scorers of the user's flags, functions imported. Raises LigandsmithError for what cannot be used."""
    scorers = [_scorer(text, seconds) for text in texts]
    names = [scorer.name for scorer in scorers]
    for name in names:
        if names.count(name) > 1:
            raise LigandsmithError(f"--scorer: two are named '{name}'; name them apart, as in other=module:function")
        if name in TABLE_COLUMNS:
            raise LigandsmithError(f"--scorer: '{name}' is a column of the results; name it, as in my_{name}=...")
        if name in METRICS:
            raise LigandsmithError(f"--scorer: '{name}' is a metric; give it another name, as in my_{name}=...")
    return tuple(scorers)


def _scorer(text: str, seconds: float) -> Scorer:
    match = NAMED.fullmatch(text.strip())
    name, body = match.groups() if match else ("", text.strip())
    if FUNCTION.fullmatch(body):
        imported(body)
        module, _, function = body.partition(":")
        return Scorer(name or (module.rpartition(".")[2] if function in TABLE_COLUMNS else function), body, seconds)
    for place in ("{sdf}", "{csv}"):
        if place not in body:
            raise LigandsmithError(
                f"--scorer {shortened(text)}: give module:function, or a command with {{sdf}} and {{csv}}; there is no "
                f"{place}"
            )
    try:
        words = shlex.split(body)
    except ValueError as error:
        raise LigandsmithError(f"--scorer {shortened(text)}: {error}") from None
    program = re.sub(r"\W", "_", Path(words[0]).stem)
    return Scorer(name or program, body, seconds)


def imported(text: str) -> Callable[[list[Chem.Mol]], Sequence[float]]:
    """The function `module:name`, of the current folder or installed. Raises LigandsmithError."""
    module_name, _, name = text.partition(":")
    here = os.getcwd()
    if here not in sys.path:  # as `python -m` has it, so that my_module.py beside the user is found
        sys.path.insert(0, here)
    try:
        module: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever the user's module raises)
        raise LigandsmithError(
            f"--scorer {text}: {module_name} cannot be imported: {type(error).__name__}: {one_line(error)}"
        ) from None
    function = getattr(module, name, None)
    if not callable(function):
        raise LigandsmithError(f"--scorer {text}: {module_name} has no function '{name}'")
    return function  # type: ignore[no-any-return]


def _called(text: str, mols: list[Chem.Mol]) -> list[float | str] | str:
    """What the user's function gives, as plain values, or what went wrong."""
    try:
        return [_plain(value) for value in imported(text)(mols)]
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever the user's function raises)
        return f"{type(error).__name__}: {one_line(error)}"


def _plain(value: Any) -> float | str:
    try:
        return float(value)
    except (TypeError, ValueError):
        return shortened(repr(value), 40)


def _finite(value: Any, name: str) -> Score:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return f"{name}: {shortened(value, 40) or 'an empty text'} is no number"
    return number if math.isfinite(number) else f"{name}: {number} is no finite number"


def _run(words: Sequence[str], seconds: float) -> str:
    """Run a command with all processes that it starts, up to a time; what went wrong, or nothing."""
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        return f"{words[0]}: {error.strerror or error}"
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"no scores within {seconds:g} s"
    finally:
        _end_group(process)
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        return f"its command ended with status {process.returncode}" + (f": {shortened(last[0], 120)}" if last else "")
    return ""


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End the command and what it started; nothing where they ended by themselves."""
    end_with_children(process.pid)
    process.wait()


def _read_scores(table: Path, count: int) -> list[str | None]:
    """The texts of the scores by index; None where the table has none."""
    scores: list[str | None] = [None] * count
    with suppress(OSError, ValueError, csv.Error):
        for _, row in csv_content(table, errors="replace")[1]:
            text = row.get("index", "")
            if text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < count:
                scores[int(text)] = row.get("score", "")
    return scores
