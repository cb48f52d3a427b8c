"""The columns behind the metrics: for an `EvaluationInput`, one value for each sample, None where there is none."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from ligandsmith.evaluation.input import EvaluationInput, KnownMolecules, NotRun, Sample
from ligandsmith.evaluation.statistics import Value

FINGERPRINT_RADIUS = 2
FINGERPRINT_BITS = 2048
SUCCESS = {"vina_dock": -8.18, "qed": 0.25, "sa_normalised": 0.59}  # as published for decomposed and guided models
Column = Callable[[EvaluationInput], Sequence[Value]]
POCKET_CHECKS = ("protein", "cofactor", "water")  # words in the names of PoseBusters' checks of the pose in the pocket


def per_molecule(function: Callable[[Chem.Mol], float | None]) -> Column:
    """A column from a function of a single molecule; what RDKit cannot compute is a missing value, not zero."""

    def value(mol: Chem.Mol | None) -> Value:
        if mol is None:
            return None
        try:
            return number_or_none(function(mol))
        except (ValueError, RuntimeError, ArithmeticError):
            return None

    return lambda data: [value(sample.mol) for sample in data.samples]


def from_tool(tool: str, key: str) -> Column:
    """The value `key` of a tool's answers; raises NotRun if the tool was not run or was not asked for this value."""

    def column(data: EvaluationInput) -> list[Value]:
        answers = data.of_tool(tool)
        given = [a for a in answers if isinstance(a, dict)]
        if given and all(key not in a for a in given):
            raise NotRun("not asked for")
        return [number_or_none(a.get(key)) if isinstance(a, dict) else None for a in answers]

    return column


def number_or_none(value: Any) -> Value:
    """A number, or None."""
    return None if value is None else float(value)


def against(part: Literal["protein", "reference"], function: Callable[[Chem.Mol, Any], float]) -> Column:
    """A column from a function of a molecule and the protein or the reference ligand of its site."""

    def column(data: EvaluationInput) -> Sequence[Value]:
        other = getattr(data.site, part)
        if other is None:
            raise NotRun(f"no {'protein' if part == 'protein' else 'reference ligand'} given")
        return per_molecule(lambda mol: function(mol, other))(data)

    return column


def valid(data: EvaluationInput) -> list[Value]:
    """1 where there is a molecule, else 0."""
    return [float(sample.mol is not None) for sample in data.samples]


def connected(data: EvaluationInput) -> list[Value]:
    """1 where there is a molecule of one fragment, else 0."""
    return [float(sample.connected) for sample in data.samples]


def unique(data: EvaluationInput) -> list[Value]:
    """1 for the first molecule of each kind, 0 for repetitions; stereo is ignored."""
    seen: set[str] = set()
    values: list[Value] = []
    for sample in data.samples:
        smiles = sample.flat_smiles if sample.connected else ""
        values.append(float(smiles not in seen) if smiles else None)
        seen.add(smiles)
    return values


def novel(data: EvaluationInput) -> list[Value]:
    """1 for molecules that are not among the known ones."""
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


def diversity(data: EvaluationInput) -> list[Value]:
    """1 - mean similarity to the other connected molecules of the pocket; all None where there are fewer than two."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)
    members = [i for i, sample in enumerate(data.samples) if sample.connected]
    values: list[Value] = [None] * len(data.samples)
    if len(members) < 2:
        return values
    prints = [generator.GetFingerprint(data.samples[i].mol) for i in members]
    for k, i in enumerate(members):
        similarity = DataStructs.BulkTanimotoSimilarity(prints[k], prints)
        values[i] = 1 - (sum(similarity) - 1) / (len(members) - 1)
    return values


def sa_score(mol: Chem.Mol) -> float:
    """Synthetic accessibility score, 1 (easy) to 10 (Ertl and Schuffenhauer 2009)."""
    from rdkit.Contrib.SA_Score import sascorer  # noqa: PLC0415 (loads its table of fragments)

    return float(sascorer.calculateScore(mol))


def logp(mol: Chem.Mol) -> float:
    """Crippen logP (Wildman and Crippen 1999)."""
    return float(rdMolDescriptors.CalcCrippenDescriptors(mol)[0])


def lipinski(mol: Chem.Mol) -> float:
    """Number of Lipinski's four rules that hold (Lipinski et al. 1997)."""
    weight_ok = rdMolDescriptors.CalcExactMolWt(mol) <= 500
    donors_ok, acceptors_ok = rdMolDescriptors.CalcNumHBD(mol) <= 5, rdMolDescriptors.CalcNumHBA(mol) <= 10
    return float(weight_ok + donors_ok + acceptors_ok + (logp(mol) <= 5))


def is_zero(column: Column) -> Column:
    """1 where a column is 0, else 0."""
    return lambda data: [None if v is None else float(v == 0) for v in column(data)]


def at_most_reference(tool: str, key: str) -> Column:
    """1 where a tool's value is at most the reference ligand's."""

    def column(data: EvaluationInput) -> list[Value]:
        values = from_tool(tool, key)(data)
        own = data.reference_answers.get(tool)
        limit = number_or_none(own.get(key)) if isinstance(own, dict) else None
        if limit is None:
            raise NotRun(own if isinstance(own, str) else "no reference ligand with this value")
        return [None if v is None else float(v <= limit) for v in values]

    return column


def per_heavy_atom(column: Column) -> Column:
    """A column divided by the number of heavy atoms."""

    def divided(data: EvaluationInput) -> list[Value]:
        return [
            None if value is None or sample.mol is None else value / sample.mol.GetNumHeavyAtoms()
            for sample, value in zip(data.samples, column(data), strict=True)
        ]

    return divided


def success(qed: Column, sa: Column) -> Column:
    """1 where docking, QED and SA pass the published thresholds, 0 for every other requested molecule."""

    def column(data: EvaluationInput) -> list[Value]:
        scores = (or_zero(score)(data) for score in (from_tool("vina", "vina_dock"), qed, sa))  # 0 passes no threshold
        return [
            float(sample.connected and d < SUCCESS["vina_dock"] and q > SUCCESS["qed"] and s > SUCCESS["sa_normalised"])
            for sample, d, q, s in zip(data.samples, *scores, strict=True)
        ]

    return column


def seconds(data: EvaluationInput) -> list[Value]:
    """Time of generation of the pocket's molecules, s."""
    if data.seconds is None:
        raise NotRun("no samples.json beside the SDF says how long it took")
    return [data.seconds] * len(data.samples)


def pose_checks(wanted: Callable[[str], bool] = lambda name: True) -> Column:
    """1 where every PoseBusters check whose name is wanted passes; one that could not decide does not pass."""

    def column(data: EvaluationInput) -> list[Value]:
        values: list[Value] = []
        for answer in data.of_tool("posebusters"):
            checks = [v for name, v in answer.items() if wanted(name)] if isinstance(answer, dict) else []
            values.append(float(all(v is True for v in checks)) if checks else None)
        return values

    return column


def in_pocket(name: str) -> bool:
    """Whether a PoseBusters check is about the pose in the pocket (else about the molecule alone)."""
    return any(word in name for word in POCKET_CHECKS)


def or_zero(column: Column) -> Callable[[EvaluationInput], list[float]]:
    """A column in which what has no value counts 0."""
    return lambda data: [value or 0.0 for value in column(data)]
