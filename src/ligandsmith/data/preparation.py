"""Folders of complexes -> a data set: shards, splits.json and manifest.json, the same for any number of workers.

`sequences.json` beside them holds the sequences of the chains that line each site, for splitting without homologs.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rdkit import rdBase

from ligandsmith.data.dataset import SEQUENCES, Manifest, Split, write_manifest
from ligandsmith.data.destination import destination
from ligandsmith.data.object_store import NoSuchFile, StoredFile
from ligandsmith.data.properties import write_properties
from ligandsmith.data.shards import EncodedRecord, write_shards
from ligandsmith.data.units import ReadComplex, Units, folder_of_units
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import csv_content, is_uri, temporary_folder, write_json
from ligandsmith.parallel.processes import map_in_processes
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.files import PROTEIN_SUFFIXES, complex_from, read_files
from ligandsmith.structure.ligands import LIGAND_SUFFIXES, suffix
from ligandsmith.structure.pocket import site_sequences

log = logging.getLogger(__name__)

SPLIT_FILE = "split.csv"
UNIT_SIZE = 256
READING = "reading.json"  # what was read of each protein's file, by id
PROTEIN_ENDING = re.compile(r"_(protein|pocket|receptor|rec)\Z", re.IGNORECASE)
LIGAND_ENDING = re.compile(r"_(ligand|lig)\Z", re.IGNORECASE)
LIGAND_NAME = re.compile(r"(^|[_.-])(ligand|lig)\Z", re.IGNORECASE)  # of a PDB file that is one
PREFERRED_PROTEINS = ("protein", "receptor", "pocket")  # where a folder has several structures


@dataclass(frozen=True)
class Pair:
    """The files of one complex."""

    id: str
    protein: Path | StoredFile
    ligand: Path | StoredFile
    smiles: str = ""  # of the ligand, for files without bond orders
    het: str = ""  # the ligand is this molecule of the protein file, which is then `ligand`, too


@dataclass(frozen=True)
class PrepareOptions:
    """How `prepare` reads its source."""

    workers: int = 1
    source: str = ""  # written into every record
    licence: str = ""
    allow_dropped: bool = False  # see `read_protein`
    split_file: Path | None = None  # CSV of id,split; None: `split.csv` in the source folder if there is one
    overwrite: bool = False  # replace a data set
    engine: str = "local"  # with "ray", in units that an interrupted run keeps
    unit_size: int = UNIT_SIZE  # complexes of a unit


def prepare(source: Path | str, out: Path | str, options: PrepareOptions | None = None) -> Manifest:
    """Read every complex of `source` and write the data set `out`, a folder or the URI of a prefix.

    `source` is a folder with a folder per complex, a folder of files paired by name, or a CSV with the columns id,
    protein, ligand and, for ligands in PDB files, smiles (paths relative to the CSV); het instead of ligand names one
    in the protein file. A CSV and its files may be named by URI. All records are for training unless a split file says
    otherwise. A bad record is a row of the manifest.
    Raises LigandsmithError, leaving nothing behind, if nothing could be read, `out` exists or the split file is wrong.
    """
    options = options or PrepareOptions()
    source = source if is_uri(source) else Path(source)
    pairs, rejections = find_pairs(source)
    split_of = _read_split_file(source, options)
    with destination(out, options.overwrite) as scratch:
        sequences: dict[str, tuple[str, ...]] = {}
        notes: dict[str, str] = {}
        read = partial(read_pair, options=options)
        units = Units(folder_of_units(out), options.engine, options.workers, options.unit_size)
        if options.engine == "local":
            results = map_in_processes(read, pairs, options.workers, lambda pair: pair.id)
        else:
            units.claim(_identity(pairs, options), options.overwrite)
            results = units.results(read, pairs)
        ids, refused = write_shards(scratch, "complexes", _records(results, sequences, notes))
        if not ids:
            why = "; ".join(f"{r.id}: {r.reason} ({r.detail})" for r in [*rejections, *refused][:3])
            raise LigandsmithError(f"{source}: none of {len(pairs) + len(rejections)} complexes could be used: {why}")
        splits, unsplit = _assign(ids, split_of)
        write_json(scratch / SEQUENCES, {id: sequences[id] for id in ids})
        write_json(scratch / READING, notes)
        write_properties(scratch)
        manifest = write_manifest(scratch, splits, [*rejections, *refused, *unsplit])
    if options.engine != "local":
        units.clear()
    log.info("%s: %s; rejected: %s", out, manifest.counts, manifest.rejection_counts() or "none")
    return manifest


def _identity(pairs: Sequence[Pair], options: PrepareOptions) -> dict[str, Any]:
    """What decides the records: the sources, with size and time of files of this machine, and the options."""
    sources = hashlib.sha256()
    for pair in pairs:
        files = [place for place in (pair.protein, pair.ligand) if isinstance(place, Path) and place.is_file()]
        stamps = [(stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, files)]
        sources.update(f"{pair}{stamps}\n".encode())
    return {"sources": sources.hexdigest(), "allow_dropped": options.allow_dropped, "licence": options.licence,
            "source": options.source}  # fmt: skip


def find_pairs(source: Path | str) -> tuple[list[Pair], list[Rejection]]:
    """The complexes of a source, sorted by id (a CSV keeps its order), and those that lack a file or repeat an id."""
    if isinstance(source, str) and is_uri(source):
        pairs, rejections = _pairs_of_stored_csv(StoredFile(source))
    elif (source := Path(source)).is_file():
        if source.suffix.lower() != ".csv":
            raise LigandsmithError(
                f"{source}: give a folder of complexes or a CSV with the columns id, protein, ligand"
            )
        pairs, rejections = _pairs_of_csv(source)
    elif source.is_dir():
        folders = sorted(p for p in source.iterdir() if p.is_dir() and not p.name.startswith("."))
        found = [*map(_pair_of_folder, folders), *_pairs_of_flat_folder(source)]
        pairs = sorted((p for p in found if isinstance(p, Pair)), key=lambda pair: pair.id)
        rejections = sorted((r for r in found if isinstance(r, Rejection)), key=lambda rejection: rejection.id)
    else:
        raise LigandsmithError(f"{source}: no such folder or CSV file")
    if not pairs and not rejections:
        raise LigandsmithError(
            f"{source}: no complexes found; expected ID/*.pdb with ID/*.sdf, x_protein.pdb with x_ligand.sdf, or a CSV"
        )
    first: dict[str, Pair] = {}
    for pair in pairs:
        kept = first.setdefault(pair.id, pair)
        if kept is not pair:
            rejections.append(Rejection(pair.id, "duplicate id", f"{pair.ligand}; {kept.ligand} was kept"))
    return list(first.values()), rejections


def structure_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder whose names end in one of `suffixes`, gzipped or not, by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".") and suffix(p) in suffixes)


def file_stem(path: Path) -> str:
    """The file name without `.gz` and its extension."""
    return Path(path.name[:-3] if path.name.lower().endswith(".gz") else path.name).stem


def preferred_protein(paths: Sequence[Path]) -> Path:
    """Of several structures of one complex, the whole protein rather than a pocket cut from it."""

    def preference(path: Path) -> tuple[int, str]:
        ranks = [i for i, word in enumerate(PREFERRED_PROTEINS) if word in file_stem(path).lower()]
        return min(ranks, default=len(PREFERRED_PROTEINS)), path.name

    return min(paths, key=preference)


def _pair_of_folder(folder: Path) -> Pair | Rejection:
    """The complex of a folder of its own. The whole protein is preferred to a pocket cut from it."""
    proteins, ligands = _structures_and_ligands(folder)
    if not proteins or not ligands:
        missing = "protein (*.pdb, *.cif)" if not proteins else "ligand (*.sdf, *.mol2, *_ligand.pdb)"
        return Rejection(folder.name, "missing file", f"{folder}: no {missing}")
    protein = preferred_protein(proteins)
    named = [p for p in ligands if "lig" in file_stem(p).lower()] or ligands
    if len({file_stem(p) for p in named}) > 1:
        names = ", ".join(p.name for p in named)
        return Rejection(folder.name, "ambiguous ligand", f"{folder}: {names}; keep one or name the pairs in a CSV")
    return Pair(folder.name, protein, named[0])


def _structures_and_ligands(folder: Path) -> tuple[list[Path], list[Path]]:
    """Protein files and ligand files of a folder, the latter by preference of their format, SDF first.

    PDB and mmCIF files named as ligands (x_ligand.pdb, lig.pdb) count as such, after all files with bond orders.
    """
    structures = structure_files(folder, PROTEIN_SUFFIXES)
    named = [path for path in structures if LIGAND_NAME.search(file_stem(path))]
    with_orders = structure_files(folder, LIGAND_SUFFIXES)
    with_orders.sort(key=lambda path: LIGAND_SUFFIXES.index(suffix(path)))
    return [path for path in structures if path not in named], with_orders + named


def _pairs_of_flat_folder(folder: Path) -> list[Pair | Rejection]:
    """Files of one folder paired by name: x_protein.pdb with x_ligand.sdf, or x.pdb with x.sdf."""
    proteins, ligands = (
        # reversed: of several files of one name the first counts
        {ending.sub("", file_stem(path)): path for path in reversed(paths)}
        for paths, ending in zip(_structures_and_ligands(folder), (PROTEIN_ENDING, LIGAND_ENDING), strict=True)
    )
    found: list[Pair | Rejection] = []
    for id in sorted({*proteins, *ligands}):
        if id in proteins and id in ligands:
            found.append(Pair(id, proteins[id], ligands[id]))
        else:
            there, missing = (proteins[id], "ligand") if id in proteins else (ligands[id], "protein")
            found.append(Rejection(id, "missing file", f"{there}: no {missing} of the same name"))
    return found


def _pairs_of_stored_csv(source: StoredFile) -> tuple[list[Pair], list[Rejection]]:
    if suffix(Path(source.name)) != ".csv":
        raise LigandsmithError(
            f"{source}: give a CSV with the columns id, protein, ligand; folders there are not listed"
        )
    with temporary_folder() as folder:
        source.download(folder / source.name)
        return _pairs_of_csv(folder / source.name, source.parent())


def _pairs_of_csv(path: Path, base: StoredFile | None = None) -> tuple[list[Pair], list[Rejection]]:
    """The rows of a CSV; its cells name files by URI, or relative to `base` (by default the folder of the CSV)."""

    def place(cell: str) -> Path | StoredFile:
        if is_uri(cell):
            return StoredFile(cell)
        return path.parent / cell if base is None else base.child(cell)

    pairs, rejections = [], []
    for line, row in _csv_rows(path, ("id", "protein", "ligand")):
        het = row.get("het", "")
        if not all((row.get("id"), row.get("protein"), row.get("ligand") or het)):
            rejections.append(Rejection(row.get("id") or f"line {line}", "incomplete row", f"{path}: line {line}"))
        else:
            protein, ligand = row["protein"], row.get("ligand")
            pairs.append(
                Pair(row["id"], place(protein), place(ligand or protein), row.get("smiles", ""), "" if ligand else het)
            )
    return pairs, rejections


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and stripped fields of each row. Raises LigandsmithError if a column is missing."""
    try:
        found, rows = csv_content(path)
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"{path}: not a readable CSV file ({error})") from None
    if missing := [c for c in columns if c not in found and not (c == "ligand" and "het" in found)]:
        raise LigandsmithError(f"{path}: line 1: no column {', '.join(missing)}; needed: {', '.join(columns)}")
    for line, row in rows:
        yield line, {name: cell.strip() for name, cell in row.items()}


