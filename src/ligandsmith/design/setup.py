"""From what the user asks for to the plan of an optimisation."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rdkit import Chem

from ligandsmith.chem.fragment import read_fragment
from ligandsmith.chem.protein import ProteinView, load_protein
from ligandsmith.chem.surroundings import protein_of
from ligandsmith.design.constraints import Constraints
from ligandsmith.design.hits import usable_hits
from ligandsmith.design.moves import MOVE_NAMES
from ligandsmith.design.objectives import SIMILARITY, Objective, parse_objectives
from ligandsmith.design.optimise import Optimiser
from ligandsmith.design.plan import Plan, parse_budget
from ligandsmith.design.preference import VINA
from ligandsmith.design.results import Result
from ligandsmith.design.rounds import generator_of
from ligandsmith.design.scorers import Scorer
from ligandsmith.design.scoring import Scoring
from ligandsmith.design.steering import SteeringConfig
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.tools.runner import Site
from ligandsmith.files import temporary_folder
from ligandsmith.generation.generator import LigandGenerator
from ligandsmith.options import GenerationOptions
from ligandsmith.records import Pocket

CANDIDATES = 3  # of each ligand, at most, where the user names no number: selection makes up for what they would give


@dataclass(frozen=True)
class OptimisationRequest:
    """What the user asks for. `keep`: see `chem.fragment.read_fragment`."""

    pocket: Pocket
    starts: tuple[Chem.Mol, ...] = ()  # heavy atoms, in the pocket
    objective: str = "vina_min, qed:0.5, sa:0.5"
    scorers: tuple[Scorer, ...] = ()
    budget: str | int = 300
    num: int = 20
    similarity: tuple[float, float] | None = None
    keep: Any = None
    protein: ProteinView | None = None  # None: the atoms of the pocket
    options: GenerationOptions = field(default_factory=GenerationOptions)
    steer: str = ""  # vina, none; empty: by what the objectives are
    moves: tuple[str, ...] = ()  # only these; none: all
    checkpoint: str = "small"
    device: str = "cpu"
    workers: int = 1
    engine: str = "local"
    notes: tuple[tuple[str, Any], ...] = ()
    adapter: str | None = None  # of the checkpoint, as `load` takes it


def plan_of(request: OptimisationRequest, out: Path) -> Plan:
    """The plan, once it is clear that it can be carried out. Raises LigandsmithError."""
    objectives = parse_objectives(request.objective, [scorer.name for scorer in request.scorers])
    budget = parse_budget(request.budget)
    generator = generator_of(request.checkpoint, request.device, request.adapter)
    options = _options(request, objectives, generator)
    starts = usable_hits(request.starts, request.pocket, options.fix, generator.vocabulary.ligand_elements)
    wants_start = request.similarity is not None or any(o.name == SIMILARITY for o in objectives)
    if wants_start and not starts:
        raise LigandsmithError("similarity is that to the ligands at the start; give one with --ligand")
    for move in request.moves:
        if move not in MOVE_NAMES:
            raise LigandsmithError(f"--moves: no move '{move}'; there are: {', '.join(MOVE_NAMES)}")
    site = Site(request.pocket.name, request.protein or protein_of(request.pocket), starts[0] if starts else None)
    scoring = Scoring(
        objectives, site, request.pocket, request.scorers, starts, request.similarity,
        out, request.workers if request.workers > 1 else _threads(),
    )  # fmt: skip
    scoring.require_tools()
    return Plan(
        request.pocket, starts, scoring, options, budget, request.num, request.moves, _pareto(request.objective),
        request.checkpoint, request.device, request.workers, request.engine, request.notes, request.adapter,
    )  # fmt: skip


def _options(
    request: OptimisationRequest, objectives: Sequence[Objective], generator: LigandGenerator
) -> GenerationOptions:
    """How ligands are sampled: with the fragment to keep, steered where Vina's function is an objective."""
    options = request.options
    if options.candidates is None:
        options = replace(options, candidates=min(CANDIDATES, generator.config.sampling.candidates))
    if request.keep is not None:
        options = replace(options, fix=read_fragment(request.keep))
    steer = request.steer or ("vina" if any(o.metric in VINA for o in objectives) else "none")
    if steer == "vina":
        constraints = options.constraints or Constraints()
        options = replace(options, constraints=replace(constraints, steering=SteeringConfig()))
    generator.sampling_request(options, request.pocket)
    return options


def _pareto(objective: str) -> bool:
    """Whether the user gave no weight, as in `rank`: then by Pareto front."""
    return ":" not in objective and "," in objective


def _threads() -> int:
    import torch  # noqa: PLC0415

    return torch.get_num_threads()


def optimise(
    pocket: Pocket,
    start: Chem.Mol | Sequence[Chem.Mol] | None = None,
    objectives: str = "vina_min, qed:0.5, sa:0.5",
    budget: str | int = 300,
    *,
    out: Path | str | None = None,
    protein: Path | str | None = None,
    **more: Any,
) -> Result:
    """Optimise ligands in a pocket; returns all of them, and the chosen ones best first.

    `start`: molecules in the pocket's coordinates (Å) to start from, none for fresh ones. `budget`: ligands, or minutes
    as in "10min". `out`: the folder that `ligandsmith optimise` would write, where an interrupted run goes on; without
    it nothing is kept. `protein`: its file, for the scores; without it the atoms of the pocket. `more`: fields of
    `GenerationOptions` and of `OptimisationRequest`. Raises LigandsmithError.
    """
    mols = [] if start is None else [start] if isinstance(start, Chem.Mol) else list(start)
    starts = tuple(Chem.RemoveAllHs(mol) for mol in mols)
    own = {name: more.pop(name) for name in list(more) if name in GenerationOptions.__dataclass_fields__
           and name not in OptimisationRequest.__dataclass_fields__}  # fmt: skip
    request = OptimisationRequest(pocket, starts, objectives, budget=budget, **more)
    request = replace(request, options=GenerationOptions(**own))
    if protein is not None:
        request = replace(request, protein=load_protein(protein, starts[0] if starts else None))
    if out is not None:
        return Optimiser(plan_of(request, Path(out)), Path(out)).run()
    with temporary_folder() as folder:
        return Optimiser(plan_of(request, folder / "out"), folder / "out").run()
