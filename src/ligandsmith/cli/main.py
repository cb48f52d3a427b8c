"""The command line: a table of commands and their flags. Parsing and printing only; the work is done elsewhere.

Heavy imports happen inside the commands, so that `--help` answers at once.
"""

# ruff: noqa: PLC0415 - imports inside the commands

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ligandsmith.cli import generate as generation
from ligandsmith.cli import select as selection
from ligandsmith.cli.arguments import (
    Parser,
    above_zero,
    boolean,
    joined_values,
    positive,
    preset_name,
    probability,
    whole,
)
from ligandsmith.cli.doctor import doctor, doctor_flags
from ligandsmith.errors import LigandsmithError

# Threads that wait must not spin: on cores that others use too, that costs several times the work. Read with torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def _training_flags(parser: argparse.ArgumentParser, batch_size: int) -> None:
    add = parser.add_argument
    add("--batch_size", type=positive, default=batch_size, help="complexes per process and step (%(default)s)")
    add("--learning_rate", type=above_zero, default=1e-4, help="peak learning rate (%(default)s)")
    add("--num_epochs", type=positive, default=100, help="at most this many epochs (%(default)s)")
    add("--save_interval", type=positive, default=10, help="a numbered checkpoint every N epochs (%(default)s)")
    add("--num_workers", type=whole, default=4, help="data loading workers (%(default)s)")
    add("--use_amp", type=boolean, nargs="?", const=True, default=True, help="mixed precision on a GPU (%(default)s)")
    add("--no-use_amp", "--no_use_amp", dest="use_amp", action="store_false", help="full precision")
    add("--cpu_bf16", action="store_true", help="mixed precision on a CPU with bfloat16 arithmetic")
    add("--device", default="cuda", help="cuda or cpu (%(default)s; falls back to the CPU)")
    add("--data", type=Path, help="data set folder, or a CrossDocked2020 .lmdb (default: the one that is shipped)")
    add("--split_file", type=Path, help="split file of a CrossDocked2020 .lmdb")
    add("--preset", type=preset_name, default="small", help="tiny, small, base, large or origin (%(default)s)")
    add("--config", type=Path, help="YAML or JSON file laid over the preset")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override one field; repeatable")
    add("--run_dir", type=Path, default=Path(), help="where everything is written (the current folder)")
    add("--resume", default="", metavar="PATH|auto", help="continue a run exactly where it stopped")
    add("--init_from", type=Path, help="start from the weights of another run's checkpoint (fine-tuning)")
    add("--max_steps", type=whole, default=0, help="stop after N optimizer steps")
    add("--max_minutes", type=float, default=0.0, help="stop after so many minutes, saving the position")
    add("--patience", type=whole, default=0, help="stop after N epochs without a better test loss (0: never)")
    add("--accumulate", type=positive, default=1, help="batches per optimizer step (%(default)s)")
    add("--pair_budget", type=whole, default=0, help="most atom pairs at a time; larger batches go in parts (0: any)")
    add("--seed", type=int, default=0)
    add("--limit", type=whole, default=0, help="use only the first N complexes of each split (a quick look)")
    add("--validation_interval", type=positive, default=1, help="validate, and save the best, every N epochs")
    add("--threads", type=whole, default=0, help="CPU threads per process (default: the cores there are)")
    add("--gradient_checkpointing", action="store_true", help="less memory, about a third more time")


def _diffusion_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cfg_dropout_prob", type=probability, default=0.1, help="share trained without (%(default)s)")
    parser.add_argument(
        "--cfg_scale",
        type=float,
        help="guidance of the samples (default: the preset's; 7.5 ruins geometry)",
    )
    parser.add_argument("--complexes_only", action="store_true", help="do not co-train on ligands without a pocket")
    parser.add_argument(
        "--ligands_per_complex",
        type=above_zero,
        default=1.0,
        help="ligands without a pocket in an epoch for each complex, where the data set has them (%(default)s)",
    )


