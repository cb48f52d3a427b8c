"""Number of ligand atoms given the pocket: a smoothed histogram by pocket size, corrected by a small network, which
trains beside the denoiser; and models that are fitted afterwards, each to one way of cutting a pocket."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ligandsmith.models.latents import PocketLatents

MIN_ATOMS, MAX_ATOMS = 5, 80
CLASSES = MAX_ATOMS - MIN_ATOMS + 1
BIN_WIDTH, BINS = 50, 16  # pocket atoms per bin
SHELLS = (4.0, 6.0, 8.0, 10.0)  # Å around the origin
HIDDEN = 32
CUTS = ("ligand", "center")  # around a ligand; around a centre
DISTANCES = tuple(float(d) for d in range(3, 21))  # Å from the origin, of the numbers of atoms within
SOFTNESS = 0.5  # Å, of these limits


def size_classes(num_atoms: Tensor) -> Tensor:
    """Atom counts [B] -> class indices [B]."""
    return num_atoms.clamp(MIN_ATOMS, MAX_ATOMS) - MIN_ATOMS


def smoothed_targets(num_atoms: Tensor) -> Tensor:
    """Label distribution [B, CLASSES] with weights 1:2:3:2:1 over N ± 2."""
    index = size_classes(num_atoms)
    offsets = torch.arange(-2, 3, device=num_atoms.device)
    place = (index.unsqueeze(-1) + offsets).clamp(0, CLASSES - 1)
    weight = ((3.0 - offsets.abs()) / 9).expand(len(num_atoms), 5)
    return torch.zeros(len(num_atoms), CLASSES, device=num_atoms.device).scatter_add_(1, place, weight)


class SizeModel(nn.Module):
    """p(N | pocket) over 5..80 heavy atoms. The network starts as the histogram and learns what differs."""

    histogram: Tensor

    def __init__(self, pocket_width: int) -> None:
        super().__init__()
        self.register_buffer("histogram", torch.zeros(BINS, CLASSES))  # log p(N | bin of the pocket's size)
        self.pool = nn.Sequential(nn.Linear(pocket_width, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 1))
        features = pocket_width + len(SHELLS) + 1
        self.net = nn.Sequential(nn.Linear(features, HIDDEN), nn.SiLU(), last := nn.Linear(HIDDEN, CLASSES))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    @torch.no_grad()
    def fit_histogram(self, pocket_atoms: Tensor, ligand_atoms: Tensor) -> None:
        """Counts of the training set, smoothed over N ± 2, over neighbouring bins, and with the overall histogram."""
        targets = smoothed_targets(ligand_atoms)
        table = torch.zeros(BINS, CLASSES).index_add_(0, self._bin(pocket_atoms), targets)
        neighbours = F.pad(table.t().unsqueeze(1), (1, 1)).unfold(-1, 3, 1) * torch.tensor([0.5, 1.0, 0.5])
        overall = targets.sum(0) + 0.1
        smooth = neighbours.sum(-1).squeeze(1).t() + 5 * overall / overall.sum()
        self.histogram.copy_((smooth / smooth.sum(-1, keepdim=True)).log())

    def _bin(self, pocket_atoms: Tensor) -> Tensor:
        return (pocket_atoms.long() // BIN_WIDTH).clamp(max=BINS - 1)

    def forward(self, pocket: PocketLatents) -> Tensor:
        """Logits [B', CLASSES]."""
        h = pocket.h.detach().float()
        attention = self.pool(h).squeeze(-1).masked_fill(~pocket.mask, -1e9).softmax(-1) * pocket.mask
        pooled = (attention.unsqueeze(-1) * h).sum(1)
        radius = pocket.x.norm(dim=-1).masked_fill(~pocket.mask, torch.inf)
        shells = torch.stack([(radius < limit).sum(-1) / 50.0 for limit in SHELLS], -1)
        count = pocket.mask.sum(-1)
        features = torch.cat([pooled, shells, count.unsqueeze(-1) / 300.0], -1)
        return self.histogram[self._bin(count)] + self.net(features)

    def loss(self, pocket: PocketLatents, num_atoms: Tensor) -> Tensor:
        """Cross-entropy (nats) [B] against the smoothed count; zero where there is no pocket."""
        return size_nats(self(pocket), num_atoms) * pocket.mask.any(-1)


def size_nats(logits: Tensor, num_atoms: Tensor) -> Tensor:
    """Cross-entropy (nats) [B] of logits [B, CLASSES] against the smoothed count."""
    return -(logits.log_softmax(-1) * smoothed_targets(num_atoms)).sum(-1)


class FittedSizeModel(nn.Module):
    """p(N | pocket) for pockets that were all cut in one way, so that the number of atoms left says how large the
    ligand is. Reads how many atoms lie within each distance, the shape of the whole and the mean latent."""

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

    def standardise(self, features: Tensor) -> None:
        """Take mean and spread from features [B, F] of the training set."""
        self.mean.copy_(features.mean(0))
        self.scale.copy_(features.std(0) + 1e-3)

    def logits(self, features: Tensor) -> Tensor:
        """[B, F] -> [B, CLASSES]."""
        logits: Tensor = self.net((features - self.mean) / self.scale)
        return logits

    def forward(self, pocket: PocketLatents) -> Tensor:
        """Logits [B', CLASSES]."""
        return self.logits(self.features(pocket))
