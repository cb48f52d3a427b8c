"""Ligand variational autoencoder: latents per heavy atom (anchored coordinates + learned chemistry), and back."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ligandsmith.batches import LigandBatch
from ligandsmith.config import LigandVAEConfig
from ligandsmith.models.backbones import BLOCKS
from ligandsmith.models.layers import Edges, RadialBasis, RadialLinear, dense_edges
from ligandsmith.predictions import LOGVAR_RANGE, LigandPrediction, Posterior
from ligandsmith.structure.vocabulary import AROMATIC, Vocabulary

DECODER_MAX_MOVE = 0.5  # Å per block
MAX_DEGREE = 6  # bonds of one atom that the encoder reads


def bonded_edges(ligand: LigandBatch, basis: RadialBasis) -> tuple[Edges, Tensor]:
    """Edges along bonds, and their classes [B, N, K]. All distances are 1 Å: the encoder reads the graph only."""
    order, index = ligand.bonds.sort(dim=-1, descending=True, stable=True)
    order, index = order[..., :MAX_DEGREE], index[..., :MAX_DEGREE]
    one = torch.ones_like(order, dtype=torch.float32)
    vector = torch.zeros(*order.shape, 3, device=one.device)
    return Edges(vector, one, (order > 0) & ligand.mask.unsqueeze(-1), basis(one), index), order


class LigandVAE(nn.Module):
    """encode(LigandBatch) -> Posterior, decode(z_x, z_h, mask) -> LigandPrediction.

    The encoder reads the molecular graph only, one bond per layer, so that an atom's latent depends on what lies
    within `encoder_layers` bonds of it. The decoder reads noisy latents and returns atoms, bonds and refined
    coordinates.
    """

    def __init__(self, config: LigandVAEConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        d, e, z = config.width, config.edge_width, config.latent_width
        block = BLOCKS[config.backbone]
        self.sizes = (len(vocabulary.ligand_elements), len(vocabulary.charges), 2, vocabulary.max_hydrogens + 1)
        self.atom_embedding = nn.Linear(sum(self.sizes), d)
        self.bond_embedding = nn.Embedding(len(vocabulary.bonds), e)
        self.encoder = nn.ModuleList(
            block(config.block(moves=False, chiral=False)) for _ in range(config.encoder_layers)
        )
        self.posterior = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * z))
        self.latent_embedding = nn.Linear(z + 1, d)
        self.pair_embedding = RadialLinear(e)
        self.decoder = nn.ModuleList(
            block(config.block(max_move=DECODER_MAX_MOVE)) for _ in range(config.decoder_layers)
        )
        self.atom_head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.SiLU(), nn.Linear(d, sum(self.sizes) - 1))
        self.bond_atom = nn.Linear(d, e)
        self.bond_pair = RadialLinear(e, features=e)
        self.bond_head = nn.Sequential(nn.SiLU(), nn.Linear(e, e), nn.SiLU(), nn.Linear(e, len(vocabulary.bonds)))
        self.basis = RadialBasis()

    def encode(self, ligand: LigandBatch) -> Posterior:
        """Posterior of the latents; the mean of z_x is the coordinates themselves (Å)."""
        atoms = [
            F.one_hot(value, size)
            for value, size in zip(
                (ligand.element, ligand.charge, ligand.aromatic, ligand.num_h), self.sizes, strict=True
            )
        ]
        s = self.atom_embedding(torch.cat(atoms, -1).to(self.atom_embedding.weight.dtype))
        edges, bonds = bonded_edges(ligand, self.basis)
        pair = self.bond_embedding(bonds)
        for block in self.encoder:
            s, _, pair = block(s, None, edges, pair)
        mean, logvar = (self.posterior(s) * ligand.mask.unsqueeze(-1)).float().chunk(2, -1)
        sigma = torch.full((), self.config.sigma_x, device=mean.device)
        return Posterior(ligand.x, sigma, mean, logvar.clamp(*LOGVAR_RANGE), ligand.mask)

    def encode_fragment(self, ligand: LigandBatch) -> Tensor:
        """Latents [B, N, Z] of the fixed atoms as a molecule of their own, hydrogens in place of what it lacks."""
        assert ligand.fixed is not None
        inside = ligand.fixed.unsqueeze(1) & ligand.fixed.unsqueeze(2)
        order = torch.where(ligand.bonds == AROMATIC, 1, ligand.bonds)  # classes 1 to 3 are their own order
        hydrogens = (ligand.num_h + (order * ~inside).sum(-1)).clamp(max=self.sizes[3] - 1)
        alone = replace(ligand, bonds=ligand.bonds * inside, mask=ligand.fixed, num_h=hydrogens)
        return self.encode(alone).mean_h

    def decode(self, z_x: Tensor, z_h: Tensor, mask: Tensor, noise: Tensor | None = None) -> LigandPrediction:
        """z_x [B, N, 3] Å, z_h [B, N, Z]; `noise` [B] Å is the s.d. taken to be on z_x (default: the posterior's)."""
        if noise is None:
            noise = z_x.new_full((len(z_x),), self.config.sigma_x)
        level = (noise / self.config.sigma_x).view(-1, 1, 1).expand(*mask.shape, 1)
        s = self.latent_embedding(torch.cat([z_h, level], -1))
        x = z_x.float()
        edges = dense_edges(x, mask, self.basis)
        pair = self.pair_embedding(edges.radial)
        for block in self.decoder:
            s, move, pair = block(s, None, edges, pair)
            x = x + move * mask.unsqueeze(-1)
            edges = dense_edges(x, mask, self.basis)
        heads = self.atom_head(s).float().split([*self.sizes[:2], 1, self.sizes[3]], -1)
        p = self.bond_atom(s)
        joint = self.bond_pair(edges.radial, features=pair + pair.transpose(1, 2)) + p.unsqueeze(1) + p.unsqueeze(2)
        bonds = self.bond_head(joint).float()
        return LigandPrediction(x, heads[0], heads[1], heads[2].squeeze(-1), heads[3], bonds, mask)
