"""Which of several ligands is wanted more, in milliseconds: the user's objectives, as far as no slow tool is needed.

Our own form of Vina's function stands for Vina's scores.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem, rdBase

from ligandsmith.chem.surroundings import protein_of
from ligandsmith.chem.vina import VinaReceptor, receptor_of, vina_score
from ligandsmith.design.objectives import PER_ATOM, SIMILARITY, Objective, metric_values, tools_for
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.input import EvaluationInput, Sample
from ligandsmith.evaluation.statistics import Value
from ligandsmith.evaluation.tools.runner import Site
from ligandsmith.records import Pocket

VINA = ("vina_score", "vina_min", "vina_dock")


class ObjectivePreference(NamedTuple):
    """The objectives at one site."""

    objectives: tuple[Objective, ...]
    site: Site
    receptor: VinaReceptor

    @classmethod
    def at(cls, pocket: Pocket, objectives: Sequence[Objective]) -> "ObjectivePreference":
        """In a pocket, without a reference ligand."""
        receptor = receptor_of(pocket, np.zeros(3, np.float32), torch.device("cpu"))
        return cls(tuple(objectives), Site(protein=protein_of(pocket)), receptor)

    def of(self, mol: Chem.Mol) -> float:
        """The weighted sum of a ligand of heavy atoms with a conformer; more is better."""
        with rdBase.BlockLogs():
            found = metric_values(self.objectives, EvaluationInput((Sample(0, mol),), self.site))
        return estimated_score(mol, self.objectives, {name: values[0] for name, values in found.items()}, self.receptor)


def estimated_score(
    mol: Chem.Mol, objectives: Sequence[Objective], values: Mapping[str, Value], receptor: VinaReceptor
) -> float:
    """The weighted sum of known values, with our own Vina score in place of Vina's; what is not known adds nothing."""
    total, own = 0.0, None
    for objective in objectives:
        value = values.get(objective.name)
        if value is None and objective.metric in VINA:
            own = vina_score(mol, receptor) if own is None else own
            value = own / mol.GetNumAtoms() if objective.name.endswith(PER_ATOM) else own
        total += 0.0 if value is None else objective.utility(value)
    return total


def require_quick(objectives: Sequence[Objective]) -> None:
    """Raise LigandsmithError for an objective that cannot be had of every candidate."""
    for objective in objectives:
        slow = [] if objective.metric in VINA else list(tools_for([objective]))
        if objective.name == SIMILARITY:
            raise LigandsmithError("--objective similarity: generate starts from no ligand; use optimise or analogues")
        if slow:
            raise LigandsmithError(
                f"--objective {objective.name}: needs the tool {slow[0]}, which is too slow for every candidate; "
                "use optimise, or generate more and rank them by it"
            )