def _request(args: argparse.Namespace) -> Any:
    from dataclasses import replace

    from ligandsmith.config import load_config, override, preset
    from ligandsmith.training.hardware import Hardware
    from ligandsmith.training.loaders import DataOptions
    from ligandsmith.training.options import Request, TrainOptions

    config = preset(args.preset)
    if args.config is not None:
        config = load_config(config, args.config)
    config = override(config, args.set)
    if hasattr(args, "cfg_dropout_prob"):
        config = replace(config, diffusion=replace(config.diffusion, cfg_dropout_prob=args.cfg_dropout_prob))
    if getattr(args, "cfg_scale", None) is not None:
        config = replace(config, sampling=replace(config.sampling, cfg_scale=args.cfg_scale))
    data = DataOptions(
        args.data, args.split_file, args.batch_size, args.num_workers, args.seed,
        not getattr(args, "complexes_only", False), args.limit, getattr(args, "ligands_per_complex", 1.0),
        getattr(args, "cuda_graphs", False),
    )  # fmt: skip
    names = (
        "run_dir", "learning_rate", "num_epochs", "save_interval", "seed", "max_steps", "max_minutes", "accumulate",
        "pair_budget", "patience", "validation_interval", "resume", "init_from",
    )  # fmt: skip
    train = TrainOptions(**{name: getattr(args, name) for name in names})
    hardware = Hardware(
        args.device, args.use_amp, getattr(args, "num_gpus", 1), getattr(args, "num_nodes", 1), args.threads,
        args.gradient_checkpointing, args.cpu_bf16,
    )  # fmt: skip
    return Request(config, data, train, hardware, getattr(args, "cache_latents", False))


def _train_vae_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model_type", required=True, choices=["ligand", "protein"])
    _training_flags(parser, batch_size=32)


def _train_vae(args: argparse.Namespace) -> None:
    from ligandsmith.training.stages import train_vae

    train_vae(args.model_type, _request(args))


def _train_denoiser_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ligand_vae_path", type=Path, help="frozen ligand VAE; without it, one is trained beside")
    parser.add_argument("--protein_vae_path", type=Path, help="frozen protein VAE; without it, one is trained beside")
    parser.add_argument("--cache_latents", action="store_true", help="encode every pocket once with the frozen VAE")
    parser.add_argument("--cuda_graphs", action="store_true", help="on a GPU: steps recorded once and played again")
    _training_flags(parser, batch_size=16)
    _diffusion_flags(parser)


def _train_denoiser(args: argparse.Namespace) -> None:
    from ligandsmith.training.stages import train_denoiser

    train_denoiser(_request(args), args.ligand_vae_path, args.protein_vae_path)


def _train_all_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num_gpus", type=positive, default=1, help="processes, one a GPU (or on the CPU)")
    parser.add_argument("--num_nodes", type=positive, default=1, help="machines (started by torchrun or Slurm)")
    parser.add_argument("--num_samples", type=whole, default=4, help="ligands sampled at the end")
    _training_flags(parser, batch_size=16)
    _diffusion_flags(parser)


def _train_all(args: argparse.Namespace) -> None:
    from ligandsmith.cli.final_samples import sample_after_training
    from ligandsmith.evaluation.evaluate import evaluate
    from ligandsmith.evaluation.output import summary_table
    from ligandsmith.training.stages import train_all

    request = _request(args)
    if not train_all(request).is_main or not args.num_samples:
        return
    for name, (sdf, lines) in sample_after_training(request, args.run_dir / "best_model.pt", args.num_samples).items():
        print(f"Samples for a validation pocket, {name}: {sdf}", *lines, sep="\n")
        print(summary_table(evaluate(sdf)))


def _prepare_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="folder of complexes, or a CSV with id, protein, ligand")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=positive, default=1)
    parser.add_argument("--split_file", type=Path, help="CSV with id, split")


def _print_counts(manifest: Any, kind: str, what: str) -> None:
    """How many records of a kind there are, and how many were refused for which reason."""
    print(f"{manifest.counts.get(kind, 0)} {what}")
    for reason, count in manifest.rejection_counts().items():
        print(f"  {count} refused: {reason}")


