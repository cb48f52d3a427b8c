"""How alike the volume and place of a molecule and the reference are, in their pocket. Never imports torch."""

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdShapeHelpers


def shape_similarity(mol: Chem.Mol, reference: Chem.Mol) -> float:
    """1 - RDKit's shape Tanimoto distance of heavy atoms, without moving either: 1 the same volume, 0 no overlap."""
    return 1.0 - float(rdShapeHelpers.ShapeTanimotoDist(mol, reference, ignoreHs=True))


def centroid_distance(mol: Chem.Mol, reference: Chem.Mol) -> float:
    """Å between the means of the heavy atoms' places."""
    return float(np.linalg.norm(_centroid(mol) - _centroid(reference)))


def _centroid(mol: Chem.Mol) -> np.ndarray:
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    return np.asarray(mol.GetConformer().GetPositions()[heavy].mean(0))
