"""The tables of an evaluation report, the same for the page and for Markdown. Never imports torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ligandsmith.evaluation.report.rendering import interval, label, number
from ligandsmith.evaluation.report.results import Results

FAILURES_LISTED = 200
COMPARE_WITH_CARE = (
    "Published rows are copied from the sources named, not computed here: tool versions, preparation of the protein, "
    "number of molecules and the population that each mean is taken over differ between papers."
)
BETTER = {"higher": "↑ higher", "lower": "↓ lower"}
STAGES = {"posebusters": "PoseBusters-valid"}


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading. `bars`: a share in 0 to 1 for each row, drawn on the page only."""

    heading: str
    columns: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    note: str = ""
    bars: Sequence[float | None] = ()
    strong: int | None = None  # the row that is the reader's own
    numeric: tuple[str, ...] = ()  # columns that stand right on the page


def all_tables(results: Results) -> dict[str, Table]:
    """Every table of the report, by the name that report.html and report.css know it by."""
    return {
        "metrics": metrics_table(results),
        "funnel": funnel_table(results),
        "checks": checks_table(results),
        "geometry": geometry_table(results),
        "published": published_table(results),
        "pockets": pockets_table(results),
        "failures": failures_table(results),
        "provenance": provenance_table(results),
    }


def metrics_table(results: Results) -> Table:
    """Every metric with interval, n of its population and the reference's value."""
    columns = ("Metric", "Mean", "95 % interval", "Median", "n", "Reference ligands", "Better", "Meaning")
    rows = [_metric_row(name, metric) for name, metric in results.metrics.items()]
    note = "n: molecules with a value, of the population that the mean is over."
    return Table("Metrics", columns, rows, note, numeric=("Mean", "95 % interval", "Median", "Reference ligands"))


def _metric_row(name: str, metric: Mapping[str, Any]) -> tuple[str, ...]:
    unit, reference = metric["unit"], number(metric["reference"], metric["unit"])
    better = BETTER.get(metric["better"], "")
    if metric["status"] != "ok":
        return label(name), "–", "–", "–", "–", reference, better, f"{metric['status']} ({metric['meaning']})"
    mean = number(metric["mean"], unit) + ("" if unit in ("", "fraction") else f" {unit}")
    size = f"{metric['n']} of {metric['population_size']} {metric['population']}"
    if metric["failures"]:
        size += f", {metric['failures']} failed"
    median = number(metric["median"], unit)
    return label(name), mean, interval(metric, unit), median, size, reference, better, metric["meaning"]


def funnel_table(results: Results) -> Table:
    """How many of the requested molecules remain after each stage and why the others do not."""
    stages = results.summary.get("funnel") or []
    total = next((s["n"] for s in stages if s.get("n")), None) or results.summary.get("requested") or 0
    rows, bars = [], []
    for stage in stages:
        name, n = STAGES.get(stage.get("stage"), str(stage.get("stage"))), stage.get("n")
        share = n / total if n is not None and total else None
        lost = str(stage.get("status") or "not run") if n is None else _reasons(stage.get("lost"))
        rows.append((name, number(n), number(share, "fraction"), lost))
        bars.append(share)
    columns = ("Stage", "Left", "Of requested", "Lost, and why")
    return Table("From requested to usable", columns, rows, bars=bars, numeric=columns[1:3])


def _reasons(counts: Mapping[str, int] | None) -> str:
    """'12 valence, 3 no atoms', most frequent first."""
    return ", ".join(f"{count} {reason}" for reason, count in Counter(counts or {}).most_common() if count)


def checks_table(results: Results) -> Table:
    """PoseBusters' checks, worst first."""
    entry, status = _part(results, "posebusters")
    if status != "ok":
        return Table("PoseBusters checks", note=status)
    columns = ("Check", "Pass", "95 % interval", "Failed", "n", "Undecided")
    rows, bars = [], []
    for share, name, check in sorted(
        (2.0 if check.get("mean") is None else check["mean"], name, check)
        for name, check in (entry.get("checks") or {}).items()
    ):
        n, undecided = check.get("n", 0), check.get("undecided", 0)
        rows.append((name.replace("_", " "), number(check.get("mean"), "fraction"), interval(check, "fraction"),
                     "–" if share > 1 else str(round((1 - share) * n)), str(n), str(undecided)))  # fmt: skip
        bars.append(check.get("mean"))
    note = f"Suite '{entry.get('suite', '?')}'. Undecided: the check gave no answer for a molecule."
    return Table("PoseBusters checks", columns, rows, note, bars, numeric=columns[1:])


def _part(results: Results, name: str) -> tuple[Mapping[str, Any], str]:
    """A part of the summary, and 'ok' or why it has no results."""
    part = results.summary.get(name) or {"status": "not run"}
    return part, str(part.get("status", "ok"))


