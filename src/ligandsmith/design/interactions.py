"""Interactions with named residues that every ligand must make; the judge is ProLIF, as in evaluation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.residues import residue_molecule
from ligandsmith.design.residues import NamedResidues
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.tools.interactions import INTERACTION_REACH, InteractionFinder
from ligandsmith.evaluation.tools.runner import ToolFailure, not_installed
from ligandsmith.records import Pocket

KINDS = {
    "hbond": ("HBDonor", "HBAcceptor"),
    "pi": ("PiStacking", "CationPi", "PiCation"),
    "salt": ("Cationic", "Anionic"),
    "contact": ("Hydrophobic", "VdWContact"),
    "metal": ("MetalAcceptor",),
}
REQUIRED_TYPES = ("ImplicitHBDonor", "ImplicitHBAcceptor", *(name for kind in list(KINDS)[1:] for name in KINDS[kind]))
PARAMETERS = {"VdWContact": {"preset": "csd"}}  # which knows all elements
RINGS: dict[str, list[tuple[str, ...]]] = {
    "PHE": [("CG", "CD1", "CD2", "CE1", "CE2", "CZ")], "TYR": [("CG", "CD1", "CD2", "CE1", "CE2", "CZ")],
    "HIS": [("CG", "ND1", "CD2", "CE1", "NE2")],
    "TRP": [("CG", "CD1", "CD2", "NE1", "CE2"), ("CD2", "CE2", "CE3", "CZ2", "CZ3", "CH2")],
}  # fmt: skip
CHARGED: dict[str, tuple[str, ...]] = {
    "ASP": ("OD1", "OD2"),
    "GLU": ("OE1", "OE2"),
    "LYS": ("NZ",),
    "ARG": ("NE", "NH1", "NH2"),
}
BACKBONE_ATOMS = ("N", "CA", "C", "O", "OXT")
NITROGEN, OXYGEN, CARBON = 7, 8, 6
FORM = re.compile(r"\s*(\w+)\s+(\S+)\s*")


@dataclass(frozen=True)
class Requirement:
    """An interaction with a residue, and with one of its atoms if that is named."""

    kind: str  # of KINDS
    residue: str  # CHAIN:NAME and number, or CHAIN:NUMBER
    atom: str = ""
    types: tuple[str, ...] = ()  # of KINDS[kind]; empty: any

    def __str__(self) -> str:
        types = f" ({', '.join(self.types)})" if self.types else ""
        return f"{self.kind} {self.residue}" + (f":{self.atom}" if self.atom else "") + types


def read_requirement(text: str) -> Requirement:
    """`hbond A:SER508` or `hbond A:GLU81:O`. Raises LigandsmithError."""
    match = FORM.fullmatch(text)
    parts = match[2].split(":") if match else []
    if not match or match[1] not in KINDS or not 2 <= len(parts) <= 3 or not all(parts[1:]):
        raise LigandsmithError(
            f"--require '{text}': give one of {', '.join(KINDS)} and a residue, with an atom if need be, "
            "as in 'hbond A:SER508' or 'hbond A:GLU81:O'"
        )
    return Requirement(match[1], f"{parts[0]}:{parts[1]}", *parts[2:])


class Target(NamedTuple):
    """A requirement at a site: where the protein's side of it is."""

    requirement: Requirement
    residue: int  # its number in the pocket
    atoms: tuple[int, ...]  # of the pocket, that can take part
    places: NDArray[np.float64]  # [K, 3] Å: atoms, or centres of rings

    @property
    def types(self) -> tuple[str, ...]:
        """Any of these, as ProLIF names them, fulfils it."""
        return self.requirement.types or KINDS[self.requirement.kind]

    @property
    def directed(self) -> bool:
        """Whether few atoms of a ligand can take part."""
        return self.requirement.kind != "contact"


