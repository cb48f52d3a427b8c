"""Ligand files -> RDKit molecule -> Ligand, with every reason for which a file or a molecule is refused."""

import logging
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
from ligandsmith.files import file_text
from ligandsmith.records import Ligand, Rejection
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.protein import MAX_COORDINATE, UnreadableFile, is_coordinate
from ligandsmith.structure.templates import COORDINATE_SUFFIXES, read_poses_without_orders, with_template

log = logging.getLogger("ligandsmith")
BOND_TYPES = {
    Chem.BondType.SINGLE: vocab.SINGLE,
    Chem.BondType.DOUBLE: vocab.DOUBLE,
    Chem.BondType.TRIPLE: vocab.TRIPLE,
    Chem.BondType.AROMATIC: vocab.AROMATIC,
}
RDKIT_BONDS = {bond_class: bond_type for bond_type, bond_class in BOND_TYPES.items()}
SDF_SUFFIXES = (".sdf", ".mol", ".sd")
MOL2_SUFFIXES = (".mol2",)
LIGAND_SUFFIXES = SDF_SUFFIXES + MOL2_SUFFIXES  # of files with bond orders
UNKNOWN_ORDERS = (Chem.BondType.ZERO, Chem.BondType.UNSPECIFIED, Chem.BondType.OTHER)
COUNTER_IONS = (3, 9, 11, 12, 17, 19, 20, 30, 35, 37, 53, 55, 56)  # elements of ions without bonds
OTHER_TYPES = {"Du", "LP", "Any", "Hal", "Het", "Hev"}  # Sybyl types that are no elements
UPPER_CASE_TYPES = re.compile(r"(?m)^( *\d+ +\S+(?: +[-+.\deE]+){3} +)(CL|BR)(?= |$)")  # of an atom in a MOL2
SMALLEST_EXTENT = 0.1  # Å, of the box around a molecule; less, and all coordinates are zero
LONGEST_AROMATIC = 1.44  # Å, mean bond of a ring; a saturated one has 1.5
FLAT_RING = 0.1  # Å, from the mean plane
ELEMENT_SYMBOLS = frozenset(Chem.GetPeriodicTable().GetElementSymbol(number) for number in range(1, 119))
NO_REASON = "no reason given"
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


def read_ligand(path: Path, smiles: str = "", placeholders: bool = False, record: int = 0) -> Chem.Mol:
    """One molecule, by default the first, of an SDF, MOL2, PDB or mmCIF file (gzipped or not), sanitised, with stereo
    from 3D.

    With `smiles` it has the bond orders and charges of that SMILES, and no hydrogens; PDB and mmCIF need one, here or
    in a file NAME.smi beside them. Raises UnreadableFile quoting RDKit's reason, also where bond orders were lost.
    """
    return read_ligand_file(path, smiles, placeholders, record).mol


def read_ligand_file(path: Path, smiles: str = "", placeholders: bool = False, record: int = 0) -> LigandFile:
    """`read_ligand` with the number of molecules in the file. Raises UnreadableFile."""
    path = Path(path)
    if not path.is_file():
        raise UnreadableFile("missing file", f"{path}: no such file; give an SDF or MOL2 file of the ligand")
    refuse_format(path)
    if suffix(path) in COORDINATE_SUFFIXES:
        poses = list(read_poses_without_orders(path, smiles))
        _require_record(path, record, len(poses))
        return LigandFile(poses[record], len(poses))
    blocks = ligand_blocks(path)
    _require_record(path, record, len(blocks))
    return LigandFile(mol_from_block(blocks[record], path, record + 1, smiles, placeholders), len(blocks))


def _require_record(path: Path, record: int, count: int) -> None:
    if not count:
        raise UnreadableFile("no molecule", f"{path}: no molecule in it")
    if record >= count:
        raise UnreadableFile("no molecule", f"{path}: record {record + 1} is asked for, but there are {count}")


