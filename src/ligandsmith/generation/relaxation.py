"""Relaxation of sampled ligands in their pocket, before they are judged: bonds, angles and contacts are eased.

Besides the force field, Vina's interaction energy acts on the heavy atoms: the pocket has no charges here, and without
it ligands give up hydrogen bonds.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.relax import HeavyEnergy, RelaxFailure, RelaxOptions, relax
from ligandsmith.chem.surroundings import ProteinSurroundings, protein_of
from ligandsmith.chem.vina import VinaReceptor, interaction_energy, ligand_types, receptor_of
from ligandsmith.records import Pocket

# Of 45 candidates, 100 steps relaxed as many to a plausible pose as 600 did, in two thirds of the time.
OPTIONS = RelaxOptions(force=1.0, steps=100)
VINA_WEIGHT = 4.0  # of Vina's energy, kcal/mol: it is scaled to free energies, a force field's are several times larger


class PoseRelaxation(NamedTuple):
    """Relaxes ligands in one pocket."""

    around: ProteinSurroundings
    receptor: VinaReceptor

    @classmethod
    def in_pocket(cls, pocket: Pocket) -> "PoseRelaxation":
        """With all atoms of a pocket and what surrounds it."""
        receptor = receptor_of(pocket, np.zeros(3, np.float32), torch.device("cpu"))
        return cls(ProteinSurroundings(protein_of(pocket)), receptor)

    def relaxed(self, mol: Chem.Mol, fixed: int = 0) -> Chem.Mol | None:
        """The heavy atoms in their new places, of which the first `fixed` are the old ones, with the stereo that they
        have there; None where no force field knows the molecule."""
        try:
            found = relax(mol, self.around.of(mol), OPTIONS, self._vina(mol), fixed=fixed, keep_stereo=False)
        except RelaxFailure:
            return None
        copy = Chem.Mol(mol)
        copy.GetConformer().SetPositions(found.mol.GetConformer().GetPositions()[: mol.GetNumAtoms()])
        Chem.AssignStereochemistryFrom3D(copy)
        return copy

    def _vina(self, mol: Chem.Mol) -> HeavyEnergy:
        """Vina's energy of the heavy atoms of a ligand without hydrogens, and its gradient."""
        receptor, types = self.receptor.near(mol.GetConformer().GetPositions()), ligand_types(mol)

        def energy(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, gradient = interaction_energy(torch.as_tensor(x, dtype=torch.float32), types, receptor)
            return VINA_WEIGHT * float(value.sum()), VINA_WEIGHT * gradient.numpy().astype(np.float64)

        return energy
