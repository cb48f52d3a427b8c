"""Write docs/metrics.md from the registry of metrics, so that the page cannot fall behind the code."""

from pathlib import Path

from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.evaluation.statistics import CONFIDENCE

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"


def page() -> str:
    """The page as Markdown."""
    rows = [["name", "meaning", "unit", "better", "population"]]
    rows += [[f"`{m.name}`", m.meaning, m.unit or "-", m.better, m.population] for m in METRICS.values()]
    rows.insert(1, ["---"] * len(rows[0]))
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"""# Metrics

Written by `make docs` from the registry `METRICS` in `src/ligandsmith/evaluation/metrics.py`; do not edit by hand.

`ligandsmith evaluate` gives every metric as a mean with its {CONFIDENCE:g} % bootstrap interval, the number n
of molecules that have a value, and the size of its population. A molecule that has no value is counted as a
failure, never as 0 and never omitted without notice; a metric whose input is missing (no protein, no list of known
molecules, PoseBusters not installed) is reported as "not run" with the cause.

Populations: `requested` is every requested molecule, including those that could not be built; `valid`
those that RDKit sanitises; `connected` the valid ones of one fragment;
`size-matched` the connected ones within 2 heavy atoms of the reference.
With several pockets the intervals draw pockets, then molecules within them.

{table}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
