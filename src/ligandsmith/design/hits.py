"""The ligands that an optimisation starts from: read, checked against the pocket and the fragment to keep."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rdkit import Chem
from scipy.spatial import cKDTree

from ligandsmith.chem.fragment import Fragment
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Pocket, Rejection
from ligandsmith.structure.ligands import (
    LIGAND_SUFFIXES,
    ligand_blocks,
    ligand_from_mol,
    mol_from_block,
    read_ligand,
    suffix,
    without_hydrogens,
)

SIZE_SLACK = 3  # heavy atoms more or fewer than the hits, where no range is given
HIT_CONTACT = 5.0  # Å, between a hit and the nearest atom of its pocket, at most
KEPT_PLACE = 0.75  # Å, of an atom of the fragment to keep and its copy in a hit
MOST_HITS = 1000


def read_hits(paths: Sequence[Path], smiles: str = "") -> list[Chem.Mol]:
    """All molecules of ligand files, heavy atoms. Raises LigandsmithError."""
    mols = []
    for path in paths:
        if path.is_file() and suffix(path) in LIGAND_SUFFIXES and not smiles:
            blocks = ligand_blocks(path)
            found = [mol_from_block(block, path, number) for number, block in enumerate(blocks[:MOST_HITS], 1)]
            if not found:
                raise LigandsmithError(f"{path}: no molecule in it")
            mols += found
        else:
            mols.append(read_ligand(path, smiles))
    return [without_hydrogens(mol) for mol in mols]


def usable_hits(
    mols: Sequence[Chem.Mol], pocket: Pocket, keep: Fragment | None, elements: Sequence[int]
) -> tuple[Chem.Mol, ...]:
    """The hits with the atoms of the fragment to keep first. Raises LigandsmithError for one that cannot be used."""
    found = []
    tree = cKDTree(pocket.x)
    for number, mol in enumerate(mols, 1):
        ligand = ligand_from_mol(mol, f"hit {number}")
        if isinstance(ligand, Rejection):
            raise LigandsmithError(f"hit {number}: {ligand.reason}: {ligand.detail}")
        unknown = sorted({a.GetSymbol() for a in mol.GetAtoms() if a.GetAtomicNum() not in elements})
        if unknown:
            raise LigandsmithError(f"hit {number}: these weights do not know {', '.join(unknown)}; leave it out")
        distance, _ = tree.query(ligand.x)
        if np.median(distance) > HIT_CONTACT:
            raise LigandsmithError(
                f"hit {number} lies outside the pocket: its atoms are {np.median(distance):.0f} Å from it; give it in "
                "the coordinates of the protein file, or name another site"
            )
        found.append(_keep_first(mol, keep, number))
    return tuple(found)


def _keep_first(mol: Chem.Mol, keep: Fragment | None, number: int) -> Chem.Mol:
    """The molecule with the atoms of the fragment first, in its order. Raises LigandsmithError if it lacks one."""
    if keep is None:
        return mol
    x = mol.GetConformer().GetPositions()
    distance, nearest = cKDTree(x).query(keep.ligand.x)
    elements = np.array([a.GetAtomicNum() for a in mol.GetAtoms()])
    lacking = (distance > KEPT_PLACE) | (elements[nearest] != keep.ligand.element)
    if lacking.any() or len(set(nearest.tolist())) < len(nearest):
        raise LigandsmithError(
            f"--keep: hit {number} does not have the fragment at its place (atom {int(lacking.argmax()) + 1} of it); "
            "cut the fragment out of the hit, or leave the hit out and name the site"
        )
    rest = [i for i in range(mol.GetNumAtoms()) if i not in set(nearest.tolist())]
    return Chem.RenumberAtoms(mol, [*nearest.tolist(), *rest])
