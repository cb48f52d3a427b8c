"""Output that cannot be written costs no results: a pipe whose reader went, a closed or full standard output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_runs import ROOT

LIGAND = ROOT / "examples/complexes/7sza/ligand.sdf"


def shell(line: str, folder: Path) -> tuple[int, str, str]:
    """Status, output and errors of a line of bash, in which $L is the command."""
    environment = {**os.environ, "L": f"{sys.executable} -m ligandsmith", "SDF": str(LIGAND)}
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "redirection", ["| head -1; exit ${PIPESTATUS[0]}", "2>&1 | true; exit ${PIPESTATUS[0]}", ">&-", ">&- 2>&-"]
)
def test_the_work_is_done_although_nobody_listens(redirection: str, tmp_path: Path) -> None:
    status, _, errors = shell(f"$L evaluate $SDF --protocol none --out out {redirection}", tmp_path)
    assert status == 0, errors
    assert errors == ""
    assert (tmp_path / "out" / "summary.json").is_file()
    assert (tmp_path / "out" / "per_molecule.csv").read_text().count("\n") == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", ["evaluate $SDF --protocol none --out out", "generate --help"])
def test_lost_output_is_said(words: str, tmp_path: Path) -> None:
    status, _, errors = shell(f"$L {words} > /dev/full", tmp_path)
    assert status == 1
    assert errors.splitlines() == ["error: standard output: No space left on device"]


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """Files of at most 1 KiB stand for a full disk."""
    source = tmp_path / "in" / "x"
    source.mkdir(parents=True)
    for path in LIGAND.parent.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    status, _, errors = shell("ulimit -f 1; $L prepare in --out data", tmp_path)
    assert status == 1
    assert len(errors.splitlines()) == 1, errors
    assert "File too large" in errors
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]
    status, _, errors = shell("ulimit -f 1; $L evaluate $SDF --protocol none --out out", tmp_path)
    assert status == 1
    assert len(errors.splitlines()) == 1, errors
    assert not (tmp_path / "out").exists()
