"""Devices, processes, threads and precision of a run."""

import logging
import os
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from ligandsmith.errors import LigandsmithError
from ligandsmith.options import Hardware
from ligandsmith.parallel.devices import usable_device, use_threads

log = logging.getLogger("ligandsmith")


def process_counts(hardware: Hardware) -> tuple[int, int]:
    """Processes per machine and machines: what torchrun started, where it did, else as requested."""
    if not torch.distributed.is_torchelastic_launched():
        return hardware.num_gpus, hardware.num_nodes
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return local, int(os.environ["WORLD_SIZE"]) // local


def _precision(device: str, hardware: Hardware) -> Any:
    if device == "cuda":
        mixed = "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
        return mixed if hardware.use_amp else "32-true"
    if device == "mps" or not hardware.cpu_bf16:
        return "32-true"
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        raise LigandsmithError(
            "--cpu_bf16: this CPU has no bfloat16 arithmetic (AVX-512 BF16 or AMX), it would be slower; leave it out"
        )
    return "bf16-mixed"


def make_fabric(hardware: Hardware) -> Fabric:
    """Devices, processes and precision; falls back to the CPU, in full precision, with one line."""
    device = usable_device(hardware.device)
    processes, nodes = process_counts(hardware)
    if device == "cuda" and processes > torch.cuda.device_count():
        raise LigandsmithError(f"--num_gpus {processes}: this machine has {torch.cuda.device_count()} GPU(s)")
    if device == "mps" and processes * nodes > 1:
        raise LigandsmithError(f"--num_gpus {processes}: --device mps has one GPU; leave --num_gpus out")
    precision = _precision(device, hardware)
    several = processes * nodes > 1
    backend = "nccl" if device == "cuda" else "gloo"
    use_threads(hardware.threads, processes)
    if device == "cuda" and hardware.use_amp:
        torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves alone, the optimizer above all
    fabric = Fabric(
        accelerator=device,
        devices=processes,
        num_nodes=nodes,
        precision=precision,
        strategy=DDPStrategy(process_group_backend=backend, broadcast_buffers=False) if several else "auto",
    )
    fabric.launch()
    if fabric.global_rank:
        log.setLevel(logging.ERROR)
    return fabric
