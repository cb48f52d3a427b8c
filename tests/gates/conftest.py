"""Gates write what they measured to docs/experiments/gates.json, from which gates.md is made."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "experiments"
Record = Callable[[str, str, dict[str, float | int | str]], None]


def write_page(results: dict[str, dict]) -> str:
    lines = [
        "# Gates", "", "Quality limits of the models, measured by `make gates` (this page is written by it).", "",
        "| gate | what | limit | measured |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, entry in sorted(results.items()):
        values = entry["measured"].items()
        measured = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values)
        lines.append(f"| {name} | {entry['what']} | {entry['limit']} | {measured} |")
    return "\n".join(lines) + "\n"


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """record(gate, limit, measured): call it before asserting, so that a failure is on the page too."""

    def write(gate: str, limit: str, measured: dict[str, float | int | str]) -> None:
        path = DOCS / "gates.json"
        results = json.loads(path.read_text()) if path.exists() else {}
        what = (request.function.__doc__ or "").strip().splitlines()[0]
        results[gate] = {"what": what, "limit": limit, "measured": measured}
        path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        (DOCS / "gates.md").write_text(write_page(results))

    return write
