"""The commands `evaluate`, `report` and `export`."""

# ruff: noqa: PLC0415 - imports inside the commands

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ligandsmith.cli.arguments import (
    add_allow_dropped,
    add_engine,
    add_overwrite,
    add_path,
    add_smiles,
    checked,
    non_negative,
    say,
)
from ligandsmith.config import Setting
from ligandsmith.errors import LigandsmithError

MOST_ROWS = 10_000_000  # of a table that fits into memory


def evaluate_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `evaluate`."""
    add = parser.add_argument
    add("ligands", type=Path, help="SDF, folder with an SDF per pocket, manifest .csv, or result file .pt")
    add_path(parser, "--protein", "PDB or mmCIF; for several pockets a folder with a file per pocket")
    add_path(parser, "--ligand", "reference ligand (SDF, MOL2); for several pockets a folder")
    add_smiles(parser)
    add_allow_dropped(parser)
    text = "number of requested molecules per pocket (default: samples.json)"
    add("--requested", type=checked(int, Setting("", 1, MOST_ROWS)), metavar="N", help=text)
    add_path(parser, "--known", "SMILES or SDF of known molecules, for novelty")
    add_path(parser, "--out", "folder of the results (default: that of the SDF, or FOLDER/evaluation)")
    add = parser.add_argument_group("tools").add_argument
    text = "quick, crossdocked-v1, or none: only metrics without slow tools (default: %(default)s)"
    add("--protocol", default="quick", help=text)
    text = "run only these tools of the protocol: posebusters strain interactions vina"
    add("--tools", nargs="+", metavar="TOOL", help=text)
    add("--no-posebusters", dest="no_posebusters", action="store_true", help="do not run PoseBusters")
    add("--dock", action="store_true", help="also dock with Vina, whatever the protocol is")
    add(
        "--exhaustiveness",
        type=checked(int, Setting("", 1, 10_000)),
        metavar="N",
        help="of docking (default: the protocol's)",
    )
    add("--seed", type=non_negative, metavar="N", help="random seed of docking (default: the protocol's)")
    add_engine(parser.add_argument_group("scale"), "a Ray task per pocket")
    add_overwrite(parser, "the scores of other molecules or of another site in the folder")


def run_evaluate(args: argparse.Namespace) -> None:
    """Score molecules of any method."""
    from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate_sources
    from ligandsmith.evaluation.output import refuse_other_scores, results_folder, summary_table, write_evaluation
    from ligandsmith.evaluation.protocols import adapted
    from ligandsmith.evaluation.sources import find_sources, load_known
    from ligandsmith.files import held_alone

    out = args.out or results_folder(args.ligands)
    changes = {"exhaustiveness": args.exhaustiveness, "seed": args.seed}
    without = {"posebusters"} if args.no_posebusters else set()
    protocol = adapted(args.protocol, args.tools, without, args.dock, **changes)
    options = EvaluationOptions(
        protocol, None, out / "answers", args.workers, " ".join(sys.argv), args.engine, args.smiles,
        args.allow_dropped,
    )  # fmt: skip
    options = options if args.known is None else replace(options, known=load_known(args.known))
    sources = find_sources(args.ligands, args.protein, args.ligand, args.requested)
    with held_alone(out):
        refuse_other_scores(out, sources, args.overwrite)
        evaluation = evaluate_sources(sources, options)
        write_evaluation(evaluation, out)
    say(summary_table(evaluation))
    print(f"written: {out / 'per_molecule.csv'}, {out / 'summary.json'}; see it with: ligandsmith report {out}")


def report_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `report`."""
    parser.add_argument("folder", type=Path, help="results of `evaluate`, `optimise`, or a training run")
    add_overwrite(parser, "a page of the same name that was not made by this command")


def run_report(args: argparse.Namespace) -> None:
    """Write an HTML page of an evaluation, an optimisation or a training run."""
    from ligandsmith.evaluation.report.page import write_report
    from ligandsmith.evaluation.report.training import training_report

    trained = any(args.folder.glob("*_history.json")) and not (args.folder / "summary.json").exists()
    print(f"written: {(training_report if trained else write_report)(args.folder, args.overwrite)}")


def export_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `export`."""
    parser.add_argument("checkpoint", type=Path, help="best_denoiser.pt, best_model.pt or a VAE's")
    parser.add_argument("--out", type=Path, required=True, help="folder of model.safetensors, config.json, README.md")
    add_path(parser, "--card", "model card (default: made from the checkpoint)")
    add_overwrite(parser, "another model in the folder")


def run_export(args: argparse.Namespace) -> None:
    """Write a checkpoint as safetensors, configuration and model card."""
    from ligandsmith.checkpoints.export import export
    from ligandsmith.checkpoints.files import load_checkpoint, refused_if_unfit

    try:
        card = "" if args.card is None else args.card.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise LigandsmithError(f"--card {args.card}: not a text file in UTF-8; give a Markdown file") from None
    content = load_checkpoint(args.checkpoint)
    with refused_if_unfit(args.checkpoint):
        print("written:", *export(content, args.out, card, args.overwrite))
