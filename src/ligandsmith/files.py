"""Reading files up to a limit of size, writing them atomically and without losing others, and their hashes."""

import csv
import gzip
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from ligandsmith.errors import LigandsmithError

log = logging.getLogger("ligandsmith")
HOLD_TRIES = 4
SIZE_VARIABLE = "LIGANDSMITH_MAX_FILE_SIZE"  # MB; in the environment, so that worker processes have it, too
LARGEST_FILE = 500  # MB, unpacked
MEGABYTE = 10**6
GZIP_MARK = b"\x1f\x8b"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")  # what spreadsheet programs run instead of showing it
LEFTOVER = re.compile(r"(?:.+\.(\d+)\.part|\..+\.(\d+)\.tmp)")  # of a process, named by its number
TEMPORARY = re.compile(r"ligandsmith-(\d+)-.+")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_held: set[int] = set()  # descriptors of the folders that this process holds


def is_uri(text: object) -> bool:
    """Whether a text, not a path, names a place by URI."""
    return isinstance(text, str) and URI.match(text) is not None


def path_or_uri(text: str) -> Path | str:
    """What a user gave for a file or folder: a URI stays a text."""
    return text if is_uri(text) else Path(text)


@contextmanager
def file_limit(megabytes: int | None) -> Iterator[None]:
    """Read files of up to so many MB, unpacked, within the block and in processes that it starts; None: as before."""
    before = os.environ.get(SIZE_VARIABLE)
    if megabytes is not None:
        os.environ[SIZE_VARIABLE] = str(megabytes)
    try:
        yield
    finally:
        if megabytes is not None:
            os.environ.pop(SIZE_VARIABLE)
            os.environ.update({} if before is None else {SIZE_VARIABLE: before})


def largest_file() -> int:
    """The largest number of bytes that is read of a file, unpacked."""
    text = os.environ.get(SIZE_VARIABLE, "")
    return (int(text) if text.isdecimal() and text.isascii() else LARGEST_FILE) * MEGABYTE


def require_readable_size(size: int) -> None:
    """Raise OSError for a content of more than `largest_file()` bytes, unpacked."""
    if size > largest_file():
        raise OSError(f"more than {largest_file() // MEGABYTE} MB unpacked; a higher --max_file_size reads it")


def file_content(path: Path) -> bytes:
    """The bytes of a file, unpacked if it is gzipped. Raises OSError for a damaged one, and for one that is too large.

    No more than the limit is ever unpacked, whatever the file would grow to.
    """
    most = largest_file() + 1
    with path.open("rb") as stream:
        start = stream.read(len(GZIP_MARK))
        stream.seek(0)
        if start != GZIP_MARK:
            require_readable_size(os.fstat(stream.fileno()).st_size)
            data = stream.read(most)
        else:
            return _unpacked(stream, most)
    require_readable_size(len(data))
    return data


def _unpacked(stream: BinaryIO, most: int) -> bytes:
    data = bytearray()
    try:
        with gzip.open(stream) as unpacked:
            while len(data) < most and (piece := unpacked.read(MEGABYTE)):
                data += piece
    except (EOFError, zlib.error) as error:
        raise OSError(f"damaged gzip file: {error}") from None
    require_readable_size(len(data))
    return bytes(data)


def file_text(path: Path, errors: str = "strict") -> str:
    """The text (UTF-8, with or without a byte order mark) of a file, gzipped or not. Raises OSError, ValueError."""
    return file_content(path).decode("utf-8-sig", errors)


def json_content(path: Path, **options: Any) -> Any:
    """The content of a JSON file; `options` are those of `json.loads`. Raises OSError, ValueError."""
    try:
        return json.loads(file_text(path), **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def csv_content(path: Path, errors: str = "strict") -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a CSV file, and line number and cells of each row; a missing cell is empty.

    What `write_csv` put before a text that looks like a formula is taken away. Raises OSError and ValueError.
    """
    reader = csv.DictReader(io.StringIO(file_text(path, errors), newline=""), restval="")
    try:
        columns = [_from_cell(name) for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = [(reader.line_num, dict(row)) for row in reader]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    for line, row in rows:
        if any(row.pop(None, ())):  # type: ignore[call-overload]
            raise ValueError(f"line {line}: more cells than columns")
    return columns, [(line, {name: _from_cell(text) for name, text in row.items()}) for line, row in rows]


def _looks_like_formula(text: str) -> bool:
    if not text.lstrip("'").startswith(FORMULA_STARTS):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def _as_cell(value: Any) -> Any:
    """A value for a CSV file: a text that a spreadsheet program would run gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and _looks_like_formula(value) else value


def _from_cell(text: str) -> str:
    return text[1:] if text.startswith("'") and _looks_like_formula(text) else text


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
        record = json_content(path)
    except (OSError, ValueError):
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
    """Write rows (at least one, all with the keys of the first) as CSV with a header, as `write_text` does.

    Texts that a spreadsheet program would run as a formula get an apostrophe before them; numbers stay as they are.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow([_as_cell(name) for name in rows[0]])
    writer.writerows([_as_cell(row.get(name, "")) for name in rows[0]] for row in rows)
    write_text(path, stream.getvalue())


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
