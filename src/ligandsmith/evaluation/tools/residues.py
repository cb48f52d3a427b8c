"""Single residues of a protein file: bonds, charges and hydrogens of amino acids. Never imports torch."""

from functools import lru_cache

import gemmi
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.evaluation.protein import ProteinView

CHARGES = {("ASP", "OD2"): -1, ("GLU", "OE2"): -1, ("LYS", "NZ"): 1, ("ARG", "NH2"): 1}
TYPED_RESIDUES = frozenset(
    gemmi.expand_one_letter_sequence("ACDEFGHIKLMNPQRSTVWY", gemmi.ResidueKind.AA)
)  # of which RDKit knows the bond orders
RESIDUES_KEPT = 4096  # in memory
BOND = 2.2  # Å, the longest of a protein, sulphur to sulphur


HYDROGEN_BONDS = {6: 0.97, 7: 0.86, 8: 0.84, 16: 1.2}  # Å, to the centre of the electron cloud, as Reduce's default
OTHER_HYDROGEN_BOND = 1.0  # Å


def residue_label(protein: ProteinView, index: int) -> str:
    """Chain, name and number, as in "A:ASP129"."""
    chain, name, number, _ = protein.residues[index]
    return f"{chain}:{name}{number}"


@lru_cache(maxsize=RESIDUES_KEPT)
def residue_molecule(protein: ProteinView, index: int) -> tuple[Chem.Mol | None, int]:
    """An amino acid with the atoms bonded to it and theirs, bond orders and charges, its own atoms first; their number.

    A metal is its atom. None for other groups, and where RDKit can make no molecule.
    """
    name = protein.residues[index][1]
    own: list[int] = np.flatnonzero(protein.residue_index == index).tolist()
    metal = len(own) == 1 and gemmi.Element(int(protein.element[own[0]])).is_metal
    if name not in TYPED_RESIDUES and not metal:
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
    try:
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError):  # atoms on top of each other, as in an unmodelled alternative
        return None, 0
    return mol, len(own)


def _bonded(protein: ProteinView, own: list[int]) -> list[int]:
    """Atoms of other amino acids at most two bonds away."""
    found: set[int] = set()
    for _ in range(2):
        for near in protein.tree.query_ball_point(protein.x[[*own, *found]], BOND):
            found |= {a for a in near if protein.residues[protein.residue_index[a]][1] in TYPED_RESIDUES} - set(own)
    return sorted(found)


def _pdb_line(protein: ProteinView, atom: int) -> str:
    """ATOM record; chain and number stand for the residue's place in the file, which may be too long for PDB's."""
    index = int(protein.residue_index[atom])
    name, residue = protein.name[atom], protein.residues[index][1]
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
