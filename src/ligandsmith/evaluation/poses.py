"""The ligand in its pocket: protein loading and cropping, clashes, PoseBusters. Never imports torch."""

import importlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.spatial import cKDTree

from ligandsmith.chem.surroundings import PocketAtoms, clashes_per_atom
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.failure import ToolFailure

if TYPE_CHECKING:
    from ligandsmith.evaluation.tools import Site

CROP_RADIUS = 8.0  # Å; PoseBusters looks at protein atoms within 5 Å (contact) and 6 Å (overlap)
SAME_PLACE = 0.5  # Å, between atoms of the reference ligand and of its own copy in the protein file
ALTERNATIVE = 2.0  # Å, between unmarked atoms of one name in one residue: nearer ones are alternative locations
# A pose whose energy is at most 10 times the mean of 2 conformers passes PoseBusters' 100 times the mean of 50, by far;
# only the others are worth 50 conformers, which take ten times as long as all other checks together.
FIRST_LOOK = {"ensemble_number_conformations": 2, "threshold_energy_ratio": 10.0, "num_threads": 1}
ENERGY_CHECK = "internal_energy"
EMBED_ATTEMPTS = 50  # at one conformer; for fifty impossible ones RDKit tries for an hour
POSEBUSTERS_MISSING = "posebusters is not installed: pip install 'ligandsmith[evaluate]'"

PoseChecks = dict[str, bool | None]  # None: the check could not decide


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


def posebusters_available() -> bool:
    """Whether PoseBusters can be imported. Imports it, so that processes forked later need not."""
    try:
        importlib.import_module("posebusters")
    except ImportError:
        return False
    return True


@dataclass(frozen=True)
class PoseBustersTool:
    """PoseBusters' checks by name, True, False or None where one could not decide: suite `dock` with a protein, else
    `mol`. The protein is cropped around each ligand first."""

    name: str = "posebusters"
    seconds: float = 300.0  # fifty conformers of a ligand of 60 atoms take more than one minute

    def missing(self, site: "Site") -> str:
        """Why it cannot run."""
        del site
        return "" if posebusters_available() else POSEBUSTERS_MISSING

    def settings(self) -> dict[str, Any]:
        """Version, crop, and how the energy is looked at first."""
        return {"version": metadata.version("posebusters"), "crop": CROP_RADIUS, "first_look": FIRST_LOOK}

    def open(self, site: "Site") -> Callable[[Chem.Mol], PoseChecks]:
        """Load PoseBusters once; the function checks a molecule."""
        from posebusters import PoseBusters  # noqa: PLC0415 (optional, and slow to import)

        logging.getLogger("posebusters").setLevel(logging.CRITICAL)  # what a check could not decide is in its answer
        config = PoseBusters(config="mol" if site.protein is None else "dock", max_workers=0).config
        energy = [m for m in config["modules"] if m["function"] == "energy_ratio"][-1]  # `mol` lists it twice
        others = [m for m in config["modules"] if m["function"] != "energy_ratio"]
        look = energy | {"parameters": energy["parameters"] | FIRST_LOOK}
        whole = energy | {"parameters": energy["parameters"] | {"num_threads": 1}}
        busters = (PoseBusters({**config, "modules": m}) for m in (others, [*others, look], [whole]))
        return partial(_bust, _Busters(*busters), site.protein)


class _Busters(NamedTuple):
    """PoseBusters with parts of its checks."""

    geometry: Any  # all but the energy
    first: Any  # all, the energy against two conformers
    energy: Any  # the energy alone, against fifty


def _bust(busters: _Busters, protein: Protein | None, mol: Chem.Mol) -> PoseChecks:
    """All checks; the energy's against all conformers where the first look does not pass, and none where there are no
    conformers to compare with."""
    import pandas as pd  # noqa: PLC0415 (comes with PoseBusters)

    around = None if protein is None else protein.crop(mol.GetConformer().GetPositions())
    try:
        with pd.option_context("future.infer_string", False):  # it reads tables by the row, slow with Arrow's strings
            if not _has_conformers(mol):
                return {**_checks(busters.geometry.bust(mol, None, around)), ENERGY_CHECK: None}
            checks = _checks(busters.first.bust(mol, None, around))
            if not checks[ENERGY_CHECK]:
                checks[ENERGY_CHECK] = _checks(busters.energy.bust(mol, None, around))[ENERGY_CHECK]
    except (ValueError, RuntimeError, ArithmeticError, LookupError, TypeError) as error:
        raise ToolFailure(f"PoseBusters failed: {' '.join(str(error).split())}") from error
    return checks


def _has_conformers(mol: Chem.Mol) -> bool:
    """Whether RDKit makes a conformer from the molecule's InChI, which PoseBusters starts from. With some
    stereocentres, as in bridged rings, it cannot."""
    plain = Chem.MolFromInchi(Chem.MolToInchi(mol))
    if plain is None:
        return True  # for PoseBusters to say
    hydrogenated = Chem.AddHs(plain)
    made = rdDistGeom.EmbedMolecule(hydrogenated, maxAttempts=EMBED_ATTEMPTS, randomSeed=42, useRandomCoords=True)
    return bool(made == 0)


def _checks(table: Any) -> PoseChecks:
    row = table.iloc[0]
    # a check is True, False, or a missing value (NaN, NA), which equals neither
    return {str(name): bool(value) if isinstance(value, bool | np.bool_) else None for name, value in row.items()}
