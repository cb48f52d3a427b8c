"""Structural alerts, rings and stereo of single molecules. Never imports torch.

PAINS (Baell and Holloway 2010, families A to C) and BRENK (Brenk et al. 2008: reactive, unstable or toxic groups) are
RDKit's filter catalogues, counted by distinct alert.
"""

from functools import cache

from rdkit import Chem
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions
from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams

SMALL_RINGS = (3, 4)  # atoms; strained, and rarer in drugs than in what generators draw

ISOMERS = 8  # tried to tell a missing assignment from one that makes no difference


@cache
def _catalogue(name: str) -> FilterCatalog:
    parameters = FilterCatalogParams()
    parameters.AddCatalog(getattr(FilterCatalogParams.FilterCatalogs, name))
    return FilterCatalog(parameters)


def _count(mol: Chem.Mol, catalogue: str) -> int:
    return len({match.GetDescription() for match in _catalogue(catalogue).GetMatches(mol)})


def pains(mol: Chem.Mol) -> int:
    """Distinct PAINS alerts."""
    return _count(mol, "PAINS")


def alerts(mol: Chem.Mol) -> int:
    """Distinct BRENK alerts."""
    return _count(mol, "BRENK")


def alerting_atoms(mol: Chem.Mol) -> dict[str, tuple[int, ...]]:
    """Atoms of each distinct BRENK alert, by its name."""
    found: dict[str, tuple[int, ...]] = {}
    for match in _catalogue("BRENK").GetMatches(mol):
        atoms = (pair[1] for hit in match.GetFilterMatches(mol) for pair in hit.atomPairs)
        found.setdefault(match.GetDescription(), tuple(sorted(set(atoms))))
    return found


def ring_sizes(mol: Chem.Mol) -> list[int]:
    """Atoms in each ring (SSSR), ascending."""
    return sorted(len(ring) for ring in mol.GetRingInfo().AtomRings())


def small_ring_share(mol: Chem.Mol) -> float | None:
    """Share of the rings that have three or four atoms; None without rings."""
    sizes = ring_sizes(mol)
    return sum(size in SMALL_RINGS for size in sizes) / len(sizes) if sizes else None


def fused_rings(mol: Chem.Mol) -> int:
    """Rings of the largest system of rings that share bonds; 1 where none do, 0 without rings."""
    systems: list[tuple[set[int], int]] = []  # bonds, rings
    for ring in mol.GetRingInfo().BondRings():
        joined = [system for system in systems if system[0] & set(ring)]
        systems = [system for system in systems if not system[0] & set(ring)]
        systems.append((set(ring).union(*(bonds for bonds, _ in joined)), 1 + sum(size for _, size in joined)))
    return max((size for _, size in systems), default=0)


def largest_ring(mol: Chem.Mol) -> int:
    """Atoms of the largest ring (SSSR), 0 without rings."""
    return max(ring_sizes(mol), default=0)


def stereo_defined(mol: Chem.Mol) -> bool:
    """Whether every atom and double bond that can be a stereocentre is assigned, as it is in a sound 3D structure.

    An atom that RDKit calls possible but that has one form only, as the bridgeheads of adamantane, needs no assignment.
    """
    if all(each.specified == Chem.StereoSpecified.Specified for each in Chem.FindPotentialStereo(mol)):
        return True
    options = StereoEnumerationOptions(onlyUnassigned=True, unique=True, maxIsomers=ISOMERS, rand=0)
    return len(list(EnumerateStereoisomers(mol, options))) <= 1
