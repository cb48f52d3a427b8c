"""The pocket of a site that the user names: by reference ligand, residues, centre or het molecule."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ligandsmith.config import SITE_RADIUS, Config, PocketConfig
from ligandsmith.data.transforms import mark_pocket
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Pocket
from ligandsmith.structure.files import read_ligand, read_protein
from ligandsmith.structure.pocket import (
    PreflightReport,
    het_residues,
    pocket_from_center,
    pocket_from_het,
    pocket_from_ligand,
    pocket_from_residues,
)


def read_pocket(  # noqa: PLR0913 - one argument for each way of naming a site
    protein: Path, ligand: Path | None = None, residues: Sequence[str] | None = None,
    center: Sequence[float] | None = None, het: str | None = None, *, radius: float = SITE_RADIUS, cut: float = 8.0,
) -> tuple[Pocket, PreflightReport]:  # fmt: skip
    """A pocket by reference ligand, residues, centre and radius (Å) or het molecule, and what was kept and dropped.

    Around a reference ligand or het molecule, heavy atoms within `cut` Å and C-alphas within 10 Å are kept, as in
    training; around a centre, heavy atoms within `radius` and C-alphas 2 Å further; named residues as a whole. The rest
    of their residues surrounds them, for the encoder only.
    """
    structure = read_protein(protein)
    shape = replace(Config().pocket, radius=cut)
    way = "ligand" if shape == Config().pocket else ""
    if ligand is not None:
        mol = read_ligand(ligand)
        heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
        around = np.asarray(mol.GetConformer().GetPositions()[heavy], dtype=np.float32)
        pocket, report = pocket_from_ligand(structure, around)
    elif residues:
        return pocket_from_residues(structure, residues)
    elif center is not None:
        shape, way = sphere(Config().pocket, radius), "center" if radius == SITE_RADIUS else ""
        around = np.asarray(center, dtype=np.float32)[None]
        pocket, report = pocket_from_center(structure, around[0], shape.calpha_radius)
    elif het is not None:
        pocket, report = pocket_from_het(structure, het)
        around = structure.x[structure.residue_of == het_residues(structure, het)[0]]
    else:
        raise LigandsmithError("name the site: a reference ligand, residues, a centre or a het molecule")
    pocket = replace(mark_pocket(pocket, around, shape), cut=way)
    return pocket, replace(report, num_atoms=int(pocket.kept.sum()))  # type: ignore[union-attr]


def sphere(config: PocketConfig, radius: float) -> PocketConfig:
    """The cut of a pocket around a centre: heavy atoms within `radius` Å, C-alphas a little further."""
    return replace(config, radius=radius, calpha_radius=radius + config.calpha_radius - config.radius)
