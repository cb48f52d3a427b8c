"""Properties of ligands that a denoiser can be asked for, kept in one file beside the shards of a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rdkit import rdBase

from ligandsmith.data.shards import DATASET_KINDS, ShardReader, shard_paths
from ligandsmith.errors import LigandsmithError, one_line
from ligandsmith.files import atomic_write
from ligandsmith.records import PROPERTIES, Ligand
from ligandsmith.structure.ligands import ligand_properties, mol_from_ligand

__all__ = ["FILE", "ligand_properties", "read_properties", "write_properties"]

FILE = "properties.parquet"


def write_properties(folder: Path) -> int:
    """Compute and store the properties of all ligands of a data set, next to its shards; returns their number."""
    reader = ShardReader([path for kind in DATASET_KINDS for path in shard_paths(folder, kind)])
    with rdBase.BlockLogs():
        found = [(record.id, _ligand_properties(record.ligand)) for record in reader]
    columns = np.array([values for _, values in found], dtype=np.float32).reshape(-1, len(PROPERTIES)).T
    table = pa.table({"id": [id for id, _ in found], **dict(zip(PROPERTIES, columns, strict=True))})
    with atomic_write(Path(folder) / FILE) as part:
        pq.write_table(table, part)
    return len(found)


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
    try:
        table = pq.read_table(path, columns=["id", *PROPERTIES])
        known = np.stack([table[name].to_numpy() for name in PROPERTIES], 1).astype(np.float32)
        row_of = {id: row for row, id in enumerate(table["id"].to_pylist())}
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise LigandsmithError(
            f"{path}: damaged ({one_line(error)}); remove it, or run `ligandsmith properties`"
        ) from None
    unknown = np.full((1, len(PROPERTIES)), np.nan, dtype=np.float32)
    return np.concatenate([known, unknown])[[row_of.get(id, -1) for id in ids]]
