"""The registry of metrics of generated ligands. A metric is one entry in METRICS. Never imports torch."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rdkit import Chem, DataStructs
from rdkit.Chem import QED, rdFingerprintGenerator, rdMolDescriptors

from ligandsmith.evaluation.poses import PoseChecks, Protein, count_clashes

FINGERPRINT_RADIUS = 2
FINGERPRINT_BITS = 2048

Value = float | None
Population = Literal["requested", "valid", "connected"]


class NotRun(Exception):
    """A metric has no values at all: its input or its tool is missing. The text says which."""


@dataclass(frozen=True)
class Sample:
    """One requested molecule: heavy-atom molecule with coordinates, or the reason why there is none."""

    index: int
    mol: Chem.Mol | None
    reason: str = ""
    detail: str = ""
    title: str = ""

    @property
    def connected(self) -> bool:
        """Valid and of one fragment."""
        return self.mol is not None and len(Chem.GetMolFrags(self.mol)) == 1

    @property
    def flat_smiles(self) -> str:
        """Canonical SMILES without stereo: two poses or epimers of a molecule are one molecule."""
        return "" if self.mol is None else Chem.MolToSmiles(self.mol, isomericSmiles=False)


@dataclass(frozen=True)
class KnownMolecules:
    """What counts as not novel, compared without stereo."""

    smiles: frozenset[str] = frozenset()  # canonical, without stereo
    inchikeys: frozenset[str] = frozenset()  # first blocks, 14 letters


@dataclass(frozen=True)
class EvaluationInput:
    """Everything a metric may look at. `poses` is aligned with `samples`; a string says why there are none."""

    samples: tuple[Sample, ...]
    protein: Protein | None = None
    known: KnownMolecules | None = None
    poses: Sequence[PoseChecks | str | None] | str = "not asked for"


@dataclass(frozen=True)
class Metric:
    """What is measured, in which unit, which direction is better, on which population, and how.

    The function gives one value for each sample, None where it has none, or raises NotRun. Values outside the
    population are ignored: 'requested' is every molecule asked for, 'valid' what RDKit sanitises, 'connected' the valid
    molecules of one fragment.
    """

    name: str
    meaning: str
    unit: str
    better: Literal["higher", "lower", "none"]
    population: Population
    function: Callable[[EvaluationInput], list[Value]]

    def values(self, data: EvaluationInput) -> list[Value]:
        """One value for each sample of the population, None for the others; raises NotRun."""
        members = [in_population(sample, self.population) for sample in data.samples]
        return [v if member else None for v, member in zip(self.function(data), members, strict=True)]


def in_population(sample: Sample, population: Population) -> bool:
    """Whether a metric of this population asks this sample."""
    return {"requested": True, "valid": sample.mol is not None, "connected": sample.connected}[population]


def per_molecule(function: Callable[[Chem.Mol], float]) -> Callable[[EvaluationInput], list[Value]]:
    """A column function from one of a single molecule; what RDKit cannot compute is a missing value, not zero."""

    def value(mol: Chem.Mol | None) -> Value:
        if mol is None:
            return None
        try:
            return float(function(mol))
        except (ValueError, RuntimeError, ArithmeticError):
            return None

    return lambda data: [value(sample.mol) for sample in data.samples]


def _unique(data: EvaluationInput) -> list[Value]:
    seen: set[str] = set()
    values: list[Value] = []
    for sample in data.samples:
        smiles = sample.flat_smiles if sample.connected else ""
        values.append(float(smiles not in seen) if smiles else None)
        seen.add(smiles)
    return values


def _novel(data: EvaluationInput) -> list[Value]:
    if data.known is None:
        raise NotRun("no known molecules given")
    return [_is_novel(sample, data.known) for sample in data.samples]


def _is_novel(sample: Sample, known: KnownMolecules) -> Value:
    if sample.mol is None:
        return None
    if sample.flat_smiles in known.smiles:
        return 0.0
    if not known.inchikeys:
        return 1.0
    key = Chem.MolToInchiKey(sample.mol)
    return float(key[:14] not in known.inchikeys) if key else None


def _diversity(data: EvaluationInput) -> list[Value]:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)
    members = [i for i, sample in enumerate(data.samples) if sample.connected]
    if len(members) < 2:
        raise NotRun("needs two connected molecules")
    prints = [generator.GetFingerprint(data.samples[i].mol) for i in members]
    values: list[Value] = [None] * len(data.samples)
    for k, i in enumerate(members):
        similarity = DataStructs.BulkTanimotoSimilarity(prints[k], prints)
        values[i] = 1 - (sum(similarity) - 1) / (len(members) - 1)
    return values


def _sa_score(mol: Chem.Mol) -> float:
    from rdkit.Contrib.SA_Score import sascorer  # noqa: PLC0415 (loads its table of fragments)

    return float(sascorer.calculateScore(mol))


def _logp(mol: Chem.Mol) -> float:
    return float(rdMolDescriptors.CalcCrippenDescriptors(mol)[0])


def _lipinski(mol: Chem.Mol) -> float:
    weight_ok = rdMolDescriptors.CalcExactMolWt(mol) <= 500
    donors_ok, acceptors_ok = rdMolDescriptors.CalcNumHBD(mol) <= 5, rdMolDescriptors.CalcNumHBA(mol) <= 10
    return float(weight_ok + donors_ok + acceptors_ok + (_logp(mol) <= 5))


def _clashes(data: EvaluationInput) -> list[Value]:
    protein = data.protein
    if protein is None:
        raise NotRun("no protein given")
    return [None if s.mol is None else float(count_clashes(s.mol, protein)) for s in data.samples]


def pose_checks(data: EvaluationInput) -> list[PoseChecks | None]:
    """PoseBusters' answers for each sample; raises NotRun if it did not run. Its own failure is no answer."""
    if isinstance(data.poses, str):
        raise NotRun(data.poses)
    return [checks if isinstance(checks, dict) else None for checks in data.poses]


