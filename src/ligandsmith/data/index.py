"""The index of a data set: split and sizes of each record in one file beside the shards, so that a data set of any size
opens without its records and without their ids.

A row is a record, in the order of the shards. What the index was made of is in its metadata; where that has changed, or
there is no index, `splits.json` and the shards are read instead.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ligandsmith.data.shards import DATASET_KINDS, IDS, DatasetKind, add_ids, index_of_shard, shard_paths
from ligandsmith.files import atomic_write, file_hash

INDEX_FILE = "index.parquet"
MADE_OF, SHARD_ROWS = "ligandsmith_made_of", "ligandsmith_shard_rows"
NAMED_IDS = "ligandsmith_named"  # number of ids in each split, with and without a record
NO_SPLIT = -1
INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("num_ligand", pa.int32(), nullable=False),
        pa.field("num_pocket", pa.int32(), nullable=False),
        pa.field("split", pa.int8(), nullable=False),  # its number in the metadata `NAMED_IDS`
        pa.field("place", pa.int32(), nullable=False),  # in the list of its split
    ]
)


class SplitRecords(NamedTuple):
    """The records of one kind in one split, in the order of `splits.json`: eight bytes each."""

    rows: NDArray[np.int32]  # [n] in the shards of the kind, taken together
    num_ligand: NDArray[np.uint16]  # [n] heavy atoms
    num_pocket: NDArray[np.uint16]  # [n], 0 without a pocket
    shard_rows: tuple[int, ...]  # records of each shard of the kind
    named: int  # ids of the split, whatever records they have
    offset: int = 0  # records of other kinds, which come before in the index
    listed: str = ""  # hash of the ids of all records (see `add_ids`); empty where there is no index

    def shard_starts(self) -> NDArray[np.int64]:
        """The first record of each shard, in the order of the split; that of all where shards are not in order."""
        if (np.diff(self.rows) < 0).any():
            return np.zeros(1, dtype=np.int64)
        return np.unique(np.searchsorted(self.rows, np.cumsum([0, *self.shard_rows[:-1]])))


def write_index(folder: Path, splits: Mapping[str, Sequence[str]], made_of: str) -> None:
    """Write the index of the shards of a folder. `made_of`: see `fingerprint_of`."""
    places = {id: (number, i) for number, ids in enumerate(splits.values()) for i, id in enumerate(ids)}
    rows: dict[str, int] = {}
    digest = hashlib.sha256()
    with (
        atomic_write(folder / INDEX_FILE) as part,
        pq.ParquetWriter(
            part, INDEX_SCHEMA, compression="zstd", use_dictionary=False, write_page_checksum=True
        ) as writer,
    ):
        for path in (path for kind in DATASET_KINDS for path in shard_paths(folder, kind)):  # a row group for each
            table = index_of_shard(path)
            ids = table["id"].to_pylist()
            found = [places.get(id, (NO_SPLIT, 0)) for id in ids]
            columns = [table[name] for name in ("id", "num_ligand", "num_pocket")]
            columns += [pa.array([pair[i] for pair in found], INDEX_SCHEMA.types[i + 3]) for i in (0, 1)]
            writer.write_table(pa.table(columns, schema=INDEX_SCHEMA), row_group_size=max(len(ids), 1))
            rows[path.name] = table.num_rows
            add_ids(digest, ids)
        named = {split: len(ids) for split, ids in splits.items()}
        facts = {MADE_OF: made_of, SHARD_ROWS: json.dumps(rows), NAMED_IDS: json.dumps(named), IDS: digest.hexdigest()}
        writer.add_key_value_metadata(facts)


def fingerprint_of(shards: Mapping[str, str], splits: Path) -> str:
    """What an index is made of: the hashes of the shards and of `splits.json`."""
    return hashlib.sha256(json.dumps([sorted(shards.items()), file_hash(splits)]).encode()).hexdigest()


def read_index(folder: Path, kind: DatasetKind, split: str, made_of: str) -> SplitRecords | None:
    """The records of a kind in a split; None without a readable index that was made of `made_of`."""
    try:
        with pq.ParquetFile(folder / INDEX_FILE, page_checksum_verification=True) as file:
            facts = file.metadata.metadata or {}
            if facts.get(MADE_OF.encode()) != made_of.encode():
                return None
            rows, named = (json.loads(facts[name.encode()]) for name in (SHARD_ROWS, NAMED_IDS))
            found = _records_of(file, rows, list(named), (kind, split), named.get(split, 0))
            return found._replace(listed=facts[IDS.encode()].decode())
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None


def _records_of(
    file: pq.ParquetFile, shard_rows: Mapping[str, int], splits: list[str], wanted: tuple[str, str], named: int
) -> SplitRecords:
    """Row group after row group, so that no more than a shard's rows are in memory as a table."""
    kind, split = wanted
    number = splits.index(split) if split in splits else None
    own = [name.startswith(f"{kind}-") for name in shard_rows]
    counts = list(shard_rows.values())
    most = sum(np.compress(own, counts).tolist())
    columns = tuple(np.empty(most, dtype=dtype) for dtype in (np.int32, np.uint16, np.uint16, np.int32))
    first, found = 0, 0
    for group in np.flatnonzero(own).tolist():
        table = file.read_row_group(group, ["num_ligand", "num_pocket", "split", "place"], use_threads=False)
        ligand, pocket, of_split, place = (column.combine_chunks().to_numpy() for column in table.columns)
        members = np.flatnonzero(of_split == number)
        values = (members + first, compact_sizes(ligand[members]), compact_sizes(pocket[members]), place[members])
        for column, value in zip(columns, values, strict=True):
            column[found : found + len(members)] = value
        first, found = first + table.num_rows, found + len(members)
    rows, ligands, pockets = _in_order(*(column[:found] for column in columns))
    before = sum(counts[: own.index(True)]) if most else 0
    return SplitRecords(rows, ligands, pockets, tuple(np.compress(own, counts).tolist()), named, before)


def compact_sizes(numbers: NDArray[Any]) -> NDArray[np.uint16]:
    """Numbers of atoms in two bytes each."""
    return np.minimum(numbers, np.iinfo(np.uint16).max).astype(np.uint16)


def _in_order(*columns: NDArray[Any]) -> list[NDArray[Any]]:
    """Columns in the order of the last one, the places, without it."""
    *values, place = columns
    if (np.diff(place) < 0).any():
        order = np.argsort(place, kind="stable")
        return [value[order] for value in values]
    return [value.copy() for value in values]  # not a view of what was made for all splits


def indexed_ids(folder: Path, rows: NDArray[np.int64]) -> list[str]:
    """The ids of the records at these rows of a readable index."""
    ids: list[str] = pq.read_table(folder / INDEX_FILE, columns=["id"])["id"].take(pa.array(rows)).to_pylist()
    return ids
