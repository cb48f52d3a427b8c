"""What an evaluation looks at: requested molecules of one pocket, the site, known molecules, answers of slow tools."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from rdkit import Chem

from ligandsmith.evaluation.tools.runner import Answer, Site

SAME_SIZE = 2  # heavy atoms more or fewer than the reference

Population = Literal["requested", "valid", "connected", "size-matched"]


class NotRun(Exception):
    """A metric has no values at all: its input or its tool is missing. The text says which."""


@dataclass(frozen=True)
class Sample:
    """One requested molecule: heavy-atom molecule with coordinates, or the reason why there is none."""

    index: int
    mol: Chem.Mol | None
    reason: str = ""
    detail: str = ""
    title: str = ""

    @cached_property
    def connected(self) -> bool:
        """Valid and of one fragment."""
        return self.mol is not None and len(Chem.GetMolFrags(self.mol)) == 1

    @cached_property
    def flat_smiles(self) -> str:
        """Canonical SMILES without stereo: two poses or epimers of a molecule are one molecule."""
        return "" if self.mol is None else Chem.MolToSmiles(self.mol, isomericSmiles=False)


@dataclass(frozen=True)
class KnownMolecules:
    """What counts as not novel, compared without stereo."""

    smiles: frozenset[str] = frozenset()  # canonical, without stereo
    inchikeys: frozenset[str] = frozenset()  # first blocks, 14 letters


@dataclass(frozen=True)
class EvaluationInput:
    """Everything a metric may look at, for one pocket.

    `answers` holds, by tool, one answer for each sample, or why the tool was not run; a tool that is not there was not
    asked for. `reference_answers` has those for the reference ligand.
    """

    samples: tuple[Sample, ...]
    site: Site = field(default_factory=Site)
    known: KnownMolecules | None = None
    answers: Mapping[str, Sequence[Answer | None] | str] = field(default_factory=dict)
    reference_answers: Mapping[str, Answer | None] = field(default_factory=dict)
    seconds: float | None = None  # per requested molecule, of the generation

    def members(self, population: Population) -> list[bool]:
        """Whether a metric of this population asks each sample."""
        reference = self.site.reference
        size = math.inf if reference is None else reference.GetNumHeavyAtoms()
        belongs: dict[Population, Callable[[Any], bool]] = {
            "requested": lambda sample: True,
            "valid": lambda sample: sample.mol is not None,
            "connected": lambda sample: sample.connected,
            "size-matched": lambda sample: sample.connected and abs(sample.mol.GetNumHeavyAtoms() - size) <= SAME_SIZE,
        }
        return [belongs[population](sample) for sample in self.samples]

    def answered(self, tool: str) -> list[tuple[Sample, dict[str, Any]]]:
        """The samples for which a tool has an answer, with it."""
        found = self.answers.get(tool, "")
        answers = [] if isinstance(found, str) else zip(self.samples, found, strict=True)
        return [(sample, answer) for sample, answer in answers if isinstance(answer, dict)]

    def of_tool(self, tool: str) -> Sequence[Answer | None]:
        """The answers of a tool; raises NotRun with the cause if there are none."""
        found = self.answers.get(tool, "not asked for")
        if isinstance(found, str):
            raise NotRun(found)
        return found
