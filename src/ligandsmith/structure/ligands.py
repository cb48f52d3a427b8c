"""Ligand files -> RDKit molecule -> Ligand, with every reason for which a file or a molecule is refused."""

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ligandsmith.config import MAX_ATOMS, MIN_ATOMS
from ligandsmith.records import Ligand, Rejection
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.protein import UnreadableFile

BOND_TYPES = {
    Chem.BondType.SINGLE: vocab.SINGLE,
    Chem.BondType.DOUBLE: vocab.DOUBLE,
    Chem.BondType.TRIPLE: vocab.TRIPLE,
    Chem.BondType.AROMATIC: vocab.AROMATIC,
}
RDKIT_BONDS = {bond_class: bond_type for bond_type, bond_class in BOND_TYPES.items()}
SDF_SUFFIXES = (".sdf", ".mol", ".sd")
MOL2_SUFFIXES = (".mol2",)
LIGAND_SUFFIXES = SDF_SUFFIXES + MOL2_SUFFIXES
SMALLEST_EXTENT = 0.1  # Å, of the box around a molecule; less, and all coordinates are zero
LONGEST_AROMATIC = 1.44  # Å, mean bond of a ring; a saturated one has 1.5
FLAT_RING = 0.1  # Å, from the mean plane
TIME_OF_DAY = re.compile(r"^\[\d\d:\d\d:\d\d\] *")
CLOSEST_CONTACT = 0.8  # Å; no two heavy atoms of a real molecule are closer


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
    block = block.encode("ascii", "replace").decode()  # RDKit cuts letters of several bytes in its messages
    with rdBase.CaptureErrorLog() as log:
        if mol2:
            mol = Chem.MolFromMol2Block(block, sanitize=False, removeHs=False)
        else:
            mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    if mol is None:
        reason = (_foreign_atom_type(block) if mol2 else "") or _first_line(log.messages)
        raise UnreadableFile("RDKit rejects the ligand", f"{path}: record 1: {reason}")
    return mol


def _foreign_atom_type(block: str) -> str:
    """Which atom type of a MOL2 block is none of Sybyl's, as those of GAFF, which RDKit cannot read; empty: none."""
    lines = iter(block.splitlines())
    atoms = takewhile(lambda line: not line.startswith("@"), islice(dropwhile(_is_no_atom_heading, lines), 1, None))
    for fields in map(str.split, atoms):
        if len(fields) > 5 and fields[5][:1].islower():
            return f"atom type {fields[5]} is no Sybyl type; convert the file to Sybyl types, or give an SDF"
    return ""


def _is_no_atom_heading(line: str) -> bool:
    return not line.startswith("@<TRIPOS>ATOM")


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
    if not _has_pose(mol, positions):
        raise UnreadableFile("no 3D coordinates", f"{path}: record 1: no 3D coordinates; give the bound ligand's pose")
    Chem.AssignStereochemistryFrom3D(mol)
    return mol


def _has_pose(mol: Chem.Mol, x: NDArray[np.float64]) -> bool:
    """Whether a molecule has coordinates x [N, 3] Å that are neither a drawing nor all at one place."""
    return len(x) > 0 and mol.GetConformer().Is3D() and (len(x) == 1 or np.ptp(x, axis=0).max() >= SMALLEST_EXTENT)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return TIME_OF_DAY.sub("", lines[0].removeprefix("RDKit ERROR:").strip()) if lines else "no reason given"


def ligand_from_mol(mol: Chem.Mol, id: str, x: NDArray[Any] | None = None, *, whole: bool = True) -> Ligand | Rejection:
    """Heavy atoms of a sanitised molecule.

    `x` [N, 3] Å replaces the conformer of `mol` (then `mol` must have no explicit hydrogens). Only with `whole=False`
    it may be as small as an atom, or several pieces.
    """
    if x is None:
        if not mol.GetNumConformers() or not mol.GetConformer().Is3D():
            return Rejection(id, "no 3D coordinates", "the molecule has no 3D conformer")
        mol = Chem.RemoveAllHs(mol)  # sanitises, so that the hydrogen counts stay right
        x = mol.GetConformer().GetPositions()
    coordinates = np.asarray(x, dtype=np.float32)
    rejection = _refuse(mol, id, coordinates, whole=whole)
    if rejection is not None:
        return rejection
    atoms = list(mol.GetAtoms())
    bonds = [sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()]
    return Ligand(
        element=np.array([a.GetAtomicNum() for a in atoms], dtype=np.uint8),
        charge=np.array([a.GetFormalCharge() for a in atoms], dtype=np.int8),
        aromatic=np.array([a.GetIsAromatic() for a in atoms], dtype=np.bool_),
        num_h=np.array([a.GetTotalNumHs() for a in atoms], dtype=np.uint8),
        x=coordinates,
        bond_index=np.array(bonds, dtype=np.int16).reshape(-1, 2),
        bond_type=np.array([BOND_TYPES[b.GetBondType()] for b in mol.GetBonds()], dtype=np.uint8),
    )


