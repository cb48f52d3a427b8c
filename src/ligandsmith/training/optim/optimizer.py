"""Optimizer, learning-rate schedule and scaling, exponential moving average of the weights."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ligandsmith.config import OptimizerConfig
from ligandsmith.errors import LigandsmithError
from ligandsmith.training.optim.muon import MuonAdamW


def make_optimizer(module: nn.Module, config: OptimizerConfig, learning_rate: float) -> torch.optim.Optimizer:
    """The optimizer named by the config over the trainable parameters; weight decay on matrices only."""
    if config.name == "muon":
        return MuonAdamW(module, config, learning_rate)
    if config.name != "adamw":
        raise LigandsmithError(f"unknown optimizer '{config.name}'; choose muon or adamw")
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(config.beta1, config.beta2))


def scaled_learning_rate(learning_rate: float, num_gpus: int) -> float:
    """Square-root scaling: the gradient noise falls with the root of the global batch."""
    return learning_rate * math.sqrt(num_gpus)


def learning_rate_factor(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Linear warm-up, then a cosine down to `final_lr_fraction` at `total_steps`."""
    warmup = min(config.warmup_steps, max(total_steps // 10, 1))
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
    low = config.final_lr_fraction
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))


class ExponentialMovingAverage:
    """Averaged parameters and copied buffers. Decay min(limit, (1 + n) / (10 + n)), so short runs average too."""

    def __init__(self, module: nn.Module, limit: float) -> None:
        self.limit, self.updates = limit, 0
        self.values = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.limit, (1 + self.updates) / (10 + self.updates))
        averaged: list[Tensor] = []
        current: list[Tensor] = []
        parameters = {name for name, _ in module.named_parameters()}
        for name, value in module.state_dict().items():
            if name in parameters:
                averaged.append(self.values[name])
                current.append(value.detach())
            else:
                self.values[name].copy_(value)
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = int(state["updates"])
        for name, value in state["values"].items():
            self.values[name].copy_(value)


class swapped_weights:
    """Context in which a module carries the averaged weights; the trained ones come back unchanged."""

    def __init__(self, module: nn.Module, average: ExponentialMovingAverage) -> None:
        self.module, self.average = module, average

    def __enter__(self) -> None:
        self.trained = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        self.module.load_state_dict(self.average.values)

    def __exit__(self, *_: object) -> None:
        self.module.load_state_dict(self.trained)
