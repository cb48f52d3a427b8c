"""Losses of the two VAEs. Conventions as in `losses`: one code path, errors divided by a molecule's own size."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ligandsmith.batches import ComplexBatch, LigandBatch, PocketBatch
from ligandsmith.diffusion import rng
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.models.pocket_vae import PocketVAE
from ligandsmith.predictions import LigandPrediction, LossReport, PocketPrediction, Posterior
from ligandsmith.training.losses import (
    VAELoss,
    bonded_pairs,
    distance_error,
    pairs_per_atom,
    per_atom_mean,
    weighted_report,
)


class VAETraining(nn.Module):
    """Loss of one VAE: "ligand" or "protein"."""

    def __init__(self, vae: nn.Module, name: str) -> None:
        super().__init__()
        self.vae, self.loss = vae, VAE_LOSSES[name]

    def forward(self, batch: ComplexBatch, seeds: Tensor, step_seed: Tensor, weight: Tensor) -> LossReport:
        """Loss of a batch; `seeds` [B] fix all noise and `step_seed` is not used."""
        return self.loss(self.vae, batch, seeds, weight)


def ligand_vae_loss(vae: LigandVAE, batch: ComplexBatch, seeds: Tensor, weight: Tensor) -> LossReport:
    """Reconstruction from posterior samples with additional noise on the latents, so that the decoder is robust.

    The noise level of each molecule is uniform, up to `noise_x` for z_x and up to `noise_h` for z_h.
    """
    ligand, config = batch.ligand, vae.config
    posterior = vae.encode(ligand)
    level = rng.uniform(seeds, "noise x") * config.noise_x
    z_x = ligand.x + level.view(-1, 1, 1) * rng.normal(seeds, "z_x", ligand.x.shape[1:])
    extra = rng.uniform(seeds, "noise h").view(-1, 1, 1) * config.noise_h
    z_h = _sampled(posterior, seeds, "z_h") + extra * rng.normal(seeds, "extra h", posterior.mean_h.shape[1:])
    terms = ligand_terms(vae.decode(z_x, z_h, ligand.mask, level), ligand, posterior)
    weights = {
        "x": 1.0, "element": 1.0, "charge": 1.0, "aromatic": 1.0, "num_h": 0.5, "bond": 1.0,
        "distance": config.distance_weight, "kl": config.kl_weight,
    }  # fmt: skip
    return weighted_report(terms, weights, weight)


def pocket_vae_loss(vae: PocketVAE, batch: ComplexBatch, seeds: Tensor, weight: Tensor) -> LossReport:
    """Masked side chains: the VAE predicts the residue and the direction of side chains that are removed."""
    if batch.pocket is None:
        raise ValueError("a batch for the pocket VAE needs pockets")
    seen, masked, offset = vae.mask_side_chains(batch.pocket, seeds)
    edges = vae.edges(seen)
    posterior = vae.encode(seen, edges)
    prediction = vae.decode(_sampled(posterior, seeds, "pocket z_h"), seen, edges)
    terms = pocket_terms(prediction, replace(batch.pocket, mask=seen.mask), masked, offset)
    terms["kl"] = per_atom_mean(gaussian_kl(posterior).sum(-1), seen.mask)
    weights = {"residue": 0.2, "atom_name": 0.2, "masked": 1.0, "offset": 1.0, "kl": vae.config.kl_weight}
    return weighted_report(terms, weights, weight)


def ligand_terms(prediction: LigandPrediction, ligand: LigandBatch, posterior: Posterior) -> dict[str, Tensor]:
    """Terms [B]: coordinates in Å² per axis, distances in Å²; classes, bonds and KL in nats per atom."""
    mask = ligand.mask
    bonded, one_three = bonded_pairs(ligand.bonds)
    aromatic = F.binary_cross_entropy_with_logits(prediction.aromatic, ligand.aromatic.float(), reduction="none")
    return {
        "x": per_atom_mean((prediction.x - ligand.x).square().mean(-1), mask),
        "element": per_atom_mean(_cross_entropy(prediction.element, ligand.element), mask),
        "charge": per_atom_mean(_cross_entropy(prediction.charge, ligand.charge), mask),
        "aromatic": per_atom_mean(aromatic, mask),
        "num_h": per_atom_mean(_cross_entropy(prediction.num_h, ligand.num_h), mask),
        "bond": pairs_per_atom(_cross_entropy(prediction.bonds, ligand.bonds), mask),
        "distance": distance_error(prediction.x, ligand.x, bonded) + distance_error(prediction.x, ligand.x, one_three),
        "kl": per_atom_mean(gaussian_kl(posterior).sum(-1), mask),
    }


def pocket_terms(
    prediction: PocketPrediction, pocket: PocketBatch, masked: Tensor, offset: Tensor
) -> dict[str, Tensor]:
    """Terms [B]: classes in nats per atom, masked residues in nats per masked residue, offsets in Å² per axis.

    `masked` [B, M] marks the C-alphas of masked residues, `offset` [B, M, 3] Å points to their side chain's centroid.
    """
    mask = pocket.mask
    residue = _cross_entropy(prediction.residue, pocket.residue)
    return {
        "residue": per_atom_mean(residue, mask & ~masked),
        "atom_name": per_atom_mean(_cross_entropy(prediction.atom_name, pocket.atom_name), mask),
        "masked": per_atom_mean(residue, masked),
        "offset": per_atom_mean((prediction.offset - offset).square().mean(-1), masked),
    }


def gaussian_kl(posterior: Posterior) -> Tensor:
    """KL(q(z_h) ‖ N(0, I)) per atom and dimension, nats: [B, N, Z]."""
    return 0.5 * (posterior.mean_h.square() + posterior.logvar_h.exp() - 1 - posterior.logvar_h)


def _sampled(posterior: Posterior, seeds: Tensor, stream: str) -> Tensor:
    """A sample of z_h [B, N, Z]."""
    noise = rng.normal(seeds, stream, posterior.mean_h.shape[1:])
    return posterior.mean_h + (0.5 * posterior.logvar_h).exp() * noise


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """[..., classes], [...] -> [...] nats."""
    return F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)


VAE_LOSSES: dict[str, VAELoss | Any] = {"ligand": ligand_vae_loss, "protein": pocket_vae_loss}
