"""What a training run is made of: its options, its progress, and the interface of a stage."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ligandsmith.config import Config
from ligandsmith.training.hardware import Hardware
from ligandsmith.training.loaders import DataOptions


@dataclass(frozen=True)
class TrainOptions:
    """Options of a run that are not part of the model."""

    run_dir: Path
    learning_rate: float = 1e-4
    num_epochs: int = 100
    save_interval: int = 10  # epochs
    seed: int = 0
    max_steps: int = 0  # 0: no limit; the learning-rate schedule then spans num_epochs
    max_minutes: float = 0.0  # 0: no limit
    accumulate: int = 1  # batches per optimizer step
    pair_budget: int = 0  # atom pairs (Σ N², padded) at a time; larger batches are run in micro-batches; 0: no limit
    patience: int = 0  # epochs without a better validation loss before stopping; 0: never stop early
    validation_interval: int = 1  # epochs between validations
    resume: str = ""  # path of a checkpoint, or "auto"
    init_from: Path | None = None  # checkpoint of the same kind and sizes whose weights a new run starts from


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
    best: float = math.inf
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    is_main: bool = True  # the process that writes files and logs


class Stage(Protocol):
    """What is trained, the names of its files, and its part of a checkpoint."""

    kind: str  # of the checkpoint
    best_name: str  # best_{...}.pt
    epoch_name: str  # checkpoints/{epoch_name}_{N}.pt
    plot_name: str  # {plot_name}_{N}.png
    module: nn.Module  # (batch, seeds, step_seed, weight) -> LossReport
    config: Config

    def state_dict(self) -> dict[str, Any]:
        """`vae_state`, `diffusion_state`, vocabulary and fingerprints, as checkpoints store them."""

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """The inverse of `state_dict`. Raises LigandsmithError if the checkpoint does not fit."""
