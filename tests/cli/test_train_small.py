"""The recipe of the shipped denoiser starts on a CPU, and without its flags says which there are."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


def recipe(*flags: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", str(ROOT / "scripts/train_small.sh"), *flags],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_step_of_the_recipe(tmp_path: Path) -> None:
    flags = ("--data", "shipped", "--run_dir", str(tmp_path), "--steps", "1", "--batch_size", "4", "--limit", "4")
    done = recipe(*flags, "--threads", "1")
    assert done.returncode == 0, done.stderr
    made = torch.load(tmp_path / "best_denoiser.pt", map_location="cpu", weights_only=True)
    assert (made["step"], made["config"]["denoiser"]["width"], made["config"]["denoiser"]["edge_width"]) == (1, 128, 64)
    assert made["test_loss"] < 0.6  # widening has kept what the start knew


def test_the_recipe_asks_for_data() -> None:
    done = recipe("--run_dir", "anywhere")
    assert done.returncode == 2
    assert "--data shipped|PATH" in done.stderr
