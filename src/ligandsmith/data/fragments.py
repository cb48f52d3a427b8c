"""Which part of a ligand is given, to be completed: fragments to grow, and pairs of fragments to link."""

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ligandsmith.config import MAX_FRAGMENT_SHARE
from ligandsmith.records import Ligand

MOST_CUTS = 3  # bonds


def draw_fragment(ligand: Ligand, rng: np.random.Generator) -> NDArray[np.bool_] | None:
    """Atoms [N] of one or more pieces between a few bonds outside of rings; None where no cut leaves enough to do."""
    breakable = np.flatnonzero(~_in_ring(ligand))
    if not len(breakable):
        return None
    cuts = rng.choice(breakable, min(int(rng.integers(1, MOST_CUTS + 1)), len(breakable)), replace=False)
    piece = _pieces(ligand, cuts)
    chosen = rng.random(int(piece.max()) + 1) < 0.5
    chosen[rng.integers(len(chosen))] = True
    fixed: NDArray[np.bool_] = chosen[piece]
    return fixed if fixed.mean() <= MAX_FRAGMENT_SHARE else None


def _in_ring(ligand: Ligand) -> NDArray[np.bool_]:
    """Bonds [E] that are part of a ring."""
    mol = Chem.RWMol()  # of carbons; only its graph is of use
    for _ in range(ligand.num_atoms):
        mol.AddAtom(Chem.Atom(6))
    for i, j in ligand.bond_index.tolist():
        mol.AddBond(i, j, Chem.BondType.SINGLE)
    Chem.FastFindRings(mol)
    rings = mol.GetRingInfo()
    return np.array([rings.NumBondRings(k) > 0 for k in range(mol.GetNumBonds())], dtype=np.bool_)


def _pieces(ligand: Ligand, cuts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Number of the piece [N] each atom belongs to once the bonds `cuts` are gone."""
    i, j = np.delete(ligand.bond_index, cuts, axis=0).T
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(ligand.num_atoms, ligand.num_atoms))
    return connected_components(graph, directed=False)[1]
