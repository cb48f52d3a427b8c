"""The command `generate`, for one pocket or many. Flags and printing, as in `cli`."""

# ruff: noqa: PLC0415 - imports inside the commands

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ligandsmith.cli.arguments import above_zero, number_or_any, numbers, positive, probability, whole
from ligandsmith.config import SITE_RADIUS

if TYPE_CHECKING:
    from ligandsmith.generation.generator import LigandGenerator
    from ligandsmith.generation.options import GenerationOptions

HIGH_GUIDANCE = 3.0


def flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--checkpoint",
        default="small",
        help="a .pt file, an exported folder, or the name of shipped weights (%(default)s)",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--protein", type=Path, help="PDB or mmCIF, also .gz")
    where.add_argument("--manifest", type=Path, help="many pockets: CSV with pocket, protein and the site of each")
    site = parser.add_mutually_exclusive_group()
    site.add_argument("--ligand", type=Path, help="reference ligand in the site: SDF or MOL2")
    site.add_argument("--residues", nargs="+", metavar="CHAIN:NUMBER", help="residues of the site")
    site.add_argument("--center", type=numbers, metavar="X,Y,Z", help="centre of the site in Å, with --radius")
    site.add_argument("--het", metavar="NAME", help="ligand in the protein file: NAME or CHAIN:NAME:NUMBER")
    add("--radius", type=above_zero, default=SITE_RADIUS, help="Å around --center (%(default)s)")
    add("--num", type=positive, default=100, help="ligands, of each pocket (%(default)s)")
    add("--num_atoms", help="heavy atoms: a number or a range 18-26 (default: the size model)")
    add("--steps", type=positive, help="network steps (default: the checkpoint's)")
    add("--sampler", help="euler, heun, ddim, ddpm or dpmpp_2m (default: the checkpoint's)")
    add("--cfg_scale", type=float, help="guidance of the features (default: the checkpoint's)")
    add("--cfg_scale_x", type=float, help="guidance of the coordinates (default: the checkpoint's)")
    add("--autoguidance", type=float, help="guidance by the network without third atoms (default: the checkpoint's)")
    add("--churn", type=float, help="noise added back at each step (default: the checkpoint's)")
    add(
        "--noise_scale",
        type=above_zero,
        help="of the coordinates' noise; below 1: likelier (default: the checkpoint's)",
    )
    add("--noise_scale_h", type=above_zero, help="of the features' noise (default: the checkpoint's)")
    add(
        "--candidates",
        type=positive,
        help="at most so many for each ligand; the best is kept (default: the checkpoint's)",
    )
    add("--fix", type=Path, metavar="SDF", help="a fragment that every ligand contains, in the protein's coordinates")
    asked = "that is asked for, or any (default: the checkpoint's)"
    add("--qed", type=number_or_any, help=f"drug-likeness {asked}")
    add("--sa", type=number_or_any, help=f"ease of synthesis, 0 to 1, {asked}")
    add("--logp", type=number_or_any, help=f"lipophilicity {asked}")
    add(
        "--repulsion",
        type=probability,
        help="share of an overlap with the pocket that is taken back at each step (default: the checkpoint's)",
    )
    add("--batch_size", type=positive, default=100, help="molecules at a time; does not change them (%(default)s)")
    add("--seed", type=int, default=0)
    add("--device", default="cuda")
    add("--threads", type=whole, default=0, help="CPU threads (default: the cores there are; of a worker, 1)")
    add("--add-hs", dest="add_hs", action="store_true", help="write hydrogens")
    add("--ligand_vae_path", type=Path, help="refused unless it is the VAE that the denoiser was trained with")
    add("--protein_vae_path", type=Path, help="refused unless it is the VAE that the denoiser was trained with")
    add("--out", type=Path, required=True)
    many = parser.add_argument_group("with --manifest")
    many.add_argument("--workers", type=positive, default=1, help="processes, or tasks of a cluster (%(default)s)")
    many.add_argument("--engine", choices=["local", "ray"], default="local", help="who they are (%(default)s)")
    many.add_argument("--chunk", type=positive, default=100, help="ligands that a worker makes at once (%(default)s)")
    many.add_argument("--unique", action="store_true", help="leave out molecules that the pocket has already")
    many.add_argument(
        "--stop_below", type=probability, default=0.0, metavar="SHARE",
        help="no more ligands for a pocket once fewer than this share of a chunk are new (%(default)s: never)",
    )  # fmt: skip


