"""What a training run is made of: a request, its progress, and the interface of a stage."""

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from ligandsmith.config import Config
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
