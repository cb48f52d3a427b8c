"""Files of proteins -> a data set of pseudo-complexes: shards, splits.json, sequences.json and manifest.json."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rdkit import rdBase

from ligandsmith.data.dataset import (
    Manifest,
    Split,
    add_properties,
    refuse_existing,
    scratch_folder,
    write_json,
    write_manifest,
)
from ligandsmith.data.preparation import SEQUENCES, file_stem, preferred_protein, structure_files
from ligandsmith.data.pseudo.complexes import CutOptions, Parent, pseudo_complexes
from ligandsmith.data.shards import write_shards
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.files import PROTEIN_SUFFIXES
from ligandsmith.structure.ligands import suffix
from ligandsmith.structure.pocket import site_sequences
from ligandsmith.structure.protein import UnreadableFile, read_protein

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProteinFile:
    """A protein and the id that its records are named after."""

    id: str
    path: Path


def write_pseudo_complexes(source: Path, out: Path, options: CutOptions | None = None, licence: str = "") -> Manifest:
    """Cut every protein of `source` and write the data set folder `out`, of kind "complexes", all for training.

    `source` is a protein file, a folder of them, or a folder with a folder for each, as for `prepare`. A file that
    cannot be read is a row of the manifest, as is every piece that was tried in vain. Raises LigandsmithError, leaving
    nothing behind, if there is no protein, no piece could be used or `out` exists.
    """
    source, out = Path(source), Path(out)
    refuse_existing(out)
    files, rejections = find_proteins(source)
    with scratch_folder(out) as scratch:
        sequences: dict[str, tuple[str, ...]] = {}
        with rdBase.BlockLogs():
            ids, refused = write_shards(
                scratch, "complexes", _cut_all(files, options or CutOptions(), licence, sequences)
            )
        rejections += refused
        if not ids:
            why = "; ".join(f"{r.id}: {r.reason} ({r.detail})" for r in rejections[:3])
            raise LigandsmithError(f"{source}: nothing could be cut from {len(files)} proteins: {why}")
        write_json(scratch / SEQUENCES, {id: sequences[id] for id in ids})
        add_properties(scratch)
        manifest = write_manifest(scratch, {str(Split.TRAIN): ids}, rejections)
    log.info("%s: %s; rejected: %s", out, manifest.counts, manifest.rejection_counts() or "none")
    return manifest


def find_proteins(source: Path) -> tuple[list[ProteinFile], list[Rejection]]:
    """The proteins of a source by id, and those that repeat an id. Raises LigandsmithError if there is none."""
    if source.is_file() and suffix(source) in PROTEIN_SUFFIXES:
        return [ProteinFile(file_stem(source), source)], []
    if not source.is_dir():
        raise LigandsmithError(f"{source}: no such folder or protein file ({', '.join(PROTEIN_SUFFIXES)}, .gz)")
    found = [ProteinFile(file_stem(path), path) for path in structure_files(source, PROTEIN_SUFFIXES)]
    for folder in sorted(p for p in source.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if paths := structure_files(folder, PROTEIN_SUFFIXES):
            found.append(ProteinFile(folder.name, preferred_protein(paths)))
    if not found:
        raise LigandsmithError(f"{source}: no proteins found; expected *.pdb, *.cif or ID/*.pdb, also gzipped")
    unique: dict[str, ProteinFile] = {}
    rejections = []
    for file in sorted(found, key=lambda file: (file.id, file.path)):
        kept = unique.setdefault(file.id, file)
        if kept is not file:
            rejections.append(Rejection(file.id, "duplicate id", f"{file.path}; {kept.path} was kept"))
    return list(unique.values()), rejections


def _cut_all(
    files: list[ProteinFile], options: CutOptions, licence: str, sequences: dict[str, tuple[str, ...]]
) -> Iterator[Complex | Rejection]:
    """The records of all proteins; notes the sequences at each site by id."""
    for file in files:
        try:
            protein = read_protein(file.path)
        except UnreadableFile as error:
            yield Rejection(file.id, error.reason, error.detail)
            continue
        tried = False
        for record in pseudo_complexes(protein, Parent(file.id, licence), options):
            tried = True
            if isinstance(record, Complex):
                sequences[record.id] = site_sequences(protein, record.ligand.x)
            yield record
        if not tried:
            yield Rejection(file.id, "nothing to cut", f"{file.path}: no standard amino acids")
