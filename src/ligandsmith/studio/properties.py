"""What is known of molecules by their SMILES alone: properties, clusters, substructures. Kept, for all projects."""

import time
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import QED, rdFingerprintGenerator, rdSubstructLibrary
from rdkit.SimDivFilters import rdSimDivPickers

from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.evaluation.columns import FINGERPRINT_BITS, FINGERPRINT_RADIUS, logp, sa_score

CHEAP = ("qed", "sa", "logp", "heavy_atoms")
SECONDS = 0.3  # that an answer may spend on properties; the next one goes on
SAME_CLUSTER = 0.6  # Tanimoto distance to the cluster's first molecule, at most
Numbers = NDArray[np.float64]
Print = DataStructs.ExplicitBitVect
_known: dict[str, tuple[float, ...]] = {}


def cheap_properties(smiles: Sequence[str]) -> dict[str, Numbers]:
    """Columns [M] of CHEAP; NaN for molecules whose turn has not come yet."""
    _properties("C")  # the first time loads tables, which takes longer than many molecules
    until = time.monotonic() + SECONDS
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


@lru_cache(maxsize=4)
def clusters(smiles: tuple[str, ...]) -> Numbers:
    """The cluster [M] of each molecule, from 1: that of the nearest of molecules that differ (Morgan, radius 2)."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)
    with rdBase.BlockLogs():
        mols = [Chem.MolFromSmiles(text) or Chem.Mol() for text in smiles]
    prints = list(generator.GetFingerprints(mols, numThreads=0))
    leaders = list(rdSimDivPickers.LeaderPicker().LazyBitVectorPick(prints, len(prints), SAME_CLUSTER))
    return _nearest(prints, [prints[i] for i in leaders])


def _nearest(prints: Sequence[Print], leaders: Sequence[Print]) -> Numbers:
    similarity = [DataStructs.BulkTanimotoSimilarity(leader, prints) for leader in leaders]
    return np.argmax(np.array(similarity), axis=0).astype(np.float64) + 1


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
