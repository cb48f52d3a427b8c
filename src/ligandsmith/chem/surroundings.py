"""What a fixed pocket does to a ligand: Lennard-Jones terms of its heavy atoms, and clashes. Never imports torch.

The pocket has no bonds, no hydrogens and no charges here, so that no residue, cofactor or gap of a protein file can
fail to be typed. Radii and depths are those of the Universal Force Field, with three exceptions that stand for what
charges would do: polar pairs (N, O) meet at 3.0 Å, a polar hydrogen is drawn to an acceptor at 1.9 Å, and a metal ion
binds N, O and S at 2.2 Å.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

UFF = {  # distance of the minimum in Å, depth in kcal/mol, of an atom with its like
    1: (2.886, 0.044), 5: (4.083, 0.180), 6: (3.851, 0.105), 7: (3.660, 0.069), 8: (3.500, 0.060),
    9: (3.364, 0.050), 14: (4.295, 0.402), 15: (4.147, 0.305), 16: (4.035, 0.274), 17: (3.947, 0.227),
    34: (4.205, 0.291), 35: (4.189, 0.251), 53: (4.500, 0.339),
}  # fmt: skip
OTHER = (2.8, 0.1)  # metal ions and the rest
POLAR, SULFUR = (7, 8), 16
POLAR_PAIR = (3.0, 0.15)  # Å, kcal/mol: N and O of a hydrogen bond
HYDROGEN_BOND = (1.9, 1.0)  # polar hydrogen and acceptor
HYDROGEN_DONOR = (2.6, 0.05)  # polar hydrogen and an N that has only hydrogens to give, or a metal
METAL_BOND = (2.2, 0.5)
SOFT = 0.6  # of the distance of the minimum; nearer, the energy rises on a straight line instead of to infinity
CLASH_RATIO = 0.75  # of the sum of the van der Waals radii, the threshold of PoseBusters
LIGAND_RADIUS = 1.6  # Å, of van der Waals; of a ligand's atom that is yet to get its element
APOLAR = (6, 15, 16, 34)  # pocket elements that make no hydrogen bonds
HYDROGEN_BOND_OVERLAP = 0.4  # Å, of a ligand's atom with any other
TIGHT = 0.2  # Å
LARGEST_VDW_RADIUS = 2.5  # Å, of any element in a protein file or a ligand


@dataclass(frozen=True)
class Surroundings:
    """Fixed heavy atoms around a ligand."""

    x: Array  # [P, 3] Å
    element: NDArray[np.int64]  # [P] atomic numbers
    accepts: NDArray[np.bool_]  # [P] accepts hydrogen bonds

    def near(self, x: Array, radius: float) -> "Surroundings":
        """The atoms within `radius` Å of any of x [N, 3]."""
        inside = ((self.x >= x.min(0) - radius) & (self.x <= x.max(0) + radius)).all(1)
        kept = np.flatnonzero(inside)
        distance = np.linalg.norm(self.x[kept][:, None] - x[None], axis=-1)
        kept = kept[(distance <= radius).any(1)]
        return Surroundings(self.x[kept], self.element[kept], self.accepts[kept])


@cache
def vdw_radius(element: int) -> float:
    """Van der Waals radius (Å) of an element by its atomic number."""
    return float(Chem.GetPeriodicTable().GetRvdw(element))


class PocketAtoms(NamedTuple):
    """Heavy atoms of a pocket or protein, ready for look-ups of neighbours."""

    tree: cKDTree  # of the places, Å
    element: NDArray[np.int64]  # [M] atomic numbers
    radius: Array  # [M] van der Waals, Å
    nearest: Array  # [M] Å, place of a ligand's heavy atom whose element is not known

    @classmethod
    def of(cls, x: NDArray[Any], element: NDArray[Any]) -> "PocketAtoms":
        """Places [M, 3] Å and atomic numbers [M]."""
        radius = np.array([vdw_radius(int(z)) for z in element])
        overlap = np.where(np.isin(element, APOLAR), 0.0, HYDROGEN_BOND_OVERLAP)
        return cls(cKDTree(x), np.asarray(element, dtype=np.int64), radius, radius + LIGAND_RADIUS - overlap)


def clashes_per_atom(mol: Chem.Mol, pocket: PocketAtoms) -> NDArray[np.int64]:
    """For each heavy atom of a ligand the number of pocket atoms nearer than 0.75 times the sum of the van der Waals
    radii."""
    return np.array(
        [(distance < CLASH_RATIO * (pocket.radius[near] + vdw_radius(element))).sum()
         for element, near, distance in _neighbours(mol, pocket, 2 * LARGEST_VDW_RADIUS * CLASH_RATIO)],
        dtype=np.int64,
    )  # fmt: skip


def tight_contacts(mol: Chem.Mol, pocket: PocketAtoms) -> NDArray[np.int64]:
    """For each heavy atom of a ligand the number of pocket atoms with which it makes no hydrogen bond and that are
    nearer than the sum of the van der Waals radii less 0.2 Å.

    Heavier atoms apart: the hydrogens on them touch. Crystal ligands have 1.3 in total, on average.
    """
    found = []
    for element, near, distance in _neighbours(mol, pocket, 2 * LARGEST_VDW_RADIUS - TIGHT):
        apolar = np.isin(pocket.element[near], APOLAR) | (element in APOLAR)
        found.append((apolar & (distance < pocket.radius[near] + vdw_radius(element) - TIGHT)).sum())
    return np.array(found, dtype=np.int64)


def _neighbours(
    mol: Chem.Mol, pocket: PocketAtoms, reach: float
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """Of each heavy atom the element, the pocket atoms within `reach` Å, and their distances, Å."""
    for atom, x in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        if atom.GetAtomicNum() > 1:
            near = np.array(pocket.tree.query_ball_point(x, reach), dtype=np.int64)
            yield atom.GetAtomicNum(), near, np.linalg.norm(pocket.tree.data[near] - x, axis=1)


class PocketTerm:
    """Energy of a ligand with hydrogens in its surroundings, kcal/mol, and its gradient."""

    def __init__(self, mol: Chem.Mol, surroundings: Surroundings) -> None:
        self.y = surroundings.x
        self.minimum, self.depth = _pair_parameters(mol, surroundings)  # [N, P] each

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Energy and its gradient [N, 3] at x [N, 3] Å."""
        square = (x * x).sum(1)[:, None] + (self.y * self.y).sum(1)[None] - 2 * x @ self.y.T
        r = np.sqrt(np.maximum(square, 1e-6))
        held = np.maximum(r, SOFT * self.minimum)
        sixth = (self.minimum / held) ** 6
        slope = 12 * self.depth * (sixth - sixth * sixth) / held  # dE/dr
        energy = self.depth * (sixth * sixth - 2 * sixth) + slope * (r - held)
        pull = slope / r
        return float(energy.sum()), pull.sum(1)[:, None] * x - pull @ self.y


