"""Regenerate tests/golden/evaluation.json: every metric of the ligands of the example complexes, in their pockets.

Run it after a change that is meant to move a value, read the difference, and name it in CHANGELOG.md.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.protocols import adapted

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "evaluation.json"
NAMES = ("3ln1", "7off", "7sza")


def golden() -> dict[str, dict[str, Any]]:
    """Rows of the evaluation by pocket; Vina docks at exhaustiveness 1."""
    lines = ["pocket,ligands,protein,reference"]
    for name in NAMES:
        place = ROOT / "examples" / "complexes" / name
        lines.append(f"{name},{place}/ligand.sdf,{place}/protein.pdb.gz,{place}/ligand.sdf")
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "manifest.csv"
        manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
        protocol = adapted("quick", dock=True, exhaustiveness=1, seed=0)
        evaluation = evaluate(manifest, novelty=["CCO"], options=EvaluationOptions(protocol))
    return {
        str(row["pocket"]): {k: v for k, v in row.items() if k not in ("pocket", "detail")} for row in evaluation.rows
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n", encoding="utf-8")