def generate(args: argparse.Namespace) -> None:
    from dataclasses import fields

    from ligandsmith.diffusion.samplers import SAMPLERS
    from ligandsmith.generation.options import GenerationOptions
    from ligandsmith.parallel.devices import use_threads

    if args.sampler not in (None, *SAMPLERS):
        raise argparse.ArgumentTypeError(f"unknown sampler '{args.sampler}'; choose one of: {', '.join(SAMPLERS)}")
    _require_fitting_flags(args)
    if max(args.cfg_scale or 0, args.cfg_scale_x or 0) > HIGH_GUIDANCE:
        print(f"note: a guidance scale above {HIGH_GUIDANCE:g} shrinks diversity and distorts geometry")
    options = GenerationOptions(**{f.name: getattr(args, f.name) for f in fields(GenerationOptions)})
    if args.manifest is not None:
        _generate_many(args, options)
        return
    use_threads(args.threads)
    _generate_one(args, options)


def _require_fitting_flags(args: argparse.Namespace) -> None:
    """Raise ArgumentTypeError for flags of one pocket with many, and the other way round."""
    site = any(x is not None for x in (args.ligand, args.residues, args.center, args.het))
    many = args.workers > 1 or args.engine != "local" or args.unique or args.stop_below
    if args.manifest is not None and site:
        raise argparse.ArgumentTypeError("with --manifest the site of each pocket is named in the file")
    if args.manifest is not None and args.fix is not None:
        raise argparse.ArgumentTypeError("--fix goes with --protein: a fragment lies in one pocket")
    if args.protein is not None and not site:
        raise argparse.ArgumentTypeError(
            "one of the arguments --ligand --residues --center --het is required with --protein"
        )
    if args.protein is not None and many:
        raise argparse.ArgumentTypeError("--workers, --engine, --unique and --stop_below go with --manifest")


def _generate_one(args: argparse.Namespace, options: "GenerationOptions") -> None:
    from ligandsmith.generation.generator import load
    from ligandsmith.generation.output import funnel, generate_to_folder
    from ligandsmith.generation.site import read_pocket
    from ligandsmith.parallel.devices import usable_device

    pocket, report = read_pocket(args.protein, args.ligand, args.residues, args.center, args.het, radius=args.radius)
    for line in report.lines():
        print(line)
    generator = load(args.checkpoint, usable_device(args.device))
    _require_vaes(generator, args)
    notes = {"command": " ".join(sys.argv), "preflight": report.lines()}
    for line in funnel(generate_to_folder(generator, pocket, options, args.out, notes)):
        print(line)
    print(f"written: {args.out / 'ligands.sdf'}, {args.out / 'samples.json'}")


def _generate_many(args: argparse.Namespace, options: "GenerationOptions") -> None:
    from ligandsmith.generation.batch.merge import Joining
    from ligandsmith.generation.batch.results import summary_lines
    from ligandsmith.generation.batch.run import ManyRequest, generate_many
    from ligandsmith.generation.generator import load
    from ligandsmith.parallel.devices import usable_device

    # A cluster may have the GPUs that this machine has not.
    device = args.device if args.engine == "ray" else usable_device(args.device)
    request = ManyRequest(
        options, args.checkpoint, device, args.threads or 1, args.workers, args.engine, args.chunk,
        Joining(args.unique, args.stop_below), args.radius, " ".join(sys.argv),
    )  # fmt: skip
    generator = load(args.checkpoint)
    _require_vaes(generator, args)
    print(*summary_lines(generate_many(args.manifest, args.out, request, generator)), sep="\n")
    print(f"written: {args.out}; next: ligandsmith evaluate {args.out}")


def _require_vaes(generator: "LigandGenerator", args: argparse.Namespace) -> None:
    for name, path in (("ligand", args.ligand_vae_path), ("protein", args.protein_vae_path)):
        if path is not None:
            generator.require_vae(name, path)
