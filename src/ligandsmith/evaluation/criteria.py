"""What molecules are ranked by and filtered with: words of the user -> conditions on a table. Never imports torch."""

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.molecule_table import CHECK_PREFIX, MoleculeRow, MoleculeTable

TERM = re.compile(r"([+-]?)\s*(\w+)\s*(?::\s*(\d+\.?\d*|\.\d+))?")
COMPARISON = re.compile(r"(\w+)\s*(<=|>=|==|!=|<|>)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)")
OPERATORS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
ALERTS = ("alerts", "pains")
NAMED_FILTERS = ("posebusters", "connected", "no-alerts", "no-clashes")


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
            value = row.values.get(column)
            if value is None:
                return f"no value of {column}"
            if not OPERATORS[self.sign](value, self.bound):
                kept = f"{self.sign} {self.bound:g}"
                return f"{column} is {value:g}, not {kept}" if self.sign != "==" else f"{column} is not {self.bound:g}"
        return ""


def parse_terms(by: str, table: MoleculeTable, better: Mapping[str, str]) -> list[Term]:
    """`vina_min, -strain_uff, qed:2`: a sign forces a direction (- smaller is better), a number is a weight.

    Without a sign it is that of `better` (a column: higher, lower or none).
    Raises LigandsmithError for a word that is no term, and for a column whose better direction is not known.
    """
    words = [word.strip() for word in by.split(",") if word.strip()]
    if not words:
        raise LigandsmithError(f"nothing to rank by; there are: {', '.join(table.metric_names)}")
    terms = []
    for word in words:
        match = TERM.fullmatch(word)
        if match is None:
            raise LigandsmithError(f"cannot read '{word}'; write a metric, -metric, +metric or metric:weight")
        sign, name, weight = match.groups()
        column = table.column(name)
        direction = {"-": "lower", "+": "higher"}.get(sign) or better.get(column, "none")
        if direction == "none":
            raise LigandsmithError(f"{column} has no better direction: write -{column} (smaller) or +{column} (larger)")
        if weight is not None and not float(weight):
            raise LigandsmithError(f"'{word}': a weight must be above 0")
        terms.append(Term(column, direction == "lower", None if weight is None else float(weight)))
    columns = [term.column for term in terms]
    if len(set(columns)) < len(columns):
        raise LigandsmithError(f"'{by}' names a metric twice")
    return terms


def parse_filters(words: Sequence[str], table: MoleculeTable) -> list[Condition]:
    """`posebusters`, `connected`, `no-alerts`, `no-clashes` and comparisons such as `qed>0.4`; LigandsmithError."""
    return [_condition(word.strip(), table) for word in words if word.strip()]


def _condition(word: str, table: MoleculeTable) -> Condition:
    if word == "posebusters":
        checks = [CHECK_PREFIX + name for name in table.check_names]
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
        name, wanted = ("connected", 1.0) if word == "connected" else ("clashes", 0.0)
        return Condition((table.column(name),), "==", wanted)
    match = COMPARISON.fullmatch(word)
    if match is None:
        raise LigandsmithError(
            f"no filter '{word}'; there are: {', '.join(NAMED_FILTERS)}, and comparisons such as 'qed>0.4'"
        )
    column, sign, bound = match.groups()
    return Condition((table.column(column),), sign, float(bound))
