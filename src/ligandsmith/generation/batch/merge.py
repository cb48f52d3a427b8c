"""From the finished units of a pocket to its `ligands.sdf` and `samples.json`, file to file.

In memory are one unit, and a number for each distinct molecule.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

from ligandsmith.files import atomic_write
from ligandsmith.generation.batch.tasks import Unit, read_chunk, read_records
from ligandsmith.generation.output import LIGANDS_FILE, SAMPLES_FILE

DUPLICATE, NOT_SAMPLED = "duplicate", "not sampled"


class Novelty:
    """The distinct molecules of a pocket so far. Chunks come in the order of their index."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def new(self, keys: Sequence[str]) -> list[bool]:
        """Whether each molecule is the first of its kind; from now on all are known."""
        found = []
        for key in keys:
            number = int(key, 16)
            found.append(number not in self._seen)
            self._seen.add(number)
        return found


@dataclass(frozen=True)
class Joining:
    """`unique` leaves out molecules that were there already, `stop_below` (a share, 0: never) ends a pocket."""

    unique: bool = False
    stop_below: float = 0.0

    def stops(self, new: Sequence[bool]) -> bool:
        """Whether too few molecules of a chunk are new to go on; a chunk without molecules does not say."""
        return bool(new) and sum(new) / len(new) < self.stop_below


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

    def line(self) -> str:
        """Plain text."""
        parts = [f"{self.requested} requested", f"{self.molecules} molecules", f"{self.connected} connected"]
        parts += [f"{self.distinct} distinct"] + [f"{n} {reason}" for reason, n in self.failures.items()]
        return ", ".join(parts) + (f"; {self.stopped}" if self.stopped else "")


def join_pocket(
    folder: Path, identity: dict[str, Any], units: Iterable[Unit], failed: Mapping[int, str], joining: Joining,
    notes: dict[str, Any],
) -> Counts:  # fmt: skip
    """Write both files of a pocket, each whole or not at all: the same as `generate_to_folder` makes in one go.

    `units` come in the order of their index; `failed` has the reasons of those (by `begin`) that could not be made,
    whose molecules are failures. Raises LigandsmithError for a unit that cannot be read, OSError for a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile("w+", dir=folder) as molecules, TemporaryFile("w+", dir=folder) as failures:
        join = _Join(joining, _Rows(molecules), _Rows(failures))
        with atomic_write(folder / LIGANDS_FILE) as part, part.open("w", encoding="utf-8") as out:
            for unit in units:
                if unit.begin in failed:
                    join.add_failed(unit, failed[unit.begin])
                else:
                    join.add(unit, out)
                if join.counts.stopped:
                    break
        with atomic_write(folder / SAMPLES_FILE) as part, part.open("w", encoding="utf-8") as out:
            join.write_samples(out, identity, notes)
    return join.counts


class _Join:
    """The rows and counts of a pocket as its units come."""

    def __init__(self, joining: Joining, molecules: "_Rows", failures: "_Rows") -> None:
        self.joining, self.molecules, self.failures = joining, molecules, failures
        self.counts, self.novelty = Counts(), Novelty()

    def add(self, unit: Unit, ligands: TextIO) -> None:
        chunk = read_chunk(unit)
        new = self.novelty.new(chunk.keys)
        kept, lost = [], list(chunk.failures)
        for row, record, fresh in zip(chunk.molecules, read_records(unit, len(new)), new, strict=True):
            if fresh or not self.joining.unique:
                kept.append(row)
                ligands.write(record)
            else:
                lost.append({"index": row["index"], "reason": DUPLICATE, "detail": row["smiles"]})
        self.molecules.add(kept)
        self.failures.add(sorted(lost, key=lambda row: int(row["index"])))
        counts = self.counts
        counts.requested = unit.end
        counts.molecules += len(kept)
        counts.connected += sum(bool(row["connected"]) for row in kept)
        counts.distinct += sum(new)
        counts.seconds = round(counts.seconds + chunk.seconds, 3)
        for row in lost:
            counts.failures[row["reason"]] = counts.failures.get(row["reason"], 0) + 1
        if self.joining.stops(new):
            share = f"{sum(new)} of {len(new)} molecules of the last chunk were new, a share"
            counts.stopped = f"stopped after {unit.end}: {share} below {self.joining.stop_below:g}"

    def add_failed(self, unit: Unit, reason: str) -> None:
        rows = [{"index": i, "reason": NOT_SAMPLED, "detail": reason} for i in range(unit.begin, unit.end)]
        self.failures.add(rows)
        self.counts.requested = unit.end
        failures = self.counts.failures
        failures[NOT_SAMPLED] = failures.get(NOT_SAMPLED, 0) + len(rows)

    def write_samples(self, out: TextIO, identity: dict[str, Any], notes: dict[str, Any]) -> None:
        """As `json.dumps(record, indent=1)` would, without holding the rows."""
        counts, joining = self.counts, self.joining
        rest: dict[str, Any] = {"seconds": counts.seconds, "requested": counts.requested, **notes}
        if joining.unique:
            rest["unique"] = True
        if joining.stop_below:
            rest |= {"stop_below": joining.stop_below, "stopped": counts.stopped}
        out.write(json.dumps({"identity": identity, "done": counts.requested}, indent=1).removesuffix("\n}"))
        for name, rows in (("molecules", self.molecules), ("failures", self.failures)):
            out.write(f',\n "{name}": ')
            rows.copy_to(out)
        out.write(",\n" + json.dumps(rest, indent=1).removeprefix("{\n") + "\n")


class _Rows:
    """A list in JSON, with rows that wait in a file."""

    def __init__(self, spool: TextIO) -> None:
        self._spool, self._any = spool, False

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._spool.write((",\n  " if self._any else "[\n  ") + json.dumps(row, indent=1).replace("\n", "\n  "))
            self._any = True

    def copy_to(self, out: TextIO) -> None:
        self._spool.write("\n ]" if self._any else "[]")
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, out)