class InteractionSite:
    """A pocket with the requirements on ligands in it. Raises LigandsmithError for what cannot be."""

    def __init__(self, pocket: Pocket, required: Sequence[Requirement], reference: Chem.Mol | None = None) -> None:
        self.residues = NamedResidues(pocket)
        self.protein = self.residues.protein
        like = [] if reference is None else self.like(reference)
        self.targets = [self._target(each) for each in [*required, *like]]

    @cached_property
    def finder(self) -> InteractionFinder:
        """ProLIF on the pocket."""
        missing = not_installed("prolif")
        if missing:
            raise LigandsmithError(f"--require, --like: {missing}")
        return InteractionFinder(self.protein, REQUIRED_TYPES, PARAMETERS)

    def _target(self, requirement: Requirement) -> Target:
        index = self.residues.find(requirement.residue, f"--require {requirement}")
        own = np.flatnonzero(self.protein.residue_index == index).tolist()
        atoms = self._able(requirement, index, own)
        if requirement.atom:
            if requirement.atom not in {self.protein.name[a] for a in own}:
                there = ", ".join(self.protein.name[a] for a in own)
                raise LigandsmithError(f"--require {requirement}: no atom {requirement.atom} there; there are {there}")
            atoms = [a for a in atoms if self.protein.name[a] == requirement.atom]
        if not atoms or residue_molecule(self.protein, index)[0] is None:
            what = f"{requirement.residue}:{requirement.atom}" if requirement.atom else requirement.residue
            raise LigandsmithError(f"--require {requirement}: {what} cannot make it; {self._possible(index, own)}")
        places = self.protein.x[atoms]
        if requirement.kind == "pi" and self.residues.parents[index] in RINGS:
            rings = [[a for a in atoms if self.protein.name[a] in ring] for ring in RINGS[self.residues.parents[index]]]
            places = np.array([self.protein.x[ring].mean(0) for ring in rings if ring])
        return Target(requirement, index, tuple(atoms), places)

    def _able(self, requirement: Requirement, index: int, own: Sequence[int]) -> list[int]:
        """Atoms of a residue that can take part."""
        name, kind = self.residues.parents[index], requirement.kind
        protein = self.protein
        if kind == "hbond":
            able = [(protein.element[a] in (NITROGEN, OXYGEN) and (name, protein.name[a]) != ("PRO", "N"))
                    or (name, protein.name[a]) == ("CYS", "SG") for a in own]  # fmt: skip
            return [a for a, can in zip(own, able, strict=True) if can]
        if kind == "pi":
            wanted = {atom for ring in RINGS.get(name, []) for atom in ring}
            wanted |= set(CHARGED[name]) if name in ("LYS", "ARG") else set()
            return [a for a in own if protein.name[a] in wanted]
        if kind == "salt":
            return [a for a in own if protein.name[a] in CHARGED.get(name, ()) or (name and protein.name[a] == "OXT")]
        if kind == "metal":
            return list(own) if not name and len(own) == 1 else []
        side = [a for a in own if protein.name[a] not in BACKBONE_ATOMS and protein.element[a] == CARBON]
        return (side or list(own)) if name else []

    def _possible(self, index: int, own: Sequence[int]) -> str:
        found = [kind for kind in KINDS if self._able(Requirement(kind, ""), index, own)]
        known = residue_molecule(self.protein, index)[0] is not None
        return f"it can make {', '.join(found)}" if known else "its bonds are not known"

    def missing(self, mol: Chem.Mol) -> list[Target]:
        """The requirements that a ligand does not fulfil."""
        if not self.targets:
            return []
        ligand = self.finder.as_ligand(mol)
        return [target for target in self.targets if not self.fulfilled(ligand, target)]

    def fulfilled(self, ligand: Any, target: Target) -> bool:
        """Whether ProLIF finds the interaction; `ligand` is one of `finder.as_ligand`."""
        return bool(self.contacts(ligand, target))

    def contacts(self, ligand: Any, target: Target) -> list[tuple[int, ...]]:
        """Atoms of the ligand in each interaction that fulfils a requirement."""
        own = np.flatnonzero(self.protein.residue_index == target.residue)
        named = set(np.flatnonzero(np.isin(own, target.atoms)).tolist()) if target.requirement.atom else None
        found = self._contacts(ligand, target.residue)
        return [tuple(contact["indices"]["ligand"]) for kind in target.types for contact in found.get(kind, ())
                if named is None or named & set(contact["indices"]["protein"])]  # fmt: skip

    def _contacts(self, ligand: Any, index: int) -> dict[str, list[dict[str, Any]]]:
        try:
            return self.finder.contacts(ligand, index)
        except ToolFailure:
            return {}

    def like(self, reference: Chem.Mol) -> list[Requirement]:
        """All interactions of a reference ligand. Raises LigandsmithError where there are none."""
        ligand = self.finder.as_ligand(reference)
        kinds = {kind: name for name, members in KINDS.items() for kind in members if kind != "VdWContact"}
        near = self.protein.residues_near(reference.GetConformer().GetPositions(), INTERACTION_REACH)
        found = [Requirement(kinds[kind], self.residues.label(index), types=(kind,))
                 for index in near for kind in self._contacts(ligand, index) if kind in kinds]  # fmt: skip
        if not found:
            raise LigandsmithError("--like: ProLIF finds no interaction of the reference with the protein")
        return found
