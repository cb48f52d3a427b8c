"""What stands where in the latents of a ligand.

Samplers, guidance and the noising process treat latents as columns of numbers; this is the one place that knows them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ligandsmith.diffusion import rng as noise


class Layout(NamedTuple):
    """Columns of ligand latents z [B, N, D]: coordinates, features and, with `orders` > 0, each atom's bonds to all N.

    Bonds are one-hot orders, the same for i-j and j-i, zero on the diagonal and on padding.
    """

    features: int
    orders: int = 0

    @property
    def atom(self) -> int:
        """Columns of the atom itself; those of its bonds follow."""
        return 3 + self.features

    def width(self, atoms: int) -> int:
        """All columns of molecules padded to `atoms`."""
        return self.atom + self.orders * atoms

    def with_bonds(self, z: Tensor, bonds: Tensor, mask: Tensor) -> Tensor:
        """Atoms' latents z [B, N, atom] and bond classes [B, N, N] -> z [B, N, D]."""
        if not self.orders:
            return z
        return torch.cat(
            [z, (F.one_hot(bonds, self.orders) * real_pairs(mask).unsqueeze(-1)).to(z.dtype).flatten(2)], -1
        )

    def bonds(self, z: Tensor) -> Tensor:
        """z [B, N, D] -> its bond orders [B, N, N, orders]."""
        return z[..., self.atom :].unflatten(-1, (z.shape[1], self.orders))

    def held(self, z: Tensor, known: Tensor, fixed: Tensor | None) -> Tensor:
        """z [B, N, D] with the coordinates of the fixed atoms [B, N] and the bonds between them taken from `known`."""
        if fixed is None:
            return z
        parts = [torch.where(fixed.unsqueeze(-1), known[..., :3], z[..., :3]), z[..., 3 : self.atom]]
        if self.orders:
            between = (fixed.unsqueeze(1) & fixed.unsqueeze(2)).repeat_interleave(self.orders, 2)
            parts.append(torch.where(between, known[..., self.atom :], z[..., self.atom :]))
        return torch.cat(parts, -1)

    def noise(self, keys: Tensor, stream: str, mask: Tensor) -> Tensor:
        """Standard normal noise [B, N, D] for keys [B]; a bond has one value in both of its places."""
        n = mask.shape[1]
        atoms = noise.normal(keys, stream, (n, self.atom)) * mask.unsqueeze(-1)
        if not self.orders:
            return atoms
        upper = torch.triu(noise.normal(keys, f"{stream} bonds", (n, n, self.orders)).permute(0, 3, 1, 2), diagonal=1)
        pairs = (upper + upper.transpose(2, 3)).permute(0, 2, 3, 1) * real_pairs(mask).unsqueeze(-1)
        return torch.cat([atoms, pairs.flatten(2)], -1)

    def weight(self, mask: Tensor) -> Tensor:
        """How much each entry of z counts in a sum over degrees of freedom, [B, N, D]: a bond stands in two places."""
        atoms = mask.unsqueeze(-1).expand(-1, -1, self.atom).float()
        pairs = 0.5 * real_pairs(mask).unsqueeze(-1).expand(-1, -1, -1, self.orders).flatten(2)
        return torch.cat([atoms, pairs], -1)

    def reordered(self, z: Tensor, order: Tensor) -> Tensor:
        """One molecule without padding [n, D], its atoms in another order [n]."""
        z = z[order]
        if not self.orders:
            return z
        bonds = z[:, self.atom :].unflatten(1, (len(order), self.orders))[:, order]
        return torch.cat([z[:, : self.atom], bonds.flatten(1)], 1)

    def single(self, z: Tensor, atoms: int) -> Tensor:
        """One molecule of a batch, [N, D] -> [atoms, D'], without its padding."""
        return z[:atoms, : self.width(atoms)]

    def stacked(self, latents: Sequence[Tensor], atoms: int) -> Tensor:
        """Molecules without padding -> [B, atoms, D]."""
        batch = latents[0].new_zeros(len(latents), atoms, self.width(atoms))
        for row, z in zip(batch, latents, strict=True):
            row[: len(z), : z.shape[-1]] = z
        return batch


def real_pairs(mask: Tensor) -> Tensor:
    """Ordered pairs of distinct real atoms, [B, N] -> [B, N, N]."""
    eye = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    return mask.unsqueeze(2) & mask.unsqueeze(1) & ~eye
