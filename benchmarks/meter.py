"""Meters that need nothing but Python and torch, so that they also run in the Python of another project."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

MATMUL_SIZE = 1024


def cpu_seconds() -> float:
    """User and system seconds of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_gib() -> float:
    """Largest resident set of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """(CPU s, wall s) of one call."""
    began, began_cpu = time.perf_counter(), cpu_seconds()
    work()
    return cpu_seconds() - began_cpu, time.perf_counter() - began


def repeat(work: Callable[[], Any], times: int, warmup: int = 1) -> tuple[float, float]:
    """Median (CPU s, wall s) of one call."""
    for _ in range(warmup):
        work()
    cpu, wall = zip(*(timed(work) for _ in range(times)), strict=True)
    return statistics.median(cpu), statistics.median(wall)


def matmul_rate(repeats: int = 9) -> float:
    """GFLOP per CPU second of this process in fp32 products of two 1024 x 1024 matrices."""
    a = torch.randn(MATMUL_SIZE, MATMUL_SIZE)
    core_s, _ = repeat(lambda: a @ a, repeats, warmup=2)
    return 2 * MATMUL_SIZE**3 / core_s / 1e9


def _added_product(_: list[int], a: list[int], b: list[int], **__: Any) -> int:
    """FLOPs of `addmm_`; the counter itself knows the products that return a new tensor only."""
    return 2 * a[0] * a[1] * b[1]


def counted_gflop(work: Callable[[], Any]) -> float:
    """GFLOP of the matrix products of one call, forward and backward."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _added_product}) as counter:
        work()
    return counter.get_total_flops() / 1e9


def serve(steps: Mapping[str, Callable[[], Any]], facts: dict[str, Any]) -> None:
    """Answer each line of the standard input that names a step: run it once, print {cpu, wall, peak}. `facts` first."""
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        core_s, wall_s = timed(steps[line.strip()])
        print(json.dumps({"core_s": core_s, "wall_s": wall_s, "peak_rss_gib": peak_gib()}), flush=True)
