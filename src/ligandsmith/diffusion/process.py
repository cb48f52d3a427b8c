"""The noising process of ligand latents: schedules, columns of the latents, noise, and the network's target.

z_t = alpha(t) z + sigma(t) ε with t in [0, 1] (0 data, 1 noise) and log-SNR λ = log(alpha² / sigma²). The network
predicts F, one of two targets. With v = alpha² + sigma²:

    f:   clean = (alpha / v) z_t + (sigma / √v) F   (target of unit variance; Karras et al. 2022, "EDM")
    eps: clean = (1 / alpha) z_t - (sigma / alpha) F (target: the noise; Ho et al. 2020)

In both, |clean - z|² / out² is the squared error of F, and predicting F = 0 scores 1.0 per dimension.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ligandsmith.config import DiffusionConfig
from ligandsmith.diffusion import rng
from ligandsmith.errors import LigandsmithError

MIN_ALPHA = 1e-4  # the linear schedule has alpha = 0 at t = 1


@dataclass(frozen=True)
class Schedule:
    """Noise schedule: alpha(t) and sigma(t) of times t, and the time of a log-SNR."""

    alpha: Callable[[Tensor], Tensor]
    sigma: Callable[[Tensor], Tensor]
    time_of_logsnr: Callable[[Tensor], Tensor]

    def logsnr(self, t: Tensor) -> Tensor:
        """λ(t), strictly decreasing."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())


def linear() -> Schedule:
    """The straight path of flow matching (Lipman et al. 2023): alpha = 1 - t, sigma = t."""
    return Schedule(lambda t: 1 - t, lambda t: t, lambda logsnr: torch.sigmoid(-logsnr / 2))


def cosine() -> Schedule:
    """Variance-preserving (Nichol and Dhariwal 2021): alpha = cos(π t / 2), sigma = sin(π t / 2)."""
    return Schedule(
        lambda t: torch.cos(t * (math.pi / 2)),
        lambda t: torch.sin(t * (math.pi / 2)),
        lambda logsnr: torch.atan(torch.exp(-logsnr / 2)) * (2 / math.pi),
    )


def polynomial_2(precision: float = 1e-4) -> Schedule:
    """Variance-preserving (Hoogeboom et al. 2022): alpha² = (1 - 2s)(1 - t²)² + s with s = `precision`."""
    s = precision

    def sigma(t: Tensor) -> Tensor:
        squared = t.square()  # 1 - alpha², expanded so that a small t loses no digits
        return ((1 - 2 * s) * squared * (2 - squared) + s).sqrt()

    def time_of_logsnr(logsnr: Tensor) -> Tensor:
        squared = ((torch.sigmoid(logsnr) - s) / (1 - 2 * s)).clamp(0, 1)
        return (1 - squared.sqrt()).clamp(min=0).sqrt()

    return Schedule(lambda t: ((1 - 2 * s) * (1 - t.square()).square() + s).sqrt(), sigma, time_of_logsnr)


def make_schedule(name: str, precision: float = 1e-4) -> Schedule:
    """The schedule with the given name; `precision` is used by `polynomial_2`. Raises LigandsmithError."""
    schedules: dict[str, Callable[[], Schedule]] = {
        "linear": linear, "cosine": cosine, "polynomial_2": partial(polynomial_2, precision)
    }  # fmt: skip
    if name not in schedules:
        raise LigandsmithError(f"unknown noise schedule '{name}'; choose one of: {', '.join(schedules)}")
    return schedules[name]()