def read_pair(pair: Pair, options: PrepareOptions) -> ReadComplex:
    """What the files of one complex hold, or why they cannot be used. Raises LigandsmithError for a store that does not
    answer."""
    try:
        with ExitStack() as copies:
            protein, ligand = (_local_file(place, copies) for place in (pair.protein, pair.ligand))
            return _read_files_of(pair, protein, ligand, options)
    except NoSuchFile as error:
        return ReadComplex(Rejection(pair.id, "missing file", str(error)))


def _local_file(place: Path | StoredFile, copies: ExitStack) -> Path:
    """The file itself, or a copy of one that is on a store, as long as `copies` is open. Raises NoSuchFile."""
    if isinstance(place, Path):
        return place
    path = copies.enter_context(temporary_folder()) / place.name
    place.download(path)
    return path


def _read_files_of(pair: Pair, protein: Path, ligand: Path, options: PrepareOptions) -> ReadComplex:
    with rdBase.BlockLogs():
        files = read_files(protein, ligand, pair.id, pair.smiles, pair.het, options.allow_dropped)
        if isinstance(files, Rejection):
            return ReadComplex(files)
        record = complex_from(files.protein, files.mol, pair.id)
    note = "; ".join(filter(None, (files.protein.description(protein.name), files.note)))
    if isinstance(record, Rejection):
        return ReadComplex(record, (), note)
    record = replace(record, source=options.source, licence=options.licence)
    return ReadComplex(record, site_sequences(files.protein, record.ligand.x), note)


