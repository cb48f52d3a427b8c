"""What a protein file lacks: atoms of amino acids that were not seen, and gaps in its chains."""

from collections.abc import Collection
from functools import lru_cache

import gemmi
import numpy as np
from rdkit import Chem

from ligandsmith.structure.protein import PEPTIDE_BOND, Protein, listed
from ligandsmith.structure.vocabulary import BACKBONE_NAMES, RESIDUES, Kind

NAMES_SHOWN = 6  # names in a message before it is cut short


@lru_cache(maxsize=len(RESIDUES))
def standard_atoms(name: str) -> tuple[str, ...]:
    """Names of the heavy atoms of one of the twenty amino acids, OXT last."""
    mol = Chem.MolFromSequence(gemmi.find_tabulated_residue(name).one_letter_code.upper())
    return tuple(atom.GetPDBResidueInfo().GetName().strip() for atom in mol.GetAtoms())


def missing_atoms(protein: Protein) -> dict[int, tuple[str, ...]]:
    """Heavy atoms that amino acids of the chains lack, by the index of the residue; the OXT of an end is none."""
    atoms: dict[int, set[str]] = {}
    for residue, label in zip(protein.residue_of.tolist(), protein.atom_label.tolist(), strict=True):
        atoms.setdefault(residue, set()).add(label)
    found = {}
    for index, residue in enumerate(protein.residues):
        if residue.kind is Kind.POLYMER and residue.name in RESIDUES[:-1]:
            lacks = tuple(n for n in standard_atoms(residue.name) if n not in atoms[index] and n != "OXT")
            if residue.name == "MET" and "SE" in atoms[index]:
                lacks = tuple(name for name in lacks if name != "SD")
            if lacks:
                found[index] = lacks
    return found


def without_backbone(lacks: Collection[str]) -> bool:
    """Whether what a residue lacks is more than a side chain."""
    return bool(BACKBONE_NAMES & set(lacks))


def chain_gaps(protein: Protein) -> list[tuple[int, int]]:
    """Residues that follow each other in a chain of the file without a peptide bond, by index."""
    named = enumerate(zip(protein.residue_of.tolist(), protein.atom_label.tolist(), strict=True))
    place = {of: protein.x[row] for row, of in named if of[1] in ("CA", "C", "N")}
    last: dict[str, int] = {}
    gaps = []
    for index, residue in enumerate(protein.residues):
        if residue.kind is not Kind.POLYMER or (index, "CA") not in place:
            continue
        before = last.get(residue.chain)
        last[residue.chain] = index
        if before is not None:
            ends = place.get((before, "C")), place.get((index, "N"))
            if ends[0] is None or ends[1] is None or np.linalg.norm(ends[0] - ends[1]) > PEPTIDE_BOND:
                gaps.append((before, index))
    return gaps


def incompleteness(protein: Protein, residues: Collection[int] | None = None) -> str:
    """What is missing at some residues, or in the whole file, in a few words; empty if nothing is."""
    inside = range(len(protein.residues)) if residues is None else set(residues)
    lacking = {i: names for i, names in missing_atoms(protein).items() if i in inside}
    gaps = [pair for pair in chain_gaps(protein) if pair[0] in inside or pair[1] in inside]
    parts = []
    if lacking:
        labels = [protein.residues[i].full_label for i in lacking]
        parts.append(f"atoms of {listed(labels, NAMES_SHOWN)}")
    if gaps:
        ends = [f"{protein.residues[a].label} to {protein.residues[b].place}" for a, b in gaps]
        parts.append(f"what lies between {listed(ends, NAMES_SHOWN)}")
    return " and ".join(parts)
