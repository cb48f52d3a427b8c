"""The fixed part of a ligand: a fragment that is given, or what inpainting keeps of a ligand with defects."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.sparse.csgraph import connected_components

from ligandsmith.chem.plausibility import TOLERATED_RING
from ligandsmith.config import MAX_ATOMS, MAX_FRAGMENT_SHARE
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import BuildFailure, DecodedLigand, Ligand, Rejection
from ligandsmith.structure.ligands import BOND_TYPES, ligand_from_mol, read_ligand
from ligandsmith.structure.vocabulary import AROMATIC, BOND_CLASSES, NONE, SINGLE

CHANGED = "fragment changed"
GROWS = "_grows"
FARTHEST = 10.0  # Å, from the nearest pocket atom
LEAST_REGROWN = 4  # atoms
SMALLEST_PIECE = 3  # atoms in a row that are worth keeping


@dataclass(frozen=True)
class Fragment:
    """One or more pieces of a molecule. They are the first atoms of every ligand that is made with them."""

    ligand: Ligand  # as a molecule of its own: hydrogens where it can grow
    grows: NDArray[np.bool_] | None = None  # [n], atoms that new atoms may be bonded to; None: all with hydrogens

    @property
    def num_atoms(self) -> int:
        """Heavy atoms."""
        return self.ligand.num_atoms

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with any of its atoms, bonds and coordinates."""
        m = self.ligand
        parts: list[NDArray[Any]] = [m.element, m.charge, m.bond_index, m.bond_type, m.x]
        parts += [] if self.grows is None else [self.grows]
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]

    def placed(self, origin: NDArray[np.float32]) -> Ligand:
        """Its atoms in a frame with this origin [3] Å."""
        return replace(self.ligand, x=(self.ligand.x - origin).astype(np.float32))

    def bond_classes(self) -> NDArray[np.int64]:
        """Classes [n, n] of the bonds between its atoms."""
        classes = np.full((self.num_atoms, self.num_atoms), NONE, dtype=np.int64)
        for (i, j), kind in zip(self.ligand.bond_index, self.ligand.bond_type, strict=True):
            classes[i, j] = classes[j, i] = kind
        return classes

    @property
    def closed(self) -> NDArray[np.bool_]:
        """Atoms [n] that new atoms must not be bonded to."""
        return np.zeros(self.num_atoms, np.bool_) if self.grows is None else ~self.grows

    def growing_like(self, first: "Fragment") -> "Fragment":
        """This fragment, of which the first atoms are those of another one, which go on growing as they do there."""
        if first.grows is None:
            return self
        return replace(self, grows=np.concatenate([first.grows, np.ones(self.num_atoms - first.num_atoms, np.bool_)]))

    def require_place(self, pocket: NDArray[np.float32]) -> None:
        """Raise LigandsmithError if it is far from pocket atoms [M, 3] Å, as one from another file would be."""
        gap = np.linalg.norm(self.ligand.x[:, None] - pocket[None], axis=-1).min()
        if gap > FARTHEST:
            raise LigandsmithError(
                f"the fragment lies {gap:.0f} Å from the site; give it in the coordinates of the protein file"
            )

    def imposed(self, decoded: DecodedLigand) -> DecodedLigand:
        """What was decoded, with the fragment's own atoms, bonds and coordinates in place of the first ones."""
        n, own = self.num_atoms, self.ligand
        bonds = decoded.bond_probs.copy()
        classes = np.eye(len(BOND_CLASSES), dtype=bonds.dtype)
        bonds[:n, :n] = classes[self.bond_classes()]
        shut = np.flatnonzero(self.closed)
        bonds[shut, n:] = classes[NONE]
        bonds[n:, shut] = classes[NONE]
        grown = bonds[:n, n:].argmax(-1)
        taken = np.where(grown == AROMATIC, SINGLE, grown).sum(-1)  # single to triple are their own order
        return replace(
            decoded,
            element=np.concatenate([own.element, decoded.element[n:]]),
            charge=np.concatenate([own.charge, decoded.charge[n:]]),
            aromatic=np.concatenate([own.aromatic, decoded.aromatic[n:]]),
            num_h=np.concatenate([np.maximum(own.num_h.astype(int) - taken, 0).astype(np.uint8), decoded.num_h[n:]]),
            bond_probs=bonds,
            x=np.concatenate([own.x, decoded.x[n:]]),
        )

    def lost(self, mol: Chem.Mol) -> BuildFailure | None:
        """Why the first atoms of a built molecule are not the fragment any more, if so."""
        n, own = self.num_atoms, self.ligand
        for i, atom in zip(range(n), mol.GetAtoms(), strict=False):
            if (atom.GetAtomicNum(), atom.GetFormalCharge()) != (own.element[i], own.charge[i]):
                return BuildFailure(CHANGED, f"atom {i + 1} is now {atom.GetSymbol()}{atom.GetFormalCharge():+d}")
        classes = np.full((n, n), NONE)
        for bond in mol.GetBonds():
            i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            if max(i, j) < n:
                classes[i, j] = classes[j, i] = BOND_TYPES.get(bond.GetBondType(), -1)
        different = np.argwhere(np.triu(classes != self.bond_classes()))
        if len(different):
            i, j = different[0] + 1
            return BuildFailure(CHANGED, f"bond {i}-{j}")
        for i in np.flatnonzero(self.closed).tolist():
            if any(neighbour.GetIdx() >= n for neighbour in mol.GetAtomWithIdx(i).GetNeighbors()):
                return BuildFailure(CHANGED, f"atom {i + 1}, which is not to grow, has a new bond")
        return None