def geometry_table(results: Results) -> Table:
    """Jensen-Shannon distance of bond lengths, angles and torsions from the reference distribution."""
    entry, status = _part(results, "distributions")
    heading = "Bond lengths, angles and torsions against the reference distribution"
    if status != "ok":
        return Table(heading, note=status)
    rows = [
        (kind.replace("_", " "), name, number(value.get("jsd")), str(value.get("n", 0)))
        for kind, types in entry.items()
        if isinstance(types, dict)
        for name, value in sorted(types.items())
        if isinstance(value, dict)
    ]
    note = "JSD: Jensen–Shannon divergence, 0 the same distribution, 1 no overlap. n: values in the molecules."
    columns = ("Kind", "Type", "JSD (↓ lower)", "n")
    return Table(heading, columns, rows, note, numeric=columns[2:])


def published_table(results: Results) -> Table:
    """This run under the published rows of its protocol."""
    protocol = results.summary.get("protocol") or {}
    published = [row for row in results.summary.get("published") or [] if isinstance(row, dict)]
    stated = [key for row in published for key in row if key not in ("method", "source")]
    columns = list(dict.fromkeys([*map(str, protocol.get("columns") or []), *stated]))

    def own(column: str) -> str:
        for name, statistic in ((column, "mean"), (column.removesuffix("_median"), "median")):
            if name in results.metrics and results.metrics[name]["status"] == "ok":
                return number(results.metrics[name][statistic])
        return "–"

    rows = [
        (str(row.get("method", "?")), *(number(row.get(c)) for c in columns), str(row.get("source", "")))
        for row in published
    ]
    requested = results.summary.get("requested", "?")
    rows.append(("this run", *map(own, columns), f"this report, {requested} requested"))
    notes = [COMPARE_WITH_CARE]
    for given in (protocol.get(key) or [] for key in ("differences", "note", "notes")):
        notes += map(str, given) if isinstance(given, list) else [str(given)]
    note = " ".join(notes) if published else "No published rows given."
    heads = ("Method", *map(label, columns), "Source")
    return Table("Beside published methods", heads, rows, note, strong=len(rows) - 1, numeric=heads[1:-1])


def pockets_table(results: Results) -> Table:
    """Means of each pocket."""
    pockets = results.summary.get("pockets") or {}
    units = {
        name: metric["unit"]
        for name, metric in results.metrics.items()
        if any(values.get(name) is not None for values in pockets.values())
    }
    rows = [
        (pocket, *(number(values.get(name), unit) for name, unit in units.items()))
        for pocket, values in pockets.items()
    ]
    columns = ("Pocket", *map(label, units))
    return Table("Means by pocket", columns, rows, numeric=columns[1:])


def failures_table(results: Results) -> Table:
    """The requested molecules that are not there, with their reason."""
    failed = [(row.pocket, row.index, row.title, row.reason, row.detail) for row in results.table.rows if row.reason]
    note = _reasons(results.summary.get("failures"))
    if len(failed) > FAILURES_LISTED:
        note = f"The first {FAILURES_LISTED} of {len(failed)}; all are in per_molecule.csv. {note}".strip()
    heading = f"Requested molecules that were not obtained ({len(failed)})"
    return Table(heading, ("Pocket", "Index", "Title", "Reason", "Detail"), failed[:FAILURES_LISTED], note)


def provenance_table(results: Results) -> Table:
    """Command, versions, inputs, seeds, checkpoints: what is needed to do it again."""
    summary = results.summary
    protocol = summary.get("protocol") or {}
    rows = [
        ("Command", str(summary.get("command") or "not recorded")),
        ("Protocol", f"{protocol.get('name', 'not recorded')} {protocol.get('version', '')}".strip()),
        ("Created", str(summary.get("created") or "not recorded")),
        ("Took", "–" if summary.get("seconds") is None else f"{number(float(summary['seconds']))} s"),
        ("Versions", _pairs(summary.get("versions"))),
    ]
    for entry in summary.get("inputs") or []:
        rows.append((f"Input {entry.get('pocket', '')}".strip(), _pairs(entry, leave_out="pocket")))
    for pocket, entry in (summary.get("generation") or {}).items():
        rows.append((f"Generation {pocket}", _pairs(entry)))
    return Table("How this was made", ("What", "Value"), rows)


def _pairs(values: Any, leave_out: str = "") -> str:
    if not isinstance(values, dict):
        return str(values) if values else "not recorded"
    pairs = [f"{name} {value}" for name, value in values.items() if value is not None and name != leave_out]
    return ", ".join(pairs) or "not recorded"
