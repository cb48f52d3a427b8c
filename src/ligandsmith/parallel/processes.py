"""Independent pieces of work in processes of their own. A process that dies or hangs costs its item alone."""

import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from rdkit import rdBase

from ligandsmith.errors import LigandsmithError

log = logging.getLogger("ligandsmith")
EXIT_SECONDS = 5.0  # for a process that closed its connection to end by itself, so that its exit code is known

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class WorkerFailure:
    """Why an item has no result: the exit code of its process, or None if it was ended after the time limit."""

    exit_code: int | None


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def results_from_processes(
    function: Callable[[T], R],
    items: Iterable[T],
    workers: int,
    seconds: float = float("inf"),
    tries: int = 1,
    method: str = "spawn",
) -> Generator[tuple[T, R | WorkerFailure]]:
    """Each item and the result of `function(item)` as they come, from up to `workers` processes of one item at a time.

    Items are taken when a process is free. `function` goes to each process once; an exception that it raises is raised
    here. An item whose process dies is given to a new one, `tries` times in all; one that takes more than `seconds` is
    given up, and its process ended. `method` is a start method of multiprocessing: fresh interpreters
    by default, since torch and threads do not outlive a fork. All processes end with the generator.
    """
    context = multiprocessing.get_context(method)
    items = iter(items)
    idle: list[_Worker] = []
    busy: list[_Worker] = []
    results: list[tuple[T, R | WorkerFailure]] = []
    try:
        while True:
            for item in islice(items, workers - len(busy)):
                busy.append(idle.pop() if idle else _Worker(context, function))
                busy[-1].give(item, seconds)
            yield from results
            if not busy:
                return
            results = []
            for worker in _wait_for_answers(busy):
                result = worker.answer()
                busy.remove(worker)
                if not isinstance(result, WorkerFailure):
                    idle.append(worker)
                elif result.exit_code is not None and worker.tries < tries:
                    log.warning("a worker process ended (%d); another one takes over", result.exit_code)
                    busy.append(_Worker(context, function))
                    busy[-1].give(worker.item, seconds, worker.tries + 1)
                    continue
                results.append((worker.item, result))
    finally:
        for worker in idle + busy:
            worker.end()


def map_in_processes(
    function: Callable[[T], R], items: Iterable[T], workers: int, name: Callable[[T], str] = str
) -> Iterator[R]:
    """The results of `function` in the order of the items; in this process if `workers` is 1.

    Raises LigandsmithError with the `name` of the item whose process died.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    early: dict[int, R] = {}
    next_number = 0
    numbered = partial(_of_numbered, function)
    with closing(results_from_processes(numbered, enumerate(items), workers)) as results:
        for (number, item), result in results:
            if isinstance(result, WorkerFailure):
                died = f"its worker process ended ({result.exit_code})"
                raise LigandsmithError(f"{name(item)}: {died}; if memory was short, use fewer workers")
            early[number] = result
            while next_number in early:
                yield early.pop(next_number)
                next_number += 1


def _of_numbered(function: Callable[[T], R], numbered: tuple[int, T]) -> R:
    return function(numbered[1])


def ignore_stop_signals(_: int = 0) -> None:
    """For the start of a worker process: its main process decides when to stop, and ends it.

    Ctrl-C, Slurm, systemd and `timeout` signal all processes of a group.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class _Worker:
    """A process, the item that it works on, and how often that was tried."""

    def __init__(self, context: Any, function: Callable[[Any], Any]) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, item: Any, seconds: float, tries: int = 1) -> None:
        self.item, self.seconds, self.tries = item, seconds, tries
        self.begun, self.deadline = False, float("inf")
        with suppress(OSError):  # the process died meanwhile, as `answer` finds
            self.connection.send(item)

    def has_answer(self) -> bool:
        alive = self.process.is_alive()  # asked first: what a dead process sent is there already
        if not self.begun and self.connection.poll():
            self.begun, self.deadline = True, time.monotonic() + self.seconds
            with suppress(EOFError, OSError):  # the process died before it began
                self.connection.recv()
        return not alive or (self.begun and self.connection.poll()) or time.monotonic() >= self.deadline

    def answer(self) -> Any:
        """The result of the item, or a WorkerFailure, with which the process has ended; raises what `function` does."""
        overdue = not self.connection.poll() and self.process.is_alive()
        answer = None
        with suppress(EOFError, OSError):  # the process died before it answered
            answer = self.connection.recv() if self.connection.poll() else None
        if answer is None:
            self.process.join(0 if overdue else EXIT_SECONDS)
            self.end()
            return WorkerFailure(None if overdue else self.process.exitcode)
        result, error = answer
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _wait_for_answers(busy: list[_Worker]) -> list[_Worker]:
    while not (done := [worker for worker in busy if worker.has_answer()]):
        left = min(worker.deadline for worker in busy) - time.monotonic()
        signs = [sign for worker in busy for sign in (worker.connection, worker.process.sentinel)]
        wait(signs, None if left == float("inf") else max(left, 0.0))
    return done


def _serve(function: Callable[[Any], Any], connection: Connection) -> None:
    """Answer the items that come until the other end of the connection is closed."""
    ignore_stop_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    rdBase.DisableLog("rdApp.*")
    with suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            connection.send("begun")  # from here on, the time of the item counts
            result, failure = None, None
            try:
                result = function(item)
            except Exception as error:  # noqa: BLE001 (raised again where the results are read)
                error.add_note(traceback.format_exc())
                failure = error
            connection.send((result, failure))


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, which may have been killed: nobody would get the
    result, and the next run would share the cores with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
