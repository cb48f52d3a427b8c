"""Interactions of a ligand with the protein around it, by ProLIF. Never imports torch.

The protein is heavy atoms, so residues near the site get bonds by distance, and the bond orders and charges of amino
acids at pH 7 (ASP, GLU negative; LYS, ARG positive; HIS neutral, hydrogen on NE2); a ligand has the charges it comes
with. Hydrogens are counted but have no places: hydrogen bonds are ProLIF's `Implicit` ones, judged by heavy atoms:
where a hydroxyl's hydrogen points is not known. Residues are prepared one by one with the atoms bonded to them, so that
chain gaps, missing atoms and one odd residue do no harm. Modified amino acids have the bonds of what they are made from
and of their phosphates, sulfates and carbonyls; those that need more, and cofactors, whose bond orders a protein file
does not hold, are left out. Metals are in.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from rdkit import Chem

from ligandsmith.chem.protein import ProteinView
from ligandsmith.chem.residues import residue_label, residue_molecule
from ligandsmith.evaluation.tools.runner import Site, ToolFailure, failing_as, import_optional, not_installed

INTERACTION_REACH = 6.5  # Å; as far as the longest interaction, edge-to-face stacking
GROUPS = {
    "hb_donors": ("ImplicitHBDonor",),
    "hb_acceptors": ("ImplicitHBAcceptor",),
    "hydrophobic": ("Hydrophobic",),
    "pi": ("PiStacking", "CationPi", "PiCation"),
    "ionic": ("Cationic", "Anionic", "MetalDonor", "MetalAcceptor"),
}
TYPES = [name for names in GROUPS.values() for name in names]


@dataclass(frozen=True)
class InteractionsTool:
    """Residues that interact in each way, the share of the reference's interactions that are there, and their places.

    `hb_donors`, `hb_acceptors` (as the ligand is), `hydrophobic`, `pi`, `ionic` (metals included): pairs of a residue
    and a type of interaction. `interaction_recovery`: share of the reference ligand's pairs; None without a reference
    or where it has none. `interactions`: one dict for each pair, with `type`, `residue` ("A:ASP129") and the closest
    places of both, `ligand_xyz` and `protein_xyz`, in Å.
    """

    name: str = "interactions"
    seconds: float = 60.0

    def missing(self, site: Site) -> str:
        """Why it cannot run."""
        logging.getLogger("MDAnalysis").setLevel(logging.ERROR)  # tells of file formats that are not used here
        return "no protein given" if site.protein is None else not_installed("prolif")

    def settings(self) -> dict[str, Any]:
        """Versions, which residues are asked, and about what."""
        return {"version": metadata.version("prolif"), "reach": INTERACTION_REACH, "types": TYPES}

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        """Load ProLIF and find the reference's interactions once; the function answers for a molecule."""
        finder = InteractionFinder(site.required_protein())
        wanted: set[tuple[str, str]] = set()
        if site.reference is not None:
            with suppress(ToolFailure):  # then nothing can be recovered, and each molecule still has its own
                wanted = {(found["residue"], found["type"]) for found in finder.find(site.reference)}
        return lambda mol: _answer(finder.find(mol), wanted)


def _short(name: str) -> str:
    return name.removeprefix("Implicit")


def _answer(found: Sequence[dict[str, Any]], wanted: set[tuple[str, str]]) -> dict[str, Any]:
    pairs = {(each["residue"], each["type"]) for each in found}
    counts = {
        group: sum(kind in {_short(name) for name in names} for _, kind in pairs) for group, names in GROUPS.items()
    }
    recovery = len(pairs & wanted) / len(wanted) if wanted else None
    return {**counts, "interaction_recovery": recovery, "interactions": list(found)}


class InteractionFinder:
    """ProLIF on one protein; residues are prepared when a ligand first comes near them."""

    def __init__(
        self, protein: ProteinView, types: Sequence[str] = TYPES, parameters: dict[str, Any] | None = None
    ) -> None:
        prolif = import_optional("prolif")
        self.residue_class = prolif.residue.Residue
        self.protein = protein
        self.fingerprint = prolif.Fingerprint(list(types), parameters=parameters, count=True)
        self.prepared: dict[int, Any] = {}  # ProLIF's molecule by residue

    def find(self, mol: Chem.Mol) -> list[dict[str, Any]]:
        """The closest interaction of each pair of residue and type. A residue that ProLIF cannot take is left out;
        raises ToolFailure where that is every one."""
        near = self.protein.residues_near(mol.GetConformer().GetPositions(), INTERACTION_REACH)
        ligand = self.as_ligand(mol)
        found: list[dict[str, Any]] = []
        failures: list[ToolFailure] = []
        for index in near:
            try:
                found += self._closest(ligand, index)
            except ToolFailure as failure:
                failures.append(failure)
        if failures and len(failures) == len(near):
            raise failures[0]
        return sorted(found, key=lambda each: (each["residue"], each["type"]))

    def as_ligand(self, mol: Chem.Mol) -> Any:
        """A copy of a molecule as ProLIF takes it."""
        copy = Chem.Mol(mol)
        for atom in copy.GetAtoms():
            info = Chem.AtomPDBResidueInfo(atom.GetSymbol().ljust(4), atom.GetIdx() + 1, "", "LIG", 1, "")
            atom.SetMonomerInfo(info)
        return self._numbered(copy)

    def _numbered(self, mol: Chem.Mol) -> Any:
        for atom in mol.GetAtoms():
            atom.SetUnsignedProp("mapindex", atom.GetIdx())  # which ProLIF reports
        return self.residue_class(mol)

    def contacts(self, ligand: Any, index: int) -> dict[str, list[dict[str, Any]]]:
        """All interactions of a ligand (`as_ligand`) with a residue by type, as ProLIF reports them: `distance`, and
        `indices` of the atoms of `ligand` and of the residue, `protein`. Raises ToolFailure where ProLIF fails."""
        mol, own = residue_molecule(self.protein, index)
        if mol is None:
            return {}
        with failing_as("ProLIF failed"):
            if index not in self.prepared:
                self.prepared[index] = self._numbered(mol)
            found = self.fingerprint.metadata(ligand, self.prepared[index])
        # an atom of a neighbour is there for the bonds only
        ours = {kind: [c for c in contacts if min(c["indices"]["protein"]) < own] for kind, contacts in found.items()}
        return {_short(kind): contacts for kind, contacts in ours.items() if contacts}

    def _closest(self, ligand: Any, index: int) -> Iterator[dict[str, Any]]:
        for kind, contacts in self.contacts(ligand, index).items():
            contact = min(contacts, key=lambda each: each["distance"])
            yield {
                "type": kind,
                "residue": residue_label(self.protein, index),
                "ligand_xyz": _centre(ligand.xyz, contact["indices"]["ligand"]),
                "protein_xyz": _centre(self.prepared[index].xyz, contact["indices"]["protein"]),
            }


def _centre(x: Any, indices: Sequence[int]) -> list[float]:
    return [round(float(v), 3) for v in np.asarray(x)[list(indices)].mean(0)]
