"""The molecules of a job's folder, as columns: of the scores where there are some, else of the SDF that grows."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv
from rdkit import Chem, rdBase

from ligandsmith.chem.sdf import complete_records, data_fields
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.molecule_table import CHECK_PREFIX, TABLE_FILE, TEXT_COLUMNS
from ligandsmith.files import file_text
from ligandsmith.structure.ligands import with_line_feeds

LIGANDS_FILE, SCORED_FILE, SAMPLES_FILE, HISTORY_FILE = "ligands.sdf", "molecules.sdf", "samples.json", "history.csv"
INDEX = re.compile(r"^>[^\n]*<index>[^\n]*\n(\d{1,9})\s*$", flags=re.MULTILINE)
KEPT_FILES = 64  # that are held in memory
Version = tuple[int, int]


@dataclass(frozen=True, eq=False)
class JobTable:
    """One molecule a row. `values` has NaN where there is none; a name that is not there has none at all."""

    indices: NDArray[np.int64]  # [M], as in the SDF and in per_molecule.csv
    smiles: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Relation:
    """Where a molecule of an optimisation comes from."""

    index: int
    parents: tuple[int, ...]
    move: str
    round: int
    smiles: str
    chosen: bool
    score: float | None


def version(path: Path) -> Version | None:
    """Changes with the file; None without one."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def job_table(folder: Path, finished: bool) -> JobTable:
    """The molecules of a job. Of a finished one, the scores tell all; else those of the SDF count."""
    scores = _scores(folder / TABLE_FILE, version(folder / TABLE_FILE))
    if finished and scores is not None:
        return scores
    made = _made(folder / LIGANDS_FILE, version(folder / LIGANDS_FILE))
    return made if scores is None else _joined(made, scores)


def _joined(made: JobTable, scores: JobTable) -> JobTable:
    """Molecules with the scores that some of them have."""
    place = {int(index): row for row, index in enumerate(scores.indices)}
    rows = np.array([place.get(int(index), -1) for index in made.indices], dtype=np.int64)
    if not len(rows) or not place:
        return made
    values = {name: np.where(rows >= 0, column[rows], np.nan) for name, column in scores.values.items()}
    return JobTable(made.indices, made.smiles, {**made.values, **values})


@lru_cache(maxsize=KEPT_FILES)
def _scores(path: Path, _: Version | None) -> JobTable | None:
    """per_molecule.csv, without the molecules that were not obtained; None without a usable one."""
    if not path.is_file():
        return None
    texts = {name: pa.string() for name in TEXT_COLUMNS}
    options = arrow_csv.ConvertOptions(column_types=texts, strings_can_be_null=False)
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    try:
        table = arrow_csv.read_csv(path, convert_options=options, parse_options=parse)
        indices = np.array([int(text) for text in table["index"].to_pylist()], dtype=np.int64)
        smiles, reasons = table["smiles"].to_pylist(), table["reason"].to_pylist()
    except (OSError, ValueError, KeyError):  # being written, or a stranger's
        return None
    there = np.array([bool(text) and not reason for text, reason in zip(smiles, reasons, strict=True)], dtype=bool)
    kept = tuple(text for text, keep in zip(smiles, there, strict=True) if keep)
    values = {name: _numeric(table[name])[there] for name in table.column_names if name not in TEXT_COLUMNS}
    told = {n: v for n, v in values.items() if np.isfinite(v).any() or n.startswith(CHECK_PREFIX)}
    return JobTable(indices[there], kept, told)


def _numeric(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Numbers, 1 and 0 for truth values; NaN for what is missing, or is a text."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return np.full(len(column), np.nan)
    return np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


@lru_cache(maxsize=KEPT_FILES)
def _made(path: Path, _: Version | None) -> JobTable:
    """The molecules of an SDF that grows, by what its records say of them."""
    records = sdf_blocks(path, version(path))
    own = not path.parent.name.endswith("-import")
    found = [(index, smiles_of(text, own)) for index, text in records.items()]
    found = [(index, smiles) for index, smiles in found if smiles]
    indices = np.array([index for index, _ in found], dtype=np.int64)
    return JobTable(indices, tuple(smiles for _, smiles in found), {})


@lru_cache(maxsize=100_000)
def smiles_of(record: str, own: bool) -> str:
    """The SMILES that a record names, if a command of ours wrote it, else that of its molecule; empty where there is
    none."""
    text = data_fields(record).get("smiles", "").strip() if own else ""
    if text:
        return text
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(record)
    return "" if mol is None else str(Chem.MolToSmiles(mol))


@lru_cache(maxsize=KEPT_FILES)
def sdf_blocks(path: Path, _: Version | None) -> dict[int, str]:
    """The records of an SDF by index: the property of this name if all have another one, else their order from 0."""
    try:
        text = with_line_feeds(file_text(path, errors="replace"))
    except OSError:
        return {}
    records = complete_records(text)
    stated = [int(match[1]) if (match := INDEX.search(record)) else -1 for record in records]
    named = -1 not in stated and len(set(stated)) == len(stated)
    return dict(zip(stated if named else range(len(records)), records, strict=True))


def record(folder: Path, index: int) -> str:
    """The SDF record of a molecule, as the command wrote it. Raises KeyError."""
    for name in (LIGANDS_FILE, SCORED_FILE):
        records = sdf_blocks(folder / name, version(folder / name))
        if index in records:
            return records[index]
    raise KeyError(index)


def relations(folder: Path) -> Sequence[Relation]:
    """The family of an optimisation, all ligands of it; empty for any other job. Raises LigandsmithError."""
    path = folder / HISTORY_FILE
    return _relations(path, version(path))


@lru_cache(maxsize=KEPT_FILES)
def _relations(path: Path, _: Version | None) -> Sequence[Relation]:
    if not path.is_file():
        return ()
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return tuple(_relation(row) for row in csv.DictReader(stream))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LigandsmithError(f"{path.name} of this job cannot be used: {error}") from None


def _relation(row: dict[str, Any]) -> Relation:
    parents = tuple(int(text) for text in row["parents"].split(";") if text)
    score = float(row["score"]) if row.get("score") else None
    return Relation(
        int(row["index"]), parents, row["move"], int(row["round"]), row["smiles"], row.get("chosen") == "1", score
    )
