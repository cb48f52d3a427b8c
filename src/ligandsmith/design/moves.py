"""Proposals: how the next ligands are made from those that are there. All of them start the sampler somewhere.

| move | what the sampler starts from |
|---|---|
| noise | a parent, noised up to one of several times (SDEdit; Meng et al. 2022): the more noise, the more changes |
| inpaint | a parent of which a part is noised (RePaint; Lugmayr et al. 2022) |
| replace | what is left of a parent without a part, which is made anew, also of another size |
| hop, decorate | a parent's substituents, or its scaffold (Murcko) |
| grow, shrink | a parent that gets more atoms, or one without a terminal group, noised |
| crossover | parts of two parents that lie apart, to be linked |
| fresh | nothing but the pocket, and the fragment to keep |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.fragment import Fragment, kept_part, part_of
from ligandsmith.config import MAX_ATOMS, MIN_ATOMS
from ligandsmith.design.parts import joined, scaffold_atoms
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Ligand, Rejection
from ligandsmith.structure.ligands import ligand_from_mol

AtomMask = NDArray[np.bool_]
NOISE_TIMES = (0.2, 0.25, 0.3, 0.4)  # with less noise a ligand stays as it is, with more nothing of it stays
INPAINT_TIME = 0.55
SHRINK_TIME = 0.25
STEP = 3  # heavy atoms that a move adds or takes, at most
LINK = (2.0, 6.0)  # Å, between the parts of two parents that are linked
LINK_BOND = 1.4  # Å, along a linker
SMALLEST_PART = 4  # heavy atoms, of a parent in a crossover
TERMINAL = 8  # heavy atoms of a group that is dropped, at most
FRESH = "fresh"
SIMPLE_MOVES = (*(f"noise {time:g}" for time in NOISE_TIMES), "shrink", FRESH)  # without fragments
FRAGMENT_MOVES = ("inpaint", "replace", "hop", "decorate", "grow", "crossover")


@dataclass(frozen=True)
class Parent:
    """A ligand that others are made from: heavy atoms, those of the fragment to keep first."""

    index: int
    mol: Chem.Mol


@dataclass(frozen=True)
class Proposal:
    """A ligand to be sampled: where the sampler starts, and why."""

    index: int
    move: str
    parents: tuple[int, ...]
    size: int  # heavy atoms
    fragment: Fragment | None = None  # its first atoms
    ligand: Ligand | None = None  # to be noised; None: pure noise
    time: float = 1.0


class Limits(NamedTuple):
    """What holds for all proposals."""

    low: int  # heavy atoms
    high: int
    keep: Fragment | None = None

    @property
    def kept(self) -> int:
        """Atoms of the fragment that all ligands contain."""
        return 0 if self.keep is None else self.keep.num_atoms

    def size(self, wanted: int, least: int = 0) -> int | None:
        """A number of heavy atoms within the range, and at least so many; None if there is none."""
        low = max(self.low, least, MIN_ATOMS)
        return None if low > min(self.high, MAX_ATOMS) else int(np.clip(wanted, low, min(self.high, MAX_ATOMS)))


MOVE_NAMES = tuple(dict.fromkeys(move.split()[0] for move in (*SIMPLE_MOVES, *FRAGMENT_MOVES)))
Made = tuple[int, Fragment | None, Ligand | None, float]  # size, fragment, ligand, time
Move = Callable[[Sequence[Parent], Limits, np.random.Generator], Made | None]


def propose(
    move: str, index: int, parents: Sequence[Parent], limits: Limits, rng: np.random.Generator
) -> Proposal | None:
    """A proposal by a move from one parent, or two for a crossover; None where these parents do not allow it."""
    name, _, time = move.partition(" ")
    try:
        made = _noised(float(time), parents, limits, rng) if name == "noise" else MOVES[name](parents, limits, rng)
    except (LigandsmithError, Chem.MolSanitizeException):  # a part that is no molecule of its own
        return None
    if made is None:
        return None
    used = {FRESH: 0, "crossover": 2}.get(name, 1)
    return Proposal(index, move, tuple(parent.index for parent in parents[:used]), *made)


def _noised(time: float, parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    del rng
    ligand = _ligand(parents[0].mol)
    return None if limits.size(ligand.num_atoms) != ligand.num_atoms else (ligand.num_atoms, limits.keep, ligand, time)


def _inpainted(parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    mol = parents[0].mol
    kept = kept_part(mol, np.zeros(mol.GetNumAtoms(), np.bool_), limits.kept, int(rng.integers(2**31)))
    if kept is None or limits.size(mol.GetNumAtoms()) != mol.GetNumAtoms():
        return None
    ligand = _ligand(Chem.RenumberAtoms(mol, kept.order.tolist()))
    return ligand.num_atoms, _as_kept(kept.part, limits), ligand, INPAINT_TIME


def _replaced(parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    mol = parents[0].mol
    kept = kept_part(mol, np.zeros(mol.GetNumAtoms(), np.bool_), limits.kept, int(rng.integers(2**31)))
    if kept is None:
        return None
    return _grown(_as_kept(kept.part, limits), mol.GetNumAtoms() + int(rng.integers(-STEP, STEP + 1)), limits)


def _hopped(parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    return _of_scaffold(parents[0].mol, limits, rng, stays=False)


def _decorated(parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    return _of_scaffold(parents[0].mol, limits, rng, stays=True)


def _of_scaffold(mol: Chem.Mol, limits: Limits, rng: np.random.Generator, stays: bool) -> Made | None:
    inside = scaffold_atoms(mol)
    kept = (inside if stays else ~inside) | (np.arange(len(inside)) < limits.kept)
    if kept.all() or kept.sum() <= limits.kept:
        return None
    part = _part(mol, kept, limits, only_cut=not stays)
    return _grown(part, mol.GetNumAtoms() + int(rng.integers(-STEP, STEP + 1)), limits)


def _extended(parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    mol = parents[0].mol
    fragment = _part(mol, np.ones(mol.GetNumAtoms(), np.bool_), limits)
    return _grown(fragment, mol.GetNumAtoms() + int(rng.integers(1, STEP + 1)), limits)


def _shrunk(parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    mol = parents[0].mol
    groups = [side for side in _sides(mol) if side.sum() <= TERMINAL and not side[: limits.kept].any()]
    groups = [side for side in groups if limits.size(int((~side).sum())) == (~side).sum()]
    if not groups:
        return None
    ligand = part_of(_ligand(mol), ~groups[rng.integers(len(groups))])
    return ligand.num_atoms, limits.keep, ligand, SHRINK_TIME


def _crossed(parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    if len(parents) < 2:
        return None
    first, second = (parent.mol for parent in parents[:2])
    x, y = (mol.GetConformer().GetPositions() for mol in (first, second))
    gaps = np.linalg.norm(x[:, None] - y[None], axis=-1)
    fixed = np.arange(len(x)) < limits.kept
    choices = []
    for a in _sides(first):
        if a.sum() < SMALLEST_PART or not a[fixed].all():
            continue
        for b in _sides(second):
            total = int(a.sum() + b.sum())
            if b.sum() < SMALLEST_PART or b[: limits.kept].any() or total >= limits.high:
                continue
            gap = float(gaps[a][:, b].min())
            if LINK[0] <= gap <= LINK[1]:
                choices.append((total, gap, a, b))
    if not choices:
        return None
    choices.sort(key=lambda choice: -choice[0])
    total, gap, a, b = choices[rng.integers(min(len(choices), 10))]
    fragment = joined([_part(first, a, limits), Fragment(part_of(_ligand(second), b))])
    return _grown(fragment, total + max(1, round(gap / LINK_BOND) - 1), limits)


def _fresh(parents: Sequence[Parent], limits: Limits, rng: np.random.Generator) -> Made | None:
    del parents
    size = limits.size(int(rng.integers(limits.low, limits.high + 1)), limits.kept + 1)
    return None if size is None else (size, limits.keep, None, 1.0)


MOVES: dict[str, Move] = {
    "inpaint": _inpainted, "replace": _replaced, "hop": _hopped, "decorate": _decorated, "grow": _extended,
    "shrink": _shrunk, "crossover": _crossed, FRESH: _fresh,
}  # fmt: skip


def _grown(fragment: Fragment, wanted: int, limits: Limits) -> Made | None:
    size = limits.size(wanted, fragment.num_atoms + 1)
    return None if size is None else (size, fragment, None, 1.0)


def _ligand(mol: Chem.Mol) -> Ligand:
    ligand = ligand_from_mol(mol, "parent", whole=False)
    if isinstance(ligand, Rejection):
        raise LigandsmithError(f"parent: {ligand.reason}: {ligand.detail}")
    return ligand


def _part(mol: Chem.Mol, kept: AtomMask, limits: Limits, only_cut: bool = False) -> Fragment:
    """These atoms, open at all hydrogens, or only where a bond was cut; the fragment to keep as the user opened it."""
    near = Chem.GetAdjacencyMatrix(mol).astype(bool)
    cut = near[~kept].any(0)[kept] if only_cut and not kept.all() else None
    return _as_kept(Fragment(part_of(_ligand(mol), kept), cut), limits)


def _as_kept(fragment: Fragment, limits: Limits) -> Fragment:
    if limits.keep is None or limits.keep.grows is None:
        return fragment
    grows = np.ones(fragment.num_atoms, np.bool_) if fragment.grows is None else fragment.grows.copy()
    grows[: limits.kept] = limits.keep.grows
    return replace(fragment, grows=grows)


def _sides(mol: Chem.Mol) -> list[AtomMask]:
    """Both sides of each single bond that is in no ring, as masks of atoms [N]."""
    sides = []
    n = mol.GetNumAtoms()
    for bond in mol.GetBonds():
        if bond.IsInRing() or bond.GetBondType() != Chem.BondType.SINGLE:
            continue
        cut = Chem.RWMol(mol)
        cut.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for piece in Chem.GetMolFrags(cut):
            sides.append(np.isin(np.arange(n), piece))
    return sides
