"""Steering: the gradient of Vina's function moves the estimated clean ligand while it is sampled."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ligandsmith.design.vina import HALOGENS, OTHER_RADIUS, RADII, VinaReceptor, VinaTypes, interaction_energy
from ligandsmith.generation.sampler import LigandSampler


@dataclass(frozen=True)
class SteeringConfig:
    step: float = 1.0  # Å² mol/kcal
    cap: float = 0.3  # Å per step of the sampler
    first_time: float = 0.9
    last_time: float = 0.03
    smooth: float = 0.0  # Å, width over which neighbours move together; 0: each atom alone
    typed_time: float = 0.5  # from this time on the ligand's types are decoded; before it is carbon
    every: int = 4  # steps between decodings


@dataclass
class VinaSteering:
    """Moves coordinates along the negative gradient of Vina's function. One per trajectory."""

    receptor: VinaReceptor  # in the networks' frame
    config: SteeringConfig
    sampler: LigandSampler
    types: VinaTypes | None = field(default=None, init=False)
    count: int = field(default=0, init=False)

    def apply(self, z: Tensor, mask: Tensor, scale_x: Tensor, t: float) -> Tensor:
        c = self.config
        if not c.last_time <= t <= c.first_time:
            return z
        x = scale_x * z[..., :3]
        _, gradient = interaction_energy(x, self._types(z, mask, t), self.receptor)
        move = -c.step * gradient * mask.unsqueeze(-1)
        if c.smooth > 0:
            d2 = (x.unsqueeze(1) - x.unsqueeze(2)).square().sum(-1)
            k = (-d2 / (2 * c.smooth**2)).exp() * mask.unsqueeze(1)
            move = k @ move / k.sum(-1, keepdim=True).clamp(min=1e-6) * mask.unsqueeze(-1)
        move = move * c.cap / (c.cap + move.norm(dim=-1, keepdim=True))
        return torch.cat([z[..., :3] + move / scale_x, z[..., 3:]], -1)

    def _types(self, z: Tensor, mask: Tensor, t: float) -> VinaTypes:
        if t > self.config.typed_time:
            one = torch.ones_like(z[..., 0])
            return VinaTypes(OTHER_RADIUS * one, 0.6 * one, 0 * one, 0 * one)
        if self.types is None or self.count % self.config.every == 0:
            self.types = soft_types(self.sampler, z, mask)
        self.count += 1
        return self.types


def soft_types(sampler: LigandSampler, z: Tensor, mask: Tensor) -> VinaTypes:
    """Types that the decoder makes likely for latents z [B, N, D]."""
    vae = sampler.ligand_vae
    out = vae.decode(*sampler.model.stats.restore(z), mask)
    p = out.element.softmax(-1)
    elements = list(sampler.vocabulary.ligand_elements)
    table = torch.tensor(
        [[RADII.get(e, OTHER_RADIUS), e == 6, e in HALOGENS, e == 7, e == 8] for e in elements],
        dtype=p.dtype,
        device=p.device,
    )
    radius, carbon, halogen, nitrogen, oxygen = (p @ table).unbind(-1)
    h = 1 - out.num_h.softmax(-1)[..., 0]
    orders = out.bonds.softmax(-1)
    bonded = (1 - orders[..., 0]) * mask.unsqueeze(1) * (1 - torch.eye(mask.shape[1], device=p.device))
    hetero = 1 - carbon
    plain = torch.prod(1 - bonded * hetero.unsqueeze(1), -1)
    degree = bonded.sum(-1)
    charge = out.charge.softmax(-1) @ torch.tensor(sampler.vocabulary.charges, dtype=p.dtype, device=p.device)
    # a nitrogen accepts where it has at most two neighbours, hydrogens included, and no positive charge
    total = degree + (out.num_h.softmax(-1) * torch.arange(out.num_h.shape[-1], device=p.device)).sum(-1)
    lone = (3 - total).clamp(0, 1) * (1 - charge.clamp(0, 1))
    return VinaTypes(radius, carbon * plain + halogen, (nitrogen + oxygen) * h, oxygen + nitrogen * lone)
