"""Writing files atomically and without losing others, and their hashes."""

import csv
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ligandsmith.errors import LigandsmithError

log = logging.getLogger("ligandsmith")
HOLD_TRIES = 4
LEFTOVER = re.compile(r"(?:.+\.(\d+)\.part|\..+\.(\d+)\.tmp)")  # of a process, named by its number
TEMPORARY = re.compile(r"ligandsmith-(\d+)-.+")
_held: set[int] = set()  # descriptors of the folders that this process holds


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

    What killed processes left half-written in it is removed; so are new folders that are empty after an error. Leaves
    no file. Does nothing where folders cannot be locked (Windows, some network file systems). Raises LigandsmithError
    if another process still has it after some seconds.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    descriptor = _locked(folder)
    try:
        clear_leftovers(folder)
        yield
    except BaseException:
        with suppress(OSError):  # the first that is not empty
            for path in made:
                path.rmdir()
        raise
    finally:
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)


def _locked(folder: Path) -> int:
    """A descriptor of the folder with the lock on it; -1 where there are no locks."""
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)
    except ImportError:
        folder.mkdir(parents=True, exist_ok=True)
        return -1
    _let_go_in_forks()
    for tried in range(HOLD_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
                _held.add(descriptor)
                return descriptor
        except BlockingIOError:
            if tried < HOLD_TRIES - 1:
                time.sleep(1)  # the workers of a process that was killed end a little after it
        except OSError as error:
            log.debug("%s: cannot be locked (%s); do not write into it with two processes", folder, error.strerror)
            os.close(descriptor)
            return -1
        os.close(descriptor)  # renamed meanwhile by the process that had it, or still held
    raise LigandsmithError(f"{folder}: another process is writing into this folder; wait for it, or choose another one")


@cache
def _let_go_in_forks() -> None:
    """A forked worker that outlives its killed main process must not hold the folder of the next one."""

    def close() -> None:
        while _held:
            os.close(_held.pop())

    os.register_at_fork(after_in_child=close)


def clear_leftovers(folder: Path) -> None:
    """Remove the files that processes which are gone were about to write into a folder."""
    with suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            match = LEFTOVER.fullmatch(path.name)
            if match and not _is_running(int(match[1] or match[2])):
                path.unlink(missing_ok=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder in the system's place for temporary files, which goes with the block, or at the next start of any
    command if the process is killed."""
    with tempfile.TemporaryDirectory(prefix=f"ligandsmith-{os.getpid()}-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def clear_temporary_folders() -> None:
    """Remove the temporary folders of this program's processes that are gone."""
    with suppress(OSError):  # a place that cannot be read holds none of ours
        for path in Path(tempfile.gettempdir()).glob("ligandsmith-*"):
            match = TEMPORARY.fullmatch(path.name)
            if match and not _is_running(int(match[1])):
                shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # where the call below would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of somebody else
        return True
    return True


def refuse_other(
    folder: Path, names: Sequence[str], changed: Sequence[str] | None,
    overwrite: bool = False, instead: str = "choose another --out", what: str = "results",
) -> None:  # fmt: skip
    """Raise LigandsmithError if a folder holds files, by name or pattern, that another request made.

    `changed`: what is different in that request, nothing if it is the same one; None where nothing tells. With
    `overwrite` the files are removed instead. Nothing but these names is ever touched.
    """
    there = [path for name in names for path in sorted(folder.glob(name))]
    if not there or (changed is not None and not changed):
        return
    if not overwrite:
        why = f" (different {', '.join(changed)})" if changed else ""
        other_way = f"{instead}, or " if instead else ""
        raise LigandsmithError(
            f"{folder}: holds {what} of another request{why}; {other_way}replace {there[0].name} with --overwrite"
        )
    remove_all(there)


def changes(theirs: Mapping[str, Any] | None, ours: Mapping[str, Any]) -> list[str] | None:
    """The keys of a request whose values an earlier one had otherwise; None without one."""
    return None if theirs is None else [key for key in ours if theirs.get(key) != ours[key]]


def remove_all(paths: Sequence[Path]) -> None:
    """Remove files, and folders with all that is in them."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def earlier_record(path: Path) -> dict[str, Any] | None:
    """What a JSON file says of the results beside it; None if it is missing, or no JSON object."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def same_file(stored: Any, now: Path | None) -> bool:
    """Whether a path in a record of earlier results is that of `now`: by place, or by name where it is not known from
    here (it was relative to another folder, or moved)."""
    if not isinstance(stored, str) or now is None:
        return stored is None and now is None
    before = Path(stored)
    return before.resolve() == now.resolve() or (before.name == now.name and not before.exists())


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
