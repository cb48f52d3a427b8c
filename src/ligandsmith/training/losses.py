"""Losses. One code path in train and eval mode; every error is divided by the molecule's own size, never the padding.

Shapes: see `types.py`. `weight` [B] is the share of each molecule in the mean over the global batch.
"""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from ligandsmith.batches import LigandBatch, LigandPrediction, LossReport, PocketBatch, Posterior
from ligandsmith.models.pocket_vae import MaskedResidues, PocketPrediction


def per_atom_mean(value: Tensor, mask: Tensor) -> Tensor:
    """Mean over a molecule's real atoms: value [B, N], mask [B, N] -> [B]."""
    return (value * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """[..., classes], [...] -> [...] nats."""
    return F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)


def gaussian_kl(posterior: Posterior) -> Tensor:
    """KL(q(z_h) ‖ N(0, I)) per atom and dimension, nats: [B, N, Z]."""
    return 0.5 * (posterior.mean_h.square() + posterior.logvar_h.exp() - 1 - posterior.logvar_h)


def distance_error(x: Tensor, target: Tensor, pairs: Tensor) -> Tensor:
    """Mean squared error (Å²) of the distances over the pairs marked in `pairs` [B, N, N]: -> [B]."""
    predicted = ((x.unsqueeze(1) - x.unsqueeze(2)).square().sum(-1) + 1e-8).sqrt()
    true = ((target.unsqueeze(1) - target.unsqueeze(2)).square().sum(-1) + 1e-8).sqrt()
    return ((predicted - true).square() * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)


def bonded_pairs(bonds: Tensor) -> tuple[Tensor, Tensor]:
    """Masks [B, N, N] of the bonded and of the 1-3 pairs, from bond classes [B, N, N]."""
    bonded = bonds > 0
    two = torch.bmm(bonded.float(), bonded.float()) > 0
    eye = torch.eye(bonds.shape[1], dtype=torch.bool, device=bonds.device)
    return bonded, two & ~bonded & ~eye


def bond_nats(probability: Tensor, bonds: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of bond orders, nats per atom [B], from probabilities and one-hot orders [B, N, N, orders]."""
    chosen = (probability * bonds).sum(-1)
    return _pairs_per_atom(-chosen.clamp(min=1e-6).log(), mask)


def _pairs_per_atom(value: Tensor, mask: Tensor) -> Tensor:
    """Sum over a molecule's pairs, each once, divided by its atoms: value [B, N, N], mask [B, N] -> [B]."""
    upper = torch.triu(mask.unsqueeze(1) & mask.unsqueeze(2), diagonal=1)
    return (value * upper).sum((1, 2)) / mask.sum(-1).clamp(min=1)


def vae_loss(
    prediction: LigandPrediction, ligand: LigandBatch, posterior: Posterior, weights: dict[str, float], share: Tensor
) -> LossReport:
    """Ligand VAE loss. Coordinates in Å² per axis; classes, bonds and KL in nats per atom.

    `weights` has x, element, charge, aromatic, num_h, bond, distance, kl; `share` [B] sums to 1 over the global batch.
    """
    mask = ligand.mask
    bonded, one_three = bonded_pairs(ligand.bonds)
    aromatic = F.binary_cross_entropy_with_logits(prediction.aromatic, ligand.aromatic.float(), reduction="none")
    terms = {
        "x": per_atom_mean((prediction.x - ligand.x).square().mean(-1), mask),
        "element": per_atom_mean(_cross_entropy(prediction.element, ligand.element), mask),
        "charge": per_atom_mean(_cross_entropy(prediction.charge, ligand.charge), mask),
        "aromatic": per_atom_mean(aromatic, mask),
        "num_h": per_atom_mean(_cross_entropy(prediction.num_h, ligand.num_h), mask),
        "bond": _pairs_per_atom(_cross_entropy(prediction.bonds, ligand.bonds), mask),
        "distance": distance_error(prediction.x, ligand.x, bonded) + distance_error(prediction.x, ligand.x, one_three),
        "kl": per_atom_mean(gaussian_kl(posterior).sum(-1), mask),
    }
    return weighted_report(terms, weights, share)


def weighted_report(terms: dict[str, Tensor], weights: dict[str, float], share: Tensor) -> LossReport:
    """Per-molecule terms [B] -> report: total = Σ_b share_b Σ_k weight_k term_k."""
    per_molecule = torch.stack([weights[name] * value for name, value in terms.items()]).sum(0)
    means = {name: (value * share).sum() for name, value in terms.items()}
    return LossReport((per_molecule * share).sum(), means, weights, per_molecule)


def denoising_loss(
    errors: dict[str, Tensor], widths: dict[str, int], share: Tensor, auxiliary: dict[str, Tensor] | None = None
) -> LossReport:
    """Mean squared error of the network's target over all dimensions of a molecule's latents.

    `errors` maps a modality to its per-molecule mean squared error [B] (1.0 for predicting nothing), `widths` to its
    dimensions per atom; the total is Σ error · width / Σ width, i.e. the squared error divided by
    (n_dims + in_node_nf) · n_nodes. `auxiliary` losses [B] train heads of their own and do not enter the total.
    """
    scale = sum(widths.values())
    report = weighted_report(errors, {name: width / scale for name, width in widths.items()}, share)
    if not auxiliary:
        return report
    extra = {name: (value * share).sum() for name, value in auxiliary.items()}
    objective = report.total + torch.stack(list(extra.values())).sum()
    return LossReport(report.total, {**report.terms, **extra}, report.weights, report.per_molecule, objective)


LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)  # edges in t, of the loss by noise level
LEVEL = "level "  # how the names of such terms begin


