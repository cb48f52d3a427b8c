"""The latent diffusion model: denoiser, model of the ligand size, latent statistics, and the two VAEs.

The latent statistics are those of posterior means over the training set, the tensor that the denoiser is trained on.
They are buffers of the diffusion model and belong to one ligand VAE.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ligandsmith.config import MAX_ATOMS, MIN_ATOMS, Config
from ligandsmith.diffusion.process import make_schedule
from ligandsmith.models.denoiser import Denoiser
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.models.pocket_vae import PocketLatents, PocketVAE
from ligandsmith.models.size import (
    BIN_WIDTH,
    BINS,
    CLASSES,
    CUTS,
    HIDDEN,
    SHELLS,
    FittedSizeModel,
)
from ligandsmith.structure.vocabulary import Vocabulary

STATS_MOMENTUM = 0.05  # of the running statistics in joint training


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
    def update(self, sums: Tensor, momentum: float = STATS_MOMENTUM) -> None:
        """Blend in summed `moments`, such as those of a batch in joint training. The first ones count in full."""
        momentum = 1.0 if self.seen == 0 else momentum
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
    """Sums over real atoms, float64 (float32 on MPS): [count, Σ|x|², Σh, Σh²], length 2 + 2Z."""
    kind = torch.float32 if x.device.type == "mps" else torch.float64
    weight = mask.unsqueeze(-1).to(kind)
    xd, hd = x.to(kind) * weight, h.to(kind) * weight
    return torch.cat([weight.sum().view(1), xd.square().sum().view(1), hd.sum((0, 1)), hd.square().sum((0, 1))])


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


def size_nats(logits: Tensor, num_atoms: Tensor) -> Tensor:
    """Cross-entropy (nats) [B] of logits [B, CLASSES] against the smoothed count."""
    return -(logits.log_softmax(-1) * smoothed_targets(num_atoms)).sum(-1)


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


class DiffusionModel(nn.Module):
    """Denoiser, size model and latent statistics: what `diffusion_state` holds."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        z, p = config.ligand_vae.latent_width, config.pocket_vae.latent_width
        self.denoiser = Denoiser(config.denoiser, z, p, config.diffusion.prediction)
        self.size = SizeModel(p)
        fitted = CUTS if config.pocket.fitted_sizes else ()  # not trained here
        self.fitted_sizes = nn.ModuleDict({cut: FittedSizeModel(p) for cut in fitted}).eval().requires_grad_(False)
        self.stats = LatentStats(z)
        self.schedule = make_schedule(config.diffusion.schedule, config.diffusion.precision)

    def size_model(self, cut: str) -> SizeModel | FittedSizeModel:
        """The size model for a pocket that was cut in this way; the general one where none was fitted to it."""
        fitted: dict[str, FittedSizeModel] = dict(self.fitted_sizes.items())  # type: ignore[arg-type]
        return fitted.get(cut, self.size)

    def normalised_fragment(self, latent: Tensor, fixed: Tensor) -> Tensor:
        """Normalised latents [B, N, Z] of a fragment encoded alone, zero on all other atoms."""
        return self.stats.normalise(latent.new_zeros(*fixed.shape, 3), latent, fixed)[..., 3:]


def build_vaes(config: Config, vocabulary: Vocabulary) -> nn.ModuleDict:
    """Untrained {"ligand": LigandVAE, "protein": PocketVAE}."""
    return nn.ModuleDict({
        "ligand": LigandVAE(config.ligand_vae, vocabulary), "protein": PocketVAE(config.pocket_vae, vocabulary)
    })  # fmt: skip
