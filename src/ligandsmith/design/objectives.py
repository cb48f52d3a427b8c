"""What ligands are optimised for, from words of the user: `vina_min, qed:0.5, sa:0.5, -strain_uff`.

A word is a metric of the registry, `similarity` (to the ligands that the optimisation starts from) or the user's own
scorer; `NAME_per_atom` divides a metric in kcal/mol by the heavy atoms. The score of a ligand is the sum over its
objectives of weight times value over a fixed scale, positive where more is better. The scales are the spreads of
crystal ligands, so that the score of a ligand does not depend on the other ones. Of drug-likeness, ease of synthesis,
strain and clashes, what goes beyond a good value counts a quarter: a search would else make ever simpler molecules.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rdkit import Chem

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.criteria import TERM
from ligandsmith.evaluation.input import EvaluationInput, NotRun, Sample
from ligandsmith.evaluation.metrics import KCAL, METRICS
from ligandsmith.evaluation.statistics import Value
from ligandsmith.evaluation.tools.runner import Answer, Site

SIMILARITY = "similarity"
PER_ATOM = "_per_atom"
# Of several ligands, or the same for all that have a score.
NOT_OF_ONE_LIGAND = ("unique", "novel", "diversity", "seconds", "valid", "connected", "valid_connected")
# Standard deviations of 78 crystal ligands of validation pockets; that of the strain from the quartiles, because a few
# outliers would decide it. Similarities have a round value, and what is not listed has 1.
OBJECTIVE_SCALES = {
    "vina_score": 2.3, "vina_min": 2.1, "vina_dock": 2.1, "strain_uff": 80.0, "strain_mmff": 45.0, "qed": 0.22,
    "sa": 0.95, "sa_normalised": 0.105, "logp": 2.4, "lipinski": 0.9, "heavy_atoms": 8.7,
    "heavy_atoms_over_reference": 8.7, "rings": 1.3, "posecheck_clashes": 6.0, "hb_donors": 1.3, "hb_acceptors": 2.8,
    "hydrophobic": 2.7, "pi": 0.8, "interaction_recovery": 0.2, "shape_similarity": 0.2, SIMILARITY: 0.2,
}  # fmt: skip
GOOD_ENOUGH = {  # about the better third of crystal ligands
    "qed": 0.6, "sa": 3.0, "sa_normalised": 0.78, "strain_uff": 70.0, "strain_mmff": 40.0, "posecheck_clashes": 5.0,
}  # fmt: skip
BEYOND = 0.25  # what counts of the rest
TYPICAL_ATOMS = 20  # heavy atoms, of the scale of a value per atom


@dataclass(frozen=True)
class Objective:
    """One thing that ligands are optimised for."""

    name: str  # as the user wrote it
    higher: bool  # is better
    weight: float = 1.0
    scale: float = 1.0  # of the value
    unit: str = ""

    def utility(self, value: float) -> float:
        """What a value adds to the score."""
        sign = 1.0 if self.higher else -1.0
        good = GOOD_ENOUGH.get(self.name)
        if good is not None and self.higher == (METRICS[self.name].better == "higher"):
            over = sign * (value - good)
            value = good + sign * over * (BEYOND if over > 0 else 1.0)
        return self.weight * sign * value / self.scale

    @property
    def metric(self) -> str:
        """The metric of the registry that it is made of; empty for what is none."""
        name = self.name.removesuffix(PER_ATOM) if self.name not in METRICS else self.name
        return name if name in METRICS else ""

    def described(self) -> dict[str, Any]:
        """For the record of a run."""
        better = "higher" if self.higher else "lower"
        good = GOOD_ENOUGH.get(self.name)
        return {
            "name": self.name, "better": better, "weight": self.weight, "scale": self.scale, "unit": self.unit,
            "good_enough": good,
        }  # fmt: skip


def parse_objectives(text: str, scorers: Collection[str] = ()) -> tuple[Objective, ...]:
    """The objectives that `text` names, separated by commas; `scorers` are names of the user's own.

    A sign forces a direction (- lower is better, + higher), a number after a colon is a weight. Raises LigandsmithError
    for a name that is not known, a metric without a better direction and without a sign, and a name that comes twice.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise LigandsmithError("--objective: name at least one, as in 'vina_min, qed:0.5, sa:0.5'")
    found = [_objective(word, scorers) for word in words]
    names = [objective.name for objective in found]
    for name in names:
        if names.count(name) > 1:
            raise LigandsmithError(f"--objective: '{name}' is named twice")
    return tuple(found)


