"""The noise schedules: their ends, their identities, their inverses."""

import pytest
import torch

from ligandsmith.diffusion.process import Schedule, make_schedule
from ligandsmith.errors import LigandsmithError

T = torch.linspace(0, 1, 1001, dtype=torch.float64)
INSIDE = T[1:-1]
NAMES = ["linear", "cosine", "polynomial_2"]


def test_the_polynomial_ends_where_the_published_one_does() -> None:
    """With s = 1e-5: sigma_0 = 0.003162 and gamma = -log SNR from -11.513 to 11.513."""
    schedule = make_schedule("polynomial_2", 1e-5)
    ends = -schedule.logsnr(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert ends.tolist() == pytest.approx([-11.513, 11.513], abs=1e-3)
    assert float(schedule.sigma(T[0])) == pytest.approx(0.003162, abs=1e-6)
    wider = make_schedule("polynomial_2", 5e-4)
    assert (-wider.logsnr(T[[0, -1]])).tolist() == pytest.approx([-7.600, 7.600], abs=1e-3)


def test_the_polynomial_is_the_published_product_of_clipped_steps() -> None:
    """alpha² as a cumulative product of ratios clipped at 1e-3 (the published code): equal up to the last step."""
    s, raw = 1e-5, (1 - T.square()).square()
    ratio = torch.cat([torch.ones(1), raw[1:] / raw[:-1]]).clamp(min=1e-3)
    published = ((1 - 2 * s) * ratio.cumprod(0) + s).sqrt()
    assert torch.allclose(make_schedule("polynomial_2", s).alpha(T)[:-1], published[:-1], atol=1e-9)


@pytest.mark.parametrize("name", NAMES[1:])
def test_variance_is_preserved(name: str) -> None:
    schedule = make_schedule(name)
    assert torch.allclose(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, torch.ones_like(T), atol=1e-12)


def test_the_straight_path_sums_to_one() -> None:
    schedule = make_schedule("linear")
    assert torch.equal(schedule.alpha(T) + schedule.sigma(T), torch.ones_like(T))


@pytest.mark.parametrize("name", NAMES)
def test_the_log_snr_falls_and_can_be_inverted(name: str) -> None:
    schedule = make_schedule(name)
    logsnr = schedule.logsnr(INSIDE)
    assert (logsnr.diff() < 0).all()
    assert (schedule.logsnr(INSIDE.float()).diff() <= 0).all()
    assert torch.allclose(schedule.time_of_logsnr(logsnr), INSIDE, atol=1e-9)
    assert torch.allclose(schedule.logsnr(schedule.time_of_logsnr(logsnr)), logsnr, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_ends_are_data_and_noise(name: str) -> None:
    schedule: Schedule = make_schedule(name, 1e-5)
    assert float(schedule.alpha(T[0])) == pytest.approx(1, abs=1e-5)
    assert float(schedule.sigma(T[-1])) == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(schedule.alpha(T) / schedule.sigma(T).clamp(min=1e-9)).all()


def test_times_beyond_the_ends_are_clipped() -> None:
    schedule = make_schedule("polynomial_2")
    assert schedule.time_of_logsnr(torch.tensor([50.0, -50.0])).tolist() == [0.0, 1.0]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(LigandsmithError, match=r"'cosin'.*linear, cosine, polynomial_2"):
        make_schedule("cosin")
