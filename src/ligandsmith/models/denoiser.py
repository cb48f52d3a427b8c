"""The denoiser: noisy ligand latents, times and an encoded pocket -> the network's target.

Ligand blocks on the complete ligand graph alternate with cross blocks from ligand atoms to pocket atoms. The pocket is
never updated, so its projections are computed once (`PocketKV`) and serve every step and every molecule.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ligandsmith.config import DenoiserConfig
from ligandsmith.diffusion.process import Conditioning, Layout, NoisyLigand
from ligandsmith.models.backbones import BLOCKS
from ligandsmith.models.layers import (
    Edges,
    KeyValue,
    Radial,
    RadialBasis,
    RadialLinear,
    dense_edges,
    gathered_edges,
    nearest,
)
from ligandsmith.models.pocket_vae import PocketLatents
from ligandsmith.records import PROPERTIES
from ligandsmith.structure.vocabulary import BOND_CLASSES

TIME_FEATURES = 32
TYPICAL_SIZE = 25.0  # atoms; scales the size feature to about one
SIZE_PERIODS = (2.0, 4.0, 8.0, 16.0)  # atoms; the scalar alone hardly resolves a difference of one atom
SCALES = [(p.mean, p.sd) for p in PROPERTIES.values()]


class PocketKV(NamedTuple):
    """Pockets and their key and value projections for every cross block."""

    pocket: PocketLatents
    layers: list[KeyValue]

    def rows(self, index: slice | Tensor) -> "PocketKV":
        """The pockets of the given rows."""
        pocket = self.pocket.mapped(lambda part: part[index])
        return PocketKV(pocket, [KeyValue(*(part[index] for part in layer)) for layer in self.layers])


def split_by_pocket(null: Tensor, kv: PocketKV) -> tuple[Tensor, Tensor, Tensor, PocketKV]:
    """Rows of the molecules with a pocket, rows of those without, the order back to the batch, and the pockets.

    A molecule has a pocket unless `null` [B] is set or the pocket is empty. Molecules without skip the cross edges.
    Pockets are repeated only where a batch has several pockets and some molecules have none.
    """
    sets = len(kv.pocket.mask)
    multiplicity = len(null) // sets
    known = kv.pocket.num_with_pocket
    if known is not None:  # the first records have a pocket: no need to wait for the device
        order = torch.arange(len(null), device=null.device)
        return order[: known * multiplicity], order[known * multiplicity :], order, kv.rows(slice(known))
    has_pocket = ~null & kv.pocket.mask.any(-1).repeat_interleave(multiplicity, 0)
    order = torch.argsort((~has_pocket).to(torch.uint8), stable=True)
    with_pocket, without = order.tensor_split([int(has_pocket.sum())])
    if len(without) and sets > 1:
        kv = kv.rows(with_pocket.div(multiplicity, rounding_mode="floor"))
    return with_pocket, without, torch.argsort(order), kv


class Denoiser(nn.Module):
    """Predicts the target of `diffusion.process` for coordinates, features and bonds together."""

    frequencies: Tensor

    def __init__(self, config: DenoiserConfig, latent_width: int, pocket_width: int, prediction: str) -> None:
        super().__init__()
        self.config, self.prediction = config, prediction
        d, e = config.width, config.edge_width
        orders = len(BOND_CLASSES) if config.bonds else 0
        self.layout = Layout(latent_width, orders)
        self.register_buffer("frequencies", torch.logspace(0, 2.5, TIME_FEATURES // 2), persistent=False)
        self.condition = nn.Sequential(
            nn.Linear(2 * TIME_FEATURES + 4 + 2 * len(SIZE_PERIODS), d), nn.SiLU(), nn.Linear(d, d), nn.SiLU()
        )
        self.atom_embedding = nn.Linear(2 * latent_width, d)
        self.pair_embedding = RadialLinear(e, radials=2)
        self.pocket_embedding = nn.Sequential(nn.Linear(pocket_width, d), nn.LayerNorm(d))
        self.cross_pair = nn.Parameter(torch.zeros(e))
        triangles = [config.triangles] * config.self_layers
        if triangles and not config.bonds:
            triangles[-1] = 0  # nothing reads the last edge state
        block, shape = BLOCKS[config.backbone], {"condition_width": d, "max_move": config.max_move}
        self.self_blocks = nn.ModuleList(block(config.block(triangles=n, **shape)) for n in triangles)
        self.cross_blocks = nn.ModuleList(block(config.block(**shape)) for _ in range(config.cross_layers))
        self.head = nn.Sequential(nn.LayerNorm(d), last := nn.Linear(d, latent_width))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.basis = RadialBasis()
        if orders:
            self.bond_embedding = nn.Linear(2 * orders, e, bias=False)
            self.bond_atom = nn.Linear(d, e)
            self.bond_pair = RadialLinear(e, features=e)
            self.bond_head = nn.Sequential(nn.SiLU(), nn.Linear(e, e), nn.SiLU(), nn.Linear(e, orders))
        if config.fragments:
            self.fixed_embedding = nn.Linear(latent_width + 1, d, bias=False)
            nn.init.zeros_(self.fixed_embedding.weight)
        if config.properties:
            self.property_embedding = nn.Linear(2 * len(PROPERTIES), d, bias=False)
            nn.init.zeros_(self.property_embedding.weight)

    def _layers(self) -> list[tuple[nn.Module, int | None]]:
        """Each self block with the number of the cross block after it, or None. Cross blocks are spread evenly."""
        every = -(-self.config.self_layers // max(self.config.cross_layers, 1))
        crossed = [n for n in range(1, self.config.self_layers + 1) if n % every == 0 or n == self.config.self_layers]
        after = dict(zip(crossed, range(self.config.cross_layers), strict=False))
        return [(block, after.get(number)) for number, block in enumerate(self.self_blocks, 1)]

    def project_pocket(self, pocket: PocketLatents) -> PocketKV:
        """Key and value projections of pockets for all cross blocks."""
        nodes = self.pocket_embedding(pocket.h)
        return PocketKV(pocket, [block.project(nodes) for block in self.cross_blocks])  # type: ignore[operator]

    def forward(self, noisy: NoisyLigand, pocket_kv: PocketKV, null: Tensor, triangles: bool = True) -> Tensor:
        """Target [B, N, D] for `noisy.z`.

        `null` [B] marks the molecules that are denoised without a pocket. With `triangles=False` the triangle updates
        are skipped: a weaker network of the same weights, for autoguidance.
        """
        mask, c_x, c_h = noisy.mask, noisy.c_x, noisy.c_h
        width = self.layout.atom
        z_x, z_h = noisy.z[..., :3].float(), noisy.z[..., 3:width]
        condition = self._condition(noisy, null)
        previous = torch.zeros_like(noisy.z) if noisy.previous is None else noisy.previous
        s = self.atom_embedding(torch.cat([c_h.scale_in * z_h, previous[..., 3:width]], -1)).float()
        s = s + self._embedded_fragment(noisy.conditioning)
        # Two geometries: at unit variance (ligand against ligand, never collapsed) and at the best estimate of the true
        # position (ligand against pocket). A move changes the second by the share that is still undecided.
        share = c_x.spread if self.prediction == "f" else -c_x.spread
        scale = noisy.scale_x
        start, estimate = scale * c_x.scale_in * z_x, scale * c_x.mean * z_x
        if noisy.conditioning.fixed is not None:  # known positions are the same in both
            free = ~noisy.conditioning.fixed.unsqueeze(-1)
            share, estimate = share * free, torch.where(free, estimate, start)
        moved = torch.zeros_like(start)
        edges = dense_edges(start, mask, self.basis, triangles)
        pair = self.pair_embedding(edges.radial, *self._previous_radial(noisy))
        if self.config.bonds:
            bonds = [self.layout.bonds(z) for z in (c_h.scale_in * noisy.z, previous)]
            pair = pair + self.bond_embedding(torch.cat(bonds, -1))
        rows = split_by_pocket(null, pocket_kv)
        pocket_mask = mask & ~null.unsqueeze(-1)
        for number, (block, cross) in enumerate(self._layers()):
            if number:
                edges = dense_edges(start + share * moved, mask, self.basis, triangles)
            s, move, pair = block(s, None, edges, pair, condition)
            moved = moved + move * mask.unsqueeze(-1)
            if cross is not None:
                s, move = self._cross(cross, s, estimate + share * moved, rows, (condition, pocket_mask))
                moved = moved + move * mask.unsqueeze(-1)
        atoms = torch.cat([moved / scale, self.head(s).float()], -1) * mask.unsqueeze(-1)
        if not self.config.bonds:
            return atoms
        edges = dense_edges(estimate + share * moved, mask, self.basis)
        return torch.cat([atoms, self._bond_target(noisy, s, pair, edges)], -1)

    def _bond_target(self, noisy: NoisyLigand, s: Tensor, pair: Tensor, edges: Edges) -> Tensor:
        """The target [B, N, ·] whose clean bond orders are the probabilities that the network predicts."""
        atom = self.bond_atom(s)
        joint = self.bond_pair(edges.radial, features=pair + pair.transpose(1, 2))
        logits = self.bond_head(joint + atom.unsqueeze(1) + atom.unsqueeze(2)).float()
        clean = (logits.softmax(-1) * edges.mask.unsqueeze(-1)).flatten(2)
        return (clean - noisy.c_h.skip * noisy.z[..., self.layout.atom :]) / noisy.c_h.out

    def _condition(self, noisy: NoisyLigand, null: Tensor) -> Tensor:
        """Times, noise levels, size, null flag and properties -> [B, 1, D]."""
        levels = [(c.sigma / (c.alpha + c.sigma)).view(-1, 1) for c in (noisy.c_x, noisy.c_h)]
        number = noisy.mask.sum(-1, keepdim=True)
        phase = torch.cat([2 * torch.pi * number / period for period in SIZE_PERIODS], -1)
        size = [number / TYPICAL_SIZE, null.unsqueeze(-1), phase.cos(), phase.sin()]
        features = [self._time_features(noisy.t_x), self._time_features(noisy.t_h), *levels, *size]
        first, *others = self.condition
        condition = first(torch.cat([f.float() for f in features], -1)) + self._embedded_properties(noisy.conditioning)
        for layer in others:
            condition = layer(condition)
        return condition.unsqueeze(1)

    def _time_features(self, t: Tensor) -> Tensor:
        """Fourier features [B, TIME_FEATURES] of times [B]."""
        angle = t.float().unsqueeze(-1) * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], -1)

    def _embedded_properties(self, conditioning: Conditioning) -> Tensor | float:
        """Requested properties in standard deviations of drug-like molecules, [B, D]; 0 if there are none."""
        properties = conditioning.properties
        if properties is None or not self.config.properties:
            return 0.0
        known = ~properties.isnan()
        scaled = [(p - mean) / sd for p, (mean, sd) in zip(properties.unbind(-1), SCALES, strict=True)]
        values = torch.stack(scaled, -1).where(known, 0.0)
        return self.property_embedding(torch.cat([values, known.float()], -1))

    def _embedded_fragment(self, conditioning: Conditioning) -> Tensor | float:
        """Which atoms are fixed, and their latents, [B, N, D]; 0 if there are none."""
        fixed, fragment = conditioning.fixed, conditioning.fragment
        if fixed is None or fragment is None:
            return 0.0
        return self.fixed_embedding(torch.cat([fragment, fixed.unsqueeze(-1).float()], -1))

    def _previous_radial(self, noisy: NoisyLigand) -> list[Radial]:
        """Radial basis of the distances in an earlier estimate, if there is one."""
        if noisy.previous is None:
            return []
        return [dense_edges(noisy.scale_x * noisy.previous[..., :3].float(), noisy.mask, self.basis).radial]

    def _cross(
        self, number: int, s: Tensor, x: Tensor, rows: tuple[Tensor, Tensor, Tensor, PocketKV],
        inputs: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """One cross block at ligand coordinates x [B, N, 3] Å; `inputs` are the condition and the atom mask."""
        with_pocket, without, order, kv = rows
        condition, mask = inputs
        block = self.cross_blocks[number]
        if not len(without):
            s, move, _ = block(s, kv.layers[number], self._cross_edges(x, kv.pocket, mask), self.cross_pair, condition)
            return s, move
        parts = []
        if len(with_pocket):
            edges = self._cross_edges(x[with_pocket], kv.pocket, mask[with_pocket])
            parts.append(block(s[with_pocket], kv.layers[number], edges, self.cross_pair, condition[with_pocket]))
        nobody = block.project(torch.zeros_like(s[without][:, :1]))  # type: ignore[operator]
        edges = self._no_edges(x[without])
        parts.append(block(s[without], nobody, edges, self.cross_pair, condition[without]))
        s, move = (torch.cat(part)[order] for part in list(zip(*parts, strict=True))[:2])
        return s, move

    def _no_edges(self, x: Tensor) -> Edges:
        """One masked edge per atom: the result is that of a pocket without any atom, at almost no cost."""
        nothing = torch.zeros_like(x).unsqueeze(2)
        distance = nothing[..., 0] + 1
        return Edges(nothing, distance, nothing[..., 0].bool(), self.basis(distance))

    def _cross_edges(self, x: Tensor, pocket: PocketLatents, mask: Tensor) -> Edges:
        """Edges to the nearest pocket atoms of each ligand atom and to the global tokens of the pocket."""
        index, near = nearest(x, mask, pocket.x, pocket.mask, self.config.cross_neighbors)
        tokens = pocket.tokens.shape[1]
        if tokens:
            repeats = len(x) // len(pocket.x)
            wide = (len(x), x.shape[1], tokens)
            place = pocket.tokens.repeat_interleave(repeats, 0).unsqueeze(1).expand(wide)
            real = pocket.token_mask.repeat_interleave(repeats, 0).unsqueeze(1).expand(wide)
            index = torch.cat([index, place], -1)
            near = torch.cat([near, real & mask.unsqueeze(-1)], -1)
        edges = gathered_edges(x, pocket.x.float(), index, near, self.basis)
        if self.config.cutoff > 0:
            edges = edges._replace(mask=edges.mask & (edges.distance < self.config.cutoff))
        return edges
