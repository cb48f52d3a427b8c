"""How far data-parallel training scales: message sizes of the presets, an all-reduce measured here, and a model.

`python -m benchmarks processes --compute_ms 60 --bandwidth 20 --processes 2`

Step of P processes = compute of one process + exchange, which comes after the backward pass, so that a process that
runs out of memory can do its batch again. A ring all-reduce moves 2 (P - 1) / P times the gradients through every link.
Compute time and bandwidth (GB/s of the slowest link, all directions together) are yours to give; measure the first
with `ligandsmith doctor` on the machine in question.
"""

import argparse
import os
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.measure import report
from ligandsmith.config import PRESETS, preset
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.structure.vocabulary import VOCABULARY

GPUS = (1, 2, 4, 8, 16, 32, 64, 128)


def gradient_bytes(name: str, joint: bool) -> int:
    """Bytes of gradients in single precision."""
    config = preset(name)
    modules = [DiffusionModel(config), *(build_vaes(config, VOCABULARY).values() if joint else ())]
    return 4 * sum(p.numel() for module in modules for p in module.parameters())


def exchange_seconds(size: int, processes: int, bandwidth: float, latency: float) -> float:
    """Ring all-reduce of `size` bytes: bandwidth in bytes/s, latency of one hop in s."""
    if processes == 1:
        return 0.0
    return 2 * (processes - 1) / processes * size / bandwidth + 2 * (processes - 1) * latency


def _worker(rank: int, processes: int, size: int, port: int) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    torch.set_num_threads(1)
    gradients = torch.ones(size // 4)
    times = []
    for _ in range(12):
        dist.barrier()
        began = time.perf_counter()
        dist.all_reduce(gradients)
        times.append(time.perf_counter() - began)
    if rank == 0:
        seconds = statistics.median(times[2:])
        moved = 2 * (processes - 1) / processes * size
        print(f"measured here: {processes} CPU processes (gloo), {size / 2**20:.1f} MiB: {1e3 * seconds:.1f} ms, "
              f"{moved / seconds / 1e9:.2f} GB/s")  # fmt: skip
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compute_ms", type=float, default=60.0, help="one process's step, without exchange")
    parser.add_argument("--bandwidth", type=float, default=20.0, help="GB/s of the slowest link")
    parser.add_argument("--latency_us", type=float, default=10.0, help="of one hop")
    parser.add_argument("--processes", type=int, default=2, help="of the all-reduce measured here")
    parser.add_argument("--port", type=int, default=29555)
    args = parser.parse_args()
    mp.spawn(_worker, (args.processes, gradient_bytes("small", joint=True), args.port), nprocs=args.processes)
    compute, bandwidth, latency = args.compute_ms / 1e3, args.bandwidth * 1e9, args.latency_us / 1e6
    print(f"\nefficiency against the number of GPUs at {args.compute_ms:g} ms a step, {args.bandwidth:g} GB/s, "
          f"{args.latency_us:g} us a hop\n")  # fmt: skip
    print("| preset | gradients, MiB | " + " | ".join(str(n) for n in GPUS) + " | exchange among 128, ms |")
    print("|---|---|" + "---|" * (len(GPUS) + 1))
    rows = {}
    for name in PRESETS:
        size = gradient_bytes(name, joint=True)
        exchanges = [exchange_seconds(size, n, bandwidth, latency) for n in GPUS]
        shares = [compute / (compute + exchange) for exchange in exchanges]
        rows[name] = {"gradient_mib": size / 2**20, "efficiency_at_128": shares[-1]}
        cells = " | ".join(f"{share:.2f}" for share in shares)
        print(f"| {name} | {size / 2**20:.1f} | {cells} | {1e3 * exchanges[-1]:.1f} |")
    report(benchmark="processes", compute_ms=args.compute_ms, bandwidth_gb_s=args.bandwidth, presets=rows)


if __name__ == "__main__":
    main()
