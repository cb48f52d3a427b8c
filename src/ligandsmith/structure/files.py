"""Files of a protein and a ligand -> Complex, or Rejection(reason)."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Ligand, Rejection
from ligandsmith.structure.ligands import LIGAND_SUFFIXES, ligand_from_mol, read_ligand
from ligandsmith.structure.pocket import RADIUS, copies_at, het_residues, pocket_from_ligand
from ligandsmith.structure.protein import Protein, UnreadableFile, read_protein
from ligandsmith.structure.templates import mol_of_atoms
from ligandsmith.structure.vocabulary import Kind

log = logging.getLogger("ligandsmith")
CONTACT = 5.0  # Å; a ligand with no protein atom this close is not bound to it
CLASH = 1.0  # Å; closer than any covalent bond between heavy atoms
BOND_STRETCH = 0.25  # Å; a bond is at most that much longer than the sum of the covalent radii
PROTEIN_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")


class LigandChoice(NamedTuple):
    """Which molecule the ligand is, beyond the name of its file."""

    smiles: str = ""  # its bond orders, see `read_ligand`
    het: str = ""  # that molecule of the protein file (`LIG` or `A:LIG:401`); the ligand's file is not looked at
    record: int = 0  # of a file with several molecules


class ComplexFiles(NamedTuple):
    """What was read of a protein's and a ligand's file, and what to know of the choice of the ligand's."""

    protein: Protein
    mol: Chem.Mol
    note: str = ""


def read_complex(protein: Path, ligand: Path, id: str, radius: float = RADIUS, smiles: str = "") -> Complex | Rejection:
    """The ligand of one file and the pocket around it, whole residues within `radius` Å, from another."""
    files = read_files(protein, ligand, id, LigandChoice(smiles))
    return files if isinstance(files, Rejection) else complex_from(files.protein, files.mol, id, radius)


def read_files(
    protein: Path, ligand: Path, id: str, choice: LigandChoice, allow_dropped: bool = False
) -> ComplexFiles | Rejection:
    """The contents of both files, or why one cannot be used. `allow_dropped` is that of `read_protein`.

    If the ligand's is unreadable, the same molecule in another format in the same folder (SDF, MOL2) takes its place.
    """
    try:
        structure = read_protein(protein, allow_dropped)
        if choice.het:
            return ComplexFiles(structure, ligand_in_protein(structure, choice.het, choice.smiles))
        others = other_formats(ligand)
        try:
            mol = read_ligand(ligand, choice.smiles, record=choice.record)
            names = ", ".join(path.name for path in others)
            return ComplexFiles(structure, mol, f"{ligand.name} is used, not {names}" if names else "")
        except UnreadableFile as error:
            for other in others:
                with suppress(UnreadableFile):
                    mol = read_ligand(other, choice.smiles, record=choice.record)
                    return ComplexFiles(structure, mol, f"{other.name} is used: {error.detail}")
            raise
    except UnreadableFile as error:
        return Rejection(id, error.reason, error.detail)


def ligand_in_protein(protein: Protein, het: str, smiles: str = "") -> Chem.Mol:
    """The het molecule of a protein file that `het` names, with the bond orders of its SMILES. Raises UnreadableFile.

    A peptide or amino acid needs no SMILES.
    """
    try:
        found = het_residues(protein, het)
    except LigandsmithError as error:
        raise UnreadableFile("no such ligand", str(error)) from None
    alone = protein.without([i for i in range(len(protein.residues)) if i not in found])
    return mol_of_atoms(alone, smiles, f"{protein.name}: {protein.residues[found[0]].het_label}")


def other_formats(ligand: Path) -> list[Path]:
    """Files beside a ligand file with the same name in another format."""
    stem = Path(ligand.name.removesuffix(".gz")).stem
    names = [f"{stem}{end}{gz}" for end in LIGAND_SUFFIXES for gz in ("", ".gz")]
    return [path for name in names if (path := ligand.with_name(name)).is_file() and path != ligand]


def complex_from(protein: Protein, mol: Chem.Mol, id: str, radius: float = RADIUS) -> Complex | Rejection:
    """A complex from what was read, or the first reason against it."""
    ligand = ligand_from_mol(mol, id)
    if isinstance(ligand, Rejection):
        return ligand
    try:
        pocket, _ = pocket_from_ligand(protein, ligand.x, radius)
    except LigandsmithError as error:
        return Rejection(id, _why_empty(protein, ligand.x), str(error))
    closest = _closest(pocket.x, ligand.x)
    if closest > CONTACT:
        return Rejection(id, "ligand far from the protein", f"the nearest heavy atom is {closest:.1f} Å away")
    if closest < CLASH:
        return Rejection(id, "ligand overlaps the protein", f"two heavy atoms are {closest:.2f} Å apart")
    bond = _covalent_bond(protein, ligand)
    if bond:
        return Rejection(id, "covalent ligand", bond)
    return Complex(id=id, ligand=ligand, pocket=pocket, smiles=Chem.MolToSmiles(Chem.RemoveHs(mol)))


def _covalent_bond(protein: Protein, ligand: Ligand) -> str:
    """The bond between a ligand and a residue of a chain, or nothing. Metals coordinate and are no reason, and the
    ligand's own copy in the file, a peptide for one, is none either."""
    copies = copies_at(protein, ligand.x)
    if 2 * np.isin(protein.residue_of, copies).sum() >= len(ligand.x):  # a lone atom near the ligand is no copy of it
        protein = protein.without(copies)
    table = Chem.GetPeriodicTable()
    rows = np.flatnonzero(protein.kind == Kind.POLYMER)
    distance = np.linalg.norm(protein.x[rows][:, None] - ligand.x[None], axis=-1)
    radius, own = (np.array([table.GetRcovalent(int(z)) for z in e]) for e in (protein.element[rows], ligand.element))
    bonded = np.argwhere((distance < radius[:, None] + own[None] + BOND_STRETCH) & (distance > CLASH))
    for row, atom in bonded.tolist():
        residue = protein.residues[protein.residue_of[rows[row]]]
        symbol = table.GetElementSymbol(int(ligand.element[atom]))
        return (
            f"{symbol}{atom + 1} is {distance[row, atom]:.2f} Å from {protein.atom_label[rows[row]]} of "
            f"{residue.chain}:{residue.name}{residue.number}{residue.insertion}"
        )
    return ""


def _why_empty(protein: Protein, x: NDArray[np.float32]) -> str:
    return "ligand far from the protein" if _closest(protein.x, x) > CONTACT else "empty pocket"


def _closest(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Smallest distance (Å) between a point of `a` [A, 3] and one of `b` [B, 3]."""
    # The expansion |a|² + |b|² − 2ab is fast but loses digits far from the origin, so both are shifted first.
    shift = b.mean(axis=0)
    a, b = (a - shift).astype(np.float64), (b - shift).astype(np.float64)
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return float(np.sqrt(max(squared.min(), 0.0)))
