"""How a ligand of an optimisation came about: from the start through its parents. Never imports torch."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor, rdFMCS

from ligandsmith.evaluation.report.depiction import draw
from ligandsmith.evaluation.report.optimisation import ListedLigand, ListedObjective, Optimisation
from ligandsmith.evaluation.report.rendering import label, number

MCS_SECONDS = 2  # for the common substructure of two ligands; what was found until then counts
ALL_SECONDS = 30.0  # for all of a page; later ones are drawn without marks
MOST_STEPS = 30  # of a path; of a longer one the start and the end


@dataclass(frozen=True)
class Change:
    """A value of a ligand, and its difference from that of the parent: `better` is None without one."""

    name: str
    value: str
    difference: str = ""
    better: bool | None = None


@dataclass(frozen=True)
class Step:
    """A ligand on the way. `other`: the second parent of a crossover."""

    ligand: ListedLigand
    picture: str
    changes: list[Change]
    new: int | None = None  # atoms that the parent does not have
    gone: int | None = None  # atoms that only the parent has
    other: int | None = None
    other_picture: str = ""


@dataclass(frozen=True)
class Path:
    """The steps from the start to a chosen ligand; so many are left out after the first one."""

    rank: int
    steps: Sequence[Step]
    left_out: int = 0

    @property
    def ligand(self) -> ListedLigand:
        """The chosen one."""
        return self.steps[-1].ligand

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        return sum(len(step.picture) + len(step.other_picture) for step in self.steps)


def ancestors(run: Optimisation, index: int) -> list[ListedLigand]:
    """A ligand and those that it was made from, the first one first; of two parents, the first counts."""
    line = [run.ligands[index]]
    while line[-1].parents:
        line.append(run.ligands[line[-1].parents[0]])
    return line[::-1]


class Album:
    """Pictures of ligands: each is laid out like its parent, as far as they agree, and drawn once."""

    def __init__(self, run: Optimisation) -> None:
        self.run = run
        self._flat: dict[int, Chem.Mol | None] = {}
        self._steps: dict[int, Step] = {}
        self._until = time.monotonic() + ALL_SECONDS

    def paths(self) -> Iterator[Path]:
        """Of the chosen ligands, best first."""
        for rank, index in enumerate(self.run.chosen, 1):
            line = ancestors(self.run, index)
            left_out = max(len(line) - MOST_STEPS, 0)
            yield Path(rank, [self._step(ligand) for ligand in [line[0], *line[1 + left_out :]]], left_out)

    def _step(self, ligand: ListedLigand) -> Step:
        if ligand.index not in self._steps:
            self._steps[ligand.index] = self._made(ligand)
        return self._steps[ligand.index]

    def _mol(self, ligand: ListedLigand) -> Chem.Mol | None:
        if ligand.index not in self._flat:
            self._flat[ligand.index] = _flat(ligand)
        return self._flat[ligand.index]

    def _made(self, ligand: ListedLigand) -> Step:
        mol = self._mol(ligand)
        parent = self.run.ligands[ligand.parents[0]] if ligand.parents else None
        changes = changes_of(ligand, parent, self.run.objectives)
        before = None if parent is None else self._mol(parent)
        if mol is None or before is None or time.monotonic() > self._until:
            return Step(ligand, _picture(mol), changes)
        same = _common(before, mol)
        new = sorted(set(range(mol.GetNumAtoms())) - set(same.values()))
        _lay_out(mol, before, same)
        other = ligand.parents[1] if len(ligand.parents) > 1 else None
        return Step(
            ligand, _picture(mol, new), changes, len(new), before.GetNumAtoms() - len(same), other,
            "" if other is None else _picture(self._mol(self.run.ligands[other])),
        )  # fmt: skip


def changes_of(
    ligand: ListedLigand, parent: ListedLigand | None, objectives: Sequence[ListedObjective]
) -> list[Change]:
    """Each objective and the score, beside those of the parent."""
    before = None if parent is None else parent.score
    changes = [_change("score", ligand.score, before, higher=True)]
    for objective in objectives:
        before = None if parent is None else parent.values[objective.name]
        changes.append(_change(objective.name, ligand.values[objective.name], before, objective.higher))
    return changes


def _change(name: str, value: float | None, before: float | None, higher: bool) -> Change:
    if value is None or before is None:
        return Change(label(name), number(value))
    difference = value - before
    text = ("+" if difference > 0 else "") + number(difference)
    return Change(label(name), number(value), text, None if not difference else (difference > 0) == higher)


def _flat(ligand: ListedLigand) -> Chem.Mol | None:
    """With 2D coordinates; None where RDKit refuses the SMILES."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(ligand.smiles) if ligand.smiles else None
    if mol is not None:
        rdDepictor.Compute2DCoords(mol)
    return mol


def _common(first: Chem.Mol, second: Chem.Mol) -> dict[int, int]:
    """Atoms of the first molecule to those of the second, in the maximum common substructure."""
    found = rdFMCS.FindMCS([first, second], timeout=MCS_SECONDS, ringMatchesRingOnly=True, completeRingsOnly=True)
    pattern = Chem.MolFromSmarts(found.smartsString) if found.numAtoms else None
    if pattern is None:
        return {}
    return dict(zip(first.GetSubstructMatch(pattern), second.GetSubstructMatch(pattern), strict=False))


def _lay_out(mol: Chem.Mol, like: Chem.Mol, same: dict[int, int]) -> None:
    """Keep the places of the atoms that both have, where that gives a drawing."""
    if len(same) < 3:
        return
    places = list(same.items())
    try:
        rdDepictor.GenerateDepictionMatching2DStructure(mol, like, places)
    except (ValueError, RuntimeError):
        rdDepictor.Compute2DCoords(mol)


def _picture(mol: Chem.Mol | None, new: Sequence[int] = ()) -> str:
    return "" if mol is None else draw(mol, new)
