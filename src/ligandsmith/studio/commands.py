"""From what a page asks for to the command lines that do it."""

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from rdkit import Chem, rdBase

from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.parallel.processes import usable_cores
from ligandsmith.studio.flags import MOST_FLAG_VALUES, flag_words
from ligandsmith.studio.jobs import SAMPLING, SCORING, JobStep, folder_name
from ligandsmith.studio.projects import Project

EVALUATION_TOOLS = ("posebusters", "vina")  # seconds for each molecule; the interactions of one are computed when asked
PROTOCOL = "quick"
MOST_WORKERS = 8  # processes that score molecules; each takes about half a gigabyte
PROTEIN, OUT = "--protein", "--out"
REFERENCE = "reference"


class Molecules(Protocol):
    """Where a task finds the molecules that it starts from."""

    def block(self, project: Project, id: str) -> str:
        """The mol block of a molecule. Raises LigandsmithError."""


class Scale(NamedTuple):
    """Where commands spread their work: how many processes, or Ray tasks at a time. 0: a process per core scores."""

    workers: int = 0
    engine: str = "local"

    def flags(self) -> list[str]:
        """What is not the default of the commands."""
        words = ["--workers", str(self.workers)] if self.workers > 1 else []
        return words + (["--engine", self.engine] if self.engine != "local" else [])


HERE = Scale()


@dataclass(frozen=True)
class JobPlan:
    """Steps of a job, and the files that they read, by path in the project's folder."""

    steps: tuple[JobStep, ...]
    files: Mapping[str, str] = field(default_factory=dict)


def shown(steps: Sequence[JobStep]) -> str:
    """The command lines as a user would type them in the project's folder."""
    return " && ".join(f"ligandsmith {shlex.join(step.argv)}" for step in steps)


def plan(
    project: Project, number: int, request: tuple[str, Mapping[str, Any]], molecules: Molecules, scale: Scale = HERE
) -> JobPlan:
    """The steps of a task with its fields for the job of a number. Raises LigandsmithError for what cannot be."""
    task, fields = request
    if task not in TASKS:
        raise LigandsmithError(f"there is no task '{shortened(task)}'; there are: {', '.join(TASKS)}")
    fields = {name: value for name, value in fields.items() if not _is_empty(value)}
    builder = _Builder(project, fields, molecules, scale)
    out = f"jobs/{folder_name(number, task)}"
    argv = TASKS[task](builder)
    if unknown := sorted(set(fields) - builder.used):
        raise LigandsmithError(f"the task {task} has no field '{shortened(unknown[0])}'")
    steps = [JobStep(SCORING, tuple(evaluation(project, f"{out}/ligands.sdf", out, scale)))]
    if argv:
        steps = [
            JobStep(SAMPLING, (*argv, OUT, out)),
            JobStep(SCORING, tuple(evaluation(project, out, scale=scale))),
        ]
    return JobPlan(tuple(steps), builder.files)


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value in ("", [])


def evaluation(project: Project, ligands: str, out: str = "", scale: Scale = HERE) -> list[str]:
    """The command that scores molecules."""
    argv = ["evaluate", ligands, PROTEIN, project.protein_path.name]
    argv += ["--ligand", project.site_ligand.name] if project.site_ligand else []
    argv += ["--tools", *EVALUATION_TOOLS]  # of the protocol that is the default
    argv += scale._replace(workers=scale.workers or min(usable_cores(), MOST_WORKERS)).flags()
    return argv + ([OUT, out] if out else [])


def site_flags(project: Project) -> list[str]:
    """The flags that name the site. Raises LigandsmithError without one."""
    site = project.site or {}
    if site.get("ligand"):
        return ["--ligand", project.ligand_path.name]
    return _site_without_ligand(site)


def _site_without_ligand(site: Mapping[str, Any]) -> list[str]:
    if site.get("het"):
        return ["--het", str(site["het"])]
    if site.get("residues"):
        return ["--residues", *map(str, site["residues"])]
    if site.get("center"):
        radius = ["--radius", f"{site['radius']:g}"] if site.get("radius") else []
        return [f"--center={','.join(f'{x:g}' for x in site['center'])}", *radius]
    raise LigandsmithError("choose the site first: a ligand, residues or a point")


