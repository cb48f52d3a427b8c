"""A molecule at another place."""

import numpy as np
from rdkit import Chem


def moved(mol: Chem.Mol, shift: tuple[float, float, float]) -> Chem.Mol:
    """A copy shifted by so many Å."""
    copy = Chem.Mol(mol)
    copy.GetConformer().SetPositions(mol.GetConformer().GetPositions() + np.array(shift))
    return copy
