"""The tables of an optimisation, the same for the page and for Markdown. Never imports torch."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from ligandsmith.evaluation.report.descent import ancestors
from ligandsmith.evaluation.report.optimisation import START_MOVE, ListedLigand, ListedObjective, Optimisation
from ligandsmith.evaluation.report.rendering import label, number
from ligandsmith.evaluation.report.tables import BETTER, Table

MOST_FRONT = 200  # rows of the table of the front
MOVES = {  # by their first words
    "noise": "a ligand is noised up to the time given, and sampled again",
    "inpaint": "a part of a ligand is noised, the rest stays",
    "replace": "a part of a ligand is made anew, also of another size",
    "hop": "a new scaffold for the substituents",
    "decorate": "new substituents for the scaffold",
    "grow": "some atoms more",
    "shrink": "a terminal group less",
    "crossover": "parts of two ligands are linked",
    "fresh": "a ligand that has no parent",
}
REASONS = {
    "not scored": "the estimate by cheap scores was among the last of its round, so the slow scores were saved",
    "implausible": "bad geometry or clashes with the pocket",
    "similarity": "outside of the range that was asked for",
    "several pieces": "the sampled atoms are no single molecule",
    "fragment changed": "the part to keep came out otherwise",
    "valence": "an atom has too many bonds",
    "kekulization": "an aromatic ring without a sound pattern of double bonds",
    "constraint": "breaks a constraint that was asked for",
    "scorer": "the scorer gave no number",
    "no score": "a value of an objective could not be computed",
    "not sampled": "its batch could not be sampled",
}
NOT_POSEBUSTERS = "fails PoseBusters"


def objectives_table(run: Optimisation) -> Table:
    """What for, and what came of it."""
    columns = ("Objective", "Better", "Weight", "Start", "Best of all", "Chosen: best", "Chosen: mean")
    chosen = [run.ligands[index] for index in run.chosen]
    rows = []
    for objective in run.objectives:
        groups = [values_of(group, objective) for group in (run.starts, list(run.ligands.values()), chosen)]
        best = [number(objective.best(values)) for values in groups]
        mean = number(fmean(groups[2]) if groups[2] else None)
        better = BETTER["higher" if objective.higher else "lower"]
        rows.append((objective.title, better, f"{objective.weight:g}", *best, mean))
    return Table("Objectives", columns, rows, numeric=columns[2:])


def values_of(ligands: Sequence[ListedLigand], objective: ListedObjective) -> list[float]:
    """Of the ligands with a score."""
    found = (ligand.values[objective.name] for ligand in ligands if ligand.score is not None)
    return [value for value in found if value is not None]


def front_table(run: Optimisation) -> Table:
    """The ligands of the Pareto front, best score first."""
    columns = ("Ligand", *(o.title for o in run.objectives), "Score", "PoseBusters", "Chosen", "Move", "Round")
    members = sorted((run.ligands[index] for index in run.front), key=lambda x: -(x.score or 0.0))
    rows = [
        (str(x.index), *(number(value) for value in x.values.values()), number(x.score),
         {True: "passes", False: "fails", None: "not checked"}[x.pb_valid],
         "yes" if x.index in run.chosen else "", x.move, str(x.round))
        for x in members[:MOST_FRONT]
    ]  # fmt: skip
    note = f"The best {MOST_FRONT} of {len(members)} by their score." if len(members) > MOST_FRONT else ""
    return Table(f"Pareto front ({len(members)} ligands)", columns, rows, note, numeric=columns[1:-4])


def moves_table(run: Optimisation) -> Table:
    """Tries and successes of each move; how often the ways to the chosen ligands use it."""
    tried: Counter[str] = Counter()
    won: Counter[str] = Counter()
    for entry in run.rounds:
        for move, counts in (entry.get("moves") or {}).items():
            tried[move] += (counts or {}).get("tried") or 0
            won[move] += (counts or {}).get("won") or 0
    del tried[START_MOVE]
    scored = Counter(ligand.move for ligand in run.made if ligand.score is not None)
    used = Counter(x.move for x in {x.index: x for k in run.chosen for x in ancestors(run, k)}.values())
    order = sorted(tried, key=lambda move: (-won[move] / max(tried[move], 1), -tried[move], move))
    rows, bars = [], []
    for move in order:
        share = won[move] / tried[move] if tried[move] else None
        meaning = MOVES.get((move.split() or [""])[0], "")
        rows.append((move, str(tried[move]), str(scored[move]), str(won[move]), number(share, "fraction"),
                     str(used[move]), meaning))  # fmt: skip
        bars.append(share)
    columns = ("Move", "Tried", "Scored", "Better", "Share", "On the way to chosen", "What it does")
    note = "Better: a new molecule that scores above the median of the parents of its round."
    return Table("Moves", columns, rows, note, bars, numeric=columns[1:6])


def optimisation_failures(run: Optimisation) -> Table:
    """Why ligands have no score, or cannot be chosen."""
    examples = {x.reason: x.detail for x in reversed(run.made) if x.reason}
    counts = Counter(x.reason for x in run.made if x.reason)
    total = len(run.made)
    rows = [
        (reason, str(count), number(count / total, "fraction"), REASONS.get(reason, ""), examples[reason][:200])
        for reason, count in counts.most_common()
    ]
    bars: list[float | None] = [count / total for _, count in counts.most_common()]
    if refused := sum(x.pb_valid is False for x in run.made):
        checked = sum(x.pb_valid is not None for x in run.made)
        rows.append((NOT_POSEBUSTERS, str(refused), number(refused / total, "fraction"),
                     f"scored, but not chosen; {checked} of the best were checked", ""))  # fmt: skip
        bars.append(refused / total)
    columns = ("Reason", "Ligands", "Of all", "What it means", "First example")
    return Table("Failures", columns, rows, "" if rows else "Every ligand has a score.", bars, numeric=columns[1:3])


def optimisation_provenance(run: Optimisation) -> Table:
    """Command, time, and what decides the ligands."""
    identity = run.record.get("identity")
    pairs = identity.items() if isinstance(identity, dict) else ()
    plain = [(label(str(name)), str(value)) for name, value in pairs if isinstance(value, str | int | float)]
    rows = [
        ("Command", str(run.record.get("command") or "not recorded")),
        ("Took", "–" if run.record.get("seconds") is None else f"{number(float(run.record['seconds']))} s"),
        *plain,
    ]
    return Table("How this was made", ("What", "Value"), rows)
