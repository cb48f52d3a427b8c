"""RDKit molecule with 3D coordinates -> Ligand, with every reason for which a molecule is refused."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.config import MAX_ATOMS, MIN_ATOMS
from ligandsmith.records import Ligand, Rejection
from ligandsmith.structure import vocabulary as vocab

BOND_TYPES = {
    Chem.BondType.SINGLE: vocab.SINGLE,
    Chem.BondType.DOUBLE: vocab.DOUBLE,
    Chem.BondType.TRIPLE: vocab.TRIPLE,
    Chem.BondType.AROMATIC: vocab.AROMATIC,
}
CLOSEST_CONTACT = 0.8  # Å; no two heavy atoms of a real molecule are closer


def ligand_from_mol(mol: Chem.Mol, id: str, x: NDArray[Any] | None = None, *, whole: bool = True) -> Ligand | Rejection:
    """Heavy atoms of a sanitised molecule.

    `x` [N, 3] Å replaces the conformer of `mol` (then `mol` must have no explicit hydrogens). Only with `whole=False`
    it may be as small as an atom, or several pieces.
    """
    if x is None:
        if not mol.GetNumConformers() or not mol.GetConformer().Is3D():
            return Rejection(id, "no 3D coordinates", "the molecule has no 3D conformer")
        mol = Chem.RemoveAllHs(mol)  # sanitises, so that the hydrogen counts stay right
        x = mol.GetConformer().GetPositions()
    coordinates = np.asarray(x, dtype=np.float32)
    rejection = _refuse(mol, id, coordinates, whole=whole)
    if rejection is not None:
        return rejection
    atoms = list(mol.GetAtoms())
    bonds = [sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()]
    return Ligand(
        element=np.array([a.GetAtomicNum() for a in atoms], dtype=np.uint8),
        charge=np.array([a.GetFormalCharge() for a in atoms], dtype=np.int8),
        aromatic=np.array([a.GetIsAromatic() for a in atoms], dtype=np.bool_),
        num_h=np.array([a.GetTotalNumHs() for a in atoms], dtype=np.uint8),
        x=coordinates,
        bond_index=np.array(bonds, dtype=np.int16).reshape(-1, 2),
        bond_type=np.array([BOND_TYPES[b.GetBondType()] for b in mol.GetBonds()], dtype=np.uint8),
    )


def _refuse(mol: Chem.Mol, id: str, x: NDArray[np.float32], *, whole: bool) -> Rejection | None:
    """The first reason, if any, for which this molecule cannot be a training record."""
    n = mol.GetNumAtoms()
    if x.shape != (n, 3):
        return Rejection(id, "wrong coordinates", f"{n} atoms but coordinates of shape {x.shape}")
    if not np.isfinite(x).all():
        return Rejection(id, "non-finite coordinates", f"atom {int(np.argwhere(~np.isfinite(x))[0, 0]) + 1}")
    least = MIN_ATOMS if whole else 1
    if not least <= n <= MAX_ATOMS:
        return Rejection(id, "ligand size", f"{n} heavy atoms; {least} to {MAX_ATOMS} are accepted")
    return (
        _refuse_atoms(mol, id, whole=whole) or (_refuse_pieces(mol, id) if whole else None) or _refuse_geometry(id, x)
    )


def _refuse_atoms(mol: Chem.Mol, id: str, *, whole: bool) -> Rejection | None:
    for atom in mol.GetAtoms():
        place = f"atom {atom.GetIdx() + 1} ({atom.GetSymbol()})"
        if atom.GetAtomicNum() not in vocab.VOCABULARY.ligand_elements:
            return Rejection(id, "unknown element", place)
        if atom.GetFormalCharge() not in vocab.VOCABULARY.charges:
            return Rejection(id, "unsupported charge", f"{place} has charge {atom.GetFormalCharge():+d}")
        if whole and atom.GetTotalNumHs() > vocab.VOCABULARY.max_hydrogens:  # a part may be a methane
            return Rejection(id, "unsupported hydrogens", f"{place} has {atom.GetTotalNumHs()} hydrogens")
        if atom.GetNumRadicalElectrons():
            return Rejection(id, "radical", place)
    for bond in mol.GetBonds():
        if bond.GetBondType() not in BOND_TYPES:
            return Rejection(id, "unsupported bond", f"{bond.GetBondType()} at bond {bond.GetIdx() + 1}")
    return None


def _refuse_pieces(mol: Chem.Mol, id: str) -> Rejection | None:
    fragments = len(Chem.GetMolFrags(mol))
    if fragments > 1:
        return Rejection(id, "several fragments", f"{fragments} fragments; keep one molecule per record")
    return None


def _refuse_geometry(id: str, x: NDArray[np.float32]) -> Rejection | None:
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + 10 * np.eye(len(x))
    if distance.min() < CLOSEST_CONTACT:
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        return Rejection(id, "overlapping atoms", f"atoms {i + 1} and {j + 1} are {distance.min():.2f} Å apart")
    return None


def mol_from_ligand(ligand: Ligand) -> Chem.Mol:
    """The inverse of `ligand_from_mol`: sanitised molecule with a conformer and stereo from 3D."""
    mol = Chem.RWMol()
    for z, q, aromatic, h in zip(ligand.element, ligand.charge, ligand.aromatic, ligand.num_h, strict=True):
        atom = Chem.Atom(int(z))
        atom.SetFormalCharge(int(q))
        atom.SetIsAromatic(bool(aromatic))
        atom.SetNumExplicitHs(int(h))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    classes = {v: k for k, v in BOND_TYPES.items()}
    for (i, j), order in zip(ligand.bond_index, ligand.bond_type, strict=True):
        mol.AddBond(int(i), int(j), classes[int(order)])
    result = mol.GetMol()
    result.AddConformer(conformer(ligand.x), assignId=True)
    Chem.SanitizeMol(result)
    Chem.AssignStereochemistryFrom3D(result)
    return result


def conformer(x: Sequence[Sequence[float]] | NDArray[Any]) -> Chem.Conformer:
    """A 3D RDKit conformer from coordinates [N, 3] Å."""
    conf = Chem.Conformer(len(x))
    conf.Set3D(True)
    conf.SetPositions(np.ascontiguousarray(x, dtype=np.float64))
    return conf
