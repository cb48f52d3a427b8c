"""The training objective: 1.0 for predicting nothing, zero for the truth, self-conditioning, pocket dropout."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ligandsmith.config import DiffusionConfig
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.process import (
    UNCONDITIONED,
    Conditioning,
    Layout,
    NoisyLigand,
    add_noise,
    coefficients,
    make_schedule,
    target,
)
from ligandsmith.models.pocket_vae import null_pocket
from ligandsmith.training.losses import denoising_errors, uses_self_conditioning

COUNT, ATOMS, WIDTH = 600, 30, 7
SEEDS = rng.make_seeds(6, torch.arange(COUNT))
MASK = torch.arange(ATOMS) < torch.randint(8, ATOMS + 1, (COUNT, 1), generator=torch.Generator().manual_seed(0))
Z = rng.normal(SEEDS, "clean", (ATOMS, WIDTH)) * MASK.unsqueeze(-1)


class Recorder:
    """Stands for a denoiser: answers with `answer(noisy)` and remembers its inputs."""

    def __init__(self, answer: Any, self_conditioning: bool = False) -> None:
        self.answer, self.seen = answer, []
        self.config = SimpleNamespace(self_conditioning=self_conditioning)
        self.layout = Layout(WIDTH - 3)

    def __call__(self, noisy: NoisyLigand, pocket_kv: Any, null: Tensor) -> Tensor:
        self.seen.append((noisy, null))
        return self.answer(noisy)


def pockets(present: bool = True, count: int = COUNT) -> Any:
    pocket = null_pocket(count, 4, 0, torch.device("cpu"))
    mask = torch.full((count, 1), present)
    return SimpleNamespace(pocket=SimpleNamespace(mask=mask, x=pocket.x))


def errors(recorder: Recorder, step_number: int = 0, pocket_kv: Any = None, **settings: Any) -> dict[str, Tensor]:
    seeds = (SEEDS, rng.make_seeds(0, step_number))
    return denoising_errors(model(recorder, **settings), pocket_kv or pockets(), Z, MASK, UNCONDITIONED, seeds)[0]


def model(recorder: Recorder, **settings: Any) -> Any:
    """What `denoising_errors` reads of a diffusion model."""
    config = DiffusionConfig(**settings)
    return SimpleNamespace(
        config=SimpleNamespace(diffusion=config), denoiser=recorder, stats=SimpleNamespace(scale_x=torch.tensor(3.0)),
        schedule=make_schedule(config.schedule, config.precision),
    )  # fmt: skip


def nothing(noisy: NoisyLigand) -> Tensor:
    return torch.zeros_like(noisy.z)


@pytest.mark.parametrize("schedule", ["linear", "polynomial_2", "cosine"])
@pytest.mark.parametrize("prediction", ["f", "eps"])
def test_predicting_nothing_scores_one(schedule: str, prediction: str) -> None:
    found = errors(Recorder(nothing), schedule=schedule, prediction=prediction)
    for name in ("x", "h"):
        assert found[name].shape == (COUNT,)
        assert found[name].mean().item() == pytest.approx(1.0, abs=0.015)


@pytest.mark.parametrize("prediction", ["f", "eps"])
def test_predicting_the_target_scores_zero(prediction: str) -> None:
    def truth(noisy: NoisyLigand) -> Tensor:
        c = noisy.c_x.joined(noisy.c_h, WIDTH)
        return target(Z, rng.normal(SEEDS, "noise", Z.shape[1:]), c)

    assert max(v.max().item() for v in errors(Recorder(truth), prediction=prediction).values()) == 0


def test_the_network_sees_the_noised_latents() -> None:
    recorder = Recorder(nothing)
    errors(recorder)
    noisy = recorder.seen[0][0]
    c_x, c_h = (coefficients(make_schedule("linear"), t, "f") for t in (noisy.t_x, noisy.t_h))
    c = c_x.joined(c_h, WIDTH)
    expected = add_noise(Z, rng.normal(SEEDS, "noise", Z.shape[1:]), c) * MASK.unsqueeze(-1)
    assert torch.equal(noisy.z, expected)
    assert (noisy.t_x != noisy.t_h).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_an_error_is_a_mean_over_a_molecules_own_atoms() -> None:
    plain = errors(Recorder(nothing))["x"]
    shouting = Recorder(lambda noisy: torch.where(noisy.mask.unsqueeze(-1), 0.0, 1e6).expand_as(noisy.z))
    assert torch.equal(errors(shouting)["x"], plain)


def test_pockets_are_dropped_at_the_set_rate_and_absent_ones_always() -> None:
    recorder = Recorder(nothing)
    errors(recorder, cfg_dropout_prob=0.2)
    assert recorder.seen[0][1].float().mean().item() == pytest.approx(0.2, abs=0.05)
    errors(recorder, cfg_dropout_prob=0.0)
    assert not recorder.seen[1][1].any()
    errors(recorder, pocket_kv=pockets(False), cfg_dropout_prob=0.0)
    assert recorder.seen[2][1].all()


def test_pockets_serve_several_draws() -> None:
    recorder, few = Recorder(nothing), pockets(True, COUNT // 3)
    few.pocket.mask[5] = False
    errors(recorder, pocket_kv=few, cfg_dropout_prob=0.0)
    assert recorder.seen[0][1].nonzero().flatten().tolist() == [15, 16, 17]


def test_half_of_the_steps_show_an_earlier_estimate() -> None:
    def half(noisy: NoisyLigand) -> Tensor:
        return 0.5 * noisy.z + 1

    passes = []
    for step in range(60):
        recorder = Recorder(half, self_conditioning=True)
        errors(recorder, step)
        passes.append(len(recorder.seen))
        if len(recorder.seen) == 2:
            first, second = (noisy for noisy, _ in recorder.seen)
            assert first.previous is None
            assert second.previous is not None
            assert not second.previous.requires_grad
            assert not second.previous[~MASK].any()
    assert set(passes) == {1, 2}
    assert 15 <= passes.count(2) <= 45


def test_bonds_are_noised_with_the_features_and_scored_apart() -> None:
    layout, n = Layout(WIDTH - 3, 2), 8
    mask, atoms = MASK[:50, :n], Z[:50, :n]
    bonds = torch.diag_embed(torch.ones(n - 1, dtype=torch.long), 1)
    bonds = (bonds + bonds.T).expand(50, n, n)
    z = layout.with_bonds(atoms, bonds, mask)
    seeds = (SEEDS[:50], SEEDS[0])

    def truth(noisy: NoisyLigand) -> Tensor:
        c, eps = noisy.c_x.joined(noisy.c_h, z.shape[-1]), layout.noise(SEEDS[:50], "noise", mask)
        assert torch.equal(noisy.z[..., layout.atom :], add_noise(z, eps, c)[..., layout.atom :])
        return target(z, eps, c)

    def even(noisy: NoisyLigand) -> Tensor:
        clean = layout.with_bonds(atoms, bonds, mask)
        clean[..., layout.atom :] = 0.5
        return (clean - noisy.c_h.skip * noisy.z) / noisy.c_h.out

    scores = []
    for answer in (truth, even):
        recorder = Recorder(answer)
        recorder.layout = layout
        errors, _ = denoising_errors(model(recorder), pockets(count=50), z, mask, UNCONDITIONED, seeds)
        scores.append(errors["bonds"])
    assert float(scores[0].max()) < 1e-4
    assert torch.allclose(scores[1], torch.full((50,), (n - 1) / 2 * math.log(2)), rtol=1e-4)


def test_given_atoms_are_clean_in_the_input_and_count_for_nothing() -> None:
    fixed = MASK & (torch.arange(ATOMS) < 5)
    recorder = Recorder(nothing, self_conditioning=True)
    stand_in = model(recorder)
    step = next(s for s in (rng.make_seeds(0, n) for n in range(9)) if uses_self_conditioning(s))
    told, _ = denoising_errors(stand_in, pockets(), Z, MASK, Conditioning(fixed), (SEEDS, step))
    last, _ = recorder.seen[-1]
    assert torch.allclose((last.z[..., :3] * last.c_x.scale_in)[fixed], Z[..., :3][fixed], atol=1e-5)
    assert torch.equal(last.previous[..., :3][fixed], Z[..., :3][fixed])
    plain = errors(Recorder(nothing))
    c = coefficients(stand_in.schedule, last.t_x, "f")
    expected = target(Z, rng.normal(SEEDS, "noise", Z.shape[1:]), c.joined(c, WIDTH))[..., :3].square().mean(-1)
    free = MASK & ~fixed
    assert torch.allclose(told["x"], (expected * free).sum(-1) / free.sum(-1), atol=1e-4)
    assert torch.equal(told["h"], plain["h"])
