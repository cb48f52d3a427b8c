"""Parquet shards of complexes: how a record is laid out on disk, written and read back one row at a time.

One row is one `Complex`. Arrays are little-endian binary columns; coordinates are int16 thousandths of an ångström
relative to `origin`, a float32 point per record, so they come back to within 0.5e-3 Å. A record whose atoms lie further
than 32.767 Å from their common centre along an axis does not fit and is rejected. The pocket columns are null in a
ligand-only record. Row groups are small: reading one record decodes one row group.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ligandsmith.errors import LigandsmithError, one_line, shortened
from ligandsmith.files import atomic_write, require_readable_size
from ligandsmith.records import Complex, Ligand, Pocket, Rejection
from ligandsmith.structure import vocabulary as vocab

DatasetKind = Literal["complexes", "ligands"]
EncodedRecord = dict[str, Any]  # a row of a shard
DATASET_KINDS: tuple[DatasetKind, ...] = ("complexes", "ligands")
SHARD_FORMAT_VERSION = 1
ROWS_PER_GROUP = 64
MILLI = 1000.0  # stored units per Å
LARGEST = 32767  # int16
OPEN_SHARDS = 32  # that a reader keeps open
OPEN_TRIES = 8
IDS = "ligandsmith_ids"  # metadata of files that list records: hash of the ids, see `add_ids`


class ShardSource(Protocol):
    """A shard that is elsewhere; its text names the place."""

    def local(self) -> Path:
        """A copy on this machine, which may go at any time but stays readable once it is open."""


class DamagedRecord(LigandsmithError):
    """A record that cannot be what was written."""


class BinaryColumn(NamedTuple):
    """How a binary column stores an array of a record."""

    field: str  # of Ligand or Pocket
    dtype: str  # little-endian
    shape: tuple[int, ...] = (-1,)


LIGAND_COLUMNS = {
    "ligand_element": BinaryColumn("element", "u1"),
    "ligand_charge": BinaryColumn("charge", "i1"),
    "ligand_aromatic": BinaryColumn("aromatic", "?"),
    "ligand_num_h": BinaryColumn("num_h", "u1"),
    "ligand_x": BinaryColumn("x", "<i2", (-1, 3)),  # mÅ from the origin
    "bond_index": BinaryColumn("bond_index", "<i2", (-1, 2)),
    "bond_type": BinaryColumn("bond_type", "u1"),
}
POCKET_COLUMNS = {
    "pocket_element": BinaryColumn("element", "u1"),
    "pocket_residue": BinaryColumn("residue", "u1"),
    "pocket_atom_name": BinaryColumn("atom_name", "u1"),
    "pocket_residue_index": BinaryColumn("residue_index", "<i2"),
    "pocket_x": BinaryColumn("x", "<i2", (-1, 3)),  # mÅ from the origin
    "pocket_center": BinaryColumn("center", "<f4"),  # Å, where the user gave one
}
ORIGIN = "origin"  # float32 [3] Å
ORIGIN_BYTES = 12
HIGHEST_CLASSES = {  # highest value of columns that are indices of tables
    "ligand_element": 118,
    "bond_type": vocab.AROMATIC,
    "pocket_element": 118,
    "pocket_residue": len(vocab.RESIDUES) - 1,
    "pocket_atom_name": len(vocab.ATOM_NAMES) - 1,
}
TEXTS = ("id", "source", "licence", "smiles")
NUMBERS = ("cluster", "num_ligand", "num_pocket")  # num_pocket: 0 in a ligand-only record
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in TEXTS),
        *(pa.field(name, pa.int32(), nullable=False) for name in NUMBERS),
        *(pa.field(name, pa.binary(), nullable=False) for name in (ORIGIN, *LIGAND_COLUMNS)),
        *(pa.field(name, pa.binary()) for name in POCKET_COLUMNS),
        pa.field("pocket_name", pa.string()),
    ],
    metadata={"ligandsmith_format_version": str(SHARD_FORMAT_VERSION)},
)
INDEX_COLUMNS = ["id", *NUMBERS]


def encode(record: Complex) -> EncodedRecord | Rejection:
    """One row of a shard, or the reason why the record does not fit the format."""
    ligand, pocket = record.ligand, record.pocket
    points = ligand.x if pocket is None else np.concatenate([ligand.x, pocket.x])
    if not np.isfinite(points).all():
        return Rejection(record.id, "non-finite coordinates", "ligand or pocket")
    middle = (points.min(0).astype(np.float64) + points.max(0)) / 2
    # An origin on the grid of the PDB format (0.001 Å) keeps coordinates of that format exact.
    origin = np.round(middle, 3).astype(np.float32)
    stored = np.rint((points.astype(np.float64) - origin) * MILLI)
    if np.abs(stored).max() > LARGEST:
        reach = np.abs(stored).max() / MILLI
        return Rejection(record.id, "too large", f"an atom is {reach:.1f} Å from the centre; {LARGEST / MILLI} Å fit")
    n = ligand.num_atoms
    row = {name: getattr(record, name) for name in (*TEXTS, "cluster")}
    row |= {"num_ligand": n, "num_pocket": 0, ORIGIN: origin.astype("<f4").tobytes()}
    row |= _arrays_to_bytes(vars(ligand) | {"x": stored[:n]}, LIGAND_COLUMNS)
    if pocket is not None:
        row |= {"num_pocket": pocket.num_atoms, "pocket_name": pocket.name}
        row |= _arrays_to_bytes(vars(pocket) | {"x": stored[n:]}, POCKET_COLUMNS)
    return row


def decode(columns: dict[str, list[Any]], i: int) -> Complex:
    """Row `i` of decoded columns as a record whose arrays are its own (writable). Raises LigandsmithError."""
    row = {name: column[i] for name, column in columns.items()}
    if problem := _disagreement(row):
        raise DamagedRecord(f"record {shortened(row['id'])}: {problem}; prepare the data set again")
    origin = np.frombuffer(row[ORIGIN], "<f4").astype(np.float64)
    pocket = None
    if row["pocket_x"] is not None:
        pocket = Pocket(**_arrays_from_bytes(row, POCKET_COLUMNS, origin), name=row["pocket_name"])
    ligand = Ligand(**_arrays_from_bytes(row, LIGAND_COLUMNS, origin))
    return Complex(ligand=ligand, pocket=pocket, **{name: row[name] for name in (*TEXTS, "cluster")})


def _disagreement(row: dict[str, Any]) -> str:
    """What a row says in two places differently, or what cannot be; empty for a sound one."""
    lengths = {**_lengths(row, LIGAND_COLUMNS), **_lengths(row, POCKET_COLUMNS)}
    bonds = lengths.pop("bond_type"), lengths.pop("bond_index")
    lengths.pop("pocket_center", None)
    for name, found in lengths.items():
        stated = row["num_pocket" if name.startswith("pocket_") else "num_ligand"]
        if found != stated:
            return f"{name} has {found:g} values for {stated} atoms"
    if bonds[0] != bonds[1]:
        return f"{bonds[0]:g} bond types for {bonds[1]:g} bonds"
    return _wrong_value(row)


def _wrong_value(row: dict[str, Any]) -> str:
    """The origin, an index or a class of a row that cannot be; empty for a sound one."""
    if len(row[ORIGIN]) != ORIGIN_BYTES or not np.isfinite(np.frombuffer(row[ORIGIN], "<f4")).all():
        return "its origin is no point"
    if row["bond_index"]:
        ends = np.frombuffer(row["bond_index"], "<i2")
        if ends.min() < 0 or ends.max() >= row["num_ligand"]:
            return f"a bond to atom {int(ends.min() if ends.min() < 0 else ends.max()) + 1} of {row['num_ligand']}"
    if row["pocket_residue_index"] and np.frombuffer(row["pocket_residue_index"], "<i2").min() < 0:
        return "a residue has a negative number"
    for name, most in HIGHEST_CLASSES.items():
        if row[name] and (highest := max(row[name])) > most:
            return f"{name} is {highest}, at most {most} is known"
    return ""


def _lengths(row: dict[str, Any], columns: dict[str, BinaryColumn]) -> dict[str, float]:
    """The number of values of each array that a row has; not a whole one where bytes are missing."""
    return {
        name: len(row[name]) / np.dtype(column.dtype).itemsize / max(column.shape[-1], 1)
        for name, column in columns.items()
        if row[name] is not None
    }


def _arrays_to_bytes(arrays: dict[str, Any], columns: dict[str, BinaryColumn]) -> dict[str, bytes]:
    """The columns of those arrays that are there."""
    return {
        name: np.ascontiguousarray(arrays[column.field], dtype=column.dtype).tobytes()
        for name, column in columns.items()
        if arrays[column.field] is not None
    }


def _arrays_from_bytes(
    row: dict[str, Any], columns: dict[str, BinaryColumn], origin: NDArray[np.float64]
) -> dict[str, Any]:
    """The arrays that a row has in these columns, by field, of native byte order and writable."""
    arrays = {
        column.field: np.frombuffer(row[name], column.dtype).astype(column.dtype.lstrip("<")).reshape(column.shape)
        for name, column in columns.items()
        if row[name] is not None
    }
    # In double precision, so that the only error besides the 0.001 Å grid is the final rounding to float32.
    return arrays | {"x": (arrays["x"] / MILLI + origin).astype(np.float32)}


def shard_paths(folder: Path, kind: DatasetKind) -> list[Path]:
    """The shards of one kind, in order."""
    return sorted(Path(folder).glob(f"{kind}-*.parquet"))


def write_shards(
    folder: Path, kind: DatasetKind, records: Iterable[Complex | EncodedRecord | Rejection], rows_per_shard: int = 4096
) -> tuple[list[str], list[Rejection]]:
    """Write the records to `KIND-00000.parquet`, ... of a folder, all of these files or, after an exception, none.

    Returns the ids written, in order, and all rejections: those passed in, repeated ids, and what does not fit.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    ids: dict[str, None] = {}
    rejections: list[Rejection] = []
    rows = _rows(records, ids, rejections)
    with ExitStack() as unfinished:
        for number in count():
            table = pa.Table.from_pylist(list(islice(rows, rows_per_shard)), schema=SCHEMA)
            if not table.num_rows:
                break
            part = unfinished.enter_context(atomic_write(Path(folder) / f"{kind}-{number:05d}.parquet"))
            pq.write_table(
                table, part, row_group_size=ROWS_PER_GROUP, compression="zstd", compression_level=12,
                use_dictionary=["source", "licence", "pocket_name"], write_statistics=False,
            )  # fmt: skip
    return list(ids), rejections