def _objective(word: str, scorers: Collection[str]) -> Objective:
    match = TERM.fullmatch(word)
    if match is None:
        raise LigandsmithError(f"--objective: cannot read '{word}'; write NAME, -NAME, +NAME or NAME:WEIGHT")
    sign, name, number = match.groups()
    weight = 1.0 if number is None else float(number)
    if not weight:
        raise LigandsmithError(f"--objective: '{word}': a weight must be above 0")
    better, unit, scale = _known(name, scorers)
    direction = {"-": "lower", "+": "higher"}.get(sign, better)
    if direction == "none":
        raise LigandsmithError(
            f"--objective: {name} has no better direction: write -{name} (lower is better) or +{name} (higher)"
        )
    return Objective(name, direction == "higher", weight, scale, unit)


def _known(name: str, scorers: Collection[str]) -> tuple[str, str, float]:
    """Better direction, unit and scale. Raises LigandsmithError listing near names."""
    if name in scorers or name == SIMILARITY:
        return "higher", "", OBJECTIVE_SCALES.get(name, 1.0)
    whole = name.removesuffix(PER_ATOM)
    if name in NOT_OF_ONE_LIGAND:
        raise LigandsmithError(f"--objective: {name} is no property of a single ligand")
    if name in METRICS:
        per_atom = OBJECTIVE_SCALES["vina_dock"] / TYPICAL_ATOMS
        scale = OBJECTIVE_SCALES.get(name, per_atom if name.endswith(PER_ATOM) else 1.0)
        return METRICS[name].better, METRICS[name].unit, scale
    if whole in METRICS:
        if METRICS[whole].unit != KCAL:
            raise LigandsmithError(f"--objective: {name}: only metrics in kcal/mol can be divided by the heavy atoms")
        return METRICS[whole].better, f"{KCAL} per atom", OBJECTIVE_SCALES.get(whole, 1.0) / TYPICAL_ATOMS
    choices = [SIMILARITY, *scorers, *(m for m in METRICS if m not in NOT_OF_ONE_LIGAND)]
    near = difflib.get_close_matches(name, choices, 5, 0.5) or choices[:8]
    raise LigandsmithError(f"--objective: no metric or scorer '{name}'; near it: {', '.join(near)}")


def weighted_sum(objectives: Sequence[Objective], values: Mapping[str, Value]) -> float | None:
    """The score of a ligand with these values; None where one is missing."""
    total = 0.0
    for objective in objectives:
        value = values.get(objective.name)
        if value is None:
            return None
        total += objective.utility(value)
    return total


def metric_values(objectives: Sequence[Objective], data: EvaluationInput) -> dict[str, list[Value]]:
    """The values of those objectives that are made of metrics, by name; without those that cannot be computed."""
    found: dict[str, list[Value]] = {}
    for objective in objectives:
        if not objective.metric:
            continue
        try:
            values = METRICS[objective.metric].values(data)
        except NotRun:
            continue
        if objective.metric != objective.name:
            sizes = [s.mol.GetNumHeavyAtoms() if s.mol is not None else 1 for s in data.samples]
            values = [None if v is None else v / size for v, size in zip(values, sizes, strict=True)]
        found[objective.name] = values
    return found


@dataclass
class _Asked(dict[str, Any]):
    """An answer that holds nothing, and notes what is looked for in it."""

    keys_asked: set[str] = field(default_factory=set)

    def __contains__(self, key: object) -> bool:
        self.keys_asked.add(str(key))
        return False


@dataclass
class _Answers(dict[str, Sequence[Answer | None] | str]):
    """Answers of tools that notes which are asked for."""

    tools: dict[str, _Asked] = field(default_factory=dict)

    def get(self, tool: str, default: Any = None) -> Any:
        del default
        return [self.tools.setdefault(tool, _Asked())]


def tools_for(objectives: Sequence[Objective]) -> dict[str, dict[str, Any]]:
    """The slow tools that the objectives need, with their settings: each metric is asked what it looks at."""
    asked = _Answers()
    ethane = Chem.MolFromSmiles("CC")
    for objective in objectives:
        if objective.metric:
            try:
                METRICS[objective.metric].function(EvaluationInput((Sample(0, ethane),), Site(), answers=asked))
            except NotRun:
                continue
    chosen: dict[str, dict[str, Any]] = {name: {} for name in asked.tools}
    if "vina" in chosen:
        dock = bool({"vina_dock", "dock_rmsd"} & asked.tools["vina"].keys_asked)
        chosen["vina"] = {"modes": ["score", "minimise", *(["dock"] if dock else [])]}
    return chosen
