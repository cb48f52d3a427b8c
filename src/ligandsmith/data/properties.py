"""Properties of ligands that a denoiser can be asked for, kept in one file beside the shards of a data set."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import QED, rdMolDescriptors

from ligandsmith.data.shards import ShardReader
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import atomic_write
from ligandsmith.structure.ligands import mol_from_ligand

FILE = "properties.parquet"


class Scale(NamedTuple):
    """A property among drug-like ligands."""

    mean: float
    sd: float
    low: float  # values that can be asked for
    high: float


PROPERTIES = {  # SA is the normalised score, 1 the easiest to make (Ertl and Schuffenhauer 2009)
    "qed": Scale(0.55, 0.2, 0.0, 1.0),
    "sa": Scale(0.75, 0.1, 0.0, 1.0),
    "logp": Scale(2.5, 1.8, -6.0, 10.0),
}


def ligand_properties(mol: Chem.Mol) -> NDArray[np.float32]:
    """QED, normalised SA score and Crippen logP of a sanitised molecule, [3]; NaN for one that RDKit cannot compute."""
    from rdkit.Contrib.SA_Score import sascorer  # noqa: PLC0415 (loads its table of fragments)

    try:
        sa = (10 - sascorer.calculateScore(mol)) / 9
        logp, _ = rdMolDescriptors.CalcCrippenDescriptors(mol)
        return np.array([QED.qed(mol), sa, logp], dtype=np.float32)
    except (RuntimeError, ValueError):
        return np.full(len(PROPERTIES), np.nan, dtype=np.float32)


def write_properties(folder: Path, shards: Sequence[Path]) -> int:
    """Compute the properties of all ligands of some shards and write them into `folder`; returns how many there are."""
    ids: list[str] = []
    values: list[NDArray[np.float32]] = []
    with rdBase.BlockLogs():
        for id, row in _computed(shards):
            ids.append(id)
            values.append(row)
    columns = np.stack(values) if values else np.empty((0, len(PROPERTIES)), np.float32)
    table = pa.table({"id": ids, **{name: columns[:, i] for i, name in enumerate(PROPERTIES)}})
    with atomic_write(Path(folder) / FILE) as part:
        pq.write_table(table, part)
    return len(ids)


def _computed(shards: Sequence[Path]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    reader = ShardReader(shards)
    for i, id in enumerate(reader.index()["id"]):
        try:
            mol = mol_from_ligand(reader[i].ligand)
        except (RuntimeError, ValueError):  # RDKit's errors of sanitisation are ValueErrors
            yield str(id), np.full(len(PROPERTIES), np.nan, dtype=np.float32)
        else:
            yield str(id), ligand_properties(mol)


def read_properties(folder: Path, ids: NDArray[np.str_]) -> NDArray[np.float32] | None:
    """Properties [n, 3] of the records with these ids, NaN where unknown; None for a data set without the file.
    Raises LigandsmithError for a damaged file."""
    path = Path(folder) / FILE
    if not path.exists():
        return None
    try:
        table = pq.read_table(path, columns=["id", *PROPERTIES])
        known = np.stack([table[name].to_numpy() for name in PROPERTIES], 1).astype(np.float32)
        stored = table["id"].to_numpy(zero_copy_only=False).astype(str)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise LigandsmithError(f"{path}: damaged ({error}); remove it, or run `ligandsmith properties`") from None
    values = np.full((len(ids), len(PROPERTIES)), np.nan, dtype=np.float32)
    if not len(stored):
        return values
    order = np.argsort(stored)
    place = order[np.minimum(np.searchsorted(stored, ids, sorter=order), len(stored) - 1)]
    found = stored[place] == ids
    values[found] = known[place[found]]
    return values
