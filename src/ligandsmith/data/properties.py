"""Properties of ligands that a denoiser can be asked for, kept in one file beside the shards of a data set."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rdkit import rdBase

from ligandsmith.data.shards import DATASET_KINDS, IDS, ShardReader, add_ids, shard_paths
from ligandsmith.errors import LigandsmithError, one_line
from ligandsmith.files import atomic_write
from ligandsmith.records import PROPERTIES, Ligand
from ligandsmith.structure.ligands import ligand_properties, mol_from_ligand

__all__ = ["FILE", "ligand_properties", "properties_at", "read_properties", "write_properties"]

FILE = "properties.parquet"
PROPERTIES_SCHEMA = pa.schema([("id", pa.string()), *((name, pa.float32()) for name in PROPERTIES)])


def write_properties(folder: Path) -> int:
    """Compute and store the properties of all ligands of a data set, next to its shards; returns their number."""
    digest, number = hashlib.sha256(), 0
    with (
        rdBase.BlockLogs(),
        atomic_write(Path(folder) / FILE) as part,
        pq.ParquetWriter(part, PROPERTIES_SCHEMA, write_page_checksum=True) as writer,
    ):
        for path in (path for kind in DATASET_KINDS for path in shard_paths(folder, kind)):
            found = [(record.id, _ligand_properties(record.ligand)) for record in ShardReader([path])]
            ids = [id for id, _ in found]
            columns = np.array([values for _, values in found], dtype=np.float32).reshape(-1, len(PROPERTIES)).T
            writer.write_table(pa.table([ids, *columns], schema=PROPERTIES_SCHEMA))
            add_ids(digest, ids)
            number += len(ids)
        writer.add_key_value_metadata({IDS: digest.hexdigest()})
    return number


def _ligand_properties(ligand: Ligand) -> NDArray[np.float32]:
    """Properties [3] of a ligand; NaN for one that RDKit cannot sanitise or compute them of."""
    try:
        return ligand_properties(mol_from_ligand(ligand))
    except (RuntimeError, ValueError):  # RDKit's errors of sanitisation are ValueErrors
        return np.full(len(PROPERTIES), np.nan, dtype=np.float32)


def read_properties(folder: Path, ids: Sequence[str]) -> NDArray[np.float32] | None:
    """Properties [n, 3] of the records with these ids, NaN where unknown; None for a data set without the file.
    Raises LigandsmithError for a damaged file."""
    path = Path(folder) / FILE
    if not path.exists():
        return None
    with _named_damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        known = _columns(file)
        row_of = {id: row for row, id in enumerate(file.read(["id"])["id"].to_pylist())}
    unknown = np.full((1, len(PROPERTIES)), np.nan, dtype=np.float32)
    return np.concatenate([known, unknown])[[row_of.get(id, -1) for id in ids]]


def properties_at(folder: Path, rows: NDArray[np.int64], listed: str) -> NDArray[np.float32] | None:
    """Properties [n, 3] of the records at `rows` of all shards, without looking for their ids; None where the file
    lists other records than those with the hash `listed` (see `add_ids`). Raises LigandsmithError for a damaged
    file."""
    path = Path(folder) / FILE
    with _named_damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        if (file.metadata.metadata or {}).get(IDS.encode(), b"").decode() != listed:
            return None
        return _columns(file)[rows]


def _columns(file: pq.ParquetFile) -> NDArray[np.float32]:
    return np.stack([file.read([name])[name].to_numpy().astype(np.float32) for name in PROPERTIES], 1)


@contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, pa.ArrowException) as error:
        raise LigandsmithError(
            f"{path}: damaged ({one_line(error)}); remove it, or run `ligandsmith properties`"
        ) from None
