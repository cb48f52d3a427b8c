"""The command `doctor`: installed packages, this machine, and a forecast of what training needs here."""

# ruff: noqa: PLC0415 - imports inside the command

import argparse
import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata

from ligandsmith.cli.arguments import add_options, preset_name, with_flags
from ligandsmith.options import DataOptions, Hardware

OPTIONAL_PACKAGES = {
    "posebusters": "PoseBusters' checks",
    "vina": "docking",
    "meeko": "docking",
    "prolif": "interactions",
    "pdb2pqr": "prepare-protein",
    "propka": "prepare-protein",
    "ray": "generate --engine ray",
    "fastapi": "studio",
    "fpocket-rs": "suggested sites in studio",
}
OPTIONAL_PROGRAMS = {"mmseqs": "fast split --by sequence", "obabel": "SDF files without bonds or hydrogens"}


def doctor_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `doctor`."""
    parser.add_argument("--preset", type=preset_name, default="small", help="preset to forecast (default: %(default)s)")
    add_options(parser, DataOptions, ["batch_size", "data"])
    add_options(parser, Hardware, ["device", "threads", "gradient_checkpointing"])


def run_doctor(args: argparse.Namespace) -> None:
    """Print installed packages, this machine, and what a training run needs here."""
    import torch

    from ligandsmith.config import preset
    from ligandsmith.parallel.devices import usable_device, use_threads
    from ligandsmith.training.forecast import forecasts

    hardware, data = with_flags(Hardware(), args), with_flags(DataOptions(num_workers=0), args)
    device = torch.device(usable_device(hardware.device))
    use_threads(hardware.threads)
    print(*machine_lines(device.type), sep="\n")
    print(f"\nPreset {args.preset}, batch size {data.batch_size}, records of median size, on {device}:")
    for forecast in forecasts(preset(args.preset), data, device, hardware.gradient_checkpointing):
        print(f"  {forecast.line()}")
    print("  memory: weights, gradients, optimizer, average and activations, plus 0.5 GiB for the program itself")


def machine_lines(device: str) -> Iterator[str]:
    """Versions, cores, GPU, optional packages and programs, one line each."""
    import torch

    from ligandsmith.parallel.processes import usable_cores

    yield f"Python {platform.python_version()}, torch {torch.__version__}, RDKit {metadata.version('rdkit')}"
    yield f"CPU: {usable_cores()} cores for this process, {torch.get_num_threads()} threads; {_memory()}"
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        precision = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        yield (
            f"GPU: {torch.cuda.device_count()} x {properties.name}, {properties.total_memory / 2**30:.0f} GiB; "
            f"training in {precision} (--no-use_amp: float32)"
        )
    else:
        yield f"GPU: {'of Apple' if device == 'mps' else 'none in use'}; training in float32"
    for name, use in OPTIONAL_PACKAGES.items():
        yield f"{name:<12} {_version(name)} ({use})"
    for name, use in OPTIONAL_PROGRAMS.items():
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
