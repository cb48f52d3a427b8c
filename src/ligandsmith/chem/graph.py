"""A decoded ligand as a graph, and its repair by changing what the decoder is least sure of."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.records import DecodedLigand
from ligandsmith.structure.ligands import RDKIT_BONDS
from ligandsmith.structure.vocabulary import AROMATIC, DOUBLE, NONE, SINGLE, TRIPLE

HEAVIEST_ELEMENT = 118
ANY_VALENCE = 99
ELECTRONS_OF_CARBON = 6
SMALLEST_PROBABILITY = 1e-6
SIGMA_ORDER = np.array([0, 1, 2, 3, 1])  # what each bond class takes from an atom before any aromatic pi electron
TRUSTED_BOND = 0.9  # all bonds of an over-valent atom at least this probable: its charge is wrong, not its bonds
MAX_KEKULE_TRIALS = 128
LOWER_CLASSES = {SINGLE: (NONE,), DOUBLE: (SINGLE, NONE), TRIPLE: (DOUBLE, SINGLE, NONE), AROMATIC: (SINGLE, NONE)}
# charges that an over-valent atom may take instead of losing a bond; a decoded oxonium or sulfonium is likelier to be
# a spurious bond than chemistry, so elements not listed may only lose a charge
POSSIBLE_CHARGES = {5: (0, -1), 7: (0, 1), 15: (0, 1)}


def _largest_valences() -> NDArray[np.int64]:
    """Largest valence RDKit accepts, by atomic number; a charged atom reads that of its isoelectronic neutral one."""
    table = Chem.GetPeriodicTable()
    largest = [max(table.GetValenceList(z)) for z in range(1, HEAVIEST_ELEMENT + 1)]
    return np.array([0] + [ANY_VALENCE if v < 0 else v for v in largest], dtype=np.int64)


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


def repair_valence(graph: MolecularGraph) -> list[str]:
    """Greedy: until no atom is over-valent, fix a charge or weaken the bond with the smallest log-odds.

    Changes `graph`; returns one line for each change. Ends always: each step lowers a bond or settles a charge once.
    """
    changes: list[str] = []
    recharged: set[int] = set()
    while True:
        over = np.flatnonzero(graph.smallest_valence() > graph.largest_valence())
        if not len(over):
            return changes
        change = _fix_charge(graph, over, recharged) or _weaken_bond(graph, over)
        if change is None:
            return changes
        changes.append(change)


def _fix_charge(graph: MolecularGraph, over: NDArray[np.int64], recharged: set[int]) -> str | None:
    """Give one over-valent atom a charge that allows its valence, where its bonds are more credible than its charge."""
    for i in over.tolist():
        bonded = graph.orders[i] != NONE
        trusted = graph.bond_probability()[i, bonded].min() >= TRUSTED_BOND
        before = int(graph.charge[i])
        for charge in POSSIBLE_CHARGES.get(int(graph.element[i]), (0,)):
            if charge == before or i in recharged or not trusted:
                continue
            graph.charge[i] = charge
            if graph.smallest_valence()[i] <= graph.largest_valence()[i]:
                recharged.add(i)
                _pair_with_anion(graph, i)
                return f"charge of atom {i + 1} {before:+d} -> {charge:+d}"
        graph.charge[i] = before
    return None


def _pair_with_anion(graph: MolecularGraph, i: int) -> None:
    """A new cation takes its charge from a terminal O or N without hydrogens (nitro, N-oxide, azide)."""
    if graph.charge[i] != 1:
        return
    order = graph.orders[i]
    short_of_one = ((graph.element == 8) & (order == SINGLE)) | ((graph.element == 7) & (order == DOUBLE))
    bare = short_of_one & (graph.degree == 1) & (graph.charge == 0) & (graph.num_h == 0)
    graph.charge[np.flatnonzero(bare)[:1]] = -1


def _weaken_bond(graph: MolecularGraph, over: NDArray[np.int64]) -> str | None:
    """Lower or drop the bond of an over-valent atom whose present class beats the weaker one by least."""
    is_over = np.zeros(len(graph.element), dtype=bool)
    is_over[over] = True
    bonds = np.argwhere(np.triu(graph.orders != NONE) & (is_over[:, None] | is_over[None]))
    present = graph.orders[bonds[:, 0], bonds[:, 1]]
    options = [(k, weaker) for order, lower in LOWER_CLASSES.items() for weaker in lower
               for k in np.flatnonzero(present == order).tolist()]  # fmt: skip
    if not options:
        return None
    which, weaker = np.array(options).T
    i, j = bonds[which].T
    cost = np.round(graph.log_probs[i, j, present[which]] - graph.log_probs[i, j, weaker], 6)
    # equally sure: first the bond that corrects two atoms, then keep as much of it as possible, then the longest
    best = np.lexsort((-graph.length[i, j], -weaker, ~(is_over[i] & is_over[j]), cost))[0]
    graph.set_order(int(i[best]), int(j[best]), int(weaker[best]))
    kind = "dropped" if weaker[best] == NONE else f"lowered to order {weaker[best]}"
    return f"bond {i[best] + 1}-{j[best] + 1} {kind}"


def repair_aromaticity(graph: MolecularGraph) -> list[str]:
    """Make every aromatic system kekulisable; changes `graph`, returns one line for each change.

    In this order: an aromatic ring with missing aromatic bonds is closed, or its other bonds become single or double;
    a doubtful substituent of a ring nitrogen goes; ring nitrogens gain or lose H or charge (bounded search, fewest
    changes first); the system gets single and double bonds.
    """
    changes = _close_rings(graph)
    loose = _aromatic_bonds_outside_rings(graph)
    if loose:
        localise(graph, loose, eager=False)
        changes.append(f"{len(loose)} aromatic bonds outside rings localised")
    changes += _crowded_nitrogens(graph)
    for atoms in aromatic_systems(graph):
        if _kekulises(graph, atoms):
            continue
        flips = _drop_doubtful_bond(graph, atoms) or _settle_nitrogens(graph, atoms)
        if flips is None:
            inside = np.isin(np.arange(len(graph.element)), atoms)
            localise(graph, [(i, j) for i, j in graph.bonds(AROMATIC) if inside[i] and inside[j]], eager=True)
            flips = [f"aromatic system of atom {atoms[0] + 1} localised"]
        changes.extend(flips)
    flags = (graph.orders == AROMATIC).any(1)
    if (flags != graph.aromatic).any():
        changes.append(f"aromatic flags of {int((flags != graph.aromatic).sum())} atoms follow their bonds")
        graph.aromatic[:] = flags
    return changes


def _crowded_nitrogens(graph: MolecularGraph) -> list[str]:
    """Aromatic N (or P) with more hydrogens than it can carry: a doubtful third bond goes, else the hydrogens do."""
    changes = []
    probability = graph.bond_probability()
    for i in np.flatnonzero(graph.aromatic_hydrogens() > np.where(graph.degree >= 3, 0, 1)).tolist():
        outside = np.flatnonzero((graph.orders[i] != NONE) & (graph.orders[i] != AROMATIC))
        weakest = min(outside.tolist(), key=lambda j: float(probability[i, j]), default=None)
        if graph.degree[i] == 3 and weakest is not None and probability[i, weakest] < TRUSTED_BOND:
            graph.set_order(i, weakest, NONE)
            changes.append(f"bond {i + 1}-{weakest + 1} dropped")
        room = 0 if graph.degree[i] >= 3 else 1
        if graph.num_h[i] > room:
            changes.append(f"hydrogens of atom {i + 1} {graph.num_h[i]} -> {room}")
            graph.num_h[i] = room
    return changes


def aromatic_systems(graph: MolecularGraph) -> list[NDArray[np.int64]]:
    """Sets of atoms joined by aromatic bonds."""
    mol = Chem.RWMol()
    for _ in graph.element:
        mol.AddAtom(Chem.Atom(6))
    for i, j in graph.bonds(AROMATIC):
        mol.AddBond(i, j, Chem.BondType.SINGLE)
    return [np.array(atoms) for atoms in Chem.GetMolFrags(mol) if len(atoms) > 1]


def _aromatic_bonds_outside_rings(graph: MolecularGraph) -> list[tuple[int, int]]:
    aromatic = graph.copy()
    aromatic.orders[aromatic.orders != AROMATIC] = NONE
    mol = aromatic.to_rdkit()
    Chem.FastFindRings(mol)
    return [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds() if not b.IsInRing()]


def _close_rings(graph: MolecularGraph) -> list[str]:
    """Ring bonds between two atoms with stray aromatic bonds become aromatic, if then none of these is stray."""
    stray = {atom for bond in _aromatic_bonds_outside_rings(graph) for atom in bond}
    if not stray:
        return []
    mol = graph.to_rdkit()
    Chem.FastFindRings(mol)
    gaps = [
        (i, j, int(graph.orders[i, j]))
        for i, j in graph.bonds()
        if graph.orders[i, j] != AROMATIC and i in stray and j in stray and mol.GetBondBetweenAtoms(i, j).IsInRing()
    ]
    for i, j, _ in gaps:
        graph.set_order(i, j, AROMATIC)
    over = graph.smallest_valence() > graph.largest_valence()
    if gaps and not over.any() and not stray & {a for bond in _aromatic_bonds_outside_rings(graph) for a in bond}:
        return [f"bond {i + 1}-{j + 1} made aromatic" for i, j, _ in gaps]
    for i, j, order in gaps:
        graph.set_order(i, j, order)
    return []


def localise(graph: MolecularGraph, bonds: list[tuple[int, int]], eager: bool) -> None:
    """Replace aromatic bonds by single and double ones, the most probable double bonds first.

    A double bond needs room in the valence of both atoms in addition to the decoder's hydrogens. `eager` places every
    double bond that fits, as an aromatic bond is a conjugated one; else only those more probable than a single bond.
    """
    for i, j in bonds:
        graph.set_order(i, j, SINGLE)
    preference = {(i, j): graph.log_probs[i, j, DOUBLE] - graph.log_probs[i, j, SINGLE] for i, j in bonds}
    for i, j in sorted(bonds, key=lambda b: (-round(float(preference[b]), 6), graph.length[b])):
        room = np.minimum(graph.largest_valence(), 4) - graph.smallest_valence() - graph.num_h
        unsaturated = (graph.orders[[i, j]] == DOUBLE).any() or (graph.orders[[i, j]] == TRIPLE).any()
        if room[i] >= 1 and room[j] >= 1 and not unsaturated and (eager or preference[i, j] > 0):
            graph.set_order(i, j, DOUBLE)


def _kekulises(graph: MolecularGraph, atoms: NDArray[np.int64]) -> bool:
    """Whether this aromatic system has a Kekulé form, judged on it and its direct neighbours alone."""
    inside = np.zeros(len(graph.element), dtype=bool)
    inside[atoms] = True
    around = (graph.orders[atoms] != NONE).any(0) & ~inside
    local = graph.copy()
    local.orders[np.ix_(around, around)] = NONE
    local.orders[local.orders == AROMATIC] = SINGLE
    local.orders[np.ix_(atoms, atoms)] = np.where(
        graph.orders[np.ix_(atoms, atoms)] == AROMATIC, AROMATIC, local.orders[np.ix_(atoms, atoms)]
    )
    local.aromatic[:] = inside
    mol = local.to_rdkit(np.concatenate([atoms, np.flatnonzero(around)]))
    mol.UpdatePropertyCache(strict=False)
    try:
        Chem.Kekulize(mol)
    except Chem.KekulizeException:
        return False
    return True


def _drop_doubtful_bond(graph: MolecularGraph, atoms: NDArray[np.int64]) -> list[str] | None:
    """Drop the doubtful bond to a ring nitrogen without which the system is kekulisable; None if there is none."""
    nitrogens = atoms[(graph.element[atoms] == 7) & (graph.degree[atoms] == 3) & (graph.charge[atoms] == 0)]
    probability = graph.bond_probability()
    doubtful = (probability < TRUSTED_BOND) & (graph.orders != NONE) & (graph.orders != AROMATIC)
    pairs = [(int(i), int(j)) for i in nitrogens for j in np.flatnonzero(doubtful[i])]
    for i, j in sorted(pairs, key=lambda pair: float(probability[pair])):
        order = int(graph.orders[i, j])
        graph.set_order(i, j, NONE)
        if _kekulises(graph, atoms):
            return [f"bond {i + 1}-{j + 1} dropped"]
        graph.set_order(i, j, order)
    return None


def _settle_nitrogens(graph: MolecularGraph, atoms: NDArray[np.int64]) -> list[str] | None:
    """Smallest set of nitrogen changes that makes the system kekulisable; None (graph as it was) if none is found."""
    options = _nitrogen_options(graph, atoms)
    for chosen in islice(_subsets(options), MAX_KEKULE_TRIALS):
        before = [(i, int(graph.num_h[i]), int(graph.charge[i])) for i, _, _ in chosen]
        for i, hydrogens, charge in chosen:
            graph.num_h[i], graph.charge[i] = hydrogens, charge
        valences = graph.smallest_valence() + np.maximum(graph.aromatic_hydrogens(), 0)
        if (valences[atoms] <= graph.largest_valence()[atoms]).all() and _kekulises(graph, atoms):
            for i, _, _ in chosen:
                _pair_with_anion(graph, i)
            return [f"nitrogen {i + 1}: {hydrogens} H, charge {charge:+d}" for i, hydrogens, charge in chosen]
        for i, hydrogens, charge in before:
            graph.num_h[i], graph.charge[i] = hydrogens, charge
    return None


def _subsets(options: list[tuple[int, int, int]]) -> Iterator[tuple[tuple[int, int, int], ...]]:
    for size in (1, 2, 3):
        for chosen in combinations(options, size):
            if len({i for i, _, _ in chosen}) == size:
                yield chosen


def _nitrogen_options(graph: MolecularGraph, atoms: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(atom, hydrogens, charge) that a nitrogen of the system could have instead; hydrogens before charges."""
    hydrogens, charges = [], []
    degree = graph.degree
    for i in atoms[graph.element[atoms] == 7].tolist():
        h, q = int(graph.num_h[i]), int(graph.charge[i])
        if degree[i] == 2 and q == 0:
            hydrogens.append((i, 1 - h, 0))
        elif degree[i] == 2:
            hydrogens.append((i, 0, 0))
            charges.append((i, 1, 0))
        elif q == 0:
            charges.append((i, 0, 1))
        else:
            charges.append((i, 0, 0))
    return hydrogens + charges
