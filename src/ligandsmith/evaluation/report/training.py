"""The page of a training run: loss curves and the report cards of its VAEs. Never imports torch.

Reads what the trainer leaves in a run folder: `NAME_history.json` (a row for each epoch) and, where they were
written, `NAME_report_card.json`: the fields of `training.report_card.ReportCard`, or a list of such
cards for several noise levels, each perhaps with `kl_per_dimension` (nats per atom).
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report.depiction import ticks
from ligandsmith.evaluation.report.page import asset, write_whole
from ligandsmith.evaluation.report.results import read_json
from ligandsmith.evaluation.report.tables import Table, html_table, number

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 150, 54, 126, 8
LOGARITHMIC = 30.0  # largest over smallest value from which the scale is logarithmic
MOST_POINTS = 400  # of a curve; longer ones are thinned
CARD_ROWS = (  # field, text, unit
    ("molecules", "Molecules", ""),
    ("noise_x", "Noise on positions (Å per axis)", ""),
    ("noise_h", "Noise on features (s.d.)", ""),
    ("element", "Element right", "fraction"),
    ("charge", "Charge right", "fraction"),
    ("num_h", "Hydrogen count right", "fraction"),
    ("bond_recall", "Bonds found with the right order", "fraction"),
    ("false_bonds", "Bonds that are not there, per real bond", "fraction"),
    ("exact_graph", "Exact graph", "fraction"),
    ("rmsd_in", "RMSD of the input (Å)", ""),
    ("rmsd_out", "RMSD of the output (Å)", ""),
    ("bond_error_in", "Bond length error of the input (Å)", ""),
    ("bond_error_out", "Bond length error of the output (Å)", ""),
    ("kl", "KL (nats per atom)", ""),
    ("active_dimensions", "Active latent dimensions (KL above 0.1 nats)", ""),
)
Points = list[tuple[float, float]]


def training_report(run_dir: Path) -> Path:
    """Write `training.html` into a run folder; returns its path. Raises LigandsmithError without a history to read."""
    run_dir = Path(run_dir)
    histories = sorted(run_dir.glob("*_history.json"))
    if not histories:
        raise LigandsmithError(f"no *_history.json in {run_dir}; give the folder of a training run")
    body = [_history_section(path) for path in histories]
    body += [_card_section(path) for path in sorted(run_dir.glob("*_report_card.json"))]
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>Training run</title><style>{asset('report.css')}</style></head><body>"
        f"<header><h1>Training run</h1><p>{escape(run_dir.resolve().name)}</p></header>"
        f"<main>{''.join(body)}</main></body></html>\n"
    )
    path = run_dir / "training.html"
    write_whole(path, page)
    return path


def _history_section(path: Path) -> str:
    rows = read_json(path, "train-…")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "epoch" in row for row in rows):
        raise LigandsmithError(f"cannot use {path}: not a list of epochs; was it written by a training run?")
    name = path.name.removesuffix("_history.json").replace("_", " ")
    if not rows:
        return f'<section><h2>{escape(name)}</h2><p class="note">No epoch has ended yet.</p></section>'
    train, test = _points(rows, "train_loss"), _points(rows, "test_loss")
    figures = [_figure("Loss", {"train": train, "test": test})]
    for term in dict.fromkeys(term for row in rows for term in row.get("test_terms") or {}):
        if term != "total":
            flat = [{"epoch": row["epoch"], "value": (row.get("test_terms") or {}).get(term)} for row in rows]
            figures.append(_figure(term.replace("_", " "), {"test": _points(flat, "value")}))
    best = min(test, key=lambda point: point[1], default=None)
    told = f"{len(rows)} epochs, {rows[-1].get('step', '?')} steps."
    if best is not None:
        told += f" Best test loss {number(best[1])} in epoch {best[0]:g}."
    note = f"{told} Test is the validation split; its terms are drawn without their weights."
    return (
        f'<section><h2>{escape(name)}</h2><p class="note">{escape(note)}</p>'
        f'<div class="plots">{"".join(figures)}</div></section>'
    )


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> Points:
    pairs = [(row["epoch"], row.get(key)) for row in rows]
    return [(float(x), float(y)) for x, y in pairs if isinstance(x, int | float) and isinstance(y, int | float)]


def _figure(title: str, curves: Mapping[str, Points]) -> str:
    values = [y for points in curves.values() for _, y in points]
    if not values:
        return f'<figure><figcaption><b>{escape(title)}</b></figcaption><p class="note">No finite value.</p></figure>'
    logarithmic = min(values) > 0 and max(values) / min(values) > LOGARITHMIC
    last = ", ".join(f"{name} {number(points[-1][1])}" for name, points in curves.items() if points)
    keys = "".join(f'<span><i class="key {n}"></i>{n} {number(p[-1][1])}</span>' for n, p in curves.items() if p)
    scale = " <span>log scale</span>" if logarithmic else ""
    name = f"{title} against the epoch; last: {last}"
    return (
        f"<figure><figcaption><b>{escape(title)}</b>{scale}</figcaption>{_curves(curves, logarithmic, name)}"
        f"<p class=keys>{keys}</p></figure>"
    )


def _curves(curves: Mapping[str, Points], logarithmic: bool, name: str) -> str:
    """Lines against the epoch as SVG; on a logarithmic scale all values are positive."""

    def scaled(value: float) -> float:
        return math.log10(value) if logarithmic else value

    xs = [x for points in curves.values() for x, _ in points]
    ys = [scaled(y) for points in curves.values() for _, y in points]
    x_low, x_high, y_low, y_high = min(xs), max(xs), min(ys), max(ys)
    x_span, y_span = (x_high - x_low) or 1.0, (y_high - y_low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / x_span * (WIDTH - LEFT - 10)
        return round(across, 1), round(BOTTOM - (y - y_low) / y_span * (BOTTOM - TOP), 1)

    parts = [f'<path class="axis" fill="none" d="M{LEFT},{TOP}V{BOTTOM}H{WIDTH - 10}"/>']
    for tick in _decades(y_low, y_high) if logarithmic else ticks(y_low, y_high):
        _, y = place(x_low, tick)
        text = f"{10**tick:.1g}" if logarithmic else f"{tick:g}"
        parts.append(f'<text x="{LEFT - 4}" y="{y + 4}" text-anchor="end">{text.replace("-", "−")}</text>')
    for tick in (t for t in ticks(x_low, x_high) if t.is_integer()):
        parts.append(f'<text x="{place(tick, y_low)[0]}" y="{BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    for kind, points in curves.items():
        step = max(1, math.ceil(len(points) / MOST_POINTS))
        kept = [*points[::step], *points[-1:]]
        shape = "L".join(f"{x},{y}" for x, y in (place(x, scaled(y)) for x, y in kept))
        parts.append(f'<path class="curve {kind}" d="M{shape}"/>')
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">'
    return f"{head}{''.join(parts)}</svg>"


def _decades(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2 and 5 times powers of ten between two logarithms; of fewer powers where that is crowded."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for factors, step in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 5)):
        found = [k + math.log10(f) for k in powers if k % step == 0 for f in factors]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= 6:
            break
    return found


def _card_section(path: Path) -> str:
    content = read_json(path, "train-vae")
    cards = content if isinstance(content, list) else [content]
    if not cards or not all(isinstance(card, dict) for card in cards):
        raise LigandsmithError(f"cannot use {path}: not a report card or a list of them")
    heads = ["Measure", *(f"noise {number(card.get('noise_x'))} Å" for card in cards)]
    rows = [
        (text, *(number(card.get(key), unit) for card in cards))
        for key, text, unit in CARD_ROWS
        if any(key in card for card in cards)
    ]
    name = path.name.removesuffix("_report_card.json").replace("_", " ")
    title = f"Report card of {name} on held-out ligands"
    columns = tuple(heads)
    parts = [f"<section><h2>{escape(title)}</h2>", html_table(Table(title, columns, rows, numeric=columns[1:]))]
    spread = cards[0].get("kl_per_dimension")
    if isinstance(spread, list) and spread and all(isinstance(v, int | float) for v in spread):
        largest = max([*spread, 1e-9])
        table = Table(
            "KL of each latent dimension",
            ("Dimension", "KL (nats per atom)"),
            [(str(k), number(float(v))) for k, v in enumerate(spread)],
            bars=[v / largest for v in spread],
            numeric=("KL (nats per atom)",),
        )
        parts.append(f"<h3>{table.heading}</h3>{html_table(table)}")
    return "".join([*parts, "</section>"])
