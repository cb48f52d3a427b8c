"""Bond orders of ligands whose file has none, as PDB files: from a SMILES, or from the sequence of a peptide.

Orders are never guessed from coordinates: without hydrogens these do not tell an alcohol from a ketone.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ligandsmith.config import MAX_ATOMS
from ligandsmith.structure.protein import Protein, UnreadableFile, protein_from_structure, read_structure
from ligandsmith.structure.vocabulary import RESIDUES

COORDINATE_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")  # files of atoms without bond orders
SMILES_SUFFIX = ".smi"  # of a file beside such a file, with the SMILES of its ligand
REACHES = (1.3, 1.2, 1.1)  # times the sum of the covalent radii; a bond is shorter
log = logging.getLogger("ligandsmith")


def read_poses_without_orders(path: Path, smiles: str = "") -> Iterator[Chem.Mol]:
    """The ligand of each model of a PDB or mmCIF file: heavy atoms in the order of the file, with bond orders.

    The orders are those of `smiles`, else of the file NAME.smi beside it, else of the peptide's sequence. Raises
    UnreadableFile where there is none of these, and for a molecule that is not the one of the SMILES.
    """
    structure = read_structure(path)
    _name_atoms_apart(structure)
    smiles = smiles or _smiles_beside(path)
    for index in range(len(structure)):
        one = structure.clone()
        for other in reversed(range(len(structure))):
            if other != index:
                del one[other]
        place = f"{path}: model {index + 1}" if len(structure) > 1 else str(path)
        yield mol_of_atoms(protein_from_structure(one, path), smiles, place)


def mol_of_atoms(atoms: Protein, smiles: str, place: str) -> Chem.Mol:
    """A molecule of all these atoms, as `read_poses_without_orders` makes it. `place` names them in messages."""
    if atoms.num_atoms > MAX_ATOMS:
        raise UnreadableFile(
            "ligand size",
            f"{place}: {atoms.num_atoms} heavy atoms; at most {MAX_ATOMS} are accepted; give the ligand alone",
        )
    template = smiles or _sequence_smiles(atoms)
    if not template:
        name = atoms.residues[0].name
        raise UnreadableFile(
            "no bond orders",
            f"{place}: a file of this format has no bond orders of {name}; give its SMILES (--smiles, a column smiles, "
            f"or a file NAME{SMILES_SUFFIX} beside it), or give an SDF",
        )
    mol = Chem.RWMol()
    for number in _elements(atoms, _template(template, atoms.num_atoms, place)):
        mol.AddAtom(Chem.Atom(number))
    return with_template(_at(mol.GetMol(), atoms.x.astype(np.float64)), template, place)


def _name_atoms_apart(structure: gemmi.Structure) -> None:
    """Number the atoms of a residue that share a name, as Open Babel writes them; to the reader of proteins they would
    be alternate locations. An atom of unknown element gets that of its first letter."""
    for residue in (residue for model in structure for chain in model for residue in chain):
        names = {atom.name for atom in residue}
        seen: set[str] = set()
        for number, atom in enumerate(residue):
            if atom.element.atomic_number == 0:
                atom.element = gemmi.Element(atom.name.lstrip("0123456789")[:1])
            if atom.name in seen and atom.altloc == "\0":
                atom.name = next(n for k in range(number, 10_000) if (n := f"{atom.element.name}{k}") not in names)
                names.add(atom.name)
            seen.add(atom.name)


def _elements(atoms: Protein, template: Chem.Mol) -> list[int]:
    """Atomic numbers of a file's atoms; by their names where those of the file are not the template's: files without
    elements whose names begin in the wrong column make calcium of CA1, and carbon of CL1."""
    found = atoms.element.tolist()
    wanted = Counter(atom.GetAtomicNum() for atom in template.GetAtoms())
    if Counter(found) == wanted:
        return found
    symbols = {atom.GetSymbol().upper(): atom.GetAtomicNum() for atom in template.GetAtoms()}
    labels = [str(label).lstrip("0123456789").upper() for label in atoms.atom_label]
    named = [symbols.get(t[:2], symbols.get(t[:1], z)) for t, z in zip(labels, found, strict=True)]
    return named if Counter(named) == wanted else found


def _smiles_beside(path: Path) -> str:
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    beside = path.with_name(Path(name).stem + SMILES_SUFFIX)
    try:
        words = beside.read_text(encoding="utf-8").split() if beside.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile("no bond orders", f"{beside}: not a text file with a SMILES ({error})") from None
    return words[0] if words else ""


def _sequence_smiles(atoms: Protein) -> str:
    """SMILES of a peptide of ordinary amino acids; empty for anything else."""
    if any(residue.name not in RESIDUES for residue in atoms.residues):
        return ""
    if len({residue.chain for residue in atoms.residues}) > 1:
        return ""
    letters = [gemmi.find_tabulated_residue(residue.name).one_letter_code for residue in atoms.residues]
    return Chem.MolToSmiles(Chem.MolFromSequence("".join(letters)))


def with_template(mol: Chem.Mol, smiles: str, place: str) -> Chem.Mol:
    """The molecule of a SMILES at the heavy atoms of `mol` (any bond orders, or no bonds), which keep their order.

    Where the SMILES fits in several ways, its bonds of higher order lie where the distances are shorter. Salts of the
    SMILES that the file does not have are left out. Raises UnreadableFile where it does not fit.
    """
    template = _template(smiles, mol.GetNumHeavyAtoms(), place)
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    if len(heavy) != template.GetNumAtoms():
        raise UnreadableFile(
            "SMILES does not fit",
            f"{place}: {len(heavy)} heavy atoms, but the SMILES has {template.GetNumAtoms()}; "
            "give the SMILES of these atoms alone, or a file of that molecule alone",
        )
    x = mol.GetConformer().GetPositions()[heavy]
    skeleton = _skeleton([template.GetAtomWithIdx(i).GetAtomicNum() for i in range(len(heavy))], _bonds(template))
    numbers, key = [mol.GetAtomWithIdx(i).GetAtomicNum() for i in heavy], Chem.MolToSmiles(skeleton)
    matches: tuple[tuple[int, ...], ...] = ()
    for bonds in _possible_bonds(mol, heavy, x):
        found = _skeleton(numbers, bonds)
        if len(bonds) == template.GetNumBonds() and Chem.MolToSmiles(found) == key:
            matches = found.GetSubstructMatches(skeleton, uniquify=False)
            break
    else:
        raise UnreadableFile(
            "SMILES does not fit", f"{place}: the atoms are not bonded as in the SMILES {smiles}; is it this molecule?"
        )
    return _placed(template, min(matches, key=lambda match: _length(template, x[list(match)])), x, place)


def _template(smiles: str, num_atoms: int, place: str) -> Chem.Mol:
    """The molecule of a SMILES without hydrogens, or the largest of its pieces where all are too many."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None or not mol.GetNumAtoms():
        raise UnreadableFile("no SMILES", f"{place}: {smiles[:80]!r} is not a SMILES")
    mol = Chem.RemoveAllHs(mol)
    if mol.GetNumAtoms() > num_atoms:
        mol = max(Chem.GetMolFrags(mol, asMols=True), key=lambda piece: piece.GetNumAtoms())
    return mol


