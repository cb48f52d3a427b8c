"""Devices and CPU threads of a process."""

import logging
import os

import torch

from ligandsmith.errors import LigandsmithError
from ligandsmith.options import DEVICES
from ligandsmith.parallel.processes import usable_cores

GPUS = {"cuda": "GPU", "mps": "GPU of Apple"}
log = logging.getLogger("ligandsmith")


def usable_device(name: str) -> str:
    """One of DEVICES; without a GPU, "cuda" and "mps" become "cpu" with one line. Raises LigandsmithError."""
    if name not in DEVICES:
        raise LigandsmithError(f"--device {name}: choose {', '.join(DEVICES[:-1])} or {DEVICES[-1]}")
    if not has_device(name):
        log.warning("--device %s: no %s here; using the CPU, in full precision", name, GPUS[name])
        return "cpu"
    return name


def has_device(name: str) -> bool:
    """Whether this machine has one of DEVICES."""
    if name == "mps":
        return torch.backends.mps.is_available()
    return name == "cpu" or torch.cuda.is_available()


def use_threads(threads: int, processes: int = 1) -> None:
    """Set the CPU threads of this process. 0: those of OMP_NUM_THREADS if it is set, as in other programs, else the
    cores that it may run on. Several processes share the cores: torchrun sets the variable to 1, whatever there is.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if not threads and processes <= 1 and wanted.isdecimal():
        threads = int(wanted)
    torch.set_num_threads(threads or max(1, usable_cores() // max(processes, 1)))
