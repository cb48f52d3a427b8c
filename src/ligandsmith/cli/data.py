"""The commands that make and change data sets: `prepare`, `split`, `conformers`, `properties`, `pseudo-complexes`."""

# ruff: noqa: PLC0415 - imports inside the commands

import argparse
from pathlib import Path
from typing import Any

from ligandsmith.cli.arguments import (
    add_allow_dropped,
    add_engine,
    add_number,
    add_overwrite,
    add_path,
    add_seed,
    add_workers,
    positive,
    probability,
    say,
)
from ligandsmith.files import path_or_uri

DATASET = "a data set in the folder"
LAYOUT_NAMES = ("folders", "pdbbind", "plinder", "bindingmoad", "crossdocked")  # a test compares them with the registry


def _say_counts(manifest: Any, kind: str, what: str) -> None:
    """The number of records, and the number of rejected ones by reason."""
    say(f"{manifest.counts.get(kind, 0)} {what}")
    for reason, count in manifest.rejection_counts().items():
        say(f"  {count} refused: {reason}")


def prepare_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `prepare`."""
    parser.add_argument(
        "source", type=path_or_uri, help="folder of complexes, or a CSV with id, protein, ligand or het[, smiles]"
    )
    parser.add_argument("--out", type=path_or_uri, required=True, help="folder of the new data set, or its URI")
    text = "how the source's files lie: as above, or a published data set as it is unpacked (default: %(default)s)"
    parser.add_argument("--layout", choices=LAYOUT_NAMES, default="folders", help=text)
    add_engine(parser, "a Ray cluster, in units that an interrupted run keeps")
    add_path(parser, "--split_file", "CSV with id, split")
    add_allow_dropped(parser)
    add_overwrite(parser, DATASET)


def run_prepare(args: argparse.Namespace) -> None:
    """Read complexes and write a data set."""
    from ligandsmith.data.preparation import PrepareOptions, prepare

    options = PrepareOptions(
        args.workers,
        args.layout,
        allow_dropped=args.allow_dropped,
        split_file=args.split_file,
        overwrite=args.overwrite,
        engine=args.engine,
    )
    manifest = prepare(args.source, args.out, options)
    _say_counts(manifest, "complexes", f"complexes written to {args.out}")
    splits = {key.partition("/")[2]: n for key, n in manifest.counts.items() if key.startswith("complexes/")}
    if len(splits) > 1:
        say(f"  splits: {', '.join(f'{name} {n}' for name, n in splits.items())}")


def split_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `split`."""
    add = parser.add_argument
    add("data", type=Path, help="data set folder")
    text = "what keeps records together (default: %(default)s)"
    add("--by", choices=["sequence", "scaffold", "random", "file"], default="sequence", help=text)
    add_number(parser, "--identity", probability, 0.3, "maximum sequence identity between splits, 0 to 1", "X")
    add_seed(parser)
    add_path(parser, "--file", "CSV with id, split, for --by file")


def run_split(args: argparse.Namespace) -> None:
    """Split a data set and report leakage."""
    from ligandsmith.data.dataset import open_dataset
    from ligandsmith.data.splitting import split_dataset
    from ligandsmith.files import held_alone

    with held_alone(open_dataset(args.data)):
        report = split_dataset(args.data, args.by, args.identity, seed=args.seed, file=args.file)
    say(*report.lines())


def conformers_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `conformers`."""
    parser.add_argument("smiles", type=Path, help="one SMILES and optional name per line, also .gz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new data set")
    add_workers(parser)
    add_seed(parser)
    add_overwrite(parser, DATASET)


def run_conformers(args: argparse.Namespace) -> None:
    """Embed molecules in 3D and write a data set of ligands."""
    from ligandsmith.data.conformers import EmbedOptions, embed_conformers

    options = EmbedOptions(seed=args.seed, workers=args.workers, overwrite=args.overwrite)
    manifest = embed_conformers(args.smiles, args.out, options)
    _say_counts(manifest, "ligands", f"conformers written to {args.out}")


def properties_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `properties`."""
    parser.add_argument("data", type=Path, help="data set folder")


def run_properties(args: argparse.Namespace) -> None:
    """Compute QED, SA and logP of a data set's ligands."""
    from ligandsmith.data.dataset import open_dataset
    from ligandsmith.data.properties import FILE, write_properties
    from ligandsmith.files import held_alone

    with held_alone(open_dataset(args.data)):
        count = write_properties(args.data)
    say(f"properties of {count} ligands written to {args.data / FILE}")


def pseudo_complexes_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `pseudo-complexes`."""
    add = parser.add_argument
    add("source", type=Path, help="a protein file, or a folder of protein files or of folders with one each")
    add("--out", type=Path, required=True, help="folder of the new data set")
    add_number(parser, "--per_protein", positive, 50, "maximum number per protein of each kind")
    add("--licence", default="", help="licence of the proteins, written into every record")
    add_allow_dropped(parser)
    add_seed(parser)
    add_overwrite(parser, DATASET)


def run_pseudo_complexes(args: argparse.Namespace) -> None:
    """Cut peptides and side chains out of proteins as a data set for pre-training (ProFSA; Gao et al. 2024)."""
    from ligandsmith.data.pseudo.complexes import CutOptions
    from ligandsmith.data.pseudo.dataset import write_pseudo_complexes

    options = CutOptions(per_protein=args.per_protein, seed=args.seed, overwrite=args.overwrite)
    manifest = write_pseudo_complexes(args.source, args.out, options, args.licence, args.allow_dropped)
    _say_counts(manifest, "complexes", f"pseudo-complexes written to {args.out}")
