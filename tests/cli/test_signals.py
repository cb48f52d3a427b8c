"""A signal to the whole process group (Slurm, systemd, `timeout`, a container's stop) saves the position."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ligandsmith.cli.main import INTERRUPTED
from tiny_runs import ROOT, Tiny

SITE = ROOT / "examples/complexes/7sza"


def stopped(command: list[str], folder: Path, sign: Path, number: signal.Signals) -> tuple[int, str]:
    """Status and stderr of a command whose process group gets a signal once `sign` is there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "stderr").open("w") as err:
        process = subprocess.Popen(
            command, cwd=folder, stdout=err, stderr=err, env=environment, start_new_session=True
        )  # fmt: skip
        deadline = time.monotonic() + 300
        while not list(folder.glob(str(sign))) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None, (folder / "stderr").read_text()
        os.killpg(process.pid, number)
        return process.wait(timeout=300), (folder / "stderr").read_text()


@pytest.mark.parametrize(
    ("number", "script", "flags"),
    [
        (signal.SIGTERM, "train_vae.py", ["--model_type", "protein"]),
        (signal.SIGINT, "train_vae.py", ["--model_type", "protein"]),
        (signal.SIGTERM, "train_denoiser.py", []),
        (signal.SIGTERM, "train_all.py", ["--num_samples", "0", "--num_gpus", "2"]),
    ],
)
def test_training_saves_its_position(
    number: signal.Signals, script: str, flags: list[str], tiny: Tiny, tmp_path: Path
) -> None:
    words = [*tiny.flags, "--num_epochs", "1000", "--num_workers", "2", "--run_dir", str(tmp_path), *flags]
    command = [sys.executable, str(ROOT / script), *words]
    status, text = stopped(command, tmp_path, Path("checkpoints/*_last.pt"), number)
    assert status == INTERRUPTED, text
    assert "Traceback" not in text
    assert "killed by signal" not in text
    assert "continue with --resume auto" in text


def test_an_optimisation_keeps_its_rounds_and_goes_on(tmp_path: Path) -> None:
    words = f"--protein {SITE / 'protein.pdb.gz'} --ligand {SITE / 'ligand.sdf'} --objective qed --budget 1000"
    words += " --num_atoms 8-12 --checkpoint tiny --steps 2 --candidates 1 --threads 1 --device cpu --out run"
    command = [sys.executable, "-m", "ligandsmith", "optimise", *words.split()]
    status, text = stopped(command, tmp_path, Path("run/rounds/0002.json"), signal.SIGTERM)
    assert status == INTERRUPTED, text
    assert "the same command continues" in text
    assert "Traceback" not in text
    assert (tmp_path / "run/history.csv").read_text().count("\n") > 2
    assert json.loads((tmp_path / "run/optimisation.json").read_text())["identity"]["seed"] == 0


def test_generation_for_many_pockets_keeps_what_is_finished(tmp_path: Path) -> None:
    (tmp_path / "pockets.csv").write_text(f"pocket,protein,ligand\na,{SITE / 'protein.pdb.gz'},{SITE / 'ligand.sdf'}\n")
    words = "--checkpoint tiny --num 400 --num_atoms 6 --steps 2 --chunk 2 --workers 2 --device cpu --out run"
    command = [sys.executable, "-m", "ligandsmith", "generate", "--manifest", "pockets.csv", *words.split()]
    status, text = stopped(command, tmp_path, Path("run/a/chunks/*.json"), signal.SIGTERM)
    assert status == INTERRUPTED, text
    assert "the same command continues" in text
    assert "Traceback" not in text
    assert "another one takes over" not in text
