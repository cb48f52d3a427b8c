"""Decoded arrays -> RDKit molecule, or the reason why there is none. Validity with and without repair is kept apart."""

from dataclasses import dataclass, replace

import numpy as np
from rdkit import Chem, rdBase

from ligandsmith.chem.graph import HEAVIEST_ELEMENT, MolecularGraph, repair_aromaticity, repair_valence
from ligandsmith.records import BuildFailure, DecodedLigand
from ligandsmith.structure.ligands import conformer, sanitise

FAILURE_REASONS = ("no atoms", "unknown element", "non-finite values", "valence", "kekulization", "chemistry")
MAX_REPAIR_ROUNDS = 3


@dataclass(frozen=True)
class BuiltLigand:
    """A sanitised molecule (implicit hydrogens, one conformer, stereo from 3D) and how it came about."""

    mol: Chem.Mol
    raw_valid: bool  # sanitises with the decoder's atoms and bonds as they are
    repaired: bool  # a bond, charge, hydrogen or aromatic flag was changed
    connected: bool  # one fragment
    changes: tuple[str, ...] = ()  # what repair changed, one line each, atoms counted from 1
    changed: tuple[int, ...] = ()  # atoms whose bonds, charge or hydrogens it changed, counted from 0
    hydrogen_mismatches: int = 0  # atoms of `mol` whose hydrogens differ from the decoder's


def build_molecule(decoded: DecodedLigand) -> BuiltLigand | BuildFailure:
    """The molecule that the decoder means; atom order kept, fragments never dropped.

    Hydrogens follow from valence, except on aromatic nitrogen, where the decoder's count distinguishes pyrrole from
    pyridine. First the decoder's output as it is; if RDKit refuses that, valence and aromaticity are repaired.
    A failure has a reason of `FAILURE_REASONS`, and RDKit's message as detail.
    """
    failure = _refuse(decoded)
    if failure is not None:
        return failure
    graph = MolecularGraph.from_decoded(decoded)
    meant = graph.copy()
    with rdBase.BlockLogs():
        mol, problem = _sanitised(graph)
        raw_valid = mol is not None
        changes: list[str] = []
        for _ in range(MAX_REPAIR_ROUNDS):
            if mol is not None:
                break
            done = repair_valence(graph) + repair_aromaticity(graph)
            changes += done
            mol, problem = _sanitised(graph)
            if not done:
                break
        if mol is None:
            return problem
        built = _finish(mol, decoded, raw_valid)
        return replace(built, changes=tuple(changes), changed=graph.different_atoms(meant))


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


def _finish(mol: Chem.Mol, decoded: DecodedLigand, raw_valid: bool) -> BuiltLigand:
    mol.AddConformer(conformer(decoded.x), assignId=True)
    Chem.AssignStereochemistryFrom3D(mol)
    hydrogens = np.array([atom.GetTotalNumHs() for atom in mol.GetAtoms()])
    return BuiltLigand(
        mol=mol,
        raw_valid=raw_valid,
        repaired=not raw_valid,
        connected=len(Chem.GetMolFrags(mol)) == 1,
        hydrogen_mismatches=int((hydrogens != decoded.num_h).sum()),
    )