def _prepare(args: argparse.Namespace) -> None:
    from ligandsmith.data.preparation import PrepareOptions, prepare

    manifest = prepare(args.source, args.out, PrepareOptions(workers=args.workers, split_file=args.split_file))
    _print_counts(manifest, "complexes", f"complexes written to {args.out}")


def _split_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--by", choices=["sequence", "scaffold", "random", "file"], default="sequence")
    parser.add_argument("--identity", type=probability, default=0.3, help="highest sequence identity across splits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, help="CSV with id, split (for --by file)")


def _split(args: argparse.Namespace) -> None:
    from ligandsmith.data.splitting import split_dataset

    for line in split_dataset(args.data, args.by, args.identity, seed=args.seed, file=args.file).lines():
        print(line)


def _conformers_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("smiles", type=Path, help="one SMILES and optional name a line, also .gz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=positive, default=1)
    parser.add_argument("--seed", type=int, default=0)


def _conformers(args: argparse.Namespace) -> None:
    from ligandsmith.data.conformers import EmbedOptions, embed_conformers

    manifest = embed_conformers(args.smiles, args.out, EmbedOptions(seed=args.seed, workers=args.workers))
    _print_counts(manifest, "ligands", f"conformers written to {args.out}")


def _properties_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, help="data set folder")


def _properties(args: argparse.Namespace) -> None:
    from ligandsmith.data.dataset import add_properties, open_dataset
    from ligandsmith.data.properties import FILE

    count = add_properties(open_dataset(args.data))
    print(f"properties of {count} ligands written to {args.data / FILE}")


def _pseudo_complexes_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="a protein file, or a folder of them or of a folder for each")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per_protein", type=positive, default=50, help="at most this many of each (%(default)s)")
    parser.add_argument("--licence", default="", help="of the proteins, written into every record")
    parser.add_argument("--seed", type=whole, default=0)


def _pseudo_complexes(args: argparse.Namespace) -> None:
    from ligandsmith.data.pseudo.complexes import CutOptions
    from ligandsmith.data.pseudo.dataset import write_pseudo_complexes

    options = CutOptions(per_protein=args.per_protein, seed=args.seed)
    manifest = write_pseudo_complexes(args.source, args.out, options, args.licence)
    _print_counts(manifest, "complexes", f"pseudo-complexes written to {args.out}")


def _evaluate_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("ligands", type=Path, help="SDF, folder with an SDF for each pocket, manifest .csv, or result file .pt")
    add("--protein", type=Path, help="PDB or mmCIF; for several pockets a folder with a file of each pocket's name")
    add("--ligand", type=Path, help="reference ligand (SDF); for several pockets a folder")
    add("--requested", type=positive, help="molecules asked for, for each pocket (default: samples.json)")
    add("--known", type=Path, help="SMILES or SDF that novelty is judged against")
    add("--protocol", default="quick", help="quick, crossdocked-v1, or none: what needs no slow tool (%(default)s)")
    add("--tools", nargs="+", help="only these tools of the protocol: posebusters strain interactions vina")
    add("--no-posebusters", dest="no_posebusters", action="store_true", help="leave PoseBusters out")
    add("--dock", action="store_true", help="dock anew with Vina too, whatever the protocol says")
    add("--exhaustiveness", type=positive, help="of docking (default: the protocol's)")
    add("--seed", type=whole, help="of docking (default: the protocol's)")
    add("--workers", type=positive, default=1, help="processes, or tasks of a cluster (%(default)s)")
    add("--engine", choices=["local", "ray"], default="local", help="ray: a pocket is a task (%(default)s)")
    add("--out", type=Path, help="folder of the results (default: that of the SDF, or FOLDER/evaluation)")


