"""What every benchmark shares: flags for sizes, the record that is printed, edges, synthetic complexes."""

import argparse
import json
import platform
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.meter import counted_gflop, cpu_seconds, matmul_rate, peak_gib, repeat
from ligandsmith.config import Config
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.records import Complex, Ligand, Pocket
from ligandsmith.structure.vocabulary import ATOM_NAMES, RESIDUES

__all__ = [
    "against_matmul", "counted_gflop", "cpu_seconds", "edges", "machine", "matmul_rate", "measured", "peak_gib",
    "repeat", "report", "size_flags", "synthetic_complex", "validation_complexes",
]  # fmt: skip


def size_flags(parser: argparse.ArgumentParser, batch: int, repeats: int = 7) -> None:
    """--preset, --ligand, --pocket, --batch, --threads, --repeats, alike in every benchmark of a model."""
    parser.add_argument("--preset", default="small")
    parser.add_argument("--ligand", type=int, default=23, help="atoms, 10 to 80")
    parser.add_argument("--pocket", type=int, default=350, help="atoms, 100 to 800")
    parser.add_argument("--batch", type=int, default=batch, help="1 to 64")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=repeats, help="of which the median is reported")


def validation_complexes(count: int, heavy_atoms: tuple[int, int]) -> Iterator[Complex]:
    """So many complexes of the shipped validation split, spread evenly over those whose ligand is of such a size."""
    data = ComplexDataset(None, "validation")
    sizes = data.sizes()[0]
    fitting = np.flatnonzero((sizes >= heavy_atoms[0]) & (sizes <= heavy_atoms[1]))
    for i in fitting[np.linspace(0, len(fitting) - 1, count).astype(int)]:
        yield data[int(i)]


def report(**values: Any) -> None:
    """One JSON line, the last one printed."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}))


def measured(work: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Median cost of one call, its FLOPs, and the share of this machine's matmul rate that they ran at."""
    rate = matmul_rate()
    core_s, wall_s = repeat(work, repeats)
    peak = peak_gib()
    return {"core_s": core_s, "wall_s": wall_s, "peak_rss_gib": peak} | against_matmul(
        counted_gflop(work), core_s, rate
    )


def against_matmul(gflop: float, core_s: float, rate: float) -> dict[str, Any]:
    """FLOPs per CPU second beside those of a plain product of matrices in the same process."""
    return {
        "gflop": gflop, "gflop_per_core_s": gflop / core_s, "matmul_gflop_per_core_s": rate,
        "share_of_matmul": gflop / core_s / rate, "device": "cpu",
    }  # fmt: skip


def edges(config: Config, batch: int, ligand: int, pocket: int) -> dict[str, int]:
    """Directed edges of one call: ligand atoms among themselves, ligand to pocket in one block, pocket in the VAE."""
    near = min(config.denoiser.cross_neighbors, pocket) + config.denoiser.anchors
    return {
        "ligand_ligand": batch * ligand * (ligand - 1),
        "ligand_pocket": batch * ligand * near,
        "pocket_pocket": batch * pocket * min(config.pocket_vae.neighbors, pocket - 1),
    }


def machine() -> dict[str, Any]:
    """What the numbers were measured on; no name of the host."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            model = next(line.split(":")[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    capability = torch.backends.cpu.get_cpu_capability()
    return {"cpu": model, "instructions": capability, "torch": torch.__version__, "python": platform.python_version()}


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
