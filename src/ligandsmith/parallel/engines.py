"""Who does the work: this process, processes of this machine, or a Ray cluster.

An engine takes units one by one, only when it can use them, and gives each back with why it failed (empty: it is done),
in any order. A unit whose worker dies is given to another, at most `TRIES` times in all.
"""

import logging
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool
from rdkit import rdBase

from ligandsmith.errors import LigandsmithError

log = logging.getLogger("ligandsmith")
TRIES = 3
U = TypeVar("U", bound=Hashable)
Work = Callable[[U], None]
Engine = Callable[[Work[U], Iterator[U], int], Generator[tuple[U, str]]]


def attempt(work: Work[U], unit: U) -> str:
    """Do a unit; why it failed, or nothing. A disk that cannot be written ends the run: OSError is passed on."""
    try:
        work(unit)
    except OSError:
        raise
    except LigandsmithError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (one odd unit must not end a run of thousands)
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def local(work: Work[U], units: Iterator[U], workers: int) -> Generator[tuple[U, str]]:
    """In this process with one worker, else in processes of their own."""
    if workers > 1:
        yield from _processes(work, units, workers)
        return
    for unit in units:
        yield unit, attempt(work, unit)


def _processes(work: Work[U], units: Iterator[U], workers: int) -> Generator[tuple[U, str]]:
    """Pool after pool: one breaks where a process dies before it has said what it works on."""
    again: deque[U] = deque()
    tries: Counter[U] = Counter()

    def take() -> U | None:
        return again.popleft() if again else next(units, None)

    while (first := take()) is not None:
        again.appendleft(first)
        for unit, reason, cost in _one_pool(work, take, workers):
            tries[unit] += cost or 0
            if cost is not None and tries[unit] < TRIES:
                log.warning("%s; another one takes over", reason)
                again.append(unit)
            else:
                yield unit, reason if cost is None else f"{reason}, {TRIES} times"
                del tries[unit]


def _one_pool(work: Work[U], take: Callable[[], U | None], workers: int) -> Iterator[tuple[U, str, int | None]]:
    """(unit, reason, None if that is final, else what it counts as a try) until nothing is left or the pool broke.

    A broken pool counts for the units that it leaves only if it brought no result at all.
    """
    # Fresh interpreters: torch does not outlive a fork. The work, with all that it imports, comes with the process and
    # not with each unit: those are unpickled under a lock of the pool, for which the others wait a limited time.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(workers, initializer=_start_worker, initargs=(work,), context=context)
    done: Queue[tuple[U, Future[str]]] = Queue()
    waiting: set[U] = set()
    unproductive = 1
    try:
        while pool.active or not done.empty():
            while pool.active and len(waiting) < 2 * workers and (unit := take()) is not None:
                waiting.add(unit)
                with suppress(RuntimeError):  # the pool broke meanwhile; the unit is among those left
                    future = pool.schedule(_attempt_in_worker, args=(unit,))
                    future.add_done_callback(partial(_hand_over, done, unit))
            if not waiting:
                return
            with suppress(Empty):
                unit, result = done.get(timeout=1.0)
                waiting.discard(unit)
                reason, cost = _outcome(result, unproductive)
                unproductive = 0 if cost is None else unproductive
                yield unit, reason, cost
        yield from ((unit, "its worker ended", unproductive) for unit in waiting)
    finally:
        pool.stop()
        pool.join()


def _hand_over(done: "Queue[tuple[U, Future[str]]]", unit: U, future: "Future[str]") -> None:
    done.put((unit, future))


def _outcome(future: "Future[str]", unproductive: int) -> tuple[str, int | None]:
    try:
        return future.result(), None
    except ProcessExpired as death:
        return f"its worker ended ({death.exitcode})", 1
    except BrokenProcessPool:
        return "its worker ended", unproductive


_work: Work[Any]


def _start_worker(work: Work[Any]) -> None:
    global _work  # noqa: PLW0603 (set once per process)
    _work = work
    rdBase.DisableLog("rdApp.*")


def _attempt_in_worker(unit: Any) -> str:
    return attempt(_work, unit)


def ray_cluster(work: Work[U], units: Iterator[U], workers: int) -> Generator[tuple[U, str]]:
    """Tasks on the cluster at RAY_ADDRESS, `workers` at a time; without an address on one started here for the run."""
    ray = _import_ray()
    started = not ray.is_initialized()
    if started:
        address = os.environ.get("RAY_ADDRESS")
        here = {} if address else {"num_cpus": workers, "include_dashboard": False}
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **here)
    gpu = getattr(work, "device", "") == "cuda" and ray.cluster_resources().get("GPU", 0) > 0
    task = ray.remote(max_retries=TRIES - 1, num_cpus=1, num_gpus=int(gpu))(attempt)
    running: dict[Any, U] = {}
    try:
        while True:
            while len(running) < workers and (unit := next(units, None)) is not None:
                running[task.remote(work, unit)] = unit
            if not running:
                return
            for ref in ray.wait(list(running))[0]:
                yield running.pop(ref), _ray_outcome(ray, ref)
    finally:
        for ref in running:
            ray.cancel(ref, force=True)
        if started:
            ray.shutdown()


def _ray_outcome(ray: Any, ref: Any) -> str:
    try:
        return str(ray.get(ref))
    except OSError:
        raise
    except ray.exceptions.RayError as error:
        return f"its worker ended, {TRIES} times ({type(error).__name__})"


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import; nothing is reported to anyone
    try:
        import ray  # noqa: PLC0415 (an optional extra)
    except ImportError:
        raise LigandsmithError(
            "--engine ray: ray is not installed; pip install 'ligandsmith[ray]', or leave --engine out"
        ) from None
    return ray


ENGINES: dict[str, Engine[Any]] = {"local": local, "ray": ray_cluster}
