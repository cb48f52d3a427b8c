"""Muon with AdamW in one optimizer, the learning-rate schedule, and the moving average of the weights.

Muon (Jordan et al. 2024) is momentum whose update of every matrix is orthogonalised by a few Newton-Schulz steps. Here
it runs in fp32 and for all matrices of one shape at once: `torch.optim.Muon` takes one at a time in bf16, which is an
order of magnitude slower on a CPU without bf16 arithmetic.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ligandsmith.config import OptimizerConfig
from ligandsmith.models.backbones import BLOCKS
from ligandsmith.models.layers import AdaptiveNorm

SMALLEST_SIDE = 16  # of a matrix that is worth orthogonalising
MUON_MOMENTUM = 0.95


def make_optimizer(module: nn.Module, config: OptimizerConfig, learning_rate: float) -> torch.optim.Optimizer:
    """The optimizer `config.name` for the trainable parameters; weight decay on matrices only."""
    if config.name == "muon":
        return MuonAdamW(module, config, learning_rate)
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(config.beta1, config.beta2))


def scaled_learning_rate(learning_rate: float, processes: int) -> float:
    """Square-root scaling: the gradient noise decreases with the root of the global batch size."""
    return learning_rate * math.sqrt(processes)


def learning_rate_factor(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Linear warm-up, then a cosine down to `final_lr_fraction` at `total_steps`."""
    warmup = min(config.warmup_steps, max(total_steps // 10, 1))
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
    low = config.final_lr_fraction
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))


def moving_average(module: nn.Module, limit: float) -> AveragedModel:
    """Exponential moving average of the parameters, with copies of the buffers: `.module` has the averaged weights.

    The decay is min(limit, (1 + n) / (10 + n)) at update n, so that short runs average too. The average starts at the
    present weights, so the first of torch's updates, which would only copy, counts as done.
    """

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], number: Tensor | int) -> None:
        n = int(number)
        torch._foreach_lerp_(list(averaged), list(current), 1 - min(limit, (1 + n) / (10 + n)))

    average = AveragedModel(module, multi_avg_fn=update)
    average.n_averaged += 1
    return average.requires_grad_(False)


def average_state(average: AveragedModel) -> dict[str, Any]:
    """The moving average as checkpoints store it."""
    return {"updates": int(average.n_averaged) - 1, "values": average.module.state_dict()}


def load_average_state(average: AveragedModel, state: dict[str, Any]) -> None:
    """The inverse of `average_state`."""
    average.n_averaged.fill_(int(state["updates"]) + 1)
    average.module.load_state_dict(state["values"])


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest matrices with singular values near one, [G, R, C], by a quintic Newton-Schulz iteration (Jordan 2024)."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.mT if tall else x


def block_matrices(module: nn.Module) -> list[nn.Parameter]:
    """Trainable weight matrices of the equivariant blocks, without those of adaptive norms, which start at zero."""
    found: list[nn.Parameter] = []
    for block in module.modules():
        if isinstance(block, tuple(BLOCKS.values())):
            norms = {id(p) for m in block.modules() if isinstance(m, AdaptiveNorm) for p in m.parameters()}
            found += [
                p for p in block.parameters()
                if p.requires_grad and p.ndim == 2 and min(p.shape) >= SMALLEST_SIDE and id(p) not in norms
            ]  # fmt: skip
    return found


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the matrices of the equivariant blocks (groups with `muon` true), AdamW for all other parameters.

    `lr_ratio` is the learning rate of a group relative to that of the run. `lr` and `count` of a group may be tensors,
    which a captured CUDA graph reads at each replay.
    """

    def __init__(self, module: nn.Module, config: OptimizerConfig, learning_rate: float) -> None:
        matrices = block_matrices(module)
        inside = {id(p) for p in matrices}
        others = [p for p in module.parameters() if p.requires_grad and id(p) not in inside]
        ratio = config.muon_lr_ratio
        groups: list[dict[str, Any]] = [
            {"params": matrices, "muon": True, "lr_ratio": ratio, "lr": learning_rate * ratio},
            {"params": [p for p in others if p.ndim >= 2], "muon": False},
            {"params": [p for p in others if p.ndim < 2], "muon": False, "weight_decay": 0.0},
        ]
        defaults = {
            "lr": learning_rate, "lr_ratio": 1.0, "weight_decay": config.weight_decay,
            "betas": (config.beta1, config.beta2),
        }  # fmt: skip
        super().__init__([g for g in groups if g["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; `closure` is not used."""
        for group in self.param_groups:
            members = [p for p in group["params"] if p.grad is not None]
            if not members:
                continue
            torch._foreach_mul_(members, 1 - group["lr"] * group["weight_decay"])
            if group["muon"]:
                by_shape: dict[torch.Size, list[Tensor]] = {}
                for p in members:
                    by_shape.setdefault(p.shape, []).append(p)
                for same in by_shape.values():
                    self._muon(group, same)
            else:
                self._adam(group, members)

    def _muon(self, group: dict[str, Any], members: list[Tensor]) -> None:
        gradient = torch.stack([p.grad for p in members if p.grad is not None])
        momenta = self._states(members, "momentum")
        torch._foreach_lerp_(momenta, list(gradient.unbind()), 1 - MUON_MOMENTUM)
        update = orthogonalised(gradient.lerp(torch.stack(momenta), MUON_MOMENTUM))
        rows, columns = members[0].shape
        scale = max(1.0, rows / columns) ** 0.5
        torch._foreach_sub_(members, list(update.mul(group["lr"] * scale).unbind()))

    def _states(self, members: list[Tensor], name: str) -> list[Tensor]:
        """The state tensor `name` of each parameter, zero at first."""
        for p in members:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p)
        return [self.state[p][name] for p in members]

    def _adam(self, group: dict[str, Any], members: list[Tensor]) -> None:
        gradients = [p.grad for p in members if p.grad is not None]
        beta1, beta2 = group["betas"]
        count = group.get("count", 0)
        count = group["count"] = count.add_(1) if isinstance(count, Tensor) else count + 1
        first, second = self._states(members, "first"), self._states(members, "second")
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        size = torch._foreach_sqrt(second)
        torch._foreach_div_(size, (1 - beta2**count) ** 0.5)
        torch._foreach_add_(size, 1e-8)
        change = torch._foreach_div(first, size)
        torch._foreach_mul_(change, group["lr"] / (1 - beta1**count))
        torch._foreach_sub_(members, change)
