"""One table of all molecules of a project: sorted, filtered, starred."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ligandsmith.chem.sdf import data_fields
from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.evaluation.molecule_table import CHECK_PREFIX
from ligandsmith.evaluation.report.rendering import label
from ligandsmith.files import json_content, write_json
from ligandsmith.studio.jobs import DONE, Job, JobStore
from ligandsmith.studio.projects import NOTES_FILE, Conflict, NoSuchThing, Project, Projects
from ligandsmith.studio.properties import cheap_properties, clusters, matching
from ligandsmith.studio.scores import partial_scores
from ligandsmith.studio.tables import JobTable, job_table, record, relations

LONGEST_NOTE = 2000
MOST_ROWS = 20_000  # of one answer
FIRST_COLUMNS = (
    "pb_valid", "vina_min", "vina_score", "qed", "sa", "logp", "heavy_atoms", "shape_similarity", "strain_uff",
)  # fmt: skip
CONSTANT = {"valid", "valid_connected", "pb_valid_of_requested", "seconds", "novel"}  # say nothing of a single molecule
WHOLE = {"count", "atoms", "rings", "pairs", "of 4"}  # units of whole numbers
DEFAULT_ORDER = (("pb_valid", True), ("vina_min", False), ("qed", True))
CLUSTER = "cluster"


@dataclass(frozen=True, eq=False)
class Table:
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


class Library:
    """The molecules of all projects."""

    def __init__(self, projects: Projects, store: JobStore) -> None:
        self.projects, self.store = projects, store

    def chosen(
        self, project: Project, wanted: Mapping[str, Any], ids: Sequence[str], job: int | None
    ) -> dict[str, Any]:
        """Columns and rows of the molecules with these ids, or of all that pass a filter. Raises LigandsmithError."""
        found = self.query(project, Query(filter=wanted, size=MOST_ROWS, job=job))
        if not ids:
            return found
        rows = {row["id"]: row for row in found["rows"]}
        if missing := [id for id in ids if id not in rows]:
            raise NoSuchThing(f"there is no molecule '{shortened(missing[0])}'")
        return {**found, "rows": [rows[id] for id in ids]}

    def query(self, project: Project, query: Query) -> dict[str, Any]:
        """A page of the table, as the API has it. Raises LigandsmithError."""
        jobs = [job for job in self.store.all(project.id) if query.job in (None, job.id)]
        table = self._table(project, jobs)
        notes = read_notes(project)
        rows = np.flatnonzero(self._mask(table, query.filter or {}, notes))
        rows = rows[_order(table, rows, query)]
        size = min(max(query.size, 1), MOST_ROWS)
        shown = rows[query.page * size : (query.page + 1) * size]
        origins = _origins(project, jobs)
        return {
            "total": len(table.ids), "matching": len(rows), "columns": columns(table.values),
            "rows": [_row(table, int(row), notes, origins) for row in shown],
        }  # fmt: skip

    def row(self, project: Project, id: str) -> dict[str, Any]:
        """One molecule. Raises NoSuchThing."""
        job, index = self.find(project, id)
        table = self._table(project, [job])
        found = np.flatnonzero(table.indices == index)
        if not len(found):
            raise NoSuchThing("there is no such molecule")
        return _row(table, int(found[0]), read_notes(project), _origins(project, [job]))

    def find(self, project: Project, id: str) -> tuple[Job, int]:
        """Job and index of a molecule's id. Raises NoSuchThing."""
        number, _, index = id.partition(".")
        if not (number.isdecimal() and index.isdecimal() and id.isascii() and len(id) <= 20):
            raise NoSuchThing(f"there is no molecule '{shortened(id)}'; an id is JOB.INDEX, as in 3.12")
        return self.job(project, int(number)), int(index)

    def job(self, project: Project, number: int) -> Job:
        """A job of a project by its number. Raises NoSuchThing."""
        job = self.store.get(number)
        if job.project != project.id:
            raise NoSuchThing("there is no such job in this project")
        return job

    def record(self, project: Project, id: str) -> str:
        """The SDF record of a molecule, or of the reference ligand. Raises LigandsmithError."""
        if id == "reference":
            return _first_record(project.ligand_path)
        job, index = self.find(project, id)
        try:
            return record(job_folder(project, job), index)
        except KeyError:
            raise NoSuchThing("there is no such molecule") from None

    def block(self, project: Project, id: str) -> str:
        """The mol block of a molecule, named by its id. Raises LigandsmithError."""
        lines = self.record(project, id).partition("M  END")[0].split("\n")
        return "\n".join([f"ligand {id}", *lines[1:]]) + "M  END\n"

    def smiles(self, project: Project, id: str) -> str:
        """The SMILES of a molecule, or of the reference ligand. Raises LigandsmithError."""
        text = self.record(project, id)
        if named := data_fields(text).get("smiles", "").strip():
            return named
        with rdBase.BlockLogs():
            mol = Chem.MolFromMolBlock(text)
        if mol is None:
            raise LigandsmithError("RDKit cannot read this molecule")
        return str(Chem.MolToSmiles(mol))

    def annotate(self, project: Project, id: str, starred: bool | None, note: str | None) -> dict[str, Any]:
        """Change star and note of a molecule; its row. Raises LigandsmithError."""
        if note is not None and len(note) > LONGEST_NOTE:
            raise LigandsmithError(f"a note has at most {LONGEST_NOTE} letters")
        self.row(project, id)
        with self.projects.lock:
            notes = read_notes(project)
            mine = {**notes.get(id, {}), **_given(starred=starred, note=note)}
            kept = {name: value for name, value in mine.items() if value}
            rest = {name: value for name, value in notes.items() if name != id}
            write_json(project.folder / NOTES_FILE, {**rest, **({id: kept} if kept else {})})
        return self.row(project, id)

    def reported(self, project: Project, ids: Sequence[str], number: int | None) -> Job:
        """The job that a report is asked for: by its number, by a molecule of it, else the last one that is done.

        Raises LigandsmithError.
        """
        if number is not None:
            return self.job(project, number)
        if ids:
            return self.find(project, ids[0])[0]
        done = [job for job in self.store.all(project.id) if job.state == DONE]
        if not done:
            raise Conflict("no job of this project is done; the report is made of one that is")
        return done[-1]

    def family(self, project: Project, number: int) -> list[dict[str, Any]]:
        """All ligands of an optimisation with their parents, as the API has it. Raises LigandsmithError."""
        job = self.job(project, number)
        return [
            {
                "id": f"{number}.{each.index}", "parent": f"{number}.{each.parents[0]}" if each.parents else None,
                "parents": [f"{number}.{parent}" for parent in each.parents], "move": each.move, "round": each.round,
                "smiles": each.smiles, "shown": each.chosen, "score": each.score,
            }
            for each in relations(job_folder(project, job))
        ]  # fmt: skip

    def _table(self, project: Project, jobs: Sequence[Job]) -> Table:
        tables = [self._job_table(project, job) for job in jobs]
        names = dict.fromkeys(name for table in tables for name in table.values)
        ids = [f"{job.id}.{index}" for job, table in zip(jobs, tables, strict=True) for index in table.indices.tolist()]
        smiles = tuple(text for table in tables for text in table.smiles)
        values = {
            name: np.concatenate([t.values.get(name, np.full(len(t.indices), np.nan)) for t in tables])
            for name in names
        }  # fmt: skip
        if smiles:
            values[CLUSTER] = clusters(smiles)
        counts = [len(table.indices) for table in tables]
        return Table(
            np.repeat(np.array([job.id for job in jobs], dtype=np.int64), counts),
            np.concatenate([np.empty(0, np.int64), *(table.indices for table in tables)]), smiles, values, tuple(ids),
        )  # fmt: skip

    def _job_table(self, project: Project, job: Job) -> JobTable:
        """The molecules of a job, with what can be said of those that are not scored yet."""
        folder = job_folder(project, job)
        table = job_table(folder, job.state == DONE)
        if job.state == DONE and "qed" in table.values:
            return table
        cheap = cheap_properties(table.smiles)
        known = {name: np.where(np.isnan(table.values[name]), column, table.values[name]) if name in table.values
                 else column for name, column in cheap.items()}  # fmt: skip
        partial = partial_scores(project, folder, table.indices)
        return JobTable(table.indices, table.smiles, {**known, **partial, **{
            name: column for name, column in table.values.items() if name not in known and name not in partial
        }})  # fmt: skip

    def _mask(self, table: Table, wanted: Mapping[str, Any], notes: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Which rows pass the filter. Raises LigandsmithError for one that cannot be."""
        mask = np.ones(len(table.ids), dtype=bool)
        for name, value in wanted.items():
            if value is None or value is False:
                continue
            if name == "pb_valid":
                mask &= table.values.get(name, np.zeros(len(mask))) == 1
            elif name == "starred":
                mask &= np.array([bool(notes.get(id, {}).get("starred")) for id in table.ids], dtype=bool)
            elif name == "smarts":
                mask &= matching(table.smiles, str(value))
            elif name == CLUSTER and isinstance(value, int):
                mask &= table.values[CLUSTER] == value if len(mask) else mask
            elif name == "ranges" and isinstance(value, dict):
                for column, limits in value.items():
                    mask &= _within(table, column, limits)
            else:
                raise LigandsmithError(f"there is no filter '{shortened(name)}' with this value")
        return mask


def job_folder(project: Project, job: Job) -> Path:
    """The folder of a job."""
    return project.folder / "jobs" / job.name


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _within(table: Table, column: str, limits: Any) -> NDArray[np.bool_]:
    if column not in table.values:
        raise LigandsmithError(f"there is no column '{shortened(column)}'")
    ok = isinstance(limits, list) and len(limits) == 2 and all(
        x is None or (isinstance(x, int | float) and not isinstance(x, bool)) for x in limits
    )  # fmt: skip
    if not ok:
        raise LigandsmithError(f"the range of {column} is a list of two numbers, or null where it is open")
    low, high = (-math.inf if limits[0] is None else limits[0], math.inf if limits[1] is None else limits[1])
    values = table.values[column]
    return (values >= low) & (values <= high)


def _order(table: Table, rows: NDArray[np.int64], query: Query) -> NDArray[np.int64]:
    """Positions of rows in the order that is asked for; those without a value come last, equal ones as made."""
    if query.sort in ("", "index"):
        keys = [(name, descending) for name, descending in DEFAULT_ORDER if name in table.values]
        if query.sort or not keys:
            return np.arange(len(rows))[:: -1 if query.descending else 1]
    elif query.sort in table.values:
        keys = [(query.sort, query.descending)]
    else:
        raise LigandsmithError(f"there is no column '{shortened(query.sort)}' to sort by")
    columns = [np.nan_to_num(table.values[name][rows] * (-1 if descending else 1), nan=np.inf)
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


def _row(table: Table, row: int, notes: Mapping[str, Any], origins: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    id = table.ids[row]
    values = {name: _rounded(column[row]) for name, column in table.values.items() if _is_shown(name)}
    failed = [name.removeprefix(CHECK_PREFIX).replace("_", " ") for name, column in table.values.items()
              if name.startswith(CHECK_PREFIX) and name not in METRICS and column[row] == 0]  # fmt: skip
    own = notes.get(id, {})
    job = str(table.jobs[row])
    parent, move = origins.get(id) or origins.get(job) or ("", "")
    valid = values.get("pb_valid")
    return {
        "id": id, "job": job, "index": int(table.indices[row]), "smiles": table.smiles[row], "values": values,
        "starred": bool(own.get("starred")), "note": str(own.get("note") or ""), "parent": parent or None,
        "move": move or None, "ok": None if valid is None else valid == 1, "failed": failed,
    }  # fmt: skip


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _origins(project: Project, jobs: Iterable[Job]) -> dict[str, tuple[str, str]]:
    """Parent and move of the molecules of optimisations, by id, and of all of a job, by its number."""
    found: dict[str, tuple[str, str]] = {}
    for job in jobs:
        source = job.fields.get("from")
        parent = source if isinstance(source, str) else ""
        found[str(job.id)] = parent, job.task
        for each in relations(job_folder(project, job)) if job.task == "optimise" else ():
            if each.chosen:
                first = f"{job.id}.{each.parents[0]}" if each.parents else parent
                found[f"{job.id}.{each.index}"] = first, each.move
    return found


def read_notes(project: Project) -> dict[str, dict[str, Any]]:
    """Stars and notes by the id of the molecule."""
    try:
        content = json_content(project.folder / NOTES_FILE)
    except (OSError, ValueError):
        return {}
    return {id: own for id, own in content.items() if isinstance(own, dict)} if isinstance(content, dict) else {}


def _first_record(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").partition("\n$$$$")[0] + "\n$$$$\n"
