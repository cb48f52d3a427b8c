"""The tables of an evaluation report, the same for the page and for Markdown. Never imports torch."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ligandsmith.evaluation.report.results import Results

FAILURES_LISTED = 200
COMPARE_WITH_CARE = (
    "Published rows are copied from the sources named, not computed here: tool versions, preparation of the protein, "
    "number of molecules and the population that each mean is taken over differ between papers."
)
LABELS = {
    "qed": "QED",
    "sa": "SA score",
    "sa_normalised": "SA, normalised",
    "logp": "logP",
    "pb_valid": "PoseBusters-valid",
    "pb_valid_of_requested": "PoseBusters-valid, of requested",
    "valid_connected": "valid and connected",
    "rmsd": "RMSD",
}
STAGES = {"posebusters": "PoseBusters-valid"}


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading. `bars`: a share in 0 to 1 for each row, drawn on the page only."""

    heading: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    bars: Sequence[float | None] = ()
    strong: int | None = None  # the row that is the reader's own
    numeric: tuple[str, ...] = ()  # columns that stand right on the page


def label(name: str) -> str:
    """What a metric is called on the page."""
    if name in LABELS:
        return LABELS[name]
    return re.sub(r"^vina\b", "Vina", name.replace("_", " "))


def number(value: Any, unit: str = "") -> str:
    """Three figures, or a percentage for a fraction; a dash for what is missing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if unit == "fraction":
        return f"{100 * value:.1f} %"
    if isinstance(value, int) or value == 0:
        return str(int(value))
    size = abs(value)
    if size < 0.0005:
        return f"{value:.0e}".replace("-", "−")
    digits = 3 if size < 1 else 2 if size < 10 else 1 if size < 1000 else 0
    return f"{value:.{digits}f}".replace("-", "−")


def interval(entry: Mapping[str, Any], unit: str = "") -> str:
    """'low to high', or a dash."""
    if entry.get("low") is None or entry.get("high") is None:
        return "–"
    if unit == "fraction":
        return f"{100 * entry['low']:.1f} to {100 * entry['high']:.1f} %"
    return f"{number(entry['low'], unit)} to {number(entry['high'], unit)}"


def was_run(entry: Mapping[str, Any] | None) -> bool:
    """Whether a part of the summary has results."""
    return bool(entry) and (entry or {}).get("status", "ok") == "ok"


def reasons(counts: Mapping[str, Any] | None) -> str:
    """'12 valence, 3 no atoms', most frequent first."""
    items = sorted((counts or {}).items(), key=lambda item: -_count(item[1]))
    return ", ".join(f"{count} {reason}" for reason, count in items if count)


def _count(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def metrics_table(results: Results) -> Table:
    """Every metric with interval, n of its population and the reference's value."""
    rows = []
    reference = results.summary.get("reference") or {}
    for name, entry in (results.summary.get("metrics") or {}).items():
        unit = str(entry.get("unit") or "")
        better = {"higher": "↑ higher", "lower": "↓ lower"}.get(str(entry.get("better")), "")
        if not was_run(entry):
            cause = f"{entry['status']} ({entry.get('meaning') or ''})"
            rows.append((label(name), "–", "–", "–", "–", number(reference.get(name), unit), better, cause))
            continue
        unit_text = "" if unit in ("", "fraction") else f" {unit}"
        failures = entry.get("failures")
        size = f"{entry.get('n', 0)} of {entry.get('population_size', '?')} {entry.get('population', '')}"
        rows.append(
            (
                label(name),
                number(entry.get("mean"), unit) + unit_text,
                interval(entry, unit),
                number(entry.get("median"), unit),
                size + (f", {failures} failed" if failures else ""),
                number(reference.get(name), unit),
                better,
                str(entry.get("meaning") or ""),
            )
        )
    columns = ("Metric", "Mean", "95 % interval", "Median", "n", "Reference ligands", "Better", "Meaning")
    note = "n: molecules with a value, of the population that the mean is over."
    return Table("Metrics", columns, rows, note, numeric=("Mean", "95 % interval", "Median", "Reference ligands"))


