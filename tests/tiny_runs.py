"""How the tests start tiny training runs."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ligandsmith.cli import main

ROOT = Path(__file__).parents[1]
TINY = """
ligand_vae: {width: 32, edge_width: 16, encoder_layers: 1, decoder_layers: 1, heads: 2, channels: 4}
pocket_vae: {width: 32, edge_width: 16, layers: 1, heads: 2, channels: 4, neighbors: 8}
denoiser: {width: 32, edge_width: 16, self_layers: 1, cross_layers: 1, heads: 2, channels: 4, anchors: 4}
sampling: {steps: 3}
"""


@dataclass(frozen=True)
class Tiny:
    """Flags of a tiny run, and ways to start one."""

    config: Path

    @property
    def flags(self) -> list[str]:
        """Two batches of complexes an epoch, one process, one thread."""
        text = (
            f"--config {self.config} --device cpu --limit 8 --batch_size 4 --num_epochs 2 --num_workers 0 --threads 1"
        )
        return text.split()

    def run(self, command: str, run_dir: Path, *extra: str) -> int:
        """In this process; returns the exit status."""
        return main([*self.flags, "--run_dir", str(run_dir), *extra], command=command)

    def script(self, name: str, run_dir: Path, *extra: str) -> "subprocess.Popen[str]":
        """`python train_x.py` as a user starts it."""
        command = [sys.executable, str(ROOT / name), *self.flags, "--run_dir", str(run_dir), *extra]
        return start(command, run_dir)


def start(command: list[str], folder: Path) -> "subprocess.Popen[str]":
    """A process in a folder, its output kept apart."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")}
    environment |= {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
