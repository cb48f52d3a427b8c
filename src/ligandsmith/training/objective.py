"""The training objective: noise the latents, denoise, and measure the error of the target, per molecule."""

import torch
from torch import Tensor

from ligandsmith.config import DiffusionConfig
from ligandsmith.diffusion import rng as noise
from ligandsmith.diffusion.process import (
    NOTHING,
    NoisyLigand,
    add_noise,
    coefficients,
    draw_times,
    joined,
    target,
    to_clean,
)
from ligandsmith.diffusion.schedule import Schedule
from ligandsmith.models.denoiser import Denoiser, DenoiserKeys
from ligandsmith.training.losses import bond_nats, distance_error, per_atom_mean


def self_conditions(step_key: Tensor) -> bool:
    """Whether a step gives the network an estimate of its own: one decision per step, the same on every process, so
    that the extra pass costs half of the steps only."""
    return bool(noise.uniform(step_key.view(1), "self-conditioning") < 0.5)


class ObjectiveStep:
    """What one evaluation of the objective needs besides the model and the data; all randomness comes from `keys`."""

    def __init__(self, config: DiffusionConfig, schedule: Schedule, scale_x: Tensor, keys: Tensor, step_key: Tensor):
        self.config, self.schedule, self.scale_x, self.keys = config, schedule, scale_x, keys
        self.pairs: Tensor | None = None  # [B, N, N], pairs whose distances are compared too
        self.given = NOTHING
        self.self_condition = self_conditions(step_key)


def denoising_errors(
    denoiser: Denoiser, keys_of_pocket: DenoiserKeys, z: Tensor, mask: Tensor, step: ObjectiveStep
) -> dict[str, Tensor]:
    """Mean squared error of the target per molecule, {"x": [B], "h": [B]}; 1.0 each for predicting nothing.

    With `step.pairs` also "geometry", the error of the distances between those atoms in the same units. A denoiser of
    bonds adds "bonds", the cross-entropy of their orders, nats per atom. z [B, N, D] clean, normalised; B may be
    several noise draws of each pocket's ligand, in a row. The coordinates of given atoms count for nothing.
    """
    config = step.config
    times = draw_times(step.keys, config)
    c_x, c_h = (coefficients(step.schedule, t, config.prediction) for t in times)
    c = joined(c_x, c_h, z.shape[-1])
    layout = denoiser.layout
    eps = layout.noise(step.keys, "noise", mask)
    draws = len(z) // len(keys_of_pocket.pocket.mask)
    absent = ~keys_of_pocket.pocket.mask.any(-1).repeat_interleave(draws, 0)
    null = absent | (noise.uniform(step.keys, "pocket dropout") < config.cfg_dropout_prob)
    fixed = step.given.fixed
    z_t = layout.held(add_noise(z, eps, c), z / c.scale_in, fixed) * mask.unsqueeze(-1)
    noisy = NoisyLigand(z_t, mask, *times, c_x, c_h, step.scale_x, None, step.given)
    if denoiser.config.self_conditioning and step.self_condition:
        with torch.no_grad():
            first = denoiser(noisy, keys_of_pocket, null)
            previous = layout.held(to_clean(noisy.z, first, c), z, fixed) * mask.unsqueeze(-1)
            noisy = noisy._replace(previous=previous)
    predicted = denoiser(noisy, keys_of_pocket, null)
    error = (predicted - target(z, eps, c))[..., : layout.atom].square()
    free = mask if fixed is None else mask & ~fixed
    errors = {"x": per_atom_mean(error[..., :3].mean(-1), free), "h": per_atom_mean(error[..., 3:].mean(-1), mask)}
    if step.pairs is not None:
        clean = to_clean(noisy.z[..., :3], predicted[..., :3], c_x)
        if fixed is not None:
            clean = torch.where(fixed.unsqueeze(-1), z[..., :3], clean)
        # In units of the target, as the other errors: a distance off by `out` counts one.
        errors["geometry"] = distance_error(clean, z[..., :3], step.pairs) / c_x.out.flatten().square()
    if layout.orders:
        errors["bonds"] = bond_nats(layout.bonds(to_clean(noisy.z, predicted, c)), layout.bonds(z), mask)
    return errors
