"""Pocket variational autoencoder: one latent per pocket atom, computed once per pocket.

It learns by telling the residue whose side chain was taken away, and where that side chain pointed, from its
surroundings.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ligandsmith.batches import PocketBatch, TensorRecord
from ligandsmith.config import PocketVAEConfig
from ligandsmith.diffusion import rng
from ligandsmith.models.backbones import BLOCKS
from ligandsmith.models.layers import Edges, RadialBasis, RadialLinear, gathered_edges, nearest
from ligandsmith.predictions import LOGVAR_RANGE, PocketPrediction, Posterior
from ligandsmith.structure.vocabulary import BACKBONE_NAMES, CALPHA, OTHER_RESIDUE, Vocabulary

SIDE_CHAIN_REACH = 10.0  # Å, from a C-alpha to the centroid of its side chain
GLYCINE = 7  # index in vocabulary.RESIDUES; it has no side chain to mask


@dataclass(frozen=True)
class PocketLatents(TensorRecord):
    """Encoded pockets as the denoiser reads them."""

    x: Tensor  # [B', M, 3] Å
    h: Tensor  # [B', M, Z]
    mask: Tensor  # [B', M]
    tokens: Tensor  # [B', A] long, global tokens: atoms spread over the pocket that every ligand atom attends to
    token_mask: Tensor  # [B', A]
    num_with_pocket: int | None = None  # the first rows have a pocket and the others have none; None: not known


def farthest_point_sampling(x: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Farthest-point sampling of atoms x [B, M, 3], from the atom nearest the origin: index and mask [B, count]."""
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


def pocket_latents(x: Tensor, h: Tensor, mask: Tensor, tokens: int) -> PocketLatents:
    """Pocket coordinates x [B, M, 3] Å and latents h [B, M, Z] with `tokens` global tokens."""
    if tokens == 0:
        empty = torch.zeros(len(x), 0, dtype=torch.long, device=x.device)
        return PocketLatents(x, h, mask, empty, empty.bool())
    return PocketLatents(x, h, mask, *farthest_point_sampling(x, mask, tokens))


def cropped_latents(x: Tensor, h: Tensor, kept: Tensor, tokens: int) -> PocketLatents:
    """The atoms marked in `kept` [B, M] of pockets that were encoded with their context, x [B, M, 3] Å, h [B, M, Z]."""
    order = torch.argsort((~kept).to(torch.uint8), dim=-1, stable=True)[:, : max(int(kept.sum(-1).max()), 1)]
    kept = kept.gather(1, order)
    place = order.unsqueeze(-1)
    x, h = (part.gather(1, place.expand(-1, -1, part.shape[-1])) * kept.unsqueeze(-1) for part in (x, h))
    return pocket_latents(x, h, kept, tokens)


def null_pocket(batch: int, width: int, tokens: int, device: torch.device) -> PocketLatents:
    """Latents of molecules without a pocket: one masked atom each."""
    mask = torch.zeros(batch, 1, dtype=torch.bool, device=device)
    zeros = torch.zeros(batch, 1, 3, device=device)
    return pocket_latents(zeros, torch.zeros(batch, 1, width, device=device), mask, tokens)


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
        block = BLOCKS[config.backbone]
        self.unknown = len(vocabulary.residues)  # residue class of a masked residue
        self.element = nn.Embedding(len(vocabulary.pocket_elements), d)
        self.residue = nn.Embedding(len(vocabulary.residues) + 1, d)
        self.atom_name = nn.Embedding(len(vocabulary.atom_names), d)
        self.pair_embedding = RadialLinear(e)
        self.encoder = nn.ModuleList(block(config.block(moves=False)) for _ in range(config.layers))
        self.posterior = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * z))
        self.latent_embedding = nn.Linear(z, d)
        self.decoder_pair = RadialLinear(e)
        self.decoder = block(config.block(max_move=SIDE_CHAIN_REACH))
        self.heads = nn.Linear(d, len(vocabulary.residues) + len(vocabulary.atom_names))
        self.basis = RadialBasis()
        backbone = torch.tensor([name in BACKBONE_NAMES for name in vocabulary.atom_names])
        self.register_buffer("backbone", backbone, persistent=False)

    def edges(self, pocket: PocketBatch) -> Edges:
        """The nearest neighbours of every atom, itself left out."""
        index, mask = nearest(pocket.x, pocket.mask, pocket.x, pocket.mask, self.config.neighbors + 1)
        own = torch.arange(pocket.x.shape[1], device=index.device).view(1, -1, 1)
        return gathered_edges(pocket.x.float(), pocket.x.float(), index, mask & (index != own), self.basis)

    def encode(self, pocket: PocketBatch, edges: Edges | None = None) -> Posterior:
        """Posterior of the pocket latents [B, M, Z]."""
        edges = self.edges(pocket) if edges is None else edges
        s = self.element(pocket.element) + self.residue(pocket.residue) + self.atom_name(pocket.atom_name)
        pair = self.pair_embedding(edges.radial)
        for block in self.encoder:
            s, _, pair = block(s, None, edges, pair)
        mean, logvar = (self.posterior(s) * pocket.mask.unsqueeze(-1)).float().chunk(2, -1)
        return Posterior(pocket.x, torch.zeros((), device=mean.device), mean, logvar.clamp(*LOGVAR_RANGE), pocket.mask)

    def decode(self, z_h: Tensor, pocket: PocketBatch, edges: Edges | None = None) -> PocketPrediction:
        """z_h [B, M, Z] at the pocket's atoms -> residue and atom classes, side-chain offsets."""
        edges = self.edges(pocket) if edges is None else edges
        s, offset, _ = self.decoder(self.latent_embedding(z_h), None, edges, self.decoder_pair(edges.radial))
        classes = [len(self.vocabulary.residues), len(self.vocabulary.atom_names)]
        residue, atom_name = self.heads(F.silu(s)).float().split(classes, -1)
        return PocketPrediction(residue, atom_name, offset)

    def mask_side_chains(self, pocket: PocketBatch, seeds: Tensor) -> tuple[PocketBatch, Tensor, Tensor]:
        """Take the side chains of a random share of the residues away (seeds [B] fix the choice)."""
        backbone = self.backbone[pocket.atom_name]
        residues = int(pocket.residue_index.max()) + 1
        lost = rng.uniform(seeds, "side chains", (residues,)) < self.config.mask_fraction
        lost = lost.gather(1, pocket.residue_index) & (pocket.residue != OTHER_RESIDUE) & (pocket.residue != GLYCINE)
        lost &= pocket.mask
        centroid, number = residue_means(pocket.x, pocket.residue_index, lost & ~backbone)
        at = lost & (pocket.atom_name == CALPHA) & (number > 0)
        seen = replace(
            pocket,
            mask=pocket.mask & ~(lost & ~backbone),
            residue=pocket.residue.masked_fill(lost, self.unknown),
        )
        return seen, at, centroid - pocket.x
