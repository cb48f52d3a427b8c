"""The bound is the exact value for a Gaussian with its exact denoiser, whatever the schedule, and never below it."""

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.nll import CleanAt, DiffusionNLL, Latents, NoiseGrid, diffusion_nll, reachable

from ligandsmith.diffusion import rng
from ligandsmith.diffusion.process import Layout, Schedule, make_schedule

MEAN = torch.tensor([0.6, -0.4, 0.2])
SD = torch.tensor([0.5, 1.0, 1.4])
SCHEDULES = ["linear", "cosine", "polynomial_2"]


def variance_exploding() -> Schedule:
    """alpha = 1, sigma = 0.004 · 40000^t."""
    return Schedule(
        torch.ones_like,
        lambda t: 0.004 * 40000.0**t,
        lambda logsnr: (-logsnr / 2 - math.log(0.004)) / math.log(40000.0),
    )


def exact_denoiser(schedule: Schedule, mean: Tensor = MEAN, sd: Tensor = SD) -> CleanAt:
    def denoise(z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (f(t).view(-1, 1, 1) for f in (schedule.alpha, schedule.sigma))
        gain = alpha * sd**2 / (alpha**2 * sd**2 + sigma**2)
        return mean + gain * (z - alpha * mean)

    return denoise


def molecules(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of molecules of one and two atoms drawn from the Gaussian: z [B, 2, 3], mask, keys."""
    keys = rng.make_seeds(5, torch.arange(count))
    mask = torch.tensor([[True, True], [True, False]]).repeat(count // 2, 1)
    z = (MEAN + SD * rng.normal(keys, "data", (2, 3))) * mask.unsqueeze(-1)
    return z, mask, keys


def exact_nll(z: Tensor, mask: Tensor) -> Tensor:
    return -(torch.distributions.Normal(MEAN, SD).log_prob(z).sum(-1) * mask).sum(-1).double()


def bound(schedule: Schedule, denoise: CleanAt, count: int = 200, grid: NoiseGrid | None = None) -> Tensor:
    """Bound minus exact value, per molecule."""
    z, mask, keys = molecules(count)
    return diffusion_nll(denoise, Latents(z, mask, Layout(0)), schedule, keys, grid).total - exact_nll(z, mask)


@pytest.mark.parametrize(
    "schedule", [*map(make_schedule, SCHEDULES), variance_exploding()], ids=[*SCHEDULES, "exploding"]
)
def test_the_bound_is_exact_for_a_gaussian(schedule: Schedule) -> None:
    gap = bound(schedule, exact_denoiser(schedule))
    error = float(gap.std()) / math.sqrt(len(gap))
    assert error < 0.08
    assert abs(float(gap.mean())) < 3 * error


def test_the_published_plain_estimate_agrees() -> None:
    """Without the control variate: KL + dof/2 (log 2π - λ_high + 1) + ½ E[e^λ |z - ẑ|² / p(λ)], λ uniform."""
    schedule, (z, mask, keys) = make_schedule("cosine"), molecules(200)
    low, high = -8.0, 8.0
    lam = low + (high - low) * rng.uniform(keys, "plain", (64,)).double()
    t = schedule.time_of_logsnr(lam)
    errors = []
    for i in range(64):
        a, s = (f(t[:, i]).float().view(-1, 1, 1) for f in (schedule.alpha, schedule.sigma))
        z_t = a * z + s * rng.normal(rng.fold_in(keys, i), "plain noise", (2, 3))
        error = (z - exact_denoiser(schedule)(z_t, t[:, i].float())).square().sum(-1) * mask
        errors.append(lam[:, i].exp() * error.sum(-1))
    dof = 3.0 * mask.sum(-1)
    a2, s2 = 1 / (1 + math.exp(8.0)), 1 / (1 + math.exp(-8.0))
    kl = 0.5 * (a2 * z.square().sum((1, 2)) + dof * (s2 - 1 - math.log(s2)))
    plain = kl + dof / 2 * (math.log(2 * math.pi) - high + 1) + 0.5 * (high - low) * torch.stack(errors).mean(0)
    ours = diffusion_nll(
        exact_denoiser(schedule), Latents(z, mask, Layout(0)), schedule, keys, NoiseGrid(64, low, high)
    ).total
    gap = plain - ours
    assert abs(float(gap.mean())) < 3 * float(gap.std()) / math.sqrt(len(gap))
    assert float((ours - exact_nll(z, mask)).std()) < 0.5 * float((plain - exact_nll(z, mask)).std())


@pytest.mark.parametrize("shift", [0.6, -0.6])
def test_a_wrong_denoiser_only_raises_the_bound(shift: float) -> None:
    schedule = make_schedule("linear")
    gap = bound(schedule, exact_denoiser(schedule, MEAN + shift), grid=NoiseGrid(points=16))
    assert float(gap.mean()) > 3 * float(gap.std()) / math.sqrt(len(gap))


def test_the_value_depends_on_the_molecule_and_its_key_only() -> None:
    schedule, (z, mask, keys) = make_schedule("linear"), molecules(8)
    grid = NoiseGrid(points=5)

    def terms(rows: slice, padding: int = 0) -> DiffusionNLL:
        wide = torch.nn.functional.pad(z[rows], (0, 0, 0, padding), value=7.0)
        wide_mask = torch.nn.functional.pad(mask[rows], (0, padding))
        return diffusion_nll(exact_denoiser(schedule), Latents(wide, wide_mask, Layout(0)), schedule, keys[rows], grid)

    whole, part = terms(slice(None)), terms(slice(2, 5), padding=3)
    for a, b in zip(whole, part, strict=True):
        assert torch.allclose(a[2:5], b, atol=1e-6)
    assert torch.equal(whole.denoising, terms(slice(None)).denoising)


def test_the_interval_ends_where_the_schedule_does() -> None:
    assert reachable(make_schedule("linear"), NoiseGrid()) == (-10.0, 10.0)
    low, high = reachable(make_schedule("polynomial_2", 1e-4), NoiseGrid())
    assert (low, high) == pytest.approx((-9.2102, 9.2102), abs=1e-3)


def test_bonds_count_once_and_as_probabilities() -> None:
    """Two values of one bond, equally likely and told apart by the exact denoiser, are log 2 on top of the atoms."""
    layout, count = Layout(0, 2), 800
    keys = rng.make_seeds(5, torch.arange(count))
    mask = torch.ones(count, 2, dtype=torch.bool)
    bonds = (rng.uniform(keys, "bond") < 0.5).long().view(-1, 1, 1) * (1 - torch.eye(2, dtype=torch.long))
    atoms = rng.normal(keys, "data", (2, 3))
    latents = Latents(layout.with_bonds(atoms, bonds, mask), mask, layout)
    schedule = make_schedule("linear")

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        a, s = (f(t).view(-1, 1, 1) for f in (schedule.alpha, schedule.sigma))
        orders = layout.bonds(z) * (a / s**2).unsqueeze(-1)
        clean = orders.softmax(-1) * (1 - torch.eye(2)).unsqueeze(-1)
        return torch.cat([a / (a**2 + s**2) * z[..., : layout.atom], clean.flatten(2)], -1)

    own = diffusion_nll(denoise, latents, schedule, keys).total
    exact = -torch.distributions.Normal(0, 1).log_prob(atoms).sum((1, 2)).double() + math.log(2)
    gap = own - exact
    error = float(gap.std()) / math.sqrt(count)
    assert error < 0.08
    assert abs(float(gap.mean())) < 3 * error
