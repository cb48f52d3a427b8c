"""Pocket atoms that push a ligand's away while it is sampled.

The network's estimate of the clean ligand is corrected where an atom lies within the pocket, and sampling goes on from
there, so that the rest of the molecule follows. Rotates with the pocket; atoms that clear it stay where they are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

LONGEST_PUSH = 1.0  # Å at a step, where an atom is deep inside
LAST_TIME = 0.01  # below it the estimate is final in all but noise, and a push would bend bonds


class Walls(NamedTuple):
    """The atoms of one pocket."""

    x: Tensor  # [M, 3] Å
    nearest: Tensor  # [M] Å, that a ligand's atom may come
    strength: float  # share of an overlap that is taken back at each step
    first_time: float  # above it, where the estimate is a blur, nothing is pushed

    def pushed(self, z: Tensor, mask: Tensor, scale_x: Tensor, t: float) -> Tensor:
        """z [B, N, D], an estimate of the clean latents at time `t`, with its coordinates moved out of the pocket."""
        if not LAST_TIME <= t <= self.first_time:
            return z
        x, limit = scale_x * z[..., :3], self.nearest
        squared = x.square().sum(-1, keepdim=True) + self.x.square().sum(-1) - 2 * x @ self.x.T
        row, atom, wall = ((squared < limit.square()) & mask.unsqueeze(-1)).nonzero(as_tuple=True)  # few of all pairs
        away = x[row, atom] - self.x[wall]
        distance = away.norm(dim=-1).clamp(min=1e-3)
        overlap = self.strength * (limit[wall] - distance).clamp(min=0)
        push = torch.zeros_like(x).index_put_((row, atom), (overlap / distance).unsqueeze(-1) * away, accumulate=True)
        push = push * LONGEST_PUSH / (LONGEST_PUSH + push.norm(dim=-1, keepdim=True))
        return torch.cat([z[..., :3] + push / scale_x, z[..., 3:]], -1)
