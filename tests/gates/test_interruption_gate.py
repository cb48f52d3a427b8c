"""Training killed (SIGKILL) at random moments, also while it saves, ends where the uninterrupted run does."""

import random
import time
from pathlib import Path

import pytest

from tiny_runs import Tiny, assert_same, content

KILLS = 50
FLAGS = ("--num_samples", "0", "--num_epochs", "60", "--save_interval", "1000")
LAST = "checkpoints/checkpoint_last.pt"


def killed(tiny: Tiny, folder: Path, chance: random.Random) -> str:
    """Start or resume a run and kill it: while it writes a checkpoint, or up to a second after one. '' if it ended."""
    while_saving = chance.random() < 0.5
    delay = chance.random()
    process = tiny.script("train_all.py", folder, *FLAGS, "--resume", "auto")
    before = set(folder.glob("checkpoints/*.part"))
    last = folder / LAST
    age = last.stat().st_mtime_ns if last.exists() else 0
    how = ""
    while process.poll() is None and not how:
        if while_saving and set(folder.glob("checkpoints/*.part")) - before:
            how = "saving"
        elif not while_saving and last.exists() and last.stat().st_mtime_ns != age:
            time.sleep(delay)
            how = "at work"
    process.kill()
    _, errors = process.communicate()
    assert how or process.returncode == 0, errors
    return how


@pytest.mark.gate
def test_g13_killed_training_is_the_uninterrupted_one(tiny: Tiny, tmp_path: Path, record) -> None:
    """Joint training, killed 50 times and resumed"""
    assert tiny.run("train-all", tmp_path / "whole", *FLAGS) == 0
    chance = random.Random(0)
    kills = {"saving": 0, "at work": 0, "": 0}
    while kills["saving"] + kills["at work"] < KILLS and not kills[""]:
        kills[killed(tiny, tmp_path / "parts", chance)] += 1
    assert tiny.run("train-all", tmp_path / "parts", *FLAGS, "--resume", "auto") == 0
    same = True
    try:
        assert_same(*(content(tmp_path / folder / LAST) for folder in ("whole", "parts")))
    except AssertionError:
        same = False
    measured = {"while saving": kills["saving"], "at work": kills["at work"], "identical": int(same)}
    record("G13", f"{KILLS} kills, weights and losses identical to the last bit", measured)
    assert same
    assert kills["saving"] + kills["at work"] == KILLS