class _Builder:
    """Flags from the fields of a request; remembers which fields were used and which files the command needs."""

    def __init__(self, project: Project, fields: Mapping[str, Any], molecules: Molecules, scale: Scale) -> None:
        self.project, self.fields, self.molecules, self.scale = project, fields, molecules, scale
        self.used: set[str] = set()
        self.files: dict[str, str] = {}

    def flags(self, *names: str) -> list[str]:
        """Those of the fields that were given."""
        words: list[str] = []
        for name in names:
            if name in self.fields:
                self.used.add(name)
                words += flag_words(name, self.fields[name])
        return words

    def sources(self, single: bool = True) -> list[str]:
        """The files of the molecules that the task starts from."""
        self.used.add("from")
        given = self.fields.get("from", REFERENCE)
        ids = given if isinstance(given, list) else [given]
        if not all(isinstance(id, str) for id in ids) or (single and len(ids) != 1) or len(ids) > MOST_FLAG_VALUES:
            raise LigandsmithError("'from' names one molecule, as in 3.12, or 'reference'")
        return [self._source(id) for id in ids]

    def _source(self, id: str) -> str:
        if id == REFERENCE:
            return self.project.ligand_path.name
        path = f"parts/{id}.sdf"
        self.files[path] = f"{self.molecules.block(self.project, id).rstrip()}\n$$$$\n"
        return path

    def kept(self) -> list[str]:
        """The flag --keep with a file of those atoms of the first molecule that are to stay."""
        numbers = self.atoms("keep", "--keep")
        if not numbers:
            return []
        id = self.fields.get("from", REFERENCE)
        id = id[0] if isinstance(id, list) and id else id
        path = f"parts/{id}.keep-{hashlib.sha256(numbers[1].encode()).hexdigest()[:8]}.sdf"
        kept = [int(number) for number in numbers[1].split(",")]
        self.files[path] = f"{_part(self.molecules.block(self.project, id), kept).rstrip()}\n$$$$\n"
        return ["--keep", path]

    def atoms(self, name: str, flag: str) -> list[str]:
        """A flag with numbers of atoms."""
        self.used.add(name)
        numbers = self.fields.get(name)
        if not numbers:
            return []
        if not isinstance(numbers, list) or not all(type(n) is int and 0 < n < 1000 for n in numbers):
            raise LigandsmithError(f"'{name}' is a list of numbers of atoms, from 1")
        return [flag, ",".join(map(str, sorted(set(numbers))))]


def _part(block: str, numbers: Sequence[int]) -> str:
    """The mol block of some heavy atoms of a molecule, by number from 1. Raises LigandsmithError."""
    mol = Chem.MolFromMolBlock(block, removeHs=False)
    if mol is None or max(numbers) > mol.GetNumAtoms():
        raise LigandsmithError(f"'keep' names atoms 1 to {0 if mol is None else mol.GetNumAtoms()} of the molecule")
    part = Chem.RWMol(mol)
    for index in reversed(range(mol.GetNumAtoms())):
        if index + 1 not in numbers or mol.GetAtomWithIdx(index).GetAtomicNum() == 1:
            part.RemoveAtom(index)
    for atom in part.GetAtoms():
        atom.SetNoImplicit(False)  # where a bond was cut, there are hydrogens
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(part)
    except (Chem.MolSanitizeException, ValueError):
        raise LigandsmithError("'keep' cuts an aromatic ring; name the whole ring") from None
    if not part.GetNumAtoms():
        raise LigandsmithError("'keep' names no heavy atom")
    return str(Chem.MolToMolBlock(part))


SAMPLING_FLAGS = ("candidates", "steps", "checkpoint", "add_hs")
DEMANDS = (
    "require", "exclude", "toward", "steer", "forbid", "require_smarts", "no_alerts", "rings", "charge",
    "chiral_centers_max", "qed", "sa", "logp",
)  # fmt: skip
FIRST = ("num", "num_atoms", "seed")


def _generate(builder: _Builder, *parts: str) -> list[str]:
    return [
        "generate", PROTEIN, builder.project.protein_path.name, *site_flags(builder.project), *parts,
        *builder.flags(*FIRST, "objective", *DEMANDS, *SAMPLING_FLAGS),
    ]  # fmt: skip


def _new(builder: _Builder) -> list[str]:
    return _generate(builder, *builder.flags("covalent", "warhead"))


def _grow(builder: _Builder) -> list[str]:
    return _generate(builder, "--fix", *builder.sources(), *builder.atoms("atoms", "--grow_from"))


def _replace(builder: _Builder) -> list[str]:
    parts = [*builder.sources(), *builder.atoms("atoms", "--atoms"), *builder.flags("smarts")]
    if len(parts) == 1:
        raise LigandsmithError("choose the atoms that are to be replaced")
    return _generate(builder, "--replace", *parts)


def _hop(builder: _Builder) -> list[str]:
    return _generate(builder, "--hop", *builder.sources())


def _decorate(builder: _Builder) -> list[str]:
    return _generate(builder, "--decorate", *builder.sources())


def _link(builder: _Builder) -> list[str]:
    sources = builder.sources(single=False)
    if len(sources) < 2:
        raise LigandsmithError("choose at least two molecules to link")
    return _generate(builder, "--fix", *sources)


def _optimise(builder: _Builder) -> list[str]:
    project, site = builder.project, builder.project.site or {}
    start = ["--ligand", *builder.sources(single=False)] if "from" in builder.fields or site.get("ligand") else []
    place = [] if site.get("ligand") else _site_without_ligand(site)
    return [
        "optimise", PROTEIN, project.protein_path.name, *start, *place,
        *builder.kept(), *builder.flags("objective", "budget", *FIRST, "similarity", "moves"),
        *builder.flags(*DEMANDS, *SAMPLING_FLAGS), *builder.scale.flags(),
    ]  # fmt: skip


def _analogues(builder: _Builder) -> list[str]:
    return [
        "analogues", *builder.sources(), PROTEIN, builder.project.protein_path.name,
        *builder.kept(), *builder.flags("similarity", "num", "seed", *DEMANDS, *SAMPLING_FLAGS),
    ]  # fmt: skip


def _import(builder: _Builder) -> list[str]:
    builder.used.update(("file", "name"))
    return []


TASKS: dict[str, Callable[[_Builder], list[str]]] = {
    "generate": _new, "grow": _grow, "replace": _replace, "hop": _hop, "decorate": _decorate, "link": _link,
    "optimise": _optimise, "analogues": _analogues, "import": _import,
}  # fmt: skip
