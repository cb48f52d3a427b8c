"""What molecules are ranked by and filtered with: words of the user -> conditions on a table. Never imports torch."""

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.metrics import METRICS

MoleculeRow = Mapping[str, str]  # one line of per_molecule.csv; a missing value is ""
TEXT_COLUMNS = ("pocket", "index", "title", "reason", "detail", "smiles")
TERM = re.compile(r"([+-]?)\s*(\w+)\s*(?::\s*(\d+\.?\d*|\.\d+))?")
COMPARISON = re.compile(r"(\w+)\s*(<=|>=|==|!=|<|>)\s*(\S+)")
OPERATORS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
ALERTS = ("alerts", "pains")
NAMED_FILTERS = {
    "posebusters": "passes every PoseBusters check",
    "connected": "one fragment",
    "no-alerts": f"no structural alerts (columns {', '.join(ALERTS)})",
    "no-clashes": "no clashes with the protein",
}


@dataclass(frozen=True)
class MoleculeTable:
    """per_molecule.csv, which direction of a column is better, as far as it is known, and the name of the SDF."""

    path: str
    rows: Sequence[MoleculeRow]
    better: Mapping[str, str]  # column: higher, lower or none
    ligands: str = "ligands.sdf"

    @property
    def numeric(self) -> list[str]:
        """Columns of numbers, PoseBusters' checks left out."""
        columns = list(self.rows[0]) if self.rows else []
        return [c for c in columns if c not in TEXT_COLUMNS and (not c.startswith("pb_") or c in METRICS)]

    def column(self, word: str) -> str:
        """The column of that name, or the only one that begins with it (`strain` for `strain_uff`).

        Raises LigandsmithError where there is none, several, or one without a single value.
        """
        names = self.numeric
        found = [word] if word in names else [name for name in names if name.startswith(f"{word}_")]
        if len(found) > 1:
            raise LigandsmithError(f"'{word}' may be {' or '.join(found)}: write which")
        if not found and word in METRICS:
            raise LigandsmithError(f"{word} was not run: it is no column of {self.path}")
        if not found:
            raise LigandsmithError(f"no metric '{word}' in {self.path}; there are: {', '.join(names)}")
        self.require(found[0])
        return found[0]

    def filled(self, columns: Iterable[str]) -> list[str]:
        """Those of the columns that have a value somewhere."""
        return [column for column in columns if any(row.get(column) for row in self.rows)]

    def require(self, column: str) -> None:
        """Raises LigandsmithError for a column without a value."""
        if not self.filled([column]):
            raise LigandsmithError(f"{column} was not run: {self.path} has no value of it; see summary.json there")


@dataclass(frozen=True)
class Term:
    """Something to rank by."""

    column: str
    lower: bool  # is better
    weight: float | None  # None: not given


@dataclass(frozen=True)
class Condition:
    """Kept are rows whose value in every column compares so."""

    columns: tuple[str, ...]
    sign: str
    bound: float

    def refuses(self, row: MoleculeRow) -> str:
        """Why a row is left out; empty if it stays."""
        for column in self.columns:
            value = value_of(row, column)
            if value is None:
                return f"no value of {column}"
            if not OPERATORS[self.sign](value, self.bound):
                kept = f"{self.sign} {self.bound:g}"
                return f"{column} is {value:g}, not {kept}" if self.sign != "==" else f"{column} is not {self.bound:g}"
        return ""


def value_of(row: MoleculeRow, column: str) -> float | None:
    """The number in a field (True is 1); None where it is empty, no number, or not finite."""
    text = row.get(column) or ""
    if text in ("True", "False"):
        return float(text == "True")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_terms(by: str, table: MoleculeTable) -> list[Term]:
    """`vina_min, -strain_uff, qed:2`: a sign forces a direction (- smaller is better), a number is a weight.

    Raises LigandsmithError for a word that is no term, and for a column whose better direction is not known.
    """
    words = [word.strip() for word in by.split(",") if word.strip()]
    if not words:
        raise LigandsmithError(f"nothing to rank by; there are: {', '.join(table.numeric)}")
    terms = []
    for word in words:
        match = TERM.fullmatch(word)
        if match is None:
            raise LigandsmithError(f"cannot read '{word}'; write a metric, -metric, +metric or metric:weight")
        sign, name, weight = match.groups()
        column = table.column(name)
        better = {"-": "lower", "+": "higher"}.get(sign) or table.better.get(column, "none")
        if better == "none":
            raise LigandsmithError(f"{column} has no better direction: write -{column} (smaller) or +{column} (larger)")
        if weight is not None and not float(weight):
            raise LigandsmithError(f"'{word}': a weight must be above 0")
        terms.append(Term(column, better == "lower", None if weight is None else float(weight)))
    columns = [term.column for term in terms]
    if len(set(columns)) < len(columns):
        raise LigandsmithError(f"'{by}' names a metric twice")
    return terms


def parse_filters(words: Sequence[str], table: MoleculeTable) -> list[Condition]:
    """`posebusters`, `connected`, `no-alerts`, `no-clashes` and comparisons such as `qed>0.4`; LigandsmithError."""
    return [_condition(word.strip(), table) for word in words if word.strip()]


def _condition(word: str, table: MoleculeTable) -> Condition:
    if word == "posebusters":
        checks = [c for c in (table.rows[0] if table.rows else ()) if c.startswith("pb_") and c not in METRICS]
        found = table.filled(["pb_valid"]) or (checks if table.filled(checks) else [])
        if not found:
            raise LigandsmithError(f"filter posebusters: PoseBusters was not run for {table.path}")
        return Condition(tuple(found), "==", 1.0)
    if word == "no-alerts":
        found = table.filled(ALERTS)
        if not found:
            raise LigandsmithError(f"filter no-alerts: neither {' nor '.join(ALERTS)} was run for {table.path}")
        return Condition(tuple(found), "==", 0.0)
    if word in ("connected", "no-clashes"):
        column, bound = ("connected", 1.0) if word == "connected" else ("clashes", 0.0)
        return Condition((table.column(column),), "==", bound)
    match = COMPARISON.fullmatch(word)
    try:
        bound = float(match.group(3)) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not math.isfinite(bound):
        raise LigandsmithError(
            f"no filter '{word}'; there are: {', '.join(NAMED_FILTERS)}, and comparisons such as 'qed>0.4'"
        )
    return Condition((table.column(match.group(1)),), match.group(2), bound)
