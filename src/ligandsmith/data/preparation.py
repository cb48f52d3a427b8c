"""Folders of complexes -> a data set: shards, splits.json and manifest.json, the same for any number of workers.

`sequences.json` beside them holds the sequences of the chains that line each site, for splitting without homologs.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rdkit import rdBase

from ligandsmith.data.dataset import METADATA, SEQUENCES, Manifest, Split, scratch_folder, write_manifest
from ligandsmith.data.layouts.registry import FOLDERS, pairs_of
from ligandsmith.data.properties import write_properties
from ligandsmith.data.shards import write_shards
from ligandsmith.data.sources import Pair, csv_rows
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import write_csv, write_json
from ligandsmith.parallel.processes import map_in_processes
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.completeness import incompleteness
from ligandsmith.structure.files import complex_from, read_files
from ligandsmith.structure.pocket import site_sequences

log = logging.getLogger(__name__)
SPLIT_FILE = "split.csv"
READING = "reading.json"  # what was read of each protein's file, by id


class _Read(NamedTuple):
    """A record, the sequences at its site, and a line on what was read of its files."""

    record: Complex | Rejection
    sequences: tuple[str, ...] = ()
    note: str = ""


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


def prepare(source: Path, out: Path, options: PrepareOptions | None = None) -> Manifest:
    """Read every complex of `source` and write the data set folder `out`.

    `source` is a folder with a folder per complex, a folder of files paired by name, or a CSV with the columns id,
    protein, ligand and, for ligands in PDB files, smiles (paths relative to the CSV); het instead of ligand names one
    in the protein file; with another `options.layout`, a published data set as it is unpacked. All records are for
    training unless a split file, or the source's own split, says otherwise. A bad record is a row of the manifest.
    Raises LigandsmithError, leaving nothing behind, if nothing could be read, `out` exists or the split file is wrong.
    """
    options = options or PrepareOptions()
    if options.layout != FOLDERS and not options.source:
        options = replace(options, source=options.layout)
    source, out = Path(source), Path(out)
    pairs, rejections = pairs_of(source, options.layout)
    split_of = _read_split_file(source, options) or _own_split(pairs)
    with scratch_folder(out, options.overwrite) as scratch:
        sequences: dict[str, tuple[str, ...]] = {}
        notes: dict[str, str] = {}
        read = partial(_read_pair, options=options)
        results = map_in_processes(read, pairs, options.workers, lambda pair: pair.id)
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
    log.info("%s: %s; rejected: %s", out, manifest.counts, manifest.rejection_counts() or "none")
    return manifest


def _read_pair(pair: Pair, options: PrepareOptions) -> _Read:
    with rdBase.BlockLogs():
        files = read_files(pair.protein, pair.ligand, pair.id, pair.choice, options.allow_dropped)
        if isinstance(files, Rejection):
            return _Read(files)
        record = complex_from(files.protein, files.mol, pair.id)
    missing = incompleteness(files.protein)
    parts = (files.protein.description(pair.protein.name), missing and f"missing: {missing}", files.note)
    note = "; ".join(filter(None, parts))
    if isinstance(record, Rejection):
        return _Read(record, (), note)
    record = replace(record, source=options.source, licence=options.licence)
    return _Read(record, site_sequences(files.protein, record.ligand.x), note)


def _records(
    results: Iterator[_Read], sequences: dict[str, tuple[str, ...]], notes: dict[str, str]
) -> Iterator[Complex | Rejection]:
    """The records alone; adds by id the sequences at their sites, and what was read of their files, which is said."""
    for read in results:
        record, found, note = read
        sequences[record.id] = found
        if note:
            notes[record.id] = note
            log.info("%s: %s", record.id, note)
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


def _read_split_file(source: Path, options: PrepareOptions) -> dict[str, str] | None:
    """Split by id, or None where no file says so."""
    path = options.split_file
    if path is None:
        path = (source if source.is_dir() else source.parent) / SPLIT_FILE
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
