"""What is trained: a module whose forward maps a batch to a LossReport. One code path in train and eval mode.

`StepKeys` carries all randomness of a step, so the same keys give the same loss in either mode, on any number of
processes, before and after a resume.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ligandsmith.batches import ComplexBatch, LigandBatch, LossReport, PocketBatch
from ligandsmith.diffusion import rng as noise
from ligandsmith.diffusion.process import Given, draw_times
from ligandsmith.models.latent_diffusion import DiffusionModel
from ligandsmith.models.latents import PocketLatents, moments, null_pocket, pocket_latents, seen_latents
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.models.pocket_vae import PocketVAE
from ligandsmith.training.losses import (
    bonded_pairs,
    denoising_loss,
    gaussian_kl,
    noise_level_sums,
    pocket_vae_loss,
    vae_loss,
)
from ligandsmith.training.objective import ObjectiveStep, denoising_errors

EACH_PROPERTY = 0.7
POCKET_WEIGHTS = {"residue": 0.2, "atom_name": 0.2, "masked": 1.0, "offset": 1.0}


class StepKeys(NamedTuple):
    """Randomness of one step: one key per molecule and one that all processes share."""

    molecules: Tensor  # [B] int64
    step: Tensor  # scalar int64, on the CPU: what it decides must not wait for a GPU


def step_keys(seed: int, step: int, count: int, ranks: tuple[int, int], device: torch.device) -> StepKeys:
    """Keys of a step: a molecule's depends on its position in the global batch, not on the number of processes."""
    rank, world = ranks
    position = torch.arange(count, device=device) * world + rank
    key = noise.make_keys(seed, step)
    return StepKeys(noise.combine(key.to(device), position), noise.combine(key, -1))


class LigandVAETraining(nn.Module):
    """Reconstruction from posterior samples with further noise on the latents, so that the decoder is robust."""

    def __init__(self, vae: LigandVAE) -> None:
        super().__init__()
        self.vae = vae
        c = vae.config
        self.weights = {
            "x": 1.0, "element": 1.0, "charge": 1.0, "aromatic": 1.0, "num_h": 0.5, "bond": 1.0,
            "distance": c.distance_weight, "kl": c.kl_weight,
        }  # fmt: skip

    def forward(self, batch: ComplexBatch, keys: StepKeys, share: Tensor) -> LossReport:
        return ligand_vae_report(self.vae, batch.ligand, keys, share, self.weights)


def ligand_vae_report(
    vae: LigandVAE, ligand: LigandBatch, keys: StepKeys, share: Tensor, weights: dict[str, float]
) -> LossReport:
    """Loss of the ligand VAE at noise levels drawn per molecule: z_x uniform up to `noise_x`, z_h up to `noise_h`."""
    k, c = keys.molecules, vae.config
    posterior = vae.encode(ligand)
    level = noise.uniform(k, "noise x") * c.noise_x
    z_x = ligand.x + level.view(-1, 1, 1) * noise.normal(k, "z_x", ligand.x.shape[1:])
    extra = noise.uniform(k, "noise h").view(-1, 1, 1) * c.noise_h
    shape = posterior.mean_h.shape[1:]
    z_h = posterior.mean_h + (0.5 * posterior.logvar_h).exp() * noise.normal(k, "z_h", shape)
    z_h = z_h + extra * noise.normal(k, "extra h", shape)
    return vae_loss(vae.decode(z_x, z_h, ligand.mask, level), ligand, posterior, weights, share)


class PocketVAETraining(nn.Module):
    def __init__(self, vae: PocketVAE) -> None:
        super().__init__()
        self.vae = vae
        self.weights = {**POCKET_WEIGHTS, "kl": vae.config.kl_weight}

    def forward(self, batch: ComplexBatch, keys: StepKeys, share: Tensor) -> LossReport:
        if batch.pocket is None:
            raise ValueError("a batch for the pocket VAE needs pockets")
        return pocket_vae_report(self.vae, batch.pocket, keys, share, self.weights)


