"""Our models as the benchmarks run them: a training step, a denoising step, molecules of one pocket; random weights.

As a program (`own.py PRESET BATCH LIGAND POCKET`) it answers lines on the standard input (see `meter.serve`);
`own.py defaults NUM LIGAND POCKET` makes molecules of a real pocket with the shipped weights, as `generate` does.
"""

import itertools
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from benchmarks.commands import EXAMPLE
from benchmarks.measure import synthetic_complex
from benchmarks.meter import serve
from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import Config, preset
from ligandsmith.diffusion.process import NoisyLigand, coefficients
from ligandsmith.diffusion.rng import make_seeds, step_seeds
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.records import Pocket
from ligandsmith.structure.pocket import read_pocket
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.gradient_checkpointing import enable_gradient_checkpointing
from ligandsmith.training.losses import DiffusionTraining, encoded_pocket
from ligandsmith.training.optim import make_optimizer
from ligandsmith.training.vae_losses import VAE_LOSSES, VAETraining

MODELS = ("ligand_vae", "protein_vae", "denoiser", "joint")
Step = Callable[[], Any]


def configuration(name: str, pocket: int) -> Config:
    """A preset that takes pockets of this size."""
    config = preset(name)
    return replace(config, pocket=replace(config.pocket, max_atoms=max(pocket, config.pocket.max_atoms)))


def synthetic_batch(batch: int, ligand: int, pocket: int) -> ComplexBatch:
    return collate([synthetic_complex(ligand, pocket, i) for i in range(batch)], VOCABULARY)


def with_latents(batch: ComplexBatch, config: Config) -> ComplexBatch:
    """As after --cache_latents: the pockets bring the latents of a frozen encoder."""
    assert batch.pocket is not None
    latent = torch.zeros(*batch.pocket.mask.shape, config.pocket_vae.latent_width)
    return replace(batch, pocket=replace(batch.pocket, latent=latent))


def training_module(model: str, config: Config) -> nn.Module:
    """What `train_vae.py`, `train_denoiser.py` (VAEs frozen) and `train_all.py` train."""
    vaes = build_vaes(config, VOCABULARY)
    if model == "ligand_vae":
        return VAETraining(vaes["ligand"], "ligand")
    if model == "protein_vae":
        return VAETraining(vaes["protein"], "protein")
    return DiffusionTraining(DiffusionModel(config), vaes, {} if model == "denoiser" else VAE_LOSSES)


def training_step(module: nn.Module, config: Config, batch: ComplexBatch, checkpointing: bool = False) -> Step:
    """Loss, backward pass, clipping and optimizer on one batch."""
    if checkpointing:
        enable_gradient_checkpointing(module)
    optimizer = make_optimizer(module, config.optimizer, 1e-4)
    size = len(batch.ligand.x)
    weight = torch.full((size,), 1 / size)
    steps = iter(range(1_000_000))

    def step() -> None:
        loss = module(batch, *step_seeds(0, next(steps), size, (0, 1), torch.device("cpu")), weight)
        loss.objective.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def denoising_step(config: Config, batch: int, ligand: int, pocket: int) -> Step:
    """One network call for `batch` molecules of one pocket that is encoded already, as within sampling."""
    model = DiffusionModel(config).eval().requires_grad_(False)
    model.denoiser.basis.use_table = True
    site = encoded_pocket(
        build_vaes(config, VOCABULARY)["protein"],  # type: ignore[arg-type]
        synthetic_batch(1, ligand, pocket), config.denoiser.anchors,
    )  # fmt: skip
    mask = torch.ones(batch, ligand, dtype=torch.bool)
    times = torch.full((batch,), 0.5)
    c = coefficients(model.schedule, times, config.diffusion.prediction)
    z = model.denoiser.layout.noise(make_seeds(0, torch.arange(batch)), "start", mask)
    noisy = NoisyLigand(z, mask, times, times, c, c, model.stats.scale_x, z)
    with torch.inference_mode():
        kv = model.denoiser.project_pocket(site)
    return torch.inference_mode()(lambda: model.denoiser(noisy, kv, torch.zeros(batch, dtype=torch.bool)))


def generator(config: Config) -> LigandGenerator:
    """With random weights: the cost does not depend on them."""
    content = {
        "kind": "denoiser", "config": asdict(config), "vocabulary": VOCABULARY.to_dict(),
        "diffusion_state": DiffusionModel(config).state_dict(),
        "vae_state": build_vaes(config, VOCABULARY).state_dict(),
    }  # fmt: skip
    return LigandGenerator(content, "random weights")


def synthetic_pocket(ligand: int, pocket: int) -> Pocket:
    made = synthetic_complex(ligand, pocket, 0).pocket
    assert made is not None
    return made


def serve_defaults(num: int, ligand: int) -> None:
    """Answer "molecules": generate `num` ligands with `ligand` heavy atoms for 7OFF, using the shipped weights `small`
    with default settings (candidates, restarts, relaxation) and a new seed each time."""
    sampler, seeds = load("small"), itertools.count()
    site, _ = read_pocket(EXAMPLE / "protein.pdb.gz", EXAMPLE / "ligand.sdf")
    sampler.generate(site, 1, num_atoms=str(ligand), steps=2, candidates=1)  # imports and tables
    serve(
        {"molecules": lambda: sampler.generate(site, num, next(seeds), num_atoms=str(ligand))},
        {"parameters": sum(p.numel() for p in sampler.model.parameters()), "steps": sampler.config.sampling.steps},
    )


def main() -> None:
    name, (batch, ligand, pocket) = sys.argv[1], map(int, sys.argv[2:])
    torch.set_num_threads(1)
    if name == "defaults":
        return serve_defaults(batch, ligand)
    torch.manual_seed(0)
    config = configuration(name, pocket)
    module = training_module("denoiser", config)
    sampler, site = generator(config), synthetic_pocket(ligand, pocket)
    serve(
        {
            "train": training_step(module, config, synthetic_batch(batch, ligand, pocket)),
            "denoise": denoising_step(config, batch, ligand, pocket),
            "molecules": lambda: sampler.generate(site, batch, num_atoms=str(ligand), batch_size=batch),
        },
        {"parameters": sum(p.numel() for p in module.parameters()), "steps": config.sampling.steps},
    )


if __name__ == "__main__":
    main()
