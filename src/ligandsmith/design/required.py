"""Constraints in a pocket where interactions are required: how ligands start, and what they lack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.fragment import Fragment
from ligandsmith.design.anchors import SHARE, Anchor, AnchorSearch, chosen, part_of_reference, reference_groups
from ligandsmith.design.interactions import InteractionSite, Requirement
from ligandsmith.errors import LigandsmithError
from ligandsmith.generation.sampler import Demands, Guide, Preference, Violation
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

    @classmethod
    def of(
        cls, general: General, pocket: Pocket, required: Sequence[Requirement], reference: Chem.Mol | None
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
        return cls(general, site, tuple(anchors), reference, groups)

    def violations(self, mol: Chem.Mol) -> list[Violation]:
        """Every constraint that a ligand with a conformer breaks."""
        missing = [Violation(f"no {target.requirement}", restart=True) for target in self.site.missing(mol)]
        return [*self.general.violations(mol), *missing]

    def at(self, _: Pocket) -> Demands:
        """Itself."""
        return self

    def start(self, size: int, seed: int, fixed: Fragment | None) -> Fragment | None:
        """The fragment that a ligand is grown from: the given one, groups of the reference, and anchors."""
        rng, most, whole = np.random.default_rng(seed), int(SHARE * size), fixed
        if self.reference is not None:
            whole = whole or part_of_reference(self.reference, self.groups, most, rng)
        return chosen(self.anchors, self.site, most, rng, whole)

    def require_possible(self, fragment: Fragment) -> None:
        """As `general` does."""
        self.general.require_possible(fragment)

    def guide(self, pocket: Pocket, origin: NDArray[np.float32], device: torch.device) -> Guide:
        """As `general` does."""
        return self.general.guide(pocket, origin, device)

    def preference(self, pocket: Pocket) -> Preference | None:
        """As `general` has it."""
        return self.general.preference(pocket)
