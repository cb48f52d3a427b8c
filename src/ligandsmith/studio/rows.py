"""The rows of a table of molecules: filtered, ordered, and as the API has them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.evaluation.molecule_table import CHECK_PREFIX
from ligandsmith.evaluation.report.rendering import label
from ligandsmith.studio.properties import matching

FIRST_COLUMNS = (
    "pb_valid", "vina_min", "vina_score", "qed", "sa", "logp", "heavy_atoms", "shape_similarity", "strain_uff",
)  # fmt: skip
CONSTANT = {"valid", "valid_connected", "pb_valid_of_requested", "seconds", "novel"}  # say nothing of a single molecule
WHOLE = {"count", "atoms", "rings", "pairs", "of 4"}  # units of whole numbers
DEFAULT_ORDER = (("pb_valid", True), ("vina_min", False), ("qed", True))
CLUSTER = "cluster"
SHOWN_DIGITS = 5


@dataclass(frozen=True, eq=False)
class MoleculeRows:
    """All molecules of a project: [M] rows."""

    jobs: NDArray[np.int64]
    indices: NDArray[np.int64]
    smiles: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """What a page asks for. `filter`: pb_valid, starred, smarts, ranges, cluster."""

    sort: str = ""
    descending: bool = False
    filter: Mapping[str, Any] | None = None
    page: int = 0
    size: int = 100
    job: int | None = None


def passing(table: MoleculeRows, wanted: Mapping[str, Any], notes: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Which rows pass the filter. Raises LigandsmithError for one that cannot be."""
    mask = np.ones(len(table.ids), dtype=bool)
    for name, value in wanted.items():
        if value is None or value is False:
            continue
        if name == "pb_valid":
            mask &= _column_of(table, name) == 1
        elif name == "starred":
            mask &= np.array([bool(notes.get(id, {}).get("starred")) for id in table.ids], dtype=bool)
        elif name == "smarts":
            mask &= matching(table.smiles, str(value))
        elif name == CLUSTER and isinstance(value, int):
            mask &= _column_of(table, CLUSTER) == value
        elif name == "ranges" and isinstance(value, dict):
            for column, limits in value.items():
                mask &= _within(table, column, limits)
        else:
            raise LigandsmithError(f"there is no filter '{shortened(name)}' with this value")
    return mask


def _within(table: MoleculeRows, column: str, limits: Any) -> NDArray[np.bool_]:
    ok = isinstance(limits, list) and len(limits) == 2 and all(
        x is None or (isinstance(x, int | float) and not isinstance(x, bool)) for x in limits
    )  # fmt: skip
    if not ok:
        raise LigandsmithError(f"the range of {column} is a list of two numbers, or null where it is open")
    low, high = (-math.inf if limits[0] is None else limits[0], math.inf if limits[1] is None else limits[1])
    values = _column_of(table, column)
    return (values >= low) & (values <= high)


def _column_of(table: MoleculeRows, name: str) -> NDArray[np.float64]:
    """A column [M]; NaN where no molecule has a value yet. Raises LigandsmithError for one that cannot be."""
    if name not in table.values and not _is_shown(name):
        raise LigandsmithError(f"there is no column '{shortened(name)}'")
    return table.values.get(name, np.full(len(table.ids), np.nan))


def ordered(table: MoleculeRows, rows: NDArray[np.int64], query: Query) -> NDArray[np.int64]:
    """Positions of rows in the order that is asked for; those without a value come last, equal ones as made."""
    if query.sort in ("", "index"):
        keys = [(name, descending) for name, descending in DEFAULT_ORDER if name in table.values]
        if query.sort or not keys:
            return np.arange(len(rows))[:: -1 if query.descending else 1]
    else:
        keys = [(query.sort, query.descending)]
    columns = [np.nan_to_num(_column_of(table, name)[rows] * (-1 if descending else 1), nan=np.inf)
               for name, descending in reversed(keys)]  # fmt: skip
    return np.lexsort(columns)


def columns(values: Mapping[str, NDArray[np.float64]]) -> list[dict[str, Any]]:
    """What the columns are: of every metric with a value, those first that say most."""
    known = [name for name in values if name in METRICS and _is_shown(name)]
    ordered = [name for name in FIRST_COLUMNS if name in known]
    described = [_column(name) for name in [*ordered, *(name for name in known if name not in ordered)]]
    if CLUSTER in values:
        described.append({"name": CLUSTER, "label": CLUSTER, "unit": "", "better": None, "decimals": 0})
    return described


def _is_shown(name: str) -> bool:
    return name == CLUSTER or (name in METRICS and name not in CONSTANT)


def _column(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    unit = "" if metric.unit in ("fraction", "count") else metric.unit
    whole = metric.unit in WHOLE or name in ("connected", "unique", "pb_valid", "pb_molecule", "pb_pocket")
    better = None if metric.better == "none" else metric.better
    return {"name": name, "label": label(name), "unit": unit, "better": better, "decimals": 0 if whole else 2}


def api_rows(
    table: MoleculeRows, rows: NDArray[np.int64], notes: Mapping[str, Any], origins: Mapping[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    """Rows as the API has them. `origins`: parent and move by the id of a molecule or the number of a job."""
    names = [name for name in table.values if _is_shown(name)]
    checks = [name for name in table.values if name.startswith(CHECK_PREFIX) and name not in METRICS]
    values = zip(*(_rounded(table.values[name][rows]) for name in names), strict=True) if names else [()] * len(rows)
    failed = _failed(table, rows, checks)
    found = []
    for row, own, lacks in zip(rows.tolist(), values, failed, strict=True):
        id, job = table.ids[row], str(table.jobs[row])
        note, (parent, move) = notes.get(id, {}), origins.get(id) or origins.get(job) or ("", "")
        named = dict(zip(names, own, strict=True))
        valid = named.get("pb_valid")
        found.append({
            "id": id, "job": job, "index": int(table.indices[row]), "smiles": table.smiles[row], "values": named,
            "starred": bool(note.get("starred")), "note": str(note.get("note") or ""), "parent": parent or None,
            "move": move or None, "ok": None if valid is None else valid == 1, "failed": lacks,
        })  # fmt: skip
    return found


def _failed(table: MoleculeRows, rows: NDArray[np.int64], checks: Sequence[str]) -> list[list[str]]:
    """The checks of PoseBusters that each row fails, or that could not decide."""
    found: list[list[str]] = [[] for _ in rows]
    invalid = _column_of(table, "pb_valid")[rows] == 0
    for name in checks:
        column, shown = table.values[name][rows], name.removeprefix(CHECK_PREFIX).replace("_", " ")
        for place in np.flatnonzero(invalid & (column != 1)).tolist():
            found[place].append(f"{shown} (undecided)" if np.isnan(column[place]) else shown)
    return found


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """To five digits; None for what is missing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = 10.0 ** (SHOWN_DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.where(np.isfinite(digits), np.round(values * digits) / digits, values)
    return [value if math.isfinite(value) else None for value in rounded.tolist()]
