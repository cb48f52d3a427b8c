"""From the finished tasks of a pocket to its `ligands.sdf` and `samples.json`, file to file.

In memory are one task, and a number for each distinct molecule.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ligandsmith.files import atomic_write
from ligandsmith.generation.batch.tasks import Task, read_chunk, read_records
from ligandsmith.generation.output import LIGANDS_FILE, SAMPLES_FILE

DUPLICATE, NOT_SAMPLED = "duplicate", "not sampled"


@dataclass(frozen=True)
class MergeOptions:
    """`unique` leaves out molecules that the pocket has already; `stop_below` (a share, 0: never) ends a pocket."""

    unique: bool = False
    stop_below: float = 0.0

    def stops(self, new: Sequence[bool]) -> bool:
        """Whether too few molecules of a task are new to go on; a task without molecules does not say."""
        return bool(new) and sum(new) / len(new) < self.stop_below


class MergedTask(NamedTuple):
    """Rows of a task as `samples.json` lists them."""

    task: Task
    molecules: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    new: list[bool]  # of all molecules that the task made, whether the pocket did not have them before
    kept: list[bool]  # of all molecules that the task made, whether they are in `molecules`
    seconds: float = 0.0


def first_seen(keys: Iterable[str], seen: set[int]) -> list[bool]:
    """Whether each molecule is the first with its key (hexadecimal digits); adds all to `seen`."""
    new = []
    for number in (int(key, 16) for key in keys):
        new.append(number not in seen)
        seen.add(number)
    return new


def merged_tasks(tasks: Iterable[Task], failed: Mapping[int, str], options: MergeOptions) -> Iterator[MergedTask]:
    """The tasks of a pocket, in the order of their index, up to where the pocket stops.

    `failed` has the reasons of the tasks (by `begin`) that could not be done; their molecules are failures. Raises
    LigandsmithError for a task that cannot be read.
    """
    seen: set[int] = set()
    for task in tasks:
        if task.begin in failed:
            detail = failed[task.begin]
            rows = [{"index": i, "reason": NOT_SAMPLED, "detail": detail} for i in range(task.begin, task.end)]
            yield MergedTask(task, [], rows, [], [])
            continue
        chunk = read_chunk(task)
        new = first_seen(chunk.keys, seen)
        kept = new if options.unique else [True] * len(new)
        repeated = compress(chunk.molecules, (not keep for keep in kept))
        duplicates = [{"index": row["index"], "reason": DUPLICATE, "detail": row["smiles"]} for row in repeated]
        failures = sorted([*chunk.failures, *duplicates], key=lambda row: int(row["index"]))
        yield MergedTask(task, list(compress(chunk.molecules, kept)), failures, new, kept, chunk.seconds)
        if options.stops(new):
            return


@dataclass
class Counts:
    """What came of a pocket. `requested` is smaller than the request where the pocket stopped early."""

    requested: int = 0
    molecules: int = 0
    connected: int = 0
    distinct: int = 0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    stopped: str = ""

    def add(self, merged: MergedTask, options: MergeOptions) -> None:
        """Count the rows of one more task."""
        self.requested = merged.task.end
        self.molecules += len(merged.molecules)
        self.connected += sum(bool(row["connected"]) for row in merged.molecules)
        self.distinct += sum(merged.new)
        self.seconds = round(self.seconds + merged.seconds, 3)
        self.failures = dict(Counter(self.failures) + Counter(row["reason"] for row in merged.failures))
        if options.stops(merged.new):
            share = f"{sum(merged.new)} of {len(merged.new)} molecules of the last chunk were new, a share"
            self.stopped = f"stopped after {merged.task.end}: {share} below {options.stop_below:g}"

    def line(self) -> str:
        """Plain text."""
        parts = [f"{self.requested} requested", f"{self.molecules} molecules", f"{self.connected} connected"]
        parts += [f"{self.distinct} distinct"] + [f"{n} {reason}" for reason, n in self.failures.items()]
        return ", ".join(parts) + (f"; {self.stopped}" if self.stopped else "")


def merge_pocket(
    folder: Path, identity: dict[str, Any], read: Callable[[], Iterator[MergedTask]], options: MergeOptions,
    notes: dict[str, Any],
) -> Counts:  # fmt: skip
    """Write both files of a pocket, each whole or not at all: the same as `generate_to_folder` makes in one go.

    `read` starts reading the tasks. Raises LigandsmithError for a task that cannot be read, OSError for a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = Counts()
    with atomic_write(folder / LIGANDS_FILE) as part, part.open("w", encoding="utf-8") as out:
        for merged in read():
            out.writelines(compress(read_records(merged.task, len(merged.kept)), merged.kept))
            counts.add(merged, options)
    rest: dict[str, Any] = {"seconds": counts.seconds, "requested": counts.requested, **notes}
    if options.unique:
        rest["unique"] = True
    if options.stop_below:
        rest |= {"stop_below": options.stop_below, "stopped": counts.stopped}
    with atomic_write(folder / SAMPLES_FILE) as part, part.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"identity": identity, "done": counts.requested}, indent=1).removesuffix("\n}"))
        for name in ("molecules", "failures"):
            out.write(f',\n "{name}": ')
            _write_rows(out, (row for merged in read() for row in getattr(merged, name)))
        out.write(",\n" + json.dumps(rest, indent=1).removeprefix("{\n") + "\n")
    return counts


def _write_rows(out: TextIO, rows: Iterable[dict[str, Any]]) -> None:
    """As `json.dumps(rows, indent=1)` would within an object, a row at a time."""
    opening = "[\n  "
    for row in rows:
        out.write(opening + json.dumps(row, indent=1).replace("\n", "\n  "))
        opening = ",\n  "
    out.write("[]" if opening.startswith("[") else "\n ]")
