"""Who does the work: this process, processes of this machine, or a Ray cluster.

An engine takes units one by one, only when it can use them, and gives each back with why it failed (empty: it is done),
in any order. A unit whose worker dies is given to another, at most `TRIES` times in all.
"""

import os
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, TypeVar

from ligandsmith.errors import LigandsmithError, one_line
from ligandsmith.parallel.processes import WorkerFailure, results_from_processes

TRIES = 3
U = TypeVar("U")
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
        return f"{type(error).__name__}: {one_line(error)}"
    return ""


def local(work: Work[U], units: Iterator[U], workers: int) -> Generator[tuple[U, str]]:
    """In this process with one worker, else in processes of their own."""
    if workers <= 1:
        for unit in units:
            yield unit, attempt(work, unit)
        return
    for unit, result in results_from_processes(partial(attempt, work), units, workers, tries=TRIES):
        if isinstance(result, WorkerFailure):
            yield unit, f"its worker ended ({result.exit_code}), {TRIES} times"
        else:
            yield unit, result


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
