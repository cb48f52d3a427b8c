"""The folder that `ligandsmith optimise` writes, read back for the report. Never imports torch.

history.csv lists all ligands, optimisation.json says what for, and what each round did. Both may come from strangers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.evaluation.molecule_table import finite_number
from ligandsmith.evaluation.report.rendering import label
from ligandsmith.evaluation.report.results import ANY_KEY, COUNT, NUMBER, TEXT, misshapen, read_json
from ligandsmith.files import csv_content

RUN_FILE, HISTORY_FILE = "optimisation.json", "history.csv"
COMMAND = "optimise"
START_MOVE = "start"
HISTORY_COLUMNS = (
    "index", "round", "move", "parents", "smiles", "heavy_atoms", "score", "pb_valid", "reason", "detail",
)  # fmt: skip
SHAPE: dict[str, Any] = {  # of optimisation.json, as far as the report reads it
    "objectives": [{"name": TEXT, "better": TEXT, "weight": NUMBER, "unit": TEXT}],
    "selection": TEXT,
    "command": TEXT,
    "seconds": NUMBER,
    "rounds": [{
        "best": {ANY_KEY: NUMBER}, "mean": {ANY_KEY: NUMBER}, "best_score": NUMBER,
        "moves": {ANY_KEY: {"tried": COUNT, "won": COUNT}},
    }],
    "pareto_front": [COUNT],
    "chosen": [COUNT],
}  # fmt: skip
ObjectiveValues = Mapping[str, float | None]


@dataclass(frozen=True)
class ListedObjective:
    """One thing that ligands were optimised for."""

    name: str
    higher: bool  # is better
    weight: float
    unit: str

    @property
    def title(self) -> str:
        """Its name on the page, with the unit."""
        return label(self.name) + (f" ({self.unit})" if self.unit else "")

    def best(self, values: Sequence[float | None]) -> float | None:
        """The best of those that are there."""
        known = [value for value in values if value is not None]
        return (max if self.higher else min)(known, default=None)


@dataclass(frozen=True)
class ListedLigand:
    """A row of history.csv."""

    index: int
    round: int
    move: str
    parents: tuple[int, ...]
    smiles: str
    heavy_atoms: int | None
    values: ObjectiveValues  # of the objectives
    score: float | None
    pb_valid: bool | None  # None: not checked
    reason: str  # why it has no score
    detail: str


@dataclass(frozen=True)
class Optimisation:
    """What the report needs; `front` and `chosen` are indices of ligands, `chosen` best first."""

    record: Mapping[str, Any]
    objectives: tuple[ListedObjective, ...]
    ligands: Mapping[int, ListedLigand]
    front: frozenset[int]
    chosen: tuple[int, ...]

    @property
    def rounds(self) -> Sequence[Mapping[str, Any]]:
        """What each round did; round 0 are the ligands at the start."""
        return [entry or {} for entry in self.record["rounds"]]

    @cached_property
    def starts(self) -> list[ListedLigand]:
        """The ligands that it began with."""
        return [ligand for ligand in self.ligands.values() if ligand.move == START_MOVE]

    @cached_property
    def made(self) -> list[ListedLigand]:
        """All other ones."""
        return [ligand for ligand in self.ligands.values() if ligand.move != START_MOVE]


def read_optimisation(folder: Path) -> Optimisation | None:
    """What is in the folder of an optimisation, None if it is none.

    Raises LigandsmithError where optimisation.json or history.csv cannot be used, or no round has ended.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        return None
    record = read_json(path, COMMAND)
    wrong = misshapen(record, SHAPE) if isinstance(record, dict) else "it"
    if wrong:
        raise LigandsmithError(f"{path}: {shortened(wrong)} has another type than `ligandsmith {COMMAND}` writes")
    if not (record.get("rounds") and (folder / HISTORY_FILE).is_file()):
        raise LigandsmithError(f"{folder}: no round has ended; run the same `ligandsmith {COMMAND}` to go on")
    objectives = tuple(_objective(entry, path) for entry in record.get("objectives") or ())
    ligands = _read_history(folder / HISTORY_FILE, [objective.name for objective in objectives])
    front, chosen = (record.get(key) or [] for key in ("pareto_front", "chosen"))
    for index in (*front, *chosen):
        if index not in ligands or ligands[index].score is None:
            raise LigandsmithError(f"{path}: {HISTORY_FILE} has no score of ligand {index}; are both of one run?")
    return Optimisation(record, objectives, ligands, frozenset(front), tuple(chosen))


def _objective(entry: Any, path: Path) -> ListedObjective:
    if not entry or not entry.get("name") or entry.get("better") not in ("higher", "lower"):
        raise LigandsmithError(f"{path}: an objective without name or direction; was it changed by hand?")
    weight = entry.get("weight")
    return ListedObjective(entry["name"], entry["better"] == "higher", 1.0 if weight is None else weight,
                     entry.get("unit") or "")  # fmt: skip


def _read_history(path: Path, objectives: Sequence[str]) -> dict[int, ListedLigand]:
    """Ligands by index. Raises LigandsmithError."""
    try:
        columns, records = csv_content(path, errors="replace")
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"cannot read {path}: {error}; run `ligandsmith {COMMAND}` again") from error
    if absent := [name for name in (*HISTORY_COLUMNS, *objectives) if name not in columns]:
        raise LigandsmithError(f"{path}: no column {shortened(absent[0])}; it is not the table of this optimisation")
    ligands: dict[int, ListedLigand] = {}
    for line, record in records:
        try:
            ligand = _ligand(record, objectives)
        except ValueError as error:
            raise LigandsmithError(f"{path}, line {line}: {error}") from None
        lost = next((parent for parent in ligand.parents if parent not in ligands), None)
        if lost is not None or ligand.index in ligands:
            what = f"ligand {ligand.index} comes twice" if lost is None else f"its parent {lost} does not stand before"
            raise LigandsmithError(f"{path}, line {line}: {what}; was the table sorted or edited?")
        ligands[ligand.index] = ligand
    return ligands


def _ligand(record: Mapping[str, str], objectives: Sequence[str]) -> ListedLigand:
    valid = _number(record, "pb_valid")
    size = record["heavy_atoms"]
    return ListedLigand(
        index=_whole(record["index"]),
        round=_whole(record["round"]),
        move=record["move"],
        parents=tuple(_whole(parent) for parent in record["parents"].split(";") if parent),
        smiles=record["smiles"],
        heavy_atoms=_whole(size) if size else None,
        values={name: _number(record, name) for name in objectives},
        score=_number(record, "score"),
        pb_valid=None if valid is None else bool(valid),
        reason=record["reason"],
        detail=record["detail"],
    )


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ValueError(f"{shortened(repr(text))} where a whole number should be")
    return int(text)


def _number(record: Mapping[str, str], name: str) -> float | None:
    """A finite number, None for an empty cell and for what is not finite."""
    value = finite_number(record[name])
    if value is None and record[name].strip().lower() not in ("", "nan", "inf", "-inf"):
        raise ValueError(f"{shortened(repr(record[name]))} is no number, in column {name}")
    return value
