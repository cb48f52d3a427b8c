"""How far a pocket is: which tasks are left, when it stops, when its tasks are merged."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import clear_leftovers, json_content, remove_all, write_json
from ligandsmith.generation.batch.manifest import PocketRow
from ligandsmith.generation.batch.merge import Counts, MergedTask, MergeOptions, first_seen, merge_pocket, merged_tasks
from ligandsmith.generation.batch.tasks import CHUNKS, Task, clear_unfinished, read_chunk
from ligandsmith.generation.output import LIGANDS_FILE, SAMPLES_FILE, refuse_other_samples
from ligandsmith.options import GenerationOptions

log = logging.getLogger("ligandsmith")
STATE_FILE = "pocket.json"
POCKET_FILES = (STATE_FILE, LIGANDS_FILE, SAMPLES_FILE, CHUNKS)


@dataclass
class PocketProgress:
    """One pocket on its way from tasks to files. `open` takes up what an earlier run left."""

    row: PocketRow
    folder: Path
    identity: dict[str, Any]
    options: GenerationOptions
    chunk: int
    merging: MergeOptions
    notes: dict[str, Any]
    counts: Counts | None = None  # once merged
    failed: dict[int, str] = field(default_factory=dict)  # reason by the `begin` of a task

    def __post_init__(self) -> None:
        self._running: set[Task] = set()
        self._all_given_out = self._stopped = False
        self._seen: set[int] = set()
        self._ahead = self._all_tasks()
        self._next = next(self._ahead, None)  # the first task that has not been asked whether the pocket stops

    def open(self, overwrite: bool = False) -> None:
        """Raises LigandsmithError if the folder holds another request, unless `overwrite`, which removes its files."""
        try:
            self._open()
        except LigandsmithError:
            if not overwrite:
                raise
            remove_all([self.folder / name for name in POCKET_FILES])

    def _open(self) -> None:
        path = self.folder / STATE_FILE
        if not path.is_file():
            return
        try:
            state = json_content(path)
            theirs, merged, goal = dict(state["identity"]), state["counts"], state["goal"]
            counts = Counts(**merged) if merged else None
            if counts and any(type(v) is not type(getattr(Counts(), name)) for name, v in vars(counts).items()):
                raise TypeError("counts of another type")
        except (ValueError, KeyError, TypeError) as error:
            raise LigandsmithError(
                f"{path}: not the state of a pocket ({type(error).__name__}: {error}); choose another --out, or "
                "--overwrite"
            ) from None
        refuse_other_samples(self.folder, theirs, self._identity(), STATE_FILE)
        if merged and goal == self._goal() and (self.folder / LIGANDS_FILE).is_file():
            self.counts = counts

    def tasks(self) -> Iterator[Task]:
        """The tasks that are left to do; merges the pocket if none are."""
        if self.counts is not None:
            clear_unfinished(self.folder)  # of workers that outlived their run
        else:
            self._write_state()
            for folder in (self.folder, self.folder / CHUNKS):
                clear_leftovers(folder)
            for task in self._all_tasks():
                self._look_ahead()
                if self._stopped:
                    break
                if not task.done():
                    self._running.add(task)
                    yield task
        self._all_given_out = True
        self._merge_if_complete()

    def finished(self, task: Task, reason: str) -> None:
        """Note that a task is done, or why it could not be."""
        self._running.discard(task)
        if reason:
            self.failed[task.begin] = reason
            log.warning("%s, molecules %d to %d: %s", self.row.pocket, task.begin, task.end - 1, reason)
        self._look_ahead()
        self._merge_if_complete()

    def missing(self) -> dict[int, str]:
        """Why tasks (by `begin`) are missing from the files of the pocket."""
        end = self.counts.requested if self.counts else self.options.num
        return {begin: reason for begin, reason in self.failed.items() if begin < end}

    def _look_ahead(self) -> None:
        """Decide by the finished tasks in the order of their index, whichever worker came first, whether to stop."""
        if not self.merging.stop_below:
            return
        while not self._stopped and (task := self._next) is not None and (task.begin in self.failed or task.done()):
            if task.begin not in self.failed:
                self._stopped = self.merging.stops(first_seen(read_chunk(task).keys, self._seen))
            self._next = next(self._ahead, None)

    def _merge_if_complete(self) -> None:
        if self.counts is not None or not (self._stopped or (self._all_given_out and not self._running)):
            return
        self._seen = set()  # merging has one of its own
        self.counts = merge_pocket(self.folder, self.identity, self._merged, self.merging, self.notes)
        if not self.missing():  # what could not be made is tried again by the next run
            self._write_state()
            clear_unfinished(self.folder)
        log.info("%s: %s", self.row.pocket, self.counts.line())

    def _all_tasks(self) -> Iterator[Task]:
        """In the order of their index."""
        for begin in range(0, self.options.num, self.chunk):
            end = min(begin + self.chunk, self.options.num)
            yield Task(self.row, self.folder, begin, end, self.options, self.identity)

    def _merged(self) -> Iterator[MergedTask]:
        return merged_tasks(self._all_tasks(), self.failed, self.merging)

    def _identity(self) -> dict[str, Any]:
        return {**self.identity, "chunk": self.chunk}

    def _goal(self) -> dict[str, Any]:
        """What the files of the pocket depend on, besides the molecules."""
        return {"num": self.options.num, **asdict(self.merging)}

    def _write_state(self) -> None:
        counts = asdict(self.counts) if self.counts else None
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / STATE_FILE, {"identity": self._identity(), "goal": self._goal(), "counts": counts})
