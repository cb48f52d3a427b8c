"""Single residues of a protein file: bonds, charges and hydrogens of amino acids. Never imports torch."""

from collections.abc import Collection
from functools import lru_cache

import gemmi
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.protein import ProteinView
from ligandsmith.structure.completeness import standard_atoms

CHARGES = {("ASP", "OD2"): -1, ("GLU", "OE2"): -1, ("LYS", "NZ"): 1, ("ARG", "NH2"): 1}
TYPED_RESIDUES = frozenset(
    gemmi.expand_one_letter_sequence("ACDEFGHIKLMNPQRSTVWY", gemmi.ResidueKind.AA)
)  # of which RDKit knows the bond orders
RESIDUES_KEPT = 4096  # in memory
SHORTEST_SINGLE = {(6, 6): 1.43, (6, 7): 1.40, (7, 7): 1.35}  # Å; of what a modified residue has beyond the amino acid
CARBONYL = 1.30  # Å, at most
CARBON, NITROGEN, OXYGEN, PHOSPHORUS, SULFUR = 6, 7, 8, 15, 16
BOND = 2.2  # Å, the longest of a protein, sulphur to sulphur


HYDROGEN_BONDS = {6: 0.97, 7: 0.86, 8: 0.84, 16: 1.2}  # Å, to the centre of the electron cloud, as Reduce's default
OTHER_HYDROGEN_BOND = 1.0  # Å


def residue_label(protein: ProteinView, index: int) -> str:
    """Chain, name and number, as in "A:ASP129"."""
    return protein.residues[index].full_label


@lru_cache(maxsize=RESIDUES_KEPT)
def parent_name(name: str) -> str:
    """The amino acid of the twenty that a residue is or is made from (SEP: SER); empty for anything else."""
    if name in TYPED_RESIDUES:
        return name
    known = gemmi.find_tabulated_residue(name)
    code = known.one_letter_code.strip().upper()
    made_from = gemmi.expand_one_letter(code, gemmi.ResidueKind.AA) if code and known.is_amino_acid() else ""
    return made_from if made_from in TYPED_RESIDUES else ""


@lru_cache(maxsize=RESIDUES_KEPT)
def residue_molecule(protein: ProteinView, index: int) -> tuple[Chem.Mol | None, int]:
    """An amino acid with the atoms bonded to it and theirs, bond orders and charges, its own atoms first; their number.

    A modified one has the bond orders of the amino acid that it is made from, and phosphates, sulfates, carbonyls and
    the like by their atoms. A metal is its atom. None for other groups, where RDKit can make no molecule, and where
    bonds of a modified residue are too short for single ones.
    """
    name = protein.residues[index].name
    own: list[int] = np.flatnonzero(protein.residue_index == index).tolist()
    metal = len(own) == 1 and gemmi.Element(int(protein.element[own[0]])).is_metal
    if not parent_name(name) and not metal:
        return None, 0
    atoms = own if metal else own + _bonded(protein, own)
    lines = [_pdb_line(protein, atom) for atom in atoms]
    mol = Chem.MolFromPDBBlock("\n".join(lines), sanitize=False, removeHs=False)
    if mol is None or mol.GetNumAtoms() != len(atoms):
        return None, 0
    for atom in mol.GetAtoms():
        info = atom.GetPDBResidueInfo()
        key = (info.GetResidueName().strip(), info.GetName().strip())
        if key in CHARGES or key[1] == "OXT":
            atom.SetFormalCharge(CHARGES.get(key, -1))
    if not metal and name not in TYPED_RESIDUES and not _completed(mol, len(own), standard_atoms(parent_name(name))):
        return None, 0
    try:
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):  # atoms on top of each other, as in an unmodelled alternative
        return None, 0
    return mol, len(own)


def _completed(mol: Chem.Mol, own: int, usual: Collection[str]) -> bool:
    """Set orders and charges of the bonds that a modified residue has beyond its amino acid, whose atoms are `usual`.

    False where some cannot be told without its hydrogens.
    """
    x = mol.GetConformer().GetPositions()
    atoms = [mol.GetAtomWithIdx(i) for i in range(own)]
    extra = {a.GetIdx() for a in atoms if a.GetPDBResidueInfo().GetName().strip() not in usual}
    for atom in atoms:
        around = {n.GetIdx(): float(np.linalg.norm(x[n.GetIdx()] - x[atom.GetIdx()])) for n in atom.GetNeighbors()}
        ends = [
            i
            for i in sorted(around, key=around.__getitem__)
            if i in extra and mol.GetAtomWithIdx(i).GetAtomicNum() == OXYGEN and mol.GetAtomWithIdx(i).GetDegree() == 1
        ]
        doubles = _double_bonds(atom, len(ends), min((around[i] for i in ends), default=np.inf))
        for k, i in enumerate(ends):
            if k < doubles:
                mol.GetBondBetweenAtoms(atom.GetIdx(), i).SetBondType(Chem.BondType.DOUBLE)
            elif doubles:
                mol.GetAtomWithIdx(i).SetFormalCharge(-1)
    for atom in atoms:
        if atom.GetAtomicNum() == NITROGEN:
            charged = atom.GetFormalCharge() == 1 and not any(map(_is_carbonyl, atom.GetNeighbors()))
            atom.SetFormalCharge(int(charged or atom.GetDegree() == 4))
        elif atom.GetAtomicNum() == OXYGEN and atom.GetDegree() > 1:
            atom.SetFormalCharge(0)
    return all(_is_plain(bond, x) for bond in mol.GetBonds() if {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} & extra)


