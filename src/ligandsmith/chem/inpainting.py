"""Which part of a generated ligand to keep, so that only its defects are generated again."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.sparse.csgraph import connected_components

from ligandsmith.chem.fragment import Fragment
from ligandsmith.chem.plausibility import TOLERATED_RING
from ligandsmith.records import Ligand, Rejection
from ligandsmith.structure.ligands import ligand_from_mol
from ligandsmith.structure.vocabulary import AROMATIC, SINGLE

LEAST_REGROWN = 4  # atoms
LARGEST_SHARE = 0.85  # of the atoms, that is kept: the most that training gives
SMALLEST_PIECE = 3  # atoms in a row that are worth keeping


class Kept(NamedTuple):
    """The part of a ligand that is kept, and the ligand's atoms in the order in which the part comes first."""

    part: Fragment
    order: NDArray[np.int64]  # [N]


def kept_part(mol: Chem.Mol, defective: NDArray[np.bool_], always: int = 0, seed: int = 0) -> Kept | None:
    """What remains of a ligand without its defective atoms [N], whole rings at a time; None where nothing does.

    The first `always` atoms remain in any case. Around the faults, or around any place where none is known, enough is
    left out that something else can grow there; `seed` decides where.
    """
    out = _left_out(mol, defective, always, np.random.default_rng(seed))
    if out is None or len(out) - out.sum() <= always:
        return None
    ligand = ligand_from_mol(mol, "ligand", whole=False)
    if isinstance(ligand, Rejection):
        return None
    return Kept(Fragment(_part(ligand, ~out)), np.argsort(out, kind="stable"))


def _left_out(
    mol: Chem.Mol, defective: NDArray[np.bool_], always: int, rng: np.random.Generator
) -> NDArray[np.bool_] | None:
    """Atoms [N] to be generated again; None where they would be too few."""
    n = mol.GetNumAtoms()
    unit, near, free = _units(mol), Chem.GetAdjacencyMatrix(mol).astype(bool), np.arange(n) >= always
    start = unit[defective] if defective.any() else unit[rng.integers(n, size=1)]
    out: NDArray[np.bool_] = np.isin(unit, start) & free
    while out.sum() < LEAST_REGROWN or 1 - out.mean() > LARGEST_SHARE:
        border = np.flatnonzero(near[out].any(0) & ~out & free)
        if not len(border):
            return None
        out |= (unit == unit[rng.choice(border)]) & free
    piece = connected_components(near & ~out[:, None] & ~out)[1]
    small = np.bincount(piece)[piece] < SMALLEST_PIECE
    return out | small & ~np.isin(piece, piece[:always])


def _units(mol: Chem.Mol) -> NDArray[np.int64]:
    """Number of the unit that each atom [N] belongs to: ordinary rings, fused and with their double bonds, or an atom.

    A ring that loses a double bond may not be the same ring any more, so that only single bonds are cut.
    """
    low, high = TOLERATED_RING
    unit = np.arange(mol.GetNumAtoms())
    rings = [ring for ring in mol.GetRingInfo().AtomRings() if low <= len(ring) <= high]
    multiple = (Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds() if b.GetBondType() in multiple]
    for atoms in (*rings, *bonds):
        unit[np.isin(unit, unit[list(atoms)])] = unit[list(atoms)].min()
    return unit


def _part(ligand: Ligand, kept: NDArray[np.bool_]) -> Ligand:
    """These atoms and the bonds between them; hydrogens where a bond was cut."""
    number = np.cumsum(kept) - 1
    inside = kept[ligand.bond_index].all(1)
    order = np.where(ligand.bond_type == AROMATIC, SINGLE, ligand.bond_type)
    hydrogens = ligand.num_h.astype(np.int64)
    for side in (0, 1):
        np.add.at(hydrogens, ligand.bond_index[~inside, side], order[~inside])
    return replace(
        ligand,
        element=ligand.element[kept], charge=ligand.charge[kept], aromatic=ligand.aromatic[kept],
        num_h=hydrogens[kept].astype(np.uint8), x=ligand.x[kept],
        bond_index=number[ligand.bond_index[inside]].astype(np.int16), bond_type=ligand.bond_type[inside],
    )  # fmt: skip
