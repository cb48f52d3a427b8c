"""A file of ligands posed in one protein -> a data set of complexes, one for each ligand."""

import logging
from collections.abc import Iterator
from pathlib import Path

from rdkit import rdBase

from ligandsmith.data.dataset import SEQUENCES, Manifest, Split, scratch_folder, write_manifest
from ligandsmith.data.properties import write_properties
from ligandsmith.data.shards import write_shards
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import write_json
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.files import complex_from
from ligandsmith.structure.ligands import LIGAND_SUFFIXES, ligand_blocks, mol_from_block, suffix
from ligandsmith.structure.pocket import site_sequences
from ligandsmith.structure.protein import Protein, UnreadableFile, read_protein

log = logging.getLogger("ligandsmith")


def prepare_series(ligands: Path, protein: Path, out: Path, allow_dropped: bool = False) -> Manifest:
    """Write the data set folder `out` from the molecules of an SDF or MOL2 file, posed in the protein of another file.

    The id of a complex is the title of the molecule, or its number in the file; a molecule that cannot be used is a
    rejection in the manifest. All records are for training. `allow_dropped` is that of `read_protein`. Raises
    LigandsmithError, leaving nothing behind, for a file that cannot be read, if no molecule can be used, and if `out`
    exists.
    """
    for path, what in ((ligands, "an SDF or MOL2 file of posed ligands"), (protein, "a PDB or mmCIF file")):
        if not path.is_file():
            raise LigandsmithError(f"{path}: no such file; give {what}")
    if suffix(ligands) not in LIGAND_SUFFIXES:
        raise LigandsmithError(f"{ligands}: the name must end in {', '.join(LIGAND_SUFFIXES)} (.gz)")
    structure, blocks = read_protein(protein, allow_dropped), ligand_blocks(ligands)
    with scratch_folder(out) as scratch, rdBase.BlockLogs():
        sequences: dict[str, tuple[str, ...]] = {}
        ids, rejections = write_shards(scratch, "complexes", _complexes(structure, ligands, blocks, sequences))
        if not ids:
            why = "; ".join(f"{r.id}: {r.reason} ({r.detail})" for r in rejections[:3]) or "the file has no molecule"
            raise LigandsmithError(f"{ligands}: none of {len(blocks)} ligands could be used: {why}")
        write_json(scratch / SEQUENCES, {id: sequences[id] for id in ids})
        write_properties(scratch)
        return write_manifest(scratch, {Split.TRAIN: ids}, rejections)


def _complexes(
    protein: Protein, path: Path, blocks: list[str], sequences: dict[str, tuple[str, ...]]
) -> Iterator[Complex | Rejection]:
    """The complexes, and why others are none; adds by id the sequences at their sites."""
    for number, block in enumerate(blocks, 1):
        try:
            mol = mol_from_block(block, path, number)
        except UnreadableFile as error:
            yield Rejection(f"{number}", error.reason, error.detail)
            continue
        title = mol.GetProp("_Name").strip() if mol.HasProp("_Name") else ""
        id = title if title and title not in sequences else f"{title}#{number}".lstrip("#")
        record = complex_from(protein, mol, id)
        if isinstance(record, Complex):
            sequences[id] = site_sequences(protein, record.ligand.x)
        yield record
