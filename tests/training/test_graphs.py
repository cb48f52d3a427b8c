"""Captured steps: the same training as eager steps."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from ligandsmith.batches import ComplexBatch
from ligandsmith.cli.main import FAILED
from ligandsmith.config import Config
from ligandsmith.data.static_shapes import pad_to_static_shapes
from ligandsmith.diffusion.rng import step_seeds
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.cudagraphs import CapturedStep
from ligandsmith.training.losses import DiffusionTraining
from ligandsmith.training.optim import MuonAdamW
from tiny_runs import Tiny, content

CPU = torch.device("cpu")
RATE = 1e-3


def module(config: Config) -> DiffusionTraining:
    torch.manual_seed(0)
    return DiffusionTraining(DiffusionModel(config), build_vaes(config, VOCABULARY), {})


@pytest.fixture
def partly(config: Config, batch: ComplexBatch) -> ComplexBatch:
    """A batch whose pockets have latents and whose last molecule has no pocket."""
    assert batch.pocket is not None
    mask = batch.pocket.mask.clone()
    mask[-1] = False
    torch.manual_seed(1)
    latent = torch.randn(*mask.shape, config.pocket_vae.latent_width)
    return replace(batch, pocket=replace(batch.pocket, mask=mask, latent=latent), num_with_pocket=len(mask) - 1)


def graphed(training: DiffusionTraining, config: Config, device: str = "cpu") -> CapturedStep:
    training.to(device)
    training.move_frozen(torch.device(device))
    return CapturedStep(
        training, MuonAdamW(training, config.optimizer, RATE), 1.0, Fabric(accelerator=device, devices=1)
    )


def step_by_step(training: DiffusionTraining, config: Config, batch: ComplexBatch, steps: int) -> list[float]:
    """The losses of ordinary steps on the batch as it is."""
    optimizer, losses, size = MuonAdamW(training, config.optimizer, RATE), [], len(batch.ids)
    for number in range(steps):
        seeds = step_seeds(0, number, size, (0, 1), CPU)
        report = training(replace(batch, num_with_pocket=None), *seeds, torch.full((size,), 1 / size))
        report.objective.backward()
        torch.nn.utils.clip_grad_norm_(training.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(report.total.detach()))
    return losses


def losses_of(step: CapturedStep, batch: ComplexBatch, steps: int) -> list[float]:
    found = []
    for number in range(steps):
        step(pad_to_static_shapes(batch), step_seeds(0, number, len(batch.ids), (0, 1), CPU), RATE)
        loss, molecules, bad = step.sums.tolist()
        assert (molecules, bad) == (len(batch.ids), 0)
        found.append(loss / molecules)
        step.sums.zero_()
    return found


def test_padded_steps_are_the_ordinary_ones(config: Config, partly: ComplexBatch) -> None:
    ordinary, other = module(config), module(config)
    expected = step_by_step(ordinary, config, partly, 4)
    assert losses_of(graphed(other, config), partly, 4) == pytest.approx(expected, rel=1e-4)
    for a, b in zip(ordinary.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)
    assert losses_of(graphed(module(config), config), replace(partly, num_with_pocket=0), 1) != pytest.approx(
        expected[:1], rel=1e-4
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_recorded_steps_are_the_ordinary_ones(config: Config, partly: ComplexBatch) -> None:
    expected = step_by_step(module(config), config, partly, 12)
    assert losses_of(graphed(module(config), config, "cuda"), partly, 12) == pytest.approx(expected, rel=1e-2)


def test_a_step_that_is_not_finite_leaves_the_weights_alone(config: Config, partly: ComplexBatch) -> None:
    training = module(config)
    step = graphed(training, config)
    before = [p.detach().clone() for p in training.parameters()]
    x = partly.ligand.x.clone()
    x[0, 0] = torch.nan
    seeds = step_seeds(0, 0, len(partly.ids), (0, 1), CPU)
    step(pad_to_static_shapes(replace(partly, ligand=replace(partly.ligand, x=x))), seeds, RATE)
    assert step.sums.tolist() == [0, 0, 1]
    assert all(torch.equal(a, b) for a, b in zip(before, training.parameters(), strict=True))
    step(pad_to_static_shapes(partly), seeds, RATE)
    assert step.sums.tolist()[1:] == [len(partly.ids), 1]
    assert any(not torch.equal(a, b) for a, b in zip(before, training.parameters(), strict=True))
    assert all(p.isfinite().all() for p in training.parameters())


def test_a_run_with_graphs_saves_and_goes_on(tiny: Tiny, vae_paths: list[str], tmp_path: Path) -> None:
    flags = ("--cuda_graphs", "--cache_latents", *vae_paths)
    assert tiny.run("train-denoiser", tmp_path, *flags, "--num_epochs", "1") == 0
    assert tiny.run("train-denoiser", tmp_path, *flags, "--num_epochs", "2", "--resume", "auto") == 0
    saved = content(tmp_path / "checkpoints/denoiser_last.pt")
    assert [row["epoch"] for row in saved["history"]] == [1, 2]
    assert all(0 < row["train_loss"] < 10 for row in saved["history"])
    assert (
        tiny.run("train-denoiser", tmp_path, "--cache_latents", *vae_paths, "--num_epochs", "3", "--resume", "auto")
        == 0
    )


@pytest.mark.parametrize(("flags", "message"), [
    ("", "for a denoiser on frozen VAEs"),
    ("{vaes} --cache_latents --accumulate 2", "without --accumulate"),
    ("{vaes} --cache_latents --set optimizer.name=adamw", "optimizer 'adamw' cannot; choose muon"),
    ("{vaes}", "add --cache_latents"),
])  # fmt: skip
def test_what_cannot_be_recorded_is_refused(
    flags: str, message: str, tiny: Tiny, vae_paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = flags.format(vaes=" ".join(vae_paths)).split()
    assert tiny.run("train-denoiser", tmp_path, "--cuda_graphs", *extra) == FAILED
    assert message in capsys.readouterr().err.splitlines()[-1]
