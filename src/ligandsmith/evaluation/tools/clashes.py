"""Clashes as PoseCheck counts them, hydrogens included. Never imports torch.

PoseCheck (Harris et al. 2023): pairs of a ligand and a protein atom closer than the sum of their van der Waals radii
(RDKit's) less 0.5 Å. The ligand's hydrogens are RDKit's; PoseCheck's protein hydrogens are those of Reduce, placed here
by RDKit at the bond lengths of Reduce. With these the reference ligands of the CrossDocked test set have 4.87 clashes
in the mean, published are 4.7; with RDKit's longer bonds they have 6.50, without any hydrogens 0.14.
"""

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.evaluation.protein import ProteinView
from ligandsmith.evaluation.tools.hydrogens import ProteinHydrogens

TOLERANCE = 0.5  # Å
REACH = 8.0  # Å from a ligand's heavy atom to a residue; bonds to hydrogen and the longest sum of radii are well within

Atoms = tuple[NDArray[np.float64], NDArray[np.float64]]  # places [n, 3] Å, radii [n] Å


class ClashCounter:
    """Counts clashes with one protein, whose hydrogens are placed when a ligand first comes near a residue."""

    def __init__(self, protein: ProteinView) -> None:
        self.protein = protein
        self.hydrogens = ProteinHydrogens(protein)
        self.prepared: dict[int, Atoms] = {}  # by residue

    def count(self, mol: Chem.Mol) -> int:
        """Clashes of a heavy-atom molecule, with hydrogens added."""
        residues = [self._residue(i) for i in self.hydrogens.residues_near(mol.GetConformer().GetPositions(), REACH)]
        if not residues:
            return 0
        x, radii = _atoms(Chem.AddHs(mol, addCoords=True))
        place, size = np.concatenate([r[0] for r in residues]), np.concatenate([r[1] for r in residues])
        distance = np.linalg.norm(x[:, None] - place[None], axis=-1)
        return int((distance + TOLERANCE < radii[:, None] + size[None]).sum())

    def _residue(self, index: int) -> Atoms:
        """Atoms of a residue; heavy atoms alone where its bonds are not known."""
        if index not in self.prepared:
            own = self.protein.residue_index == index
            table = Chem.GetPeriodicTable()
            x, radii = self.protein.x[own], np.array([table.GetRvdw(int(z)) for z in self.protein.element[own]])
            hydrogens, _ = self.hydrogens.of(index)
            radius = np.full(len(hydrogens), table.GetRvdw(1))
            self.prepared[index] = (np.concatenate([x, hydrogens]), np.concatenate([radii, radius]))
        return self.prepared[index]


def _atoms(mol: Chem.Mol) -> Atoms:
    table = Chem.GetPeriodicTable()
    radii = [table.GetRvdw(atom.GetAtomicNum()) for atom in mol.GetAtoms()]
    return np.asarray(mol.GetConformer().GetPositions()), np.array(radii)


def posecheck_clashes(mol: Chem.Mol, protein: ProteinView) -> int:
    """Clashes of one molecule; for many at one protein use a ClashCounter."""
    return ClashCounter(protein).count(mol)