def refuse_format(path: Path) -> None:
    """Raise UnreadableFile for a name of a format that is not read, with what to do."""
    if (end := suffix(path)) == ".pdbqt":
        raise UnreadableFile(
            "not a ligand file",
            f"{path}: PDBQT has no bond orders; convert it to SDF, e.g. with mk_export.py of Meeko "
            "(mk_export.py poses.pdbqt -s poses.sdf)",
        )
    if end not in (*LIGAND_SUFFIXES, *COORDINATE_SUFFIXES):
        known = ", ".join((*LIGAND_SUFFIXES, *COORDINATE_SUFFIXES))
        raise UnreadableFile("not a ligand file", f"{path}: the name must end in {known} (.gz)")


def ligand_blocks(path: Path) -> list[str]:
    """The records of an SDF or MOL2 file as text. Raises UnreadableFile."""
    try:
        text = file_text(path, errors="replace")
    except OSError as error:
        raise UnreadableFile("unreadable file", f"{path}: {error}") from None
    if suffix(path) in MOL2_SUFFIXES:
        mark = "@<TRIPOS>MOLECULE"
        return [mark + record for record in with_line_feeds(text).split(mark)[1:]]
    return [r for r in with_line_feeds(text).split("$$$$\n") if r.strip(" \n$")]


def with_line_feeds(text: str) -> str:
    """A text with the line ends of Windows, or of old Macintosh programs, replaced."""
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def mol_from_block(block: str, path: Path, number: int, smiles: str = "", placeholders: bool = False) -> Chem.Mol:
    """The molecule of a record, by its number from one in the file, as `read_ligand` has it. Raises UnreadableFile."""
    mol2, place = suffix(path) in MOL2_SUFFIXES, f"{path}: record {number}"
    return _sanitised(_parse(block, mol2, place), mol2, place, smiles, placeholders)


def coordinate_problem(block: str) -> str:
    """What is wrong with the coordinates of a molfile (V2000); empty if nothing is.

    RDKit reads a number up to a comma, and beyond a field that is empty.
    """
    lines = block.split("\n", 3)[-1].split("\n")
    count = lines[0][:3].strip()
    if "V3000" in lines[0] or not (count.isascii() and count.isdecimal()):
        return ""
    for number, line in enumerate(lines[1 : int(count) + 1], 1):
        for field in (line[:10], line[10:20], line[20:30]):
            if not is_coordinate(field):
                return f"atom {number} has a coordinate that is no number: '{field.strip()}'"
    return ""


def _parse(block: str, mol2: bool, place: str) -> Chem.Mol:
    if not mol2 and (problem := coordinate_problem(block)):
        raise UnreadableFile("non-finite coordinates", f"{place}: {problem}")
    block = block.encode("ascii", "replace").decode()  # RDKit cuts letters of several bytes in its messages
    with rdBase.CaptureErrorLog() as messages:
        if mol2:
            block = UPPER_CASE_TYPES.sub(lambda match: match[1] + match[2].capitalize(), block)
            mol = Chem.MolFromMol2Block(block, sanitize=False, removeHs=False)
        else:
            mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    if mol is None:
        reason = (_foreign_atom_type(block) if mol2 else "") or _first_line(messages.messages)
        if not mol2 and reason == NO_REASON:
            reason = "not a molfile; its fourth line has the counts and ends in V2000 or V3000, its last is M  END"
        raise UnreadableFile("RDKit rejects the ligand", f"{place}: {reason}")
    return mol


def _foreign_atom_type(block: str) -> str:
    """Which atom type of a MOL2 block is none of Sybyl's, as those of GAFF, which RDKit cannot read; empty: none."""
    lines = iter(block.splitlines())
    atoms = takewhile(lambda line: not line.startswith("@"), islice(dropwhile(_is_no_atom_heading, lines), 1, None))
    for fields in map(str.split, atoms):
        if len(fields) > 5 and not _is_sybyl(fields[5]):
            return f"atom type {fields[5]} is no Sybyl type; convert the file to Sybyl types, or give an SDF"
    return ""


