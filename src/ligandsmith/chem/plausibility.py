"""How far a built ligand is from a plausible one in its pocket, in milliseconds; for choosing among candidates.

The checks are those on which generated molecules fail most: bond lengths, bond angles and contacts within the molecule
against the bounds of RDKit's distance geometry (with the tolerances of PoseBusters; Buttenschoen et al. 2024), flat
aromatic rings, contacts with the pocket, strange rings, sulfur and phosphorus with valences that only exist on paper,
and bonds that had to be repaired. Nothing here is trained, and
nothing replaces the evaluator: it only ranks.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolDescriptors
from scipy.spatial import cKDTree

from ligandsmith.records import PROPERTIES, GeneratedLigand
from ligandsmith.structure.ligands import height_above_plane, ligand_properties

PLAUSIBLE = 1.0  # crystal ligands have 0.7 on average
CLOSE = 0.25  # standard deviations of a requested property; a plausible ligand as near as this is taken
WORST = 1000.0  # of a ligand that was not built
PIECES = 100.0  # of one in several fragments
BOND_TOLERANCE = 0.25  # of the bounds, of bonded and 1-3 pairs
CONTACT_TOLERANCE = 0.3  # of the lower bound, of the other pairs of a molecule
FLAT = 0.25  # Å, largest distance of a ring's atom from its plane
TOLERATED_RING = (5, 6)  # atoms of an ordinary ring
DOUBLE_BOND = Chem.MolFromSmarts("[C;X3](*)(*)=[C;X3](*)(*)")
# Valences that RDKit accepts and no drug has: sulfur with hydrogens beyond valence two or as a cation, or with four
# single bonds; phosphorus with hydrogens that is no P(V) oxide (H-phosphonates are), or with five single bonds.
PAPER_VALENCE = Chem.MolFromSmarts(
    "[$([#16;!H0;!v2]),$([#16v4X4+0]),$([#15;!H0;!$([#15H1v5X4]=[O,S,N])]),$([#15v5X5])]"
)
PAPER = 1.5  # of each; alone, it makes a ligand implausible
FUSED = 3  # fused rings of a molecule, at most
ODD_RING = 0.5
LARGE_RING = 8  # atoms, at least; such a ring is seldom meant
LARGE = 3  # odd rings that it counts for: alone, it makes a ligand implausible
TOO_ODD = 2  # odd rings of an estimate at t = 0.22; one ligand in six with as many has no defects in the end
CROWD = 3  # tight contacts of one atom, at least
TIGHT_CONTACT = 0.1  # with the pocket; where heavy atoms do not clash, their hydrogens do
REPAIR = 3.0
HIGHEST_ENERGY = 1e9  # kcal/mol
LARGEST_FORCE = 500.0  # kcal/mol/Å on an atom; more in every tenth crystal ligand, mostly hydrogens that touch
PULLED = 0.3  # of each heavy atom with more
STRAIN = 0.25  # of each factor of e in the force field's energy per atom
METAL_IONS = (3, 11, 12, 19, 20, *range(22, 31), 42, 44, 45, 46, 47, 48, 74, 78, 79, 80)  # as ions of proteins
COORDINATING = (7, 8, 9, 16, 17)  # elements of a ligand that bind a metal
SHORTEST_METAL_BOND = 1.7  # Å
CLASH_RATIO = 0.75  # of the sum of the van der Waals radii, the threshold of PoseBusters
LIGAND_RADIUS = 1.6  # Å, of van der Waals; of a ligand's atom that is yet to get its element
APOLAR = (6, 15, 16, 34)  # pocket elements that make no hydrogen bonds
HYDROGEN_BOND_OVERLAP = 0.4  # Å, of a ligand's atom with any other
TIGHT = 0.2  # Å
LARGEST_VDW_RADIUS = 2.5  # Å, of any element in a protein file or a ligand


class Defects(NamedTuple):
    """What speaks against a ligand, and where it lies."""

    score: float  # 0 without a fault, about one for each; `WORST` without a molecule
    atoms: NDArray[np.bool_]  # [N] that a fault lies on; none without a molecule


@cache
def vdw_radius(element: int) -> float:
    """Van der Waals radius (Å) of an element by its atomic number."""
    return float(Chem.GetPeriodicTable().GetRvdw(element))


class PocketAtoms(NamedTuple):
    """Heavy atoms of a pocket or protein, ready for look-ups of neighbours."""

    tree: cKDTree  # of the places, Å
    element: NDArray[np.int64]  # [M] atomic numbers
    radius: NDArray[np.float64]  # [M] van der Waals, Å
    nearest: NDArray[np.float64]  # [M] Å, place of a ligand's heavy atom whose element is not known

    @classmethod
    def of(cls, x: NDArray[Any], element: NDArray[Any]) -> "PocketAtoms":
        """Places [M, 3] Å and atomic numbers [M]."""
        radius = np.array([vdw_radius(int(z)) for z in element])
        overlap = np.where(np.isin(element, APOLAR), 0.0, HYDROGEN_BOND_OVERLAP)
        return cls(cKDTree(x), np.asarray(element, dtype=np.int64), radius, radius + LIGAND_RADIUS - overlap)


def find_defects(ligand: GeneratedLigand, pocket: PocketAtoms) -> Defects:
    """The score of a ligand and its defective atoms, to which those count that repair touched."""
    mol = ligand.mol
    if mol is None:
        return Defects(WORST, np.zeros(0, dtype=np.bool_))
    x = mol.GetConformer().GetPositions()
    groups = [*_wrong_distances(mol, x), *_bent_planes(mol, x)]
    clash, tight = clashes_per_atom(mol, pocket) > 0, tight_contacts(mol, pocket)
    odd, in_odd = odd_rings(mol)
    paper = [atom for (atom,) in mol.GetSubstructMatches(PAPER_VALENCE)]
    strain, pulled = _strain(mol)
    atoms = clash | (tight >= CROWD) | in_odd | pulled
    for group in (*groups, list(ligand.changed), paper):
        atoms[group] = True
    if not ligand.connected:
        atoms |= ~np.isin(np.arange(len(atoms)), max(Chem.GetMolFrags(mol), key=len))
    shape = ODD_RING * odd + TIGHT_CONTACT * tight.sum() + strain + PULLED * pulled.sum()
    shape += PAPER * len(paper)
    status = REPAIR * ligand.repaired + PIECES * (not ligand.connected)
    return Defects(float(len(groups) + clash.sum() + shape + status), atoms)


def property_distance(mol: Chem.Mol | None, requested: Mapping[str, float]) -> float:
    """Root mean square difference of a ligand's properties from the requested ones, by name, in standard deviations of
    drug-like ligands; infinite without a molecule, 0 if nothing is requested."""
    if not requested:
        return 0.0
    if mol is None:
        return math.inf
    try:
        made = dict(zip(PROPERTIES, ligand_properties(mol).tolist(), strict=True))
    except (RuntimeError, ValueError):
        return math.inf
    return math.sqrt(fmean(((made[n] - value) / PROPERTIES[n].sd) ** 2 for n, value in requested.items()))


def clashes_per_atom(mol: Chem.Mol, pocket: PocketAtoms) -> NDArray[np.int64]:
    """For each heavy atom of a ligand the number of pocket atoms nearer than 0.75 times the sum of the van der Waals
    radii. An atom that can coordinate a metal clashes with it only below the length of such a bond."""
    found = []
    for element, near, distance in _neighbours(mol, pocket, 2 * LARGEST_VDW_RADIUS * CLASH_RATIO):
        least = CLASH_RATIO * (pocket.radius[near] + vdw_radius(element))
        if element in COORDINATING:
            least = np.where(np.isin(pocket.element[near], METAL_IONS), SHORTEST_METAL_BOND, least)
        found.append((distance < least).sum())
    return np.array(found, dtype=np.int64)


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


def _wrong_distances(mol: Chem.Mol, x: NDArray[np.float64]) -> list[list[int]]:
    """Pairs of atoms whose distance is out of the bounds by more than the tolerance."""
    n = mol.GetNumAtoms()
    if n < 2:
        return []
    try:
        with rdBase.BlockLogs():
            bounds = rdDistGeom.GetMoleculeBoundsMatrix(mol)
    except (RuntimeError, ValueError):
        return [list(range(n))] * int(WORST)
    i, j = np.triu_indices(n, 1)
    distance = np.linalg.norm(x[i] - x[j], axis=1)
    high, low = bounds[i, j], bounds[j, i]
    steps = Chem.GetDistanceMatrix(mol)[i, j]
    near = steps <= 2
    wrong = near & ((distance < low * (1 - BOND_TOLERANCE)) | (distance > high * (1 + BOND_TOLERANCE)))
    touching = ~near & (distance < low * (1 - CONTACT_TOLERANCE))
    return np.stack([i, j], 1)[wrong | touching].tolist()


def _bent_planes(mol: Chem.Mol, x: NDArray[np.float64]) -> list[list[int]]:
    """Aromatic rings of five or six atoms and fourfold substituted C=C bonds that are not flat."""
    planes = [
        list(ring)
        for ring in mol.GetRingInfo().AtomRings()
        if len(ring) in (5, 6) and all(mol.GetAtomWithIdx(a).GetIsAromatic() for a in ring)
    ]
    planes += [list(match) for match in mol.GetSubstructMatches(DOUBLE_BOND)]
    return [plane for plane in planes if height_above_plane(x[plane]) > FLAT]


def odd_rings(mol: Chem.Mol) -> tuple[int, NDArray[np.bool_]]:
    """Rings of odd size (very large ones count more), bridgeheads, atoms in three rings, fused rings beyond a few; and
    the atoms [N] of these."""
    low, high = TOLERATED_RING
    info, n = mol.GetRingInfo(), mol.GetNumAtoms()
    rings = info.AtomRings()
    odd = [ring for ring in rings if not low <= len(ring) <= high]
    crowded = np.array([info.NumAtomRings(a) > 2 for a in range(n)])
    fused = [k for k in range(len(rings)) if info.IsRingFused(k)]
    bridgeheads: list[int] = []
    rdMolDescriptors.CalcNumBridgeheadAtoms(mol, bridgeheads)  # type: ignore[arg-type]  # the stub is wrong
    atoms = crowded.copy()
    atoms[bridgeheads] = True
    ordinary = {a for ring in rings if low <= len(ring) <= high for a in ring}
    for ring in odd:
        atoms[[a for a in ring if a not in ordinary] or list(ring)] = True
    if len(fused) > FUSED:
        atoms[[a for k in fused for a in rings[k]]] = True
    score = sum(LARGE if len(ring) >= LARGE_RING else 1 for ring in odd)
    return score + len(bridgeheads) + int(crowded.sum()) + max(len(fused) - FUSED, 0), atoms


def _strain(mol: Chem.Mol) -> tuple[float, NDArray[np.bool_]]:
    """A score that grows with the logarithm of the UFF energy per atom of the pose, and the atoms [N] on which, or on
    whose hydrogens, the largest forces act; 0 and none where UFF has no parameters."""
    n = mol.GetNumAtoms()
    with rdBase.BlockLogs():
        try:
            full = Chem.AddHs(mol, addCoords=True)
            if not rdForceFieldHelpers.UFFHasAllMoleculeParams(full):
                return 0.0, np.zeros(n, dtype=np.bool_)
            field = rdForceFieldHelpers.UFFGetMoleculeForceField(full)
            energy, slope = field.CalcEnergy(), np.array(field.CalcGrad()).reshape(-1, 3)
        except (RuntimeError, ValueError):
            return 0.0, np.zeros(n, dtype=np.bool_)
    finite = HIGHEST_ENERGY if np.isnan(energy) else min(max(energy, 0.0), HIGHEST_ENERGY)  # NaN: atoms on one place
    pulled = ~(np.linalg.norm(slope, axis=1) <= LARGEST_FORCE)
    heavy = [a.GetIdx() if a.GetIdx() < n else a.GetNeighbors()[0].GetIdx() for a in full.GetAtoms()]
    return STRAIN * float(np.log1p(finite / full.GetNumAtoms())), np.isin(np.arange(n), np.array(heavy)[pulled])