def _refuse(mol: Chem.Mol, id: str, x: NDArray[np.float32], *, whole: bool) -> Rejection | None:
    """The first reason, if any, for which this molecule cannot be a training record."""
    n = mol.GetNumAtoms()
    if x.shape != (n, 3):
        return Rejection(id, "wrong coordinates", f"{n} atoms but coordinates of shape {x.shape}")
    if not np.isfinite(x).all():
        return Rejection(id, "non-finite coordinates", f"atom {int(np.argwhere(~np.isfinite(x))[0, 0]) + 1}")
    least = MIN_ATOMS if whole else 1
    if not least <= n <= MAX_ATOMS:
        return Rejection(id, "ligand size", f"{n} heavy atoms; {least} to {MAX_ATOMS} are accepted")
    if whole and not mol.GetNumBonds():
        return Rejection(id, "no bonds", "the file lists no bond; give an SDF with bonds and their orders")
    return (
        _refuse_atoms(mol, id, whole=whole)
        or (_refuse_pieces(mol, id) if whole else None)
        or _refuse_geometry(id, x)
        or _refuse_lost_orders(mol, id, x)
    )


def _refuse_atoms(mol: Chem.Mol, id: str, *, whole: bool) -> Rejection | None:
    for atom in mol.GetAtoms():
        place = f"atom {atom.GetIdx() + 1} ({atom.GetSymbol()})"
        if atom.GetAtomicNum() not in vocab.VOCABULARY.ligand_elements:
            return Rejection(id, "unknown element", place)
        if atom.GetFormalCharge() not in vocab.VOCABULARY.charges:
            return Rejection(id, "unsupported charge", f"{place} has charge {atom.GetFormalCharge():+d}")
        if whole and atom.GetTotalNumHs() > vocab.VOCABULARY.max_hydrogens:  # a part may be a methane
            return Rejection(id, "unsupported hydrogens", f"{place} has {atom.GetTotalNumHs()} hydrogens")
        if atom.GetNumRadicalElectrons():
            return Rejection(id, "radical", place)
    for bond in mol.GetBonds():
        if bond.GetBondType() not in BOND_TYPES:
            return Rejection(id, "unsupported bond", f"{bond.GetBondType()} at bond {bond.GetIdx() + 1}")
    return None


def _refuse_pieces(mol: Chem.Mol, id: str) -> Rejection | None:
    fragments = len(Chem.GetMolFrags(mol))
    if fragments > 1:
        return Rejection(id, "several fragments", f"{fragments} fragments; keep one molecule per record")
    return None


def _refuse_geometry(id: str, x: NDArray[np.float32]) -> Rejection | None:
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + 10 * np.eye(len(x))
    if distance.min() < CLOSEST_CONTACT:
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        return Rejection(id, "overlapping atoms", f"atoms {i + 1} and {j + 1} are {distance.min():.2f} Å apart")
    return None


def _refuse_lost_orders(mol: Chem.Mol, id: str, x: NDArray[np.float32]) -> Rejection | None:
    """A molecule of single bonds alone in which a ring of six is as flat and its bonds as short as in benzene."""
    if any(bond.GetBondType() != Chem.BondType.SINGLE for bond in mol.GetBonds()):
        return None
    for ring in mol.GetRingInfo().AtomRings():
        place = x[list(ring)].astype(np.float64)
        length = np.linalg.norm(place - np.roll(place, 1, axis=0), axis=1).mean()
        if len(ring) == 6 and length < LONGEST_AROMATIC and height_above_plane(place) < FLAT_RING:
            detail = f"all bonds are single, but the ring of atom {ring[0] + 1} is flat with bonds of {length:.2f} Å"
            return Rejection(id, "bond orders lost", detail)
    return None


def height_above_plane(place: NDArray[np.float64]) -> float:
    """Largest distance (Å) of a point [n, 3] from the plane that fits all best."""
    centred = place - place.mean(0)
    return float(np.abs(centred @ np.linalg.svd(centred)[2][2]).max())


def heavy_positions(mol: Chem.Mol) -> NDArray[np.float64]:
    """Coordinates [N, 3] Å of the heavy atoms of a molecule with a conformer."""
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    return np.asarray(mol.GetConformer().GetPositions()[heavy])


def mol_from_ligand(ligand: Ligand) -> Chem.Mol:
    """The inverse of `ligand_from_mol`: sanitised molecule with a conformer and stereo from 3D."""
    mol = Chem.RWMol()
    for z, q, aromatic, h in zip(ligand.element, ligand.charge, ligand.aromatic, ligand.num_h, strict=True):
        atom = Chem.Atom(int(z))
        atom.SetFormalCharge(int(q))
        atom.SetIsAromatic(bool(aromatic))
        atom.SetNumExplicitHs(int(h))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    for (i, j), order in zip(ligand.bond_index, ligand.bond_type, strict=True):
        mol.AddBond(int(i), int(j), RDKIT_BONDS[int(order)])
    result = mol.GetMol()
    result.AddConformer(conformer(ligand.x), assignId=True)
    Chem.SanitizeMol(result)
    Chem.AssignStereochemistryFrom3D(result)
    return result


def ligand_properties(mol: Chem.Mol) -> NDArray[np.float32]:
    """QED, normalised SA score and Crippen logP of a sanitised molecule, [3]. Raises RuntimeError and ValueError."""
    from rdkit.Chem import QED, rdMolDescriptors  # noqa: PLC0415 (slow to import)
    from rdkit.Contrib.SA_Score import sascorer  # noqa: PLC0415 (loads its table of fragments)

    logp, _ = rdMolDescriptors.CalcCrippenDescriptors(mol)
    return np.array([QED.qed(mol), (10 - sascorer.calculateScore(mol)) / 9, logp], dtype=np.float32)


def conformer(x: Sequence[Sequence[float]] | NDArray[Any]) -> Chem.Conformer:
    """A 3D RDKit conformer from coordinates [N, 3] Å."""
    conf = Chem.Conformer(len(x))
    conf.Set3D(True)
    conf.SetPositions(np.ascontiguousarray(x, dtype=np.float64))
    return conf