def _is_sybyl(atom_type: str) -> bool:
    """False for types of GAFF (c3), AMBER (CT) and OPLS."""
    name = atom_type.split(".", maxsplit=1)[0]
    return name in OTHER_TYPES or name in ELEMENT_SYMBOLS


def _is_no_atom_heading(line: str) -> bool:
    return not line.startswith("@<TRIPOS>ATOM")


def _sanitised(mol: Chem.Mol, mol2: bool, place: str, smiles: str, placeholders: bool) -> Chem.Mol:
    heavy = mol.GetNumHeavyAtoms()
    if mol2 and heavy and heavy == mol.GetNumAtoms() and not smiles:
        # The format has no charges, and RDKit derives them from the hydrogens: without these every one is wrong.
        raise UnreadableFile("MOL2 without hydrogens", f"{place}: no hydrogens; add them or give an SDF")
    if heavy > MAX_ATOMS:  # before the costly perception of a protein given as a ligand
        raise UnreadableFile("ligand size", f"{place}: {heavy} heavy atoms; at most {MAX_ATOMS} are accepted")
    if not heavy:
        raise UnreadableFile("no molecule", f"{place} has no heavy atoms")
    positions = mol.GetConformer().GetPositions() if mol.GetNumConformers() else np.zeros((0, 3))
    sound = np.abs(positions) < MAX_COORDINATE  # false for NaN
    if not sound.all():
        atom = int(np.argwhere(~sound)[0, 0]) + 1
        raise UnreadableFile("non-finite coordinates", f"{place}: atom {atom} has a coordinate that is no number")
    if not smiles:
        _sanitise(mol, place, placeholders)
    if not _has_pose(mol, positions):
        raise UnreadableFile("no 3D coordinates", f"{place}: no 3D coordinates; give the bound ligand's pose")
    if smiles:
        return with_template(mol, smiles, place)
    _require_orders(mol, positions, place)
    Chem.AssignStereochemistryFrom3D(mol)
    return _without_ions(mol, place)


def _sanitise(mol: Chem.Mol, place: str, placeholders: bool) -> None:
    if detail := undefined(mol, placeholders):
        raise UnreadableFile("unsupported atom or bond", f"{place}: {detail}")
    try:
        with rdBase.BlockLogs():
            sanitise(mol)
    except Chem.KekulizeException as error:
        advice = "; give the hydrogens of its aromatic nitrogens, or the SMILES of the ligand"
        raise UnreadableFile("RDKit rejects the ligand", f"{place}: {_first_line(str(error))}{advice}") from None
    except (Chem.MolSanitizeException, RuntimeError) as error:  # an impossible charge is a RuntimeError
        raise UnreadableFile("RDKit rejects the ligand", f"{place}: {_first_line(str(error))}") from None


def sanitise(mol: Chem.Mol) -> None:
    """Sanitise in place. Raises RDKit's exceptions, also for what it lets pass and could not write or copy afterwards:
    an oxygen with an aromatic and a double bond."""
    Chem.SanitizeMol(mol)
    Chem.Kekulize(Chem.Mol(mol))


def undefined(mol: Chem.Mol, placeholders: bool = False) -> str:
    """The first atom that stands for several elements or for none (unless `placeholders` may), or bond without one
    order; empty: none."""
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 0 and not placeholders:
            label = atom.GetProp("dummyLabel") if atom.HasProp("dummyLabel") else atom.GetSymbol()
            return f"atom {atom.GetIdx() + 1} is a placeholder ({label}); replace it by an element, or remove it"
    for bond in mol.GetBonds():
        if bond.HasQuery() or bond.GetBondType() in UNKNOWN_ORDERS:
            return f"bond {bond.GetIdx() + 1} has no definite order; make it single, double, triple or aromatic"
    return ""


