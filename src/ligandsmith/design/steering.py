"""Steering: Vina's function moves the estimated clean ligand while it is sampled (`Potential`).

At each step, atoms move along the negative gradient of the interaction energy, smoothed over the atoms around each one,
so that neighbours move together; the move of an atom is capped. From half of the time on, the
atom types are those that the decoder makes likely; before, where elements are not yet decided, all atoms are carbon.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ligandsmith.chem.vina import (
    CARBON,
    HALOGENS,
    OTHER_RADIUS,
    RADII,
    VinaReceptor,
    VinaTypes,
    interaction_energy,
)
from ligandsmith.generation.sampler import LigandSampler
from ligandsmith.predictions import LigandPrediction
from ligandsmith.structure.vocabulary import Vocabulary

HYDROPHOBIC_SHARE = 0.6  # of a carbon whose neighbours are not known
NITROGEN, OXYGEN_ATOM = 7, 8
NITROGEN_VALENCE = 3
ATTRACTION = 0.5  # Å, in a step of the sampler
ATTRACTION_WIDTH = 1.0  # Å; atoms so much farther than the nearest one are drawn e times less
ATTRACTION_TIMES = (0.1, 0.95)
REACHED = 1.0  # Å


@dataclass(frozen=True)
class SteeringConfig:
    """How strongly and when. The defaults were chosen on validation pockets (docs/experiments/steering.md)."""

    step: float = 2.0  # Å² mol/kcal, of the gradient
    cap: float = 0.5  # Å, largest move of an atom in a step of the sampler
    first_time: float = 0.9
    last_time: float = 0.01
    smooth: float = 1.5  # Å, s.d. of the Gaussian over which the gradient is smoothed; 0: not at all
    typed_time: float = 0.5  # from this time on, atom types are decoded
    every: int = 4  # steps between two decodings


@dataclass
class VinaSteering:
    """Moves coordinates along the negative gradient of Vina's function. One for each trajectory."""

    receptor: VinaReceptor  # in the networks' frame
    config: SteeringConfig
    sampler: LigandSampler
    types: VinaTypes | None = field(default=None, init=False)
    count: int = field(default=0, init=False)  # of steps with decoded types

    def apply(self, z: Tensor, mask: Tensor, scale_x: Tensor, t: float) -> Tensor:
        """z [B, N, D], the estimate at time `t`, with corrected coordinates."""
        c = self.config
        if not c.last_time <= t <= c.first_time:
            return z
        x = scale_x * z[..., :3]
        _, gradient = interaction_energy(x, self._types(z, mask, t), self.receptor)
        move = -c.step * gradient * mask.unsqueeze(-1)
        if c.smooth > 0:
            move = smoothed(move, x, mask, c.smooth)
        move = move * c.cap / (c.cap + move.norm(dim=-1, keepdim=True))
        return torch.cat([z[..., :3] + move / scale_x, z[..., 3:]], -1)

    def _types(self, z: Tensor, mask: Tensor, t: float) -> VinaTypes:
        if t > self.config.typed_time:
            one = torch.ones_like(z[..., 0])
            return VinaTypes(OTHER_RADIUS * one, HYDROPHOBIC_SHARE * one, 0 * one, 0 * one)
        if self.types is None or self.count % self.config.every == 0:
            latents = self.sampler.model.stats.restore(z)
            self.types = likely_types(self.sampler.ligand_vae.decode(*latents, mask), self.sampler.vocabulary)
        self.count += 1
        return self.types


class AttractionPotential(NamedTuple):
    """Draws the atoms nearest to a place towards it, until one is there."""

    place: Tensor  # [3] Å, in the networks' frame

    def apply(self, z: Tensor, mask: Tensor, scale_x: Tensor, t: float) -> Tensor:
        """z [B, N, D], the estimate at time `t`, with corrected coordinates."""
        if not ATTRACTION_TIMES[0] <= t <= ATTRACTION_TIMES[1]:
            return z
        away = self.place - scale_x * z[..., :3]
        distance = away.norm(dim=-1).masked_fill(~mask, torch.inf)
        share = (-distance / ATTRACTION_WIDTH).softmax(-1)
        gap = (distance.amin(-1, keepdim=True) - REACHED).clamp(min=0, max=ATTRACTION)
        pull = away / distance.clamp(min=1e-3).unsqueeze(-1) * (share * gap).unsqueeze(-1)
        return torch.cat([z[..., :3] + pull.nan_to_num(0.0) / scale_x, z[..., 3:]], -1)


def smoothed(values: Tensor, x: Tensor, mask: Tensor, width: float) -> Tensor:
    """Values [B, N, 3] averaged over the atoms around each one, with Gaussian weights of s.d. `width` Å."""
    squared = (x.unsqueeze(1) - x.unsqueeze(2)).square().sum(-1)
    weight = (-squared / (2 * width**2)).exp() * mask.unsqueeze(1)
    return weight @ values / weight.sum(-1, keepdim=True).clamp(min=1e-6) * mask.unsqueeze(-1)


def likely_types(decoded: LigandPrediction, vocabulary: Vocabulary) -> VinaTypes:
    """Expected types [B, N] of atoms whose elements, hydrogens, charges and bonds are distributions."""
    element = decoded.element.softmax(-1)
    device, elements = element.device, vocabulary.ligand_elements
    rows = [[RADII.get(z, OTHER_RADIUS), z == CARBON, z in HALOGENS, z == NITROGEN, z == OXYGEN_ATOM] for z in elements]
    table = torch.tensor(rows, dtype=torch.float32, device=device)
    radius, carbon, halogen, nitrogen, oxygen = (element @ table).unbind(-1)
    hydrogens, charges = decoded.num_h.softmax(-1), torch.tensor(vocabulary.charges, dtype=torch.float32, device=device)
    charge = decoded.charge.softmax(-1) @ charges
    own = torch.eye(decoded.mask.shape[1], device=device)
    bonded = (1 - decoded.bonds.softmax(-1)[..., 0]) * decoded.mask.unsqueeze(1) * (1 - own)
    plain = torch.prod(1 - bonded * (1 - carbon).unsqueeze(1), -1)  # no bond to a heteroatom
    neighbours = bonded.sum(-1) + hydrogens @ torch.arange(hydrogens.shape[-1], dtype=torch.float32, device=device)
    lone_pair = (NITROGEN_VALENCE - neighbours).clamp(0, 1) * (1 - charge.clamp(0, 1))
    donor = (nitrogen + oxygen) * (1 - hydrogens[..., 0])
    return VinaTypes(radius, carbon * plain + halogen, donor, oxygen + nitrogen * lone_pair)
