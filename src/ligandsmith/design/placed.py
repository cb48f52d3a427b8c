"""Constraints in a pocket, with required interactions and a bond to it: how ligands start, and what they lack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.fragment import Fragment
from ligandsmith.chem.plausibility import PocketAtoms
from ligandsmith.design.anchors import Anchor, AnchorSearch, chosen, most_atoms, part_of_reference, reference_groups
from ligandsmith.design.covalent import CovalentSite
from ligandsmith.design.interactions import InteractionSite, Requirement
from ligandsmith.errors import LigandsmithError
from ligandsmith.generation.sampler import Demands, Guide, Preference, Start, Violation
from ligandsmith.records import Pocket


class General(Demands, Protocol):
    """Constraints that are the same everywhere."""

    def excluded(self, x: NDArray[np.float32]) -> bool:
        """Whether any of x [N, 3] Å is where no atom may be."""


@dataclass(frozen=True)
class PlacedConstraints:
    """Constraints in a pocket, with the interactions that are required there."""

    general: General
    site: InteractionSite
    anchors: tuple[list[Anchor], ...]  # of each required interaction; none for those of a reference
    reference: Chem.Mol | None = None
    groups: tuple[NDArray[np.bool_], ...] = ()  # of the reference, that make its interactions
    bond: CovalentSite | None = None

    @classmethod
    def of(
        cls,
        general: General,
        pocket: Pocket,
        required: Sequence[Requirement],
        reference: Chem.Mol | None,
        bond: CovalentSite | None = None,
    ) -> "PlacedConstraints":
        """Raises LigandsmithError for interactions that no ligand can make there."""
        site = InteractionSite(pocket, required, reference)
        search = AnchorSearch(site, pocket)
        anchors: list[list[Anchor]] = []
        for target in site.targets[: len(required)]:
            placed = search.around(target)
            allowed = [anchor for anchor in placed if not general.excluded(anchor.fragment.ligand.x)]
            if not allowed:
                cause = "--exclude leaves no room for it" if placed else "no room for a ligand beside it"
                raise LigandsmithError(f"--require {target.requirement}: {cause}")
            anchors.append(allowed)
        groups = () if reference is None else tuple(reference_groups(site, reference))
        if reference is not None and general.excluded(reference.GetConformer().GetPositions()):
            raise LigandsmithError("--like: the reference lies in a sphere of --exclude")
        if bond is not None and not bond.leave(general.excluded):
            raise LigandsmithError(f"--covalent {bond.label}: --exclude leaves no room for the warhead")
        return cls(general, site, tuple(anchors), reference, groups, bond)

    def violations(self, mol: Chem.Mol) -> list[Violation]:
        """Every constraint that a ligand with a conformer breaks."""
        # Contacts of a reference have no anchors, so that another start would change nothing.
        anchored = [id(target) for target in self.site.targets[: len(self.anchors)]]
        missing = [Violation(f"no {target.requirement}", restart=target.directed or id(target) in anchored)
                   for target in self.site.missing(mol)]  # fmt: skip
        broken = [] if self.bond is None else [Violation(reason, restart=True) for reason in self.bond.broken(mol)]
        return [*self.general.violations(mol), *missing, *broken]

    def at(self, _: Pocket) -> Demands:
        """Itself."""
        return self

    def start(self, size: int, seed: int, fixed: Fragment | None) -> Start:
        """The given fragment and the warhead, which stay, and groups of the reference and anchors, which may go."""
        rng, most = np.random.default_rng(seed), most_atoms(size)
        kept = fixed if self.bond is None else self.bond.start(rng, fixed)
        whole = kept
        if self.reference is not None and whole is None:
            whole = part_of_reference(self.reference, self.groups, most, rng)
        return Start(None, chosen(self.anchors, self.site, most, rng, whole), kept)

    def notes(self, mol: Chem.Mol) -> dict[str, str]:
        """What is known of the bond to the protein."""
        return {} if self.bond is None else self.bond.notes(mol)

    def surroundings(self, pocket: Pocket) -> PocketAtoms:
        """All atoms but those of the residue that the warhead touches, being bonded to it."""
        without = () if self.bond is None else self.bond.touched
        return PocketAtoms.of(np.delete(pocket.x, without, axis=0), np.delete(pocket.element, without))

    def fixed_atoms(self, fragment: Fragment | None) -> int:
        """The given fragment and the warhead. Raises LigandsmithError where they contradict."""
        return self.general.fixed_atoms(
            fragment if self.bond is None else self.bond.start(np.random.default_rng(0), fragment)
        )

    def guide(self, pocket: Pocket, origin: NDArray[np.float32], device: torch.device) -> Guide:
        """As `general` does."""
        return self.general.guide(pocket, origin, device)

    def preference(self, pocket: Pocket) -> Preference | None:
        """As `general` has it."""
        return self.general.preference(pocket)
