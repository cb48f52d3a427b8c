"""Files of a protein and a ligand -> Complex, or Rejection(reason)."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ligandsmith.config import MAX_ATOMS
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.ligands import ligand_from_mol
from ligandsmith.structure.pocket import RADIUS, pocket_from_ligand
from ligandsmith.structure.protein import Protein, UnreadableFile, read_protein

CONTACT = 5.0  # Å; a ligand with no protein atom this close is not bound to it
CLASH = 1.0  # Å; closer than any covalent bond between heavy atoms
SDF_SUFFIXES = (".sdf", ".mol", ".sd")
MOL2_SUFFIXES = (".mol2",)
LIGAND_SUFFIXES = SDF_SUFFIXES + MOL2_SUFFIXES
PROTEIN_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")


@dataclass(frozen=True)
class LigandFile:
    """The first molecule of a ligand file."""

    mol: Chem.Mol  # sanitised, with its 3D conformer and the stereo it shows
    num_records: int  # molecules in the file; only the first is used

    @property
    def note(self) -> str:
        """What the user should know about the choice; empty if there was none to make."""
        return f"the first of {self.num_records} molecules is used" if self.num_records > 1 else ""


def suffix(path: Path) -> str:
    """The lower-case extension of a file name without a trailing `.gz`."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def read_ligand(path: Path) -> Chem.Mol:
    """The first molecule of an SDF or MOL2 file (gzipped or not), sanitised, with stereo from 3D.

    Raises UnreadableFile quoting RDKit's reason.
    """
    return read_ligand_file(path).mol


def read_ligand_file(path: Path) -> LigandFile:
    """`read_ligand` with the number of molecules in the file. Raises UnreadableFile."""
    path = Path(path)
    if not path.is_file():
        raise UnreadableFile("missing file", f"{path}: no such file; give an SDF or MOL2 file of the ligand")
    if suffix(path) not in LIGAND_SUFFIXES:
        raise UnreadableFile("not a ligand file", f"{path}: the name must end in {', '.join(LIGAND_SUFFIXES)} (.gz)")
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb") as stream:
            text = stream.read().decode("utf-8", errors="replace")
    except (OSError, EOFError) as error:
        raise UnreadableFile("unreadable file", f"{path}: {error}") from None
    mol2 = suffix(path) in MOL2_SUFFIXES
    block, count = _first_mol2(text) if mol2 else _first_sdf(text)
    if not block.strip():
        raise UnreadableFile("no molecule", f"{path}: no molecule in it")
    return LigandFile(_sanitised(_parse(block, mol2, path), path), count)


def _first_sdf(text: str) -> tuple[str, int]:
    records = [r for r in text.replace("\r\n", "\n").split("$$$$\n") if r.strip(" \n$")]
    return (records[0] if records else ""), len(records)


def _first_mol2(text: str) -> tuple[str, int]:
    mark = "@<TRIPOS>MOLECULE"
    records = text.split(mark)[1:]
    return (mark + records[0] if records else ""), len(records)


def _parse(block: str, mol2: bool, path: Path) -> Chem.Mol:
    with rdBase.CaptureErrorLog() as log:
        if mol2:
            mol = Chem.MolFromMol2Block(block, sanitize=False, removeHs=False)
        else:
            mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    if mol is None:
        raise UnreadableFile("RDKit rejects the ligand", f"{path}: record 1: {_first_line(log.messages)}")
    return mol


def _sanitised(mol: Chem.Mol, path: Path) -> Chem.Mol:
    heavy = mol.GetNumHeavyAtoms()
    if suffix(path) in MOL2_SUFFIXES and heavy and heavy == mol.GetNumAtoms():
        # The format has no charges, and RDKit derives them from the hydrogens: without these every one is wrong.
        raise UnreadableFile("MOL2 without hydrogens", f"{path}: record 1: no hydrogens; add them or give an SDF")
    if heavy > MAX_ATOMS:  # before the costly perception of a protein given as a ligand
        raise UnreadableFile("ligand size", f"{path}: {heavy} heavy atoms; at most {MAX_ATOMS} are accepted")
    if not heavy:
        raise UnreadableFile("no molecule", f"{path}: record 1 has no heavy atoms")
    positions = mol.GetConformer().GetPositions() if mol.GetNumConformers() else np.zeros((0, 3))
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions))[0, 0]) + 1
        raise UnreadableFile(
            "non-finite coordinates", f"{path}: record 1: atom {atom} has a coordinate that is no number"
        )
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol)
    except (Chem.MolSanitizeException, RuntimeError) as error:  # an impossible charge is a RuntimeError
        raise UnreadableFile("RDKit rejects the ligand", f"{path}: record 1: {_first_line(str(error))}") from None
    if len(positions) and mol.GetConformer().Is3D():
        Chem.AssignStereochemistryFrom3D(mol)
    return mol


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].removeprefix("RDKit ERROR:").strip() if lines else "no reason given"


def read_complex(protein: Path, ligand: Path, id: str, radius: float = RADIUS) -> Complex | Rejection:
    """The ligand of one file and the pocket around it, whole residues within `radius` Å, from another."""
    files = read_files(protein, ligand, id)
    return files if isinstance(files, Rejection) else complex_from(*files, id, radius)


def read_files(protein: Path, ligand: Path, id: str) -> tuple[Protein, Chem.Mol] | Rejection:
    """The contents of both files, or why one cannot be used."""
    try:
        return read_protein(protein), read_ligand(ligand)
    except UnreadableFile as error:
        return Rejection(id, error.reason, error.detail)


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
    return Complex(id=id, ligand=ligand, pocket=pocket, smiles=Chem.MolToSmiles(Chem.RemoveHs(mol)))


def _why_empty(protein: Protein, x: NDArray[np.float32]) -> str:
    return "ligand far from the protein" if _closest(protein.x, x) > CONTACT else "empty pocket"


def _closest(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Smallest distance (Å) between a point of `a` [A, 3] and one of `b` [B, 3]."""
    # The expansion |a|² + |b|² − 2ab is fast but loses digits far from the origin, so both are shifted first.
    shift = b.mean(axis=0)
    a, b = (a - shift).astype(np.float64), (b - shift).astype(np.float64)
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return float(np.sqrt(max(squared.min(), 0.0)))
