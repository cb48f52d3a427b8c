"""The folder of a small optimisation, as `ligandsmith optimise` writes it."""

from pathlib import Path
from typing import Any

import pytest

import ligandsmith
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.pocket import read_pocket

SITE = Path(__file__).parents[2] / "examples/complexes/7sza"
BUDGET, ROUND = 18, 6


def optimised(out: Path) -> Path:
    """Three rounds of six ligands for three objectives."""
    pocket, _ = read_pocket(SITE / "protein.pdb.gz", SITE / "ligand.sdf")
    settings: dict[str, Any] = {"seed": 2, "checkpoint": "tiny", "steps": 8, "candidates": 1, "num": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ligandsmith.design.plan.ROUND_SIZE", ROUND)
        hit = read_ligand(SITE / "ligand.sdf")
        ligandsmith.optimise(pocket, hit, "qed, -logp:0.5, sa:0.3", BUDGET, out=out, **settings)
    return out
