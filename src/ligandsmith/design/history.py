"""Every ligand of an optimisation, and the files that keep them: one of each round, a table for the user."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.columns import FINGERPRINT_BITS, FINGERPRINT_RADIUS
from ligandsmith.evaluation.statistics import Value
from ligandsmith.files import json_content, write_csv, write_json

START = "start"
ROUNDS, HISTORY_FILE = "rounds", "history.csv"
DIGITS = 5  # of values, after the point


@dataclass
class Row:
    """One ligand that was asked for. `block` is its mol block, empty without a molecule."""

    index: int
    round: int
    move: str
    parents: tuple[int, ...]
    block: str = ""
    smiles: str = ""
    reason: str = ""  # why it has no score, or no molecule
    detail: str = ""
    values: dict[str, Value] = field(default_factory=dict)  # of the objectives
    score: float | None = None  # weighted sum of the objectives
    estimate: float | None = None  # the same by what is cheap to compute
    defects: float | None = None  # of chem.plausibility
    valid: bool | None = None  # passes PoseBusters; None: not checked
    won: bool = False  # a new molecule that scores above the median of the parents of its round

    @cached_property
    def mol(self) -> Chem.Mol | None:
        """Heavy atoms with their pose; None without a molecule."""
        if not self.block:
            return None
        mol = Chem.MolFromMolBlock(self.block)
        if mol is not None:
            Chem.AssignStereochemistryFrom3D(mol)
        return mol

    @property
    def pose(self) -> Chem.Mol:
        """The molecule; raises ValueError without one."""
        if self.mol is None:
            raise ValueError(f"ligand {self.index} has no molecule: {self.reason}")
        return self.mol

    @cached_property
    def flat_smiles(self) -> str:
        """Two poses or epimers of a molecule are one molecule."""
        return "" if self.mol is None else str(Chem.MolToSmiles(self.mol, isomericSmiles=False))

    @cached_property
    def fingerprint(self) -> DataStructs.ExplicitBitVect:
        """Morgan, radius 2, 2048 bits."""
        return morgan_fingerprint(self.pose)

    def placed(self, mol: Chem.Mol) -> None:
        """Take a molecule with its pose."""
        self.block, self.smiles = Chem.MolToMolBlock(mol), Chem.MolToSmiles(mol)
        for name in ("mol", "flat_smiles", "fingerprint"):
            self.__dict__.pop(name, None)

    def failed(self, reason: str, detail: str = "") -> None:
        """It has no score."""
        self.reason, self.detail, self.score = reason, detail, None


def morgan_fingerprint(mol: Chem.Mol) -> DataStructs.ExplicitBitVect:
    """Morgan, radius 2, 2048 bits."""
    return _generator().GetFingerprint(mol)


def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)


class Round(NamedTuple):
    """The ligands of a round, the seconds that it took, and what PoseBusters said of earlier ones meanwhile."""

    rows: list[Row]
    seconds: float
    checked: dict[int, bool]  # by index


def write_round(folder: Path, number: int, done: Round) -> None:
    """Write a round, whole or not at all."""
    content = {
        "round": number, "seconds": round(done.seconds, 3), "checked": sorted(done.checked.items()),
        "rows": [asdict(row) for row in done.rows],
    }  # fmt: skip
    path = folder / ROUNDS
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / f"{number:04d}.json", content)


def read_round(folder: Path, number: int) -> Round | None:
    """A finished round; None if it is not finished.

    Raises LigandsmithError for a damaged file.
    """
    path = folder / ROUNDS / f"{number:04d}.json"
    if not path.is_file():
        return None
    try:
        content = json_content(path)
        rows = [_row(row) for row in content["rows"]]
        checked = {int(index): bool(valid) for index, valid in content["checked"]}
        done = Round(rows, float(content["seconds"]), checked)
        if content["round"] != number or any(row.round != number for row in rows) or not done.seconds < math.inf:
            raise ValueError("another round")
        return done
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise LigandsmithError(
            f"{path}: not the ligands of a round ({type(error).__name__}: {error}); remove it and the later ones to "
            "make them again, or choose another --out"
        ) from None


def _row(content: Any) -> Row:
    """A ligand as it was written. Raises ValueError and TypeError."""
    row = Row(**{**content, "parents": tuple(content["parents"])})
    numbers = [row.score, row.estimate, row.defects, *row.values.values()]
    if any(value is not None and (type(value) not in (float, int) or not math.isfinite(value)) for value in numbers):
        raise TypeError("a score that is no number")
    if any(type(value) is not int for value in (row.index, row.round, *row.parents)):
        raise TypeError("an index that is no whole number")
    if not all(isinstance(text, str) for text in (row.move, row.block, row.smiles, row.reason, row.detail)):
        raise TypeError("a text that is none")
    if type(row.won) is not bool or not (row.valid is None or type(row.valid) is bool):
        raise TypeError("neither true nor false")
    if row.block and row.mol is None:
        raise ValueError("a molecule that cannot be read")
    if row.score is not None and row.mol is None:
        raise ValueError("a score without a molecule")
    return row


def write_history(path: Path, rows: Sequence[Row], names: Sequence[str], chosen: Sequence[int]) -> None:
    """Write the table of all ligands; `names` are those of the objectives."""
    best = set(chosen)
    write_csv(path, [_line(row, names, row.index in best) for row in rows])


def _line(row: Row, names: Sequence[str], chosen: bool) -> dict[str, Any]:
    return {
        "index": row.index, "round": row.round, "move": row.move, "parents": ";".join(map(str, row.parents)),
        "smiles": row.smiles, "heavy_atoms": row.mol.GetNumHeavyAtoms() if row.mol is not None else "",
        **{name: _cell(row.values.get(name)) for name in names},
        "score": _cell(row.score), "estimate": _cell(row.estimate), "defects": _cell(row.defects),
        "pb_valid": "" if row.valid is None else int(row.valid), "chosen": int(chosen),
        "reason": row.reason, "detail": row.detail,
    }  # fmt: skip


def _cell(value: Value) -> float | str:
    return "" if value is None else value
