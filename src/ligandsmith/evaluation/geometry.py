"""Distributions of bond lengths, angles and torsions against crystal ligands. Never imports torch.

`jsd` is the Jensen-Shannon distance (the root of the divergence, natural logarithm, at most 0.83), as in the published
tables of TargetDiff and its successors; bond lengths have their bins of 0.005 Å from 1.1 Å, here to 2.1 Å for the sake
of sulphur and halogens, and one bin below and one above. The reference differs: crystal ligands of the Protein Data
Bank, not the docked ligands of CrossDocked. Few values make a distance large whatever the molecules, so each comes with
its n; compare only sets of like n.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial.distance import jensenshannon

REFERENCE_FILE = "evaluation/data/geometry_reference.json"
REFERENCE_LEAST = 500  # values of a type in the reference, to be compared
LEAST = 20  # values of a type, to be compared
GEOMETRY_KINDS: tuple["GeometryKind", ...] = ("bond_length", "angle", "torsion")
SYMBOLS = {
    Chem.BondType.SINGLE: "-",
    Chem.BondType.DOUBLE: "=",
    Chem.BondType.TRIPLE: "#",
    Chem.BondType.AROMATIC: ":",
}

GeometryKind = Literal["bond_length", "angle", "torsion"]
Values = dict[str, list[float]]  # by type, as in "C-C", "C-C=O", "C:C-N-C"


def edges(kind: str) -> NDArray[np.float64]:
    """Bin edges: Å for bond lengths, degrees for angles and for torsions without sign."""
    first, last, bins = {"bond_length": (1.1, 2.1, 200), "angle": (60.0, 180.0, 60), "torsion": (0.0, 180.0, 36)}[kind]
    return np.linspace(first, last, bins + 1)


def bin_counts(kind: str, values: Sequence[float]) -> NDArray[np.float64]:
    """Counts in the bins, before them those below, after them those above."""
    limits = edges(kind)
    return np.bincount(np.searchsorted(limits, values), minlength=len(limits) + 1).astype(float)


def measure(mols: Iterable[Chem.Mol]) -> dict[str, Values]:
    """Bond lengths (Å), angles and torsions (degrees) of heavy atoms, by kind and type; each counted once."""
    found: dict[str, Values] = {kind: defaultdict(list) for kind in GEOMETRY_KINDS}
    for mol in mols:
        x = mol.GetConformer().GetPositions()
        for kind, length, values_of in zip(GEOMETRY_KINDS, (2, 3, 4), (_lengths, _angles, _torsions), strict=True):
            if paths := _paths(mol, length):
                values = values_of(x[np.array(paths)])
                for path, value in zip(paths, values.tolist(), strict=True):
                    if np.isfinite(value):
                        found[kind][_type(mol, path)].append(value)
    return found


def _paths(mol: Chem.Mol, length: int) -> list[tuple[int, ...]]:
    """Chains of bonded heavy atoms; none twice, none that bites its tail."""
    paths = (tuple(path) for path in Chem.FindAllPathsOfLengthN(mol, length, useBonds=False, useHs=False))
    return [path for path in paths if len(set(path)) == length]


def _type(mol: Chem.Mol, path: tuple[int, ...]) -> str:
    """Elements and bonds along a chain, from the end that comes first in the alphabet."""
    return min(_spelled(mol, path), _spelled(mol, path[::-1]))


def _spelled(mol: Chem.Mol, path: tuple[int, ...]) -> str:
    text = mol.GetAtomWithIdx(path[0]).GetSymbol()
    for i, j in pairwise(path):
        bond = SYMBOLS.get(mol.GetBondBetweenAtoms(i, j).GetBondType(), "~")
        text += bond + mol.GetAtomWithIdx(j).GetSymbol()
    return text


def _lengths(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(x[:, 1] - x[:, 0], axis=1))


def _angles(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = x[:, 0] - x[:, 1], x[:, 2] - x[:, 1]
    return np.asarray(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1))))


def _torsions(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = x[:, 1] - x[:, 0], x[:, 2] - x[:, 1], x[:, 3] - x[:, 2]
    first, second = np.cross(a, b), np.cross(b, c)
    sine = (np.cross(first, second) * b).sum(1) / np.linalg.norm(b, axis=1).clip(1e-9)
    return np.asarray(np.abs(np.degrees(np.arctan2(sine, (first * second).sum(1)))))


def divergences(mols: Iterable[Chem.Mol]) -> dict[str, dict[str, Any]]:
    """For each kind, by type of the reference: `jsd`, None with fewer than LEAST values, and `n`; and their `mean`.

    The mean is over the types that have one, None without any.
    """
    found = measure(mols)
    result: dict[str, dict[str, Any]] = {}
    for kind in GEOMETRY_KINDS:
        rows = {name: _compared(kind, found[kind].get(name, []), counts) for name, counts in reference(kind).items()}
        known = [row["jsd"] for row in rows.values() if row["jsd"] is not None]
        result[kind] = {**rows, "mean": sum(known) / len(known) if known else None}
    return result


def _compared(kind: str, values: Sequence[float], counts: NDArray[np.float64]) -> dict[str, Any]:
    enough = len(values) >= LEAST
    return {"jsd": float(jensenshannon(bin_counts(kind, values), counts)) if enough else None, "n": len(values)}


def reference(kind: str) -> Mapping[str, NDArray[np.float64]]:
    """Counts of the shipped crystal ligands in the bins of `bin_counts`, by type."""
    found: dict[str, NDArray[np.float64]] = {}
    for name, sparse in _shipped()[kind]["counts"].items():
        found[name] = np.zeros(len(edges(kind)) + 1)
        found[name][sparse[0] : sparse[0] + len(sparse) - 1] = sparse[1:]
    return found


@cache
def _shipped() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((resources.files("ligandsmith") / REFERENCE_FILE).read_text(encoding="utf-8"))
    return content