def pocket_vae_report(
    vae: PocketVAE, pocket: PocketBatch, keys: StepKeys, share: Tensor, weights: dict[str, float]
) -> LossReport:
    """Loss of the pocket VAE: some residues lose their side chain and must be told from their surroundings."""
    seen, hidden = vae.mask_side_chains(pocket, keys.molecules)
    edges = vae.edges(seen)
    posterior = vae.encode(seen, edges)
    z_h = posterior.mean_h + (0.5 * posterior.logvar_h).exp() * noise.normal(
        keys.molecules, "pocket z_h", posterior.mean_h.shape[1:]
    )
    prediction = vae.decode(z_h, seen, edges)
    target = replace(pocket, mask=seen.mask)
    return pocket_vae_loss(prediction, target, hidden, gaussian_kl(posterior).sum(-1), weights, share)


def _given(model: DiffusionModel, ligand: LigandBatch, keys: Tensor) -> Given:
    """What the denoiser is told of each ligand: some atoms, some properties."""
    c = model.config
    given = Given()
    if c.denoiser.fragments and ligand.fixed is not None and ligand.fragment_latent is not None:
        given = given._replace(fixed=ligand.fixed, fragment=model.fragment(ligand.fragment_latent, ligand.fixed))
    if c.denoiser.properties and ligand.properties is not None:
        told = told_properties(ligand.properties, keys, c.diffusion.property_prob)
        given = given._replace(properties=told)
    return given


def denoising_report(
    model: DiffusionModel, ligand: LigandBatch, mean_h: Tensor, pocket: PocketLatents, keys: StepKeys, share: Tensor
) -> LossReport:
    """Denoising loss of ligands with posterior means `mean_h` [B, N, Z] in their pockets."""
    diffusion = model.config.diffusion
    draws = diffusion.noise_draws
    z = model.stats.normalise(ligand.x, mean_h, ligand.mask)
    z = model.denoiser.layout.with_bonds(z, ligand.bonds, ligand.mask)
    number = torch.arange(draws, device=z.device)
    molecule_keys = noise.combine(keys.molecules.unsqueeze(-1), number).flatten()
    step = ObjectiveStep(diffusion, model.schedule, model.stats.scale_x, molecule_keys, keys.step)
    step.given = _given(model, ligand, keys.molecules).repeated(draws)
    mask = ligand.mask.repeat_interleave(draws, 0)
    if diffusion.geometry_weight > 0:
        bonded, one_three = bonded_pairs(ligand.bonds)
        step.pairs = (bonded | one_three).repeat_interleave(draws, 0)
    errors = denoising_errors(model.denoiser, model.denoiser.keys(pocket), z.repeat_interleave(draws, 0), mask, step)
    levels = noise_level_sums(
        {name: errors[name].detach() for name in ("x", "h")},
        draw_times(molecule_keys, diffusion)[0],
        share.repeat_interleave(draws) / draws,
    )
    errors = {name: value.view(-1, draws).mean(-1) for name, value in errors.items()}
    auxiliary = {"size": 0.1 * model.size.loss(pocket, ligand.mask.sum(-1))}
    if "geometry" in errors:
        auxiliary["geometry"] = diffusion.geometry_weight * errors.pop("geometry")
    if "bonds" in errors:
        auxiliary["bonds"] = diffusion.bond_weight * errors.pop("bonds")
    report = denoising_loss(errors, {"x": 3, "h": mean_h.shape[-1]}, share, auxiliary)
    return replace(report, terms={**report.terms, **levels})


def told_properties(properties: Tensor, keys: Tensor, share: float) -> Tensor:
    """Properties [B, P] with NaN in place of most: none is told of `1 - share` of the molecules, of the others each
    one with probability `EACH_PROPERTY`, so that any few of them can be asked for."""
    told = noise.uniform(keys, "properties") < share
    each = noise.uniform(keys, "each property", (properties.shape[-1],)) < EACH_PROPERTY
    return properties.masked_fill(~(told.unsqueeze(-1) & each), torch.nan)


