"""Radial bases: distances and times as features of a network."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MAX_EXPONENT = 30.0  # exp(-30) is 1e-13; an exp that underflows costs ten times as much on a CPU
FINE_END, FINE_STEP = 3.6, 0.005  # Å; a table's distances up to FINE_END, ...
FINE_ROWS = round(FINE_END / FINE_STEP)
COARSE_END, COARSE_STEP = 12.8, 0.02  # ... and beyond, as far as a Gaussian reaches


class Tabulated(NamedTuple):
    """A radial basis as places in a table of it: what is linear in the basis is read off the products of the table,
    which has far fewer rows than a batch has edges."""

    rows: Tensor  # [P, 2] long, of the table's distances on either side
    shares: Tensor  # [P, 2] of the two
    table: Tensor  # [ROWS, RadialBasis.SIZE]
    shape: torch.Size  # of the distances

    def product(self, weight: Tensor) -> Tensor:
        """basis @ weightᵀ, [..., O], to about 1e-3 of the largest weight."""
        values = self.table @ weight.t()
        found = F.embedding_bag(self.rows, values, mode="sum", per_sample_weights=self.shares)
        return found.view(*self.shape, -1)


class _Gaussians(torch.autograd.Function):
    """exp(-z²) of z = (distance - centers) · scale, then distance / 10; few passes over memory both ways."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, centers: Tensor, scale: Tensor) -> Tensor:
        z = distance.unsqueeze(-1).sub(centers).mul_(scale)
        out = torch.cat([z.square().clamp_(max=MAX_EXPONENT).neg_().exp_(), distance.unsqueeze(-1) * 0.1], -1)
        ctx.save_for_backward(z, scale, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        z, scale, out = ctx.saved_tensors
        gradient = gradients[0]
        through = (gradient[..., :-1] * out[..., :-1]).mul_(z) @ scale
        return gradient[..., -1] * 0.1 - 2 * through, None, None


class RadialBasis(nn.Module):
    """Two-resolution Gaussians of a distance in Å, [...] -> [..., SIZE]: fine over bond lengths, coarse beyond."""

    SIZE = 43
    centers: Tensor
    scale: Tensor
    table: Tensor  # [ROWS, SIZE] at distances FINE_STEP apart, from FINE_END on COARSE_STEP

    def __init__(self) -> None:
        super().__init__()
        fine, coarse = torch.linspace(0.8, 3.2, 25), torch.linspace(3.6, 10.0, 17)
        self.register_buffer("centers", torch.cat([fine, coarse]), persistent=False)
        width = torch.cat([torch.full((25,), 0.1), torch.full((17,), 0.4)])
        self.register_buffer("scale", math.sqrt(0.5) / width, persistent=False)
        near, far = torch.arange(FINE_ROWS) * FINE_STEP, torch.arange(FINE_END, COARSE_END, COARSE_STEP)
        self.register_buffer("table", self(torch.cat([near, far])), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        return _Gaussians.apply(distance.float(), self.centers, self.scale)

    def tabulated(self, distance: Tensor) -> Tabulated:
        """For distances of which only linear functions of the basis are needed, and those not to the last digit."""
        d = distance.flatten()
        place = torch.where(d < FINE_END, d / FINE_STEP, (d - FINE_END) / COARSE_STEP + FINE_ROWS)
        row = place.long().clamp_(max=len(self.table) - 2)  # beyond the end only the last, linear feature is left
        share = place - row
        rows, shares = torch.stack([row, row + 1], 1), torch.stack([1 - share, share], 1)
        return Tabulated(rows, shares, self.table, distance.shape)


class FourierTime(nn.Module):
    """Fourier features of a time in [0, 1], [...] -> [..., size]."""

    frequencies: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(0, 2.5, size // 2), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angle = t.float().unsqueeze(-1) * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], -1)
