"""Samplers: plain functions from pure noise to clean latents.

Each takes `denoise(z, t) -> clean` (t a float), the starting noise z [B, N, D] at times[0], the falling grid `times`
(the last entry is where the final denoised estimate is returned), the schedule, and `fresh(i) -> noise like z` for step
i. None knows of guidance, pockets or networks.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ligandsmith.diffusion.process import Schedule

Denoise = Callable[[Tensor, float], Tensor]
Fresh = Callable[[int], Tensor]
Sampler = Callable[[Denoise, Tensor, Sequence[float], Schedule, Fresh, float], Tensor]


def time_grid(steps: int, min_time: float, power: float) -> list[float]:
    """steps + 1 times from 1 down to min_time, denser towards it."""
    low = min_time ** (1 / power)
    return [(low + (1 - low) * (1 - i / steps)) ** power for i in range(steps + 1)]


def _at(schedule: Schedule, t: float) -> tuple[float, float]:
    """(alpha, sigma) at a time, as floats."""
    value = torch.tensor(t, dtype=torch.float64)
    return float(schedule.alpha(value)), float(schedule.sigma(value))


def _ddim(z: Tensor, clean: Tensor, now: tuple[float, float], then: tuple[float, float]) -> Tensor:
    ratio = then[1] / now[1]
    return ratio * z + (then[0] - now[0] * ratio) * clean


def _churned(z: Tensor, t: float, schedule: Schedule, fresh: Tensor, amount: float) -> tuple[Tensor, float]:
    """Raise the noise level by fresh noise: sigma/alpha times (1 + amount), at most to t = 1."""
    alpha, sigma = _at(schedule, t)
    if amount <= 0 or t >= 1 or alpha <= 0:
        return z, t
    ratio = sigma / alpha * (1 + amount)
    raised = float(schedule.time_of_logsnr(torch.tensor(-2 * math.log(ratio), dtype=torch.float64)))
    new_alpha, new_sigma = _at(schedule, raised)
    kept = new_alpha / alpha
    added = math.sqrt(max(new_sigma**2 - (kept * sigma) ** 2, 0.0))
    return kept * z + added * fresh, raised


def euler(
    denoise: Denoise, z: Tensor, times: Sequence[float], schedule: Schedule, fresh: Fresh, churn: float = 0.0
) -> Tensor:
    """First-order steps of the probability-flow ODE, each after raising the noise by `churn` / steps · 10 (0: none)."""
    amount = churn * 10 / max(len(times) - 1, 1)
    for i, (t, s) in enumerate(pairwise(times)):
        z, t_now = _churned(z, t, schedule, fresh(i), amount) if amount else (z, t)
        z = _ddim(z, denoise(z, t_now), _at(schedule, t_now), _at(schedule, s))
    return denoise(z, times[-1])


def ddim(
    denoise: Denoise, z: Tensor, times: Sequence[float], schedule: Schedule, fresh: Fresh, churn: float = 0.0
) -> Tensor:
    """Deterministic DDIM (Song et al. 2021); `churn` is not used."""
    return euler(denoise, z, times, schedule, fresh, 0.0)


def heun(
    denoise: Denoise, z: Tensor, times: Sequence[float], schedule: Schedule, fresh: Fresh, churn: float = 0.0
) -> Tensor:
    """Second order: the slope is averaged with that at the Euler point (two network calls a step); no churn."""
    for t, s in pairwise(times):
        now, then = _at(schedule, t), _at(schedule, s)
        clean = denoise(z, t)
        guess = _ddim(z, clean, now, then)
        z = _ddim(z, (clean + denoise(guess, s)) / 2, now, then)
    return denoise(z, times[-1])


def ddpm(
    denoise: Denoise, z: Tensor, times: Sequence[float], schedule: Schedule, fresh: Fresh, churn: float = 1.0
) -> Tensor:
    """Ancestral sampling from the exact posterior q(z_s | z_t, clean) (Ho et al. 2020)."""
    for i, (t, s) in enumerate(pairwise(times)):
        (a_t, s_t), (a_s, s_s) = _at(schedule, t), _at(schedule, s)
        kept = a_t / a_s
        step_variance = max(s_t**2 - (kept * s_s) ** 2, 0.0)
        mean = (kept * s_s**2 / s_t**2) * z + (a_s * step_variance / s_t**2) * denoise(z, t)
        z = mean + math.sqrt(step_variance) * s_s / s_t * fresh(i)
    return denoise(z, times[-1])


def dpmpp_2m(
    denoise: Denoise, z: Tensor, times: Sequence[float], schedule: Schedule, fresh: Fresh, churn: float = 0.0
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022); deterministic. Where alpha = 0 the step is first-order."""
    last: Tensor | None = None
    last_h = 0.0
    for t, s in pairwise(times):
        now, then = _at(schedule, t), _at(schedule, s)
        clean = denoise(z, t)
        if now[0] <= 0:
            z, last = _ddim(z, clean, now, then), None
            continue
        h = math.log(then[0] / then[1]) - math.log(now[0] / now[1])
        blend = clean
        if last is not None:
            ratio = last_h / h
            blend = (1 + 1 / (2 * ratio)) * clean - (1 / (2 * ratio)) * last
        z = (then[1] / now[1]) * z - then[0] * math.expm1(-h) * blend
        last, last_h = clean, h
    return denoise(z, times[-1])


SAMPLERS: dict[str, Sampler] = {"euler": euler, "heun": heun, "ddim": ddim, "ddpm": ddpm, "dpmpp_2m": dpmpp_2m}
