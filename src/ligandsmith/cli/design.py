"""The commands that improve and vary ligands: `optimise` and `analogues`."""

# ruff: noqa: PLC0415 - imports inside the commands

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ligandsmith.cli.arguments import (
    add_allow_dropped,
    add_engine,
    add_number,
    add_options,
    add_overwrite,
    add_path,
    add_smiles,
    checked,
    positive,
    say,
    with_flags,
)
from ligandsmith.cli.constraints import add_demands, constrained
from ligandsmith.cli.generate import add_sampling, add_site
from ligandsmith.config import UNLIMITED, Setting
from ligandsmith.options import GenerationOptions, Hardware

if TYPE_CHECKING:
    from ligandsmith.design.setup import OptimisationRequest

OBJECTIVE = "vina_min, qed:0.5, sa:0.5"
SCORER_SECONDS = 300.0


def optimise_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `optimise`."""
    first = parser.add_argument_group("most used")
    add_path(first, "--protein", "protein: PDB or mmCIF, also .gz", required=True)
    text = "ligands in the site to start from: SDF or MOL2, all molecules of them; PDB with --smiles"
    first.add_argument("--ligand", type=Path, nargs="+", metavar="PATH", help=text)
    text = f"'vina_min, qed:0.5, -strain_uff': - lower is better, + higher, :weight (default: '{OBJECTIVE}')"
    first.add_argument("--objective", default=OBJECTIVE, metavar="TERMS", help=text)
    text = "when to stop: ligands that are sampled, or 10min, 2h (default: %(default)s)"
    first.add_argument("--budget", default="300", metavar="N|Nmin", help=text)
    add_number(first, "--num", positive, 20, "ligands in ligands.sdf, at most: the best that differ and are valid")
    add_options(first, GenerationOptions, ["seed"])
    add_path(first, "--out", "folder of ligands.sdf and history.csv; an interrupted run goes on there", required=True)
    add_overwrite(first, "another optimisation in the folder")
    add_site(parser, "Without --ligand, to start from nothing; with it, another site than around the first ligand.")
    own = parser.add_argument_group("scores of your own")
    text = "module:function (list of RDKit molecules to list of numbers), or 'command {sdf} {csv}'; repeatable"
    own.add_argument("--scorer", action="append", default=[], metavar="[NAME=]SCORER", help=text)
    seconds = checked(float, Setting("", 0, UNLIMITED, open_low=True))
    add_number(own, "--scorer_seconds", seconds, SCORER_SECONDS, "time limit of a scorer in a round, s", "X")
    _add_ranges(parser)
    add_demands(parser)
    _add_sampling(parser)


def _add_ranges(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to make")
    add_options(what, GenerationOptions, ["num_atoms"])
    add_path(what, "--keep", "fragment that every ligand contains, in the protein's coordinates", "SDF")
    text = "Tanimoto similarity (Morgan, radius 2) to the nearest ligand of the start, e.g. 0.4-0.8"
    what.add_argument("--similarity", type=similarity, metavar="X-X", help=text)
    text = "only these ways to make ligands from others, e.g. noise inpaint fresh (default: all, by what works)"
    what.add_argument("--moves", nargs="+", default=[], metavar="MOVE", help=text)
    hydrogens = what.add_argument("--add-hs", dest="add_hs", action="store_true", default=argparse.SUPPRESS)
    hydrogens.help = "write hydrogens, with plausible, not optimised positions"


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    add_sampling(parser)
    scale = parser.add_argument_group("scale")
    add_options(scale, Hardware, ["device"])
    add_options(scale, Hardware, ["threads"], default_text="{}; with --workers: 1".format)
    add_engine(scale, "a Ray cluster")


def similarity(text: str) -> tuple[float, float]:
    """A range within 0 to 1, as in 0.4-0.8."""
    low, _, high = text.partition("-")
    try:
        found = float(low), float(high)
    except ValueError:
        found = (1.0, 0.0)
    if not 0 <= found[0] < found[1] <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no range within 0 to 1, as in 0.4-0.8")
    return found


def run_optimise(args: argparse.Namespace) -> None:
    """Optimise ligands in their pocket."""
    from ligandsmith.design.optimise import Optimiser
    from ligandsmith.design.setup import plan_of

    request = _request(args)
    plan = plan_of(request, args.out)
    say(*Optimiser(plan, args.out).run(args.overwrite).lines(plan.objectives))
    print(
        f"written: {args.out / 'ligands.sdf'}, {args.out / 'history.csv'}; see it with: ligandsmith report {args.out}"
    )


def _request(args: argparse.Namespace) -> "OptimisationRequest":
    """What the flags ask for. Raises LigandsmithError."""
    from ligandsmith.chem.protein import load_protein
    from ligandsmith.design.hits import read_hits
    from ligandsmith.design.objectives import parse_objectives
    from ligandsmith.design.plan import parse_budget
    from ligandsmith.design.scorers import load_scorers
    from ligandsmith.design.setup import OptimisationRequest
    from ligandsmith.generation import read_pocket
    from ligandsmith.parallel.devices import usable_device, use_threads

    sites = [f"--{name}" for name in ("residues", "center", "het") if getattr(args, name) is not None]
    if len(sites) > 1:
        raise argparse.ArgumentTypeError(f"argument {sites[1]}: not allowed with argument {sites[0]}")
    if not sites and not args.ligand:
        raise argparse.ArgumentTypeError("one of the arguments --ligand --residues --center --het is required")
    parse_budget(args.budget)
    scorers = load_scorers(args.scorer, args.scorer_seconds)
    parse_objectives(args.objective, [scorer.name for scorer in scorers])
    starts = tuple(read_hits(args.ligand or (), args.smiles))
    pocket, report = read_pocket(
        args.protein, None if sites else args.ligand[0], args.residues, args.center, args.het, radius=args.radius,
        smiles=args.smiles, allow_dropped=args.allow_dropped,
    )  # fmt: skip
    say(*report.lines())
    hardware = with_flags(Hardware(), args)
    use_threads(hardware.threads if args.workers == 1 else 1)
    protein = None
    if starts:
        protein = load_protein(args.protein, starts[0], report.removed_reference, (), args.allow_dropped)
    notes = {"command": " ".join(sys.argv), **report.notes()}
    device = hardware.device if args.engine == "ray" else usable_device(hardware.device)
    return OptimisationRequest(
        pocket, starts, args.objective, scorers, args.budget, args.num, args.similarity, args.keep, protein,
        _options(args), getattr(args, "steer", ""), tuple(args.moves), args.checkpoint, device,
        args.workers, args.engine, tuple(notes.items()),
        None if args.adapter is None else str(args.adapter.resolve()),
    )  # fmt: skip


def analogues_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `analogues`."""
    first = parser.add_argument_group("most used")
    first.add_argument("ligand", type=Path, help="the ligand, in its place in the protein: SDF or MOL2")
    add_path(first, "--protein", "protein: PDB or mmCIF, also .gz", required=True)
    text = "Tanimoto similarity (Morgan, radius 2) to the ligand (default: 0.5-0.8)"
    first.add_argument("--similarity", type=similarity, default=(0.5, 0.8), metavar="X-X", help=text)
    add_options(first, GenerationOptions, ["num", "seed"])
    add_path(first, "--out", "folder of ligands.sdf and samples.json; an interrupted run goes on there", required=True)
    add_overwrite(first, "the ligands of another request in the folder")
    add_smiles(first)
    add_allow_dropped(first)
    what = parser.add_argument_group("what to make")
    add_path(what, "--keep", "fragment that every analogue contains, in the protein's coordinates", "SDF")
    hydrogens = what.add_argument("--add-hs", dest="add_hs", action="store_true", default=argparse.SUPPRESS)
    hydrogens.help = "write hydrogens, with plausible, not optimised positions"
    add_demands(parser)
    add_sampling(parser)
    scale = parser.add_argument_group("scale")
    add_options(scale, Hardware, ["device", "threads"])


