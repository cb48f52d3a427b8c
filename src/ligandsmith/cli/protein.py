"""The command `prepare-protein`."""

# ruff: noqa: PLC0415 - imports inside the command

import argparse
from pathlib import Path

from ligandsmith.cli.arguments import add_allow_dropped, add_overwrite, add_path, add_smiles, checked, say
from ligandsmith.config import Setting


def prepare_protein_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `prepare-protein`."""
    add = parser.add_argument
    add("protein", type=Path, help="protein: PDB or mmCIF, also .gz")
    add_path(parser, "--out", "prepared protein, .pdb or .cif; NAME.json beside it is the report", required=True)
    add(
        "--ph",
        type=checked(float, Setting("", 0, 14)),
        default=7.4,
        metavar="X",
        help="pH (0 to 14; default: %(default)s)",
    )
    add("--chains", type=_names, default=(), metavar="A,B", help="chains to keep (default: all)")
    text = (
        "molecules to keep: metals, cofactors, ligands, buffers, NAME, CHAIN:NAME:NUMBER, none (default: the first two)"
    )
    add("--keep", type=_names, default=("metals", "cofactors"), metavar="NAMES", help=text)
    site = parser.add_mutually_exclusive_group()
    add_path(
        site, "--ligand", "ligand of the site, for pKa and hydrogens: SDF or MOL2; its copy in the file is left out"
    )
    site.add_argument(
        "--het", default="", metavar="NAME", help="the same, in the protein file: NAME or CHAIN:NAME:NUMBER"
    )
    reach = checked(float, Setting("", 0, 100))
    add(
        "--keep_waters",
        type=reach,
        default=0.0,
        metavar="X",
        help="keep waters within X Å of the ligand (default: none)",
    )
    add_smiles(parser)
    add_allow_dropped(parser)
    add_overwrite(parser, "both files")


def _names(text: str) -> tuple[str, ...]:
    """Names separated by commas; nothing for the word `none`."""
    return () if text == "none" else tuple(name for name in text.replace(",", " ").split())


def run_prepare_protein(args: argparse.Namespace) -> None:
    """Choose, complete and protonate a protein, and say what was done."""
    from ligandsmith.structure.ligands import read_ligand
    from ligandsmith.structure.protein_preparation import (
        PreparationOptions,
        prepare_protein,
        require_new,
        write_prepared,
    )

    require_new(args.out, args.protein, args.overwrite)
    options = PreparationOptions(args.ph, args.keep_waters, args.chains, args.keep)
    ligand = None if args.ligand is None else read_ligand(args.ligand, args.smiles)
    prepared = prepare_protein(args.protein, options, ligand, args.het, args.allow_dropped)
    report = write_prepared(prepared, args.out)
    say(*prepared.report.lines())
    print(f"written: {args.out}, {report}")
