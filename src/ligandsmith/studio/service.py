"""The parts of a running studio, put together."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import held_alone, write_text
from ligandsmith.studio.commands import HERE, JobPlan, Scale, plan, shown
from ligandsmith.studio.found import add_found
from ligandsmith.studio.jobs import DATABASE, QUEUED, RUNNING, Job, JobStore
from ligandsmith.studio.molecules import Library
from ligandsmith.studio.progress import JobProgress
from ligandsmith.studio.projects import Conflict, Project, Projects, modified, when
from ligandsmith.studio.runner import Runner
from ligandsmith.studio.sites import protein_summary, reference_summary, shown_site
from ligandsmith.studio.structures import Upload, add_structures, molecules_to_score, shown_name, write_import

CommandCheck = Callable[[Sequence[str]], None]


def accept(_: Sequence[str]) -> None:
    """Take any command line."""


@dataclass
class Studio:
    """All that the routes use. `check` raises LigandsmithError for a command line that a command would refuse."""

    projects: Projects
    store: JobStore
    runner: Runner
    library: Library
    progress: JobProgress
    check: CommandCheck = accept
    scale: Scale = HERE
    lock: Lock = field(default_factory=Lock)  # held while a job gets its number
    closing: Event = field(default_factory=Event)  # set when the server is about to stop

    def project_view(self, project: Project) -> dict[str, Any]:
        """A project as the API has it, with the jobs of results that were found in its folder."""
        self._add_found(project)
        return {
            "id": project.id, "title": project.title, "created": project.created, "modified": when(modified(project)),
            "protein": protein_summary(project), "reference": reference_summary(project), "site": shown_site(project),
            "jobs": [self.progress.view(job) for job in self.store.all(project.id)],
        }  # fmt: skip

    def project_list(self) -> list[dict[str, Any]]:
        """All projects, last changed first, with the jobs of results that were found in their folders."""
        return [
            {
                "id": project.id, "title": project.title, "modified": when(modified(project)),
                "num_molecules": sum(
                    self.progress.molecules(project.folder / "jobs" / job.name) for job in self.store.all(project.id)
                ),
            }
            for project in self.add_found()
        ]  # fmt: skip

    def add_found(self) -> list[Project]:
        """All projects, after results without a job have got one."""
        projects = self.projects.all()
        for project in projects:
            self._add_found(project)
        return projects

    def _add_found(self, project: Project) -> None:
        with self.lock:
            add_found(project, self.store)

    def add_structures(self, project: Project, uploads: Sequence[Upload]) -> Project:
        """Give a project its protein and reference ligand. Raises LigandsmithError, Conflict where jobs need those
        that it has."""
        jobs = self._idle_jobs(project)
        return add_structures(self.projects, project.id, uploads, keep_protein=bool(jobs))

    def _idle_jobs(self, project: Project) -> list[Job]:
        """The jobs of a project. Raises Conflict if one of them runs or waits."""
        jobs = self.store.all(project.id)
        if any(job.state in (*RUNNING, QUEUED) for job in jobs):
            raise Conflict("a job of this project runs or waits; cancel it first")
        return jobs

    def remove_project(self, project: Project) -> None:
        """Move a project to the trash. Raises Conflict while one of its jobs runs or waits."""
        self._idle_jobs(project)
        self.projects.remove(project.id)
        self.store.remove_project(project.id)
        self.library.clusters.pop(project.id, None)

    def command(self, project: Project, task: str, fields: Mapping[str, Any]) -> str:
        """The command lines of a task, which is not started. Raises LigandsmithError."""
        return shown(self._plan(project, self.store.next_number(), task, fields).steps)

    def start(self, project: Project, task: str, fields: Mapping[str, Any]) -> Job:
        """Put a task into the queue. Raises LigandsmithError."""
        with self.lock:
            number = self.store.next_number()
            made = self._plan(project, number, task, fields)
            for path, text in made.files.items():
                (project.folder / path).parent.mkdir(exist_ok=True)
                write_text(project.folder / path, text)
            return self.runner.submit(Job(number, project.id, task, dict(fields), made.steps))

    def start_import(self, project: Project, upload: Upload) -> Job:
        """Put the scoring of molecules of another method into the queue. Raises LigandsmithError."""
        content = molecules_to_score(project, upload)
        fields = {"name": shown_name(upload.name)}
        with self.lock:
            number = self.store.next_number()
            made = self._plan(project, number, "import", fields)
            write_import(project, number, content)
            return self.runner.submit(Job(number, project.id, "import", fields, made.steps))

    def _plan(self, project: Project, number: int, task: str, fields: Mapping[str, Any]) -> JobPlan:
        made = plan(project, number, (task, fields), self.library, self.scale)
        for step in made.steps:
            self.check(step.argv)
        return made


@contextmanager
def open_studio(root: Path, slots: int = 1, check: CommandCheck = accept, scale: Scale = HERE) -> Iterator[Studio]:
    """The studio of a folder of projects, which is held for this process alone. Raises LigandsmithError."""
    try:
        root = root.resolve()
        root.mkdir(parents=True, exist_ok=True)
        with held_alone(root):
            store = JobStore(root)
            projects, runner = Projects(root), Runner(store, root, slots)
            runner.start()
            studio = Studio(projects, store, runner, Library(projects, store), JobProgress(store, root), check, scale)
            try:
                studio.add_found()
                yield studio
            finally:
                runner.stop()
                store.close()
    except sqlite3.DatabaseError as error:
        raise LigandsmithError(
            f"{root / DATABASE}: cannot be used ({error}); move it away: projects stay, jobs are forgotten"
        ) from None