def run_analogues(args: argparse.Namespace) -> None:
    """Make analogues of a ligand in its pocket."""
    from ligandsmith.chem.fragment import read_fragment
    from ligandsmith.design.analogues import Analogues, analogues_to_folder
    from ligandsmith.design.hits import read_hits, usable_hits
    from ligandsmith.generation import funnel, load, read_pocket
    from ligandsmith.parallel.devices import usable_device, use_threads

    hits = read_hits([args.ligand], args.smiles)
    pocket, report = read_pocket(args.protein, args.ligand, smiles=args.smiles, allow_dropped=args.allow_dropped)
    say(*report.lines())
    hardware = with_flags(Hardware(), args)
    use_threads(hardware.threads)
    generator = load(args.checkpoint, usable_device(hardware.device), args.adapter)
    options = replace(with_flags(GenerationOptions(), args), **constrained(args))
    if args.keep is not None:
        options = replace(options, fix=read_fragment(args.keep))
    (hit,) = usable_hits(hits[:1], pocket, options.fix, generator.vocabulary.ligand_elements)
    made = Analogues(generator, hit, args.similarity, options.candidates or generator.config.sampling.candidates)
    notes = {"command": " ".join(sys.argv), **report.notes()}
    say(*funnel(analogues_to_folder(made, pocket, options, args.out, notes, args.overwrite)))
    print(f"written: {args.out / 'ligands.sdf'}, {args.out / 'samples.json'}")


def _options(args: argparse.Namespace) -> GenerationOptions:
    given = argparse.Namespace(**vars(args))
    for name in ("num", "steer"):  # the number of a result; steering is decided by the objectives
        vars(given).pop(name, None)
    changes: dict[str, Any] = constrained(given)
    return replace(with_flags(GenerationOptions(), given), **changes)
