"""Pocket variational autoencoder: one latent per pocket atom, computed once per pocket.

It learns by telling the residue whose side chain was taken away, and where that side chain pointed, from its
surroundings.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ligandsmith.batches import PocketBatch, Posterior, TensorRecord
from ligandsmith.config import PocketVAEConfig
from ligandsmith.diffusion import rng as noise
from ligandsmith.models.layers import BLOCKS, BlockConfig, Edges, gathered_edges, nearest
from ligandsmith.models.radial import RadialBasis
from ligandsmith.structure.vocabulary import BACKBONE_NAMES, CALPHA, OTHER_RESIDUE, Vocabulary

LOGVAR_RANGE = (-8.0, 2.0)
GLYCINE = 7  # index in vocabulary.RESIDUES; it has no side chain to mask


@dataclass(frozen=True)
class PocketPrediction(TensorRecord):
    residue: Tensor  # [B, M, residues] logits
    atom_name: Tensor  # [B, M, atom names] logits
    offset: Tensor  # [B, M, 3] Å, from a C-alpha to the centroid of its side chain


@dataclass(frozen=True)
class MaskedResidues(TensorRecord):
    at: Tensor  # [B, M] bool, the C-alphas of the residues that lost their side chain
    offset: Tensor  # [B, M, 3] Å, where that side chain's centroid was


def residue_means(x: Tensor, residue_index: Tensor, selected: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of x over the selected atoms of each atom's residue, and their number: [B, M, 3], [B, M]."""
    residues = int(residue_index.max()) + 1
    weight = selected.to(x.dtype)
    total = x.new_zeros(len(x), residues, 3)
    count = x.new_zeros(len(x), residues)
    total.scatter_add_(1, residue_index.unsqueeze(-1).expand_as(x), x * weight.unsqueeze(-1))
    count.scatter_add_(1, residue_index, weight)
    number = count.gather(1, residue_index)
    mean = total.gather(1, residue_index.unsqueeze(-1).expand_as(x)) / number.clamp(min=1).unsqueeze(-1)
    return mean, number


class PocketVAE(nn.Module):
    """encode(PocketBatch) -> Posterior (mean_x is the pocket itself), decode(z_h, pocket) -> PocketPrediction."""

    backbone: Tensor

    def __init__(self, config: PocketVAEConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        d, e, z = config.width, config.edge_width, config.latent_width
        self.unknown = len(vocabulary.residues)  # residue class of a masked residue
        self.element = nn.Embedding(len(vocabulary.pocket_elements), d)
        self.residue = nn.Embedding(len(vocabulary.residues) + 1, d)
        self.atom_name = nn.Embedding(len(vocabulary.atom_names), d)
        self.pair_embedding = nn.Linear(RadialBasis.SIZE, e)
        self.encoder = nn.ModuleList(self._block(moves=False) for _ in range(config.layers))
        self.posterior = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * z))
        self.latent_embedding = nn.Linear(z, d)
        self.decoder_pair = nn.Linear(RadialBasis.SIZE, e)
        self.decoder = self._block(moves=True)
        self.heads = nn.Linear(d, len(vocabulary.residues) + len(vocabulary.atom_names))
        self.basis = RadialBasis()
        backbone = torch.tensor([name in BACKBONE_NAMES for name in vocabulary.atom_names])
        self.register_buffer("backbone", backbone, persistent=False)

    def _block(self, moves: bool) -> nn.Module:
        c = self.config
        shape = BlockConfig(c.width, c.edge_width, c.heads, c.channels, moves=moves, chiral=True, max_move=10.0)
        return BLOCKS[c.backbone](shape)

    def edges(self, pocket: PocketBatch) -> Edges:
        """The nearest neighbours of every atom, itself left out."""
        index, mask = nearest(pocket.x, pocket.mask, pocket.x, pocket.mask, self.config.neighbors + 1)
        own = torch.arange(pocket.x.shape[1], device=index.device).view(1, -1, 1)
        return gathered_edges(pocket.x.float(), pocket.x.float(), index, mask & (index != own))

    def encode(self, pocket: PocketBatch, edges: Edges | None = None) -> Posterior:
        """Posterior of the pocket latents [B, M, Z]."""
        edges = self.edges(pocket) if edges is None else edges
        basis = self.basis(edges.distance)
        s = self.element(pocket.element) + self.residue(pocket.residue) + self.atom_name(pocket.atom_name)
        pair = self.pair_embedding(basis)
        for block in self.encoder:
            s, _, pair = block(s, None, edges, basis, pair)
        mean, logvar = (self.posterior(s) * pocket.mask.unsqueeze(-1)).float().chunk(2, -1)
        return Posterior(pocket.x, torch.zeros((), device=mean.device), mean, logvar.clamp(*LOGVAR_RANGE), pocket.mask)

    def decode(self, z_h: Tensor, pocket: PocketBatch, edges: Edges | None = None) -> PocketPrediction:
        """z_h [B, M, Z] at the pocket's atoms -> residue and atom classes, side-chain offsets."""
        edges = self.edges(pocket) if edges is None else edges
        basis = self.basis(edges.distance)
        s, offset, _ = self.decoder(self.latent_embedding(z_h), None, edges, basis, self.decoder_pair(basis))
        classes = [len(self.vocabulary.residues), len(self.vocabulary.atom_names)]
        residue, atom_name = self.heads(F.silu(s)).float().split(classes, -1)
        return PocketPrediction(residue, atom_name, offset)

    def mask_side_chains(self, pocket: PocketBatch, keys: Tensor) -> tuple[PocketBatch, MaskedResidues]:
        """Take the side chains of a random share of the residues away (keys [B] fix the choice)."""
        backbone = self.backbone[pocket.atom_name]
        residues = int(pocket.residue_index.max()) + 1
        lost = noise.uniform(keys, "side chains", (residues,)) < self.config.mask_fraction
        lost = lost.gather(1, pocket.residue_index) & (pocket.residue != OTHER_RESIDUE) & (pocket.residue != GLYCINE)
        lost &= pocket.mask
        centroid, number = residue_means(pocket.x, pocket.residue_index, lost & ~backbone)
        at = lost & (pocket.atom_name == CALPHA) & (number > 0)
        seen = replace(
            pocket,
            mask=pocket.mask & ~(lost & ~backbone),
            residue=torch.where(lost, torch.full_like(pocket.residue, self.unknown), pocket.residue),
        )
        return seen, MaskedResidues(at, centroid - pocket.x)
