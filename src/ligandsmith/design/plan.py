"""What an optimisation is asked for."""

import re
from dataclasses import dataclass
from typing import Any

from rdkit import Chem

from ligandsmith.chem.fragment import Fragment
from ligandsmith.design.objectives import Objective
from ligandsmith.design.scoring import Scoring
from ligandsmith.errors import LigandsmithError
from ligandsmith.options import GenerationOptions
from ligandsmith.records import Pocket

ROUND_SIZE = 24  # proposals
BUDGET = re.compile(r"(\d+)\s*(min|h|)")


@dataclass(frozen=True)
class Budget:
    """How long to go on: a number of ligands that are sampled, or minutes."""

    ligands: int | None = None
    minutes: float | None = None

    def spent(self, ligands: int, seconds: float) -> bool:
        """Whether it is used up."""
        return ligands >= self.ligands if self.ligands is not None else seconds >= 60 * (self.minutes or 0)

    def next_round(self, ligands: int) -> int:
        """Number of proposals of the next round."""
        return ROUND_SIZE if self.ligands is None else min(ROUND_SIZE, self.ligands - ligands)


def parse_budget(text: str | int) -> Budget:
    """`500` ligands, `10min` or `2h`. Raises LigandsmithError."""
    match = BUDGET.fullmatch(str(text).strip())
    if match is None or not 1 <= int(match[1]) <= 10**9:
        raise LigandsmithError(
            f"--budget {text}: give a number of ligands from 1, or minutes as in 10min, hours as in 2h"
        )
    number = int(match[1])
    return Budget(number) if not match[2] else Budget(minutes=number * (60.0 if match[2] == "h" else 1.0))


@dataclass(frozen=True)
class Plan:
    """An optimisation: what is asked for, in a pocket."""

    pocket: Pocket
    starts: tuple[Chem.Mol, ...]  # heavy atoms, those of the fragment to keep first
    scoring: Scoring
    options: GenerationOptions  # how ligands are sampled
    budget: Budget
    num: int = 20  # ligands of the result, at most
    moves: tuple[str, ...] = ()  # only these, by their first words; none: all
    pareto: bool = False  # selection by Pareto front, not by the weighted sum
    checkpoint: str = "small"
    device: str = "cpu"
    workers: int = 1
    engine: str = "local"
    notes: tuple[tuple[str, Any], ...] = ()  # for the record of the run
    adapter: str | None = None  # of the checkpoint

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What for."""
        return self.scoring.objectives

    @property
    def keep(self) -> Fragment | None:
        """What all ligands contain."""
        return self.options.fix if isinstance(self.options.fix, Fragment) else None
