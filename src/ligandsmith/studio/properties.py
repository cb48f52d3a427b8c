"""What is known of molecules by their SMILES alone: properties, clusters, substructures. Kept, for all projects."""

import time
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import QED, rdFingerprintGenerator, rdSubstructLibrary

from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.evaluation.columns import FINGERPRINT_BITS, FINGERPRINT_RADIUS, logp, sa_score

CHEAP = ("qed", "sa", "logp", "heavy_atoms")
PROPERTY_SECONDS = 0.3  # that an answer may spend on properties; the next one goes on
ALIKE = 0.4  # Tanimoto similarity to the first molecule of a cluster, at least
Numbers = NDArray[np.float64]
Print = DataStructs.ExplicitBitVect
_known: dict[str, tuple[float, ...]] = {}


def cheap_properties(smiles: Sequence[str]) -> dict[str, Numbers]:
    """Columns [M] of CHEAP; NaN for molecules whose turn has not come yet."""
    _properties("C")  # the first time loads tables, which takes longer than many molecules
    until = time.monotonic() + PROPERTY_SECONDS
    for text in smiles:
        if text not in _known:
            _known[text] = _properties(text)
            if time.monotonic() > until:
                break
    nothing = (np.nan,) * len(CHEAP)
    rows = np.array([_known.get(text, nothing) for text in smiles], dtype=np.float64).reshape(-1, len(CHEAP))
    return dict(zip(CHEAP, rows.T, strict=True))


def _properties(smiles: str) -> tuple[float, ...]:
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None or "." in smiles:  # as in the scores: of one fragment only
        return (np.nan,) * 3 + (np.nan if mol is None else float(mol.GetNumHeavyAtoms()),)
    try:
        return QED.qed(mol), sa_score(mol), logp(mol), float(mol.GetNumHeavyAtoms())
    except (ValueError, RuntimeError, ArithmeticError):
        return (np.nan,) * len(CHEAP)


class Clusters:
    """The clusters of a project's molecules, by Morgan fingerprints, radius 2.

    A molecule joins the cluster whose first molecule is most similar to it, or begins one where none is similar. So the
    number of a molecule's cluster stays when others come.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.first: list[Print] = []  # of each cluster
        self.numbers: dict[str, float] = {}  # from 1, by SMILES
        self.generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)

    def column(self, smiles: Sequence[str]) -> Numbers:
        """The number of the cluster [M] of each molecule; NaN for molecules whose turn has not come yet."""
        until = time.monotonic() + PROPERTY_SECONDS
        with self.lock, rdBase.BlockLogs():
            for text in smiles:
                if text not in self.numbers:
                    self.numbers[text] = self._number(text)
                    if time.monotonic() > until:
                        break
            return np.array([self.numbers.get(text, np.nan) for text in smiles], dtype=np.float64)

    def _number(self, smiles: str) -> float:
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            return float("nan")
        found = self.generator.GetFingerprint(mol)
        similar = DataStructs.BulkTanimotoSimilarity(found, self.first)
        best = int(np.argmax(similar)) if similar else -1
        if best >= 0 and similar[best] >= ALIKE:
            return best + 1.0
        self.first.append(found)
        return float(len(self.first))


@lru_cache(maxsize=4)
def _library(smiles: tuple[str, ...]) -> rdSubstructLibrary.SubstructLibrary:
    holder = rdSubstructLibrary.CachedTrustedSmilesMolHolder()
    for text in smiles:
        holder.AddSmiles(text)
    return rdSubstructLibrary.SubstructLibrary(holder)


def matching(smiles: tuple[str, ...], smarts: str) -> NDArray[np.bool_]:
    """Which molecules [M] have a substructure. Raises LigandsmithError for a pattern that RDKit cannot read."""
    with rdBase.BlockLogs():
        pattern = Chem.MolFromSmarts(smarts)
    if pattern is None or not pattern.GetNumAtoms():
        raise LigandsmithError(f"RDKit cannot read the pattern '{shortened(smarts)}'")
    mask = np.zeros(len(smiles), dtype=bool)
    if smiles:
        mask[list(_library(smiles).GetMatches(pattern, maxResults=len(smiles)))] = True
    return mask
