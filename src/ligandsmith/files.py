"""Writing files atomically, and their hashes."""

import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ligandsmith.errors import LigandsmithError

HOLD_TRIES = 4


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to; it takes the name of `path` if the block ends well, else it is removed.

    An interrupted write leaves the previous file as it was. What the block wrote is on the disk before the renaming.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if need be, for this process alone; the operating system lets go of it at its end.

    Raises LigandsmithError if another process still has it after some seconds. Leaves no file. Does nothing where
    folders cannot be locked (Windows).
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for tried in range(HOLD_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if tried == HOLD_TRIES - 1:
                    raise LigandsmithError(
                        f"{folder}: another process is writing into this folder; wait for it, or choose another one"
                    ) from None
                time.sleep(1)  # the workers of a process that was killed end a little after it
        yield
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically; raises LigandsmithError if it cannot be written."""
    try:
        with atomic_write(path) as part:
            part.write_text(text, encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise LigandsmithError(f"cannot write {path}: {error.strerror}; what was written before is whole") from error


def write_json(path: Path, data: Any) -> None:
    """Write `data` as JSON, indented, as `write_text` does."""
    write_text(path, json.dumps(data, indent=1) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows (at least one, all with the keys of the first) as CSV with a header, as `write_text` does."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
