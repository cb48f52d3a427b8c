"""Steric clash guidance: pocket atoms push away the atoms of a ligand while it is sampled.

The network's estimate of the clean ligand is corrected where an atom overlaps with the pocket, and sampling continues
from the corrected estimate, so that the rest of the molecule follows. The correction rotates with the pocket. Atoms
without overlap stay where they are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

MAX_PUSH = 1.0  # Å per step, for an atom deep inside the pocket
LAST_TIME = 0.01  # below this time the estimate is final in all but noise, and a push would bend bonds


class StericPotential(NamedTuple):
    """Excluded volume of the atoms of one pocket."""

    x: Tensor  # [M, 3] Å
    min_distance: Tensor  # [M] Å, smallest distance of a ligand atom
    strength: float  # share of an overlap that one step removes
    first_time: float  # above this time the estimate is too blurred to be pushed

    def apply(self, z: Tensor, mask: Tensor, scale_x: Tensor, t: float) -> Tensor:
        """Move the coordinates of z [B, N, D], an estimate of the clean latents at time `t`, out of the pocket."""
        if not LAST_TIME <= t <= self.first_time:
            return z
        x, limit = scale_x * z[..., :3], self.min_distance
        squared = x.square().sum(-1, keepdim=True) + self.x.square().sum(-1) - 2 * x @ self.x.T
        row, atom, near = ((squared < limit.square()) & mask.unsqueeze(-1)).nonzero(as_tuple=True)  # few of all pairs
        away = x[row, atom] - self.x[near]
        distance = away.norm(dim=-1).clamp(min=1e-3)
        overlap = self.strength * (limit[near] - distance).clamp(min=0)
        push = torch.zeros_like(x).index_put_((row, atom), (overlap / distance).unsqueeze(-1) * away, accumulate=True)
        push = push * MAX_PUSH / (MAX_PUSH + push.norm(dim=-1, keepdim=True))
        return torch.cat([z[..., :3] + push / scale_x, z[..., 3:]], -1)
