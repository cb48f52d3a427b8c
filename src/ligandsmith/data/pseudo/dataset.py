"""Files of proteins -> a data set of pseudo-complexes: shards, splits.json, sequences.json and manifest.json."""

import logging
from collections.abc import Iterator
from pathlib import Path

from rdkit import rdBase

from ligandsmith.data.dataset import SEQUENCES, Manifest, Split, scratch_folder, write_manifest
from ligandsmith.data.properties import write_properties
from ligandsmith.data.pseudo.complexes import CutOptions, pseudo_complexes
from ligandsmith.data.shards import write_shards
from ligandsmith.data.sources import file_stem, preferred_protein, structure_files
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import write_json
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.files import PROTEIN_SUFFIXES
from ligandsmith.structure.ligands import suffix
from ligandsmith.structure.pocket import site_sequences
from ligandsmith.structure.protein import UnreadableFile, read_protein

log = logging.getLogger(__name__)


def write_pseudo_complexes(
    source: Path, out: Path, options: CutOptions | None = None, licence: str = "", allow_dropped: bool = False
) -> Manifest:
    """Cut every protein of `source` and write the data set folder `out`, of kind "complexes", all for training.

    `source` is a protein file, a folder of them, or a folder with a folder for each, as for `prepare`. A file that
    cannot be read is a row of the manifest, as is every piece that was tried in vain. Raises LigandsmithError, leaving
    nothing behind, if there is no protein, no piece could be used or `out` exists.
    """
    source, out = Path(source), Path(out)
    files, rejections = find_proteins(source)
    options = options or CutOptions()
    with scratch_folder(out, options.overwrite) as scratch:
        sequences: dict[str, tuple[str, ...]] = {}
        with rdBase.BlockLogs():
            records = _cut_all(files, options, licence, sequences, allow_dropped)
            ids, refused = write_shards(scratch, "complexes", records)
        rejections += refused
        if not ids:
            why = "; ".join(f"{r.id}: {r.reason} ({r.detail})" for r in rejections[:3])
            raise LigandsmithError(f"{source}: nothing could be cut from {len(files)} proteins: {why}")
        write_json(scratch / SEQUENCES, {id: sequences[id] for id in ids})
        write_properties(scratch)
        manifest = write_manifest(scratch, {str(Split.TRAIN): ids}, rejections)
    log.info("%s: %s; rejected: %s", out, manifest.counts, manifest.rejection_counts() or "none")
    return manifest


def find_proteins(source: Path) -> tuple[dict[str, Path], list[Rejection]]:
    """The files of proteins by id, and those that repeat an id. Raises LigandsmithError if there is none."""
    if source.is_file() and suffix(source) in PROTEIN_SUFFIXES:
        return {file_stem(source): source}, []
    if not source.is_dir():
        raise LigandsmithError(f"{source}: no such folder or protein file ({', '.join(PROTEIN_SUFFIXES)}, .gz)")
    found = [(file_stem(path), path) for path in structure_files(source, PROTEIN_SUFFIXES)]
    for folder in sorted(p for p in source.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if paths := structure_files(folder, PROTEIN_SUFFIXES):
            found.append((folder.name, preferred_protein(paths)))
    if not found:
        raise LigandsmithError(f"{source}: no proteins found; expected *.pdb, *.cif or ID/*.pdb, also gzipped")
    first: dict[str, Path] = {}
    rejections = []
    for id, path in sorted(found):
        kept = first.setdefault(id, path)
        if kept is not path:
            rejections.append(Rejection(id, "duplicate id", f"{path}; {kept} was kept"))
    return first, rejections


def _cut_all(
    files: dict[str, Path],
    options: CutOptions,
    licence: str,
    sequences: dict[str, tuple[str, ...]],
    allow_dropped: bool,
) -> Iterator[Complex | Rejection]:
    """The records of all proteins; adds the sequences at their sites to `sequences`, by id."""
    for id, path in files.items():
        try:
            protein = read_protein(path, allow_dropped)
            log.info(protein.description(str(path)))
        except UnreadableFile as error:
            yield Rejection(id, error.reason, error.detail)
            continue
        tried = False
        for record in pseudo_complexes(protein, id, licence, options):
            tried = True
            if isinstance(record, Complex):
                sequences[record.id] = site_sequences(protein, record.ligand.x)
            yield record
        if not tried:
            yield Rejection(id, "nothing to cut", f"{path}: no standard amino acids")
