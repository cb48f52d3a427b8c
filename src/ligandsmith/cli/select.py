"""The commands for molecules that exist already: `relax` and `rank`. Flags and printing, as in `cli`."""

# ruff: noqa: PLC0415 - imports inside the commands

import argparse
from pathlib import Path

from ligandsmith.cli.arguments import positive


def relax_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("sdf", type=Path, help="ligands in their pocket; the file is not changed")
    add("--protein", type=Path, required=True, help="PDB or mmCIF, also .gz")
    add("--ligand", type=Path, help="reference ligand, whose copy in the protein file is left out")
    add("--out", type=Path, help="folder of relaxed.sdf and relax.json (default: that of the SDF)")
    add("--workers", type=positive, default=1, help="processes (%(default)s)")


def relax(args: argparse.Namespace) -> None:
    from ligandsmith.evaluation.relaxation import POSES_FILE, relax_sdf, summary_lines

    summary = relax_sdf(args.sdf, args.protein, args.ligand, args.out, args.workers)
    print(*summary_lines(summary), f"written: {(args.out or args.sdf.parent) / POSES_FILE}", sep="\n")


def rank_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, help="where ligandsmith evaluate wrote its results")
    add("--by", required=True, metavar="TERMS", help="'vina_min, -strain_uff, qed:2': -smaller, +larger, :weight")
    add("--filters", default="", help="posebusters, connected, no-alerts, no-clashes, 'qed>0.4'; comma-separated")
    count = parser.add_mutually_exclusive_group()
    count.add_argument("--num", type=positive, default=100, help="how many of the best go to top.sdf (%(default)s)")
    count.add_argument("--diverse", type=positive, default=0, metavar="N", help="N unlike each other, of the best 5 N")


def rank(args: argparse.Namespace) -> None:
    from ligandsmith.evaluation.ranking import rank as rank_molecules

    print(*rank_molecules(args.folder, args.by, args.filters.split(","), args.diverse, args.num).lines, sep="\n")
