"""Decoded arrays -> RDKit molecule, or the reason why there is none. Validity with and without repair is kept apart."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from ligandsmith.chem.graph import HEAVIEST_ELEMENT, MolecularGraph, assign_bond_orders
from ligandsmith.records import BuildFailure, DecodedLigand
from ligandsmith.structure.ligands import conformer, sanitise
from ligandsmith.structure.vocabulary import AROMATIC, NONE

FAILURE_REASONS = ("no atoms", "unknown element", "non-finite values", "valence", "kekulization", "chemistry")


@dataclass(frozen=True)
class BuiltLigand:
    """A sanitised molecule (implicit hydrogens, one conformer, stereo from 3D) and how it came about."""

    mol: Chem.Mol
    raw_valid: bool  # with the decoder's elements, charges and bonded pairs as they are
    repaired: bool  # a bond was left out or a charge changed
    connected: bool  # one fragment
    changes: tuple[str, ...] = ()  # what is not as decoded, one line each, atoms counted from 1
    changed: tuple[int, ...] = ()  # atoms with other bonds, charge or hydrogens, counted from 0
    hydrogen_mismatches: int = 0  # atoms of `mol` whose hydrogens differ from the decoder's
    most_probable: bool = True  # each bond has its most probable class by itself


def build_molecule(decoded: DecodedLigand) -> BuiltLigand | BuildFailure:
    """The molecule that the decoder means; atom order kept, fragments never dropped.

    First the most probable class of each bond by itself; if RDKit refuses that, the most probable orders together that
    valences allow (`assign_bond_orders`), which leaves out bonds and changes charges where it must. Hydrogens follow
    from valence; of the first, on aromatic nitrogen, from the decoder's count, which tells pyrrole from pyridine.
    A failure has a reason of `FAILURE_REASONS`, and RDKit's message as detail.
    """
    failure = _refuse(decoded)
    if failure is not None:
        return failure
    graph = MolecularGraph.from_decoded(decoded)
    with rdBase.BlockLogs():
        mol, _ = _sanitised(graph)
        return _finish(mol, decoded) if mol is not None else _assigned(graph, decoded)


def _assigned(graph: MolecularGraph, decoded: DecodedLigand) -> BuiltLigand | BuildFailure:
    """The molecule of bond orders that are chosen together."""
    found = assign_bond_orders(graph)
    if found is None:
        return BuildFailure("valence", "no choice of bond orders fits the atoms")
    chosen = replace(graph, orders=found.orders, charge=found.charge, aromatic=np.zeros_like(graph.aromatic))
    mol, problem = _sanitised(chosen)
    if mol is None:
        return problem
    repairs, other = _repairs(graph, chosen), _other_orders(graph, chosen)
    built = _finish(mol, decoded)
    differ = (_hydrogens(mol) != graph.num_h) | (chosen.charge != graph.charge)
    differ |= ((chosen.orders != graph.orders) & (graph.orders != AROMATIC)).any(1)
    return replace(
        built, raw_valid=not repairs, repaired=bool(repairs), changes=tuple(repairs + other),
        changed=tuple(np.flatnonzero(differ).tolist()), most_probable=False,
    )  # fmt: skip


def _repairs(before: MolecularGraph, after: MolecularGraph) -> list[str]:
    """Bonds that were left out and charges that were changed, a line each."""
    gone = [(i + 1, j + 1) for i, j in before.bonds() if after.orders[i, j] == NONE]
    charged = np.flatnonzero(before.charge != after.charge).tolist()
    return [f"bond {i}-{j} dropped" for i, j in gone] + [
        f"charge of atom {i + 1} {before.charge[i]:+d} -> {after.charge[i]:+d}" for i in charged
    ]


def _other_orders(before: MolecularGraph, after: MolecularGraph) -> list[str]:
    """Bonds that are neither aromatic, nor left out, nor have their most probable order, a line each."""
    return [
        f"bond {i + 1}-{j + 1} has order {after.orders[i, j]} instead of {before.orders[i, j]}"
        for i, j in before.bonds()
        if before.orders[i, j] != AROMATIC and after.orders[i, j] not in (NONE, before.orders[i, j])
    ]


def _refuse(decoded: DecodedLigand) -> BuildFailure | None:
    n = len(decoded.element)
    if n == 0:
        return BuildFailure("no atoms", "the decoder gave no atom")
    if decoded.x.shape != (n, 3) or decoded.bond_probs.shape[:2] != (n, n):
        raise ValueError(f"{n} atoms, but x {decoded.x.shape} and bond_probs {decoded.bond_probs.shape}")
    for name, values in (("coordinates", decoded.x), ("bond probabilities", decoded.bond_probs)):
        finite = np.isfinite(values).reshape(n, -1).all(1)
        if not finite.all():
            return BuildFailure("non-finite values", f"{name} of atom {int(np.flatnonzero(~finite)[0]) + 1}")
    unknown = (decoded.element == 0) | (decoded.element > HEAVIEST_ELEMENT)
    if unknown.any():
        atom = int(np.flatnonzero(unknown)[0])
        return BuildFailure("unknown element", f"atom {atom + 1} has atomic number {int(decoded.element[atom])}")
    return None


def _sanitised(graph: MolecularGraph) -> tuple[Chem.Mol | None, BuildFailure]:
    """The sanitised molecule, or None and why."""
    mol = graph.to_rdkit().GetMol()
    try:
        sanitise(mol)
    except (Chem.AtomValenceException, Chem.AtomKekulizeException, Chem.KekulizeException) as error:
        reason = "valence" if isinstance(error, Chem.AtomValenceException) else "kekulization"
        return None, BuildFailure(reason, _one_line(error))
    except (Chem.MolSanitizeException, ValueError, RuntimeError) as error:
        return None, BuildFailure("chemistry", _one_line(error))
    return mol, BuildFailure("")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _finish(mol: Chem.Mol, decoded: DecodedLigand) -> BuiltLigand:
    mol.AddConformer(conformer(decoded.x), assignId=True)
    Chem.AssignStereochemistryFrom3D(mol)
    return BuiltLigand(
        mol=mol,
        raw_valid=True,
        repaired=False,
        connected=len(Chem.GetMolFrags(mol)) == 1,
        hydrogen_mismatches=int((_hydrogens(mol) != decoded.num_h).sum()),
    )


def _hydrogens(mol: Chem.Mol) -> NDArray[np.int64]:
    """Of each atom, [N]."""
    return np.array([atom.GetTotalNumHs() for atom in mol.GetAtoms()])