def read_fragment(source: Path | str | Chem.Mol | Fragment, grow_from: Sequence[int] | None = None) -> Fragment:
    """The fragment of an SDF or MOL2 file's first molecule, or of a molecule with a 3D conformer.

    Where the file has dummy atoms (`*`, R groups) or `grow_from` names atoms (their numbers in the file, from 1), new
    bonds are made there only: a dummy stands for the first new atom. Raises LigandsmithError.
    """
    if isinstance(source, Fragment):
        return source
    mol = source if isinstance(source, Chem.Mol) else read_ligand(Path(source), placeholders=True)
    name = "the fragment" if isinstance(source, Chem.Mol) else str(source)
    mol, vectors = _without_dummies(mol, name)
    growing = [*vectors, *_named_atoms(mol, name, grow_from or ())]
    marked = Chem.Mol(mol)
    for atom in marked.GetAtoms():
        atom.SetIntProp(GROWS, int(atom.GetIdx() in growing))
    heavy = Chem.RemoveAllHs(marked)
    ligand = ligand_from_mol(heavy, name, whole=False)
    if isinstance(ligand, Rejection):
        raise LigandsmithError(f"{name}: {ligand.reason}: {ligand.detail}")
    if ligand.num_atoms >= MAX_ATOMS:
        raise LigandsmithError(f"{name}: {ligand.num_atoms} heavy atoms; ligands have at most {MAX_ATOMS}")
    if not growing:
        return Fragment(ligand)
    return Fragment(ligand, np.array([atom.GetIntProp(GROWS) == 1 for atom in heavy.GetAtoms()]))


def _without_dummies(mol: Chem.Mol, name: str) -> tuple[Chem.Mol, list[int]]:
    """The molecule with hydrogens in place of its dummy atoms, and the atoms that these are bonded to."""
    copy, vectors = Chem.RWMol(mol), []
    for atom in copy.GetAtoms():
        if atom.GetAtomicNum() > 0:
            continue
        bonds = atom.GetBonds()
        if len(bonds) != 1 or bonds[0].GetBondType() != Chem.BondType.SINGLE:
            raise LigandsmithError(
                f"{name}: dummy atom {atom.GetIdx() + 1} must have one single bond, to where it grows"
            )
        vectors.append(bonds[0].GetOtherAtomIdx(atom.GetIdx()))
        copy.ReplaceAtom(atom.GetIdx(), Chem.Atom(1))
    if vectors:
        Chem.SanitizeMol(copy)
    return copy.GetMol(), vectors


