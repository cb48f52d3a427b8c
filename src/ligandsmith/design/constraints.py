"""What every ligand must be and must not be. A ligand that does not fit is a failure with its reason."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.fragment import Fragment
from ligandsmith.chem.plausibility import PocketAtoms
from ligandsmith.chem.vina import receptor_of
from ligandsmith.design.covalent import CovalentSite
from ligandsmith.design.interactions import read_requirement
from ligandsmith.design.objectives import Objective
from ligandsmith.design.parts import murcko
from ligandsmith.design.placed import PlacedConstraints
from ligandsmith.design.preference import ObjectivePreference, require_quick
from ligandsmith.design.ring_systems import known_ring_systems, ring_systems
from ligandsmith.design.steering import AttractionPotential, SteeringConfig, VinaSteering
from ligandsmith.diffusion.guidance import Potential, StericPotential
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.alerts import alerting_atoms
from ligandsmith.files import file_text
from ligandsmith.generation.sampler import Demands, Guide, Start, Violation
from ligandsmith.records import Pocket
from ligandsmith.structure.ligands import mol_from_ligand

EXCLUSION_STRENGTH = 1.0  # share of an overlap that one step removes
ALL_TIMES = 1.0


class Sphere(NamedTuple):
    """A region without ligand atoms."""

    x: float  # Å, in the protein's coordinates
    y: float
    z: float
    radius: float  # Å


@dataclass(frozen=True)
class Constraints:
    """Of generated ligands, besides their pocket and fragment. Raises LigandsmithError for what cannot be."""

    exclude: tuple[Sphere, ...] = ()
    forbid: tuple[str, ...] = ()  # SMARTS
    require_smarts: tuple[str, ...] = ()
    charge: tuple[int, int] | None = None  # lowest and highest formal charge
    chiral_centers_max: int | None = None
    alerts: bool = True  # whether structural alerts (BRENK) are allowed
    known_rings: bool = False  # only ring systems of known ligands and drugs
    other_scaffold: str = ""  # SMILES of a Murcko scaffold that is not wanted again
    toward: tuple[float, float, float] | None = None  # Å, in the protein's coordinates: where a ligand is to reach
    steering: SteeringConfig | None = None  # by Vina's function, while a ligand is sampled
    objectives: tuple[Objective, ...] = ()  # what the choice among candidates prefers
    require: tuple[str, ...] = ()  # interactions with residues, as "hbond A:SER508" or "hbond A:GLU81:O"
    like: str = ""  # MDL block of a reference ligand, all interactions of which are required
    covalent: str = ""  # residue that is bonded to ligands, as "A:CYS145"
    warhead: str = ""  # by which: a name of `design.warheads`, an SDF file, or its text

    def __post_init__(self) -> None:
        for flag, patterns in (("--forbid", self.forbid), ("--require_smarts", self.require_smarts)):
            for pattern in patterns:
                if Chem.MolFromSmarts(pattern) is None:
                    raise LigandsmithError(f"{flag} {pattern}: RDKit cannot read this pattern")
        for text in self.require:
            read_requirement(text)
        if bool(self.covalent) != bool(self.warhead):
            raise LigandsmithError("--covalent names the residue and --warhead what is bonded to it; give both")
        both = sorted(set(self.forbid) & set(self.require_smarts))
        if both:
            raise LigandsmithError(f"--forbid and --require_smarts: {both[0]} is both forbidden and required")
        for sphere in self.exclude:
            if not (np.isfinite(sphere).all() and sphere.radius > 0):
                raise LigandsmithError(f"--exclude {','.join(f'{v:g}' for v in sphere)}: the radius must be above 0 Å")

        require_quick(self.objectives)

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with any of them."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @cached_property
    def _patterns(self) -> tuple[list[Chem.Mol], list[Chem.Mol]]:
        return [Chem.MolFromSmarts(s) for s in self.forbid], [Chem.MolFromSmarts(s) for s in self.require_smarts]

    def violations(self, mol: Chem.Mol) -> list[Violation]:
        """Every constraint that a ligand with a conformer breaks."""
        forbidden, required = self._patterns
        found = [Violation(f"forbidden {text}", match) for text, pattern in zip(self.forbid, forbidden, strict=True)
                 for match in mol.GetSubstructMatches(pattern)[:1]]  # fmt: skip
        found += [Violation(f"no {text}") for text, pattern in zip(self.require_smarts, required, strict=True)
                  if not mol.HasSubstructMatch(pattern)]  # fmt: skip
        found += self._inside(mol)
        if self.other_scaffold and murcko(mol) == self.other_scaffold:
            found.append(Violation("the reference's scaffold again"))
        charge = Chem.GetFormalCharge(mol)
        if self.charge is not None and not self.charge[0] <= charge <= self.charge[1]:
            charged = tuple(a.GetIdx() for a in mol.GetAtoms() if a.GetFormalCharge())
            found.append(Violation(f"charge {charge:+d}", charged))
        if self.chiral_centers_max is not None:
            centers = Chem.FindMolChiralCenters(mol, includeUnassigned=True, useLegacyImplementation=False)
            if len(centers) > self.chiral_centers_max:
                found.append(Violation(f"{len(centers)} chiral centres", tuple(i for i, _ in centers)))
        if not self.alerts:
            found += [Violation(f"alert: {name}", atoms) for name, atoms in alerting_atoms(mol).items()]
        if self.known_rings:
            known = known_ring_systems()
            found += [Violation(f"unknown ring system {smiles}", atoms)
                      for smiles, atoms in ring_systems(mol) if smiles not in known]  # fmt: skip
        return found

    def excluded(self, x: NDArray[np.float32]) -> bool:
        """Whether any of x [N, 3] Å is in an excluded sphere."""
        return any((np.linalg.norm(x - np.array(s[:3]), axis=1) < s.radius).any() for s in self.exclude)

    def _inside(self, mol: Chem.Mol) -> list[Violation]:
        if not self.exclude:
            return []
        x = mol.GetConformer().GetPositions()
        inside: list[Violation] = []
        for sphere in self.exclude:
            atoms = np.flatnonzero(np.linalg.norm(x - np.array(sphere[:3]), axis=1) < sphere.radius)
            if len(atoms):
                place = ",".join(f"{v:g}" for v in sphere)
                inside.append(Violation(f"{len(atoms)} atoms in the excluded sphere {place}", tuple(atoms.tolist())))
        return inside

    def fixed_atoms(self, fragment: Fragment | None) -> int:
        """Those of the fragment. Raises LigandsmithError if no ligand could contain it and keep to the constraints."""
        if fragment is None:
            return 0
        mol = mol_from_ligand(fragment.ligand)
        for violation in self._inside(mol):
            raise LigandsmithError(f"--exclude: the fragment lies in it ({violation.reason})")
        final = (fragment.ligand.num_h == 0) | fragment.closed  # what is bonded to other atoms does not change there
        for reason, atoms in self._unwanted(mol):
            if final[list(atoms)].all():
                raise LigandsmithError(reason)
        return fragment.num_atoms

    def _unwanted(self, mol: Chem.Mol) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Groups of a fragment that no ligand may have, and their atoms."""
        for text, pattern in zip(self.forbid, self._patterns[0], strict=True):
            yield from ((f"--forbid {text}: the fragment has it", match) for match in mol.GetSubstructMatches(pattern))
        if not self.alerts:
            yield from ((f"--no-alerts: the fragment has the alert {name}", atoms)
                        for name, atoms in alerting_atoms(mol).items())  # fmt: skip
        if self.known_rings:
            yield from ((f"--rings known: the fragment has the ring system {smiles}", atoms)
                        for smiles, atoms in ring_systems(mol) if smiles not in known_ring_systems())  # fmt: skip

    def preference(self, pocket: Pocket) -> Callable[[Chem.Mol], float] | None:
        """How much a ligand in a pocket is wanted, more is better; None without objectives."""
        return ObjectivePreference.at(pocket, self.objectives).of if self.objectives else None

    def at(self, pocket: Pocket) -> Demands:
        """As they are judged in a pocket. Raises LigandsmithError for what cannot be there."""
        if not (self.require or self.like or self.covalent):
            return self
        reference = Chem.MolFromMolBlock(self.like) if self.like else None
        bond = CovalentSite(pocket, self.covalent, self.warhead) if self.covalent else None
        return PlacedConstraints.of(
            self, pocket, [read_requirement(text) for text in dict.fromkeys(self.require)], reference, bond
        )

    def start(self, size: int, seed: int, fixed: Fragment | None) -> Start:
        """The given fragment."""
        return Start(None, fixed, fixed)

    def notes(self, _: Chem.Mol) -> dict[str, str]:
        """None."""
        return {}

    def surroundings(self, pocket: Pocket) -> PocketAtoms:
        """All atoms."""
        return PocketAtoms.of(pocket.x, pocket.element)

    def guide(self, pocket: Pocket, origin: NDArray[np.float32], device: torch.device) -> Guide:
        """What keeps atoms out of the excluded spheres and steers them; `origin` [3] Å of the networks' frame."""
        fixed: list[Potential] = []
        if self.exclude:
            spheres = np.array(self.exclude)
            x, radius = (torch.as_tensor(a, dtype=torch.float32, device=device)
                         for a in (spheres[:, :3] - origin, spheres[:, 3]))  # fmt: skip
            fixed.append(StericPotential(x, radius, EXCLUSION_STRENGTH, ALL_TIMES))
        if self.toward is not None:
            place = torch.as_tensor(np.array(self.toward) - origin, dtype=torch.float32, device=device)
            fixed.append(AttractionPotential(place))
        if self.steering is None:
            return lambda _: fixed
        receptor, steering = receptor_of(pocket, origin, device), self.steering
        return lambda sampler: [*fixed, VinaSteering(receptor, steering, sampler)]


def read_spheres(source: str) -> tuple[Sphere, ...]:
    """The sphere `X,Y,Z,R`, or those of a CSV file with the columns x, y, z and radius (Å). Raises LigandsmithError."""
    if not Path(source).is_file():
        try:
            x, y, z, radius = (float(part) for part in source.split(","))
        except ValueError:
            raise LigandsmithError(f"--exclude {source}: give X,Y,Z,R in Å, or a CSV file that is there") from None
        return (Sphere(x, y, z, radius),)
    try:
        table = pd.read_csv(source)
        return tuple(Sphere(*row) for row in table[["x", "y", "z", "radius"]].astype(float).itertuples(index=False))
    except (OSError, KeyError, ValueError) as error:
        raise LigandsmithError(f"--exclude {source}: give columns x, y, z and radius in Å ({error})") from None


def read_patterns(source: str) -> tuple[str, ...]:
    """A SMARTS pattern, or those of a file, one a line, with a name after a space if need be."""
    path = Path(source)
    if not path.is_file():
        return (source,)
    lines = file_text(path, errors="replace").splitlines()
    return tuple(line.split()[0] for line in lines if line.strip() and not line.startswith("#"))