def funnel_table(results: Results) -> Table:
    """How many of the requested molecules remain after each stage and why the others do not."""
    stages = results.summary.get("funnel") or []
    total = next((s["n"] for s in stages if s.get("n")), None) or results.summary.get("requested") or 0
    rows, bars = [], []
    for stage in stages:
        name, n = STAGES.get(stage.get("stage"), str(stage.get("stage"))), stage.get("n")
        if n is None:
            rows.append((name, "–", "–", str(stage.get("status") or "not run")))
        else:
            rows.append((name, str(n), number(n / total if total else None, "fraction"), reasons(stage.get("lost"))))
        bars.append(n / total if n is not None and total else None)
    columns = ("Stage", "Left", "Of requested", "Lost, and why")
    return Table("From requested to usable", columns, rows, bars=bars, numeric=columns[1:3])


def checks_table(results: Results) -> Table:
    """PoseBusters' checks, worst first."""
    entry = results.summary.get("posebusters") or {"status": "not run"}
    if not was_run(entry):
        return Table("PoseBusters checks", (), [], note=str(entry.get("status")))
    checks = sorted((entry.get("checks") or {}).items(), key=lambda item: (_share(item[1]), item[0]))
    failed = [
        round((1 - check["mean"]) * check.get("n", 0)) if check.get("mean") is not None else None for _, check in checks
    ]
    rows = [
        (
            name.replace("_", " "),
            number(check.get("mean"), "fraction"),
            interval(check, "fraction"),
            number(fails),
            str(check.get("n", 0)),
            str(check.get("undecided", 0)),
        )
        for (name, check), fails in zip(checks, failed, strict=True)
    ]
    note = f"Suite '{entry.get('suite', '?')}'. Undecided: the check gave no answer for a molecule."
    columns = ("Check", "Pass", "95 % interval", "Failed", "n", "Undecided")
    bars = [check.get("mean") for _, check in checks]
    return Table("PoseBusters checks", columns, rows, note, bars, numeric=columns[1:])


def _share(check: Mapping[str, Any]) -> float:
    return 2.0 if check.get("mean") is None else float(check["mean"])


def geometry_table(results: Results) -> Table:
    """Jensen-Shannon distance of bond lengths, angles and torsions from the reference distribution."""
    entry = results.summary.get("distributions") or {"status": "not run"}
    heading = "Bond lengths, angles and torsions against the reference distribution"
    if not was_run(entry):
        return Table(heading, (), [], note=str(entry.get("status")))
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
    summary = results.summary
    published = [row for row in summary.get("published") or [] if isinstance(row, dict)]
    metrics = summary.get("metrics") or {}
    named = [str(c) for c in (summary.get("protocol") or {}).get("columns") or []]
    stated = [key for row in published for key in row if key not in ("method", "source")]
    columns = list(dict.fromkeys([*named, *stated]))

    def own(column: str) -> str:
        for name, statistic in ((column, "mean"), (column.removesuffix("_median"), "median")):
            if name in metrics and was_run(metrics[name]):
                return number(metrics[name].get(statistic))
        return "–"

    rows = [
        (str(row.get("method", "?")), *(number(row.get(c)) for c in columns), str(row.get("source", "")))
        for row in published
    ]
    rows.append(("this run", *(own(c) for c in columns), f"this report, {summary.get('requested', '?')} requested"))
    protocol = summary.get("protocol") or {}
    notes = [protocol.get(key) for key in ("differences", "note", "notes")]
    texts = [text for note in notes if note for text in (note if isinstance(note, list) else [note])]
    note = " ".join([COMPARE_WITH_CARE, *(str(text) for text in texts)]) if published else "No published rows given."
    heads = ("Method", *(label(c) for c in columns), "Source")
    return Table("Beside published methods", heads, rows, note, strong=len(rows) - 1, numeric=heads[1:-1])


