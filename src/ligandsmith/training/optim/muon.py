"""Muon for the matrices inside the equivariant blocks, AdamW for everything else, in one optimizer.

Muon (Jordan et al. 2024): momentum whose update of every matrix is orthogonalised by a few Newton-Schulz steps. In fp32
and for all matrices of a shape at once: `torch.optim.Muon` takes one at a time in bf16, which is an order of magnitude
slower on a CPU without it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ligandsmith.config import OptimizerConfig
from ligandsmith.models.layers import BLOCKS, AdaptiveNorm

SMALLEST_SIDE = 16  # of a matrix that is worth orthogonalising
MOMENTUM = 0.95


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
    """Trainable weight matrices of the equivariant blocks, without those of the adaptive norms, which start at zero."""
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
    """Groups with `muon` true go by Muon, the others by AdamW; `lr_ratio`: a group's share of the run's rate.

    A group's `lr` and `count` may be tensors, which a captured step reads anew each time.
    """

    def __init__(self, module: nn.Module, config: OptimizerConfig, learning_rate: float) -> None:
        matrices = block_matrices(module)
        inside = {id(p) for p in matrices}
        rest = [p for p in module.parameters() if p.requires_grad and id(p) not in inside]
        ratio = config.muon_lr_ratio
        groups: list[dict[str, Any]] = [
            {"params": matrices, "muon": True, "lr_ratio": ratio, "lr": learning_rate * ratio},
            {"params": [p for p in rest if p.ndim >= 2], "muon": False},
            {"params": [p for p in rest if p.ndim < 2], "muon": False, "weight_decay": 0.0},
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
        torch._foreach_lerp_(momenta, list(gradient.unbind()), 1 - MOMENTUM)
        update = orthogonalised(gradient.lerp(torch.stack(momenta), MOMENTUM))
        rows, columns = members[0].shape
        scale = max(1.0, rows / columns) ** 0.5
        torch._foreach_sub_(members, list(update.mul(group["lr"] * scale).unbind()))

    def _states(self, members: list[Tensor], name: str) -> list[Tensor]:
        """A tensor of that name for each parameter, zero at first."""
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
