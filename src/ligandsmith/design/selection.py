"""Which ligands become parents, which moves make the next ones, and what the result is. Deterministic."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit import DataStructs

from ligandsmith.design.history import START, Row
from ligandsmith.design.objectives import Objective
from ligandsmith.evaluation.ranking import fronts

PARENT_POOL = 16  # parents of a round, at most
ALIKE_PARENTS = 0.7  # Tanimoto similarity; above, only the better of two is a parent
PRIOR = (1.0, 2.0)  # successes and failures that each move is credited with
FORGETS = 0.8  # what earlier rounds count for, each


def best_of_each(rows: Sequence[Row]) -> list[Row]:
    """The best pose of each molecule with a score, in the order of their index."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.score is not None:
            other = best.get(row.flat_smiles)
            if other is None or other.score is None or row.score > other.score:
                best[row.flat_smiles] = row
    return sorted(best.values(), key=lambda row: row.index)


def ranked(rows: Sequence[Row], objectives: Sequence[Objective], pareto: bool) -> list[Row]:
    """Rows with a score, best first: by Pareto front and crowding (NSGA-II; Deb et al. 2002), or by score."""
    if not rows:
        return []
    if not pareto:
        return sorted(rows, key=lambda row: (-(row.score or 0.0), row.index))
    costs = -utilities(rows, objectives)
    front, crowd = fronts(costs), np.zeros(len(rows))
    for number in np.unique(front):
        members = np.flatnonzero(front == number)
        crowd[members] = crowding(costs[members])
    order = sorted(range(len(rows)), key=lambda i: (front[i], -crowd[i], -(rows[i].score or 0.0), rows[i].index))
    return [rows[i] for i in order]


def utilities(rows: Sequence[Row], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """What each objective adds to the score of each row [M, K]; more is better."""
    return np.array([[o.utility(row.values.get(o.name) or 0.0) for o in objectives] for row in rows], dtype=np.float64)


def crowding(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Crowding distance of each row of costs [M, K] of one front: infinite at the ends, small where it is crowded."""
    m, distance = len(costs), np.zeros(len(costs))
    for column in costs.T:
        order = np.argsort(column, kind="stable")
        extent = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if extent > 0 and m > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
    return distance


def apart(rows: Sequence[Row], count: int, alike: float) -> list[Row]:
    """The first `count` of rows in their order, without those that are more similar to an earlier one."""
    chosen: list[Row] = []
    for row in rows:
        if len(chosen) == count:
            break
        others = [other.fingerprint for other in chosen]
        if not others or max(DataStructs.BulkTanimotoSimilarity(row.fingerprint, others)) <= alike:
            chosen.append(row)
    return chosen


def parents_of(rows: Sequence[Row], objectives: Sequence[Objective], pareto: bool) -> list[Row]:
    """The parents of the next round, best first; without any score the ligands at the start."""
    sound = [row for row in best_of_each(rows) if row.valid is not False]
    pool = apart(ranked(sound, objectives, pareto), PARENT_POOL, ALIKE_PARENTS)
    return pool or [row for row in rows if row.move == START and row.mol is not None]


def draw_parents(pool: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    """Two different parents, or as many as there are: the better ones more often."""
    if not pool:
        return []
    weight = 1.0 / (1.0 + np.arange(len(pool)))
    order = rng.choice(len(pool), size=min(2, len(pool)), replace=False, p=weight / weight.sum())
    return [pool[i] for i in order]


def move_counts(rows: Sequence[Row], moves: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Successes and failures of each move, those of earlier rounds counting less."""
    last = max((row.round for row in rows), default=0)
    counts = {move: PRIOR for move in moves}
    for row in rows:
        if row.move in counts:
            won, lost = counts[row.move]
            share = FORGETS ** (last - row.round)
            counts[row.move] = (won + share, lost) if row.won else (won, lost + share)
    return counts


def draw_move(counts: Mapping[str, tuple[float, float]], rng: np.random.Generator) -> str:
    """A move by Thompson sampling: the one whose share of successes, drawn from its Beta distribution, is highest."""
    drawn = {move: rng.beta(won, lost) for move, (won, lost) in counts.items()}
    return max(drawn, key=lambda move: drawn[move])
