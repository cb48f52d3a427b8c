"""The command `doctor`: what is installed, what this machine has, and what a training run would need here."""

# ruff: noqa: PLC0415 - imports inside the command

import argparse
import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from ligandsmith.cli.arguments import positive, preset_name

PACKAGES = {
    "posebusters": "PoseBusters' checks",
    "vina": "docking",
    "meeko": "docking",
    "prolif": "interactions",
    "ray": "generate --engine ray",
}
PROGRAMS = {"mmseqs": "fast split --by sequence", "obabel": "SDF files without bonds or hydrogens"}


def doctor_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--preset", type=preset_name, default="small", help="whose sizes to forecast (%(default)s)")
    add("--batch_size", type=positive, default=16, help="complexes per process and step (%(default)s)")
    add("--data", type=Path, help="data set folder (default: the one that is shipped)")
    add("--device", default="cuda", help="cuda or cpu (%(default)s; falls back to the CPU)")
    add("--threads", type=int, default=0, help="CPU threads (default: the cores there are)")
    add("--gradient_checkpointing", action="store_true", help="forecast the denoiser with it")


def doctor(args: argparse.Namespace) -> None:
    import torch

    from ligandsmith.config import preset
    from ligandsmith.parallel.devices import usable_device, use_threads
    from ligandsmith.training.forecast import forecasts
    from ligandsmith.training.loaders import DataOptions

    device = torch.device(usable_device(args.device))
    use_threads(args.threads)
    print(*machine_lines(device.type), sep="\n")
    print(f"\nPreset {args.preset}, batch size {args.batch_size}, records of middle size, on {device}:")
    data = DataOptions(args.data, batch_size=args.batch_size, num_workers=0)
    for forecast in forecasts(preset(args.preset), data, device, args.gradient_checkpointing):
        print(f"  {forecast.line()}")
    print(
        "  memory: weights, gradients, optimizer, average, and what a step keeps; beside 0.5 GiB of the program itself"
    )


def machine_lines(device: str) -> Iterator[str]:
    """Versions, cores, GPU, optional packages and programs, a line each."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"Python {platform.python_version()}, torch {torch.__version__}, RDKit {metadata.version('rdkit')}"
    yield f"CPU: {cores} cores for this process, {torch.get_num_threads()} threads; {_memory()}"
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        precision = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        yield (
            f"GPU: {torch.cuda.device_count()} x {properties.name}, {properties.total_memory / 2**30:.0f} GiB; "
            f"training in {precision} (--no-use_amp: float32)"
        )
    else:
        yield "GPU: none in use; training in float32"
    for name, use in PACKAGES.items():
        yield f"{name:<12} {_version(name)} ({use})"
    for name, use in PROGRAMS.items():
        yield f"{name:<12} {shutil.which(name) or 'not found'} ({use})"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    except (ValueError, AttributeError, OSError):
        return "memory unknown"
