"""The decoder's word on one molecule as a dense graph, and its RDKit twin."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.records import DecodedLigand
from ligandsmith.structure.vocabulary import AROMATIC, DOUBLE, NONE, SINGLE, TRIPLE

RDKIT_BONDS = {
    SINGLE: Chem.BondType.SINGLE,
    DOUBLE: Chem.BondType.DOUBLE,
    TRIPLE: Chem.BondType.TRIPLE,
    AROMATIC: Chem.BondType.AROMATIC,
}
HEAVIEST_ELEMENT = 118
UNLIMITED = 99
ELECTRONS_OF_CARBON = 6
SMALLEST_PROBABILITY = 1e-6
SIGMA_ORDER = np.array([0, 1, 2, 3, 1])  # what each bond class takes from an atom before any aromatic pi electron


def _largest_valences() -> NDArray[np.int64]:
    """Largest valence RDKit accepts, by atomic number; a charged atom reads that of its isoelectronic neutral one."""
    table = Chem.GetPeriodicTable()
    largest = [max(table.GetValenceList(z)) for z in range(1, HEAVIEST_ELEMENT + 1)]
    return np.array([0] + [UNLIMITED if v < 0 else v for v in largest], dtype=np.int64)


LARGEST_VALENCE = _largest_valences()


@dataclass
class MolecularGraph:
    """Mutable working copy. `orders` [N, N] holds bond classes (0 = none), symmetric."""

    element: NDArray[np.int64]  # [N] atomic numbers
    charge: NDArray[np.int64]  # [N]
    aromatic: NDArray[np.bool_]  # [N] the decoder's flag
    num_h: NDArray[np.int64]  # [N] the decoder's claim
    orders: NDArray[np.int64]  # [N, N]
    log_probs: NDArray[np.float64]  # [N, N, 5]
    length: NDArray[np.float64]  # [N, N] Å

    @classmethod
    def from_decoded(cls, decoded: DecodedLigand) -> "MolecularGraph":
        """Bonds where p(bond) > 0.5, each of the most probable bonded class."""
        probs = decoded.bond_probs.astype(np.float64)
        probs = (probs + probs.transpose(1, 0, 2)) / 2
        orders = np.where(probs[..., NONE] < 0.5, probs[..., 1:].argmax(-1) + 1, NONE)
        np.fill_diagonal(orders, NONE)
        x = decoded.x.astype(np.float64)
        return cls(
            element=decoded.element.astype(np.int64),
            charge=decoded.charge.astype(np.int64),
            aromatic=decoded.aromatic.astype(np.bool_),
            num_h=decoded.num_h.astype(np.int64),
            orders=orders.astype(np.int64),
            log_probs=np.log(np.clip(probs, SMALLEST_PROBABILITY, 1.0)),
            length=np.linalg.norm(x[:, None] - x[None], axis=-1),
        )

    @property
    def degree(self) -> NDArray[np.int64]:
        """Heavy neighbours of each atom, [N]."""
        return (self.orders != NONE).sum(1)

    def bond_probability(self) -> NDArray[np.float64]:
        """The decoder's probability of any bond, [N, N]."""
        return np.asarray(1 - np.exp(self.log_probs[..., NONE]))

    def bonds(self, order: int | None = None) -> list[tuple[int, int]]:
        """Pairs (i < j) that are bonded, or bonded by this class."""
        chosen = self.orders != NONE if order is None else self.orders == order
        return [(int(i), int(j)) for i, j in np.argwhere(np.triu(chosen))]

    def set_order(self, i: int, j: int, order: int) -> None:
        """Change one bond, in both triangles."""
        self.orders[i, j] = self.orders[j, i] = order

    def smallest_valence(self) -> NDArray[np.int64]:
        """Least valence each atom has in any Kekulé form, without hydrogens, [N].

        An aromatic atom with the electrons of carbon must take one double bond of its ring, unless it has one outside.
        """
        pi_inside = (self.orders == AROMATIC).any(1)
        pi_outside = ((self.orders == DOUBLE) | (self.orders == TRIPLE)).any(1)
        needs_pi = pi_inside & ~pi_outside & (self.element - self.charge == ELECTRONS_OF_CARBON)
        return np.asarray(SIGMA_ORDER[self.orders].sum(1) + needs_pi)

    def largest_valence(self) -> NDArray[np.int64]:
        """Largest allowed valence, [N]."""
        return LARGEST_VALENCE[np.clip(self.element - self.charge, 0, HEAVIEST_ELEMENT)]

    def aromatic_hydrogens(self) -> NDArray[np.int64]:
        """Hydrogens stated for aromatic nitrogen and phosphorus, -1 where RDKit derives them from the valence, [N]."""
        stated = np.isin(self.element, (7, 15)) & (self.orders == AROMATIC).any(1)
        return np.where(stated, self.num_h, -1)

    def copy(self) -> "MolecularGraph":
        """Independent atoms and bonds; probabilities and lengths, which nothing changes, are shared."""
        return MolecularGraph(
            self.element,
            self.charge.copy(),
            self.aromatic.copy(),
            self.num_h.copy(),
            self.orders.copy(),
            self.log_probs,
            self.length,
        )

    def different_atoms(self, other: "MolecularGraph") -> tuple[int, ...]:
        """Atoms whose bonds, charge, hydrogens or aromatic flag are not those of `other`."""
        same = (self.orders == other.orders).all(1) & (self.charge == other.charge)
        same &= (self.num_h == other.num_h) & (self.aromatic == other.aromatic)
        return tuple(np.flatnonzero(~same).tolist())

    def to_rdkit(self, atoms: NDArray[Any] | None = None) -> Chem.RWMol:
        """Unsanitised molecule of all atoms, or of these atoms alone in this order."""
        index = np.arange(len(self.element)) if atoms is None else np.asarray(atoms)
        mol = Chem.RWMol()
        stated = self.aromatic_hydrogens()
        for i in index.tolist():
            atom = Chem.Atom(int(self.element[i]))
            atom.SetFormalCharge(int(self.charge[i]))
            atom.SetIsAromatic(bool(self.aromatic[i]))
            if stated[i] >= 0:
                atom.SetNumExplicitHs(int(stated[i]))
                atom.SetNoImplicit(True)
            mol.AddAtom(atom)
        orders = self.orders[np.ix_(index, index)]
        for i, j in np.argwhere(np.triu(orders)).tolist():
            mol.AddBond(i, j, RDKIT_BONDS[int(orders[i, j])])
            if orders[i, j] == AROMATIC:
                mol.GetBondBetweenAtoms(i, j).SetIsAromatic(True)
        return mol