def _bonds(mol: Chem.Mol) -> list[tuple[int, int]]:
    return [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]


def _possible_bonds(mol: Chem.Mol, heavy: list[int], x: NDArray[np.float64]) -> Iterator[list[tuple[int, int]]]:
    """Bonds between heavy atoms, by their number: those of the file, else by distance, of decreasing reach."""
    number = {atom: k for k, atom in enumerate(heavy)}
    there = [(number[i], number[j]) for i, j in _bonds(mol) if i in number and j in number]
    if there:
        yield there
        return
    table = Chem.GetPeriodicTable()
    radius = np.array([table.GetRcovalent(mol.GetAtomWithIdx(i).GetAtomicNum()) for i in heavy])
    ratio = np.linalg.norm(x[:, None] - x[None], axis=-1) / (radius[:, None] + radius[None])
    for reach in REACHES:
        yield [(int(i), int(j)) for i, j in np.argwhere(np.triu(ratio < reach, 1))]


def _skeleton(numbers: list[int], bonds: list[tuple[int, int]]) -> Chem.Mol:
    """Atoms by atomic number and single bonds; isotopes are classes of symmetry, without which a search takes ages."""
    mol = Chem.RWMol()
    for number in numbers:
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    for i, j in bonds:
        mol.AddBond(i, j, Chem.BondType.SINGLE)
    Chem.FastFindRings(mol)
    for atom, rank in zip(mol.GetAtoms(), Chem.CanonicalRankAtoms(mol, breakTies=False), strict=True):
        atom.SetIsotope(rank + 1)
    return mol.GetMol()


def _length(template: Chem.Mol, x: NDArray[np.float64]) -> float:
    """Sum of the lengths (Å) of a template's bonds with its atoms at x [N, 3], weighted with their orders."""
    return sum(
        float(bond.GetBondTypeAsDouble() * np.linalg.norm(x[bond.GetBeginAtomIdx()] - x[bond.GetEndAtomIdx()]))
        for bond in template.GetBonds()
    )


def _placed(template: Chem.Mol, match: tuple[int, ...], x: NDArray[np.float64], place: str) -> Chem.Mol:
    """The template with its atoms in the order of the file, at the file's places x [N, 3] Å; stereo from these."""
    mol = Chem.RenumberAtoms(template, np.argsort(match).tolist())
    Chem.AssignStereochemistryFrom3D(_at(mol, x))
    if not mol.HasSubstructMatch(template, useChirality=True):
        log.warning("%s: the coordinates show another stereoisomer than the SMILES; the coordinates count", place)
    return mol


def _at(mol: Chem.Mol, x: NDArray[np.float64]) -> Chem.Mol:
    """The molecule itself, with its atoms at x [N, 3] Å."""
    conformer = Chem.Conformer(len(x))
    conformer.Set3D(True)
    conformer.SetPositions(x)
    mol.RemoveAllConformers()
    mol.AddConformer(conformer, assignId=True)
    return mol
