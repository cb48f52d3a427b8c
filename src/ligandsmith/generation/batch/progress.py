"""How far the pockets of a run are: which units are left, when a pocket stops, when it is joined."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ligandsmith.errors import LigandsmithError
from ligandsmith.generation.batch.manifest import PocketRow
from ligandsmith.generation.batch.merge import Counts, Joining, Novelty, join_pocket
from ligandsmith.generation.batch.tasks import CHUNKS, Unit, read_chunk
from ligandsmith.generation.output import LIGANDS_FILE, refuse_other, write_json

log = logging.getLogger("ligandsmith")
STATE_FILE = "pocket.json"


@dataclass(frozen=True)
class Plan:
    """What is to be made of a pocket."""

    row: PocketRow
    folder: Path
    identity: dict[str, Any]
    num: int
    chunk: int
    joining: Joining
    notes: dict[str, Any]

    def units(self) -> Iterator[Unit]:
        """In the order of their index."""
        for begin in range(0, self.num, self.chunk):
            end = min(begin + self.chunk, self.num)
            yield Unit(self.row, self.folder, begin, end, self.identity["pocket"])

    def goal(self) -> dict[str, Any]:
        """What the files of the pocket depend on, beside the molecules."""
        return {"num": self.num, **asdict(self.joining)}


class PocketProgress:
    """One pocket on its way from units to files."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.counts: Counts | None = None  # once joined
        self.failed: dict[int, str] = {}
        self._running: set[Unit] = set()
        self._all_given_out = self._stopped = False
        self._novelty, self._ahead = Novelty(), plan.units()
        self._next = next(self._ahead, None)

    def open(self) -> None:
        """Take up what an earlier run left. Raises LigandsmithError if that was of another request."""
        path = self.plan.folder / STATE_FILE
        if not path.is_file():
            return
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            theirs, joined, goal = state["identity"], state["counts"], state["goal"]
        except (ValueError, KeyError, TypeError) as error:
            raise LigandsmithError(f"{path}: not the state of a pocket ({error!r}); choose another --out") from None
        refuse_other(self.plan.folder, theirs, self._identity())
        if joined and goal == self.plan.goal() and (self.plan.folder / LIGANDS_FILE).is_file():
            self.counts = Counts(**joined)

    def units(self) -> Iterator[Unit]:
        """The units that are left to do; joins the pocket if none are."""
        if self.counts is None:
            self._write_state()
            for ending in ("*.part", ".*.tmp"):  # of workers that were killed
                for leftover in (self.plan.folder / CHUNKS).glob(ending):
                    leftover.unlink(missing_ok=True)
            for unit in self.plan.units():
                self._look_ahead()
                if self._stopped:
                    break
                if not unit.done():
                    self._running.add(unit)
                    yield unit
        self._all_given_out = True
        self._join_if_complete()

    def finished(self, unit: Unit, reason: str) -> None:
        """Note that a unit is done, or why it could not be."""
        self._running.discard(unit)
        if reason:
            self.failed[unit.begin] = reason
            log.warning("%s, molecules %d to %d: %s", self.plan.row.pocket, unit.begin, unit.end - 1, reason)
        self._look_ahead()
        self._join_if_complete()

    def lost(self) -> dict[int, str]:
        """Why units (by `begin`) are missing from the files of the pocket."""
        end = self.counts.requested if self.counts else self.plan.num
        return {begin: reason for begin, reason in self.failed.items() if begin < end}

    def _look_ahead(self) -> None:
        """Decide by the finished chunks in the order of their index, whichever worker came first, whether to stop."""
        if not self.plan.joining.stop_below:
            return
        while not self._stopped and (unit := self._next) is not None and (unit.begin in self.failed or unit.done()):
            if unit.begin not in self.failed:
                self._stopped = self.plan.joining.stops(self._novelty.new(read_chunk(unit).keys))
            self._next = next(self._ahead, None)

    def _join_if_complete(self) -> None:
        if self.counts is not None or not (self._stopped or (self._all_given_out and not self._running)):
            return
        plan, self._novelty = self.plan, Novelty()  # the joining has one of its own
        counts = join_pocket(plan.folder, plan.identity, plan.units(), self.failed, plan.joining, plan.notes)
        self.counts = counts
        if not self.lost():  # what could not be made is tried again by the next run
            self._write_state()
        log.info("%s: %s", plan.row.pocket, counts.line())

    def _identity(self) -> dict[str, Any]:
        return {**self.plan.identity, "chunk": self.plan.chunk}

    def _write_state(self) -> None:
        counts = asdict(self.counts) if self.counts else None
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        write_json(
            self.plan.folder / STATE_FILE,
            {"identity": self._identity(), "goal": self.plan.goal(), "counts": counts},
        )


class Progress:
    """All pockets of a run, one after the other."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self.pockets = {plan.row.pocket: PocketProgress(plan) for plan in plans}
        for pocket in self.pockets.values():
            pocket.open()

    def units(self) -> Iterator[Unit]:
        """What is left to do, pocket after pocket, so that a worker keeps its pocket as long as it can."""
        for pocket in self.pockets.values():
            yield from pocket.units()

    def finished(self, unit: Unit, reason: str) -> None:
        """Note what came of a unit."""
        self.pockets[unit.row.pocket].finished(unit, reason)
