"""Molecules of single residues of a protein file: bonds, charges and hydrogens of amino acids. Never imports torch."""

import gemmi
import numpy as np
from rdkit import Chem
from scipy.spatial import cKDTree

from ligandsmith.evaluation.protein import ProteinView

CHARGES = {("ASP", "OD2"): -1, ("GLU", "OE2"): -1, ("LYS", "NZ"): 1, ("ARG", "NH2"): 1}
AMINO_ACIDS = frozenset(
    gemmi.expand_one_letter_sequence("ACDEFGHIKLMNPQRSTVWY", gemmi.ResidueKind.AA)
)  # of which RDKit knows the bond orders
BOND = 2.2  # Å, the longest of a protein, sulphur to sulphur


def residue_label(protein: ProteinView, index: int) -> str:
    """Chain, name and number, as in "A:ASP129"."""
    chain, name, number, _ = protein.residues[index]
    return f"{chain}:{name}{number}"


def residue_molecule(protein: ProteinView, index: int, tree: cKDTree) -> tuple[Chem.Mol | None, int]:
    """An amino acid with the atoms bonded to it and theirs, bond orders and charges, its own atoms first; their number.

    `tree` has the protein's atoms. A metal is its atom. None for other groups, and where RDKit can make no molecule.
    """
    name = protein.residues[index][1]
    own: list[int] = np.flatnonzero(protein.residue_index == index).tolist()
    if name not in AMINO_ACIDS and len(own) > 1:
        return None, 0
    atoms = own if len(own) == 1 else own + _bonded(protein, own, tree)
    lines = [_pdb_line(protein, atom) for atom in atoms]
    mol = Chem.MolFromPDBBlock("\n".join(lines), sanitize=False, removeHs=False)
    if mol is None or mol.GetNumAtoms() != len(atoms):
        return None, 0
    for atom in mol.GetAtoms():
        info = atom.GetPDBResidueInfo()
        key = (info.GetResidueName().strip(), info.GetName().strip())
        if key in CHARGES or key[1] == "OXT":
            atom.SetFormalCharge(CHARGES.get(key, -1))
    try:
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):  # atoms on top of each other, as in an unmodelled alternative
        return None, 0
    return mol, len(own)


def _bonded(protein: ProteinView, own: list[int], tree: cKDTree) -> list[int]:
    """Atoms of other amino acids at most two bonds away."""
    found: set[int] = set()
    for edge in (own, None):
        start = list(found) if edge is None else edge
        for near in tree.query_ball_point(protein.x[start], BOND) if start else []:
            found |= {a for a in near if _may_bond(protein, a)} - set(own)
    return sorted(found)


def _may_bond(protein: ProteinView, atom: int) -> bool:
    return protein.residues[protein.residue_index[atom]][1] in AMINO_ACIDS


def _pdb_line(protein: ProteinView, atom: int) -> str:
    """ATOM record; chain and number stand for the residue's place in the file, which may be too long for PDB's."""
    index = int(protein.residue_index[atom])
    name, residue = protein.name[atom], protein.residues[index][1]
    symbol = Chem.GetPeriodicTable().GetElementSymbol(int(protein.element[atom])).upper()
    padded = name.ljust(4) if len(symbol) == 2 or len(name) > 3 else f" {name:<3}"
    x, y, z = protein.x[atom]
    place = f"ATOM  {1:5d} {padded} {residue[:3]:>3} A{index % 10000:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
    return f"{place}  1.00  0.00          {symbol:>2}"
