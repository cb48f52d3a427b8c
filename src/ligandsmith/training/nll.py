"""Negative log-likelihood of ligands given their pockets, in nats: a metric beside the training loss."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ligandsmith.batches import ComplexBatch, LigandBatch
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.likelihood import Latents, NoiseGrid, diffusion_nll
from ligandsmith.diffusion.process import NoisyLigand, coefficients, to_clean
from ligandsmith.models.latent_diffusion import DiffusionModel, size_classes
from ligandsmith.models.pocket_vae import PocketLatents
from ligandsmith.predictions import LigandPrediction, Posterior
from ligandsmith.training.losses import encoded_pocket

DECODER_SD = 0.1  # Å, of the decoder's Gaussian around its coordinates


@torch.no_grad()
def ligand_nll(
    model: DiffusionModel, vaes: Mapping[str, Any], batch: ComplexBatch, seeds: Tensor, grid: NoiseGrid | None = None
) -> dict[str, Tensor]:
    """Upper bound on -log p(ligand | pocket, N) and its terms, nats per molecule, each [B]; `seeds` [B] fix all noise.

    total = reconstruction - entropy + diffusion. `diffusion` is that of the latents before normalisation (it includes
    the log of their scales) and of the bond orders, where those are part of the latents. `size` is
    -log p(N | pocket), not part of the total, zero where there is no pocket.
    `vaes` has "ligand" and "protein"; modules should be in eval mode.
    """
    ligand, mask = batch.ligand, batch.ligand.mask
    posterior = vaes["ligand"].encode(ligand)
    z_x = posterior.mean_x + posterior.sigma_x * rng.normal(seeds, "nll z_x", posterior.mean_x.shape[1:])
    spread = (0.5 * posterior.logvar_h).exp()
    z_h = posterior.mean_h + spread * rng.normal(seeds, "nll z_h", posterior.mean_h.shape[1:])
    reconstruction = reconstruction_nats(vaes["ligand"].decode(z_x, z_h, mask), ligand)
    pocket = encoded_pocket(vaes["protein"], batch, model.config.denoiser.anchors)
    z = model.stats.normalise(z_x, z_h, mask)
    layout = model.denoiser.layout
    latents = Latents(layout.with_bonds(z, ligand.bonds, mask), mask, layout)
    bound = diffusion_nll(clean_predictor(model, pocket, mask), latents, model.schedule, seeds, grid)
    log_scale = 3 * model.stats.scale_x.log() + model.stats.std_h.log().sum()
    diffusion = bound.total + mask.sum(-1) * log_scale
    entropy = posterior_entropy(posterior)
    number = size_classes(mask.sum(-1)).unsqueeze(-1)
    size = -model.size(pocket).log_softmax(-1).gather(-1, number).squeeze(-1) * pocket.mask.any(-1)
    return {
        "total": reconstruction - entropy + diffusion,
        "reconstruction": reconstruction,
        "entropy": entropy,
        "diffusion": diffusion,
        "size": size,
    }


def reconstruction_nats(prediction: LigandPrediction, ligand: LigandBatch) -> Tensor:
    """-log p(x, atoms, bonds | z), [B]: Gaussian coordinates (s.d. DECODER_SD), classes, each bond once."""
    mask = ligand.mask
    square = (prediction.x - ligand.x).square().sum(-1) / (2 * DECODER_SD**2)
    atoms = square + 1.5 * math.log(2 * math.pi * DECODER_SD**2)
    for logits, target in (
        (prediction.element, ligand.element),
        (prediction.charge, ligand.charge),
        (prediction.num_h, ligand.num_h),
    ):
        atoms = atoms + F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    atoms = atoms + F.binary_cross_entropy_with_logits(prediction.aromatic, ligand.aromatic.float(), reduction="none")
    pairs = torch.triu(mask.unsqueeze(1) & mask.unsqueeze(2), diagonal=1)
    bonds = F.cross_entropy(prediction.bonds.permute(0, 3, 1, 2), ligand.bonds, reduction="none")
    return (atoms * mask).sum(-1) + (bonds * pairs).sum((1, 2))


def posterior_entropy(posterior: Posterior) -> Tensor:
    """Entropy of q(z | ligand), coordinates (Å) and features together, [B]."""
    width = posterior.mean_h.shape[-1]
    constant = 0.5 * math.log(2 * math.pi * math.e)
    per_atom = 3 * posterior.sigma_x.log() + 0.5 * posterior.logvar_h.sum(-1) + (3 + width) * constant
    return (per_atom * posterior.mask).sum(-1)


def clean_predictor(model: DiffusionModel, pocket: PocketLatents, mask: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """(z_t [B, N, D], t [B]) -> clean latents, conditional on the pockets where there are any."""
    seeds = model.denoiser.project_pocket(pocket)
    null = ~pocket.mask.any(-1).repeat_interleave(len(mask) // len(pocket.mask), 0)

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        c = coefficients(model.schedule, t, model.denoiser.prediction)
        noisy = NoisyLigand(z, mask, t, t, c, c, model.stats.scale_x)
        return to_clean(z, model.denoiser(noisy, seeds, null), c.joined(c, z.shape[-1]))

    return denoise
