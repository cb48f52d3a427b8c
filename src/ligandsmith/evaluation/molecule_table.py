"""per_molecule.csv of an evaluation folder, read back. It may come from a stranger: it is parsed as data."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.files import csv_content

TABLE_FILE = "per_molecule.csv"
TEXT_COLUMNS = ("pocket", "index", "title", "reason", "detail", "smiles")
CHECK_PREFIX = "pb_"
TRUTH = {"True": 1.0, "False": 0.0}


@dataclass(frozen=True)
class MoleculeRow:
    """One requested molecule. `reason` says why there is none; else `smiles` is there."""

    pocket: str
    index: str
    title: str
    reason: str
    detail: str
    smiles: str
    fields: Mapping[str, str]  # every column as it stands in the file; a missing value is ""
    values: Mapping[str, float | None]  # every column that is no text
    checks: Mapping[str, bool | None]  # PoseBusters, without prefix; empty where it did not run on this molecule

    @property
    def key(self) -> tuple[str, str]:
        """Unique, unlike the title."""
        return self.pocket, self.index


@dataclass(frozen=True)
class MoleculeTable:
    """A row for each requested molecule."""

    path: Path
    columns: Sequence[str]
    rows: Sequence[MoleculeRow]
    metric_names: Sequence[str]  # columns of numbers
    check_names: Sequence[str]  # columns of PoseBusters' checks, without prefix

    def column(self, word: str) -> str:
        """The metric of that name, or the only one that begins with it (`strain` for `strain_uff`).

        Raises LigandsmithError where there is none, several, or one without a single value.
        """
        names = self.metric_names
        found = [word] if word in names else [name for name in names if name.startswith(f"{word}_")]
        if len(found) > 1:
            raise LigandsmithError(f"'{word}' may be {' or '.join(found)}: write which")
        if not found and word in METRICS:
            raise LigandsmithError(f"{word} was not run: it is no column of {self.path}")
        if not found:
            raise LigandsmithError(f"no metric '{word}' in {self.path}; there are: {', '.join(names)}")
        if not self.filled(found):
            raise LigandsmithError(f"{found[0]} was not run: {self.path} has no value of it; see summary.json there")
        return found[0]

    def filled(self, columns: Iterable[str]) -> list[str]:
        """Those of the columns that have a value somewhere."""
        return [column for column in columns if any(row.fields.get(column) for row in self.rows)]


def read_molecule_table(folder: Path, metrics: Collection[str] = METRICS) -> MoleculeTable:
    """The table of an evaluation folder; a column `pb_...` that is none of `metrics` is a check of PoseBusters.

    Raises LigandsmithError where there is no such file or it cannot be read.
    """
    path = folder / TABLE_FILE
    try:
        columns, records = csv_content(path, errors="replace")
    except FileNotFoundError as error:
        raise LigandsmithError(f"no {TABLE_FILE} in {folder}; run ligandsmith evaluate first") from error
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"cannot read {path}: {error}; run ligandsmith evaluate again") from error
    numeric = [name for name in columns if name not in TEXT_COLUMNS]
    checks = [name for name in numeric if name.startswith(CHECK_PREFIX) and name not in metrics]
    rows = [_row(record, numeric, checks) for _, record in records]
    names = [name for name in numeric if name not in checks]
    return MoleculeTable(path, columns, rows, names, [name.removeprefix(CHECK_PREFIX) for name in checks])


def _row(record: dict[str, str], numeric: Sequence[str], checks: Sequence[str]) -> MoleculeRow:
    values = {name: finite_number(record[name]) for name in numeric}
    answers = {name.removeprefix(CHECK_PREFIX): bool(v) if (v := values[name]) in (0, 1) else None for name in checks}
    return MoleculeRow(
        **{name: record.get(name) or "" for name in TEXT_COLUMNS},
        fields=record,
        values=values,
        checks=answers if any(answer is not None for answer in answers.values()) else {},
    )


def finite_number(text: str) -> float | None:
    """A finite number, 1 or 0 for a truth value, else None."""
    try:
        value = float(TRUTH.get(text, text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
