"""What the diffusion model sees: latents of unit variance, and pockets encoded once.

The statistics are those of posterior means over the training set, the tensor that the denoiser is trained on. They are
buffers of the diffusion model and belong to one VAE, named by its fingerprint.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ligandsmith.batches import TensorRecord

MOMENTUM = 0.05  # of the running statistics in joint training


@dataclass(frozen=True)
class PocketLatents(TensorRecord):
    """A pocket as the denoiser reads it."""

    x: Tensor  # [B', M, 3] Å
    h: Tensor  # [B', M, Z]
    mask: Tensor  # [B', M]
    anchors: Tensor  # [B', A] long, atoms spread over the site
    anchor_mask: Tensor  # [B', A]
    leading: int | None = None  # so many of them, the first, may have an atom, and the others have none; None: unknown


def farthest_point_sampling(x: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Farthest-point sampling from the atom nearest the origin: index and mask [B, count]."""
    with torch.no_grad():
        far = x.new_full((), -1.0)
        from_origin = x.square().sum(-1).masked_fill(~mask, torch.inf)
        chosen = [from_origin.argmin(-1)]
        gap = torch.full_like(from_origin, torch.inf)
        for _ in range(count - 1):
            last = x.gather(1, chosen[-1].view(-1, 1, 1).expand(-1, 1, 3))
            gap = torch.minimum(gap, (x - last).square().sum(-1))
            chosen.append(torch.where(mask, gap, far).argmax(-1))
        index = torch.stack(chosen, 1)
    enough = torch.arange(count, device=x.device) < mask.sum(-1, keepdim=True)
    return index, enough


def pocket_latents(x: Tensor, h: Tensor, mask: Tensor, anchors: int) -> PocketLatents:
    """Pocket coordinates (Å) and latents, with `anchors` atoms chosen to be seen from everywhere."""
    if anchors == 0:
        empty = torch.zeros(len(x), 0, dtype=torch.long, device=x.device)
        return PocketLatents(x, h, mask, empty, empty.bool())
    index, enough = farthest_point_sampling(x, mask, anchors)
    return PocketLatents(x, h, mask, index, enough)


def seen_latents(x: Tensor, h: Tensor, seen: Tensor, anchors: int) -> PocketLatents:
    """The atoms marked in `seen` [B, M] of pockets encoded with their surroundings, x [B, M, 3] Å and h [B, M, Z]."""
    order = torch.argsort((~seen).to(torch.uint8), dim=-1, stable=True)[:, : max(int(seen.sum(-1).max()), 1)]
    seen = seen.gather(1, order)
    place = order.unsqueeze(-1)
    x, h = (part.gather(1, place.expand(-1, -1, part.shape[-1])) * seen.unsqueeze(-1) for part in (x, h))
    return pocket_latents(x, h, seen, anchors)


def null_pocket(batch: int, width: int, anchors: int, device: torch.device) -> PocketLatents:
    """No pocket: one masked atom."""
    nothing = torch.zeros(batch, 1, dtype=torch.bool, device=device)
    zeros = torch.zeros(batch, 1, 3, device=device)
    return pocket_latents(zeros, torch.zeros(batch, 1, width, device=device), nothing, anchors)


class LatentStats(nn.Module):
    """Affine normalisation of ligand latents: z_x by one scalar (Å), z_h per channel."""

    mean_h: Tensor
    std_h: Tensor
    scale_x: Tensor
    seen: Tensor

    def __init__(self, latent_width: int) -> None:
        super().__init__()
        self.register_buffer("mean_h", torch.zeros(latent_width))
        self.register_buffer("std_h", torch.ones(latent_width))
        self.register_buffer("scale_x", torch.tensor(3.0))
        self.register_buffer("seen", torch.tensor(0.0))  # atoms, 0: not measured yet

    def normalise(self, x: Tensor, h: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, 3] Å and h [B, N, Z] -> z [B, N, 3 + Z] of unit variance, zero on padding."""
        z = torch.cat([x / self.scale_x, (h - self.mean_h) / self.std_h], -1)
        return z * mask.unsqueeze(-1)

    def restore(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse of `normalise`: (x Å, h)."""
        width = 3 + len(self.mean_h)
        return z[..., :3] * self.scale_x, z[..., 3:width] * self.std_h + self.mean_h

    @torch.no_grad()
    def update(self, sums: Tensor) -> None:
        """Blend in the summed `moments` of a batch (joint training)."""
        self._blend(sums, 1.0 if self.seen == 0 else MOMENTUM)

    @torch.no_grad()
    def fit(self, sums: Tensor) -> None:
        """Set the statistics from summed `moments` of the training set."""
        self._blend(sums, 1.0)

    def _blend(self, sums: Tensor, momentum: float) -> None:
        width = len(self.mean_h)
        count = sums[0].clamp(min=1)
        mean = sums[2 : 2 + width] / count
        variance = (sums[2 + width :] / count - mean.square()).clamp(min=1e-6)
        scale = (sums[1] / (3 * count)).sqrt().clamp(min=1e-3)
        self.mean_h.lerp_(mean.float(), momentum)
        self.std_h.lerp_(variance.sqrt().float(), momentum)
        self.scale_x.lerp_(scale.float(), momentum)
        self.seen.add_(sums[0].float())


def moments(x: Tensor, h: Tensor, mask: Tensor) -> Tensor:
    """Sums over real atoms, float64: [count, Σ|x|², Σh, Σh²], length 2 + 2Z."""
    weight = mask.unsqueeze(-1).double()
    xd, hd = x.double() * weight, h.double() * weight
    return torch.cat([weight.sum().view(1), xd.square().sum().view(1), hd.sum((0, 1)), hd.square().sum((0, 1))])


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Twelve hex digits of the SHA-256 of a state dict's names, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:12]