def _evaluate(args: argparse.Namespace) -> None:
    from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
    from ligandsmith.evaluation.output import results_folder, summary_table, write_evaluation
    from ligandsmith.evaluation.protocols import adapted

    out = args.out or results_folder(args.ligands)
    changes = {"exhaustiveness": args.exhaustiveness, "seed": args.seed}
    without = {"posebusters"} if args.no_posebusters else set()
    protocol = adapted(args.protocol, args.tools, without, args.dock, **changes)
    options = EvaluationOptions(
        protocol, None, out / "answers", args.workers, " ".join(sys.argv), args.engine,
    )  # fmt: skip
    evaluation = evaluate(args.ligands, args.protein, args.ligand, args.requested, args.known, options)
    write_evaluation(evaluation, out)
    print(summary_table(evaluation))
    print(f"written: {out / 'per_molecule.csv'}, {out / 'summary.json'}; see it with: ligandsmith report {out}")


def _report_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="results of `ligandsmith evaluate`, or the folder of a training run")


def _report(args: argparse.Namespace) -> None:
    from ligandsmith.evaluation.report.page import write_report
    from ligandsmith.evaluation.report.training import training_report

    trained = any(args.folder.glob("*_history.json")) and not (args.folder / "summary.json").exists()
    print(f"written: {training_report(args.folder) if trained else write_report(args.folder)}")


def _export_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="best_denoiser.pt, best_model.pt or a VAE's")
    parser.add_argument("--out", type=Path, required=True, help="folder of model.safetensors, config.json, README.md")
    parser.add_argument("--card", type=Path, help="your model card (default: what the checkpoint itself tells)")


def _export(args: argparse.Namespace) -> None:
    from ligandsmith.checkpoints.export import export
    from ligandsmith.checkpoints.files import load_checkpoint

    card = "" if args.card is None else args.card.read_text(encoding="utf-8")
    print("written:", *export(load_checkpoint(args.checkpoint), args.out, card))


Command = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]
COMMANDS: dict[str, Command] = {
    "prepare": ("complexes on disk -> data set", _prepare_flags, _prepare),
    "split": ("leakage-free splits of a data set", _split_flags, _split),
    "conformers": ("SMILES -> ligand-only data set", _conformers_flags, _conformers),
    "properties": ("QED, SA and logP of a data set's ligands", _properties_flags, _properties),
    "pseudo-complexes": ("proteins -> complexes with pieces of themselves", _pseudo_complexes_flags, _pseudo_complexes),
    "train-vae": ("train the ligand or the protein VAE", _train_vae_flags, _train_vae),
    "train-denoiser": ("train the diffusion model", _train_denoiser_flags, _train_denoiser),
    "train-all": ("train everything together, on one or many GPUs", _train_all_flags, _train_all),
    "generate": ("new ligands for a pocket", generation.flags, generation.generate),
    "export": ("a checkpoint as safetensors, configuration and model card", _export_flags, _export),
    "evaluate": ("score molecules of any method", _evaluate_flags, _evaluate),
    "report": ("results of evaluate, or a training run -> a page to look at", _report_flags, _report),
    "relax": ("relax ligands in their pocket, with hydrogens", selection.relax_flags, selection.relax),
    "rank": ("the best of evaluated molecules", selection.rank_flags, selection.rank),
    "doctor": ("what is installed, and what a training run would need here", doctor_flags, doctor),
}


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of one command, or of all."""
    if command is not None:
        text, flags, run = COMMANDS[command]
        parser = Parser(description=text)
        flags(parser)
        parser.set_defaults(run=run)
        return parser
    parser = Parser(prog="ligandsmith", description="New 3D ligands for a protein pocket.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, flags, run) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text)
        flags(sub)
        sub.set_defaults(run=run)
    return parser


def main(argv: Sequence[str] | None = None, command: str | None = None) -> int:
    """Run a command; `command` names the one that a script stands for. Returns the exit status."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stdout)
    first = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"  # of several processes, one speaks
    logging.getLogger("ligandsmith").setLevel(logging.INFO if first else logging.ERROR)
    args = build_parser(command).parse_args(joined_values(sys.argv[1:] if argv is None else argv))
    try:
        args.run(args)
    except LigandsmithError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except argparse.ArgumentTypeError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"error: {error.filename or 'file system'}: {error.strerror or error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    return OK


if __name__ == "__main__":
    sys.exit(main())
