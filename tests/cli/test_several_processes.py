"""Two CPU processes compute what one does with the same global batch, however they are started."""

import json
import math
import signal
import sys
from pathlib import Path

import pytest

from ligandsmith.cli.main import INTERRUPTED
from tiny_runs import ROOT, Tiny, signalled, start

# 18 records (9 complexes, 9 ligands without a pocket): the last global batch of 8 has 2
EXTRA = ("--limit", "9", "--num_samples", "0", "--num_epochs", "2")
RATE = 1e-3
LITTLE_ROOM = """
import os, runpy, torch
from ligandsmith.training.losses import DiffusionTraining

forward = DiffusionTraining.forward


def limited(self, batch, *rest):
    report = forward(self, batch, *rest)
    if os.environ["RANK"] == "1" and torch.is_grad_enabled() and len(batch.ids) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return report


DiffusionTraining.forward = limited
runpy.run_path("{script}", run_name="__main__")
"""


def losses(folder: Path) -> list[float]:
    return [
        row[k] for row in json.loads((folder / "model_history.json").read_text()) for k in ("train_loss", "test_loss")
    ]


@pytest.fixture(scope="module")
def one_process(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    folder = tmp_path_factory.mktemp("one")
    assert tiny.run("train-all", folder, *EXTRA, "--batch_size", "8", "--learning_rate", str(RATE)) == 0
    return losses(folder)


@pytest.mark.parametrize("launcher", ["--num_gpus", "torchrun"])
def test_two_processes_compute_what_one_does(
    launcher: str, one_process: list[float], tiny: Tiny, tmp_path: Path
) -> None:
    words = [str(ROOT / "train_all.py"), *tiny.flags, "--run_dir", str(tmp_path), *EXTRA, "--batch_size", "4"]
    words += ["--learning_rate", str(RATE / math.sqrt(2))]
    if launcher == "torchrun":
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *words]
    else:
        command = [sys.executable, *words, "--num_gpus", "2"]
    out, err = start(command, tmp_path).communicate(timeout=400)
    assert out.count("sqrt(2) = 0.001") == 1, err
    assert out.count("Epoch 1: Train Loss") == 1
    assert losses(tmp_path) == pytest.approx(one_process, rel=1e-5)


def test_a_process_without_room_does_its_batch_anew_while_the_other_waits(
    one_process: list[float], tiny: Tiny, tmp_path: Path
) -> None:
    program = tmp_path / "little_room.py"
    program.write_text(LITTLE_ROOM.format(script=ROOT / "train_all.py"))
    words = [
        *tiny.flags,
        "--run_dir",
        str(tmp_path),
        *EXTRA,
        "--batch_size",
        "4",
        "--learning_rate",
        str(RATE / math.sqrt(2)),
    ]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    out, err = start([*launcher, str(program), *words], tmp_path).communicate(timeout=400)
    assert (out + err).count("process 1: repeated in micro-batches of 2 complexes") == 1, err
    assert losses(tmp_path) == pytest.approx(one_process, rel=1e-5)


def test_a_run_of_one_process_is_continued_by_two_within_an_epoch(
    one_process: list[float], tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, 2, signal.SIGTERM)
        flags = (*EXTRA, "--batch_size", "8", "--learning_rate", str(RATE))
        assert tiny.run("train-all", tmp_path, *flags) == INTERRUPTED
    words = [str(ROOT / "train_all.py"), *tiny.flags, "--run_dir", str(tmp_path), *EXTRA, "--batch_size", "4"]
    words += ["--learning_rate", str(RATE / math.sqrt(2)), "--num_gpus", "2", "--resume", "auto"]
    out, err = start([sys.executable, *words], tmp_path).communicate(timeout=400)
    assert "at epoch 1, step 2" in out, err
    assert losses(tmp_path) == pytest.approx(one_process, rel=1e-5)
