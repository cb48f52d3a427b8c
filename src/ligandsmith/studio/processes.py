"""Command lines as child processes, which outlive a killed server and are found again by the next one.

The child writes into a log on which it has a lock: as long as the lock is held, the command runs, whoever started it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.parallel.signals import end_with_children

LONGEST_MESSAGE = 300
TAIL, LINES = 20_000, 200  # bytes and lines of the end of a log


def start(argv: Sequence[str], folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start `ligandsmith ARGV` in a folder, in a session of its own, so that Ctrl-C in the server's terminal and the
    end of the server do not end it. Raises LigandsmithError if the command before it still runs."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        if not _lock(stream):
            raise LigandsmithError("the command of this job still runs; wait until it has ended")
        stream.write(f"$ ligandsmith {' '.join(argv)}\n".encode())
        stream.flush()
        return subprocess.Popen(  # -P: no module of the project folder is imported
            [sys.executable, "-P", "-m", "ligandsmith", *argv], cwd=folder, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=subprocess.STDOUT, start_new_session=True, env=_environment(),
        )  # fmt: skip


def _environment() -> dict[str, str]:
    """That of the server, with paths of modules that mean the same in another folder."""
    paths = os.environ.get("PYTHONPATH")
    if not paths:
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths.split(os.pathsep)))}


def is_running(log: Path) -> bool:
    """Whether a command, of this server or of one before, still writes into a log."""
    if not log.is_file():
        return False
    with log.open("ab") as stream:
        return not _lock(stream)


def _lock(stream: BinaryIO) -> bool:
    """Take the lock; whether it was free. It goes when the last process that has the file open ends."""
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)
    except ImportError:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def interrupt(pid: int) -> None:
    """Ask a command to end as Ctrl-C does: it keeps what is finished. 0: one whose number is not known."""
    if pid > 0:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGINT)


def end(pid: int) -> None:
    """End a command and all that it started, at once. 0: one whose number is not known."""
    if pid > 0:
        end_with_children(pid)


def last_lines(log: Path) -> str:
    """The end of a log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL))
            return "\n".join(stream.read().decode("utf-8", "replace").splitlines()[-LINES:])
    except OSError:
        return ""


def last_error(log: Path) -> str:
    """What a command that failed said last, in one line."""
    lines = [line.strip() for line in last_lines(log).splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    said = [line for line in lines if not line.startswith("$ ")]
    return shortened((errors or said or ["it said nothing"])[-1], LONGEST_MESSAGE)
