"""Hydrogens of a protein file, which most do not have. Never imports torch."""

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial import cKDTree

from ligandsmith.evaluation.protein import ProteinView
from ligandsmith.evaluation.tools.residues import residue_molecule

BONDS = {6: 0.97, 7: 0.86, 8: 0.84, 16: 1.2}  # Å, to the centre of the electron cloud, as Reduce's default
OTHER_BOND = 1.0  # Å

Hydrogens = tuple[NDArray[np.float64], NDArray[np.int64]]  # places [h, 3] Å, atomic numbers of what they are on [h]


class ProteinHydrogens:
    """Hydrogens of the amino acids of one protein, placed by RDKit when a residue is first asked for."""

    def __init__(self, protein: ProteinView) -> None:
        self.protein = protein
        self.tree = cKDTree(protein.x)
        self.placed: dict[int, Hydrogens] = {}  # by residue

    def residues_near(self, x: NDArray[np.float64], reach: float) -> list[int]:
        """Residues with an atom within `reach` Å of any of x [n, 3]."""
        atoms = sorted({a for near in self.tree.query_ball_point(x, reach) for a in near})
        return [int(i) for i in np.unique(self.protein.residue_index[atoms])] if atoms else []

    def of(self, residue: int) -> Hydrogens:
        """Those of a residue; none where its bonds are not known."""
        if residue not in self.placed:
            mol, own = residue_molecule(self.protein, residue, self.tree)
            self.placed[residue] = (
                _hydrogens(mol, own) if mol is not None else (np.zeros((0, 3)), np.zeros(0, np.int64))
            )
        return self.placed[residue]


def _hydrogens(mol: Chem.Mol | None, own: int) -> Hydrogens:
    """Those on the first `own` atoms."""
    if mol is None:
        return np.zeros((0, 3)), np.zeros(0, dtype=np.int64)
    with_h = Chem.AddHs(mol, addCoords=True)
    x = with_h.GetConformer().GetPositions()
    places, on = [], []
    for atom in with_h.GetAtoms():
        heavy = atom.GetNeighbors()[0] if atom.GetAtomicNum() == 1 else None
        if heavy is not None and heavy.GetIdx() < own:
            start = x[heavy.GetIdx()]
            bond = x[atom.GetIdx()] - start
            places.append(start + bond / np.linalg.norm(bond) * BONDS.get(heavy.GetAtomicNum(), OTHER_BOND))
            on.append(heavy.GetAtomicNum())
    return np.array(places).reshape(-1, 3), np.array(on, dtype=np.int64)
