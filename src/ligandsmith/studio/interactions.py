"""Interactions of one molecule with the protein, by ProLIF, computed when a page asks for them."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from rdkit import Chem

from ligandsmith.chem.protein import load_protein
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.sources import load_reference
from ligandsmith.evaluation.tools.interactions import InteractionFinder
from ligandsmith.evaluation.tools.runner import ToolFailure, not_installed
from ligandsmith.structure.ligands import without_hydrogens
from ligandsmith.studio.projects import Conflict, Project
from ligandsmith.studio.tables import Version, version

INTERACTION_KINDS = {  # as the report names them
    "HBDonor": "hydrogen bond", "HBAcceptor": "hydrogen bond", "Hydrophobic": "hydrophobic",
    "PiStacking": "π stacking", "CationPi": "cation–π", "PiCation": "cation–π", "Cationic": "salt bridge",
    "Anionic": "salt bridge", "MetalDonor": "metal", "MetalAcceptor": "metal",
}  # fmt: skip
_lock = Lock()  # ProLIF's molecules are prepared once and shared


def interactions_of(project: Project, block: str) -> list[dict[str, Any]]:
    """Kind, residue and both ends (Å) of each interaction of a molecule. Raises LigandsmithError."""
    logging.getLogger("MDAnalysis").setLevel(logging.ERROR)  # tells of file formats that are not used here
    if missing := not_installed("prolif"):
        raise Conflict(missing)
    mol = Chem.MolFromMolBlock(block)
    if mol is None:
        raise LigandsmithError("RDKit cannot read this molecule")
    reference = project.folder / project.ligand if project.ligand else None
    het = str((project.site or {}).get("het") or "")
    versions = tuple(version(path) for path in (project.protein_path, reference) if path is not None)
    with _lock:
        finder = _finder(project.protein_path, reference, het, versions)
        try:
            found = finder.find(without_hydrogens(mol))
        except ToolFailure as error:
            raise LigandsmithError(str(error)) from None
    return [_interaction(each) for each in found]


@lru_cache(maxsize=8)
def _finder(protein: Path, reference: Path | None, het: str, _: Sequence[Version | None]) -> InteractionFinder:
    """On the protein without the ligand that is bound at the site."""
    bound = None if reference is None else load_reference(reference)
    return InteractionFinder(load_protein(protein, bound, [het] if het else []))


def _interaction(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": INTERACTION_KINDS.get(found["type"], found["type"]), "type": found["type"], "residue": found["residue"],
        "from": found["ligand_xyz"], "to": found["protein_xyz"],
    }  # fmt: skip
