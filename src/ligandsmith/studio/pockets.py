"""Suggested sites where no ligand shows one: fpocket (Le Guilloux et al. 2009), as the package fpocket-rs has it."""

from contextlib import closing
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ligandsmith.errors import LigandsmithError
from ligandsmith.parallel.processes import WorkerFailure, results_from_processes
from ligandsmith.structure.protein import read_structure
from ligandsmith.structure.vocabulary import Kind
from ligandsmith.studio.projects import Conflict, Project
from ligandsmith.studio.sites import project_protein, short_label
from ligandsmith.studio.tables import Version, version

PACKAGE = "fpocket-rs"
SEARCH_SECONDS = 120.0  # a protein has
MOST_SITES = 8
LINING_DISTANCE = (
    5.0  # Å between an alpha sphere's centre and an atom that lines the pocket; the spheres are 3.4 to 6.2 Å wide
)


def suggested_sites(project: Project) -> list[dict[str, Any]]:
    """Pockets by their druggability score (0 to 1), best first. Raises LigandsmithError."""
    if find_spec("fpocket_rs") is None:
        raise Conflict(f"{PACKAGE}, which finds pockets, is not installed: pip install 'ligandsmith[studio]'")
    protein = project_protein(project)
    rows = np.flatnonzero(protein.kind == Kind.POLYMER)
    tree = cKDTree(protein.x[rows])
    sites = []
    for druggability, spheres in _pockets(project.protein_path, version(project.protein_path)):
        near = sorted({int(row) for found in tree.query_ball_point(spheres, LINING_DISTANCE) for row in found})
        lining = dict.fromkeys(protein.residue_of[rows[near]].tolist())
        sites.append({
            "center": [round(float(v), 3) for v in np.mean(spheres, axis=0)], "score": round(druggability, 3),
            "source": f"{PACKAGE} {metadata.version(PACKAGE)}, druggability score",
            "residues": [short_label(protein.residues[i]) for i in lining],
        })  # fmt: skip
    return sites


@lru_cache(maxsize=8)
def _pockets(path: Path, _: Version | None) -> list[tuple[float, list[list[float]]]]:
    """Score and alpha spheres, centres [S, 3] Å, of the best pockets. In a process of its own, which may fail alone."""
    structure = read_structure(path)
    while len(structure) > 1:
        del structure[-1]
    structure.setup_entities()
    structure.remove_ligands_and_waters()
    structure.remove_hydrogens()
    structure.remove_alternative_conformations()
    structure.shorten_chain_names()
    text = structure.make_pdb_string()
    with closing(results_from_processes(find_pockets, [text], 1, SEARCH_SECONDS)) as results:
        found = next(results)[1]
    if isinstance(found, WorkerFailure):
        raise LigandsmithError(
            f"{PACKAGE} found no pockets in this protein within {SEARCH_SECONDS:g} s; choose residues"
        )
    return found


def find_pockets(pdb: str) -> list[tuple[float, list[list[float]]]]:
    """Score and alpha spheres of the best pockets of a protein, PDB text."""
    import fpocket_rs  # noqa: PLC0415 (optional)

    pockets = sorted(fpocket_rs.detect_pockets(pdb)["pockets"], key=lambda pocket: -pocket["drug_score"])
    return [
        (float(pocket["drug_score"]), [[float(v) for v in sphere[:3]] for sphere in pocket["alpha_spheres"]])
        for pocket in pockets[:MOST_SITES]
    ]
