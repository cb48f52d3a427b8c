"""Reading files up to a limit of size, writing them atomically, and their hashes."""

import csv
import gzip
import hashlib
import io
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ligandsmith.errors import LigandsmithError

HOLD_TRIES = 4
SIZE_VARIABLE = "LIGANDSMITH_MAX_FILE_SIZE"  # MB; in the environment, so that worker processes have it, too
LARGEST_FILE = 500  # MB, unpacked
MEGABYTE = 10**6
GZIP_MARK = b"\x1f\x8b"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")  # what spreadsheet programs run instead of showing it


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
