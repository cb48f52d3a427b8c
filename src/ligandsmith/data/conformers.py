"""SMILES -> 3D conformers: the ligand-only data set for pre-training the ligand VAE.

One conformer per molecule: RDKit ETKDGv3, then MMFF94s (UFF where MMFF94s has no parameters, e.g. for boron). The
conformer depends on the seed and on the canonical SMILES alone: not on how the molecule was written, its place in the
file, or the number of processes.
"""

import hashlib
import io
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ligandsmith.data.dataset import Manifest, Split, scratch_folder, write_manifest
from ligandsmith.data.properties import write_properties
from ligandsmith.data.shards import ShardReader, shard_paths, write_shards
from ligandsmith.data.splitting import hold_out_groups, scaffold_of
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import file_text
from ligandsmith.parallel.processes import map_in_processes
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.ligands import ligand_from_mol

log = logging.getLogger(__name__)

SCAFFOLDS_HELD_OUT = 0.05  # fraction of the molecules, in whole Murcko scaffolds
MINIMISATION_STEPS = 500


@dataclass(frozen=True)
class Molecule:
    """One line of the SMILES file."""

    id: str
    smiles: str  # canonical
    line: int


@dataclass(frozen=True)
class EmbedOptions:
    """`seed` of all conformers; `timeout` in seconds for the embedding of one molecule; `workers`: processes;
    `overwrite`: replace a data set."""

    seed: int = 0
    timeout: int = 20
    workers: int = 1
    overwrite: bool = False


def embed_conformers(smi_file: Path, out: Path, options: EmbedOptions | None = None) -> Manifest:
    """Write the data set folder `out` of kind "ligands" from a file with a SMILES and, optionally, a name per line.

    The file may be gzipped. Molecules that were there before (by canonical SMILES), cannot be read, cannot be embedded
    in time or cannot be training records are rejections with their line number in `manifest.json`. 5 % of the
    molecules, by Murcko scaffold, are for validation.
    Raises LigandsmithError for a file that is missing or no text, an `out` that exists, or if no molecule is left;
    then nothing is left behind.
    """
    options, smi_file, out = options or EmbedOptions(), Path(smi_file), Path(out)
    if not smi_file.is_file():
        raise LigandsmithError(f"{smi_file}: no such file; give a file with one SMILES per line")
    with scratch_folder(out, options.overwrite) as scratch:
        work, molecules = partial(embed, options=options), read_molecules(smi_file)
        records = map_in_processes(work, molecules, options.workers, lambda molecule: molecule.id)
        ids, rejections = write_shards(scratch, "ligands", records)
        if not ids:
            why = "; ".join(f"{r.detail}: {r.reason}" for r in rejections[:3]) or "the file has no lines"
            raise LigandsmithError(f"{smi_file}: no molecule could be used ({why})")
        scaffolds = [scaffold_of(record.smiles) for record in ShardReader(shard_paths(scratch, "ligands"))]
        held = hold_out_groups(scaffolds, SCAFFOLDS_HELD_OUT, options.seed)
        splits: dict[str, list[str]] = {Split.TRAIN: [], Split.VALIDATION: []}
        for id, out_of_train in zip(ids, held, strict=True):
            splits[Split.VALIDATION if out_of_train else Split.TRAIN].append(id)
        write_properties(scratch)
        manifest = write_manifest(scratch, splits, rejections)
    log.info("%s: %s; rejected: %s", out, manifest.counts, manifest.rejection_counts() or "none")
    return manifest


def read_molecules(smi_file: Path) -> Iterator[Molecule | Rejection]:
    """The lines of a SMILES file with canonical SMILES; a molecule seen before is a rejection. Empty lines are skipped.

    The id is the name, or LINE where there is none; a name that was used before gets `#LINE` appended.
    """
    seen: dict[str, str] = {}
    names: set[str] = set()
    for number, text in _lines(smi_file):
        smiles, name, where = text[0], text[1] if len(text) > 1 else f"{number}", f"line {number}"
        id = f"{name}#{number}" if name in names else name
        names.add(id)
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(smiles)
        if mol is None or not mol.GetNumAtoms():
            yield Rejection(id, "unreadable SMILES", f"{where}: {smiles[:80]}")
            continue
        canonical = Chem.MolToSmiles(mol)
        if canonical in seen:
            yield Rejection(id, "duplicate molecule", f"{where}: the same as {seen[canonical]}")
            continue
        seen[canonical] = where
        yield Molecule(id, canonical, number)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and [SMILES, name?] of each line that is not empty."""
    try:
        text = file_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise LigandsmithError(f"{path}: not a readable text file ({error}); give one SMILES per line") from None
    for number, line in enumerate(io.StringIO(text), start=1):
        if line.strip():
            yield number, line.strip().split(maxsplit=1)


def embed(molecule: Molecule | Rejection, options: EmbedOptions) -> Complex | Rejection:
    """One conformer of one molecule as a record without a pocket, or why there is none. A rejection stays one."""
    if isinstance(molecule, Rejection):
        return molecule
    where = f"line {molecule.line}"
    mol = Chem.MolFromSmiles(molecule.smiles)
    # Everything but the geometry can be refused before the slow part: on coordinates that are certainly apart.
    apart = np.arange(mol.GetNumAtoms())[:, None] * np.full(3, 2.0)
    early = ligand_from_mol(mol, molecule.id, apart)
    if isinstance(early, Rejection):
        return Rejection(molecule.id, early.reason, f"{where}: {early.detail}")
    mol = Chem.AddHs(mol)
    with rdBase.BlockLogs():
        failure = _embed(mol, _seed_of(molecule.smiles, options.seed), options.timeout)
        if failure:
            return Rejection(molecule.id, failure, f"{where}: {molecule.smiles}")
        _minimise(mol)
    mol = Chem.RemoveAllHs(mol)
    Chem.AssignStereochemistryFrom3D(mol)
    ligand = ligand_from_mol(mol, molecule.id, mol.GetConformer().GetPositions())
    if isinstance(ligand, Rejection):
        return Rejection(molecule.id, ligand.reason, f"{where}: {ligand.detail}")
    return Complex(molecule.id, ligand, smiles=Chem.MolToSmiles(mol), source="conformer")


def _seed_of(smiles: str, seed: int) -> int:
    """31-bit seed of one molecule."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{smiles}".encode()).digest()[:4], "little") & 0x7FFFFFFF


def _embed(mol: Chem.Mol, seed: int, timeout: int) -> str:
    """Embed in place, from random coordinates where the first try fails; returns the reason of a failure or ""."""
    start = time.monotonic()
    for random_coordinates in (False, True):
        parameters: Any = rdDistGeom.ETKDGv3()
        parameters.randomSeed = seed
        parameters.useRandomCoords = random_coordinates
        parameters.timeout = max(1, round(start + timeout - time.monotonic()))
        if rdDistGeom.EmbedMolecule(mol, parameters) == 0:
            return ""
        if time.monotonic() - start >= timeout:
            return "embedding timed out"
    return "no conformer found"


def _minimise(mol: Chem.Mol) -> None:
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, mmffVariant="MMFF94s", maxIters=MINIMISATION_STEPS)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.UFFOptimizeMolecule(mol, maxIters=MINIMISATION_STEPS)
