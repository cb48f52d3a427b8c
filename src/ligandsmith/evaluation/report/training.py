"""The page of a training run: loss curves and the report cards of its VAEs. Never imports torch.

Reads what the trainer leaves in a run folder: `NAME_history.json` (a row for each epoch) and, where they were
written, `NAME_report_card.json`: the fields of `training.report_card.ReportCard`, or a list of such
cards for several noise levels, each perhaps with `kl_per_dimension` (nats per atom).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report.plots import Figure, Points, curves
from ligandsmith.evaluation.report.rendering import number, render
from ligandsmith.evaluation.report.results import read_json
from ligandsmith.evaluation.report.tables import Table
from ligandsmith.files import held_alone, refuse_other, write_text

PAGE, TITLE = "training.html", "<title>Training run</title>"
LOGARITHMIC = 30.0  # largest over smallest value from which the scale is logarithmic


def training_report(run_dir: Path, overwrite: bool = False) -> Path:
    """Write `training.html` into a run folder; returns its path. Raises LigandsmithError without a history to read, or
    for a file of that name that was not made here (which `overwrite` replaces)."""
    run_dir = Path(run_dir)
    histories = sorted(run_dir.glob("*_history.json"))
    if not histories:
        raise LigandsmithError(f"no *_history.json in {run_dir}; give the folder of a training run")
    page = render(
        "training.html",
        name=run_dir.resolve().name,
        histories=[_history(path) for path in histories],
        reports=[_report_card(path) for path in sorted(run_dir.glob("*_report_card.json"))],
    )
    path = run_dir / PAGE
    with held_alone(run_dir):
        made_here = path.is_file() and TITLE in path.read_text(encoding="utf-8", errors="replace")
        refuse_other(run_dir, [PAGE], [] if made_here else None, overwrite, "rename it")
        write_text(path, page + "\n")
    return path


def _history(path: Path) -> dict[str, Any]:
    """What training.html says of one history."""
    rows = read_json(path, "train-…")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "epoch" in row for row in rows):
        raise LigandsmithError(f"cannot use {path}: not a list of epochs; was it written by a training run?")
    test = _points(rows, "test_loss")
    terms = [{"epoch": row["epoch"], **(row.get("test_terms") or {})} for row in rows]
    names = [name for name in dict.fromkeys(name for row in terms for name in row) if name not in ("epoch", "total")]
    return {
        "name": path.name.removesuffix("_history.json").replace("_", " "),
        "epochs": len(rows),
        "steps": rows[-1].get("step", "?") if rows else 0,
        "best": min(test, key=lambda point: point[1], default=None),
        "figures": [
            _figure("Loss", {"train": _points(rows, "train_loss"), "test": test}),
            *(_figure(name.replace("_", " "), {"test": _points(terms, name)}) for name in names),
        ],
    }


def _points(rows: Sequence[Mapping[str, Any]], key: str) -> Points:
    pairs = [(row["epoch"], row.get(key)) for row in rows]
    return [(float(x), float(y)) for x, y in pairs if isinstance(x, int | float) and isinstance(y, int | float)]


def _figure(title: str, series: Mapping[str, Points]) -> Figure:
    series = {name: points for name, points in series.items() if points}
    if not series:
        return Figure(title)
    values = [y for points in series.values() for _, y in points]
    logarithmic = min(values) > 0 and max(values) / min(values) > LOGARITHMIC
    keys = [(name, f"{name} {number(points[-1][1])}") for name, points in series.items()]
    description = f"{title} against the epoch; last: {', '.join(text for _, text in keys)}"
    return Figure(title, "log scale" if logarithmic else "", curves(series, logarithmic, description), keys)


def _report_card(path: Path) -> dict[str, Any]:
    content = read_json(path, "train-vae")
    cards = content if isinstance(content, list) else [content]
    if not cards or not all(isinstance(card, dict) for card in cards):
        raise LigandsmithError(f"cannot use {path}: not a report card or a list of them")
    heading = f"Report card of {path.name.removesuffix('_report_card.json').replace('_', ' ')} on held-out ligands"
    spread = cards[0].get("kl_per_dimension")
    if not (isinstance(spread, list) and spread and all(isinstance(v, int | float) for v in spread)):
        return {"heading": heading, "cards": cards, "spread": None}
    columns, rows = ("Dimension", "KL (nats per atom)"), [(str(k), number(float(v))) for k, v in enumerate(spread)]
    bars = [v / max(*spread, 1e-9) for v in spread]
    table = Table("KL of each latent dimension", columns, rows, bars=bars, numeric=columns[1:])
    return {"heading": heading, "cards": cards, "spread": table}
