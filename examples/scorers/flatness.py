"""A score of your own as a function: the share of sp3 carbons, for molecules that are less flat.

`ligandsmith optimise ... --scorer flatness:sp3_share --objective "vina_min, sp3_share:0.5"` in this folder.
"""

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors


def sp3_share(mols: list[Chem.Mol]) -> list[float]:
    """One number for each molecule, heavy atoms with their pose; higher is better unless the objective has a minus."""
    return [float(rdMolDescriptors.CalcFractionCSP3(mol)) for mol in mols]
