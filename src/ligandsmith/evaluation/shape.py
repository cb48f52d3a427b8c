"""How alike the volume and place of a molecule and the reference are, in their pocket. Never imports torch."""

from rdkit import Chem
from rdkit.Chem import rdShapeHelpers
from rdkit.Chem.rdMolTransforms import ComputeCentroid


def shape_similarity(mol: Chem.Mol, reference: Chem.Mol) -> float:
    """1 - RDKit's shape Tanimoto distance of heavy atoms, without moving either: 1 the same volume, 0 no overlap."""
    return 1.0 - float(rdShapeHelpers.ShapeTanimotoDist(mol, reference, ignoreHs=True))


def centroid_distance(mol: Chem.Mol, reference: Chem.Mol) -> float:
    """Å between the means of the heavy atoms' places."""
    first, second = (ComputeCentroid(each.GetConformer(), ignoreHs=True) for each in (mol, reference))
    return float(first.Distance(second))
