"""Folders of complexes -> a data set: shards, splits.json and manifest.json, the same for any number of workers.

`sequences.json` beside them holds the sequences of the chains that line each site, for splitting without homologs.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rdkit import rdBase

from ligandsmith.data.dataset import METADATA, SEQUENCES, Manifest, Split, write_manifest
from ligandsmith.data.destination import destination
from ligandsmith.data.layouts.registry import FOLDERS, pairs_of
from ligandsmith.data.object_store import NoSuchFile, StoredFile
from ligandsmith.data.properties import write_properties
from ligandsmith.data.shards import EncodedRecord, write_shards
from ligandsmith.data.sources import Pair, csv_rows
from ligandsmith.data.units import ReadComplex, Units, folder_of_units
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import is_uri, temporary_folder, write_csv, write_json
from ligandsmith.parallel.processes import map_in_processes
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.completeness import incompleteness
from ligandsmith.structure.files import complex_from, read_files
from ligandsmith.structure.pocket import site_sequences

log = logging.getLogger(__name__)

SPLIT_FILE = "split.csv"
UNIT_SIZE = 256
READING = "reading.json"  # what was read of each protein's file, by id


@dataclass(frozen=True)
class PrepareOptions:
    """How `prepare` reads its source."""

    workers: int = 1
    layout: str = FOLDERS  # of the source, a name of `LAYOUTS`
    source: str = ""  # written into every record; empty: the layout, if it is a published data set's
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
    in the protein file; with another `options.layout`, a published data set as it is unpacked. A CSV and its files may
    be named by URI. All records are for training unless a split file, or the source's own split, says otherwise. A bad
    record is a row of the manifest.
    Raises LigandsmithError, leaving nothing behind, if nothing could be read, `out` exists or the split file is wrong.
    """
    options = options or PrepareOptions()
    if options.layout != FOLDERS and not options.source:
        options = replace(options, source=options.layout)
    source = source if is_uri(source) else Path(source)
    pairs, rejections = pairs_of(source, options.layout)
    split_of = _read_split_file(source, options) or _own_split(pairs)
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
        _write_metadata(scratch, pairs, set(ids))
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
        files = read_files(protein, ligand, pair.id, pair.choice, options.allow_dropped)
        if isinstance(files, Rejection):
            return ReadComplex(files)
        record = complex_from(files.protein, files.mol, pair.id)
    missing = incompleteness(files.protein)
    parts = (files.protein.description(protein.name), missing and f"missing: {missing}", files.note)
    note = "; ".join(filter(None, parts))
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


def _own_split(pairs: Sequence[Pair]) -> dict[str, str] | None:
    """Split by id of a source that has one."""
    return {pair.id: pair.split for pair in pairs if pair.split} or None


def _write_metadata(folder: Path, pairs: Sequence[Pair], ids: set[str]) -> None:
    """What the source says of the records: `metadata.csv`, if it says anything."""
    rows: list[Mapping[str, str]] = [pair.metadata for pair in pairs if pair.id in ids]
    columns = dict.fromkeys(name for row in rows for name in row)
    if columns:
        table = [
            {"id": pair.id} | {name: pair.metadata.get(name, "") for name in columns}
            for pair in pairs
            if pair.id in ids
        ]
        write_csv(folder / METADATA, table)


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
    for line, row in csv_rows(path, ("id", "split")):
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
