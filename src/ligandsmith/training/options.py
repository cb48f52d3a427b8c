"""What a training run is made of: a request, its progress, and the interface of a stage."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ligandsmith.config import Config
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import held_alone, refuse_other
from ligandsmith.options import DataOptions, Hardware, TrainOptions


@dataclass(frozen=True)
class Request:
    """One training run: model, data, options and hardware."""

    config: Config
    data: DataOptions
    train: TrainOptions
    hardware: Hardware = field(default_factory=Hardware)
    cache_latents: bool = False  # encode every pocket once with the frozen VAE


@dataclass
class Progress:
    """The position of a run, as checkpoints store it."""

    epoch: int = 1
    step: int = 0  # optimizer steps
    batch: int = 0  # batches done of this epoch
    loss_sum: float = 0.0
    molecules: float = 0.0
    skipped: int = 0
    minutes: float = 0.0  # of training, if the learning rate follows the time
    best: float = math.inf
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    is_main: bool = True  # the process that writes files and logs


def own_files(kind: str) -> list[str]:
    """Names and patterns, within the run folder, of what a run with this kind of checkpoint leaves."""
    best, epoch, plot = file_names(kind)
    last = epoch.removesuffix("_epoch")
    return [
        f"best_{best}.pt", f"checkpoints/{last}_last.pt", f"checkpoints/{epoch}_*.pt", f"{plot}_*.png",
        f"{best}_history.json", f"{best}_report_card.json",
    ]  # fmt: skip


@contextmanager
def held_run_folder(train: TrainOptions, kind: str, fabric: Any) -> Iterator[None]:
    """Hold the run folder for this model alone: the first process does, on behalf of all.

    Raises LigandsmithError, in every process, if another one trains this model there, or if it holds an earlier run
    that is neither resumed nor overwritten. Other models may be trained in the same folder at the same time.
    """
    refusal = ""
    with ExitStack() as held:
        if fabric.is_global_zero:
            try:
                held.enter_context(held_alone(train.run_dir / "logs" / file_names(kind)[0]))
                inside = Path(train.resume).resolve().is_relative_to(train.run_dir.resolve()) if train.resume else False
                changed: list[str] | None = [] if train.resume == "auto" or inside else None
                _require_kept_start(train, kind)
                instead = "continue it with --resume auto, choose another --run_dir"
                refuse_other(
                    train.run_dir, own_files(kind), changed, train.overwrite, instead, f"a {kind.replace('_', ' ')}"
                )
            except (LigandsmithError, OSError) as error:
                refusal = str(error)
        if refusal := fabric.broadcast(refusal):
            raise LigandsmithError(refusal)
        yield


def _require_kept_start(train: TrainOptions, kind: str) -> None:
    """Raise LigandsmithError if --overwrite would remove the checkpoint that the run starts from."""
    start = train.init_from
    if train.overwrite and start is not None and not train.resume:
        removed = {path.resolve() for name in own_files(kind) for path in train.run_dir.glob(name)}
        if start.resolve() in removed:
            raise LigandsmithError(f"--init_from {start}: --overwrite would remove it; choose another --run_dir")


def logged_settings(config: Config, train: TrainOptions) -> dict[str, Any]:
    """Configuration and options of a run by "section.key", as loggers show them."""
    named = {"preset": config.preset} | {f"train.{key}": value for key, value in asdict(train).items()}
    for section, values in asdict(config).items():
        named |= {f"{section}.{key}": v for key, v in values.items()} if isinstance(values, dict) else {}
    return {key: str(value) if isinstance(value, Path) else value for key, value in named.items()}


def file_names(kind: str) -> tuple[str, str, str]:
    """Names for best_{...}.pt, checkpoints/{...}_{N}.pt and {...}_{N}.png of a run with this kind of checkpoint."""
    if kind == "joint":
        return "model", "checkpoint_epoch", "losses_epoch"
    return kind, f"{kind}_epoch", f"{kind}_losses_epoch"


class Stage(Protocol):
    """What is trained, and its part of a checkpoint."""

    kind: str  # of the checkpoint
    module: nn.Module  # (batch, seeds, step_seed, weight) -> LossReport
    config: Config

    def state_dict(self) -> dict[str, Any]:
        """`vae_state`, `diffusion_state`, vocabulary and fingerprints, as checkpoints store them."""

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """The inverse of `state_dict`. Raises LigandsmithError if the checkpoint does not fit."""
