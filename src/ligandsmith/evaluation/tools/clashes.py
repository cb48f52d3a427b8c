"""Clashes as PoseCheck counts them, hydrogens included. Never imports torch.

PoseCheck (Harris et al. 2023): pairs of a ligand and a protein atom closer than the sum of their van der Waals radii
(RDKit's) less 0.5 Å. The ligand's hydrogens are RDKit's; PoseCheck's protein hydrogens are those of Reduce, placed here
by RDKit at the bond lengths of Reduce. With these the reference ligands of the CrossDocked test set have 4.89 clashes
in the mean, published are 4.7; with RDKit's longer bonds they have 6.50, without any hydrogens 0.14.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.protein import ProteinView
from ligandsmith.chem.residues import RESIDUES_KEPT, residue_hydrogens

TOLERANCE = 0.5  # Å
RESIDUE_REACH = 8.0  # Å from a heavy atom of the ligand; bonds to hydrogen and the longest sum of radii are less

Atoms = tuple[NDArray[np.float64], NDArray[np.float64]]  # places [n, 3] Å, radii [n] Å


def count_posecheck_clashes(mol: Chem.Mol, protein: ProteinView) -> int:
    """Clashes of a heavy-atom molecule, with hydrogens added."""
    near = protein.residues_near(mol.GetConformer().GetPositions(), RESIDUE_REACH)
    if not near:
        return 0
    full = Chem.AddHs(mol, addCoords=True)
    x, radii = full.GetConformer().GetPositions(), _radii([atom.GetAtomicNum() for atom in full.GetAtoms()])
    place, size = (np.concatenate(part) for part in zip(*(_residue_atoms(protein, i) for i in near), strict=True))
    distance = np.linalg.norm(x[:, None] - place[None], axis=-1)
    return int((distance + TOLERANCE < radii[:, None] + size[None]).sum())


@lru_cache(maxsize=RESIDUES_KEPT)
def _residue_atoms(protein: ProteinView, index: int) -> Atoms:
    """Atoms of a residue; heavy atoms alone where its bonds are not known."""
    own = protein.residue_index == index
    hydrogens, _ = residue_hydrogens(protein, index)
    elements = [*protein.element[own].tolist(), *[1] * len(hydrogens)]
    return np.concatenate([protein.x[own], hydrogens]), _radii(elements)


def _radii(elements: list[int]) -> NDArray[np.float64]:
    return np.array([Chem.GetPeriodicTable().GetRvdw(z) for z in elements])
