"""Reading complexes in units: a unit is read whole or not at all, and not again where its file is there.

The files of units are on a disk that all workers share, or on an object store. They are merged in order, so that the
records are those of one process, and go when the data set is complete.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ligandsmith.data.object_store import StoredFile
from ligandsmith.data.shards import SCHEMA, SHARD_FORMAT_VERSION, EncodedRecord, encode
from ligandsmith.errors import LigandsmithError, one_line
from ligandsmith.files import is_uri
from ligandsmith.parallel.engines import ENGINES
from ligandsmith.records import Complex, Rejection

REQUEST = "request.json"
READ = b"ligandsmith_read"


class ReadComplex(NamedTuple):
    """A record, the sequences at its site, and a line on what was read of its files."""

    record: Complex | EncodedRecord | Rejection
    sequences: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ReadingUnit:
    """Items that are read together."""

    items: tuple[Any, ...] = field(compare=False)
    stored: StoredFile  # what was read; where it is, the unit is done


@dataclass(frozen=True)
class UnitReader:
    """Reads the items of a unit and writes what it read. Sent to workers."""

    read: Callable[[Any], ReadComplex]

    def __call__(self, unit: ReadingUnit) -> None:
        """Raises LigandsmithError if the unit cannot be written."""
        if unit.stored.size_and_time() is None:
            unit.stored.write(_content([self.read(item) for item in unit.items]))


def folder_of_units(out: Path | str) -> StoredFile:
    """Where the units of a data set are kept until it is complete: beside a folder, below a prefix."""
    if is_uri(out):
        return StoredFile(str(out)).child(".units")
    path = Path(out).resolve()
    return StoredFile(path.with_name(f".{path.name}.units").as_uri())


@dataclass(frozen=True)
class Units:
    """All units of a request, with the engine that reads them."""

    folder: StoredFile
    engine: str
    workers: int
    size: int  # items of a unit

    def results(self, read: Callable[[Any], ReadComplex], items: Sequence[Any]) -> Iterator[ReadComplex]:
        """What was read of each item, in order, after all units are done.

        Raises LigandsmithError if some cannot be done; those that are done are kept.
        """
        units = [
            ReadingUnit(part, self.folder.child(f"{number:08d}.parquet"))
            for number, part in enumerate(_parts(items, self.size))
        ]
        done = set(self.folder.names())
        left = iter([unit for unit in units if unit.stored.name not in done])
        failed: list[str] = []
        with closing(ENGINES[self.engine](UnitReader(read), left, self.workers)) as finished:
            failed += [reason for _, reason in finished if reason]
        if failed:
            raise LigandsmithError(
                f"{len(failed)} of {len(units)} units failed, the first: {failed[0]}; what is done is kept, the same "
                "command continues"
            )
        for unit in units:
            yield from _read_back(unit)

    def claim(self, identity: dict[str, Any], overwrite: bool) -> None:
        """Take up the units of an earlier run of the request; of another one with `overwrite` only, which removes them.
        Raises LigandsmithError."""
        wanted = hashlib.sha256(json.dumps([SHARD_FORMAT_VERSION, self.size, identity]).encode()).hexdigest()
        request = self.folder.child(REQUEST)
        if request.size_and_time() is not None:
            if request.read().decode() == wanted:
                return
            if not overwrite:
                raise LigandsmithError(
                    f"{self.folder}: holds unfinished work of another request (other sources or options); finish it "
                    "with the same command, or remove it with --overwrite"
                )
            self.clear()
        request.write(wanted.encode())

    def clear(self) -> None:
        """Remove all files, the request last."""
        for name in sorted(self.folder.names(), key=lambda name: name == REQUEST):
            self.folder.child(name).remove()
        self.folder.remove_empty()


def _parts(items: Sequence[Any], size: int) -> Iterator[tuple[Any, ...]]:
    return (tuple(items[begin : begin + size]) for begin in range(0, len(items), size))


def _content(found: Sequence[ReadComplex]) -> bytes:
    """The file of a unit: rows of a shard, and a list of what belongs to each item."""
    rows: list[EncodedRecord] = []
    about: list[dict[str, Any]] = []
    for record, sequences, note in found:
        row = encode(record) if isinstance(record, Complex) else record
        rejection = asdict(row) if isinstance(row, Rejection) else None
        if not isinstance(row, Rejection):
            rows.append(row)
        about.append({"rejection": rejection, "sequences": sequences, "note": note})
    table = pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata({READ: json.dumps(about)}))
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
    return stream.getvalue()


def _read_back(unit: ReadingUnit) -> Iterator[ReadComplex]:
    try:
        table = pq.read_table(pa.BufferReader(unit.stored.read()), page_checksum_verification=True)
        rows, about = iter(table.to_pylist()), json.loads(table.schema.metadata[READ])
    except (ValueError, KeyError, OSError, pa.ArrowException) as error:
        raise LigandsmithError(f"{unit.stored}: damaged ({one_line(error)}); remove it to read it again") from None
    for entry in about:
        rejection = entry["rejection"]
        record = next(rows) if rejection is None else Rejection(**rejection)
        yield ReadComplex(record, tuple(entry["sequences"]), entry["note"])
