"""No mutated input of any command ends in a traceback, a crash or a run without end: a result, or one line.

`make test` tries some; the gate tries 2,000. `python tests/fuzz/fuzz_commands.py` does the same and counts by command.
"""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fuzz_commands.py")
SEED = 19


def tried(number: int, seed: int, seconds: int) -> tuple[int, str]:
    """In a process of its own: forks of one that runs tests would take over its threads and files."""
    command = [sys.executable, str(PROGRAM), "--number", str(number), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    return done.returncode, done.stdout + done.stderr


def test_eighty_mutated_inputs_give_a_result_or_one_line() -> None:
    status, text = tried(80, SEED, 900)
    assert status == 0, text
    assert "80 tried, 0 findings" in text


@pytest.mark.gate
def test_two_thousand_mutated_inputs_give_a_result_or_one_line() -> None:
    status, text = tried(2000, SEED, 4 * 3600)
    assert status == 0, text
    assert "2000 tried, 0 findings" in text
