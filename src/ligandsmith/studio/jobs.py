"""Jobs in an SQLite file: what was asked for, the command lines that do it, and how far they are."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from ligandsmith.studio.projects import NoSuchThing

DATABASE = "studio.sqlite"
QUEUED, PREPARING, SAMPLING, SCORING = "queued", "preparing", "sampling", "scoring"
DONE, CANCELLED, FAILED, INTERRUPTED = "done", "cancelled", "failed", "interrupted"
RUNNING = (PREPARING, SAMPLING, SCORING)
STOPPED = (CANCELLED, FAILED, INTERRUPTED)
JOBS_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY, project TEXT NOT NULL, task TEXT NOT NULL, fields TEXT NOT NULL, steps TEXT NOT NULL,
    step INTEGER NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL, pid INTEGER NOT NULL, created REAL NOT NULL,
    started REAL NOT NULL, ended REAL NOT NULL, folder TEXT NOT NULL DEFAULT ''
)
"""


class JobStep(NamedTuple):
    """One command line of a job, without the program's name, and the state that the job has while it runs."""

    state: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A row of the table. `step` counts the steps that are done; `pid` is the running command's, or 0."""

    id: int
    project: str
    task: str
    fields: dict[str, Any] = field(hash=False)
    steps: tuple[JobStep, ...]
    step: int = 0
    state: str = QUEUED
    message: str = ""
    pid: int = 0
    created: float = 0.0  # seconds since 1970, as the others
    started: float = 0.0  # of the current step
    ended: float = 0.0
    folder: str = ""  # below `jobs`, where it is not called as this studio calls them

    @property
    def name(self) -> str:
        """Of its folder below `jobs`, and of its log."""
        return self.folder or folder_name(self.id, self.task)


def folder_name(number: int, task: str) -> str:
    """The name of a job's folder."""
    return f"{number:04d}-{task}"


class JobStore:
    """The table of jobs of all projects."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = Lock()
        self.connection = sqlite3.connect(root / DATABASE, check_same_thread=False, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute(JOBS_TABLE)
        columns = [row["name"] for row in self.connection.execute("PRAGMA table_info(jobs)")]
        if "folder" not in columns:  # of an earlier version
            self.connection.execute("ALTER TABLE jobs ADD COLUMN folder TEXT NOT NULL DEFAULT ''")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self.lock, self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection

    def next_number(self) -> int:
        """The number of the next job: none that a job or a folder of one has, even where this file was lost."""
        with self.lock:
            (last,) = self.connection.execute("SELECT coalesce(max(id), 0) FROM jobs").fetchone()
        names = (path.name.split("-")[0] for path in self.root.glob("*/jobs/[0-9]*-*"))
        return 1 + max([int(last), *(int(name) for name in names if name.isdecimal())])

    def add(self, job: Job) -> Job:
        """Write a new job."""
        with self._changing() as connection:
            connection.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (job.id, job.project, job.task, json.dumps(job.fields), json.dumps(job.steps), job.step, job.state,
                 job.message, job.pid, job.created or time.time(), job.started, job.ended, job.folder),
            )  # fmt: skip
        return self.get(job.id)

    def get(self, id: int) -> Job:
        """A job by its number. Raises NoSuchThing."""
        found = self._read("SELECT * FROM jobs WHERE id = ?", (id,))
        if not found:
            raise NoSuchThing("there is no such job")
        return found[0]

    def all(self, project: str | None = None) -> list[Job]:
        """All jobs, or those of a project, in the order in which they were asked for."""
        if project is None:
            return self._read("SELECT * FROM jobs ORDER BY id")
        return self._read("SELECT * FROM jobs WHERE project = ? ORDER BY id", (project,))

    def update(self, id: int, **values: Any) -> Job:
        """Change columns of a job."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._changing() as connection:
            connection.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*values.values(), id))
        return self.get(id)

    def move(self, id: int, before: Sequence[str], state: str, **values: Any) -> bool:
        """Give a job a new state if it has one of those before; whether it had."""
        marks = ", ".join("?" for _ in before)
        names = "".join(f", {name} = ?" for name in values)
        with self._changing() as connection:
            done = connection.execute(
                f"UPDATE jobs SET state = ?{names} WHERE id = ? AND state IN ({marks})",
                (state, *values.values(), id, *before),
            )
        return done.rowcount == 1

    def remove_project(self, project: str) -> None:
        """Forget the jobs of a project."""
        with self._changing() as connection:
            connection.execute("DELETE FROM jobs WHERE project = ?", (project,))

    def claim(self) -> Job | None:
        """The first queued job, which is `preparing` from now on."""
        for job in self._read("SELECT * FROM jobs WHERE state = ? ORDER BY id", (QUEUED,)):
            if self.move(job.id, [QUEUED], PREPARING, message="", started=time.time()):
                return self.get(job.id)
        return None

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Job]:
        with self.lock:
            rows = self.connection.execute(query, values).fetchall()
        return [_job(dict(row)) for row in rows]


def _job(row: dict[str, Any]) -> Job:
    steps = tuple(JobStep(state, tuple(argv)) for state, argv in json.loads(row.pop("steps")))
    return Job(**{**row, "fields": json.loads(row["fields"])}, steps=steps)
