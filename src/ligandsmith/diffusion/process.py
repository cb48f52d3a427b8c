"""The noising process: noise added, and conversions between the network's target, clean latents and noise.

One parametrisation object covers both targets. With v = alpha² + sigma²:
  f:   clean = (alpha/v) z_t + (sigma/√v) F   (target of unit variance; Karras et al. 2022)
  eps: clean = (1/alpha) z_t - (sigma/alpha) F (target: the noise)
In both, |clean - z|² / out² is the squared error of F, and predicting F = 0 scores 1.0 per dimension.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ligandsmith.config import DiffusionConfig
from ligandsmith.diffusion import rng as noise
from ligandsmith.diffusion.schedule import Schedule


class Coefficients(NamedTuple):
    """Per-molecule factors, [B, 1, 1] (or any shape that broadcasts)."""

    alpha: Tensor
    sigma: Tensor
    skip: Tensor  # clean = skip · z_t + out · F
    out: Tensor
    scale_in: Tensor  # brings z_t to unit variance
    mean: Tensor  # best linear guess of the clean latent: mean · z_t
    spread: Tensor  # r.m.s. error of that guess


class Given(NamedTuple):
    """What a ligand is asked to have; None: nothing. Coordinates and mutual bonds of fixed atoms stand in z itself."""

    fixed: Tensor | None = None  # [B, N] bool, atoms of a fragment that is to be completed
    fragment: Tensor | None = None  # [B, N, Z] normalised latents of the fragment by itself, zero elsewhere
    properties: Tensor | None = None  # [B, P] NaN where any value will do

    def with_and_without(self) -> "Given":
        """Every molecule twice in a row, the second time with no property told; what is fixed stays."""
        twice = self.repeated(2)
        if twice.properties is None:
            return twice
        second = torch.arange(len(twice.properties), device=twice.properties.device) % 2 == 1
        return twice._replace(properties=twice.properties.masked_fill(second.unsqueeze(-1), torch.nan))

    def repeated(self, times: int) -> "Given":
        """Every molecule `times` times in a row."""
        return Given(*(part if part is None else part.repeat_interleave(times, 0) for part in self))


NOTHING = Given()


class NoisyLigand(NamedTuple):
    """A denoiser's input. z [B, N, 3 + Z] is noised, normalised; coefficients and times are per modality."""

    z: Tensor
    mask: Tensor  # [B, N]
    t_x: Tensor  # [B]
    t_h: Tensor  # [B]
    c_x: Coefficients
    c_h: Coefficients
    scale_x: Tensor  # Å per unit of z_x
    previous: Tensor | None = None  # [B, N, 3 + Z], an earlier estimate of the clean latents
    given: Given = NOTHING


def joined(c_x: Coefficients, c_h: Coefficients, width: int) -> Coefficients:
    """Coefficients of z [B, N, width]: the first three columns by c_x, the others by c_h; each [B, 1, width]."""
    return Coefficients(
        *(torch.cat([x.expand(-1, 1, 3), h.expand(-1, 1, width - 3)], -1) for x, h in zip(c_x, c_h, strict=True))
    )


def coefficients(schedule: Schedule, t: Tensor, prediction: str) -> Coefficients:
    """Factors at times t [B] for the target `f` or `eps`."""
    t = t.view(-1, 1, 1)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    variance = alpha.square() + sigma.square()
    mean, spread = alpha / variance, sigma * variance.rsqrt()
    if prediction == "f":
        return Coefficients(alpha, sigma, mean, spread, variance.rsqrt(), mean, spread)
    floor = alpha.clamp(min=1e-4)  # t = 1 of the linear path has alpha = 0
    return Coefficients(alpha, sigma, 1 / floor, -sigma / floor, variance.rsqrt(), mean, spread)


def add_noise(z: Tensor, eps: Tensor, c: Coefficients) -> Tensor:
    """z_t = alpha z + sigma ε."""
    return c.alpha * z + c.sigma * eps


def to_clean(z_t: Tensor, prediction: Tensor, c: Coefficients) -> Tensor:
    """The network's target -> clean latents."""
    return c.skip * z_t + c.out * prediction


def target(z: Tensor, eps: Tensor, c: Coefficients) -> Tensor:
    """The value of the network's target that gives the clean latents back exactly.

    Written in z and ε, so that no small difference of large numbers is divided by a small `out`.
    """
    return ((1 - c.skip * c.alpha) * z - c.skip * c.sigma * eps) / c.out.where(c.out != 0, 1)


def to_noise(z_t: Tensor, clean: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noise that leads from `clean` to z_t."""
    return (z_t - alpha * clean) / sigma


def draw_times(keys: Tensor, config: DiffusionConfig) -> tuple[Tensor, Tensor]:
    """(t_x, t_h), each [B]: logit-normal mixed with uniform; equal, or independent for a share `separate_times`."""
    t_x, t_other = (_draw(keys, stream, config) for stream in ("t_x", "t_h"))
    separate = noise.uniform(keys, "separate times") < config.separate_times
    return t_x, torch.where(separate, t_other, t_x)


def _draw(keys: Tensor, stream: str, config: DiffusionConfig) -> Tensor:
    gaussian = noise.normal(keys, stream, (1,)).squeeze(-1)
    t = torch.sigmoid(config.time_mean + config.time_sd * gaussian)
    flat = noise.uniform(keys, f"{stream} uniform")
    t = torch.where(noise.uniform(keys, f"{stream} mix") < config.time_uniform, flat, t)
    return t.clamp(config.min_time, 1.0)
