"""Samplers on a mixture of two Gaussians whose exact denoiser is known, and their independence of batch mates."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ligandsmith.diffusion import rng
from ligandsmith.diffusion.process import Schedule, add_noise, coefficients, make_schedule
from ligandsmith.diffusion.samplers import SAMPLERS, Denoise, ddpm, dpmpp_2m, euler, time_grid

WEIGHTS, MEANS, SD = (0.35, 0.65), (-1.2, 0.7), 0.3
LOG_ODDS = math.log(WEIGHTS[0] / WEIGHTS[1])
EXACT_MEAN = WEIGHTS[0] * MEANS[0] + WEIGHTS[1] * MEANS[1]
EXACT_VARIANCE = WEIGHTS[0] * WEIGHTS[1] * (MEANS[0] - MEANS[1]) ** 2 + SD**2
LINEAR = make_schedule("linear")
ENOUGH_STEPS = {"euler": 400, "ddim": 400, "heun": 60, "dpmpp_2m": 60, "ddpm": 1000}


def exact(schedule: Schedule) -> Denoise:
    """Posterior mean of the mixture."""

    def denoise(z: Tensor, t: float) -> Tensor:
        time = torch.tensor(t, dtype=torch.float64)
        a, s = float(schedule.alpha(time)), float(schedule.sigma(time))
        variance = (a * SD) ** 2 + s**2
        left, right = z - a * MEANS[0], z - a * MEANS[1]
        first = torch.sigmoid((right.square() - left.square()) / (2 * variance) + LOG_ODDS)
        place = MEANS[1] + first * (MEANS[0] - MEANS[1])
        return place + a * SD**2 / variance * (z - a * place)

    return denoise


def start(count: int) -> Tensor:
    """Standard normal values at equal quantiles: no sampling error of their own. [count, 1, 1]."""
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.special.ndtri(places).float().view(-1, 1, 1)


def run(name: str, steps: int, schedule: Schedule = LINEAR, churn: float = 0.0) -> Tensor:
    random = name == "ddpm" or churn > 0
    generator = torch.Generator().manual_seed(1)
    z = start(20_000 if random else 2000)

    def fresh(_: int) -> Tensor:
        return torch.randn(z.shape, generator=generator) if random else torch.zeros(1)

    grid = time_grid(steps, 0.002, 2.0)
    return SAMPLERS[name](exact(schedule), z, grid, schedule, fresh, churn).flatten().double()


def deviations(z: Tensor) -> tuple[float, float, float]:
    """Errors of the mean (in units of the s.d.), of the variance (relative) and of the first mode's weight."""
    weight = float((z < sum(MEANS) / 2).double().mean())
    return (
        abs(float(z.mean()) - EXACT_MEAN) / EXACT_VARIANCE**0.5,
        abs(float(z.var()) / EXACT_VARIANCE - 1),
        abs(weight - WEIGHTS[0]),
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_returns_the_mixture(name: str) -> None:
    assert max(deviations(run(name, ENOUGH_STEPS[name]))) < 0.02


@pytest.mark.parametrize("name", ["cosine", "polynomial_2"])
@pytest.mark.parametrize("sampler", ["heun", "dpmpp_2m"])
def test_other_schedules_lead_to_the_same_mixture(sampler: str, name: str) -> None:
    assert max(deviations(run(sampler, 80, make_schedule(name)))) < 0.02


def test_churn_keeps_the_mixture() -> None:
    assert max(deviations(run("euler", 300, churn=0.5))) < 0.02


def test_the_second_order_sampler_is_better_at_twenty_steps() -> None:
    """Against the same trajectories at 200 second-order steps, point by point."""
    reference = run("heun", 200)
    errors = {name: float((run(name, 20) - reference).square().mean()) for name in ("euler", "dpmpp_2m")}
    assert errors["dpmpp_2m"] < 0.5 * errors["euler"]
    assert max(deviations(run("dpmpp_2m", 20))) < max(deviations(run("euler", 20)))


@pytest.mark.parametrize(("name", "fall"), [("euler", 1.8), ("heun", 3.0), ("dpmpp_2m", 3.0)])
def test_the_error_falls_with_the_order_of_the_sampler(name: str, fall: float) -> None:
    """Twice the steps: half the error of a first-order sampler, a quarter of that of a second-order one."""
    reference = run("heun", 640)
    coarse, fine = (float((run(name, steps) - reference).square().mean().sqrt()) for steps in (40, 80))
    assert coarse / fine > fall


@pytest.mark.parametrize("name", ["linear", "cosine", "polynomial_2"])
def test_one_ancestral_step_reproduces_the_marginals(name: str) -> None:
    """From q(z_t | z) with the true z as the estimate, a step lands on q(z_s | z) whatever its size."""
    schedule, keys = make_schedule(name), rng.make_seeds(3, torch.arange(40_000))
    clean = torch.full((len(keys), 1, 1), 0.8)
    for t, s in ((0.9, 0.1), (0.5, 0.45), (0.2, 0.01)):
        c, c_s = (coefficients(schedule, torch.tensor([time], dtype=torch.float64), "f") for time in (t, s))
        z = add_noise(clean, rng.normal(keys, "z_t", (1, 1)), c)
        seen: list[Tensor] = []

        def denoise(value: Tensor, _: float, seen: list[Tensor] = seen) -> Tensor:
            seen.append(value)
            return clean

        ddpm(denoise, z, [t, s], schedule, lambda i: rng.normal(rng.fold_in(keys, i), "step", (1, 1)), 1.0)
        z_s = seen[-1]
        assert float(z_s.mean()) == pytest.approx(float(c_s.alpha) * 0.8, rel=0.01)
        assert float(z_s.std()) == pytest.approx(float(c_s.sigma), rel=0.01)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sample_depends_on_its_key_only(name: str) -> None:
    keys = rng.make_seeds(9, torch.arange(7))

    def draw(rows: Sequence[int]) -> Tensor:
        k = keys[list(rows)]
        z = rng.normal(k, "start", (4, 1))
        grid = time_grid(10, 0.005, 2.0)
        step = lambda i: rng.normal(rng.fold_in(k, i), "step", (4, 1))  # noqa: E731
        return SAMPLERS[name](exact(LINEAR), z, grid, LINEAR, step, 0.3)

    together = draw(range(7))
    assert torch.equal(together, draw(range(7)))
    assert torch.equal(together[[5, 2]], draw([5, 2]))


def test_the_time_grid_falls_from_one_and_crowds_towards_the_data() -> None:
    grid = time_grid(50, 0.005, 2.0)
    assert (len(grid), grid[0]) == (51, 1.0)
    assert grid[-1] == pytest.approx(0.005)
    gaps = [a - b for a, b in itertools.pairwise(grid)]
    assert min(gaps) > 0
    assert gaps == sorted(gaps, reverse=True)


def test_a_known_answer_is_returned_in_any_number_of_steps() -> None:
    answer = start(50)
    for steps, sampler in itertools.product((1, 3, 10), (euler, dpmpp_2m)):
        z = sampler(lambda z, t: answer, -answer, time_grid(steps, 0.01, 2.0), LINEAR, torch.zeros_like, 0.0)
        assert torch.equal(z, answer)
