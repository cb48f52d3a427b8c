"""PLINDER (2024-06/v2) as it is unpacked: systems/SYSTEM/receptor.cif and systems/SYSTEM/ligand_files/CHAIN.sdf.

`index/annotation_table.parquet` tells ions and artifacts from ligands, and has affinity, resolution and year;
`splits/split.parquet` has the split. Both may be missing: then all ligands are taken, and all records are for training.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ligandsmith.data.dataset import Split
from ligandsmith.data.sources import Pair, pairs_and_rejections
from ligandsmith.errors import LigandsmithError, one_line
from ligandsmith.records import Rejection

INDEX_FILE, SPLITS_FILE = "index/annotation_table.parquet", "splits/split.parquet"
RECEPTORS = ("receptor.cif", "receptor.pdb")  # the latter has other names of chains
SPLIT_NAMES = {"train": Split.TRAIN, "val": Split.VALIDATION, "test": Split.TEST}
NOT_PROPER = ("ligand_is_ion", "ligand_is_artifact")
log = logging.getLogger("ligandsmith")
_Annotation = Mapping[str, Any]


def plinder_pairs(source: Path) -> tuple[list[Pair], list[Rejection]]:
    """The proper ligands of the systems, sorted; those that the split removes are counted in the log."""
    systems = source / "systems"
    folders = sorted(path for path in systems.iterdir() if path.is_dir()) if systems.is_dir() else []
    if not folders:
        zipped = list(systems.glob("*.zip"))
        what = "unpack the zip files in it" if zipped else "expected systems/SYSTEM/receptor.cif"
        raise LigandsmithError(f"{systems}: no folder of a PLINDER system; {what}")
    annotations = _annotations(source / INDEX_FILE, [folder.name for folder in folders])
    split_of = _split_of(source / SPLITS_FILE)
    found: list[Pair | Rejection] = []
    removed = 0
    for folder in folders:
        split = "" if split_of is None else SPLIT_NAMES.get(split_of.get(folder.name, ""), "")
        if split_of is not None and not split:
            removed += 1
        else:
            found += _of_system(folder, annotations, str(split))
    if removed:
        log.info("%s: %d systems are in no split (removed by its authors) and are passed over", source, removed)
    return pairs_and_rejections(found)


def _of_system(
    folder: Path, annotations: Mapping[tuple[str, str], _Annotation] | None, split: str
) -> Iterable[Pair | Rejection]:
    """The proper ligands of a system. If there is one, its record has the name of the system."""
    ligands = sorted((folder / "ligand_files").glob("*.sdf"))
    receptor = next((folder / name for name in RECEPTORS if (folder / name).is_file()), None)
    if receptor is None or not ligands:
        missing = "receptor.cif or receptor.pdb" if receptor is None else "ligand_files/*.sdf"
        return [Rejection(folder.name, "missing file", f"{folder}: no {missing}")]
    known = {path: (annotations or {}).get((folder.name, path.stem), {}) for path in ligands}
    if annotations is not None:
        proper = [path for path in ligands if known[path] and not any(known[path].get(name) for name in NOT_PROPER)]
        if not proper:
            return [Rejection(folder.name, "no proper ligand", "the index has only ions and artifacts, or nothing")]
        ligands = proper
    return [
        Pair(
            folder.name if len(ligands) == 1 else f"{folder.name}__{path.stem}",
            receptor, path, split=split, metadata=_columns(known[path]),
        )
        for path in ligands
    ]  # fmt: skip


def _columns(row: _Annotation) -> dict[str, str]:
    """The columns of `metadata.csv`."""
    if not row:
        return {}
    values = {
        "affinity": row.get("ligand_binding_affinity"),
        "resolution": row.get("entry_resolution"),
        "year": str(row.get("entry_release_date") or "")[:4],
        "ligand": row.get("ligand_ccd_code"),
    }
    return {name: f"{v:.4g}" if isinstance(v, float) else str(v or "") for name, v in values.items()}


def _annotations(path: Path, systems: list[str]) -> dict[tuple[str, str], _Annotation] | None:
    """Rows of the index by system and ligand chain; None where there is no index."""
    wanted = (
        "system_id", "ligand_instance_chain", "ligand_instance", "ligand_asym_id", *NOT_PROPER, "ligand_ccd_code",
        "ligand_binding_affinity", "entry_resolution", "entry_release_date",
    )  # fmt: skip
    rows = _rows(path, wanted, [("system_id", "in", systems)])
    return None if rows is None else {(str(row["system_id"]), _chain(row)): row for row in rows}


def _chain(row: _Annotation) -> str:
    """Name of a ligand's chain, which its SDF file has, too: `1.C`."""
    return str(row.get("ligand_instance_chain") or f"{row.get('ligand_instance')}.{row.get('ligand_asym_id')}")


def _split_of(path: Path) -> dict[str, str] | None:
    rows = _rows(path, ("system_id", "split"))
    return None if rows is None else {str(row["system_id"]): str(row["split"]) for row in rows}


def _rows(path: Path, columns: Iterable[str], filters: Any = None) -> list[_Annotation] | None:
    """Rows of a Parquet file with those of the columns that it has; None without the file."""
    if not path.is_file():
        return None
    try:
        there = pq.read_schema(path).names
        if "system_id" not in there:
            raise LigandsmithError(f"{path}: no column system_id; is it PLINDER's?")
        table = pq.read_table(path, columns=[name for name in columns if name in there], filters=filters)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise LigandsmithError(f"{path}: not a readable Parquet file ({one_line(error)[:120]})") from None
    rows: list[_Annotation] = table.to_pylist()
    return rows
