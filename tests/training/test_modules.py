"""The four things that are trained: train/eval parity, independence of batch mates, frozen and trained VAEs."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import Config
from ligandsmith.diffusion.rng import step_seeds
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes, moments
from ligandsmith.predictions import LossReport
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.losses import DiffusionTraining, encoded_pocket
from ligandsmith.training.microbatch import LossInputs, MicroBatches, pairs_per_molecule
from ligandsmith.training.optim import make_optimizer
from ligandsmith.training.vae_losses import VAE_LOSSES, VAETraining

CPU = torch.device("cpu")
SEEDS = step_seeds(3, 5, 4, (0, 1), CPU)
STAGES = ["ligand VAE", "pocket VAE", "denoiser", "joint"]
Make = Callable[..., nn.Module]


@pytest.fixture
def make(config: Config, batch: ComplexBatch) -> Make:
    def build(stage: str, settings: Config = config) -> nn.Module:
        torch.manual_seed(0)
        vaes = build_vaes(settings, VOCABULARY)
        if stage == "ligand VAE":
            return VAETraining(vaes["ligand"], "ligand")
        if stage == "pocket VAE":
            return VAETraining(vaes["protein"], "protein")
        module = DiffusionTraining(DiffusionModel(settings), vaes, VAE_LOSSES if stage == "joint" else {})
        nn.init.normal_(module.model.denoiser.head[1].weight, std=0.1)
        with torch.no_grad():
            mean_h = vaes["ligand"].encode(batch.ligand).mean_h
        module.update_statistics(moments(batch.ligand.x, mean_h, batch.ligand.mask))
        return module

    return build


def values(report: LossReport) -> dict[str, float]:
    return {name: value.item() for name, value in {**report.terms, "total": report.total}.items()}


@pytest.mark.parametrize("backbone", ["eqattn", "egnn"])
@pytest.mark.parametrize("stage", ["ligand VAE", "pocket VAE", "denoiser"])
def test_mixed_precision_gives_nearly_the_same_loss_and_gradients(
    make: Make, config: Config, batch: ComplexBatch, weight: Tensor, stage: str, backbone: str
) -> None:
    parts = ("ligand_vae", "pocket_vae", "denoiser")
    module = make(stage, replace(config, **{p: replace(getattr(config, p), backbone=backbone) for p in parts}))
    full = module(batch, *SEEDS, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = module(batch, *SEEDS, weight)
    assert mixed.total.dtype == torch.float32
    assert mixed.total.item() == pytest.approx(full.total.item(), rel=0.02)
    assert mixed.total.item() != full.total.item()
    gradients = [flat_gradient(module, report) for report in (full, mixed)]
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def flat_gradient(module: nn.Module, report: LossReport) -> Tensor:
    parameters = [p for p in module.parameters() if p.requires_grad]
    found = torch.autograd.grad(report.total, parameters, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("step", [5, 6])
def test_train_and_eval_mode_report_the_same_loss(
    make: Make, batch: ComplexBatch, weight: Tensor, stage: str, step: int
) -> None:
    """On the same records with the same keys; steps with and without self-conditioning."""
    module, seeds = make(stage), step_seeds(3, step, 4, (0, 1), CPU)
    training = values(module.train()(batch, *seeds, weight))
    with torch.no_grad():
        validation = values(module.eval()(batch, *seeds, weight))
    assert validation == pytest.approx(training, abs=1e-6)
    assert len(training) > 2


@pytest.mark.parametrize("stage", STAGES)
def test_batch_mates_do_not_change_a_molecules_loss(
    make: Make, records: list[Complex], batch: ComplexBatch, weight: Tensor, stage: str
) -> None:
    module = make(stage).eval()
    with torch.no_grad():
        together = module(batch, *SEEDS, weight).per_molecule
        for i, record in enumerate(records):
            one = collate([record], VOCABULARY)
            if one.pocket is None and stage == "pocket VAE":
                continue
            seeds = SEEDS[0][i : i + 1], SEEDS[1]
            assert module(one, *seeds, torch.ones(1)).per_molecule.item() == pytest.approx(together[i].item(), abs=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_every_trained_parameter_gets_a_finite_gradient(
    make: Make, batch: ComplexBatch, weight: Tensor, stage: str
) -> None:
    module = make(stage)
    report = module(batch, *SEEDS, weight)
    report.objective.backward()
    bad = [name for name, p in module.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    unused = ("decoder.0.gates", "encoder", "decoder", "trained")
    assert [name for name in bad if not any(part in name for part in unused)] == []


def test_a_step_leaves_frozen_vaes_alone(make: Make, batch: ComplexBatch, weight: Tensor, config: Config) -> None:
    module = make("denoiser").train()
    vaes = [module.vae(name) for name in ("ligand", "protein")]
    before = [{k: v.clone() for k, v in vae.state_dict().items()} for vae in vaes]
    own = [v.clone() for v in module.parameters()]
    optimizer = make_optimizer(module, config.optimizer, 1e-2)
    module(batch, *SEEDS, weight).objective.backward()
    optimizer.step()
    for vae, state in zip(vaes, before, strict=True):
        assert not vae.training
        assert all(torch.equal(v, state[k]) for k, v in vae.state_dict().items())
        assert all(p.grad is None and not p.requires_grad for p in vae.parameters())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held.isdisjoint(id(p) for vae in vaes for p in vae.parameters())
    assert not any("trained" in name or "vae" in name for name in module.state_dict())
    assert any(not torch.equal(a, b) for a, b in zip(own, module.parameters(), strict=True))


def test_the_diffusion_loss_does_not_reach_trained_vaes(make: Make, batch: ComplexBatch, weight: Tensor) -> None:
    module = make("joint")
    mean_h = module.vae("ligand").encode(batch.ligand).mean_h
    pocket = encoded_pocket(module.vae("protein"), batch, 4)
    report = module(batch, *SEEDS, weight)
    diffusion = report.terms["diffusion/x"] + report.terms["diffusion/h"] + report.terms["diffusion/size"]
    diffusion.backward(retain_graph=True)
    assert all(p.grad is None for p in module.trained.parameters())
    report.objective.backward()
    assert all(any(p.grad is not None for p in vae.parameters()) for vae in module.trained.values())
    assert mean_h.requires_grad
    assert pocket.h.requires_grad


def test_the_joint_loss_is_the_sum_of_its_parts(make: Make, batch: ComplexBatch, weight: Tensor) -> None:
    terms = values(make("joint")(batch, *SEEDS, weight))
    parts = [terms[f"{part}/total"] for part in ("diffusion", "ligand", "protein")]
    assert terms["total"] == pytest.approx(sum(parts), rel=1e-5)


def test_statistics_follow_training_but_not_validation(make: Make, batch: ComplexBatch, weight: Tensor) -> None:
    module = make("joint")
    moved = replace(batch, ligand=replace(batch.ligand, x=batch.ligand.x * 2))
    before = module.model.stats.scale_x.item()
    fabric = Fabric(accelerator="cpu")
    fabric.launch()
    micro_batches = MicroBatches(fabric, module, pairs_per_molecule(batch))
    inputs = LossInputs(moved, *SEEDS, weight)
    micro_batches.report(module, inputs)
    assert module.model.stats.scale_x.item() == before
    micro_batches.backward(inputs, True, 1, "here")  # one molecule at a time, and one update
    assert module.model.stats.scale_x.item() == pytest.approx(1.05 * before, rel=1e-4)


def test_frozen_vaes_have_no_running_statistics(make: Make, batch: ComplexBatch, weight: Tensor) -> None:
    module = make("denoiser")
    before = module.model.stats.scale_x.item()
    module(replace(batch, ligand=replace(batch.ligand, x=batch.ligand.x * 2)), *SEEDS, weight)
    assert module.model.stats.scale_x.item() == before


def test_stored_pocket_latents_give_the_same_loss(make: Make, batch: ComplexBatch, weight: Tensor) -> None:
    module = make("denoiser").eval()
    assert batch.pocket is not None
    with torch.no_grad():
        stored = replace(batch, pocket=replace(batch.pocket, latent=module.vae("protein").encode(batch.pocket).mean_h))
        assert values(module(stored, *SEEDS, weight)) == values(module(batch, *SEEDS, weight))


def test_more_noise_draws_average_more_times(make: Make, config: Config, batch: ComplexBatch, weight: Tensor) -> None:
    many = replace(config, diffusion=replace(config.diffusion, noise_draws=3))
    single, triple = (make("denoiser", c)(batch, *SEEDS, weight).per_molecule for c in (config, many))
    assert triple.shape == single.shape
    assert not torch.allclose(single, triple)


def test_seeds_belong_to_places_in_the_global_batch() -> None:
    whole = step_seeds(1, 2, 6, (0, 1), CPU)
    for world in (2, 3):
        for rank in range(world):
            part = step_seeds(1, 2, 6 // world, (rank, world), CPU)
            assert torch.equal(part[0], whole[0][rank::world])
            assert torch.equal(part[1], whole[1])
    assert not torch.isin(step_seeds(1, 3, 6, (0, 1), CPU)[0], whole[0]).any()


def test_the_pocket_vae_says_that_it_needs_pockets(make: Make, batch: ComplexBatch, weight: Tensor) -> None:
    with pytest.raises(ValueError, match="needs pockets"):
        make("pocket VAE")(replace(batch, pocket=None), *SEEDS, weight)


def test_a_batch_without_pockets_trains_the_denoiser(make: Make, batch: ComplexBatch, weight: Tensor) -> None:
    report = make("denoiser")(replace(batch, pocket=None), *SEEDS, weight)
    report.objective.backward()
    assert torch.isfinite(report.total)
    assert report.terms["size"].item() == 0
