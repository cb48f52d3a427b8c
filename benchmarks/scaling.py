"""Cost against the size of ligand, pocket and batch, all sizes in turn in one process; the last line is JSON.

`python -m benchmarks scaling --preset small`
`call` is one network call in sampling, for a batch of molecules of one pocket (`call_few`: of two); `encode` is the
pocket, once for all molecules; `molecules_100` is the encoding and all calls of 50 steps for 100; `train` is a
training step of the denoiser with frozen VAEs.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measure import report
from benchmarks.meter import timed
from benchmarks.own import configuration, denoising_step, synthetic_batch, training_module, training_step
from ligandsmith.models.latent_diffusion import build_vaes
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.losses import encoded_pocket

FEW = 2  # molecules of a call in which fixed costs show
POCKETS, LIGANDS, BATCHES = (100, 200, 400, 800), (10, 20, 40, 80), (1, 4, 16, 64)
CALLS = 51  # of 50 steps
Works = dict[tuple[str, int], Callable[[], Any]]


def medians(works: Works, repeats: int) -> dict[tuple[str, int], float]:
    """Median CPU seconds of each, taken in turn, after one call that does not count."""
    found: dict[tuple[str, int], list[float]] = {name: [] for name in works}
    for turn in range(-1, repeats):
        for name, work in works.items():
            core_s, _ = timed(work)
            if turn >= 0:
                found[name].append(core_s)
    return {name: statistics.median(costs) for name, costs in found.items()}


def encoding(preset: str, pocket: int) -> Callable[[], Any]:
    config = configuration(preset, pocket)
    vae, batch = build_vaes(config, VOCABULARY)["protein"], synthetic_batch(1, 23, pocket)
    return torch.inference_mode()(lambda: encoded_pocket(vae, batch, config.denoiser.anchors))  # type: ignore[arg-type]


def training(preset: str, batch: int, ligand: int, pocket: int) -> Callable[[], Any]:
    config = configuration(preset, pocket)
    return training_step(training_module("denoiser", config), config, synthetic_batch(batch, ligand, pocket))


def by_pocket(args: argparse.Namespace) -> dict[int, dict[str, float]]:
    works: Works = {}
    for size in POCKETS:
        works["call", size] = denoising_step(configuration(args.preset, size), args.molecules, 23, size)
        works["encode", size] = encoding(args.preset, size)
        works["train", size] = training(args.preset, 1, 23, size)
    cost = medians(works, args.repeats)
    calls = CALLS * 100 / args.molecules
    return {
        size: {
            "call": cost["call", size], "encode": cost["encode", size], "train": cost["train", size],
            "molecules_100": cost["encode", size] + calls * cost["call", size],
        } for size in POCKETS
    }  # fmt: skip


def by_ligand(args: argparse.Namespace) -> dict[int, dict[str, float]]:
    works: Works = {}
    for size in LIGANDS:
        works["call", size] = denoising_step(configuration(args.preset, 350), args.molecules, size, 350)
        works["call_few", size] = denoising_step(configuration(args.preset, 350), FEW, size, 350)
        works["train", size] = training(args.preset, 1, size, 350)
    cost = medians(works, args.repeats)
    return {size: {name: cost[name, size] for name in ("call", "call_few", "train")} for size in LIGANDS}


def by_batch(args: argparse.Namespace) -> dict[int, dict[str, float]]:
    works: Works = {}
    for size in BATCHES:
        works["call", size] = denoising_step(configuration(args.preset, 350), size, 23, 350)
        works["train", size] = training(args.preset, size, 23, 350)
    cost = medians(works, min(args.repeats, 3))
    return {
        size: {"call_each": cost["call", size] / size, "train_each": cost["train", size] / size} for size in BATCHES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--molecules", type=int, default=20, help="molecules of a network call")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    pocket, ligand, batch = by_pocket(args), by_ligand(args), by_batch(args)
    report(
        benchmark="scaling", preset=args.preset, molecules=args.molecules, unit="core-s", pocket=pocket, ligand=ligand,
        batch=batch, pocket_100_to_800=pocket[800]["molecules_100"] / pocket[100]["molecules_100"],
        ligand_20_to_80=ligand[80]["call"] / ligand[20]["call"],
        ligand_20_to_80_few=ligand[80]["call_few"] / ligand[20]["call_few"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
