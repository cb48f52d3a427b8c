"""How the tests start tiny training runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ligandsmith.cli.main import main
from ligandsmith.training.trainer import Trainer

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


def content(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Equal to the last bit, through all levels."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def signalled(monkeypatch: pytest.MonkeyPatch, at: int, number: signal.Signals, name: str = "_batch") -> None:
    """Send a signal while call `at` (from 1) of a method of the trainer is under way."""
    calls = 0
    original: Callable[..., Any] = getattr(Trainer, name)

    def method(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), number)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, name, method)
