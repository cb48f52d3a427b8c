"""Classifier-free guidance: identities at scales 0 and 1, the interval, and a centre of mass that stays."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ligandsmith.config import SamplingConfig
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.guidance import GuidedDenoiser
from ligandsmith.diffusion.process import (
    Conditioning,
    Layout,
    NoisyLigand,
    coefficients,
    make_schedule,
    to_clean,
)

LINEAR = make_schedule("linear")
LAYOUT = Layout(4, 0)
SEEDS = rng.make_seeds(1, torch.arange(3))
MASK = torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [True] * 5 + [False]])
Z = rng.normal(SEEDS, "z", (6, 7)) * MASK.unsqueeze(-1)
STRONG = SamplingConfig(cfg_scale=3.0, cfg_scale_x=2.0)
INSIDE, OUTSIDE = 0.5, 0.95  # sigma / alpha = 1 and 19


class Network:
    """Two different answers with and without pocket; remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Tensor]] = []

    def __call__(self, noisy: NoisyLigand, null: Tensor) -> Tensor:
        self.calls.append((len(noisy.z), null))
        conditional, unconditional = torch.tanh(noisy.z) + 0.3, torch.sin(2 * noisy.z) - 0.2
        return torch.where(null.view(-1, 1, 1), unconditional, conditional) * noisy.mask.unsqueeze(-1)


def guided(setting: SamplingConfig, t: float, network: Network | None = None) -> Tensor:
    return GuidedDenoiser(network or Network(), MASK, torch.tensor(3.0), setting, LINEAR, "f", LAYOUT)(Z, t)


def alone(t: float, null: bool) -> Tensor:
    """What the network itself says."""
    times = torch.full((3,), t)
    c = coefficients(LINEAR, times, "f")
    noisy = NoisyLigand(Z, MASK, times, times, c, c, torch.tensor(3.0))
    return to_clean(Z, Network()(noisy, torch.full((3,), null)), c.joined(c, 7)) * MASK.unsqueeze(-1)


def centre(z: Tensor) -> Tensor:
    return (z[..., :3] * MASK.unsqueeze(-1)).sum(1) / MASK.sum(1, keepdim=True)


@pytest.mark.parametrize(("scale", "null"), [(1.0, False), (0.0, True)])
@pytest.mark.parametrize("t", [INSIDE, OUTSIDE])
def test_scales_one_and_zero_are_the_plain_models_in_one_call(scale: float, null: bool, t: float) -> None:
    network = Network()
    setting = SamplingConfig(cfg_scale=scale, cfg_scale_x=1.0)
    assert torch.equal(guided(setting, t, network), alone(t, null))
    assert [(size, flags.tolist()) for size, flags in network.calls] == [(3, [null] * 3)]


def test_guidance_acts_within_its_interval_only() -> None:
    network = Network()
    assert torch.equal(guided(STRONG, OUTSIDE, network), alone(OUTSIDE, False))
    assert torch.equal(guided(STRONG, 0.1, network), alone(0.1, False))
    assert [size for size, _ in network.calls] == [3, 3]
    assert not torch.allclose(guided(STRONG, INSIDE, network), alone(INSIDE, False), atol=0.05)
    assert network.calls[-1][0] == 6
    assert torch.equal(guided(replace(STRONG, guidance_low=2.0), INSIDE), alone(INSIDE, False))


@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("scale", [0.5, 2.0, 7.5])
def test_the_centre_of_mass_is_never_guided(scale: float, rescale: float) -> None:
    z = guided(SamplingConfig(cfg_scale=scale, cfg_scale_x=scale, rescale=rescale), INSIDE)
    assert torch.allclose(centre(z), centre(alone(INSIDE, False)), atol=1e-6)
    assert not torch.allclose(z[..., :3], alone(INSIDE, False)[..., :3], atol=1e-2)


def test_without_rescaling_features_are_extrapolated() -> None:
    z = guided(replace(STRONG, rescale=0.0), INSIDE)
    conditional, unconditional = alone(INSIDE, False), alone(INSIDE, True)
    expected = conditional + 2.0 * (conditional - unconditional)
    assert torch.allclose(z[..., 3:], expected[..., 3:], atol=1e-5)


def test_full_rescaling_keeps_the_magnitude_of_the_conditional_target() -> None:
    z = guided(replace(STRONG, cfg_scale_x=1.0, rescale=1.0), INSIDE)
    c = coefficients(LINEAR, torch.full((3,), INSIDE), "f")
    c = c.joined(c, 7)
    targets = [((v - c.skip * Z) / c.out)[..., 3:] * MASK.unsqueeze(-1) for v in (z, alone(INSIDE, False))]
    sizes = [v.square().sum((1, 2)) for v in targets]
    assert torch.allclose(*sizes, rtol=1e-4)


def test_the_last_estimate_is_handed_to_both_branches() -> None:
    seen: list[Tensor | None] = []

    def predict(noisy: NoisyLigand, null: Tensor) -> Tensor:
        seen.append(noisy.previous)
        return Network()(noisy, null)

    denoise = GuidedDenoiser(predict, MASK, torch.tensor(3.0), STRONG, LINEAR, "f", LAYOUT)
    first = denoise(Z, OUTSIDE)
    denoise(Z, INSIDE)
    assert seen[0] is None
    assert torch.equal(seen[1], first.repeat_interleave(2, 0))


