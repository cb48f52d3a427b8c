"""The commands `train-vae`, `train-denoiser` and `train-all`, behind the scripts of the same names."""

# ruff: noqa: PLC0415 - imports inside the commands

import argparse
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ligandsmith.cli.arguments import add_number, add_options, explicit, non_negative, preset_name, say, with_flags
from ligandsmith.config import Config, DiffusionConfig, SamplingConfig, from_dict, load_config, override, preset
from ligandsmith.options import DataOptions, Hardware, TrainOptions

# Flags that stand for one field of the configuration: they override --set, which overrides --config and the preset.
CONFIG_FLAGS = {"cfg_dropout_prob": "diffusion", "cfg_scale": "sampling"}
NETWORKS = ("ligand_vae", "pocket_vae", "denoiser", "pocket")  # sections that belong to the weights
TRAIN_FLAGS = (
    "run_dir", "resume", "init_from", "max_steps", "max_minutes", "schedule_minutes", "save_minutes", "patience",
    "accumulate", "pair_budget", "seed", "validation_interval", "logger", "overwrite",
)  # fmt: skip


def _common_flags(parser: argparse.ArgumentParser, batch_size: int) -> None:
    parser.set_defaults(default_batch_size=batch_size)
    contract = parser.add_argument_group("training")
    add_options(contract, DataOptions, ["batch_size"], DataOptions(batch_size=batch_size))
    add_options(contract, TrainOptions, ["learning_rate", "num_epochs", "save_interval"])
    add_options(contract, DataOptions, ["num_workers"])
    add_options(contract, TrainOptions, TRAIN_FLAGS)
    add_options(parser.add_argument_group("hardware"), Hardware, [
        "device", "use_amp", "cpu_bf16", "threads", "gradient_checkpointing",
    ])  # fmt: skip
    add_options(
        parser.add_argument_group("data"), DataOptions, ["data", "cache_dir", "cache_size", "split_file", "limit"]
    )
    model = parser.add_argument_group(
        "model", "Precedence: a flag, then --set, then --config, then --init_from, then the preset, then the default."
    )
    add = model.add_argument
    add("--preset", type=preset_name, default="small", help="tiny, small, base, large or origin (default: %(default)s)")
    add("--config", type=Path, metavar="PATH", help="YAML or JSON file with values that override the preset")
    add("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override one value; repeatable")


def _diffusion_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("diffusion")
    add_options(group, DiffusionConfig, ["cfg_dropout_prob"])
    add_options(group, SamplingConfig, ["cfg_scale"])
    only = group.add_argument("--complexes_only", dest="ligand_only", action="store_false", default=argparse.SUPPRESS)
    only.help = "do not train on ligands without a pocket"
    add_options(group, DataOptions, ["ligands_per_complex"])


def configuration(args: argparse.Namespace) -> Config:
    """The configuration of a run: flag > --set > --config > checkpoint of --init_from (networks, pocket) > preset >
    default. Raises LigandsmithError."""
    config = preset(args.preset)
    if start := getattr(args, "init_from", None):
        saved, _ = _start(start, getattr(args, "model_type", None))
        config = replace(config, **{name: getattr(from_dict(Config, saved, str(start)), name) for name in NETWORKS})
    if args.config is not None:
        config = load_config(config, args.config)
    config = override(config, args.set)
    for name, section in CONFIG_FLAGS.items():
        if changes := explicit(args, [name]):
            config = replace(config, **{section: replace(getattr(config, section), **changes)})
    return config


@lru_cache(maxsize=1)
def _start(path: Path, model_type: str | None = None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The configuration of a checkpoint, and the VAEs that were frozen in its training."""
    from ligandsmith.checkpoints.files import VAE_KINDS, load_checkpoint

    content = load_checkpoint(path, ("denoiser", "joint") if model_type is None else (VAE_KINDS[model_type],))
    return content["config"], tuple(content.get("frozen_vaes", ()))


def train_request(args: argparse.Namespace) -> Any:
    """The training run that parsed flags stand for. Raises LigandsmithError."""
    from ligandsmith.training.loggers import require_logger
    from ligandsmith.training.options import Request

    data = with_flags(DataOptions(batch_size=args.default_batch_size), args)
    train, hardware = with_flags(TrainOptions(), args), with_flags(Hardware(), args)
    require_logger(train.logger)
    return Request(configuration(args), data, train, hardware, getattr(args, "cache_latents", False))


def train_vae_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `train-vae`."""
    parser.add_argument("--model_type", required=True, choices=["ligand", "protein"], help="the VAE to train")
    _common_flags(parser, batch_size=32)


def run_train_vae(args: argparse.Namespace) -> None:
    """Train the ligand or the protein VAE."""
    from ligandsmith.training import stages

    stages.train_vae(args.model_type, train_request(args))


def train_denoiser_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `train-denoiser`."""
    add = parser.add_argument
    add("--ligand_vae_path", type=Path, metavar="PATH", help="frozen ligand VAE; without it, one is trained too")
    add("--protein_vae_path", type=Path, metavar="PATH", help="frozen protein VAE; without it, one is trained too")
    add("--cache_latents", action="store_true", help="encode every pocket once with the frozen protein VAE")
    graphs = add("--cuda_graphs", dest="static_shapes", action="store_true", default=argparse.SUPPRESS)
    graphs.help = "on a GPU: capture steps as CUDA graphs and replay them"
    _common_flags(parser, batch_size=16)
    _diffusion_flags(parser)


def run_train_denoiser(args: argparse.Namespace) -> None:
    """Train the diffusion model."""
    from ligandsmith.training import stages

    paths = {"ligand": args.ligand_vae_path, "protein": args.protein_vae_path}
    if (start := getattr(args, "init_from", None)) and not any(paths.values()):
        paths |= dict.fromkeys(_start(start)[1], start)  # those that it was trained with
    stages.train_denoiser(train_request(args), paths["ligand"], paths["protein"])


def train_all_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of `train-all`."""
    add_options(parser, Hardware, ["num_gpus", "num_nodes"])
    add_number(parser, "--num_samples", non_negative, 4, "ligands sampled at the end; 0: none")
    _common_flags(parser, batch_size=16)
    _diffusion_flags(parser)


def run_train_all(args: argparse.Namespace) -> None:
    """Train both VAEs and the diffusion model together, then sample ligands for a validation pocket."""
    from ligandsmith.cli.final_samples import sample_after_training
    from ligandsmith.evaluation.evaluate import evaluate
    from ligandsmith.evaluation.output import summary_table
    from ligandsmith.training import stages

    request = train_request(args)
    if not stages.train_all(request).is_main or not args.num_samples:
        return
    checkpoint = request.train.run_dir / "best_model.pt"
    for name, (sdf, lines) in sample_after_training(request, checkpoint, args.num_samples).items():
        say(f"Samples for a validation pocket, {name}: {sdf}", *lines, summary_table(evaluate(sdf)))
