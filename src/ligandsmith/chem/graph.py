"""A decoded ligand as a graph, and its most probable bond orders that valences allow, as an integer program.

A decoder names the class of each bond by itself: an aromatic ring may have no Kekulé form, or an atom a bond too many.
Here the orders of all bonds are chosen together. Their probabilities and the decoder's hydrogens decide; valences are
constraints. Bonds are left out and charges changed only where the orders alone do not suffice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.optimize import Bounds, LinearConstraint, milp

from ligandsmith.records import DecodedLigand
from ligandsmith.structure.ligands import RDKIT_BONDS
from ligandsmith.structure.vocabulary import AROMATIC, DOUBLE, NONE, SINGLE, TRIPLE

HEAVIEST_ELEMENT = 118
ANY_VALENCE = 8
SMALLEST_PROBABILITY = 1e-6
# Costs are in units of log probability.
HYDROGEN_COST = {6: 3.0, 7: 1.0}  # of each hydrogen more or fewer than decoded, by element: aromatic N is unsure of its
OTHER_HYDROGEN_COST = 2.0
DROP_COST = 2.0  # of a bond that is left out, besides its probability
CHARGE_COST = 3.0  # of an atom whose charge is changed
PAIRED_CHARGE_COST = 0.3  # of an anion bonded to a new cation, as in a nitro group
MOST_HYDROGENS = 8
TIME_LIMIT = 5.0  # seconds; it takes 0.02 for 30 atoms
CATIONS = (7, 15)  # elements that may get a charge of +1
ANIONS = (5, 7, 8)  # −1: boron, or bonded to a new cation
HYPERVALENT = (15, 16)


@cache
def valences(element: int, charge: int) -> tuple[int, ...]:
    """What RDKit accepts, in rising order; a charged atom has those of its isoelectronic neutral one."""
    like = min(max(element - charge, 1), HEAVIEST_ELEMENT)
    listed = Chem.GetPeriodicTable().GetValenceList(like)
    return tuple(sorted(v for v in listed if v >= 0)) or tuple(range(ANY_VALENCE + 1))


@dataclass(frozen=True)
class MolecularGraph:
    """`orders` [N, N] holds bond classes (0 = none), symmetric."""

    element: NDArray[np.int64]  # [N] atomic numbers
    charge: NDArray[np.int64]  # [N]
    aromatic: NDArray[np.bool_]  # [N] the decoder's flag
    num_h: NDArray[np.int64]  # [N] the decoder's claim
    orders: NDArray[np.int64]  # [N, N]
    log_probs: NDArray[np.float64]  # [N, N, 5]

    @classmethod
    def from_decoded(cls, decoded: DecodedLigand) -> "MolecularGraph":
        """Bonds where p(bond) > 0.5, each of the most probable bonded class."""
        probs = decoded.bond_probs.astype(np.float64)
        probs = (probs + probs.transpose(1, 0, 2)) / 2
        orders = np.where(probs[..., NONE] < 0.5, probs[..., 1:].argmax(-1) + 1, NONE)
        np.fill_diagonal(orders, NONE)
        return cls(
            element=decoded.element.astype(np.int64),
            charge=decoded.charge.astype(np.int64),
            aromatic=decoded.aromatic.astype(np.bool_),
            num_h=decoded.num_h.astype(np.int64),
            orders=orders.astype(np.int64),
            log_probs=np.log(np.clip(probs, SMALLEST_PROBABILITY, 1.0)),
        )

    @property
    def degree(self) -> NDArray[np.int64]:
        """Heavy neighbours of each atom, [N]."""
        return (self.orders != NONE).sum(1)

    def bonds(self) -> list[tuple[int, int]]:
        """Pairs (i < j) that are bonded."""
        return [(int(i), int(j)) for i, j in np.argwhere(np.triu(self.orders != NONE))]

    def aromatic_hydrogens(self) -> NDArray[np.int64]:
        """Hydrogens stated for aromatic nitrogen and phosphorus, -1 where RDKit derives them from the valence, [N]."""
        stated = np.isin(self.element, (7, 15)) & (self.orders == AROMATIC).any(1)
        return np.where(stated, self.num_h, -1)

    def to_rdkit(self) -> Chem.RWMol:
        """Unsanitised molecule."""
        mol = Chem.RWMol()
        stated = self.aromatic_hydrogens()
        for i in range(len(self.element)):
            atom = Chem.Atom(int(self.element[i]))
            atom.SetFormalCharge(int(self.charge[i]))
            atom.SetIsAromatic(bool(self.aromatic[i]))
            if stated[i] >= 0:
                atom.SetNumExplicitHs(int(stated[i]))
                atom.SetNoImplicit(True)
            mol.AddAtom(atom)
        for i, j in self.bonds():
            mol.AddBond(i, j, RDKIT_BONDS[int(self.orders[i, j])])
            if self.orders[i, j] == AROMATIC:
                mol.GetBondBetweenAtoms(i, j).SetIsAromatic(True)
        return mol


def skeleton(elements: Iterable[int], bonds: Iterable[tuple[int, int]]) -> Chem.Mol:
    """Atoms and bonds without orders, hydrogens or charges; rings are found."""
    mol = Chem.RWMol()
    for element in elements:
        mol.AddAtom(Chem.Atom(int(element)))
    for i, j in bonds:
        mol.AddBond(int(i), int(j), Chem.BondType.SINGLE)
    Chem.GetSymmSSSR(mol)
    return mol.GetMol()


class BondOrders(NamedTuple):
    """A choice for all bonds and atoms."""

    orders: NDArray[np.int64]  # [N, N] 0 to 3
    charge: NDArray[np.int64]  # [N]


class _Option(NamedTuple):
    """A valence that an atom may have, with a charge."""

    atom: int
    charge: int
    valence: int
    least: int  # smallest sum of bond orders for which RDKit takes this valence
    cost: float
    paired: bool  # only if bonded to a new cation


class _Program(NamedTuple):
    """The variables: whether a bond is double, triple, left out; whether an option is taken; errors of hydrogens."""

    touches: NDArray[np.float64]  # [N, bonds] whether a bond is at an atom
    takes: NDArray[np.float64]  # [N, options] whether an option is an atom's
    options: list[_Option]

    def terms(
        self, double: float, triple: float, dropped: float, option: NDArray[np.float64], error: float
    ) -> NDArray[np.float64]:
        """A row for each atom, from what its bonds, its options [N, options] and its error count."""
        t = self.touches
        return np.hstack([double * t, triple * t, dropped * t, option, error * np.eye(len(t))])


def assign_bond_orders(graph: MolecularGraph) -> BondOrders | None:
    """The orders and charges of all atoms; None if no choice was found. `graph` is not changed."""
    bonds = graph.bonds()
    options = [option for atom in range(len(graph.element)) for option in _options(graph, atom)]
    touches = np.zeros((len(graph.element), len(bonds)))
    for number, bond in enumerate(bonds):
        touches[list(bond), number] = 1.0
    takes = np.zeros((len(graph.element), len(options)))
    takes[[o.atom for o in options], np.arange(len(options))] = 1.0
    program = _Program(touches, takes, options)
    free = np.array([MOST_HYDROGENS] * len(graph.element))
    found = milp(
        np.concatenate([_bond_costs(graph, bonds), [o.cost for o in options], _hydrogen_costs(graph)]),
        constraints=_constraints(program, graph),
        bounds=Bounds(0, np.concatenate([np.ones(3 * len(bonds) + len(options)), free])),
        integrality=np.concatenate([np.ones(3 * len(bonds) + len(options)), 0 * free]),
        options={"time_limit": TIME_LIMIT},
    )  # fmt: skip
    return None if found.x is None else _choice(graph, program, bonds, np.round(found.x).astype(np.int64))


def _options(graph: MolecularGraph, atom: int) -> list[_Option]:
    element, charge = int(graph.element[atom]), int(graph.charge[atom])
    costs = {charge: (0.0, False)}
    if charge != 0:
        costs[0] = (CHARGE_COST, False)
    elif element in CATIONS:
        costs[1] = (CHARGE_COST, False)
    if charge == 0 and element in ANIONS and (element == 5 or graph.degree[atom] == 1):
        costs[-1] = (CHARGE_COST, False) if element == 5 else (PAIRED_CHARGE_COST, True)
    ordinary = element in HYPERVALENT and (graph.orders[atom] == AROMATIC).any()
    found = []
    for q, (cost, paired) in costs.items():
        allowed = valences(element, q)[: 1 if ordinary else None]
        least = [0, *(valence + 1 for valence in allowed)]
        found += [_Option(atom, q, v, low, cost, paired) for v, low in zip(allowed, least, strict=False)]
    return found


def _bond_costs(graph: MolecularGraph, bonds: list[tuple[int, int]]) -> NDArray[np.float64]:
    """What a double, triple and absent bond costs more than a single one, each for all bonds.

    An aromatic bond is as often single as double.
    """
    i, j = np.array(bonds, dtype=np.int64).reshape(-1, 2).T
    p = np.exp(graph.log_probs[i, j])
    p[:, [SINGLE, DOUBLE]] += p[:, [AROMATIC]] / 2
    single, double, triple, absent = np.log(np.maximum(p[:, [SINGLE, DOUBLE, TRIPLE, NONE]], SMALLEST_PROBABILITY)).T
    return np.concatenate([single - double, single - triple, single - absent + DROP_COST])


def _hydrogen_costs(graph: MolecularGraph) -> list[float]:
    return [HYDROGEN_COST.get(element, OTHER_HYDROGEN_COST) for element in graph.element.tolist()]


def _constraints(program: _Program, graph: MolecularGraph) -> list[LinearConstraint]:
    n, count = program.touches.shape
    takes, degree, none = program.takes, graph.degree, np.zeros_like(program.takes)
    valence = takes * np.array([o.valence for o in program.options])
    least = takes * np.array([o.least for o in program.options])
    claimed = graph.num_h
    one_order = np.hstack([np.eye(count)] * 3 + [np.zeros((count, takes.shape[1] + n))])
    most_doubles = np.maximum((graph.orders == DOUBLE).sum(1), 1)  # so that a ring gets no cumulated double bonds
    constraints = [
        LinearConstraint(one_order, -np.inf, 1),
        LinearConstraint(program.terms(0, 0, 0, takes, 0), 1, 1),
        # The hydrogens are the valence less the orders, and not below zero; the error is their distance from the claim.
        LinearConstraint(program.terms(-1, -2, 1, valence, 0), degree, np.inf),
        LinearConstraint(program.terms(1, 2, -1, -valence, 1), -degree - claimed, np.inf),
        LinearConstraint(program.terms(-1, -2, 1, valence, 1), degree + claimed, np.inf),
        LinearConstraint(program.terms(1, 2, -1, -least, 0), -degree, np.inf),
        LinearConstraint(program.terms(1, 0, 0, none, 0), -np.inf, most_doubles),
    ]
    adjacent = (graph.orders != NONE).astype(np.float64)
    new_cations = takes * np.array([o.charge == 1 and o.cost > 0 for o in program.options])
    paired = [number for number, option in enumerate(program.options) if option.paired]
    allowed = adjacent[[program.options[number].atom for number in paired]] @ new_cations
    allowed[np.arange(len(paired)), paired] -= 1
    rows = np.hstack([np.zeros((len(paired), 3 * count)), allowed, np.zeros((len(paired), n))])
    constraints.append(LinearConstraint(rows, 0, np.inf))
    return [constraint for constraint in constraints if np.size(constraint.A)]


def _choice(graph: MolecularGraph, program: _Program, bonds: list[tuple[int, int]], x: NDArray[np.int64]) -> BondOrders:
    double, triple, dropped, option = np.split(x, np.arange(1, 4) * len(bonds))
    orders, charge = np.zeros_like(graph.orders), graph.charge.copy()
    for (i, j), order in zip(bonds, (1 + double + 2 * triple - dropped).tolist(), strict=True):
        orders[i, j] = orders[j, i] = order
    for number, one in enumerate(program.options):
        if option[number]:
            charge[one.atom] = one.charge
    return BondOrders(orders, charge)
