"""The loop: a resumed run is the uninterrupted one; bad steps, limits and a full disk end as they should."""

import errno
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ligandsmith.cli.main import FAILED, INTERRUPTED
from ligandsmith.training import trainer as trainer_module
from ligandsmith.training.losses import DiffusionTraining
from ligandsmith.training.trainer import Trainer
from ligandsmith.training.vae_losses import VAETraining
from tiny_runs import Tiny, assert_same, content, signalled

JOINT = ("--num_samples", "0", "--limit", "6")  # 12 records, 3 batches an epoch
LIGAND = ("--model_type", "ligand")


@pytest.fixture(scope="module")
def whole(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of joint training in one go."""
    folder = tmp_path_factory.mktemp("whole")
    assert tiny.run("train-all", folder, *JOINT) == 0
    return folder


@pytest.mark.parametrize(
    "interruption",
    [
        (1, signal.SIGTERM, "_batch"),  # within the first epoch
        (3, signal.SIGINT, "_batch"),  # with its last batch
        (2, signal.SIGINT, "validate"),  # while validating at the end
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    interruption: tuple[int, signal.Signals, str], tiny: Tiny, whole: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, *interruption)
        assert tiny.run("train-all", tmp_path, *JOINT) == INTERRUPTED
    assert "continue with --resume auto" in capsys.readouterr().err.splitlines()[-1]
    assert tiny.run("train-all", tmp_path, *JOINT, "--resume", "auto") == 0
    ours, theirs = (content(folder / "checkpoints/checkpoint_last.pt") for folder in (tmp_path, whole))
    assert_same(ours, theirs)
    assert_same(*(content(f / "best_model.pt")["ema_state"] for f in (tmp_path, whole)))
    assert (tmp_path / "model_history.json").read_text() == (whole / "model_history.json").read_text()


def test_a_killed_process_continues_from_what_it_saved_last(tiny: Tiny, whole: Path, tmp_path: Path) -> None:
    process = tiny.script("train_all.py", tmp_path, *JOINT)
    deadline = time.monotonic() + 200
    while not (tmp_path / "checkpoints/checkpoint_last.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    (tmp_path / "checkpoints/checkpoint_last.pt.12345.part").touch()  # as a process killed while saving leaves it
    assert tiny.run("train-all", tmp_path, *JOINT, "--resume", "auto") == 0
    assert not list(tmp_path.rglob("*.part"))
    assert_same(*(content(f / "checkpoints/checkpoint_last.pt") for f in (tmp_path, whole)))


def test_gradients_that_wait_for_their_step_are_not_lost(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = (*LIGAND, "--accumulate", "3", "--num_epochs", "1")
    assert tiny.run("train-vae", tmp_path / "whole", *extra) == 0
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, 1, signal.SIGTERM)
        assert tiny.run("train-vae", tmp_path / "parts", *extra) == INTERRUPTED
    last = tmp_path / "parts/checkpoints/ligand_vae_last.pt"
    assert content(last)["progress"]["batch"] == 3
    assert tiny.run("train-vae", tmp_path / "parts", *extra, "--resume", str(last)) == 0
    assert_same(content(last), content(tmp_path / "whole/checkpoints/ligand_vae_last.pt"))


def test_a_run_that_is_resumed_in_another_folder_takes_its_best_weights_along(
    tiny: Tiny, vae_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, last = tmp_path / "here", tmp_path / "ligand_vae_last.pt"
    assert tiny.run("train-vae", here, *LIGAND, "--resume", str(vae_dir / "checkpoints" / last.name)) == 0
    assert_same(*(content(folder / "best_ligand_vae.pt") for folder in (here, vae_dir)))
    last.write_bytes((vae_dir / "checkpoints" / last.name).read_bytes())  # alone
    assert tiny.run("train-vae", tmp_path / "there", *LIGAND, "--resume", str(last)) == FAILED
    line = capsys.readouterr().err.splitlines()[-1]
    assert "the run has ended (epoch 2 of 2), and its best_ligand_vae.pt is not in" in line
    assert "--num_epochs" in line
    assert tiny.run("train-vae", tmp_path / "there", *LIGAND, "--resume", str(last), "--num_epochs", "3") == 0
    assert content(tmp_path / "there" / "best_ligand_vae.pt")["epoch"] == 3


def test_the_best_weights_are_on_disk_before_the_position_that_follows_them(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    original = Trainer._save

    def noted(self: Trainer, path: Path, epoch: int) -> None:
        saved.append(path.name)
        original(self, path, epoch)

    monkeypatch.setattr(Trainer, "_save", noted)
    assert tiny.run("train-vae", tmp_path, *LIGAND, "--num_epochs", "1") == 0
    assert saved[:2] == ["best_ligand_vae.pt", "ligand_vae_last.pt"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--set", "ligand_vae.kl_weight=0.5"], "another config"),
        (["--preset", "tiny"], "another config"),
        (["--seed", "1"], "seed 0, now 1"),
        (["--batch_size", "2"], "global batch 4, now 2"),
        (["--accumulate", "2"], "accumulate 1, now 2"),
        (["--limit", "4"], "records 16, now 8"),
    ],
)
def test_another_run_is_not_resumed(
    change: list[str], said: str, tiny: Tiny, vae_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny.run("train-vae", vae_dir, *LIGAND, "--resume", "auto", *change) == FAILED
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error")]
    assert said in line
    assert "ligand_vae_last.pt" in line


def test_a_step_without_a_number_is_skipped_and_counted(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(monkeypatch, {2})
    assert tiny.run("train-vae", tmp_path, *LIGAND) == 0
    ckpt = content(tmp_path / "checkpoints/ligand_vae_last.pt")
    assert ckpt["progress"]["skipped"] == 1
    assert all(torch.isfinite(v).all() for v in ckpt["vae_state"].values())
    assert len(ckpt["history"]) == 2
    assert all(row["train_loss"] == row["train_loss"] for row in ckpt["history"])
    assert "1 steps were skipped" in caplog.text


def test_ten_steps_without_a_number_end_the_run(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(monkeypatch, set(range(1, 100)))
    assert tiny.run("train-vae", tmp_path, *LIGAND, "--batch_size", "1") == FAILED
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: 10 steps in a row had non-finite gradients (epoch 1, step 9")
    assert "--learning_rate" in line


def spoil(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> None:
    """Make the training loss NaN in the calls of these numbers."""
    count = 0
    original = VAETraining.forward

    def forward(self: VAETraining, *args: Any) -> Any:
        nonlocal count
        report = original(self, *args)
        count += torch.is_grad_enabled()
        if torch.is_grad_enabled() and count in calls:
            return replace(report, total=report.total * torch.nan, objective=report.objective * torch.nan)
        return report

    monkeypatch.setattr(VAETraining, "forward", forward)


def test_the_learning_rate_spans_the_steps_that_are_asked_for(tiny: Tiny, tmp_path: Path) -> None:
    assert tiny.run("train-vae", tmp_path, *LIGAND, "--max_steps", "3") == 0
    ckpt = content(tmp_path / "checkpoints/ligand_vae_epoch_1.pt")
    assert (ckpt["step"], ckpt["progress"]["batch"], ckpt["epoch"]) == (3, 3, 1)
    assert (tmp_path / "ligand_vae_losses_epoch_1.png").exists()
    # half way down the cosine; matrices may have a rate that is a multiple of it
    assert min(group["lr"] for group in ckpt["optimizer_state"]["param_groups"]) == pytest.approx(0.51e-4)
    # continued with more steps, the epoch that was cut short has one row of history
    assert tiny.run("train-vae", tmp_path, *LIGAND, "--max_steps", "4", "--resume", "auto") == 0
    rows = json.loads((tmp_path / "ligand_vae_history.json").read_text())
    assert [(r["epoch"], r["step"]) for r in rows] == [(1, 4)]


def test_time_is_a_limit_too(tiny: Tiny, tmp_path: Path) -> None:
    extra = (*LIGAND, "--num_epochs", "3", "--max_minutes")
    assert tiny.run("train-vae", tmp_path, *extra, "100") == 0
    whole = content(tmp_path / "checkpoints/ligand_vae_last.pt")["step"]
    with pytest.MonkeyPatch.context() as patch:
        clock = iter(range(0, 100_000, 40))  # s
        patch.setattr(trainer_module.time, "monotonic", lambda: float(next(clock)))
        assert tiny.run("train-vae", tmp_path / "short", *extra, "1") == 0
    short = content(tmp_path / "short/checkpoints/ligand_vae_last.pt")
    assert 0 < short["step"] < whole
    assert short["progress"]["batch"] == short["step"]


def test_the_learning_rate_can_go_by_time(tiny: Tiny, tmp_path: Path) -> None:
    extra = (*LIGAND, "--num_epochs", "99", "--learning_rate", "1e-3", "--schedule_minutes", "0.4")
    with pytest.MonkeyPatch.context() as patch:
        clock = iter(range(1_000_000))  # quarters of a second
        patch.setattr(trainer_module.time, "monotonic", lambda: 0.25 * next(clock))
        assert tiny.run("train-vae", tmp_path, *extra, "--max_minutes", "0.2") == 0
        first = content(tmp_path / "checkpoints/ligand_vae_last.pt")
        assert tiny.run("train-vae", tmp_path, *extra, "--resume", "auto") == 0
    last = content(tmp_path / "checkpoints/ligand_vae_last.pt")
    assert 0.2 < first["progress"]["minutes"] < 0.25
    assert 0.4 < last["progress"]["minutes"] < 0.5
    rates = [min(group["lr"] for group in c["optimizer_state"]["param_groups"]) for c in (first, last)]
    assert 0.3e-3 < rates[0] < 0.6e-3  # half way down the cosine
    assert rates[1] < 0.1e-3


def test_validation_may_come_every_few_epochs(tiny: Tiny, tmp_path: Path) -> None:
    extra = (*LIGAND, "--limit", "2", "--num_epochs", "5", "--validation_interval", "2")
    assert tiny.run("train-vae", tmp_path, *extra) == 0
    history = json.loads((tmp_path / "ligand_vae_history.json").read_text())
    assert [row["epoch"] for row in history] == [2, 4, 5]  # the end always


def test_patience_ends_a_run_and_says_so(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.5, 1.0])
    monkeypatch.setattr(Trainer, "validate", lambda self: {"total": next(losses)})
    extra = (*LIGAND, "--limit", "2", "--num_epochs", "5", "--patience", "2")
    assert tiny.run("train-vae", tmp_path, *extra) == 0
    assert "Stopped early: no better test loss for 2 epochs" in caplog.text
    assert content(tmp_path / "best_ligand_vae.pt")["epoch"] == 2
    assert (tmp_path / "checkpoints/ligand_vae_epoch_4.pt").exists()


def with_little_room(monkeypatch: pytest.MonkeyPatch, share: float, stage: type[torch.nn.Module]) -> list[int]:
    """Memory for a share of the first batch's atom pairs; the list collects how many molecules come each time."""
    asked: list[int] = []
    room: list[float] = []
    forward = stage.forward

    def limited(self: torch.nn.Module, batch: Any, *rest: Any) -> Any:
        pairs = len(batch.ids) * batch.ligand.mask.shape[1] ** 2
        asked.append(len(batch.ids))
        room.append(share * pairs)
        report = forward(self, batch, *rest)
        if pairs > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory\nmore lines")
        return report

    monkeypatch.setattr(stage, "forward", limited)
    return asked


@pytest.mark.parametrize(
    ("command", "flags"),
    [("train-vae", LIGAND), ("train-vae", (*LIGAND, "--accumulate", "2")), ("train-all", ("--num_samples", "0"))],
)
def test_a_batch_without_room_is_done_anew_in_parts(
    command: str, flags: tuple[str, ...], tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert tiny.run(command, tmp_path / "whole", *flags) == 0
    joint = command == "train-all"
    asked = with_little_room(monkeypatch, 0.6, DiffusionTraining if joint else VAETraining)
    assert tiny.run(command, tmp_path / "parts", *flags) == 0
    assert asked[:3] == [4, 2, 2]
    assert caplog.text.count("repeated in micro-batches of 2 complexes") == 1  # it learns from it
    name = "model_history.json" if joint else "ligand_vae_history.json"
    whole, split = (json.loads((tmp_path / f / name).read_text()) for f in ("whole", "parts"))
    for ours, theirs in zip(split, whole, strict=True):
        for loss in ("train_loss", "test_loss"):
            assert ours[loss] == pytest.approx(theirs[loss], rel=1e-5)


def test_out_of_memory_of_one_molecule_names_it_and_the_way_out(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_little_room(monkeypatch, 0.0, VAETraining)
    assert tiny.run("train-vae", tmp_path, *LIGAND) == FAILED
    line = capsys.readouterr().err.splitlines()[-1]
    assert "epoch 1, batch 0: 1 complexes padded to" in line
    assert line.endswith("add --gradient_checkpointing (CUDA out of memory)")


def test_a_full_disk_leaves_the_previous_checkpoint_whole(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny.run("train-vae", tmp_path, *LIGAND, "--num_epochs", "1") == 0
    last = tmp_path / "checkpoints/ligand_vae_last.pt"
    before = last.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    assert tiny.run("train-vae", tmp_path, *LIGAND, "--resume", "auto") == FAILED
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: cannot save checkpoint")
    assert "No space left on device" in line
    assert last.read_bytes() == before
    assert not list(tmp_path.rglob("*.part"))


def test_long_epochs_are_saved_on_the_way(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(Trainer, "_save_last", lambda self: saved.append(self.progress.batch))
    assert tiny.run("train-vae", tmp_path, *LIGAND, "--num_epochs", "1", "--save_minutes", "1e-9") == 0
    assert saved == [1, 2, 3, 0]
