"""Independent pieces of work on the threads of this process."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")
Check = Callable[[], None]


def side_by_side(work: Callable[[T, Check], R], items: Sequence[T]) -> list[R]:
    """`work(item, check)` of every item, in order, on as many threads as torch has, each with one of torch's own.

    Operations on small tensors gain little from several threads, and wait for each other. `check()` raises where the
    result is not wanted any more, since another piece has failed or the user has stopped the process.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(items) < 2:
        return [work(item, lambda: None) for item in items]
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise CancelledError

    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(threads, len(items)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                return list(pool.map(lambda item: work(item, check), items))
            except BaseException:
                stop.set()
                raise
    finally:
        torch.set_num_threads(threads)