def pockets_table(results: Results) -> Table:
    """Means of each pocket."""
    pockets = results.summary.get("pockets") or {}
    metrics = results.summary.get("metrics") or {}
    names = [name for name in metrics if any(values.get(name) is not None for values in pockets.values())]
    rows = [
        (pocket, *(number(values.get(n), str(metrics[n].get("unit") or "")) for n in names))
        for pocket, values in pockets.items()
    ]
    columns = ("Pocket", *(label(n) for n in names))
    return Table("Means by pocket", columns, rows, numeric=columns[1:])


def failures_table(results: Results) -> Table:
    """The requested molecules that are not there, with their reason."""
    failed = [row for row in results.rows if row.reason]
    rows = [(r.pocket, r.index, r.title, r.reason, r.detail) for r in failed[:FAILURES_LISTED]]
    note = ""
    if len(failed) > FAILURES_LISTED:
        note = f"The first {FAILURES_LISTED} of {len(failed)}; all are in per_molecule.csv."
    counts = reasons(results.summary.get("failures"))
    heading = f"Requested molecules that were not obtained ({len(failed)})"
    return Table(heading, ("Pocket", "Index", "Title", "Reason", "Detail"), rows, f"{note} {counts}".strip())


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
        others = {k: v for k, v in entry.items() if k != "pocket" and v is not None}
        rows.append((f"Input {entry.get('pocket', '')}".strip(), _pairs(others)))
    for pocket, entry in (summary.get("generation") or {}).items():
        rows.append((f"Generation {pocket}", _pairs(entry)))
    return Table("How this was made", ("What", "Value"), rows)


def _pairs(values: Any) -> str:
    if not isinstance(values, dict):
        return str(values) if values else "not recorded"
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None) or "not recorded"


def html_table(table: Table, css_class: str = "") -> str:
    """The table with its note; every text escaped."""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    if not table.rows:
        return note or '<p class="note">Nothing here.</p>'
    sides = [" class=num" if name in table.numeric else "" for name in table.columns]
    heads = [f'<th scope="col"{side}>{escape(name)}</th>' for name, side in zip(table.columns, sides, strict=True)]
    if table.bars:
        heads.append('<th scope="col" class="bar-head"><span class="hidden">share</span></th>')
    body = []
    for k, row in enumerate(table.rows):
        first, *others = (escape(str(cell)) for cell in row)
        cells = [f'<th scope="row">{first}</th>', *(f"<td{s}>{c}</td>" for c, s in zip(others, sides[1:], strict=True))]
        if table.bars:
            share = table.bars[k]
            width = 0.0 if share is None else 100 * min(max(share, 0.0), 1.0)
            cells.append(
                f'<td class="bar-cell"><i style="width:{width:.1f}%"></i></td>' if share is not None else "<td>"
            )
        body.append(f"<tr{' class=own' if k == table.strong else ''}>{''.join(cells)}</tr>")
    caption = f'<caption class="hidden">{escape(table.heading)}</caption>'
    head = f"<thead><tr>{''.join(heads)}</tr></thead>"
    frame = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.heading)}">'
    return f'{frame}<table class="{css_class}">{caption}{head}<tbody>{"".join(body)}</tbody></table></div>{note}'


def markdown_table(table: Table) -> str:
    """A section of Markdown in which no text of a molecule is markup."""
    lines = [f"## {markdown(table.heading)}", ""]
    if table.note:
        lines += [markdown(table.note), ""]
    if table.rows:
        lines += [_line(table.columns), "|" + " --- |" * len(table.columns)]
        lines += [_line([f"**{c}**" if k == table.strong else c for c in _cells(row)], False)
                  for k, row in enumerate(table.rows)]  # fmt: skip
        lines.append("")
    return "\n".join(lines)


def _cells(row: Iterable[str]) -> list[str]:
    return [markdown(str(cell)) for cell in row]


def _line(cells: Sequence[str], raw: bool = True) -> str:
    return "| " + " | ".join(_cells(cells) if raw else cells) + " |"


def markdown(text: str) -> str:
    """Text with everything escaped that Markdown or HTML would take as markup, on one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", plain)
