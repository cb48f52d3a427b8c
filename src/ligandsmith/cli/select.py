"""The commands for molecules that exist already: `relax` and `rank`."""

# ruff: noqa: PLC0415 - imports inside the commands

import argparse
from pathlib import Path

from ligandsmith.cli.arguments import (
    add_allow_dropped,
    add_number,
    add_overwrite,
    add_path,
    add_smiles,
    add_workers,
    positive,
    say,
)


def relax_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `relax`."""
    add = parser.add_argument
    add("sdf", type=Path, help="ligands in their pocket; the file is not changed")
    add_path(parser, "--protein", "PDB or mmCIF, also .gz", required=True)
    add_path(parser, "--ligand", "reference ligand, whose copy in the protein file is removed")
    add_smiles(parser)
    add_path(parser, "--out", "folder of relaxed.sdf and relax.json (default: that of the SDF)")
    add_allow_dropped(parser)
    add_workers(parser)
    add_overwrite(parser)


def run_relax(args: argparse.Namespace) -> None:
    """Relax ligands in their pocket, with hydrogens."""
    from ligandsmith.evaluation.relaxation import POSES_FILE, relax_sdf, relaxation_lines

    summary = relax_sdf(
        args.sdf, args.protein, args.ligand, args.out, args.workers, args.smiles,
        allow_dropped=args.allow_dropped, overwrite=args.overwrite,
    )  # fmt: skip
    say(*relaxation_lines(summary))
    print(f"written: {(args.out or args.sdf.parent) / POSES_FILE}")


def rank_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `rank`."""
    add = parser.add_argument
    add("folder", type=Path, help="results of `ligandsmith evaluate`")
    text = "columns of the results, 'vina_min, -strain_uff, qed:2': - for smaller is better, + for larger, :weight"
    add("--by", required=True, metavar="TERMS", help=text)
    add("--filters", default="", help="posebusters, connected, no-alerts, no-clashes, 'qed>0.4'; comma-separated")
    count = parser.add_mutually_exclusive_group()
    add_number(count, "--num", positive, 100, "number of molecules in top.sdf")
    count.add_argument("--diverse", type=positive, default=0, metavar="N", help="N diverse molecules of the best 5 N")
    add_overwrite(parser, "a choice by other criteria")


def run_rank(args: argparse.Namespace) -> None:
    """Choose the best of evaluated molecules."""
    from ligandsmith.evaluation.ranking import rank

    filters = args.filters.split(",")
    *lines, last = rank(args.folder, args.by, filters, args.diverse, args.num, args.overwrite).lines
    say(*lines)
    print(last)
