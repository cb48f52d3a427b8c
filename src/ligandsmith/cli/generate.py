"""The command `generate`, for one pocket or for many."""

# ruff: noqa: PLC0415 - imports inside the command

import argparse
import sys
from collections.abc import Sequence
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
    numbers,
    positive,
    probability,
    say,
    with_flags,
)
from ligandsmith.cli.columns import option_columns
from ligandsmith.cli.constraints import add_constraints, requested, require_fitting_parts
from ligandsmith.config import MAX_SITE_RADIUS, SITE_RADIUS, SamplingConfig, Setting
from ligandsmith.options import GenerationOptions, Hardware

if TYPE_CHECKING:
    from ligandsmith.generation.generator import LigandGenerator

HIGH_GUIDANCE = 3.0
SAMPLING = (
    "steps", "sampler", "candidates", "cfg_scale", "cfg_scale_x", "autoguidance", "churn", "noise_scale",
    "noise_scale_h", "repulsion", "relax",
)  # fmt: skip
# Of the shipped weights `small`, for the help; a test compares them with the checkpoint.
SMALL_SAMPLING = SamplingConfig(
    churn=2.5, cfg_scale=1.0, autoguidance=2.0, guidance_low=0.1, guidance_high=1.5, candidates=8, repulsion=1.0
)