class Layout(NamedTuple):
    """Columns of ligand latents z [B, N, D]: coordinates, `features`, and the bonds of each atom if `orders` > 0.

    Bonds are one-hot bond orders to all N atoms, symmetric, and zero on the diagonal and on padding. Samplers and
    guidance treat latents as columns of numbers; only this class knows what they stand for.
    """

    features: int
    orders: int = 0

    @property
    def atom(self) -> int:
        """Number of columns of coordinates and features. The columns of the bonds follow."""
        return 3 + self.features

    def width(self, atoms: int) -> int:
        """Number of columns for molecules padded to `atoms`."""
        return self.atom + self.orders * atoms

    def with_bonds(self, z: Tensor, bonds: Tensor, mask: Tensor) -> Tensor:
        """Append bond classes [B, N, N] to z [B, N, 3 + features]; returns [B, N, D]."""
        if not self.orders:
            return z
        one_hot = F.one_hot(bonds, self.orders) * real_pairs(mask).unsqueeze(-1)
        return torch.cat([z, one_hot.to(z.dtype).flatten(2)], -1)

    def bonds(self, z: Tensor) -> Tensor:
        """Bond orders [B, N, N, orders] of z [B, N, D]."""
        return z[..., self.atom :].unflatten(-1, (z.shape[1], self.orders))

    def clamp(self, z: Tensor, reference: Tensor, fixed: Tensor | None, closed: Tensor | None = None) -> Tensor:
        """Set coordinates of the `fixed` atoms [B, N] and the bonds between them to those of `reference` [B, N, D],
        and all bonds of the `closed` ones among them [B, N]."""
        if fixed is None:
            return z
        parts = [torch.where(fixed.unsqueeze(-1), reference[..., :3], z[..., :3]), z[..., 3 : self.atom]]
        if self.orders:
            between = fixed.unsqueeze(1) & fixed.unsqueeze(2)
            if closed is not None:
                between = between | closed.unsqueeze(1) | closed.unsqueeze(2)
            between = between.repeat_interleave(self.orders, 2)
            parts.append(torch.where(between, reference[..., self.atom :], z[..., self.atom :]))
        return torch.cat(parts, -1)

    def noise(self, seeds: Tensor, stream: str, mask: Tensor) -> Tensor:
        """Standard normal noise [B, N, D] for seeds [B]. Both entries of a bond have the same value."""
        n = mask.shape[1]
        atoms = rng.normal(seeds, stream, (n, self.atom)) * mask.unsqueeze(-1)
        if not self.orders:
            return atoms
        upper = torch.triu(rng.normal(seeds, f"{stream} bonds", (n, n, self.orders)).permute(0, 3, 1, 2), diagonal=1)
        pairs = (upper + upper.transpose(2, 3)).permute(0, 2, 3, 1) * real_pairs(mask).unsqueeze(-1)
        return torch.cat([atoms, pairs.flatten(2)], -1)

    def reordered(self, z: Tensor, order: Tensor) -> Tensor:
        """One unpadded molecule [N, D] with its atoms in the given order [N]."""
        z = z[order]
        if not self.orders:
            return z
        bonds = z[:, self.atom :].unflatten(1, (len(order), self.orders))[:, order]
        return torch.cat([z[:, : self.atom], bonds.flatten(1)], 1)

    def single(self, z: Tensor, atoms: int) -> Tensor:
        """One molecule [N, D] of a batch without its padding: [atoms, D']."""
        return z[:atoms, : self.width(atoms)]

    def stacked(self, latents: Sequence[Tensor], atoms: int) -> Tensor:
        """A batch [B, atoms, D] of unpadded molecules."""
        batch = latents[0].new_zeros(len(latents), atoms, self.width(atoms))
        for row, z in zip(batch, latents, strict=True):
            row[: len(z), : z.shape[-1]] = z
        return batch


def real_pairs(mask: Tensor) -> Tensor:
    """Ordered pairs [B, N, N] of distinct real atoms for an atom mask [B, N]."""
    eye = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    return mask.unsqueeze(2) & mask.unsqueeze(1) & ~eye


class Coefficients(NamedTuple):
    """Factors of the process at one time per molecule, [B, 1, 1] (or any shape that broadcasts)."""

    alpha: Tensor
    sigma: Tensor
    skip: Tensor  # clean = skip · z_t + out · F
    out: Tensor
    scale_in: Tensor  # brings z_t to unit variance
    mean: Tensor  # best linear estimate of the clean latents: mean · z_t
    spread: Tensor  # r.m.s. error of that estimate

    def joined(self, other: "Coefficients", width: int) -> "Coefficients":
        """Coefficients [B, 1, width] with these factors for the coordinates and `other` for all other columns."""
        pairs = zip(self, other, strict=True)
        return Coefficients(*(torch.cat([x.expand(-1, 1, 3), h.expand(-1, 1, width - 3)], -1) for x, h in pairs))


