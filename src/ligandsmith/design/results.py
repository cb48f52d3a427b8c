"""What an optimisation writes for the user: the best ligands, the table of all, and a record of the run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rdkit import Chem

from ligandsmith.chem.sdf import write_sdf
from ligandsmith.design.history import HISTORY_FILE, START, Row, write_history
from ligandsmith.design.objectives import Objective
from ligandsmith.design.plan import Plan
from ligandsmith.design.selection import best_of_each, utilities
from ligandsmith.evaluation.ranking import fronts
from ligandsmith.files import write_json
from ligandsmith.generation.output import LIGANDS_FILE, SAMPLES_FILE

RUN_FILE = "optimisation.json"


@dataclass(frozen=True)
class Result:
    """All ligands by index, the chosen ones best first, and the seconds of each round."""

    rows: tuple[Row, ...]
    chosen: tuple[Row, ...]
    seconds: tuple[float, ...]

    @property
    def ligands(self) -> list[Chem.Mol]:
        """The chosen ligands, best first, in the coordinates of the protein."""
        return [row.pose for row in self.chosen]

    def lines(self, objectives: Sequence[Objective]) -> list[str]:
        """For the user to read."""
        made = [row for row in self.rows if row.move != START]
        scored = [row for row in made if row.score is not None]
        lines = [f"{len(made)} ligands in {max(len(self.seconds) - 1, 0)} rounds, {sum(self.seconds):.0f} s; "
                 f"{len(scored)} scored, {len(self.chosen)} chosen"]  # fmt: skip
        starts = [row for row in self.rows if row.move == START]
        for objective in objectives:
            start = _best(starts, objective)
            best = _best(self.chosen, objective)
            mean = _mean(self.chosen, objective)
            text = f"  {objective.name}: chosen best {_text(best)}, mean {_text(mean)}"
            lines.append(text + (f"; start {_text(start)}" if start is not None else ""))
        reasons = Counter(row.reason for row in made if row.reason)
        return lines + [f"  {count:5d}  {reason}" for reason, count in reasons.most_common()]


def write_optimisation(out: Path, result: Result, plan: Plan, identity: dict[str, Any]) -> None:
    """Write ligands.sdf, samples.json, history.csv and optimisation.json."""
    names = [objective.name for objective in plan.objectives]
    write_sdf(out / LIGANDS_FILE, [(_titled(row, plan.options.add_hs), _properties(row)) for row in result.chosen])
    if result.rows:
        write_history(out / HISTORY_FILE, result.rows, names, [row.index for row in result.chosen])
    write_json(out / SAMPLES_FILE, _samples(result, identity, plan))
    write_json(out / RUN_FILE, _record(result, plan, identity))


def _titled(row: Row, hydrogens: bool) -> Chem.Mol:
    mol = Chem.AddHs(row.pose, addCoords=True) if hydrogens else Chem.Mol(row.pose)
    mol.SetProp("_Name", f"ligand_{row.index:05d}")
    return mol


def _properties(row: Row) -> dict[str, Any]:
    values = {name: value for name, value in row.values.items() if value is not None}
    return {
        "index": row.index, "smiles": row.smiles, **values, "score": row.score, "move": row.move,
        "parents": ";".join(map(str, row.parents)) or "none", "round": row.round,
    }  # fmt: skip


def _samples(result: Result, identity: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """The chosen ligands as `generate` lists its own, for `evaluate`."""
    molecules = [
        {"index": row.index, "smiles": row.smiles, "heavy_atoms": row.pose.GetNumHeavyAtoms(),
         "raw_valid": True, "repaired": False, "connected": True}
        for row in result.chosen
    ]  # fmt: skip
    return {
        "identity": identity, "done": len(molecules), "molecules": molecules, "failures": [],
        "seconds": round(sum(result.seconds), 3), "requested": len(molecules), **dict(plan.notes),
    }  # fmt: skip


def _record(result: Result, plan: Plan, identity: dict[str, Any]) -> dict[str, Any]:
    rounds = range(len(result.seconds))
    starts = [row for row in result.rows if row.move == START]
    return {
        "identity": identity, **dict(plan.notes), "objectives": [o.described() for o in plan.objectives],
        "selection": "pareto" if plan.pareto else "weighted sum",
        "done": len(result.rows) - len(starts), "seconds": round(sum(result.seconds), 3),
        "starts": [{"index": row.index, "smiles": row.smiles, "values": row.values} for row in starts],
        "rounds": [_round(result, plan.objectives, number) for number in rounds],
        "pareto_front": [row.index for row in _front(result.rows, plan.objectives)],
        "chosen": [row.index for row in result.chosen],
        "failures": dict(Counter(row.reason for row in result.rows if row.reason).most_common()),
    }  # fmt: skip


def _round(result: Result, objectives: Sequence[Objective], number: int) -> dict[str, Any]:
    """Of one round; the best values, and the Pareto front, are those of all rounds so far."""
    rows = [row for row in result.rows if row.round == number]
    so_far = [row for row in result.rows if row.round <= number and row.score is not None]
    scored = [row for row in rows if row.score is not None]
    tried, won = Counter(row.move for row in rows), Counter(row.move for row in rows if row.won)
    moves = {move: {"tried": count, "won": won[move]} for move, count in tried.items()}
    return {
        "round": number, "ligands": len(rows), "scored": len(scored), "seconds": result.seconds[number],
        "best": {o.name: _best(so_far, o) for o in objectives}, "mean": {o.name: _mean(scored, o) for o in objectives},
        "best_score": max((row.score for row in so_far if row.score is not None), default=None),
        "pareto_front": [row.index for row in _front(so_far, objectives)], "moves": moves,
    }  # fmt: skip


def _front(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Row]:
    """The molecules that no other one dominates."""
    best = best_of_each(rows)
    if not best:
        return []
    front = fronts(-utilities(best, objectives))
    return [row for row, number in zip(best, front, strict=True) if number == 1]


def _best(rows: Sequence[Row], objective: Objective) -> float | None:
    values = [value for row in rows if (value := row.values.get(objective.name)) is not None]
    return max(values, key=objective.utility, default=None)


def _mean(rows: Sequence[Row], objective: Objective) -> float | None:
    values = [value for row in rows if (value := row.values.get(objective.name)) is not None]
    return round(fmean(values), 5) if values else None


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"
