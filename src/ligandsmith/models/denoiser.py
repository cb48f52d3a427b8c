"""The denoiser: noised ligand latents, time and an encoded pocket -> the network's target.

Ligand blocks on the complete ligand graph alternate with cross blocks from ligand atoms to pocket atoms; the pocket is
never updated, so its projections are computed once (`DenoiserKeys`) and serve every step and every molecule.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ligandsmith.config import DenoiserConfig
from ligandsmith.data.properties import PROPERTIES
from ligandsmith.diffusion.layout import Layout
from ligandsmith.diffusion.process import Given, NoisyLigand
from ligandsmith.models.latents import PocketLatents
from ligandsmith.models.layers import BLOCKS, BlockConfig, Edges, Keys, dense_edges, gathered_edges, linear_of, nearest
from ligandsmith.models.radial import FourierTime, RadialBasis, Tabulated
from ligandsmith.structure.vocabulary import BOND_CLASSES

TIME_FEATURES = 32
TYPICAL_SIZE = 25.0  # atoms; scales the size feature to about one
SIZE_PERIODS = (2.0, 4.0, 8.0, 16.0)  # atoms; of one atom more or less the scalar alone says too little
SCALES = [(p.mean, p.sd) for p in PROPERTIES.values()]


class DenoiserKeys(NamedTuple):
    """A pocket's projections for every cross block."""

    pocket: PocketLatents
    layers: list[Keys]


class Sight(NamedTuple):
    """Which molecules of a batch may see their pocket: the others pass the cross blocks without edges, at no cost."""

    seeing: Tensor  # [V] long, rows
    blind: Tensor  # [B - V] long, rows
    order: Tensor  # [B] long, from (seeing, blind) back to the batch
    keys: DenoiserKeys  # of the rows that see


