"""Commands killed (SIGKILL) at random moments and started again end with the results of undisturbed ones, no litter."""

from pathlib import Path

import pytest

from kills import JOBS, compare_with_undisturbed

KILLS = 50


@pytest.mark.gate
@pytest.mark.parametrize("name", JOBS)
def test_g14_killed_commands_give_the_same_results(name: str, tmp_path: Path, record) -> None:
    """prepare, generate, generate --manifest --workers 2, evaluate and optimise, killed 50 times each, started again"""
    same = 0
    try:
        compare_with_undisturbed(JOBS[name], tmp_path, KILLS)
        same = 1
    finally:
        record(f"G14 {name}", f"{KILLS} kills, identical results, no litter", {"kills": KILLS, "identical": same})
