"""Training steps, network calls and whole ligands on a GPU; a JSON line for each, wall time between synchronisations.

`python -m benchmarks gpu --parts machine train call generate` (the shipped weights; the cost does not depend on them)
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from benchmarks.measure import report
from benchmarks.meter import counted_gflop
from benchmarks.own import Step, synthetic_batch, training_module, with_latents
from ligandsmith.batches import ComplexBatch
from ligandsmith.checkpoints.files import load_checkpoint
from ligandsmith.config import Config, from_dict
from ligandsmith.data.static_shapes import pad_to_static_shapes
from ligandsmith.diffusion.process import NoisyLigand, coefficients
from ligandsmith.diffusion.rng import make_seeds, step_seeds
from ligandsmith.generation.generator import load, shipped_weights
from ligandsmith.structure.pocket import read_pocket
from ligandsmith.training.cudagraphs import CapturedStep
from ligandsmith.training.losses import DiffusionTraining
from ligandsmith.training.optim import MuonAdamW, make_optimizer

EXAMPLE = Path(__file__).parents[1] / "examples" / "complexes" / "7off"
CUDA = torch.device("cuda")
MATMUL_SIZE = 8192


def seconds(work: Callable[[], Any], repeats: int, warmup: int = 2) -> float:
    """Median wall time of one call, all kernels finished."""
    taken = []
    for number in range(warmup + repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if number >= warmup:
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def kernels(work: Callable[[], Any]) -> dict[str, float]:
    """How many kernels a call runs, and the time that they take together: what is left of the wall time is waiting."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    found = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return {"kernels": len(found), "kernel_s": sum(e.device_time for e in found) / 1e6}


def matmul_tflops(kind: torch.dtype) -> float:
    a, b = (torch.randn(MATMUL_SIZE, MATMUL_SIZE, device=CUDA, dtype=kind) for _ in range(2))
    return 2 * MATMUL_SIZE**3 / seconds(lambda: a @ b, 10) / 1e12


def half_without_pocket(batch: ComplexBatch) -> ComplexBatch:
    """As a training batch, of which the second half are ligands alone."""
    assert batch.pocket is not None
    half = len(batch.ids) // 2
    mask = batch.pocket.mask.clone()
    mask[half:] = False
    return replace(batch, pocket=replace(batch.pocket, mask=mask), num_with_pocket=half)


def training_step(config: Config, batch: ComplexBatch, way: str) -> Step:
    """Loss, backward pass, clipping and optimizer, as `train_denoiser.py --cache_latents` does."""
    module = training_module("denoiser", config).to(CUDA)
    assert isinstance(module, DiffusionTraining)
    module.move_frozen(CUDA)
    optimizer = make_optimizer(module, config.optimizer, 1e-4)
    size, steps = len(batch.ids), iter(range(1_000_000))
    if way == "graphs":
        assert isinstance(optimizer, MuonAdamW)
        fabric = Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
        graphed = CapturedStep(module, optimizer, 1.0, fabric)
        ready = pad_to_static_shapes(batch)
        return lambda: graphed(ready, step_seeds(0, next(steps), size, (0, 1), torch.device("cpu")), 1e-4)
    batch = replace(batch, num_with_pocket=None)
    weight = torch.full((size,), 1 / size, device=CUDA)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16) if way == "bf16" else nullcontext():
            loss = module(batch.to(CUDA), *step_seeds(0, next(steps), size, (0, 1), CUDA), weight)
        loss.objective.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def train(config: Config, batches: Sequence[int], ways: Sequence[str], repeats: int) -> None:
    """Complexes per second of the denoiser's training: fp32, tf32, bf16, and bf16 with CUDA graphs."""
    rate = matmul_tflops(torch.bfloat16)
    for way in ways:
        torch.set_float32_matmul_precision("highest" if way == "fp32" else "high")
        for size in batches:
            batch = half_without_pocket(with_latents(synthetic_batch(size, 27, 350), config))
            step = training_step(config, batch, way)
            torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            seconds(step, 8, 0)  # with graphs: each of two kinds once as usual, then recorded
            warmup = time.perf_counter() - began
            taken = seconds(step, repeats, 0)
            gflop = counted_gflop(step) if way == "bf16" else 0.0
            report(
                benchmark="gpu_train", way=way, batch=size, draws=config.diffusion.noise_draws, step_s=taken,
                complexes_per_s=size / taken, warmup_s=warmup, gflop=gflop,
                share_of_bf16_matmul=gflop / taken / 1e3 / rate, peak_gib=torch.cuda.max_memory_allocated() / 2**30,
                **kernels(step),
            )  # fmt: skip


@torch.inference_mode()
def call(num: int, repeats: int) -> None:
    """One network call for ligands of one pocket."""
    generator = load("small", "cuda")
    pocket, _ = read_pocket(EXAMPLE / "protein.pdb.gz", EXAMPLE / "ligand.sdf")
    latents, _ = generator.encode(pocket)
    model = generator.model
    kv = model.denoiser.project_pocket(latents)
    mask = torch.ones(num, 28, dtype=torch.bool, device=CUDA)
    t = torch.full((num,), 0.5, device=CUDA)
    c = coefficients(model.schedule, t, "f")
    z = model.denoiser.layout.noise(make_seeds(0, torch.arange(num, device=CUDA), device=CUDA), "start", mask)
    noisy = NoisyLigand(z, mask, t, t, c, c, model.stats.scale_x, z)
    null = torch.zeros(num, dtype=torch.bool, device=CUDA)
    taken = seconds(lambda: model.denoiser(noisy, kv, null), repeats, 5)
    report(benchmark="gpu_call", num=num, call_s=taken, **kernels(lambda: model.denoiser(noisy, kv, null)))


def generate(num: int, repeats: int) -> None:
    """Ligands of one pocket, from encoding it to RDKit molecules, weights loaded."""
    generator = load("small", "cuda")
    pocket, _ = read_pocket(EXAMPLE / "protein.pdb.gz", EXAMPLE / "ligand.sdf")
    for candidates in (1, generator.config.sampling.candidates):
        made: list[Any] = []

        def work(candidates: int = candidates, made: list[Any] = made) -> None:
            made[:] = generator.generate(pocket, num, candidates=candidates, batch_size=num)

        taken = seconds(work, repeats, 1)
        report(
            benchmark="gpu_generate", num=num, candidates=candidates, wall_s=taken,
            connected=sum(m.mol is not None and m.connected for m in made),
            no_repair=sum(m.raw_valid and m.connected for m in made),
            sampled=sum(m.candidates for m in made),
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["machine", "train", "call", "generate"])
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--ways", nargs="+", default=["fp32", "tf32", "bf16", "graphs"])
    parser.add_argument("--num", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no GPU here")
    config = from_dict(Config, load_checkpoint(shipped_weights("small"), ("denoiser",))["config"])
    if "machine" in args.parts:
        report(
            benchmark="gpu_machine", name=torch.cuda.get_device_name(), torch=torch.__version__,
            bf16_tflops=matmul_tflops(torch.bfloat16), fp32_tflops=matmul_tflops(torch.float32),
        )  # fmt: skip
    if "train" in args.parts:
        train(config, args.batches, args.ways, args.repeats)
    if "call" in args.parts:
        call(args.num, 4 * args.repeats)
    if "generate" in args.parts:
        generate(args.num, args.repeats)


if __name__ == "__main__":
    main()
