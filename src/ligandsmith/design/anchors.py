"""Anchors: small groups placed where they make the required interactions, from which ligands are grown.

A group is placed at random beside the atoms of the residue, and kept where ProLIF finds the interaction, nothing of it
touches the pocket, and there is room for the next atom.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from ligandsmith.chem.fragment import Fragment, part_of, whole_units
from ligandsmith.design.interactions import InteractionSite, Target
from ligandsmith.design.parts import beside
from ligandsmith.design.space import REACH, FreeSpace
from ligandsmith.records import Pocket, Rejection
from ligandsmith.structure.ligands import ligand_from_mol, mol_from_ligand

ANCHOR_GROUPS = {  # by kind of interaction; `:1` marks the atoms that are put beside the residue
    "hbond": (
        "c1cc[n:1]cc1", "c1nc[n:1]cc1", "c1c[nH:1]cc1", "c1c[nH:1]nc1", "c1ccc([NH2:1])cc1", "c1ccc([NH2:1])nc1",
        "c1ccc([OH:1])cc1",
    ),
    "pi": ("[cH:1]1[cH:1][cH:1][cH:1][cH:1][cH:1]1", "[cH:1]1[cH:1][cH:1][n:1][cH:1][cH:1]1",
           "[cH:1]1[cH:1][s:1][cH:1][cH:1]1", "[cH:1]1[cH:1][nH:1][n:1][cH:1]1"),
    "salt": ("[NH3+:1]Cc1ccccc1", "C1CC[NH2+:1]CC1", "C[NH+:1]1CCNCC1", "NC(=[NH2+:1])c1ccccc1",
             "c1ccccc1C(=[O:1])[O-:1]", "c1cncc(c1)C(=[O:1])[O-:1]"),
    "contact": ("[cH:1]1ccccc1", "C1CC[CH2:1]CC1"),
    "metal": ("c1c[nH]c[n:1]1", "c1ccccc1C(=[O:1])[O-]", "c1ccccc1S(=O)(=O)[NH2:1]"),
}  # fmt: skip
SMALL_GROUPS = {  # where none of these fits; ligands that are grown from so few atoms have more defects
    "hbond": ("[CH2]=[O:1]", "C[OH:1]", "C[NH:1]C=[O:1]", "NC=[O:1]", "C[NH2:1]"),
    "pi": (),
    "salt": ("C[NH3+:1]", "C[NH2+:1]C", "CC(=[NH2+:1])[NH2:1]", "CC(=[O:1])[O-:1]"),
    "contact": ("C[CH:1](C)C", "CC[CH2:1]C", "[CH3:1]C"),
    "metal": ("CC(=[O:1])[O-]", "C=[O:1]"),
}  # fmt: skip
ANCHOR_DISTANCES = {  # Å, from the residue's atom or centre to the marked atom or centre
    "hbond": (2.7, 3.3), "pi": (3.5, 5.4), "salt": (2.7, 3.6), "contact": (3.6, 4.3), "metal": (1.9, 2.4),
}  # fmt: skip
TOLERANCES = (0.95, 0.9, 0.8)  # of the least distance from a pocket atom; the next where nothing fits
ANCHOR_TRIES = 6000  # random placements of a group
EXAMINED = 40  # of those that touch nothing, by ProLIF
ANCHORS_APART = 3.0  # Å, between atoms of two anchors
PREFERENCE = 10.0  # pocket atoms; a place that has so many fewer around it is chosen e times less
ANCHOR_ATTEMPTS = 8  # to find anchors that go together
SHARE = 0.6  # of a ligand's atoms that anchors take, at most
SMALLEST_SHARE = 6  # atoms: of a small ligand


@dataclass(frozen=True)
class Anchor:
    """A placed group."""

    fragment: Fragment
    burial: int  # pocket atoms around where it grows
    smiles: str  # of the group


def most_atoms(size: int) -> int:
    """Atoms that the fragment has, at most, from which a ligand of this size is grown."""
    return max(int(SHARE * size), min(size - 2, SMALLEST_SHARE))


def chosen(
    anchors: Sequence[Sequence[Anchor]], site: InteractionSite, most: int, rng: np.random.Generator,
    fixed: Fragment | None,
) -> Fragment | None:  # fmt: skip
    """A fragment of `most` atoms at most, with an anchor for each requirement that `fixed` does not fulfil yet.

    Of several attempts the first that is complete, else the one with most anchors.
    """
    best, least = fixed, len(anchors) + 1
    for _ in range(ANCHOR_ATTEMPTS):
        whole, lacking = _drawn(anchors, site, most, rng, fixed)
        if lacking < least:
            best, least = whole, lacking
        if not lacking:
            break
    return best


def _drawn(
    anchors: Sequence[Sequence[Anchor]], site: InteractionSite, most: int, rng: np.random.Generator,
    fixed: Fragment | None,
) -> tuple[Fragment | None, int]:  # fmt: skip
    """One attempt, and how many requirements have no anchor."""
    whole, lacking = fixed, 0
    smallest = [min(anchor.fragment.num_atoms for anchor in placed) for placed in anchors]
    for number, (target, placed) in enumerate(zip(site.targets, anchors, strict=False)):
        if whole is not None and site.fulfilled(site.finder.as_ligand(mol_from_ligand(whole.ligand)), target):
            continue
        room = most - (0 if whole is None else whole.num_atoms) - sum(smallest[number + 1 :])
        fitting = [a for a in placed if a.fragment.num_atoms <= room and are_apart(whole, a.fragment)]
        if not fitting:
            lacking += 1
            continue
        groups = Counter(a.smiles for a in fitting)
        weight = np.array([np.exp((a.burial - fitting[0].burial) / PREFERENCE) / groups[a.smiles] for a in fitting])
        anchor = fitting[rng.choice(len(fitting), p=weight / weight.sum())].fragment
        whole = anchor if whole is None else beside(whole, anchor)
    return whole, lacking


def are_apart(whole: Fragment | None, other: Fragment) -> bool:
    """Whether there is room for at least one atom between two fragments."""
    return whole is None or cdist(whole.ligand.x, other.ligand.x).min() >= ANCHORS_APART


def reference_groups(site: InteractionSite, reference: Chem.Mol) -> list[NDArray[np.bool_]]:
    """For each directed interaction of a reference, its atoms [N] with whole rings, and what is double bonded to them.

    Hydrophobic contacts have none: many atoms make them.
    """
    ligand = site.finder.as_ligand(reference)
    found = []
    for target in site.targets:
        contacts = site.contacts(ligand, target) if target.directed else []
        if contacts:
            atoms = np.zeros(reference.GetNumAtoms(), np.bool_)
            atoms[list(contacts[0])] = True
            found.append(whole_units(reference, atoms))
    return found


def part_of_reference(
    reference: Chem.Mol, groups: Sequence[NDArray[np.bool_]], most: int, rng: np.random.Generator
) -> Fragment | None:
    """As many groups of a reference as `most` atoms can have, taken in random order; None if not even one."""
    kept = np.zeros(reference.GetNumAtoms(), np.bool_)
    for number in rng.permutation(len(groups)):
        if (kept | groups[number]).sum() <= most:
            kept |= groups[number]
    ligand = ligand_from_mol(reference, "the reference", whole=False)
    return Fragment(part_of(ligand, kept)) if kept.any() and not isinstance(ligand, Rejection) else None


@cache
def _embedded(smiles: str) -> tuple[Chem.Mol, tuple[int, ...]]:
    """A group with hydrogens and a conformer, and its marked atoms."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    marked = tuple(a.GetIdx() for a in mol.GetAtoms() if a.GetAtomMapNum())
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    rdDistGeom.EmbedMolecule(mol, randomSeed=0)
    return mol, marked


