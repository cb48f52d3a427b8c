"""A short form of the gate of killed commands."""

from pathlib import Path

import pytest

from kills import JOBS, compare_with_undisturbed


@pytest.mark.parametrize("name", ["prepare", "generate", "evaluate", "optimise"])
def test_killed_commands_give_the_same_results(name: str, tmp_path: Path) -> None:
    compare_with_undisturbed(JOBS[name], tmp_path, kills=2)