def coefficients(schedule: Schedule, t: Tensor, prediction: str) -> Coefficients:
    """Factors at times t [B] for the target `f` or `eps`."""
    t = t.view(-1, 1, 1)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    variance = alpha.square() + sigma.square()
    mean, spread = alpha / variance, sigma * variance.rsqrt()
    if prediction == "f":
        return Coefficients(alpha, sigma, mean, spread, variance.rsqrt(), mean, spread)
    floor = alpha.clamp(min=MIN_ALPHA)
    return Coefficients(alpha, sigma, 1 / floor, -sigma / floor, variance.rsqrt(), mean, spread)


class Conditioning(NamedTuple):
    """What a ligand is conditioned on besides its pocket; None: nothing.

    The coordinates of fixed atoms and the bonds between them are part of z itself.
    """

    fixed: Tensor | None = None  # [B, N] bool, atoms of a given fragment
    fragment: Tensor | None = None  # [B, N, Z] normalised latents of the fragment alone, zero elsewhere
    properties: Tensor | None = None  # [B, P], NaN for a property that is not specified

    def repeated(self, times: int) -> "Conditioning":
        """Repeat every molecule `times` times in a row."""
        return Conditioning(*(part if part is None else part.repeat_interleave(times, 0) for part in self))

    def without_properties(self) -> "Conditioning":
        """The same, but no property is specified."""
        known = self.properties
        return self if known is None else self._replace(properties=torch.full_like(known, torch.nan))

    def with_and_without_properties(self) -> "Conditioning":
        """Repeat every molecule twice in a row, the second time without properties (classifier-free guidance)."""
        twice = self.repeated(2)
        if twice.properties is None:
            return twice
        second = torch.arange(len(twice.properties), device=twice.properties.device) % 2 == 1
        return twice._replace(properties=twice.properties.masked_fill(second.unsqueeze(-1), torch.nan))


UNCONDITIONED = Conditioning()


class NoisyLigand(NamedTuple):
    """Input of the denoiser: noisy, normalised latents z [B, N, D] with times and coefficients per modality."""

    z: Tensor
    mask: Tensor  # [B, N]
    t_x: Tensor  # [B], time of the coordinates
    t_h: Tensor  # [B], time of features and bonds
    c_x: Coefficients
    c_h: Coefficients
    scale_x: Tensor  # Å per unit of z_x
    previous: Tensor | None = None  # [B, N, D], an earlier estimate of the clean latents (self-conditioning)
    conditioning: Conditioning = UNCONDITIONED


def add_noise(z: Tensor, eps: Tensor, c: Coefficients) -> Tensor:
    """z_t = alpha z + sigma ε."""
    return c.alpha * z + c.sigma * eps


def to_clean(z_t: Tensor, prediction: Tensor, c: Coefficients) -> Tensor:
    """Clean latents from the network's prediction of the target."""
    return c.skip * z_t + c.out * prediction


def target(z: Tensor, eps: Tensor, c: Coefficients) -> Tensor:
    """The target F from which `to_clean` gives z back.

    It is written in z and ε, so that no small difference of large numbers is divided by a small `out`.
    """
    return ((1 - c.skip * c.alpha) * z - c.skip * c.sigma * eps) / c.out.where(c.out != 0, 1)


def draw_times(seeds: Tensor, config: DiffusionConfig) -> tuple[Tensor, Tensor]:
    """Training times (t_x, t_h), each [B]: logit-normal mixed with uniform (Esser et al. 2024).

    The two are independent for a share `separate_times` of the molecules and equal for the others.
    """
    t_x, t_other = (_draw_time(seeds, stream, config) for stream in ("t_x", "t_h"))
    separate = rng.uniform(seeds, "separate times") < config.separate_times
    return t_x, torch.where(separate, t_other, t_x)


def _draw_time(seeds: Tensor, stream: str, config: DiffusionConfig) -> Tensor:
    gaussian = rng.normal(seeds, stream, (1,)).squeeze(-1)
    t = torch.sigmoid(config.time_mean + config.time_sd * gaussian)
    uniform = rng.uniform(seeds, f"{stream} uniform")
    t = torch.where(rng.uniform(seeds, f"{stream} mix") < config.time_uniform, uniform, t)
    return t.clamp(config.min_time, 1.0)