def _rows(
    records: Iterable[Complex | EncodedRecord | Rejection], ids: dict[str, None], rejections: list[Rejection]
) -> Iterator[EncodedRecord]:
    """The rows of the records; notes their ids, and what has none."""
    for record in records:
        row = encode(record) if isinstance(record, Complex) else record
        if not isinstance(row, Rejection) and row["id"] in ids:
            row = Rejection(row["id"], "duplicate id", "an earlier record has this id and was kept")
        if isinstance(row, Rejection):
            rejections.append(row)
        else:
            ids[row["id"]] = None
            yield row


def add_ids(digest: Any, ids: Sequence[str]) -> None:
    """Add ids to a hash, with which files that list records tell whether they list the same ones in the same order."""
    digest.update("".join(f"{id}\n" for id in ids).encode())


class ShardReader:
    """Random access to the records of several shards, numbered through in order.

    The last `cached_groups` row groups stay in memory: a data set of up to `cached_groups * 64` records is read once.
    A shard is opened when one of its records is read, and few stay open.
    """

    def __init__(
        self, paths: Sequence[Path | ShardSource], cached_groups: int = 512, shard_rows: Sequence[int] | None = None
    ) -> None:
        """`shard_rows`: records of each shard, where they are known; else every shard is opened here."""
        self.paths, self.cached_groups = list(paths), cached_groups
        self.shard_rows = [file.metadata.num_rows for file in map(_open, paths)] if shard_rows is None else shard_rows
        self._starts = np.cumsum([0, *self.shard_rows])
        self._open_shard = lru_cache(OPEN_SHARDS)(self._opened)
        self._begins = lru_cache(None)(self._group_begins)  # some bytes for 64 records
        self._read_group = lru_cache(cached_groups)(self._group)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: int) -> Complex:
        """Record number `row`, 0 <= row < len(self)."""
        if not 0 <= row < len(self):
            raise IndexError(f"record {row} of {len(self)}")
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        within = row - int(self._starts[shard])
        try:
            begins = self._begins(shard)
            group = int(np.searchsorted(begins, within, side="right")) - 1
            return decode(self._read_group(shard, group), within - int(begins[group]))
        except (pa.ArrowException, OSError, ValueError, OverflowError, DamagedRecord) as error:
            raise LigandsmithError(f"{self.paths[shard]}: {one_line(error)}") from None

    def __iter__(self) -> Iterator[Complex]:
        return (self[row] for row in range(len(self)))

    def _opened(self, shard: int) -> pq.ParquetFile:
        file = _open(self.paths[shard])
        found, expected = file.metadata.num_rows, self.shard_rows[shard]
        if found != expected:
            raise LigandsmithError(f"{self.paths[shard]}: {found} records, not {expected}; copy the data again")
        return file

    def _group_begins(self, shard: int) -> NDArray[np.int64]:
        """First record of each row group."""
        metadata = self._open_shard(shard).metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        return np.cumsum([0, *sizes[:-1]])

    def _group(self, shard: int, group: int) -> dict[str, list[Any]]:
        file = self._open_shard(shard)
        require_readable_size(file.metadata.row_group(group).total_byte_size)
        columns: dict[str, list[Any]] = file.read_row_group(group, use_threads=False).to_pydict()
        return columns

    def index(self) -> dict[str, NDArray[Any]]:
        """The columns `INDEX_COLUMNS` of all records, each [len(self)], without reading any coordinates."""
        tables = [index_of_shard(path) for path in self.paths]
        table = pa.concat_tables([SCHEMA.empty_table().select(INDEX_COLUMNS), *tables])
        # Through lists: the direct conversion imports pandas, which takes seconds.
        index: dict[str, NDArray[Any]] = {"id": np.array(table["id"].to_pylist(), dtype=object)}
        return index | {name: np.array(table[name].to_pylist(), dtype=np.int64) for name in NUMBERS}

    def __reduce__(self) -> tuple[Any, ...]:
        # Open files and cached rows stay behind: a worker process opens its own.
        return ShardReader, (self.paths, self.cached_groups, self.shard_rows)


