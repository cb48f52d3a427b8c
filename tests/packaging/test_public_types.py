"""A user's strict type checker sees the types of the public names."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSUMER = Path(__file__).with_name("consumer.py")


def strict(script: Path, cache: Path) -> "subprocess.CompletedProcess[str]":
    """What `mypy --strict` says of a user's script, with none of this project's settings."""
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent",
         "--ignore-missing-imports", "--cache-dir", str(cache), str(script)],
        cwd=script.parent, env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_public_names_are_typed_for_strict_users(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        'import ligandsmith\nligandsmith.load(3)\nligandsmith.read_pocket()\nx: str = ligandsmith.load("small")\n'
        'ligandsmith.write_sdf(None, 1)\nligandsmith.no_such_name\nligandsmith.optimise("pocket")\n'
    )
    right = strict(CONSUMER, tmp_path / "cache")
    assert right.stdout.startswith("Success"), right.stdout + right.stderr
    found = strict(wrong, tmp_path / "cache").stdout
    lines = {int(line.split(":")[1]) for line in found.splitlines() if ": error: " in line}
    assert lines == {2, 3, 4, 5, 6, 7}, found
