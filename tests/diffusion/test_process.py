"""Noising and the conversions between the network's target, clean latents and noise."""

import pytest
import torch
from torch import Tensor

from ligandsmith.config import DiffusionConfig
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.process import (
    add_noise,
    coefficients,
    draw_times,
    make_schedule,
    target,
    to_clean,
)

SCHEDULES = ["linear", "cosine", "polynomial_2"]
PREDICTIONS = ["f", "eps"]
SEEDS = rng.make_seeds(1, torch.arange(200))


def latents() -> tuple[Tensor, Tensor]:
    return rng.normal(SEEDS, "z", (200, 7)), rng.normal(SEEDS, "eps", (200, 7))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("t", [1e-3, 0.03, 0.2, 0.5, 0.8, 0.99])
def test_the_target_gives_the_clean_latents_and_the_noise_back(schedule: str, prediction: str, t: float) -> None:
    z, eps = (v.double() for v in latents())
    c = coefficients(make_schedule(schedule), torch.full((len(z),), t, dtype=torch.float64), prediction)
    z_t = add_noise(z, eps, c)
    assert torch.allclose(to_clean(z_t, target(z, eps, c), c), z, atol=1e-9)
    assert torch.allclose(c.scale_in**2 * (c.alpha**2 + c.sigma**2), torch.ones_like(c.alpha))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_predicting_nothing_scores_one_at_every_time(schedule: str, prediction: str) -> None:
    z, eps = latents()
    for t in (1e-3, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999, 1.0):
        c = coefficients(make_schedule(schedule), torch.full((len(z),), t), prediction)
        assert float(target(z, eps, c).square().mean()) == pytest.approx(1.0, abs=0.01), t
        assert float((c.scale_in * add_noise(z, eps, c)).var()) == pytest.approx(1.0, abs=0.01), t


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_error_of_the_target_is_that_of_the_clean_latents_in_units_of_out(prediction: str) -> None:
    z, eps = latents()
    c = coefficients(make_schedule("linear"), torch.linspace(0.05, 0.95, len(z)), prediction)
    guess = target(z, eps, c) + 0.1 * rng.normal(SEEDS, "error", z.shape[1:])
    clean_error = (to_clean(add_noise(z, eps, c), guess, c) - z) / c.out
    assert torch.allclose(clean_error, guess - target(z, eps, c), atol=2e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_mean_and_spread_are_the_best_linear_guess(schedule: str) -> None:
    z, eps = latents()
    c = coefficients(make_schedule(schedule), torch.full((len(z),), 0.4), "eps")
    z_t = add_noise(z, eps, c)
    assert float((z - c.mean * z_t).square().mean().sqrt()) == pytest.approx(float(c.spread[0]), rel=0.01)
    slope = float((z * z_t).mean() / z_t.square().mean())
    assert float(c.mean[0]) == pytest.approx(slope, rel=0.02)


def test_coordinates_and_features_keep_their_own_times() -> None:
    schedule = make_schedule("linear")
    t_x, t_h = torch.tensor([0.1, 0.2]), torch.tensor([0.6, 0.7])
    c_x, c_h = (coefficients(schedule, t, "f") for t in (t_x, t_h))
    c = c_x.joined(c_h, 7)
    assert torch.allclose(c.sigma[:, 0, :3], t_x[:, None].expand(-1, 3))
    assert torch.allclose(c.sigma[:, 0, 3:], t_h[:, None].expand(-1, 4))


def test_times_follow_the_configuration() -> None:
    keys = rng.make_seeds(2, torch.arange(20_000))
    t_x, t_h = draw_times(keys, DiffusionConfig(separate_times=0.5, min_time=0.01))
    assert float(t_x.min()) == pytest.approx(0.01)
    assert float(t_x.max()) <= 1
    assert float((t_x == t_h).float().mean()) == pytest.approx(0.5, abs=0.02)
    apart = t_x != t_h
    assert abs(float(torch.corrcoef(torch.stack([t_x[apart], t_h[apart]]))[0, 1])) < 0.04
    assert float(t_x.mean()) == pytest.approx(float(t_h.mean()), abs=0.01)
    together = draw_times(keys, DiffusionConfig(separate_times=0.0))
    assert torch.equal(*together)
    flat, _ = draw_times(keys, DiffusionConfig(time_uniform=1.0))
    assert torch.allclose(torch.histc(flat, 5, 0, 1) / len(flat), torch.full((5,), 0.2), atol=0.015)
    logit, _ = draw_times(keys, DiffusionConfig(time_uniform=0.0, time_mean=-0.2, time_sd=1.2))
    values = torch.logit(logit.double())
    assert float(values.mean()) == pytest.approx(-0.2, abs=0.03)
    assert float(values.std()) == pytest.approx(1.2, abs=0.03)
