"""The command `finetune`."""

# ruff: noqa: PLC0415 - imports inside the command

import argparse
from pathlib import Path

from ligandsmith.cli.arguments import add_options, add_overwrite, add_path, say, with_flags
from ligandsmith.finetuning.options import FinetuneOptions
from ligandsmith.options import Hardware


def finetune_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `finetune`."""
    first = parser.add_argument_group("most used", "Own data: give exactly one of --data, --ligands, --smiles.")
    text = "weights to start from: shipped weights (small, tiny), a .pt file, or an exported folder (default: small)"
    first.add_argument("--checkpoint", default=argparse.SUPPRESS, metavar="NAME|PATH", help=text)
    add_options(first, FinetuneOptions, ["data", "ligands", "protein", "smiles", "lora", "minutes"])
    add_path(first, "--out", "folder of what is made; an interrupted run continues there", required=True)
    add_overwrite(first, "another fine-tuning in the folder")
    training = parser.add_argument_group("training", "Without a value: what fits the number of own records.")
    add_options(training, FinetuneOptions, [
        "mix", "mix_data", "hold_out", "steps", "learning_rate", "batch_size", "patience", "lora_targets", "samples",
        "seed", "workers",
    ])  # fmt: skip
    add_options(parser.add_argument_group("hardware"), Hardware, ["device", "threads"])


def run_finetune(args: argparse.Namespace) -> None:
    """Fine-tune a denoiser on own data."""
    from ligandsmith.finetuning.run import ADAPTER_FILE, RECORD, WEIGHTS, finetune, summary

    options = with_flags(FinetuneOptions(), args)
    record = finetune(options, args.out, with_flags(Hardware(), args), args.overwrite)
    say(*summary(record))
    made = [RECORD, WEIGHTS] if options.lora is None else [RECORD, WEIGHTS, ADAPTER_FILE]
    out: Path = args.out
    print(f"written: {', '.join(str(out / name) for name in made)}")
    base = out / WEIGHTS if options.lora is None else options.checkpoint
    adapter = "" if options.lora is None else f" --adapter {out / ADAPTER_FILE}"
    say(f"use it with: ligandsmith generate --checkpoint {base}{adapter}")
