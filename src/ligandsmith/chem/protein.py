"""A protein as the evaluator reads it: loading, cropping around a ligand, clashes with a ligand."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial import cKDTree

from ligandsmith.chem.plausibility import PocketAtoms, clashes_per_atom
from ligandsmith.errors import LigandsmithError
from ligandsmith.structure.ligands import heavy_positions
from ligandsmith.structure.pocket import OVERLAP, copies_at
from ligandsmith.structure.protein import Protein, Residue, read_protein
from ligandsmith.structure.vocabulary import Kind

CROP_RADIUS = 8.0  # Å; PoseBusters looks at protein atoms within 5 Å (contact) and 6 Å (overlap)
log = logging.getLogger("ligandsmith")
DECIMALS = 4  # of coordinates in Å; undoes the rounding to single precision


@dataclass(frozen=True, eq=False)  # hashable: what is computed from a protein is kept by `lru_cache`
class ProteinView:
    """Heavy atoms of the protein as the tools of evaluation read them, without the bound reference ligand."""

    path: str
    residues: tuple[Residue, ...]
    residue_index: NDArray[np.int64]  # [P] into `residues`
    name: tuple[str, ...]  # [P]
    element: NDArray[np.int64]  # [P] atomic numbers
    x: NDArray[np.float64]  # [P, 3] Å
    removed: tuple[str, ...] = ()  # what was left out, for the summary
    reading: str = ""  # the whole file in one line: what was kept, renamed, left out

    @cached_property
    def atoms(self) -> PocketAtoms:
        """Built once, for all ligands."""
        return PocketAtoms.of(self.x, self.element)

    @cached_property
    def tree(self) -> cKDTree:
        """Of x."""
        return cKDTree(self.x)

    def residues_near(self, x: NDArray[np.float64], reach: float) -> list[int]:
        """Residues with an atom within `reach` Å of any of x [N, 3], ascending."""
        atoms = {atom for near in self.tree.query_ball_point(x, reach) for atom in near}
        return sorted(set(self.residue_index[list(atoms)].tolist())) if atoms else []

    def crop(self, x: NDArray[Any], radius: float = CROP_RADIUS) -> Chem.Mol:
        """Whole residues with an atom within `radius` Å of any of x [N, 3], bondless, with PDB residue information.

        Where no residue is that near, the nearest one, so that a ligand outside the protein is judged and not skipped.
        """
        distance, _ = cKDTree(x).query(self.x)
        near = np.unique(self.residue_index[distance <= max(radius, float(distance.min()))])
        mol = Chem.RWMol()
        kept = np.flatnonzero(np.isin(self.residue_index, near))
        for i in kept.tolist():
            residue = self.residues[self.residue_index[i]]
            atom = Chem.Atom(int(self.element[i]))
            atom.SetNoImplicit(True)
            info = Chem.AtomPDBResidueInfo(
                self.name[i].ljust(4), i + 1, "", residue.name, residue.number, residue.chain, residue.insertion
            )
            info.SetIsHeteroAtom(residue.het)
            atom.SetMonomerInfo(info)
            mol.AddAtom(atom)
        conformer = Chem.Conformer(len(kept))
        conformer.SetPositions(self.x[kept])
        mol.AddConformer(conformer, assignId=True)
        return mol.GetMol()


def load_protein(
    path: str | os.PathLike[str],
    reference: Chem.Mol | None = None,
    removed_from_site: Sequence[str] = (),
    molecules: Sequence[Chem.Mol | None] = (),
    allow_dropped: bool = False,
) -> ProteinView:
    """Read a PDB or mmCIF file (or .gz) as training and generation do.

    What lies at the place of `reference` is its bound copy and is removed, as are the molecules that generation removed
    from the site (CHAIN:NAME:NUMBER), ligands of the file on which most of `molecules` lie, and buffers and salts,
    which pockets do not have either. `allow_dropped` is that of `read_protein`. Raises LigandsmithError for a file that
    is missing, unreadable or without atoms.
    """
    protein = read_protein(Path(path), allow_dropped)
    reading = protein.description(str(path))
    log.info(reading)
    removed = [f"{count} {what}" for what, count in protein.dropped.items() if what != "hydrogens"]
    copies = [i for i, residue in enumerate(protein.residues) if residue.het_label in removed_from_site]
    if reference is not None:
        copies = sorted({*copies, *copies_at(protein, heavy_positions(reference))})
    removed += [f"{protein.residues[i].label} {protein.residues[i].name}, the reference ligand" for i in copies]
    overlapped = sorted(set(_overlapped(protein, molecules)) - set(copies))
    for i in overlapped:
        log.warning("%s: left out %s, on which most molecules lie", path, protein.residues[i].het_label)
        removed.append(f"{protein.residues[i].label} {protein.residues[i].name}, on which most molecules lie")
    copies += overlapped
    additives = [i for i in protein.hets if protein.residues[i].is_additive and i not in copies]
    removed += [f"{protein.residues[i].label} {protein.residues[i].name}, a buffer or salt" for i in additives]
    copies += additives
    protein = protein.without(copies)
    if not protein.num_atoms:
        raise LigandsmithError(f"{path}: nothing is left besides the reference ligand; give the whole protein")
    return ProteinView(
        path=str(path),
        residues=protein.residues,
        residue_index=protein.residue_of,
        name=tuple(protein.atom_label.tolist()),
        element=protein.element.astype(np.int64),
        x=protein.x.astype(np.float64).round(DECIMALS),
        removed=tuple(removed),
        reading=reading,
    )


def _overlapped(protein: Protein, molecules: Sequence[Chem.Mol | None]) -> list[int]:
    """Ligands of the file on an atom of which more than half of the molecules have an atom of theirs."""
    placed = [mol for mol in molecules if mol is not None and mol.GetNumConformers()]
    ligands = np.flatnonzero(protein.kind == Kind.LIGAND)
    if not len(ligands) or not placed:
        return []
    tree, times = cKDTree(protein.x[ligands]), Counter[int]()
    for mol in placed:
        near = tree.query_ball_point(mol.GetConformer().GetPositions(), OVERLAP)
        times.update({int(protein.residue_of[ligands[atom]]) for atoms in near for atom in atoms})
    return [i for i, count in times.items() if 2 * count > len(placed)]


def count_clashes(mol: Chem.Mol, protein: ProteinView) -> int:
    """Pairs of ligand and protein heavy atoms closer than 0.75 times the sum of their van der Waals radii."""
    return int(clashes_per_atom(mol, protein.atoms).sum())
