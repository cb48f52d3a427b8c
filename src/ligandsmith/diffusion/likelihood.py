"""Likelihood of latents under the diffusion model, in nats: a metric of its own, never the training loss.

The evidence lower bound in its continuous-time form (Kingma et al. 2021, "Variational diffusion models"):

    -log p(z) <= KL(q(z_low | z) ‖ N(0, I)) + dof/2 (log 2π - λ_high + 1) + ½ ∫ e^λ E‖z - ẑ_λ‖² dλ,  λ from low to high,

where λ = log(alpha² / sigma²). It needs clean-latent predictions only, so it holds for any target of the network. The
bound does not change when z_t is multiplied by a known factor: only the log-SNR matters. The straight path of flow
matching (alpha = 1 - t, sigma = t) and variance-exploding paths (alpha = 1) are therefore measured at the times at
which they have the log-SNR λ, with z_t on their own scale, and the first term is that of the variance-preserving z_t
of the same log-SNR, alpha² = sigmoid(λ_low).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ligandsmith.diffusion import rng
from ligandsmith.diffusion.process import Layout, Schedule

CleanAt = Callable[[Tensor, Tensor], Tensor]  # (z_t [B, N, D], t [B]) -> clean latents [B, N, D]


class NoiseGrid(NamedTuple):
    """Where the integral over the log-SNR is evaluated: one point in each of `points` equal strata of [low, high]."""

    points: int = 64
    low: float = -10.0
    high: float = 10.0


class Latents(NamedTuple):
    """Clean latents z [B, N, D] of molecules with mask [B, N]."""

    z: Tensor
    mask: Tensor
    layout: Layout


class DiffusionNLL(NamedTuple):
    """The terms of the bound, nats per molecule, each [B]."""

    prior: Tensor  # KL of the noisiest latents from N(0, I)
    start: Tensor  # the Gaussian step from the least noisy latents to clean ones
    denoising: Tensor  # the integral of the denoising error

    @property
    def total(self) -> Tensor:
        """The bound on -log p(z), nats per molecule, [B]."""
        return self.prior + self.start + self.denoising


def reachable(schedule: Schedule, grid: NoiseGrid) -> tuple[float, float]:
    """The part of [grid.low, grid.high] that the schedule passes through; the bound holds for any such interval."""
    ends = schedule.logsnr(torch.tensor([1.0, 0.0], dtype=torch.float64))
    return max(grid.low, float(ends[0])), min(grid.high, float(ends[1]))


@torch.no_grad()
def diffusion_nll(
    denoise: CleanAt, latents: Latents, schedule: Schedule, seeds: Tensor, grid: NoiseGrid | None = None
) -> DiffusionNLL:
    """Upper bound on -log p(z) for latents z. Bond orders are discrete: the least noisy z tells them for certain, and
    theirs is a probability, not a density.

    `seeds` [B] fix the noise. Unbiased. The best linear predictor, whose bound is known in closed form, is a control
    variate: what is sampled is only how the network differs from it.
    """
    grid = grid or NoiseGrid()
    low, high = reachable(schedule, grid)
    z, mask, layout = latents
    weight = layout.weight(mask)
    dof = weight.double().sum((1, 2))
    densities = weight[..., : layout.atom].double().sum((1, 2))
    energy = _squared(z, weight)
    difference = torch.zeros_like(energy)
    for point in range(grid.points):
        point_seeds = rng.fold_in(seeds, point)
        place = (rng.uniform(point_seeds, "likelihood log-snr").double() + point) / grid.points
        t = schedule.time_of_logsnr(low + (high - low) * place)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        a, s = (value.to(z.dtype).view(-1, 1, 1) for value in (alpha, sigma))
        noisy = (a * z + s * layout.noise(point_seeds, "likelihood noise", mask).to(z.dtype)) * (weight > 0)
        linear = a / (a.square() + s.square()) * noisy
        error = _squared(z - denoise(noisy, t.to(z.dtype)), weight) - _squared(z - linear, weight)
        difference = difference + (alpha / sigma).square() * error
    signal = 1 / (1 + math.exp(-low)), 1 / (1 + math.exp(-high))  # alpha² at the ends, variance-preserving
    prior = 0.5 * (signal[0] * energy - dof * (signal[0] + math.log1p(-signal[0])))
    start = 0.5 * densities * (math.log(2 * math.pi) - high + 1)
    gained = signal[1] - signal[0]
    linear_integral = gained * energy + dof * (math.log1p(math.exp(high)) - math.log1p(math.exp(low)) - gained)
    return DiffusionNLL(prior, start, 0.5 * linear_integral + 0.5 * (high - low) / grid.points * difference)


def _squared(value: Tensor, weight: Tensor) -> Tensor:
    """Squared norm over a molecule's degrees of freedom, float64 [B]."""
    return (value.double().square() * weight).sum((1, 2))
