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

This page is written by `make docs` from the registry `METRICS` in `src/ligandsmith/evaluation/metrics.py`. Do not edit
it by hand. [What each number means](concepts/numbers.md) explains which values are good.

`ligandsmith evaluate` gives every metric as a mean with its {CONFIDENCE:g} % bootstrap interval, the number n of
molecules that have a value, and the size of its population. With several pockets the bootstrap draws pockets, then
molecules within them.

A molecule without a value is counted as a failure. It is never counted as 0 and never omitted without notice. A metric
whose input is missing (no protein, no list of known molecules, PoseBusters not installed) is reported as "not run" with
the cause.

| population | molecules |
| --- | --- |
| `requested` | all requested molecules, including those that could not be built |
| `valid` | those that RDKit accepts |
| `connected` | valid molecules of one fragment |
| `size-matched` | connected molecules within 2 heavy atoms of the reference |

{table}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
