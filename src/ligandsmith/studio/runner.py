"""Threads that take jobs from the queue and run their command lines one after the other."""

import time
from collections import Counter
from pathlib import Path
from subprocess import Popen
from threading import Event, Lock, Thread

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import earlier_record
from ligandsmith.studio import processes
from ligandsmith.studio.jobs import (
    CANCELLED,
    DONE,
    FAILED,
    INTERRUPTED,
    PREPARING,
    QUEUED,
    RUNNING,
    SCORING,
    STOPPED,
    Job,
    JobStore,
)
from ligandsmith.studio.projects import Conflict
from ligandsmith.studio.tables import LIGANDS_FILE, SAMPLES_FILE, sdf_blocks, version

POLL = 0.2  # s
GRACE = 30.0  # s that an interrupted command has to write what is finished
INTERRUPTED_EXIT = 130
SERVER_ENDED = "the server ended while this job ran; continue it: what was made is kept"
STOPPING = "stopped with the server; continue it: what was made is kept"


class Runner:
    """Runs the queue with `slots` jobs at a time."""

    def __init__(self, store: JobStore, root: Path, slots: int = 1) -> None:
        self.store, self.root, self.slots = store, root, slots
        self.news, self.stopping = Event(), Event()
        self.cancelled: set[int] = set()
        self.lock = Lock()
        self.threads: list[Thread] = []
        self.adopted: list[Job] = []

    def start(self) -> None:
        """Take over what an earlier server left, then run the queue."""
        for job in self.store.all():
            if job.state in RUNNING and processes.is_running(self.log(job)):
                self.adopted.append(job)
            elif job.state in RUNNING:
                self.store.move(job.id, RUNNING, INTERRUPTED, message=SERVER_ENDED, pid=0, ended=time.time())
        for number in range(max(self.slots, len(self.adopted))):
            thread = Thread(target=self._work, args=(number < self.slots,), name=f"jobs {number}", daemon=True)
            thread.start()
            self.threads.append(thread)

    def stop(self) -> None:
        """Interrupt the running commands and wait until they have written what is finished."""
        self.stopping.set()
        self.news.set()
        for thread in self.threads:
            thread.join(2 * GRACE)

    def log(self, job: Job) -> Path:
        """What the commands of a job print."""
        return self.root / job.project / "jobs" / f"{job.name}.log"

    def submit(self, job: Job) -> Job:
        """Put a new job at the end of the queue."""
        job = self.store.add(job)
        self.news.set()
        return job

    def resume(self, id: int) -> Job:
        """Put a stopped job at the end of the queue again. Raises Conflict for any other, NoSuchThing."""
        job = self.store.get(id)
        if not self.store.move(id, STOPPED, QUEUED, message="", ended=0.0):
            raise Conflict(f"this job is {job.state}; only one that was stopped can be continued")
        self.news.set()
        return self.store.get(id)

    def cancel(self, id: int) -> Job:
        """Take a job from the queue, or interrupt its command, which keeps what is finished. Raises Conflict for a
        job that has ended, NoSuchThing."""
        job = self.store.get(id)
        if self.store.move(id, [QUEUED, INTERRUPTED], CANCELLED, message="cancelled", ended=time.time()):
            return self.store.get(id)
        with self.lock:
            self.cancelled.add(id)
        if self.store.get(id).state not in RUNNING:
            self.cancelled.discard(id)
            raise Conflict(f"this job is {job.state}; there is nothing to cancel")
        self.store.move(id, [PREPARING], PREPARING, message="cancelling: what is finished is kept")
        return self.store.get(id)

    def _work(self, goes_on: bool) -> None:
        while not self.stopping.is_set():
            with self.lock:
                job = self.adopted.pop() if self.adopted else None
            if job is not None:
                self._run(job, adopted=True)
            elif not goes_on:
                return
            elif (job := self.store.claim()) is not None:
                self._run(job)
            else:
                self.news.wait(1.0)
                self.news.clear()

    def _run(self, job: Job, adopted: bool = False) -> None:
        """Run the steps that are not done. The command of an adopted job is waited for and then run again: it finds
        its work done, and its exit status is known."""
        state, message = DONE, ""
        try:
            if adopted and not self._wait(job, None, job.pid):
                state, message = self._why_stopped(job)
            while state == DONE and job.step < len(job.steps):
                step = job.steps[job.step]
                if step.state == SCORING and (message := self._why_nothing_to_score(job)):
                    break
                process = processes.start(step.argv, self.root / job.project, self.log(job))
                self.store.update(job.id, state=PREPARING, pid=process.pid, started=time.time())
                self._wait(job, process, process.pid)
                if process.returncode == 0:
                    job = self.store.update(job.id, step=job.step + 1, pid=0)
                else:
                    state, message = self._why_stopped(job, process.returncode)
        except (LigandsmithError, OSError) as error:
            state, message = FAILED, str(error)
        self.cancelled.discard(job.id)
        self.store.update(job.id, state=state, message=message, pid=0, ended=time.time())

    def _why_nothing_to_score(self, job: Job) -> str:
        """Why a job has no molecule, in words; empty if it has one."""
        folder = self.root / job.project / "jobs" / job.name
        if sdf_blocks(folder / LIGANDS_FILE, version(folder / LIGANDS_FILE)):
            return ""
        failures = (earlier_record(folder / SAMPLES_FILE) or {}).get("failures")
        reasons = Counter(str(each.get("reason")) for each in failures or () if isinstance(each, dict))
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
        return f"no molecule was obtained ({told})" if told else "no molecule was obtained that fits what was asked for"

    def _why_stopped(self, job: Job, status: int = INTERRUPTED_EXIT) -> tuple[str, str]:
        if job.id in self.cancelled:
            return CANCELLED, "cancelled; what was finished is kept"
        if self.stopping.is_set():
            return INTERRUPTED, STOPPING
        if status < 0 or status == INTERRUPTED_EXIT:
            return INTERRUPTED, "its process was ended; continue it: what was made is kept"
        return FAILED, processes.last_error(self.log(job))

    def _wait(self, job: Job, process: "Popen[bytes] | None", pid: int) -> bool:
        """Wait for the end of a command, which is interrupted if the job is cancelled or the server stops; whether it
        ended by itself."""
        asked: float | None = None
        while process.poll() is None if process is not None else processes.is_running(self.log(job)):
            now = time.monotonic()
            if asked is None and (job.id in self.cancelled or self.stopping.is_set()):
                processes.interrupt(pid)
                asked = now
            elif asked is not None and now > asked + GRACE:
                processes.end(pid)
                asked = now
            time.sleep(POLL)
        return asked is None