def generate_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `generate`, in groups; the five that most people need come first."""
    first = parser.add_argument_group("most used")
    where = first.add_mutually_exclusive_group(required=True)
    add_path(where, "--protein", "protein: PDB or mmCIF, also .gz")
    add_path(where, "--manifest", "many pockets instead: CSV with pocket, protein and the site of each", "CSV")
    add_path(first, "--ligand", "reference ligand in the site: SDF or MOL2; PDB with --smiles")
    add_options(first, GenerationOptions, ["num", "seed"])
    add_path(
        first, "--out", "folder of ligands.sdf and samples.json; an interrupted run continues there", required=True
    )
    add_site(parser, "Instead of --ligand; give exactly one.")
    what = parser.add_argument_group("what to make")
    add_options(what, GenerationOptions, ["num_atoms"])
    add_overwrite(first, "the ligands of another request in the folder")
    hydrogens = what.add_argument("--add-hs", dest="add_hs", action="store_true", default=argparse.SUPPRESS)
    hydrogens.help = "write hydrogens, with plausible, not optimised positions"
    add_constraints(parser)
    sampling = add_sampling(parser)
    for name in ("ligand", "protein"):
        add_path(
            sampling, f"--{name}_vae_path", f"check that this is the {name} VAE of the checkpoint, and refuse another"
        )
    scale = parser.add_argument_group("scale")
    add_options(scale, GenerationOptions, ["batch_size"])
    add_options(scale, Hardware, ["device"])
    add_options(scale, Hardware, ["threads"], default_text="{}; with --workers: 1".format)
    many = parser.add_argument_group("scale, with --manifest")
    add_engine(many, "a Ray cluster")
    add_number(many, "--chunk", positive, 100, "ligands per task")
    many.add_argument("--unique", action="store_true", help="leave out molecules that the pocket has already")
    text = "stop a pocket if a smaller share of a chunk is new, 0 to 1 (default: %(default)g: never)"
    many.add_argument("--stop_below", type=probability, default=0.0, metavar="SHARE", help=text)


def add_site(parser: argparse.ArgumentParser, note: str) -> None:
    """The flags that name a site without a ligand, and what goes with the protein file."""
    site = parser.add_argument_group("site", note)
    add = site.add_argument
    add("--residues", nargs="+", metavar="CHAIN:NUMBER", help="residues of the site")
    add("--center", type=numbers, metavar="X,Y,Z", help="centre of the site, Å; see --radius")
    add("--het", metavar="NAME", help="ligand in the protein file: NAME or CHAIN:NAME:NUMBER")
    limits = Setting("", 0, MAX_SITE_RADIUS, open_low=True)
    text = f"radius around --center, Å ({limits.allowed()}; default: %(default)g)"
    add("--radius", type=checked(float, limits), default=SITE_RADIUS, metavar="X", help=text)
    add_smiles(parser)
    add_allow_dropped(site)


def add_sampling(parser: argparse.ArgumentParser) -> Any:
    """The flags of the checkpoint and of sampling; returns their group."""
    sampling = parser.add_argument_group("sampling", "Defaults are those of the checkpoint; in brackets: of `small`.")
    text = "shipped weights (small, tiny), a .pt file, or an exported folder (default: %(default)s)"
    sampling.add_argument("--checkpoint", default="small", metavar="NAME|PATH", help=text)
    add_path(sampling, "--adapter", "adapter of the checkpoint, from `ligandsmith finetune --lora`")
    add_options(sampling, SamplingConfig, SAMPLING, SMALL_SAMPLING, "the checkpoint's [{}]".format)
    return sampling


def run_generate(args: argparse.Namespace) -> None:
    """Generate ligands for a pocket, or for each pocket of a manifest."""
    from ligandsmith.parallel.devices import use_threads

    require_fitting_flags(args)
    options = requested(args)
    hardware = with_flags(Hardware(), args)
    if max(options.cfg_scale or 0, options.cfg_scale_x or 0) > HIGH_GUIDANCE:
        say(f"note: a guidance scale above {HIGH_GUIDANCE:g} reduces diversity and distorts geometry")
    if args.manifest is not None:
        _generate_batch(args, options, hardware)
        return
    use_threads(hardware.threads)
    _generate_one(args, options, hardware.device)


def require_fitting_flags(args: argparse.Namespace) -> None:
    """Raise ArgumentTypeError for flags that contradict each other."""
    sites = [f"--{name}" for name in ("ligand", "residues", "center", "het") if getattr(args, name) is not None]
    many = args.workers > 1 or args.engine != "local" or args.unique or args.stop_below
    if args.manifest is not None and sites:
        raise argparse.ArgumentTypeError(f"{sites[0]}: with --manifest the site of each pocket is named in the file")
    require_fitting_parts(args)
    if args.protein is not None and not sites:
        raise argparse.ArgumentTypeError(
            "one of the arguments --ligand --residues --center --het is required with --protein"
        )
    if len(sites) > 1:
        raise argparse.ArgumentTypeError(f"argument {sites[1]}: not allowed with argument {sites[0]}")
    if args.protein is not None and many:
        raise argparse.ArgumentTypeError("--workers, --engine, --unique and --stop_below go with --manifest")


def _generate_one(args: argparse.Namespace, options: GenerationOptions, device: str) -> None:
    from ligandsmith.generation import funnel, generate_to_folder, load, read_pocket
    from ligandsmith.parallel.devices import usable_device

    pocket, report = read_pocket(
        args.protein,
        args.ligand,
        args.residues,
        args.center,
        args.het,
        radius=args.radius,
        smiles=args.smiles,
        allow_dropped=args.allow_dropped,
    )
    say(*report.lines())
    generator = load(args.checkpoint, usable_device(device), args.adapter)
    _require_vaes(generator, args)
    notes = {"command": " ".join(sys.argv), **report.notes()}
    say(*funnel(generate_to_folder(generator, pocket, options, args.out, notes, args.overwrite)))
    _tell_of_older_results(args.out, [args.out / "ligands.sdf"])
    print(f"written: {args.out / 'ligands.sdf'}, {args.out / 'samples.json'}")


def _generate_batch(args: argparse.Namespace, options: GenerationOptions, hardware: Hardware) -> None:
    from ligandsmith.generation import load
    from ligandsmith.generation.batch.merge import MergeOptions
    from ligandsmith.generation.batch.results import summary_lines
    from ligandsmith.generation.batch.run import BatchRequest, generate_batch
    from ligandsmith.parallel.devices import usable_device

    # A cluster may have GPUs that this machine does not have.
    device = hardware.device if args.engine == "ray" else usable_device(hardware.device)
    request = BatchRequest(
        options, args.checkpoint, device, hardware.threads or 1, args.workers, args.engine, args.chunk,
        MergeOptions(args.unique, args.stop_below), args.radius, " ".join(sys.argv), args.allow_dropped,
        args.overwrite, option_columns(args), args.adapter,
    )  # fmt: skip
    generator = load(args.checkpoint, adapter=args.adapter)
    _require_vaes(generator, args)
    say(*summary_lines(generate_batch(args.manifest, args.out, request, generator)))
    _tell_of_older_results(args.out, list(args.out.glob("*/ligands.sdf")))
    print(f"written: {args.out}; next: ligandsmith evaluate {args.out}")


def _tell_of_older_results(out: Path, ligands: Sequence[Path]) -> None:
    """Name the scores, choices and pages in a folder that were made before its ligands."""
    made = max((path.stat().st_mtime for path in ligands if path.exists()), default=0.0)
    folder = out if out / "ligands.sdf" in ligands else out / "evaluation"
    older = {path.name for path in folder.glob("*") if path.is_file() and path.stat().st_mtime < made}
    if not older:
        return
    from ligandsmith.evaluation import ranking, relaxation
    from ligandsmith.evaluation.output import SCORES
    from ligandsmith.evaluation.report.page import PAGES

    of_ours = (*SCORES, *ranking.FILES, relaxation.POSES_FILE, relaxation.SUMMARY_FILE, *PAGES)
    if named := [name for name in of_ours if name in older]:
        say(f"note: {', '.join(named)} in {folder}: older than these ligands")


def _require_vaes(generator: "LigandGenerator", args: Any) -> None:
    for name, path in (("ligand", args.ligand_vae_path), ("protein", args.protein_vae_path)):
        if path is not None:
            generator.require_vae(name, path)
