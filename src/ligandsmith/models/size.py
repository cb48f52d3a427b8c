"""Number of ligand atoms given the pocket: a smoothed histogram by pocket size, corrected by a small network, which
trains beside the denoiser; and models that are fitted afterwards, each to one way of cutting a pocket."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from ligandsmith.config import MAX_ATOMS, MIN_ATOMS
from ligandsmith.models.pocket_vae import PocketLatents

CLASSES = MAX_ATOMS - MIN_ATOMS + 1
BIN_WIDTH, BINS = 50, 16  # pocket atoms per bin
SHELLS = (4.0, 6.0, 8.0, 10.0)  # Å around the origin
HIDDEN = 32
CUTS = ("ligand", "center")  # around a ligand; around a centre
DISTANCES = tuple(float(d) for d in range(3, 21))  # Å from the origin, of the numbers of atoms within
SOFTNESS = 0.5  # Å, of these limits


class FittedSizeModel(nn.Module):
    """p(N | pocket) for pockets that were all cut in one way, so that the number of atoms left says how large the
    ligand is. Reads how many atoms lie within each distance, the shape of the pocket and the mean latent."""

    mean: Tensor
    scale: Tensor

    def __init__(self, pocket_width: int) -> None:
        super().__init__()
        features = len(DISTANCES) + 5 + pocket_width
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        sizes = [features, 2 * HIDDEN, 2 * HIDDEN]
        hidden = [nn.Sequential(nn.Linear(a, b), nn.SiLU(), nn.Dropout(0.2)) for a, b in pairwise(sizes)]
        self.net = nn.Sequential(*hidden, nn.Linear(sizes[-1], CLASSES))

    def features(self, pocket: PocketLatents) -> Tensor:
        """What is read, [B', F]; no gradient reaches the pocket."""
        mask = pocket.mask.float()
        count = mask.sum(-1, keepdim=True)
        x = pocket.x.detach().float() * mask.unsqueeze(-1)
        limits = torch.tensor(DISTANCES, device=x.device)
        inside = torch.sigmoid((limits - x.norm(dim=-1, keepdim=True)) / SOFTNESS) * mask.unsqueeze(-1)
        middle = (x.sum(1) / count.clamp(min=1)).unsqueeze(1)
        centred = (x - middle) * mask.unsqueeze(-1)
        spread = centred.transpose(1, 2) @ centred / count.clamp(min=1).unsqueeze(-1)
        axes = torch.linalg.eigvalsh(spread).clamp(min=0).sqrt()
        latent = (pocket.h.detach().float() * mask.unsqueeze(-1)).sum(1) / count.clamp(min=1)
        return torch.cat([inside.sum(1), axes, count, count.log1p(), latent], -1)

    def logits(self, features: Tensor) -> Tensor:
        """[B, F] -> [B, CLASSES]."""
        return self.net((features - self.mean) / self.scale)

    def forward(self, pocket: PocketLatents) -> Tensor:
        """Logits [B', CLASSES]."""
        return self.logits(self.features(pocket))
