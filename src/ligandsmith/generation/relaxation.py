"""Relaxation of sampled ligands in their pocket, before they are judged: bonds, angles and contacts are eased."""

from typing import NamedTuple

from rdkit import Chem

from ligandsmith.chem.relax import RelaxFailure, RelaxOptions, relax
from ligandsmith.chem.surroundings import ProteinSurroundings, protein_of
from ligandsmith.records import Pocket

# Of 45 candidates, 100 steps relaxed as many to a plausible pose as 600 did, in two thirds of the time.
OPTIONS = RelaxOptions(force=5.0, steps=100)


class PoseRelaxation(NamedTuple):
    """Relaxes ligands in one pocket."""

    around: ProteinSurroundings

    @classmethod
    def in_pocket(cls, pocket: Pocket) -> "PoseRelaxation":
        """With all atoms of a pocket and what surrounds it."""
        return cls(ProteinSurroundings(protein_of(pocket)))

    def relaxed(self, mol: Chem.Mol, fixed: int = 0) -> Chem.Mol | None:
        """The heavy atoms in their new places, of which the first `fixed` are the old ones, with the stereo that they
        have there; None where no force field knows the molecule."""
        try:
            found = relax(mol, self.around.of(mol), OPTIONS, fixed=fixed, keep_stereo=False)
        except RelaxFailure:
            return None
        copy = Chem.Mol(mol)
        copy.GetConformer().SetPositions(found.mol.GetConformer().GetPositions()[: mol.GetNumAtoms()])
        Chem.AssignStereochemistryFrom3D(copy)
        return copy