def _pb_valid(data: EvaluationInput) -> list[Value]:
    return [None if checks is None else float(all(v is True for v in checks.values())) for checks in pose_checks(data)]


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "valid",
            "RDKit sanitises the molecule",
            "fraction",
            "higher",
            "requested",
            lambda data: [float(s.mol is not None) for s in data.samples],
        ),
        Metric(
            "connected",
            "a valid molecule is one fragment",
            "fraction",
            "higher",
            "valid",
            lambda data: [float(s.connected) for s in data.samples],
        ),
        Metric(
            "valid_connected",
            "valid and one fragment",
            "fraction",
            "higher",
            "requested",
            lambda data: [float(s.connected) for s in data.samples],
        ),
        Metric("unique", "first of its canonical SMILES (no stereo)", "fraction", "higher", "connected", _unique),
        Metric("novel", "not among the known molecules (no stereo)", "fraction", "higher", "connected", _novel),
        Metric(
            "diversity",
            "1 - mean Tanimoto similarity to the others (Morgan, radius 2, 2048 bits)",
            "",
            "higher",
            "connected",
            _diversity,
        ),
        Metric("qed", "quantitative estimate of drug-likeness", "", "higher", "connected", per_molecule(QED.qed)),
        Metric(
            "sa",
            "synthetic accessibility (Ertl and Schuffenhauer), 1 easy to 10 hard",
            "",
            "lower",
            "connected",
            per_molecule(_sa_score),
        ),
        Metric(
            "sa_normalised",
            "(10 - sa) / 9",
            "",
            "higher",
            "connected",
            per_molecule(lambda mol: (10 - _sa_score(mol)) / 9),
        ),
        Metric("logp", "Crippen logP", "", "none", "connected", per_molecule(_logp)),
        Metric(
            "lipinski",
            "rules of five kept: weight <= 500, logP <= 5, donors <= 5, acceptors <= 10",
            "of 4",
            "higher",
            "connected",
            per_molecule(_lipinski),
        ),
        Metric("heavy_atoms", "heavy atoms", "atoms", "none", "valid", per_molecule(Chem.Mol.GetNumHeavyAtoms)),
        Metric("rings", "rings (SSSR)", "rings", "none", "valid", per_molecule(rdMolDescriptors.CalcNumRings)),
        Metric(
            "clashes",
            "ligand-protein heavy atom pairs closer than 0.75 of their van der Waals radii",
            "pairs",
            "lower",
            "valid",
            _clashes,
        ),
        Metric("pb_valid", "passes every PoseBusters check", "fraction", "higher", "valid", _pb_valid),
        Metric(
            "pb_valid_of_requested",
            "valid and passes every PoseBusters check",
            "fraction",
            "higher",
            "requested",
            lambda data: [value or 0.0 for value in _pb_valid(data)],
        ),
    )
}
BOOTSTRAP_SAMPLES = 1000
BOOTSTRAP_BLOCK = 1_000_000  # draws held in memory at once
CONFIDENCE = 95.0  # %


@dataclass(frozen=True)
class Estimate:
    """Mean over n values with its bootstrap interval; all None without values."""

    mean: Value
    low: Value
    high: Value
    n: int


def estimate(values: Sequence[Value], seed: int = 0) -> Estimate:
    """Mean and 95 % percentile-bootstrap interval over the molecules that have a value; no interval for one value."""
    known = np.array([v for v in values if v is not None], dtype=np.float64)
    if len(known) == 0:
        return Estimate(None, None, None, 0)
    mean = statistics.fmean(known.tolist())
    if len(known) == 1:
        return Estimate(mean, None, None, 1)
    rng = np.random.default_rng(seed)
    rows = max(1, BOOTSTRAP_BLOCK // len(known))
    blocks = [min(rows, BOOTSTRAP_SAMPLES - start) for start in range(0, BOOTSTRAP_SAMPLES, rows)]
    means = np.concatenate([known[rng.integers(len(known), size=(block, len(known)))].mean(1) for block in blocks])
    low, high = np.percentile(means, [50 - CONFIDENCE / 2, 50 + CONFIDENCE / 2])
    return Estimate(mean, float(low), float(high), len(known))