def _records(
    results: Iterator[ReadComplex], sequences: dict[str, tuple[str, ...]], notes: dict[str, str]
) -> Iterator[Complex | EncodedRecord | Rejection]:
    """The records alone; adds by id the sequences at their sites, and what was read of their files, which is said."""
    for read in results:
        record, found, note = read
        id = record["id"] if isinstance(record, dict) else record.id
        sequences[id] = found
        if note:
            notes[id] = note
            log.info("%s: %s", id, note)
        yield record


def _read_split_file(source: Path | str, options: PrepareOptions) -> dict[str, str] | None:
    """Split by id, or None where no file says so."""
    path = options.split_file
    if path is None and isinstance(source, str):
        return None
    if path is None:
        path = (Path(source) if Path(source).is_dir() else Path(source).parent) / SPLIT_FILE
        if not path.is_file() or path == source:
            return None
    split_of: dict[str, str] = {}
    for line, row in _csv_rows(path, ("id", "split")):
        if row["split"] not in list(Split):
            raise LigandsmithError(f"{path}: line {line}: no split {row['split']!r}; use {', '.join(Split)}")
        if split_of.setdefault(row["id"], row["split"]) != row["split"]:
            raise LigandsmithError(
                f"{path}: line {line}: {row['id']} is in {split_of[row['id']]} as well; give it one split"
            )
    return split_of


def _assign(ids: Sequence[str], split_of: dict[str, str] | None) -> tuple[dict[str, list[str]], list[Rejection]]:
    """Ids by split; an id that the split file does not name is in no split and is reported."""
    if split_of is None:
        return {str(Split.TRAIN): list(ids)}, []
    splits = {str(split): [id for id in ids if split_of.get(id) == split] for split in Split}
    unsplit = [Rejection(id, "not in the split file", "stored, but in no split") for id in ids if id not in split_of]
    return splits, unsplit
