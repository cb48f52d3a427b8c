"""What every benchmark shares: CPU seconds over all threads, peak memory, synthetic complexes of a given size."""

import json
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ligandsmith.data.vocabulary import ATOM_NAMES, RESIDUES
from ligandsmith.types import Complex, Ligand, Pocket


def cpu_seconds() -> float:
    """User and system seconds of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_gib() -> float:
    """Largest resident set of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def repeat(work: Callable[[], Any], times: int, warmup: int = 1) -> tuple[float, float]:
    """Median (CPU s, wall s) of one call."""
    for _ in range(warmup):
        work()
    cpu, wall = [], []
    for _ in range(times):
        began, began_cpu = time.perf_counter(), cpu_seconds()
        work()
        cpu.append(cpu_seconds() - began_cpu)
        wall.append(time.perf_counter() - began)
    return statistics.median(cpu), statistics.median(wall)


def report(**values: Any) -> None:
    """One JSON line, the last one printed."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}))


def synthetic_complex(ligand: int, pocket: int, seed: int) -> Complex:
    """A chain of carbons in a shell of protein-like atoms at 0.05 atoms per Å³: real sizes, no chemistry."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 0.85, (ligand, 3)), 0)
    walk -= walk.mean(0)
    side = (2 * pocket / 0.05) ** (1 / 3)
    cloud = rng.uniform(-side, side, (20 * pocket, 3)) / 1.2
    gap = np.linalg.norm(cloud[:, None] - walk[None], axis=-1).min(1)
    near = cloud[gap > 3.0]
    x = near[np.argsort(np.linalg.norm(near, axis=1))[:pocket]].astype(np.float32)
    bonds = np.stack([np.arange(ligand - 1), np.arange(1, ligand)], 1).astype(np.int16)
    return Complex(
        id=f"synthetic{seed}",
        ligand=Ligand(
            element=np.full(ligand, 6, np.uint8), charge=np.zeros(ligand, np.int8), aromatic=np.zeros(ligand, np.bool_),
            num_h=np.full(ligand, 2, np.uint8), x=walk.astype(np.float32), bond_index=bonds,
            bond_type=np.ones(ligand - 1, np.uint8),
        ),
        pocket=Pocket(
            element=np.full(pocket, 6, np.uint8), residue=rng.integers(0, len(RESIDUES) - 1, pocket).astype(np.uint8),
            atom_name=rng.integers(0, len(ATOM_NAMES) - 1, pocket).astype(np.uint8),
            residue_index=(np.arange(pocket) // 8).astype(np.int16), x=x, center=np.zeros(3, np.float32),
        ),
    )  # fmt: skip
