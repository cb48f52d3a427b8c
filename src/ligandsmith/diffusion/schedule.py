"""Noise schedules: t in [0, 1] (0 data, 1 noise) -> alpha, sigma, log-SNR, and back. No network here.

z_t = alpha(t) z + sigma(t) ε and log-SNR λ = log(alpha² / sigma²).
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ligandsmith.errors import LigandsmithError


class Schedule(ABC):
    """alpha(t), sigma(t) for tensors t; λ(t) falls strictly with t."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def time_of_logsnr(self, logsnr: Tensor) -> Tensor:
        """Inverse of `logsnr`."""

    def logsnr(self, t: Tensor) -> Tensor:
        return 2 * (self.alpha(t).log() - self.sigma(t).log())


class Linear(Schedule):
    """The straight path of flow matching: alpha = 1 - t, sigma = t."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time_of_logsnr(self, logsnr: Tensor) -> Tensor:
        return torch.sigmoid(-logsnr / 2)


class Cosine(Schedule):
    """Variance-preserving: alpha = cos(π t / 2), sigma = sin(π t / 2)."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(t * (math.pi / 2))

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(t * (math.pi / 2))

    def time_of_logsnr(self, logsnr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-logsnr / 2)) * (2 / math.pi)


class Polynomial2(Schedule):
    """Variance-preserving, alpha² = (1 - 2s)(1 - t²)² + s (Hoogeboom et al. 2022, EDM; GeoLDM)."""

    def __init__(self, precision: float) -> None:
        self.precision = precision

    def alpha(self, t: Tensor) -> Tensor:
        s = self.precision
        return ((1 - 2 * s) * (1 - t.square()).square() + s).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        s = self.precision
        squared = t.square()
        # 1 - alpha², expanded so that small t loses no digits
        return ((1 - 2 * s) * squared * (2 - squared) + s).sqrt()

    def time_of_logsnr(self, logsnr: Tensor) -> Tensor:
        s = self.precision
        squared = ((torch.sigmoid(logsnr) - s) / (1 - 2 * s)).clamp(0, 1)
        return (1 - squared.sqrt()).clamp(min=0).sqrt()


def make_schedule(name: str, precision: float = 1e-4) -> Schedule:
    """The schedule of that name; raises LigandsmithError listing the names."""
    if name == "linear":
        return Linear()
    if name == "cosine":
        return Cosine()
    if name == "polynomial_2":
        return Polynomial2(precision)
    raise LigandsmithError(f"unknown noise schedule '{name}'; choose one of: linear, cosine, polynomial_2")
