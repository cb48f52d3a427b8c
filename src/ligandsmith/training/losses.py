"""The diffusion loss, its terms, and what all losses share.

One code path in train and eval mode. Every error is divided by the molecule's own size, never by the padded size.
`weight` [B] is the weight of each molecule in the mean over the global batch; it sums to 1 over all processes.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ligandsmith.batches import ComplexBatch, LigandBatch
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.process import (
    Conditioning,
    NoisyLigand,
    add_noise,
    coefficients,
    draw_times,
    target,
    to_clean,
)
from ligandsmith.models.denoiser import PocketKV
from ligandsmith.models.latent_diffusion import DiffusionModel, moments
from ligandsmith.models.pocket_vae import PocketLatents, PocketVAE, cropped_latents, null_pocket, pocket_latents
from ligandsmith.predictions import LossReport

SIZE_WEIGHT = 0.1  # of the size model's loss
KEEP_PROPERTY = 0.7  # probability that a property is kept, if any is
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)  # bin edges in t of the loss by noise level
LEVEL = "level "  # prefix of the names of these terms
VAELoss = Callable[[Any, ComplexBatch, Tensor, Tensor], LossReport]  # (vae, batch, seeds, weight)


class DiffusionTraining(nn.Module):
    """Loss of the denoiser, with each VAE frozen (no gradient, no optimizer state, eval mode) or trained with it.

    `losses` has a loss for each VAE that is trained. Such a VAE learns from its own loss only: the diffusion loss reads
    its latents through a stop-gradient, normalised by running statistics, and so cannot make its own task easier.
    """

    def __init__(self, model: DiffusionModel, vaes: nn.ModuleDict, losses: Mapping[str, VAELoss]) -> None:
        super().__init__()
        self.model, self.losses = model, dict(losses)
        self.trained = nn.ModuleDict({name: vae for name, vae in vaes.items() if name in losses})
        self._frozen: dict[str, Any] = {
            name: vae.eval().requires_grad_(False) for name, vae in vaes.items() if name not in losses
        }

    def vae(self, name: str) -> Any:
        """The VAE "ligand" or "protein"."""
        return self._frozen[name] if name in self._frozen else self.trained[name]

    def move_frozen(self, device: torch.device) -> None:
        """Move the frozen VAEs, which are not submodules."""
        for vae in self._frozen.values():
            vae.to(device)

    def forward(self, batch: ComplexBatch, seeds: Tensor, step_seed: Tensor, weight: Tensor) -> LossReport:
        """Loss of a batch. `seeds` [B] and `step_seed` (scalar, the same in all processes) fix all noise."""
        ligand = batch.ligand
        with torch.no_grad():
            mean_h = self.vae("ligand").encode(ligand).mean_h
            if ligand.fixed is not None:
                ligand = replace(ligand, fragment_latent=self.vae("ligand").encode_fragment(ligand))
            pocket = encoded_pocket(self.vae("protein"), batch, self.model.config.denoiser.anchors)
        report = diffusion_loss(self.model, ligand, mean_h, pocket, (seeds, step_seed), weight)
        if not self.trained:
            return report
        parts = {"diffusion": report}
        for name, loss in self.losses.items():
            if name == "ligand" or batch.pocket is not None:
                parts[name] = loss(self.vae(name), batch, seeds, weight)
        report = _summed(parts)
        if "ligand" not in self.trained:
            return report
        counted = batch.ligand.mask & (weight > 0).unsqueeze(-1)  # a padded process repeats a record at weight 0
        return replace(report, moments=moments(batch.ligand.x, mean_h, counted))

    def update_statistics(self, sums: Tensor) -> None:
        """Update the running statistics of the latents from the `moments` of a batch, summed over all processes."""
        self.model.stats.update(sums)


def diffusion_loss(
    model: DiffusionModel, ligand: LigandBatch, mean_h: Tensor, pocket: PocketLatents, seeds: tuple[Tensor, Tensor],
    weight: Tensor,
) -> LossReport:  # fmt: skip
    """Denoising loss of ligands with posterior means `mean_h` [B, N, Z] in their pockets.

    `seeds` are those of the molecules [B] and of the step. Each ligand is noised `noise_draws` times.
    """
    config = model.config.diffusion
    multiplicity = config.noise_draws
    conditioning = _conditioning(model, ligand, seeds[0]).repeated(multiplicity)
    z = model.denoiser.layout.with_bonds(
        model.stats.normalise(ligand.x, mean_h, ligand.mask), ligand.bonds, ligand.mask
    )
    z, mask, bonds = (part.repeat_interleave(multiplicity, 0) for part in (z, ligand.mask, ligand.bonds))
    copies = rng.fold_in(seeds[0].unsqueeze(-1), torch.arange(multiplicity, device=z.device)).flatten()
    pocket_kv = model.denoiser.project_pocket(pocket)
    errors, t_x = denoising_errors(model, pocket_kv, z, mask, conditioning, (copies, seeds[1]), bonds=bonds)
    levels = noise_level_sums(
        {name: errors[name].detach() for name in ("x", "h")}, t_x, weight.repeat_interleave(multiplicity) / multiplicity
    )
    errors = {name: value.view(-1, multiplicity).mean(-1) for name, value in errors.items()}
    auxiliary = {"size": SIZE_WEIGHT * model.size.loss(pocket, ligand.mask.sum(-1))}
    for name, scale in (("geometry", config.geometry_weight), ("bonds", config.bond_weight)):
        if name in errors:
            auxiliary[name] = scale * errors.pop(name)
    report = denoising_loss(errors, {"x": 3, "h": mean_h.shape[-1]}, weight, auxiliary)
    return replace(report, terms={**report.terms, **levels})


def denoising_errors(  # noqa: PLR0913 - the model, the data, and all that is random
    model: DiffusionModel, pocket_kv: PocketKV, z: Tensor, mask: Tensor, conditioning: Conditioning,
    seeds: tuple[Tensor, Tensor], *, bonds: Tensor | None = None,
) -> tuple[dict[str, Tensor], Tensor]:  # fmt: skip
    """Mean squared error of the network's target per molecule, {"x": [B], "h": [B]}, and the times t_x [B].

    Predicting zero scores 1.0. z [B, N, D] are clean, normalised latents. With bond classes [B, N, N], "geometry" is
    the error of the distances of bonded and 1-3 atoms in the same units. If the denoiser predicts bonds, "bonds" is the
    cross-entropy of their orders in nats per atom. Fixed atoms do not count in "x".
    """
    config, denoiser, fixed = model.config.diffusion, model.denoiser, conditioning.fixed
    molecule_seeds, step_seed = seeds
    times = draw_times(molecule_seeds, config)
    c_x, c_h = (coefficients(model.schedule, t, config.prediction) for t in times)
    c = c_x.joined(c_h, z.shape[-1])
    eps = denoiser.layout.noise(molecule_seeds, "noise", mask)
    null = _without_pocket(pocket_kv, molecule_seeds, config.cfg_dropout_prob)
    z_t = denoiser.layout.clamp(add_noise(z, eps, c), z / c.scale_in, fixed) * mask.unsqueeze(-1)
    noisy = NoisyLigand(z_t, mask, *times, c_x, c_h, model.stats.scale_x, None, conditioning)
    if denoiser.config.self_conditioning and uses_self_conditioning(step_seed):
        with torch.no_grad():
            estimate = to_clean(z_t, denoiser(noisy, pocket_kv, null), c)
            noisy = noisy._replace(previous=denoiser.layout.clamp(estimate, z, fixed) * mask.unsqueeze(-1))
    predicted = denoiser(noisy, pocket_kv, null)
    error = (predicted - target(z, eps, c))[..., : denoiser.layout.atom].square()
    free = mask if fixed is None else mask & ~fixed
    errors = {"x": per_atom_mean(error[..., :3].mean(-1), free), "h": per_atom_mean(error[..., 3:].mean(-1), mask)}
    if bonds is not None and config.geometry_weight > 0:
        clean = to_clean(z_t[..., :3], predicted[..., :3], c_x)
        clean = clean if fixed is None else torch.where(fixed.unsqueeze(-1), z[..., :3], clean)
        bonded, one_three = bonded_pairs(bonds)
        # In units of the target, as the other errors: a distance that is off by `out` counts 1.
        errors["geometry"] = distance_error(clean, z[..., :3], bonded | one_three) / c_x.out.flatten().square()
    if denoiser.layout.orders:
        probability = denoiser.layout.bonds(to_clean(z_t, predicted, c))
        errors["bonds"] = bond_nats(probability, denoiser.layout.bonds(z), mask)
    return errors, times[0]


def uses_self_conditioning(step_seed: Tensor) -> bool:
    """Whether the network gets an estimate of its own in this step (Chen et al. 2023), with probability 0.5.

    One decision per step, the same in all processes, so that the additional pass costs time in half of the steps only.
    """
    return bool(rng.uniform(step_seed.view(1), "self-conditioning") < 0.5)


def _without_pocket(pocket_kv: PocketKV, seeds: Tensor, dropout: float) -> Tensor:
    """Molecules [B] denoised without a pocket: they have none, or it is dropped (classifier-free guidance)."""
    multiplicity = len(seeds) // len(pocket_kv.pocket.mask)
    absent = ~pocket_kv.pocket.mask.any(-1).repeat_interleave(multiplicity, 0)
    return absent | (rng.uniform(seeds, "pocket dropout") < dropout)


def _conditioning(model: DiffusionModel, ligand: LigandBatch, seeds: Tensor) -> Conditioning:
    """Fixed fragments, and the properties kept after dropout."""
    config = model.config
    fixed = fragment = properties = None
    if config.denoiser.fragments and ligand.fixed is not None and ligand.fragment_latent is not None:
        fixed, fragment = ligand.fixed, model.normalised_fragment(ligand.fragment_latent, ligand.fixed)
    if config.denoiser.properties and ligand.properties is not None:
        properties = drop_properties(ligand.properties, seeds, config.diffusion.property_prob)
    return Conditioning(fixed, fragment, properties)


def drop_properties(properties: Tensor, seeds: Tensor, keep: float) -> Tensor:
    """Properties [B, P] with NaN for those that are dropped.

    All properties of a molecule are dropped with probability 1 - `keep`; otherwise each is kept with KEEP_PROPERTY, so
    that any subset can be requested later.
    """
    some = rng.uniform(seeds, "properties") < keep
    each = rng.uniform(seeds, "each property", (properties.shape[-1],)) < KEEP_PROPERTY
    return properties.masked_fill(~(some.unsqueeze(-1) & each), torch.nan)


def encoded_pocket(vae: PocketVAE, batch: ComplexBatch, tokens: int) -> PocketLatents:
    """Latents of the pockets of a batch: stored ones if the batch has them, else encoded; null without pockets."""
    if batch.pocket is None:
        return null_pocket(len(batch.ligand.x), vae.config.latent_width, tokens, batch.ligand.x.device)
    pocket = batch.pocket
    h = vae.encode(pocket).mean_h if pocket.latent is None else pocket.latent
    if pocket.kept is None:
        return replace(pocket_latents(pocket.x, h, pocket.mask, tokens), num_with_pocket=batch.num_with_pocket)
    return cropped_latents(pocket.x, h, pocket.mask & pocket.kept, tokens)


def denoising_loss(
    errors: dict[str, Tensor], widths: dict[str, int], weight: Tensor, auxiliary: dict[str, Tensor] | None = None
) -> LossReport:
    """Mean squared error of the network's target over all dimensions of a molecule's latents.

    `errors` maps a modality to its mean squared error per molecule [B] (1.0 for predicting zero), `widths` to its
    dimensions per atom. The total is Σ error · width / Σ width: the squared error divided by
    (n_dims + in_node_nf) · n_nodes. `auxiliary` losses [B] are minimised too, but do not enter the total.
    """
    scale = sum(widths.values())
    report = weighted_report(errors, {name: width / scale for name, width in widths.items()}, weight)
    if not auxiliary:
        return report
    extra = {name: (value * weight).sum() for name, value in auxiliary.items()}
    objective = report.total + torch.stack(list(extra.values())).sum()
    return replace(report, objective=objective, terms={**report.terms, **extra})


def weighted_report(terms: dict[str, Tensor], weights: dict[str, float], weight: Tensor) -> LossReport:
    """Report of terms per molecule [B]: total = Σ_b weight_b Σ_k weights_k term_k."""
    per_molecule = torch.stack([weights[name] * value for name, value in terms.items()]).sum(0)
    means = {name: (value * weight).sum() for name, value in terms.items()}
    total = (per_molecule * weight).sum()
    return LossReport(total, total, means, per_molecule)


def _summed(parts: dict[str, LossReport]) -> LossReport:
    """Joint loss: the sum of the totals, with terms named part/term."""
    terms = {f"{part}/{name}": value for part, r in parts.items() for name, value in r.terms.items()}
    terms |= {f"{part}/total": r.total.detach() for part, r in parts.items()}
    objective = torch.stack([r.objective for r in parts.values()]).sum()
    per_molecule = torch.stack([r.per_molecule for r in parts.values() if r.per_molecule is not None]).sum(0)
    total = torch.stack([r.total for r in parts.values()]).sum()
    return LossReport(total, objective, terms, per_molecule)


def per_atom_mean(value: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real atoms of each molecule: value [B, N], mask [B, N] -> [B]."""
    return (value * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def pairs_per_atom(value: Tensor, mask: Tensor) -> Tensor:
    """Sum over pairs i < j of real atoms divided by the number of atoms: value [B, N, N], mask [B, N] -> [B]."""
    upper = torch.triu(mask.unsqueeze(1) & mask.unsqueeze(2), diagonal=1)
    return (value * upper).sum((1, 2)) / mask.sum(-1).clamp(min=1)


def distance_error(x: Tensor, target: Tensor, pairs: Tensor) -> Tensor:
    """Mean squared error (Å²) [B] of the distances of the pairs marked in `pairs` [B, N, N]."""
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
    return pairs_per_atom(-chosen.clamp(min=1e-6).log(), mask)


def noise_level_sums(errors: dict[str, Tensor], t: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Sums for the error by noise level: errors {name: [B]}, times [B], weights [B].

    The terms 'level LOW-HIGH/name' and 'level LOW-HIGH/share' add up over batches; `noise_level_means` divides them.
    """
    found: dict[str, Tensor] = {}
    for low, high in pairwise(LEVELS):
        inside = weight * ((t >= low) & ((t < high) | (high == LEVELS[-1])))
        name = f"{LEVEL}{low:g}-{high:g}"
        found |= {f"{name}/{modality}": (error * inside).sum() for modality, error in errors.items()}
        found[f"{name}/share"] = inside.sum()
    return found


def noise_level_means(terms: dict[str, float]) -> dict[str, float]:
    """Terms with the sums of noise levels divided by their weights; a level without molecules is left out."""
    found = {name: value for name, value in terms.items() if LEVEL not in name}
    for name, value in terms.items():
        if LEVEL in name and not name.endswith("/share"):
            total = terms[f"{name.rsplit('/', 1)[0]}/share"]
            if total > 0:
                found[name] = value / total
    return found