def _pair_parameters(mol: Chem.Mol, surroundings: Surroundings) -> tuple[Array, Array]:
    ligand = np.array([a.GetAtomicNum() for a in mol.GetAtoms()])
    pocket = surroundings.element
    own, other = (np.array([UFF.get(int(z), OTHER) for z in elements]) for elements in (ligand, pocket))
    minimum = np.sqrt(own[:, None, 0] * other[None, :, 0])
    depth = np.sqrt(own[:, None, 1] * other[None, :, 1])
    polar = np.array(
        [z == 1 and a.GetNeighbors()[0].GetAtomicNum() in (*POLAR, SULFUR) if a.GetDegree() else False
         for a, z in zip(mol.GetAtoms(), ligand, strict=True)]
    )  # fmt: skip
    metal = np.array([int(z) not in UFF for z in pocket], dtype=bool)
    cases = (
        (np.isin(ligand, POLAR), np.isin(pocket, POLAR), POLAR_PAIR),
        (np.isin(ligand, (*POLAR, SULFUR)), metal, METAL_BOND),
        (polar, np.isin(pocket, POLAR) | metal, HYDROGEN_DONOR),
        (polar, surroundings.accepts, HYDROGEN_BOND),
    )
    for rows, columns, (distance, energy) in cases:
        pair = rows[:, None] & columns[None]
        minimum[pair], depth[pair] = distance, energy
    return minimum, depth