def _double_bonds(atom: Chem.Atom, ends: int, shortest: float) -> int:
    """How many of the oxygens at the ends of an atom are bonded to it by double bonds."""
    if atom.GetAtomicNum() == CARBON:
        return int(ends > 1 or shortest < CARBONYL)
    if atom.GetAtomicNum() == SULFUR:
        return min(ends, max(atom.GetDegree() - 2, 0))  # sulfenic, sulfinic and sulfonic acids
    return int(ends > 0 and atom.GetAtomicNum() in (PHOSPHORUS, NITROGEN))


def _is_carbonyl(atom: Chem.Atom) -> bool:
    return atom.GetAtomicNum() == CARBON and any(
        bond.GetBondType() == Chem.BondType.DOUBLE and bond.GetOtherAtom(atom).GetAtomicNum() == OXYGEN
        for bond in atom.GetBonds()
    )


def _is_plain(bond: Chem.Bond, x: NDArray[np.float64]) -> bool:
    """Whether a single bond is as long as one; bonds of other orders, and those of an amide, are what they are."""
    ends = sorted((bond.GetBeginAtom(), bond.GetEndAtom()), key=Chem.Atom.GetAtomicNum)
    shortest = SHORTEST_SINGLE.get((ends[0].GetAtomicNum(), ends[1].GetAtomicNum()), 0.0)
    length = float(np.linalg.norm(x[ends[0].GetIdx()] - x[ends[1].GetIdx()]))
    return bond.GetBondType() != Chem.BondType.SINGLE or length >= shortest or any(map(_is_carbonyl, ends))


def _bonded(protein: ProteinView, own: list[int]) -> list[int]:
    """Atoms of other amino acids at most two bonds away."""
    found: set[int] = set()
    for _ in range(2):
        for near in protein.tree.query_ball_point(protein.x[[*own, *found]], BOND):
            found |= {a for a in near if parent_name(protein.residues[protein.residue_index[a]].name)} - set(own)
    return sorted(found)


def _pdb_line(protein: ProteinView, atom: int) -> str:
    """ATOM record; chain and number stand for the residue's place in the file, which may be too long for PDB's."""
    index = int(protein.residue_index[atom])
    name, residue = protein.name[atom], protein.residues[index].name
    residue = parent_name(residue) or residue
    symbol = Chem.GetPeriodicTable().GetElementSymbol(int(protein.element[atom])).upper()
    padded = name.ljust(4) if len(symbol) == 2 or len(name) > 3 else f" {name:<3}"
    x, y, z = protein.x[atom]
    place = f"ATOM  {1:5d} {padded} {residue[:3]:>3} A{index % 10000:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
    return f"{place}  1.00  0.00          {symbol:>2}"


@lru_cache(maxsize=RESIDUES_KEPT)
def residue_hydrogens(protein: ProteinView, index: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Hydrogens of a residue placed by RDKit: x [H, 3] in Å, and the atomic numbers of what they are bonded to [H].

    None where the bonds of the residue are not known.
    """
    mol, own = residue_molecule(protein, index)
    places, on = [], []
    if mol is not None:
        with_h = Chem.AddHs(mol, addCoords=True)
        x = with_h.GetConformer().GetPositions()
        for atom in with_h.GetAtoms():
            heavy = atom.GetNeighbors()[0] if atom.GetAtomicNum() == 1 else None
            if heavy is not None and heavy.GetIdx() < own:
                start = x[heavy.GetIdx()]
                bond = x[atom.GetIdx()] - start
                length = HYDROGEN_BONDS.get(heavy.GetAtomicNum(), OTHER_HYDROGEN_BOND)
                places.append(start + bond / np.linalg.norm(bond) * length)
                on.append(heavy.GetAtomicNum())
    return np.array(places).reshape(-1, 3), np.array(on, dtype=np.int64)
