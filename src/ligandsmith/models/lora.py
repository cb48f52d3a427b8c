"""Low-rank adaptation (LoRA; Hu et al. 2021) of linear layers: W + scale · B A with few trained numbers.

An adapter is a parametrization of the weight, so that code that reads `layer.weight` sees the adapted matrix, too.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ligandsmith.errors import LigandsmithError

SCALE = 2.0  # of B A
TARGETS: dict[str, tuple[str, ...]] = {  # parts of the names of the layers that get an adapter
    "all": ("",),
    "blocks": ("_blocks.",),
    "attention": (".query", ".key", ".value", ".out", ".edge_"),
}


class LowRank(nn.Module):
    """Parametrization of a weight [O, I] by A [R, I] and B [O, R]. B starts at zero: nothing changes at first."""

    def __init__(self, weight: Tensor, rank: int, scale: float = SCALE) -> None:
        super().__init__()
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rank, weight.shape[1]).normal_(std=weight.shape[1] ** -0.5))
        self.b = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight [O, I]."""
        return weight + low_rank_update(self.a, self.b, self.scale)


def low_rank_update(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale · B A, [O, I], of A [R, I] and B [O, R]."""
    return scale * (b @ a)


def target_layers(module: nn.Module, targets: str = "all") -> dict[str, nn.Linear]:
    """The linear layers of a module that `targets` names, by their own names. Raises LigandsmithError for others."""
    if targets not in TARGETS:
        raise LigandsmithError(f"--lora_targets {targets}: choose one of {', '.join(TARGETS)}")
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    return {name: layer for name, layer in layers.items() if any(part in f".{name}" for part in TARGETS[targets])}


def add_adapters(module: nn.Module, rank: int, targets: str = "all") -> int:
    """Freeze a module and give each target layer an adapter; returns the number of trained parameters.

    The rank of a layer is at most its smaller side. Raises LigandsmithError for a rank below one.
    """
    if rank < 1:
        raise LigandsmithError(f"--lora {rank}: a rank of 1 or more is expected; leave it out for full fine-tuning")
    module.requires_grad_(False)
    for layer in target_layers(module, targets).values():
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, min(rank, *layer.weight.shape)))
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def adapters(module: nn.Module) -> dict[str, LowRank]:
    """The adapters of a module, by the name of their layer."""
    found: dict[str, Any] = {}
    for name, layer in module.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            found[name] = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
    return found


def merged_state(
    state: Mapping[str, Tensor], pairs: Mapping[str, tuple[Tensor, Tensor]], scale: float
) -> dict[str, Tensor]:
    """A state dict with the updates of adapters (A, B), by the name of their layer. Raises KeyError for a layer that
    is not there and RuntimeError for one of another shape."""
    merged = dict(state)
    for name, (a, b) in pairs.items():
        merged[f"{name}.weight"] = state[f"{name}.weight"] + low_rank_update(a.float(), b.float(), scale)
    return merged
