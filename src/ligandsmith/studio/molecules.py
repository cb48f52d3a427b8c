"""One table of all molecules of a project: sorted, filtered, starred."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.files import json_content, write_json
from ligandsmith.studio.commands import REFERENCE
from ligandsmith.studio.jobs import DONE, Job, JobStore
from ligandsmith.studio.projects import NOTES_FILE, Conflict, NoSuchThing, Project, Projects
from ligandsmith.studio.properties import Clusters, cheap_properties
from ligandsmith.studio.rows import CLUSTER, MoleculeRows, Query, api_rows, columns, ordered, passing
from ligandsmith.studio.scores import partial_scores
from ligandsmith.studio.tables import JobTable, job_table, record, relations, smiles_of

LONGEST_NOTE = 2000
LARGEST_PAGE = 20_000  # of one answer


class Library:
    """The molecules of all projects."""

    def __init__(self, projects: Projects, store: JobStore) -> None:
        self.projects, self.store = projects, store
        self.clusters: dict[str, Clusters] = {}  # by project

    def chosen(
        self, project: Project, wanted: Mapping[str, Any], ids: Sequence[str], job: int | None
    ) -> dict[str, Any]:
        """Columns and rows of the molecules with these ids, or of all that pass a filter. Raises LigandsmithError."""
        found = self.query(project, Query(filter=wanted, size=LARGEST_PAGE, job=job))
        if not ids:
            return found
        rows = {row["id"]: row for row in found["rows"]}
        if missing := [id for id in ids if id not in rows]:
            raise NoSuchThing(f"there is no molecule '{shortened(missing[0])}'")
        return {**found, "rows": [rows[id] for id in ids]}

    def query(self, project: Project, query: Query) -> dict[str, Any]:
        """A page of the table, as the API has it. Raises LigandsmithError."""
        jobs = self.store.all(project.id)
        table, notes = self._table(project, jobs), read_notes(project)
        asked = table.jobs == query.job if query.job is not None else np.ones(len(table.ids), dtype=bool)
        rows = np.flatnonzero(asked & passing(table, query.filter or {}, notes))
        rows = rows[ordered(table, rows, query)]
        shown = rows[query.page * query.size : (query.page + 1) * query.size]
        return {
            "total": int(asked.sum()), "matching": len(rows), "columns": columns(table.values),
            "rows": api_rows(table, shown, notes, _origins(project, jobs)),
        }  # fmt: skip

    def row(self, project: Project, id: str) -> dict[str, Any]:
        """One molecule. Raises NoSuchThing."""
        job, index = self.find(project, id)
        jobs = self.store.all(project.id)
        table = self._table(project, jobs)
        found = np.flatnonzero((table.jobs == job.id) & (table.indices == index))
        if not len(found):
            raise NoSuchThing("there is no such molecule")
        (row,) = api_rows(table, found[:1], read_notes(project), _origins(project, jobs))
        return row

    def find(self, project: Project, id: str) -> tuple[Job, int]:
        """Job and index of a molecule's id. Raises NoSuchThing."""
        number, _, index = id.partition(".")
        if not (number.isdecimal() and index.isdecimal() and id.isascii() and max(len(number), len(index)) <= 9):
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
        if id == REFERENCE:
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
        own = id != REFERENCE and self.find(project, id)[0].task != "import"
        smiles = smiles_of(self.record(project, id), own)
        if not smiles:
            raise LigandsmithError("RDKit cannot read this molecule")
        return smiles

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

    def _table(self, project: Project, jobs: Sequence[Job]) -> MoleculeRows:
        tables = [self._job_table(project, job) for job in jobs]
        names = dict.fromkeys(name for table in tables for name in table.values)
        ids = [f"{job.id}.{index}" for job, table in zip(jobs, tables, strict=True) for index in table.indices.tolist()]
        smiles = tuple(text for table in tables for text in table.smiles)
        values = {
            name: np.concatenate([t.values.get(name, np.full(len(t.indices), np.nan)) for t in tables])
            for name in names
        }  # fmt: skip
        if smiles:
            values[CLUSTER] = self.clusters.setdefault(project.id, Clusters()).column(smiles)
        counts = [len(table.indices) for table in tables]
        return MoleculeRows(
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


def job_folder(project: Project, job: Job) -> Path:
    """The folder of a job."""
    return project.folder / "jobs" / job.name


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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