def test_given_atoms_are_held_in_what_the_network_sees_and_says() -> None:
    seen = []

    def predict(noisy: NoisyLigand, null: Tensor) -> Tensor:
        seen.append(noisy)
        return Network()(noisy, null)

    fixed = MASK & (torch.arange(6) < 2)
    known = rng.normal(SEEDS, "known", (6, 7))
    denoise = GuidedDenoiser(predict, MASK, torch.tensor(3.0), STRONG, LINEAR, "f", LAYOUT, Conditioning(fixed), known)
    for t in (OUTSIDE, INSIDE):
        clean = denoise(Z, t)
        noisy = seen[-1]
        twice = len(noisy.z) // len(Z)
        held = fixed.repeat_interleave(twice, 0)
        place = (noisy.z * noisy.c_x.scale_in)[..., :3][held]
        assert torch.allclose(place, known.repeat_interleave(twice, 0)[..., :3][held], atol=1e-5)
        assert torch.equal(noisy.conditioning.fixed, held)
        assert torch.equal(clean[..., :3][fixed], known[..., :3][fixed])
        assert not torch.equal(clean[..., 3:][fixed], known[..., 3:][fixed])
        assert not torch.equal(clean[..., :3][MASK & ~fixed], known[..., :3][MASK & ~fixed])
    assert twice == 2


def test_the_unconditional_branch_is_told_no_property() -> None:
    seen = []

    def predict(noisy: NoisyLigand, null: Tensor) -> Tensor:
        seen.append((noisy.conditioning.properties, null))
        return Network()(noisy, null)

    asked = torch.tensor([[0.8, torch.nan, 2.0]]).expand(3, -1)
    denoise = GuidedDenoiser(
        predict, MASK, torch.tensor(3.0), STRONG, LINEAR, "f", LAYOUT, Conditioning(properties=asked)
    )
    denoise(Z, INSIDE)
    denoise(Z, OUTSIDE)
    (both, null), (single, _) = seen
    assert torch.allclose(both[~null], asked, equal_nan=True)
    assert both[null].isnan().all()
    assert torch.allclose(single, asked, equal_nan=True)


def test_the_weaker_network_is_told_no_property() -> None:
    told = []

    def weaker(noisy: NoisyLigand, null: Tensor) -> Tensor:
        told.append(noisy.conditioning.properties)
        return Network()(noisy, null)

    setting = SamplingConfig(cfg_scale=1, autoguidance=2)
    for asked in (torch.tensor([[0.8, torch.nan, 2.0]]).expand(3, -1), None):
        conditioning = Conditioning(properties=asked)
        scale = torch.tensor(3.0)
        GuidedDenoiser(Network(), MASK, scale, setting, LINEAR, "f", LAYOUT, conditioning, weaker=weaker)(Z, INSIDE)
    assert told[0].shape == (3, 3)
    assert told[0].isnan().all()
    assert told[1] is None


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0, 3.0])
def test_autoguidance_goes_on_from_the_weaker_answer_through_its_own(cfg_scale: float) -> None:
    calls = []

    def weaker(noisy: NoisyLigand, null: Tensor) -> Tensor:
        calls.append((len(noisy.z), null.tolist()))
        return 0.5 * Network()(noisy, null)

    def clean(scale: float, t: float) -> Tensor:
        setting = SamplingConfig(cfg_scale=cfg_scale, autoguidance=scale)
        return GuidedDenoiser(Network(), MASK, torch.tensor(3.0), setting, LINEAR, "f", LAYOUT, weaker=weaker)(Z, t)

    plain = clean(1.0, INSIDE)
    assert torch.equal(clean(2.5, OUTSIDE), clean(1.0, OUTSIDE))
    assert not calls
    c = coefficients(LINEAR, torch.full((3,), INSIDE), "f")
    skip = c.joined(c, 7).skip * Z * MASK.unsqueeze(-1)
    own, without = (alone(INSIDE, null=null) - skip for null in (cfg_scale == 0, True))  # of the target
    assert torch.allclose(clean(2.5, INSIDE), plain + 1.5 * (own - 0.5 * without), atol=1e-5)
    assert calls == [(3, [True] * 3)]


def test_the_weaker_network_is_called_in_some_steps_and_its_difference_kept_for_the_others() -> None:
    weak = Network()

    def estimates(interval: int, weaker: Network | None) -> list[Tensor]:
        setting = SamplingConfig(cfg_scale=1, autoguidance=3, autoguidance_interval=interval)
        denoise = GuidedDenoiser(Network(), MASK, torch.tensor(3.0), setting, LINEAR, "f", LAYOUT, weaker=weaker)
        found = [denoise(Z, t) for t in (INSIDE, INSIDE - 0.1, INSIDE - 0.2)]
        denoise.begin(Z)  # of another trajectory nothing is known
        return [*found, denoise(Z, INSIDE - 0.1)]

    every = estimates(1, Network())
    plain = estimates(1, None)
    some = estimates(2, weak)
    assert len(weak.calls) == 3
    assert torch.allclose(some[1] - plain[1], every[0] - plain[0], atol=1e-5)
    assert torch.allclose(some[2], every[2], atol=1e-6)
    assert torch.allclose(some[3], every[3], atol=1e-6)
    assert not torch.allclose(some[1], every[1], atol=1e-3)
