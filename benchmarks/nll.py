"""Negative log-likelihood of ligands given their pockets and of latents, in nats: never the training loss.

Latents: the evidence lower bound in its continuous-time form (Kingma et al. 2021, "Variational diffusion models"):

    -log p(z) <= KL(q(z_low | z) ‖ N(0, I)) + dof/2 (log 2π - λ_high + 1) + ½ ∫ e^λ E‖z - ẑ_λ‖² dλ,  λ from low to high,

where λ = log(alpha² / sigma²). It needs clean-latent predictions only, so it holds for any target of the network. The
bound does not change when z_t is multiplied by a known factor: only the log-SNR matters. The straight path of flow
matching (alpha = 1 - t, sigma = t) and variance-exploding paths (alpha = 1) are therefore measured at the times at
which they have the log-SNR λ, with z_t on their own scale, and the first term is that of the variance-preserving z_t
of the same log-SNR, alpha² = sigmoid(λ_low).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ligandsmith.batches import ComplexBatch, LigandBatch
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.process import Layout, NoisyLigand, Schedule, coefficients, real_pairs, to_clean
from ligandsmith.models.latent_diffusion import DiffusionModel, size_classes
from ligandsmith.models.pocket_vae import PocketLatents
from ligandsmith.predictions import LigandPrediction, Posterior
from ligandsmith.training.losses import encoded_pocket

CleanAt = Callable[[Tensor, Tensor], Tensor]  # (z_t [B, N, D], t [B]) -> clean latents [B, N, D]
DECODER_SD = 0.1  # Å, of the decoder's Gaussian around its coordinates


class NoiseGrid(NamedTuple):
    """Where the integral over the log-SNR is evaluated: one point in each of `points` equal strata of [low, high]."""

    points: int = 64
    low: float = -10.0
    high: float = 10.0


class Latents(NamedTuple):
    """Clean latents z [B, N, D] of molecules with mask [B, N]."""

    z: Tensor
    mask: Tensor
    layout: Layout


class DiffusionNLL(NamedTuple):
    """The terms of the bound, nats per molecule, each [B]."""

    prior: Tensor  # KL of the noisiest latents from N(0, I)
    start: Tensor  # the Gaussian step from the least noisy latents to clean ones
    denoising: Tensor  # the integral of the denoising error

    @property
    def total(self) -> Tensor:
        """The bound on -log p(z), nats per molecule, [B]."""
        return self.prior + self.start + self.denoising


def reachable(schedule: Schedule, grid: NoiseGrid) -> tuple[float, float]:
    """The part of [grid.low, grid.high] that the schedule passes through; the bound holds for any such interval."""
    ends = schedule.logsnr(torch.tensor([1.0, 0.0], dtype=torch.float64))
    return max(grid.low, float(ends[0])), min(grid.high, float(ends[1]))


@torch.no_grad()
def diffusion_nll(
    denoise: CleanAt, latents: Latents, schedule: Schedule, seeds: Tensor, grid: NoiseGrid | None = None
) -> DiffusionNLL:
    """Upper bound on -log p(z) for latents z. Bond orders are discrete: the least noisy z determines them, and
    theirs is a probability, not a density.

    `seeds` [B] fix the noise. Unbiased. The best linear predictor, whose bound is known in closed form, is a control
    variate: what is sampled is only how the network differs from it.
    """
    grid = grid or NoiseGrid()
    low, high = reachable(schedule, grid)
    z, mask, layout = latents
    weight = _entry_weight(layout, mask)
    dof = weight.double().sum((1, 2))
    densities = weight[..., : layout.atom].double().sum((1, 2))
    energy = _squared(z, weight)
    difference = torch.zeros_like(energy)
    for point in range(grid.points):
        point_seeds = rng.fold_in(seeds, point)
        place = (rng.uniform(point_seeds, "likelihood log-snr").double() + point) / grid.points
        t = schedule.time_of_logsnr(low + (high - low) * place)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        a, s = (value.to(z.dtype).view(-1, 1, 1) for value in (alpha, sigma))
        noisy = (a * z + s * layout.noise(point_seeds, "likelihood noise", mask).to(z.dtype)) * (weight > 0)
        linear = a / (a.square() + s.square()) * noisy
        error = _squared(z - denoise(noisy, t.to(z.dtype)), weight) - _squared(z - linear, weight)
        difference = difference + (alpha / sigma).square() * error
    signal = 1 / (1 + math.exp(-low)), 1 / (1 + math.exp(-high))  # alpha² at the ends, variance-preserving
    prior = 0.5 * (signal[0] * energy - dof * (signal[0] + math.log1p(-signal[0])))
    start = 0.5 * densities * (math.log(2 * math.pi) - high + 1)
    gained = signal[1] - signal[0]
    linear_integral = gained * energy + dof * (math.log1p(math.exp(high)) - math.log1p(math.exp(low)) - gained)
    return DiffusionNLL(prior, start, 0.5 * linear_integral + 0.5 * (high - low) / grid.points * difference)


def _entry_weight(layout: Layout, mask: Tensor) -> Tensor:
    """Weight [B, N, D] of each entry in a sum over degrees of freedom; ½ for bonds, which have two entries."""
    atoms = mask.unsqueeze(-1).expand(-1, -1, layout.atom).float()
    pairs = 0.5 * real_pairs(mask).unsqueeze(-1).expand(-1, -1, -1, layout.orders).flatten(2)
    return torch.cat([atoms, pairs], -1)


def _squared(value: Tensor, weight: Tensor) -> Tensor:
    """Squared norm over a molecule's degrees of freedom, float64 [B]."""
    return (value.double().square() * weight).sum((1, 2))


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