def _leading_sight(records: int, null: Tensor, keys: DenoiserKeys) -> Sight:
    """The first `records` of a batch may see their pocket, the others have none: known without waiting for a device."""
    rows = records * (len(null) // len(keys.pocket.mask))
    order = torch.arange(len(null), device=null.device)
    layers = [Keys(*(part[:records] for part in layer)) for layer in keys.layers]
    return Sight(
        order[:rows], order[rows:], order, DenoiserKeys(keys.pocket.mapped(lambda part: part[:records]), layers)
    )


def sight(null: Tensor, keys: DenoiserKeys) -> Sight:
    """A molecule sees its pocket unless `null` [B] is set or the pocket is empty. Pockets are repeated only where a
    batch has several and some molecules do not see theirs."""
    if keys.pocket.leading is not None:
        return _leading_sight(keys.pocket.leading, null, keys)
    sets = len(keys.pocket.mask)
    draws = len(null) // sets
    sees = ~null & keys.pocket.mask.any(-1).repeat_interleave(draws, 0)
    order = torch.argsort((~sees).to(torch.uint8), stable=True)
    seeing, blind = order.tensor_split([int(sees.sum())])
    if len(blind) and sets > 1:
        place = seeing.div(draws, rounding_mode="floor")
        pocket = keys.pocket.mapped(lambda part: part[place])
        keys = DenoiserKeys(pocket, [Keys(*(part[place] for part in layer)) for layer in keys.layers])
    return Sight(seeing, blind, torch.argsort(order), keys)


class Denoiser(nn.Module):
    """Predicts the target of `diffusion.process` for coordinates and features together."""

    tabulated = False  # whether radial bases are read off tables: faster on a CPU, not to the last digit

    def __init__(self, config: DenoiserConfig, latent_width: int, pocket_width: int, prediction: str) -> None:
        super().__init__()
        self.config, self.prediction = config, prediction
        d, e = config.width, config.edge_width
        orders = len(BOND_CLASSES) if config.bonds else 0
        self.layout = Layout(latent_width, orders)
        self.time = FourierTime(TIME_FEATURES)
        self.condition = nn.Sequential(
            nn.Linear(2 * TIME_FEATURES + 4 + 2 * len(SIZE_PERIODS), d), nn.SiLU(), nn.Linear(d, d), nn.SiLU()
        )
        self.atom_embedding = nn.Linear(2 * latent_width, d)
        self.pair_embedding = nn.Linear(2 * RadialBasis.SIZE, e)
        self.pocket_embedding = nn.Sequential(nn.Linear(pocket_width, d), nn.LayerNorm(d))
        self.cross_pair = nn.Parameter(torch.zeros(e))
        triangles = [config.triangles] * config.self_layers
        if triangles and not config.bonds:
            triangles[-1] = 0  # nothing reads the last edge state
        self.self_blocks = nn.ModuleList(map(self._block, triangles))
        self.cross_blocks = nn.ModuleList(self._block() for _ in range(config.cross_layers))
        self.head = nn.Sequential(nn.LayerNorm(d), last := nn.Linear(d, latent_width))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.basis = RadialBasis()
        if orders:
            self.bond_embedding = nn.Linear(2 * orders, e, bias=False)
            self.bond_atom = nn.Linear(d, e)
            self.bond_pair = nn.Linear(e + RadialBasis.SIZE, e)
            self.bond_head = nn.Sequential(nn.SiLU(), nn.Linear(e, e), nn.SiLU(), nn.Linear(e, orders))
        if config.fragments:
            self.fixed_embedding = nn.Linear(latent_width + 1, d, bias=False)
            nn.init.zeros_(self.fixed_embedding.weight)
        if config.properties:
            self.property_embedding = nn.Linear(2 * len(PROPERTIES), d, bias=False)
            nn.init.zeros_(self.property_embedding.weight)

    def _block(self, triangles: int = 0) -> nn.Module:
        c = self.config
        shape = BlockConfig(
            c.width,
            c.edge_width,
            c.heads,
            c.channels,
            condition_width=c.width,
            chiral=True,
            max_move=c.max_move,
            triangles=triangles,
        )
        return BLOCKS[c.backbone](shape)

    def keys(self, pocket: PocketLatents) -> DenoiserKeys:
        """Project a pocket once."""
        nodes = self.pocket_embedding(pocket.h)
        return DenoiserKeys(pocket, [block.keys(nodes) for block in self.cross_blocks])  # type: ignore[operator]

    def forward(self, noisy: NoisyLigand, keys: DenoiserKeys, null: Tensor, third_atoms: bool = True) -> Tensor:
        """Target like `noisy.z`; `null` [B] marks the molecules that must not see their pocket. Without `third_atoms`
        no pair of atoms sees the paths over a third one: a weaker network of the same weights."""
        mask = noisy.mask
        width = self.layout.atom
        z_x, z_h = noisy.z[..., :3].float(), noisy.z[..., 3:width]
        condition = self._condition(noisy, null)
        previous = torch.zeros_like(noisy.z) if noisy.previous is None else noisy.previous
        s = self.atom_embedding(torch.cat([noisy.c_h.scale_in * z_h, previous[..., 3:width]], -1)).float()
        s = s + self._embedded_fragment(noisy.given)
        # Two geometries: at unit variance (ligand against ligand, never collapsed) and at the best guess of the true
        # place (ligand against pocket). Every move changes both by the share that is still to be decided.
        share = noisy.c_x.spread if self.prediction == "f" else -noisy.c_x.spread
        scale = noisy.scale_x
        start, guess = scale * noisy.c_x.scale_in * z_x, scale * noisy.c_x.mean * z_x
        if noisy.given.fixed is not None:  # where they are is known, so that they are at both
            free = ~noisy.given.fixed.unsqueeze(-1)
            share, guess = share * free, torch.where(free, guess, start)
        moved = torch.zeros_like(start)
        edges = dense_edges(start, mask)._replace(third_atoms=third_atoms)
        basis = self._basis(edges)
        pair = linear_of(self.pair_embedding, basis, *self._previous_basis(noisy))
        if self.config.bonds:
            pair = pair + self._embedded_bonds(noisy.c_h.scale_in * noisy.z, previous)
        seen = sight(null, keys)
        sees = mask & ~null.unsqueeze(-1)
        every = -(-self.config.self_layers // max(self.config.cross_layers, 1))
        crossings = iter(zip(self.cross_blocks, seen.keys.layers, strict=True))
        for number, block in enumerate(self.self_blocks, 1):
            s, move, pair = block(s, None, edges, basis, pair, condition)
            moved = moved + move * mask.unsqueeze(-1)
            crossing = next(crossings, None) if number % every == 0 or number == self.config.self_layers else None
            if crossing is not None:
                s, move = self._cross(crossing, s, guess + share * moved, seen, condition, sees)
                moved = moved + move * mask.unsqueeze(-1)
            if number < self.config.self_layers:
                edges = dense_edges(start + share * moved, mask)._replace(third_atoms=third_atoms)
                basis = self._basis(edges)
        atoms = torch.cat([moved / scale, self.head(s).float()], -1) * mask.unsqueeze(-1)
        if not self.config.bonds:
            return atoms
        edges = dense_edges(guess + share * moved, mask)
        return torch.cat([atoms, self._bond_target(noisy, s, pair, edges)], -1)

    def _embedded_bonds(self, z: Tensor, previous: Tensor) -> Tensor:
        """Edge state [B, N, N, E] of the bonds in noised latents and in an earlier estimate."""
        embedded: Tensor = self.bond_embedding(torch.cat([self.layout.bonds(z), self.layout.bonds(previous)], -1))
        return embedded

    def _bond_target(self, noisy: NoisyLigand, s: Tensor, pair: Tensor, edges: Edges) -> Tensor:
        """The target at which the clean bond orders are the probabilities that the network gives them, [B, N, ·]."""
        atom = self.bond_atom(s)
        joint = linear_of(self.bond_pair, pair + pair.transpose(1, 2), self._basis(edges))
        logits = self.bond_head(joint + atom.unsqueeze(1) + atom.unsqueeze(2)).float()
        clean = (logits.softmax(-1) * edges.mask.unsqueeze(-1)).flatten(2)
        return (clean - noisy.c_h.skip * noisy.z[..., self.layout.atom :]) / noisy.c_h.out

    def _condition(self, noisy: NoisyLigand, null: Tensor) -> Tensor:
        """Times, noise levels, size and the null flag -> [B, 1, D]."""
        levels = [(c.sigma / (c.alpha + c.sigma)).view(-1, 1) for c in (noisy.c_x, noisy.c_h)]
        number = noisy.mask.sum(-1, keepdim=True)
        phase = torch.cat([2 * torch.pi * number / period for period in SIZE_PERIODS], -1)
        size = [number / TYPICAL_SIZE, null.unsqueeze(-1), phase.cos(), phase.sin()]
        features = [self.time(noisy.t_x), self.time(noisy.t_h), *levels, *size]
        first, *others = self.condition
        condition = first(torch.cat([f.float() for f in features], -1)) + self._embedded_properties(noisy.given)
        for layer in others:
            condition = layer(condition)
        return condition.unsqueeze(1)

    def _embedded_properties(self, given: Given) -> Tensor | float:
        """The properties that a ligand should have, in standard deviations of drug-like ones, [B, D]; 0 if none."""
        if given.properties is None or not self.config.properties:
            return 0.0
        told = ~given.properties.isnan()
        scaled = [(p - mean) / sd for p, (mean, sd) in zip(given.properties.unbind(-1), SCALES, strict=True)]
        values = torch.stack(scaled, -1).where(told, 0.0)
        embedded: Tensor = self.property_embedding(torch.cat([values, told.float()], -1))
        return embedded

    def _embedded_fragment(self, given: Given) -> Tensor | float:
        """Which atoms are given, and what they are, [B, N, D]; 0 if none."""
        if given.fixed is None or given.fragment is None:
            return 0.0
        embedded: Tensor = self.fixed_embedding(torch.cat([given.fragment, given.fixed.unsqueeze(-1).float()], -1))
        return embedded

    def _previous_basis(self, noisy: NoisyLigand) -> list[Tensor | Tabulated]:
        """Distances of an earlier estimate, if there is one."""
        if noisy.previous is None:
            return []
        return [self._basis(dense_edges(noisy.scale_x * noisy.previous[..., :3].float(), noisy.mask))]

    def _basis(self, edges: Edges) -> Tensor | Tabulated:
        return self.basis.tabulated(edges.distance) if self.tabulated else self.basis(edges.distance)

    def _cross(
        self, crossing: tuple[nn.Module, Keys], s: Tensor, x: Tensor, seen: Sight, *rest: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One cross block at ligand coordinates x [B, N, 3] Å; `rest` is (condition, atoms that see the pocket)."""
        if not len(seen.blind):
            return self._seeing(crossing, s, x, seen.keys.pocket, *rest)
        condition, mask = rest
        parts = [self._blind(crossing[0], s[seen.blind], x[seen.blind], condition[seen.blind])]
        if len(seen.seeing):
            rows = (tensor[seen.seeing] for tensor in (condition, mask))
            parts.insert(0, self._seeing(crossing, s[seen.seeing], x[seen.seeing], seen.keys.pocket, *rows))
        s, move = (torch.cat(part)[seen.order] for part in zip(*parts, strict=True))
        return s, move

    def _seeing(
        self, crossing: tuple[nn.Module, Keys], s: Tensor, x: Tensor, pocket: PocketLatents, *rest: Tensor
    ) -> tuple[Tensor, Tensor]:
        condition, mask = rest
        block, keys = crossing
        edges = self._cross_edges(x, pocket, mask)
        s, move, _ = block(s, keys, edges, self._basis(edges), self.cross_pair, condition)
        return s, move

    def _blind(self, block: nn.Module, s: Tensor, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """As beside a pocket of which every edge is masked: one edge, masked."""
        nothing = torch.zeros_like(x).unsqueeze(2)
        edges = Edges(nothing, nothing[..., 0] + 1, nothing[..., 0].bool())
        keys = block.keys(torch.zeros_like(s[:, :1]))  # type: ignore[operator]
        s, move, _ = block(s, keys, edges, self._basis(edges), self.cross_pair, condition)
        return s, move

    def _cross_edges(self, x: Tensor, pocket: PocketLatents, mask: Tensor) -> Edges:
        """The nearest pocket atoms of each ligand atom and the anchors of the site."""
        index, near = nearest(x, mask, pocket.x, pocket.mask, self.config.cross_neighbors)
        anchors = pocket.anchors.shape[1]
        if anchors:
            repeats = len(x) // len(pocket.x)
            wide = (len(x), x.shape[1], anchors)
            place = pocket.anchors.repeat_interleave(repeats, 0).unsqueeze(1).expand(wide)
            real = pocket.anchor_mask.repeat_interleave(repeats, 0).unsqueeze(1).expand(wide)
            index = torch.cat([index, place], -1)
            near = torch.cat([near, real & mask.unsqueeze(-1)], -1)
        edges = gathered_edges(x, pocket.x.float(), index, near)
        if self.config.cutoff > 0:
            edges = edges._replace(mask=edges.mask & (edges.distance < self.config.cutoff))
        return edges
