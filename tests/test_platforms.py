"""What Windows does not have is not needed to import, to lock a folder or to end a process."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ligandsmith
from ligandsmith.files import held_alone
from ligandsmith.parallel.signals import end_with_children
from ligandsmith.studio.processes import is_running

POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "crypt"}
POSIX_CALLS = {"fork", "killpg", "setsid", "getuid", "geteuid", "getpgid", "setpgrp", "mkfifo", "sched_setaffinity"}


def unguarded(source: str) -> list[str]:
    """POSIX modules that are imported outside of a `try`, and POSIX functions of `os` that no `hasattr` precedes."""
    tree = ast.parse(source)
    tried = {node for outer in ast.walk(tree) if isinstance(outer, ast.Try) for node in ast.walk(outer)}
    modules = [
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) and node not in tried
        for alias in node.names if alias.name in POSIX_ONLY
    ]  # fmt: skip
    calls = [
        f"os.{node.attr}" for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in POSIX_CALLS and isinstance(node.value, ast.Name)
        and node.value.id == "os" and f'hasattr(os, "{node.attr}")' not in source
    ]  # fmt: skip
    return modules + calls


def test_no_module_needs_posix() -> None:
    package = Path(ligandsmith.__file__).parent
    found = {str(path): unguarded(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_need_of_posix_would_be_noticed() -> None:
    assert unguarded("import os\nimport fcntl\nos.fork()\n") == ["fcntl", "os.fork"]


def test_folders_are_written_without_locks_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with held_alone(tmp_path / "out"):
        (tmp_path / "out/result").touch()
    log = tmp_path / "log"
    log.touch()
    assert (tmp_path / "out/result").is_file()
    assert not is_running(log)


@pytest.mark.parametrize("groups", [True, False])
def test_a_process_is_ended_with_and_without_process_groups(groups: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not groups:
        monkeypatch.delattr(os, "killpg")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as process:
        end_with_children(process.pid)
        assert process.wait(timeout=10) != 0
    end_with_children(process.pid)  # it has ended already
