"""The fixed part of a ligand: a fragment that is given, or what inpainting keeps of a ligand with defects."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

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
FARTHEST = 10.0  # Å, from the nearest pocket atom
LEAST_REGROWN = 4  # atoms
SMALLEST_PIECE = 3  # atoms in a row that are worth keeping


@dataclass(frozen=True)
class Fragment:
    """One or more pieces of a molecule. They are the first atoms of every ligand that is made with them."""

    ligand: Ligand  # as a molecule of its own: hydrogens where it can grow

    @property
    def num_atoms(self) -> int:
        """Heavy atoms."""
        return self.ligand.num_atoms

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with any of its atoms, bonds and coordinates."""
        m = self.ligand
        parts = (m.element, m.charge, m.bond_index, m.bond_type, m.x)
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
        bonds[:n, :n] = np.eye(len(BOND_CLASSES), dtype=bonds.dtype)[self.bond_classes()]
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
        return None


def read_fragment(source: Path | str | Chem.Mol) -> Fragment:
    """The fragment of an SDF or MOL2 file's first molecule, or of a molecule with a 3D conformer. Raises
    LigandsmithError."""
    mol = source if isinstance(source, Chem.Mol) else read_ligand(Path(source))
    name = "the fragment" if isinstance(source, Chem.Mol) else str(source)
    ligand = ligand_from_mol(mol, name, whole=False)
    if isinstance(ligand, Rejection):
        raise LigandsmithError(f"{name}: {ligand.reason}: {ligand.detail}")
    if ligand.num_atoms >= MAX_ATOMS:
        raise LigandsmithError(f"{name}: {ligand.num_atoms} heavy atoms; ligands have at most {MAX_ATOMS}")
    return Fragment(ligand)


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
    return Kept(Fragment(_part(ligand, ~out)), np.argsort(out, kind="stable"))


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


def _part(ligand: Ligand, kept: NDArray[np.bool_]) -> Ligand:
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
