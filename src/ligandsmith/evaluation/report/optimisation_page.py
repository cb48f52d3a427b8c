"""What the report shows of an optimisation. Never imports torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from markupsafe import Markup

from ligandsmith.evaluation.report.descent import Album, Path
from ligandsmith.evaluation.report.optimisation import START_MOVE, ListedLigand, ListedObjective, Optimisation
from ligandsmith.evaluation.report.optimisation_tables import (
    front_table,
    moves_table,
    objectives_table,
    optimisation_failures,
    optimisation_provenance,
    values_of,
)
from ligandsmith.evaluation.report.plots import SCATTER_LAYOUT, Axis, Dot, Figure, Points, axis, curves, scatter
from ligandsmith.evaluation.report.rendering import label, number
from ligandsmith.evaluation.report.tables import BETTER, Table

PICTURE_BYTES = 4_000_000
MOST_DOTS = 2000


@dataclass(frozen=True)
class OptimisationPage:
    """The parts of the section, in its order."""

    headline: str
    summary: str
    notes: list[str]
    objectives: Table
    curves: list[Figure]
    front_note: str
    front_plot: Markup
    front_keys: list[tuple[str, str]]
    front_data: dict[str, Any]
    front: Table
    tree: Markup
    tree_keys: list[tuple[str, str]]
    paths: list[Path]
    moves: Table
    failures: Table
    provenance: Table

    @property
    def tables(self) -> list[Table]:
        """For Markdown."""
        return [self.objectives, self.front, self.moves, self.failures]


def optimisation_page(run: Optimisation) -> OptimisationPage:
    """The whole section."""
    paths, notes = _paths(run)
    axes, dots = _scatter(run)
    shown = len(axes) > 1 and bool(dots)
    scored = sum(ligand.score is not None for ligand in run.made)
    rounds = len(run.rounds) - 1
    return OptimisationPage(
        headline=f"{len(run.made)} ligands made in {rounds} round{'' if rounds == 1 else 's'}"
        f" · {scored} scored · {len(run.chosen)} chosen",
        summary=_summary(run),
        notes=notes,
        objectives=objectives_table(run),
        curves=[_score_curve(run), *(_curve(run, objective) for objective in run.objectives)],
        front_note=_front_note(run, shown),
        front_plot=scatter(axes[0], axes[1], dots) if shown else Markup(""),
        front_keys=_front_keys(run),
        front_data={
            "layout": SCATTER_LAYOUT,
            "axes": [asdict(a) for a in axes] if shown else [],
            "dots": [[float(f"{v:.5g}") for v in dot.values] for dot in dots] if shown else [],
        },
        front=front_table(run),
        tree=_tree(run),
        tree_keys=[*([(START_MOVE, START_MOVE)] if run.starts else []), ("chosen", "chosen"), ("", "on the way")],
        paths=paths,
        moves=moves_table(run),
        failures=optimisation_failures(run),
        provenance=optimisation_provenance(run),
    )


def _summary(run: Optimisation) -> str:
    how = str(run.record.get("selection") or "the score")
    ranked = "Pareto front and crowding distance" if how == "pareto" else "the score, a weighted sum of the objectives"
    return (
        f"Ligands are ranked by {ranked}. The chosen ones are the best that pass PoseBusters and differ from each "
        "other. They were chosen by the values shown here, so these are too good on average, and what was not an "
        "objective may have become worse: check it with scores that were no objective."
    )


def _curve(run: Optimisation, objective: ListedObjective) -> Figure:
    rounds = run.rounds
    best, mean = ([(entry.get(key) or {}).get(objective.name) for entry in rounds] for key in ("best", "mean"))
    start = objective.best(values_of(run.starts, objective))
    better = BETTER["higher" if objective.higher else "lower"]
    return _figure(objective.title, f"{better} is better", best, mean, start)


def _score_curve(run: Optimisation) -> Figure:
    best = [entry.get("best_score") for entry in run.rounds]
    mean: list[float | None] = []
    for k in range(len(best)):
        scores = [x.score for x in run.ligands.values() if x.round == k and x.score is not None]
        mean.append(fmean(scores) if scores else None)
    start = max((x.score for x in run.starts if x.score is not None), default=None)
    return _figure("score", f"{BETTER['higher']} is better", best, mean, start)


def _figure(
    title: str, aside: str, best: Sequence[float | None], mean: Sequence[float | None], start: float | None
) -> Figure:
    series = {"best": _points(best), "mean": _points(mean)}
    keys = {"best": "best so far", "mean": "mean of the round", "start": "start"}
    if start is not None:
        series["start"] = [(0.0, start), (float(max(len(best) - 1, 1)), start)]
    series = {kind: points for kind, points in series.items() if points}
    if not series:
        return Figure(title)
    texts = [(kind, f"{keys[kind]} {number(points[-1][1])}") for kind, points in series.items()]
    description = f"{title} over the rounds; at the end: {', '.join(text for _, text in texts)}"
    return Figure(title, aside, curves(series, False, description), texts)


def _points(values: Sequence[float | None]) -> Points:
    return [(float(k), float(value)) for k, value in enumerate(values) if value is not None]


def _scatter(run: Optimisation) -> tuple[list[Axis], list[Dot]]:
    """Scored ligands, those that count last so that they lie on top."""
    scored = [x for x in run.ligands.values() if x.score is not None and None not in x.values.values()]
    scored.sort(key=lambda x: (_rank(run, x), x.score))
    scored = scored[-MOST_DOTS:]
    dots = [Dot(_kind(run, x), _said(run, x), [float(v or 0.0) for v in x.values.values()]) for x in scored]
    inside = [dot.values for dot in dots if dot.kind]
    axes = [
        axis(objective.title, [dot.values[k] for dot in dots], [values[k] for values in inside])
        for k, objective in enumerate(run.objectives)
        if dots
    ]
    return axes, dots


def _rank(run: Optimisation, ligand: ListedLigand) -> int:
    return 3 if ligand.move == START_MOVE else 2 if ligand.index in run.chosen else int(ligand.index in run.front)


def _kind(run: Optimisation, ligand: ListedLigand) -> str:
    kinds = {
        "front": ligand.index in run.front,
        "chosen": ligand.index in run.chosen,
        "start": ligand.move == START_MOVE,
    }
    return " ".join(kind for kind, holds in kinds.items() if holds)


def _said(run: Optimisation, ligand: ListedLigand) -> str:
    values = ", ".join(f"{label(name)} {number(value)}" for name, value in ligand.values.items())
    kind = _kind(run, ligand).replace(" ", ", ")
    made = f"{ligand.move}, round {ligand.round}"
    return f"ligand {ligand.index}{f' ({kind})' if kind else ''}: {values}; {made}; {ligand.smiles}"


def _tree(run: Optimisation) -> Markup:
    """The chosen ligands and all that they come from, by round and score; empty where there is none."""
    family, waiting = set(), list(run.chosen)
    while waiting:
        index = waiting.pop()
        if index not in family:
            family.add(index)
            waiting += run.ligands[index].parents
    members = [run.ligands[index] for index in sorted(family) if run.ligands[index].score is not None]
    dots = [Dot(_kind(run, x).replace("front", "").strip(), _said(run, x), [x.round, x.score or 0.0]) for x in members]
    if not dots:
        return Markup("")
    place = {ligand.index: k for k, ligand in enumerate(members)}
    lines = [(place[parent], k) for k, x in enumerate(members) for parent in x.parents if parent in place]
    rounds, scores = zip(*(dot.values for dot in dots), strict=True)
    across = axis("round", rounds, rounds)
    across = replace(across, ticks=[tick for tick in across.ticks if tick[0].is_integer()])
    return scatter(across, axis("score", scores, scores), dots, lines, "tree")


def _front_note(run: Optimisation, shown: bool) -> str:
    if len(run.objectives) < 2:
        return "There is one objective, so there is no front."
    if not shown:
        return "No ligand has a value of all objectives yet."
    text = (
        f"{len(run.front)} ligands are on the front: no other one is better in one of the {len(run.objectives)} "
        "objectives and at least as good in the rest."
    )
    if len(run.objectives) > 2:
        text += " On two of the objectives alone, they may look worse than others."
    return f"{text} Ligands far beyond the others lie at the edge. Click a point to see what it is."


def _front_keys(run: Optimisation) -> list[tuple[str, str]]:
    keys = [("front", "front"), ("chosen", "chosen"), ("", "other")]
    return [*keys, ("start", "start")] if run.starts else keys


def _paths(run: Optimisation) -> tuple[list[Path], list[str]]:
    """Of the chosen ligands, as many as the page has room for."""
    paths, total = [], 0
    for path in Album(run).paths():
        total += path.size
        if total > PICTURE_BYTES:
            break
        paths.append(path)
    left_out = len(run.chosen) - len(paths)
    return paths, [f"the way to {left_out} of {len(run.chosen)} chosen ligands, to keep the page small"] * bool(
        left_out
    )
