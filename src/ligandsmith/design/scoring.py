"""Scores in stages: what is cheap for every ligand, slow tools for the promising ones, PoseBusters for the best.

A ligand that falls out of a stage has the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem, DataStructs, rdBase

from ligandsmith.chem.plausibility import PocketAtoms, find_defects
from ligandsmith.chem.vina import receptor_of
from ligandsmith.design.history import DIGITS, Row, morgan_fingerprint
from ligandsmith.design.objectives import SIMILARITY, Objective, metric_values, tools_for, weighted_sum
from ligandsmith.design.preference import estimated_score
from ligandsmith.design.scorers import Scorer
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.columns import pose_checks
from ligandsmith.evaluation.input import EvaluationInput, Sample
from ligandsmith.evaluation.statistics import Value
from ligandsmith.evaluation.tools.posebusters import PoseBustersTool
from ligandsmith.evaluation.tools.runner import Answer, Site, Tool, run_tool
from ligandsmith.evaluation.tools.toolbox import make_tools
from ligandsmith.records import GeneratedLigand, Pocket

IMPLAUSIBLE = 4.0  # defects; a ligand with more is not worth a slow score
SURVIVORS = 0.75  # of the ligands of a round
ANSWERS = "answers"  # folder of what the slow tools said


@dataclass(frozen=True)
class OpenedTool:
    """A tool that is set up once in this process, so that the processes that it forks have the set-up (Vina's maps)."""

    tool: Tool

    @property
    def name(self) -> str:
        """As the tool's."""
        return self.tool.name

    @property
    def seconds(self) -> float:
        """As the tool's."""
        return self.tool.seconds

    def missing(self, site: Site) -> str:
        """Why it cannot run at all."""
        return self.tool.missing(site)

    def settings(self) -> Mapping[str, Any]:
        """As the tool's."""
        return self.tool.settings()

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        """The function that answers for a molecule."""
        return _opened(self.tool, _Held(site, site.key()))  # type: ignore[arg-type] # tools are frozen


@dataclass(frozen=True)
class _Held:
    """A site that is compared by its key."""

    site: Site = field(compare=False)
    key: str


@lru_cache(maxsize=8)
def _opened(tool: Tool, held: _Held) -> Callable[[Chem.Mol], dict[str, Any]]:
    return tool.open(held.site)


@dataclass(frozen=True)
class Scoring:
    """How ligands are scored at a site."""

    objectives: tuple[Objective, ...]
    site: Site
    pocket: Pocket
    scorers: tuple[Scorer, ...] = ()
    starts: tuple[Chem.Mol, ...] = ()
    similarity: tuple[float, float] | None = None  # to the nearest of the starts
    folder: Path | None = None  # of the answers of tools
    workers: int = 1

    @cached_property
    def tools(self) -> list[Tool]:
        """The slow ones that the objectives need."""
        return [OpenedTool(tool) for tool in make_tools(tools_for(self.objectives), self.folder)]

    def require_tools(self) -> None:
        """Raise LigandsmithError if a tool is not installed or lacks something."""
        for tool in (*self.tools, PoseBustersTool()):
            if problem := tool.missing(self.site):
                raise LigandsmithError(f"{tool.name} cannot run: {problem}")

    def score_starts(self, rows: Sequence[Row]) -> None:
        """Set values and score of the ligands at the start, in their own poses, whatever they are."""
        self._cheap(rows)
        self._slow(rows)

    def score(self, rows: Sequence[Row]) -> None:
        """Set values and score of the rows with a molecule, or why they have none."""
        made = [row for row in rows if row.mol is not None and not row.reason]
        self._cheap(made)
        for row in made:
            self._refuse(row)
        survivors = self._survivors([row for row in made if not row.reason])
        self._slow(survivors)

    def _cheap(self, rows: Sequence[Row]) -> None:
        """Similarity, defects, metrics that need no tool, and the estimate of the rest."""
        for row in rows:
            ligand = GeneratedLigand(row.index, row.pose.GetNumAtoms(), row.pose, True, False, True)
            row.defects = round(find_defects(ligand, self._around).score, DIGITS)
            if self.starts:
                row.values[SIMILARITY] = round(self._similarity(row), DIGITS)
        self._metrics(rows, {})
        for row in rows:
            row.estimate = round(estimated_score(row.pose, self.objectives, row.values, self._receptor), DIGITS)

    def _refuse(self, row: Row) -> None:
        value = row.values.get(SIMILARITY)
        if self.similarity is not None and value is not None and not self.similarity[0] <= value <= self.similarity[1]:
            row.failed("similarity", f"{value:.2f} is not within {self.similarity[0]:g} to {self.similarity[1]:g}")
        elif (row.defects or 0.0) > IMPLAUSIBLE:
            row.failed("implausible", f"{row.defects:.1f} defects")

    @cached_property
    def _around(self) -> PocketAtoms:
        return PocketAtoms.of(self.pocket.x, self.pocket.element)

    @cached_property
    def _receptor(self) -> Any:
        return receptor_of(self.pocket, np.zeros(3, np.float32), torch.device("cpu"))

    @cached_property
    def _prints(self) -> list[DataStructs.ExplicitBitVect]:
        return [morgan_fingerprint(mol) for mol in self.starts]

    def _similarity(self, row: Row) -> float:
        return max(DataStructs.BulkTanimotoSimilarity(row.fingerprint, self._prints))

    def _survivors(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that promise most; the others get the reason."""
        if not self.tools and not self.scorers:
            return list(rows)
        order = sorted(rows, key=lambda row: (-(row.estimate or 0.0), row.index))
        count = -int(-SURVIVORS * len(order) // 1)
        for row in order[count:]:
            row.failed("not scored", f"estimate {row.estimate:.2f}, not among the best of its round")
        return sorted(order[:count], key=lambda row: row.index)

    def _answers(self, tool: Tool, rows: Sequence[Row]) -> Sequence[Answer | None]:
        mols = [row.mol for row in rows]
        if not mols:
            return []
        if isinstance(tool, OpenedTool) and not tool.missing(self.site):
            tool.open(self.site)
        folder = None if self.folder is None else self.folder / ANSWERS
        found = run_tool(tool, self.site, mols, folder, self.workers)
        return [found] * len(mols) if isinstance(found, str) else found

    def _slow(self, rows: Sequence[Row]) -> None:
        answers = {tool.name: self._answers(tool, rows) for tool in self.tools}
        self._metrics(rows, answers)
        for scorer in self.scorers:
            self._own(scorer, [row for row in rows if not row.reason])
        for number, row in enumerate(rows):
            if row.reason:
                continue
            row.score = weighted_sum(self.objectives, row.values)
            if row.score is not None:
                row.score = round(row.score, DIGITS)
                continue
            said = [answer[number] for answer in answers.values() if isinstance(answer[number], str)]
            lacking = next(o.name for o in self.objectives if row.values.get(o.name) is None)
            row.failed("no score", str(said[0]) if said else f"no value of {lacking}")

    def _own(self, scorer: Scorer, rows: Sequence[Row]) -> None:
        if scorer.name not in {objective.name for objective in self.objectives}:
            return
        for row, score in zip(rows, scorer([row.pose for row in rows]), strict=True):
            if isinstance(score, str):
                row.failed("scorer", score)
            else:
                row.values[scorer.name] = round(score, DIGITS)

    def _metrics(self, rows: Sequence[Row], answers: Mapping[str, Sequence[Answer | None]]) -> None:
        samples = tuple(Sample(row.index, row.mol) for row in rows)
        data = EvaluationInput(samples, self.site, answers=answers)
        with rdBase.BlockLogs():
            for name, values in metric_values(self.objectives, data).items():
                for row, value in zip(rows, values, strict=True):
                    row.values[name] = _rounded(value)

    def check(self, rows: Sequence[Row]) -> None:
        """Set `valid` of the rows that were not checked: whether they pass PoseBusters."""
        new = [row for row in rows if row.valid is None and row.mol is not None]
        if not new:
            return
        answers = self._answers(OpenedTool(PoseBustersTool()), new)
        samples = tuple(Sample(row.index, row.mol) for row in new)
        data = replace(EvaluationInput(samples, self.site), answers={"posebusters": answers})
        for row, value in zip(new, pose_checks()(data), strict=True):
            row.valid = value == 1.0


def _rounded(value: Value) -> Value:
    return None if value is None else round(value, DIGITS)
