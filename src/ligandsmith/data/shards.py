"""Parquet shards of complexes: how a record is laid out on disk, written and read back one row at a time.

One row is one `Complex`. Arrays are little-endian binary columns; coordinates are int16 thousandths of an ångström
relative to `origin`, a float32 point per record, so they come back to within 0.5e-3 Å. A record whose atoms lie further
than 32.767 Å from their common centre along an axis does not fit and is rejected. The pocket columns are null in a
ligand-only record. Row groups are small: reading one record decodes one row group.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Ligand, Pocket, Rejection

FORMAT_VERSION = 1
ROWS_PER_GROUP = 64
MILLI = 1000.0  # stored units per Å
LARGEST = 32767  # int16

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("smiles", pa.string(), nullable=False),
        pa.field("cluster", pa.int32(), nullable=False),
        pa.field("num_ligand", pa.int32(), nullable=False),
        pa.field("num_pocket", pa.int32(), nullable=False),  # 0 in a ligand-only record
        pa.field("origin", pa.binary(), nullable=False),  # float32 [3] Å
        pa.field("ligand_element", pa.binary(), nullable=False),  # uint8 [N]
        pa.field("ligand_charge", pa.binary(), nullable=False),  # int8 [N]
        pa.field("ligand_aromatic", pa.binary(), nullable=False),  # uint8 [N], 0 or 1
        pa.field("ligand_num_h", pa.binary(), nullable=False),  # uint8 [N]
        pa.field("ligand_x", pa.binary(), nullable=False),  # int16 [N, 3] mÅ from the origin
        pa.field("bond_index", pa.binary(), nullable=False),  # int16 [E, 2]
        pa.field("bond_type", pa.binary(), nullable=False),  # uint8 [E]
        pa.field("pocket_element", pa.binary()),  # uint8 [M]
        pa.field("pocket_residue", pa.binary()),  # uint8 [M]
        pa.field("pocket_atom_name", pa.binary()),  # uint8 [M]
        pa.field("pocket_residue_index", pa.binary()),  # int16 [M]
        pa.field("pocket_x", pa.binary()),  # int16 [M, 3] mÅ from the origin
        pa.field("pocket_center", pa.binary()),  # float32 [3] Å, where the user gave one
        pa.field("pocket_name", pa.string()),
    ],
    metadata={"ligandsmith_format_version": str(FORMAT_VERSION)},
)
INDEX_COLUMNS = ["id", "cluster", "num_ligand", "num_pocket"]


def encode(record: Complex) -> dict[str, Any] | Rejection:
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
    row: dict[str, Any] = {
        "id": record.id,
        "source": record.source,
        "licence": record.licence,
        "smiles": record.smiles,
        "cluster": record.cluster,
        "num_ligand": n,
        "num_pocket": 0,
        "origin": _pack(origin, "<f4"),
        "ligand_element": _pack(ligand.element, "u1"),
        "ligand_charge": _pack(ligand.charge, "i1"),
        "ligand_aromatic": _pack(ligand.aromatic, "u1"),
        "ligand_num_h": _pack(ligand.num_h, "u1"),
        "ligand_x": _pack(stored[:n], "<i2"),
        "bond_index": _pack(ligand.bond_index, "<i2"),
        "bond_type": _pack(ligand.bond_type, "u1"),
    }
    if pocket is not None:
        row |= {
            "num_pocket": pocket.num_atoms,
            "pocket_element": _pack(pocket.element, "u1"),
            "pocket_residue": _pack(pocket.residue, "u1"),
            "pocket_atom_name": _pack(pocket.atom_name, "u1"),
            "pocket_residue_index": _pack(pocket.residue_index, "<i2"),
            "pocket_x": _pack(stored[n:], "<i2"),
            "pocket_center": None if pocket.center is None else _pack(pocket.center, "<f4"),
            "pocket_name": pocket.name,
        }
    return row


def decode(columns: dict[str, list[Any]], i: int) -> Complex:
    """Row `i` of decoded columns as a record whose arrays are its own (writable)."""
    origin = np.frombuffer(columns["origin"][i], "<f4").astype(np.float64)
    ligand = Ligand(
        element=np.frombuffer(columns["ligand_element"][i], np.uint8).copy(),
        charge=np.frombuffer(columns["ligand_charge"][i], np.int8).copy(),
        aromatic=np.frombuffer(columns["ligand_aromatic"][i], np.bool_).copy(),
        num_h=np.frombuffer(columns["ligand_num_h"][i], np.uint8).copy(),
        x=_unpack_points(columns["ligand_x"][i], origin),
        bond_index=np.frombuffer(columns["bond_index"][i], "<i2").astype(np.int16).reshape(-1, 2),
        bond_type=np.frombuffer(columns["bond_type"][i], np.uint8).copy(),
    )
    return Complex(
        id=columns["id"][i],
        ligand=ligand,
        pocket=_decode_pocket(columns, i, origin),
        smiles=columns["smiles"][i],
        source=columns["source"][i],
        licence=columns["licence"][i],
        cluster=columns["cluster"][i],
    )


def _decode_pocket(columns: dict[str, list[Any]], i: int, origin: NDArray[np.float64]) -> Pocket | None:
    if columns["pocket_x"][i] is None:
        return None
    center = columns["pocket_center"][i]
    return Pocket(
        element=np.frombuffer(columns["pocket_element"][i], np.uint8).copy(),
        residue=np.frombuffer(columns["pocket_residue"][i], np.uint8).copy(),
        atom_name=np.frombuffer(columns["pocket_atom_name"][i], np.uint8).copy(),
        residue_index=np.frombuffer(columns["pocket_residue_index"][i], "<i2").astype(np.int16),
        x=_unpack_points(columns["pocket_x"][i], origin),
        center=None if center is None else np.frombuffer(center, "<f4").astype(np.float32),
        name=columns["pocket_name"][i],
    )


def _pack(array: NDArray[Any], dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype=dtype).tobytes()


def _unpack_points(data: bytes, origin: NDArray[np.float64]) -> NDArray[np.float32]:
    # In double precision, so that the only error besides the 0.001 Å grid is the final rounding to float32.
    return (np.frombuffer(data, "<i2").reshape(-1, 3) / MILLI + origin).astype(np.float32)


class ShardWriter:
    """Writes `PREFIX-00000.parquet`, ... into a folder. The files appear under their names when `close` succeeds.

    Used as a context manager, an exception inside the block removes what was written.
    """

    def __init__(self, folder: Path, prefix: str, rows_per_shard: int = 4096) -> None:
        self.folder = Path(folder)
        self.prefix = prefix
        self.rows_per_shard = rows_per_shard
        self.num_rows = 0
        self._ids: set[str] = set()
        self._rows: list[dict[str, Any]] = []
        self._names: list[str] = []
        self._writer: pq.ParquetWriter | None = None
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, record: Complex) -> Rejection | None:
        """Queue one record; returns the reason if it is not written (duplicate id, or it does not fit)."""
        if record.id in self._ids:
            return Rejection(record.id, "duplicate id", "an earlier record has this id and was kept")
        row = encode(record)
        if isinstance(row, Rejection):
            return row
        self._ids.add(record.id)
        self._rows.append(row)
        self.num_rows += 1
        if len(self._rows) == ROWS_PER_GROUP or self.num_rows % self.rows_per_shard == 0:
            self._flush()
        return None

    def close(self) -> list[Path]:
        """Write what is queued and give the shards their names; returns their paths in order."""
        self._flush()
        self._finish_shard()
        paths = [self.folder / name for name in self._names]
        for path in paths:
            os.replace(_part(path), path)
        return paths

    def discard(self) -> None:
        """Remove the unfinished files."""
        self._finish_shard()
        for name in self._names:
            _part(self.folder / name).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._names.append(f"{self.prefix}-{len(self._names):05d}.parquet")
            self._writer = pq.ParquetWriter(
                _part(self.folder / self._names[-1]),
                SCHEMA,
                compression="zstd",
                compression_level=12,
                use_dictionary=["source", "licence", "pocket_name"],
                write_statistics=False,
            )
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA), row_group_size=ROWS_PER_GROUP)
        self._rows = []
        if self.num_rows % self.rows_per_shard == 0:
            self._finish_shard()

    def _finish_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


class ShardReader:
    """Random access to the records of several shards, numbered through in order.

    The last `cached_groups` row groups stay in memory: a data set of up to `cached_groups * 64` records is read once.
    """

    def __init__(self, paths: Sequence[Path], cached_groups: int = 512) -> None:
        self.paths = [Path(p) for p in paths]
        self.cached_groups = cached_groups
        self._groups: list[tuple[int, int]] = []  # (shard, row group)
        starts = [0]
        for shard, path in enumerate(self.paths):
            metadata = _open(path).metadata
            for group in range(metadata.num_row_groups):
                self._groups.append((shard, group))
                starts.append(starts[-1] + metadata.row_group(group).num_rows)
        self._starts = np.array(starts)
        self._files: dict[int, pq.ParquetFile] = {}
        self._cache: OrderedDict[int, dict[str, list[Any]]] = OrderedDict()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, row: int) -> Complex:
        """Record number `row`, 0 <= row < len(self)."""
        if not 0 <= row < len(self):
            raise IndexError(f"record {row} of {len(self)}")
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        return decode(self._columns(group), row - int(self._starts[group]))

    def __iter__(self) -> Iterator[Complex]:
        for group in range(len(self._groups)):
            columns = self._columns(group)
            for i in range(len(columns["id"])):
                yield decode(columns, i)

    def index(self) -> dict[str, NDArray[Any]]:
        """The columns `INDEX_COLUMNS` of all records, each [len(self)], without reading any coordinates."""
        tables = [_open(path).read(columns=INDEX_COLUMNS, use_threads=False) for path in self.paths]
        table = pa.concat_tables(tables) if tables else SCHEMA.empty_table().select(INDEX_COLUMNS)
        # Through lists: the direct conversion imports pandas, which takes seconds.
        index: dict[str, NDArray[Any]] = {"id": np.array(table["id"].to_pylist(), dtype=object)}
        return index | {name: np.array(table[name].to_pylist(), dtype=np.int64) for name in INDEX_COLUMNS[1:]}

    def _columns(self, group: int) -> dict[str, list[Any]]:
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        shard, number = self._groups[group]
        if shard not in self._files:
            self._files[shard] = _open(self.paths[shard])
        columns = self._files[shard].read_row_group(number, use_threads=False).to_pydict()
        self._cache[group] = columns
        if len(self._cache) > self.cached_groups:
            self._cache.popitem(last=False)
        return columns

    def __getstate__(self) -> dict[str, Any]:
        # Open files and cached rows stay behind: a worker process opens its own.
        return self.__dict__ | {"_files": {}, "_cache": OrderedDict()}


def _open(path: Path) -> pq.ParquetFile:
    """A shard with the layout of this version; raises LigandsmithError for anything else."""
    try:
        file = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
    except FileNotFoundError:
        raise LigandsmithError(f"{path}: no such shard; prepare the data set again") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise LigandsmithError(f"{path}: not a readable Parquet shard ({str(error).splitlines()[0]})") from None
    if not file.schema_arrow.equals(SCHEMA, check_metadata=False):
        raise LigandsmithError(
            f"{path}: the columns are not those of format {FORMAT_VERSION}; prepare the data set again"
        )
    return file


def read_record(path: Path, row: int) -> Complex:
    """Record `row` of one shard file, reading no more than its row group."""
    return ShardReader([path], cached_groups=1).read(row)


def write_shards(
    folder: Path, prefix: str, records: Iterable[Complex | Rejection]
) -> tuple[list[str], list[Rejection]]:
    """Write all records; returns the ids written, in order, and all rejections, those passed in and the format's."""
    ids: list[str] = []
    rejections: list[Rejection] = []
    with ShardWriter(folder, prefix) as writer:
        for record in records:
            refused = record if isinstance(record, Rejection) else writer.add(record)
            if refused is None:
                ids.append(record.id)
            else:
                rejections.append(refused)
    return ids, rejections