def pocket_input(vae: PocketVAE, batch: ComplexBatch, anchors: int) -> PocketLatents:
    """Latents of the batch's pockets: stored ones where the data set brings them, else encoded; null without pocket."""
    if batch.pocket is None:
        return null_pocket(len(batch.ligand.x), vae.config.latent_width, anchors, batch.ligand.x.device)
    pocket = batch.pocket
    h = vae.encode(pocket).mean_h if pocket.latent is None else pocket.latent
    if pocket.kept is None:
        return replace(pocket_latents(pocket.x, h, pocket.mask, anchors), leading=batch.leading)
    return seen_latents(pocket.x, h, pocket.mask & pocket.kept, anchors)


class DiffusionTraining(nn.Module):
    """The denoiser, with each VAE frozen (held apart: no gradient, no optimizer state, eval mode) or trained beside it.

    A trained VAE learns from its own loss; the diffusion loss sees its latents through a stop-gradient, normalised by
    running statistics, so that it cannot make its own task easier.
    """

    def __init__(self, model: DiffusionModel, vaes: nn.ModuleDict, frozen: frozenset[str]) -> None:
        super().__init__()
        self.model = model
        self.trained = nn.ModuleDict({name: vae for name, vae in vaes.items() if name not in frozen})
        self._frozen: dict[str, Any] = {
            name: vae.eval().requires_grad_(False) for name, vae in vaes.items() if name in frozen
        }
        self.ligand_weights = LigandVAETraining(vaes["ligand"]).weights  # type: ignore[arg-type]
        self.pocket_weights = PocketVAETraining(vaes["protein"]).weights  # type: ignore[arg-type]

    def vae(self, name: str) -> Any:
        return self._frozen[name] if name in self._frozen else self.trained[name]

    def frozen_to(self, device: torch.device) -> None:
        """Move the frozen VAEs, which are not part of the module."""
        for vae in self._frozen.values():
            vae.to(device)

    def forward(self, batch: ComplexBatch, keys: StepKeys, share: Tensor) -> LossReport:
        ligand = batch.ligand
        with torch.no_grad():
            mean_h = self.vae("ligand").encode(ligand).mean_h
            if ligand.fixed is not None:
                ligand = replace(ligand, fragment_latent=self.vae("ligand").encode_fragment(ligand))
            pocket = pocket_input(self.vae("protein"), batch, self.model.config.denoiser.anchors)
        report = denoising_report(self.model, ligand, mean_h, pocket, keys, share)
        if not self.trained:
            return report
        parts = {"diffusion": report}
        if "ligand" in self.trained:
            parts["ligand"] = ligand_vae_report(self.vae("ligand"), batch.ligand, keys, share, self.ligand_weights)
        if "protein" in self.trained and batch.pocket is not None:
            parts["protein"] = pocket_vae_report(self.vae("protein"), batch.pocket, keys, share, self.pocket_weights)
        report = _summed(parts)
        if "ligand" not in self.trained:
            return report
        counted = batch.ligand.mask & (share > 0).unsqueeze(-1)  # a padded rank repeats a record at share 0
        return replace(report, moments=moments(batch.ligand.x, mean_h, counted))

    def follow(self, sums: Tensor) -> None:
        """Let the statistics of the latents follow the `moments` of a batch, summed over its parts and processes."""
        self.model.stats.update(sums)


def _summed(parts: dict[str, LossReport]) -> LossReport:
    """Joint loss: the sum of the parts' totals, terms named part/term."""
    terms = {f"{part}/{name}": value for part, r in parts.items() for name, value in r.terms.items()}
    terms |= {f"{part}/total": r.total.detach() for part, r in parts.items()}
    objective = torch.stack([r.total if r.objective is None else r.objective for r in parts.values()]).sum()
    per_molecule = torch.stack([r.per_molecule for r in parts.values() if r.per_molecule is not None]).sum(0)
    total = torch.stack([r.total for r in parts.values()]).sum()
    return LossReport(total, terms, {}, per_molecule, objective)