def index_of_shard(path: Path | ShardSource) -> pa.Table:
    """The columns `INDEX_COLUMNS` of a shard. Raises LigandsmithError for a damaged one."""
    file = _open(path)
    try:
        return file.read(columns=INDEX_COLUMNS, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LigandsmithError(f"{path}: damaged ({one_line(error)}); prepare the data set again") from None


def _open(path: Path | ShardSource) -> pq.ParquetFile:
    """A shard with the layout of this version; raises LigandsmithError for anything else."""
    try:
        file = _parquet(path) if isinstance(path, Path) else _parquet_of_copy(path)
    except FileNotFoundError:
        raise LigandsmithError(f"{path}: no such shard; prepare the data set again") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise LigandsmithError(f"{path}: not a readable Parquet shard ({str(error).splitlines()[0]})") from None
    if not file.schema_arrow.equals(SCHEMA, check_metadata=False):
        raise LigandsmithError(
            f"{path}: the columns are not those of format {SHARD_FORMAT_VERSION}; prepare the data set again"
        )
    return file


def _parquet(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, memory_map=True, pre_buffer=False)


def _parquet_of_copy(source: ShardSource) -> pq.ParquetFile:
    for _ in range(OPEN_TRIES):
        with suppress(FileNotFoundError):  # another process needed the room
            return _parquet(source.local())
    raise LigandsmithError(f"{source}: copies go before they can be opened; give a higher --cache_size")