def noise_level_sums(errors: dict[str, Tensor], t: Tensor, share: Tensor) -> dict[str, Tensor]:
    """Sums for the error by noise level: errors {name: [B]}, times [B], shares [B] -> terms 'level LOW-HIGH/name' and
    'level LOW-HIGH/share', which add up over batches; `noise_level_means` divides them."""
    found: dict[str, Tensor] = {}
    for low, high in pairwise(LEVELS):
        inside = share * ((t >= low) & ((t < high) | (high == LEVELS[-1])))
        name = f"{LEVEL}{low:g}-{high:g}"
        found |= {f"{name}/{modality}": (error * inside).sum() for modality, error in errors.items()}
        found[f"{name}/share"] = inside.sum()
    return found


def noise_level_means(terms: dict[str, float]) -> dict[str, float]:
    """Terms with the sums of noise levels divided by their shares; a level without a molecule is left out."""
    found = {name: value for name, value in terms.items() if LEVEL not in name}
    for name, value in terms.items():
        if LEVEL in name and not name.endswith("/share"):
            share = terms[f"{name.rsplit('/', 1)[0]}/share"]
            if share > 0:
                found[name] = value / share
    return found


def pocket_vae_loss(
    prediction: PocketPrediction, pocket: PocketBatch, hidden: MaskedResidues, kl: Tensor, weights: dict[str, float],
    share: Tensor,
) -> LossReport:  # fmt: skip
    """Pocket VAE loss, each term per pocket: classes in nats per atom, masked residues in nats per masked residue, the
    side-chain offset in Å² per axis, KL in nats per atom. `weights` has residue, atom_name, masked, offset, kl."""
    mask, at = pocket.mask, hidden.at
    residue = _cross_entropy(prediction.residue, pocket.residue)
    terms = {
        "residue": per_atom_mean(residue, mask & ~at),
        "atom_name": per_atom_mean(_cross_entropy(prediction.atom_name, pocket.atom_name), mask),
        "masked": per_atom_mean(residue, at),
        "offset": per_atom_mean((prediction.offset - hidden.offset).square().mean(-1), at),
        "kl": per_atom_mean(kl, mask),
    }
    return weighted_report(terms, weights, share)
