"""A fragment that the ligands to be made contain exactly as it lies in the pocket: grown from, or linked."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.config import MAX_ATOMS
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import BuildFailure, DecodedLigand, Ligand, Rejection
from ligandsmith.structure.files import read_ligand
from ligandsmith.structure.ligands import BOND_TYPES, ligand_from_mol
from ligandsmith.structure.vocabulary import AROMATIC, BOND_CLASSES, NONE, SINGLE

CHANGED = "fragment changed"
FARTHEST = 10.0  # Å, from the nearest pocket atom


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