def _named_atoms(mol: Chem.Mol, name: str, numbers: Sequence[int]) -> list[int]:
    """Indices of the atoms with these numbers, which have a hydrogen to replace."""
    count = mol.GetNumAtoms()
    for number in numbers:
        if not 1 <= number <= count:
            raise LigandsmithError(f"{name}: no atom {number} to grow from; the file has atoms 1 to {count}")
        atom = mol.GetAtomWithIdx(number - 1)
        if atom.GetAtomicNum() == 1 or not atom.GetTotalNumHs(includeNeighbors=True):
            raise LigandsmithError(
                f"{name}: atom {number} ({atom.GetSymbol()}) has no free valence to grow from; "
                "choose an atom with a hydrogen"
            )
    return [number - 1 for number in numbers]


class Kept(NamedTuple):
    """The part of a ligand that is kept, and the ligand's atoms in the order in which the part comes first."""

    part: Fragment
    order: NDArray[np.int64]  # [N]


def kept_part(mol: Chem.Mol, defective: NDArray[np.bool_], always: int = 0, seed: int = 0) -> Kept | None:
    """What remains of a ligand without its defective atoms [N], whole rings at a time; None where nothing does.

    The first `always` atoms remain in any case. Around the faults, or around any place where none is known, enough is
    left out that something else can grow there; `seed` decides where.
    """
    out = _left_out(mol, defective, always, np.random.default_rng(seed))
    if out is None or len(out) - out.sum() <= always:
        return None
    ligand = ligand_from_mol(mol, "ligand", whole=False)
    if isinstance(ligand, Rejection):
        return None
    return Kept(Fragment(part_of(ligand, ~out)), np.argsort(out, kind="stable"))


def _left_out(
    mol: Chem.Mol, defective: NDArray[np.bool_], always: int, rng: np.random.Generator
) -> NDArray[np.bool_] | None:
    """Atoms [N] to be generated again; None where they would be too few."""
    n = mol.GetNumAtoms()
    unit, near, free = _units(mol), Chem.GetAdjacencyMatrix(mol).astype(bool), np.arange(n) >= always
    start = unit[defective] if defective.any() else unit[rng.integers(n, size=1)]
    out: NDArray[np.bool_] = np.isin(unit, start) & free
    while out.sum() < LEAST_REGROWN or 1 - out.mean() > MAX_FRAGMENT_SHARE:
        border = np.flatnonzero(near[out].any(0) & ~out & free)
        if not len(border):
            return None
        out |= (unit == unit[rng.choice(border)]) & free
    piece = connected_components(near & ~out[:, None] & ~out)[1]
    small = np.bincount(piece)[piece] < SMALLEST_PIECE
    return out | small & ~np.isin(piece, piece[:always])


def _units(mol: Chem.Mol) -> NDArray[np.int64]:
    """Number of the unit that each atom [N] belongs to: ordinary rings, fused and with their double bonds, or an atom.

    A ring that loses a double bond may not be the same ring any more, so that only single bonds are cut.
    """
    low, high = TOLERATED_RING
    unit = np.arange(mol.GetNumAtoms())
    rings = [ring for ring in mol.GetRingInfo().AtomRings() if low <= len(ring) <= high]
    multiple = (Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds() if b.GetBondType() in multiple]
    for atoms in (*rings, *bonds):
        unit[np.isin(unit, unit[list(atoms)])] = unit[list(atoms)].min()
    return unit


def whole_units(mol: Chem.Mol, atoms: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """These atoms [N] with the rings and double bonds that they are in."""
    unit = _units(mol)
    return np.isin(unit, unit[atoms])


def part_of(ligand: Ligand, kept: NDArray[np.bool_]) -> Ligand:
    """These atoms and the bonds between them; hydrogens where a bond was cut."""
    number = np.cumsum(kept) - 1
    inside = kept[ligand.bond_index].all(1)
    order = np.where(ligand.bond_type == AROMATIC, SINGLE, ligand.bond_type)
    hydrogens = ligand.num_h.astype(np.int64)
    for side in (0, 1):
        np.add.at(hydrogens, ligand.bond_index[~inside, side], order[~inside])
    return replace(
        ligand,
        element=ligand.element[kept], charge=ligand.charge[kept], aromatic=ligand.aromatic[kept],
        num_h=hydrogens[kept].astype(np.uint8), x=ligand.x[kept],
        bond_index=number[ligand.bond_index[inside]].astype(np.int16), bond_type=ligand.bond_type[inside],
    )  # fmt: skip