class AnchorSearch:
    """Placements of groups in a pocket."""

    def __init__(self, site: InteractionSite, pocket: Pocket, seed: int = 0) -> None:
        self.site, self.pocket, self.space, self.tolerance = site, pocket, FreeSpace(pocket), TOLERANCES[0]
        self.rng = np.random.default_rng(seed)

    def around(self, target: Target) -> list[Anchor]:
        """Placed groups that fulfil a requirement, those in the most buried places first; none if nothing fits."""
        found: list[Anchor] = []
        touched = target.atoms if target.requirement.kind == "metal" else ()  # by an atom of the ligand
        self.space = FreeSpace(self.pocket, touched)
        for self.tolerance, groups in product(TOLERANCES, (ANCHOR_GROUPS, SMALL_GROUPS)):
            found = [anchor for smiles in groups[target.requirement.kind] for anchor in self._placed(target, smiles)]
            if found:
                break
        return sorted(found, key=lambda anchor: -anchor.burial)

    def _placed(self, target: Target, smiles: str) -> list[Anchor]:
        mol, marked = _embedded(smiles)
        heavy = mol.GetNumHeavyAtoms()
        centres = [list(marked)] if target.requirement.kind == "pi" else [[atom] for atom in marked]
        poses = self._poses(mol.GetConformer().GetPositions(), centres, target)
        poses = poses[self.space.is_free(poses[:, :heavy], self.tolerance)]
        open_h = [(a.GetIdx(), a.GetNeighbors()[0].GetIdx()) for a in mol.GetAtoms() if a.GetAtomicNum() == 1]
        found: list[Anchor] = []
        for x in poses[:EXAMINED]:
            bare = Chem.RemoveHs(mol)
            bare.GetConformer().SetPositions(x[:heavy])
            contacts = self.site.contacts(self.site.finder.as_ligand(bare), target)
            if not contacts:
                continue
            busy = {a for contact in contacts for a in contact} if target.requirement.kind == "hbond" else set()
            exits = self.space.exits(x, [(h, parent) for h, parent in open_h if parent not in busy], self.tolerance)
            burial = max(exits.values(), default=0)
            if not exits or burial < self.space.least_burial:
                continue
            ligand = ligand_from_mol(bare, smiles, whole=False)
            if not isinstance(ligand, Rejection):
                found.append(Anchor(Fragment(ligand), burial, smiles))
        return found

    def _poses(self, x: NDArray[np.float64], centres: Sequence[list[int]], target: Target) -> NDArray[np.float64]:
        """Random poses [T, N, 3] with one of these centres, of atoms, beside the residue, on the site's side."""
        direction = self.rng.normal(size=(ANCHOR_TRIES, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        low, high = ANCHOR_DISTANCES[target.requirement.kind]
        start = target.places[self.rng.integers(len(target.places), size=ANCHOR_TRIES)]
        place = start + direction * self.rng.uniform(low, high, (ANCHOR_TRIES, 1))
        middle = np.array([x[atoms].mean(0) for atoms in centres])[self.rng.integers(len(centres), size=ANCHOR_TRIES)]
        rotation = Rotation.random(ANCHOR_TRIES, random_state=self.rng).as_matrix()
        inwards = ((place - start) * (self.space.centre - start)).sum(1) > 0
        near = np.linalg.norm(place - self.space.centre, axis=1) < REACH
        return (np.einsum("tij,tnj->tni", rotation, x - middle[:, None]) + place[:, None])[inwards & near]
