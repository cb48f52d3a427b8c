"""A protein as the evaluator reads it: loading, cropping around a ligand, clashes with a ligand."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial import cKDTree

from ligandsmith.chem.surroundings import PocketAtoms, clashes_per_atom
from ligandsmith.errors import LigandsmithError

CROP_RADIUS = 8.0  # Å; PoseBusters looks at protein atoms within 5 Å (contact) and 6 Å (overlap)
SAME_PLACE = 0.5  # Å, between atoms of the reference ligand and of its own copy in the protein file
ALTERNATIVE = 2.0  # Å, between unmarked atoms of one name in one residue: nearer ones are alternative locations


@dataclass(frozen=True)
class Protein:
    """Heavy atoms of the first model, without waters, alternative locations and the bound reference ligand."""

    path: str
    residues: tuple[tuple[str, str, int, bool], ...]  # chain, name, number, is a het group; one for each residue
    residue_index: NDArray[np.int64]  # [P] into `residues`
    name: tuple[str, ...]  # [P]
    element: NDArray[np.int64]  # [P] atomic numbers
    x: NDArray[np.float64]  # [P, 3] Å
    removed: tuple[str, ...] = ()  # what was left out, for the summary

    @cached_property
    def atoms(self) -> PocketAtoms:
        """Built once, for all ligands."""
        return PocketAtoms.of(self.x, self.element)

    def crop(self, x: NDArray[Any], radius: float = CROP_RADIUS) -> Chem.Mol:
        """Whole residues with an atom within `radius` Å of any of x [N, 3], bondless, with PDB residue information.

        Where no residue is that near, the nearest one, so that a ligand outside the protein is judged and not skipped.
        """
        distance, _ = cKDTree(x).query(self.x)
        near = np.unique(self.residue_index[distance <= max(radius, float(distance.min()))])
        mol = Chem.RWMol()
        kept = np.flatnonzero(np.isin(self.residue_index, near))
        for i in kept.tolist():
            chain, residue, number, het = self.residues[self.residue_index[i]]
            atom = Chem.Atom(int(self.element[i]))
            atom.SetNoImplicit(True)
            info = Chem.AtomPDBResidueInfo(self.name[i].ljust(4), i + 1, "", residue, number, chain)
            info.SetIsHeteroAtom(het)
            atom.SetMonomerInfo(info)
            mol.AddAtom(atom)
        conformer = Chem.Conformer(len(kept))
        conformer.SetPositions(self.x[kept])
        mol.AddConformer(conformer, assignId=True)
        return mol.GetMol()


def load_protein(path: str | os.PathLike[str], reference: Chem.Mol | None = None) -> Protein:
    """Read PDB or mmCIF (or .gz). A het group at the place of `reference` is its bound copy and goes, as do waters.

    Raises LigandsmithError for a file that is missing, unreadable or without atoms.
    """
    if not Path(path).is_file():
        raise LigandsmithError(f"no such protein file: {path}; give a PDB or mmCIF file")
    try:
        structure = gemmi.read_structure(str(path), format=gemmi.CoorFormat.Detect)
    except (RuntimeError, ValueError, OSError) as error:
        raise LigandsmithError(f"cannot read protein {path}: {' '.join(str(error).split())}") from error
    bound = None if reference is None else cKDTree(reference.GetConformer().GetPositions())
    waters, dropped = 0, []
    residues: list[tuple[str, str, int, bool]] = []
    index, names, elements, positions = [], [], [], []
    for chain, residue in ((c, r) for model in list(structure)[:1] for c in model for r in c):
        if residue.is_water():
            waters += 1
            continue
        het = residue.het_flag == "H"
        for atoms in _copies(residue):
            places = [a.pos.tolist() for a in atoms.values()]
            if het and bound is not None and np.mean(bound.query(places)[0] < SAME_PLACE) > 0.5:
                dropped.append(f"{residue.name} {chain.name}{residue.seqid}, the reference ligand")
                continue
            index += [len(residues)] * len(atoms)
            residues.append((chain.name, residue.name, residue.seqid.num or 0, het))
            names += list(atoms)
            elements += [a.element.atomic_number for a in atoms.values()]
            positions += places
    if not residues:
        raise LigandsmithError(f"no protein atoms in {path}; is it a PDB or mmCIF file?")
    return Protein(
        path=str(path),
        residues=tuple(residues),
        residue_index=np.array(index),
        name=tuple(names),
        element=np.array(elements),
        x=np.array(positions),
        removed=tuple(([f"{waters} waters"] if waters else []) + dropped),
    )


def _copies(residue: gemmi.Residue) -> list[dict[str, gemmi.Atom]]:
    """Heavy atoms by name, the first of alternative locations.

    Files of assemblies may give all copies of a chain the same name; gemmi then reads their residues as one. An atom of
    a known name, no alternative location and elsewhere begins another copy.
    """
    copies: list[dict[str, gemmi.Atom]] = [{}]
    for atom in residue:
        if atom.element.atomic_number <= 1:
            continue
        first = copies[-1].get(atom.name)
        if first is not None and atom.altloc == first.altloc and atom.pos.dist(first.pos) > ALTERNATIVE:
            copies.append({})
        copies[-1].setdefault(atom.name, atom)
    return [atoms for atoms in copies if atoms]


def count_clashes(mol: Chem.Mol, protein: Protein) -> int:
    """Pairs of ligand and protein heavy atoms closer than 0.75 times the sum of their van der Waals radii."""
    return int(clashes_per_atom(mol, protein.atoms).sum())