def _without_ions(mol: Chem.Mol, place: str) -> Chem.Mol:
    """The molecule without counter-ions beside it."""
    ions = [atom for atom in mol.GetAtoms() if not atom.GetDegree() and atom.GetAtomicNum() in COUNTER_IONS]
    if not ions or len(ions) == mol.GetNumAtoms():
        return mol
    log.warning("%s: left out the ions %s", place, ", ".join(atom.GetSymbol() for atom in ions))
    rest = Chem.RWMol(mol)
    for atom in reversed(ions):
        rest.RemoveAtom(atom.GetIdx())
    return rest.GetMol()


def _require_orders(mol: Chem.Mol, x: NDArray[np.float64], place: str) -> None:
    """Raise UnreadableFile for a molecule without bonds, or with a ring that lost its bond orders."""
    if mol.GetNumHeavyAtoms() >= MIN_ATOMS and not mol.GetNumBonds():
        detail = "the file lists no bond; give an SDF with bonds and their orders, or the SMILES of the ligand"
        raise UnreadableFile("no bonds", f"{place}: {detail}")
    if detail := ring_without_orders(mol, x):
        advice = "give an SDF with bond orders, or the SMILES of the ligand"
        raise UnreadableFile("bond orders lost", f"{place}: {detail}; {advice}")


def _has_pose(mol: Chem.Mol, x: NDArray[np.float64]) -> bool:
    """Whether a molecule has coordinates x [N, 3] Å that are neither a drawing nor all at one place."""
    return len(x) > 0 and mol.GetConformer().Is3D() and (len(x) == 1 or np.ptp(x, axis=0).max() >= SMALLEST_EXTENT)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return TIME_OF_DAY.sub("", lines[0].removeprefix("RDKit ERROR:").strip()) if lines else NO_REASON


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
    detail = orders_lost(mol, x)
    return Rejection(id, "bond orders lost", detail) if detail else None


def orders_lost(mol: Chem.Mol, x: NDArray[Any]) -> str:
    """What tells that a sanitised molecule with atoms at x [N, 3] Å, all bonds single, lost its orders; empty: nothing.

    For molecules that may have a bad geometry of their own, as generated ones.
    """
    if any(bond.GetBondType() != Chem.BondType.SINGLE for bond in mol.GetBonds()):
        return ""
    return ring_without_orders(mol, x)


def ring_without_orders(mol: Chem.Mol, x: NDArray[Any]) -> str:
    """The first ring of six of a sanitised molecule, atoms at x [N, 3] Å, whose atoms have single bonds alone and that
    is as flat and has as short bonds as benzene; empty: none. Such a ring lost its bond orders."""
    for ring in mol.GetRingInfo().AtomRings():
        atoms = [mol.GetAtomWithIdx(i) for i in ring]
        if len(ring) != 6 or any(atom.GetAtomicNum() not in (6, 7) for atom in atoms):
            continue
        if any(bond.GetBondType() != Chem.BondType.SINGLE for atom in atoms for bond in atom.GetBonds()):
            continue
        place = x[list(ring)].astype(np.float64)
        length = np.linalg.norm(place - np.roll(place, 1, axis=0), axis=1).mean()
        if length < LONGEST_AROMATIC and height_above_plane(place) < FLAT_RING:
            return f"all bonds are single, but the ring of atom {ring[0] + 1} is flat with bonds of {length:.2f} Å"
    return ""


def height_above_plane(place: NDArray[np.float64]) -> float:
    """Largest distance (Å) of a point [n, 3] from the plane that fits all best."""
    centred = place - place.mean(0)
    return float(np.abs(centred @ np.linalg.svd(centred)[2][2]).max())


def without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """A sanitised copy without explicit hydrogens; deuterium and tritium are hydrogen."""
    mol = Chem.Mol(mol)
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1:
            atom.SetIsotope(0)
    return Chem.RemoveHs(mol)


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
