"""How far a job is, by the files that its commands write, and what the pages are told of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ligandsmith.files import earlier_record
from ligandsmith.studio.commands import EVALUATION_TOOLS, shown
from ligandsmith.studio.jobs import DONE, PREPARING, QUEUED, RUNNING, SAMPLING, SCORING, Job, JobStore
from ligandsmith.studio.projects import when
from ligandsmith.studio.tables import HISTORY_FILE, LIGANDS_FILE, SAMPLES_FILE

RECORD_END_BYTES = b"\n$$$$\n"
ROUNDS, ANSWERS = "rounds", "answers"
OF_BUDGET = {"min": 60.0, "h": 3600.0}


class FileCounter:
    """Counts marks in files; a file that is as it was is not read again."""

    def __init__(self) -> None:
        self.counts: dict[tuple[Path, bytes], tuple[tuple[int, int], int]] = {}

    def count(self, path: Path, mark: bytes = RECORD_END_BYTES) -> int:
        """How often the mark is in the file; 0 without a file."""
        try:
            status = path.stat()
            version = status.st_size, status.st_mtime_ns
            known = self.counts.get((path, mark))
            if known is None or known[0] != version:
                known = self.counts[path, mark] = version, path.read_bytes().count(mark)
        except OSError:
            return 0
        return known[1]


@dataclass
class _Pace:
    """Where the count stood when this server first saw the step."""

    step: tuple[int, float]
    done: int
    at: float


class JobProgress:
    """What the pages are told of jobs."""

    def __init__(self, store: JobStore, root: Path) -> None:
        self.store, self.root = store, root
        self.counter = FileCounter()
        self.paces: dict[int, _Pace] = {}

    def view(self, job: Job) -> dict[str, Any]:
        """A job as the API has it."""
        folder = self.root / job.project / "jobs" / job.name
        state, step = self._state(job, folder)
        done, total = self._count(job, step, folder)
        return {
            "id": str(job.id), "project": job.project, "task": job.task, "fields": job.fields,
            "command": shown(job.steps), "state": state, "message": job.message or self._waiting(job),
            "done": done, "total": total, "seconds_left": self._seconds_left(job, state, done, total),
            "created": when(job.created), "molecules": self.molecules(folder),
        }  # fmt: skip

    def molecules(self, folder: Path) -> int:
        """How many molecules a job's folder has."""
        return self.counter.count(folder / LIGANDS_FILE)

    def _waiting(self, job: Job) -> str:
        if job.state != QUEUED:
            return ""
        before = sum(other.id < job.id and other.state in (QUEUED, *RUNNING) for other in self.store.all())
        return f"{before} job{'s' if before > 1 else ''} before this one" if before else ""

    def _state(self, job: Job, folder: Path) -> tuple[str, str]:
        """The state to show, and that of the step which counts."""
        step = job.steps[min(job.step, len(job.steps) - 1)].state
        if job.state not in RUNNING:
            return job.state, step
        if step == SAMPLING and not any(
            _changed_since(folder / name, job.started) for name in (SAMPLES_FILE, LIGANDS_FILE, ROUNDS)
        ):
            return PREPARING, step
        return step, step

    def _count(self, job: Job, step: str, folder: Path) -> tuple[int, int]:
        """What is done and what there is to do, in ligands, or in scores while they are computed."""
        molecules = self.molecules(folder)
        if step == SCORING and job.state not in (DONE, QUEUED):
            answers = sum(self.counter.count(folder / ANSWERS / f"{tool}.jsonl", b"\n") for tool in EVALUATION_TOOLS)
            total = molecules * len(EVALUATION_TOOLS)
            return min(answers, total), total
        if job.task == "import":
            return molecules if job.state == DONE else 0, molecules
        if job.task == "optimise":
            return self._rounds(job, folder)
        record = earlier_record(folder / SAMPLES_FILE) or {}
        failures = record.get("failures")
        done = molecules + (len(failures) if isinstance(failures, list) else 0)
        return done, max(int(job.fields.get("num") or 100), done)

    def _rounds(self, job: Job, folder: Path) -> tuple[int, int]:
        """Ligands that were sampled, of the budget; seconds, where the budget is a time."""
        budget = str(job.fields.get("budget") or 300)
        rows = max(self.counter.count(folder / HISTORY_FILE, b"\n") - 1, 0)
        if budget.isdecimal():
            return min(rows, int(budget)), int(budget)
        unit = "min" if budget.endswith("min") else "h"
        try:
            total = float(budget.removesuffix(unit)) * OF_BUDGET[unit]
        except ValueError:
            return rows, rows
        spent = time.time() - job.started if job.state in RUNNING else total
        return int(min(spent, total)), int(total)

    def _seconds_left(self, job: Job, state: str, done: int, total: int) -> int | None:
        """By the pace of this step since this server saw it; None before there is one."""
        if state not in (SAMPLING, SCORING):
            return None
        now, step = time.time(), (job.step, job.started)
        pace = self.paces.get(job.id)
        if pace is None or pace.step != step or done < pace.done:
            pace = self.paces[job.id] = _Pace(step, done, now if done else job.started)
        if done <= pace.done or now <= pace.at:
            return None
        return round((now - pace.at) / (done - pace.done) * (total - done))


def _changed_since(path: Path, seconds: float) -> bool:
    try:
        return path.stat().st_mtime >= seconds - 1
    except OSError:
        return False


def summary_of(view: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a job makes a difference worth telling."""
    return tuple(view[name] for name in ("state", "message", "done", "total", "molecules"))
