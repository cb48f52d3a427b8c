"""The shared equivariant blocks. Every network of the project is built from these.

A block reads scalars of the query atoms, keys (the same atoms, or a pocket encoded once), the edges between them and
an edge state; it returns new scalars, a coordinate move and the new edge state. Edge networks use one projection per
node and add (A u_i + B u_j), never a concatenation of pairs: cost N² E instead of N² 2D.

Shapes: B batch, Q query atoms, S key atoms, K neighbours per query (K = S when dense), D width, E edge width,
C vector channels, H heads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ligandsmith.diffusion.layout import real_pairs
from ligandsmith.models.radial import RadialBasis, Tabulated

EPS = 1e-6  # Å², keeps the gradient of the distance finite at zero


@dataclass(frozen=True)
class BlockConfig:
    width: int
    edge_width: int
    heads: int = 4
    channels: int = 8
    condition_width: int = 0  # 0: no adaptive normalisation
    moves: bool = True
    chiral: bool = True
    max_move: float = 1.5  # Å, soft limit of one block's move
    triangles: int = 0  # channels in which the edge state of a pair sees the paths over a third atom; dense graphs only


class Edges(NamedTuple):
    """Directed edges query <- key. `index` is None for a dense graph (all keys, K = S)."""

    vector: Tensor  # [B, Q, K, 3] Å, x_query - x_key
    distance: Tensor  # [B, Q, K] Å
    mask: Tensor  # [B, Q, K] bool
    index: Tensor | None = None  # type: ignore[assignment]  # [B, Q, K] long; hides tuple.index
    third_atoms: bool = True  # whether the edge state sees the paths over third atoms, in blocks that have them


class Keys(NamedTuple):
    """Per-node projections of the keys; for a pocket they are computed once and cached."""

    edge: Tensor  # [B', S, E]
    attention: Tensor  # [B', S, D]
    value: Tensor  # [B', S, D]


def dense_edges(x: Tensor, mask: Tensor) -> Edges:
    """All ordered pairs of distinct real atoms. x [B, N, 3] Å, mask [B, N]."""
    vector = x.unsqueeze(2) - x.unsqueeze(1)
    distance = (vector.square().sum(-1) + EPS).sqrt()
    return Edges(vector, distance, real_pairs(mask))


def gathered_edges(x: Tensor, keys_x: Tensor, index: Tensor, mask: Tensor) -> Edges:
    """Edges to listed keys. x [B, Q, 3], keys_x [B', S, 3], index and mask [B, Q, K]; B is a multiple of B'."""
    vector = x.unsqueeze(2) - gather_nodes(keys_x, index)
    distance = (vector.square().sum(-1) + EPS).sqrt()
    return Edges(vector, distance, mask, index)


def gather_nodes(nodes: Tensor, index: Tensor) -> Tensor:
    """nodes [B', S, C], index [B, Q, K] -> [B, Q, K, C]; row b reads node set b // (B / B'): draws share a pocket."""
    sets, size = nodes.shape[:2]
    batch = index.shape[0]
    base = torch.arange(batch, device=index.device).div(batch // sets, rounding_mode="floor") * size
    flat = (index + base.view(-1, 1, 1)).reshape(-1)
    return nodes.reshape(sets * size, -1).index_select(0, flat).view(*index.shape, -1)


def nearest(x: Tensor, mask: Tensor, keys_x: Tensor, keys_mask: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Index and mask [B, Q, K] of the k nearest keys of each query, itself included. B is a multiple of B'."""
    repeats = x.shape[0] // keys_x.shape[0]
    with torch.no_grad():
        keys = keys_x.repeat_interleave(repeats, 0) if repeats > 1 else keys_x
        allowed = keys_mask.repeat_interleave(repeats, 0) if repeats > 1 else keys_mask
        # Axis by axis: a sum over a last dimension of three is an order of magnitude slower.
        squared = torch.zeros((), device=x.device)
        for a, b in zip(x.unbind(-1), keys.unbind(-1), strict=True):
            squared = squared + (a.unsqueeze(2) - b.unsqueeze(1)).square_()
        squared.masked_fill_(~allowed.unsqueeze(1), math.inf)
        value, index = squared.topk(min(k, keys.shape[1]), dim=-1, largest=False, sorted=False)
    return index, torch.isfinite(value) & mask.unsqueeze(-1)


class AdaptiveNorm(nn.Module):
    """LayerNorm whose gain, shift and output gate come from a condition (zero at the start); plain without one."""

    def __init__(self, width: int, condition_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.modulation = nn.Linear(condition_width, 3 * width) if condition_width else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, s: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | float]:
        """s [B, Q, D], condition [B, 1 or Q, ·] -> (normalised [B, Q, D], gate of the residual branch)."""
        u = self.norm(s)
        if self.modulation is None or condition is None:
            return u, 1.0
        gain, shift, gate = self.modulation(condition).chunk(3, -1)
        return u * (1 + gain) + shift, 1 + gate


class EqAttnBlock(nn.Module):
    """Equivariant attention: scalar attention with pair features, kept edge state, bounded moves along edges.

    The sums of weighted unit vectors (C channels) move the atoms; their lengths, and with `chiral` the determinant of
    three of them (which changes sign under reflection), go back into the scalars.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        d, e, c = config.width, config.edge_width, config.channels
        self.config = config
        self.norm = AdaptiveNorm(d, config.condition_width)
        self.edge_basis = nn.Linear(RadialBasis.SIZE, e, bias=False)
        self.edge_state = nn.Linear(e, e, bias=False)
        self.edge_query = nn.Linear(d, e)
        self.edge_key = nn.Linear(d, e, bias=False)
        self.edge_out = nn.Linear(e, e)
        self.query = nn.Linear(d, d, bias=False)
        self.key = nn.Linear(d, d, bias=False)
        self.value = nn.Linear(d, d, bias=False)
        self.bias_and_channels = nn.Linear(e, config.heads + c)
        self.edge_value = nn.Linear(config.heads * e, d, bias=False)
        self.out = nn.Linear(d, d)
        self.ffn_norm = AdaptiveNorm(d, config.condition_width)
        self.ffn_in = nn.Linear(d + c + int(config.chiral), 2 * d)
        self.ffn_out = nn.Linear(2 * d, d)
        if config.triangles:
            self.triangle_sides = nn.Linear(e, 2 * config.triangles)
            self.triangle_norm = nn.LayerNorm(config.triangles)
            self.triangle_out = nn.Linear(config.triangles, e, bias=False)
            nn.init.zeros_(self.triangle_out.weight)
        self.gates = nn.Linear(d, c) if config.moves else None
        if self.gates is not None:
            nn.init.normal_(self.gates.weight, std=0.02)
            nn.init.normal_(self.gates.bias, std=0.1)

    def keys(self, nodes: Tensor) -> Keys:
        """Projections of normalised key nodes [B', S, D]."""
        return Keys(self.edge_key(nodes), self.key(nodes), self.value(nodes))

    def forward(
        self, s: Tensor, keys: Keys | None, edges: Edges, basis: Tensor | Tabulated, pair: Tensor,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """s [B, Q, D], basis [B, Q, K, RadialBasis.SIZE], pair [B, Q, K, E] -> (s, move [B, Q, 3] Å, pair).

        `pair` may also be one state [E] for all edges; it is then returned as it came.
        `keys=None` means self-attention over a dense graph or over `edges.index` of the same atoms.
        """
        u, gate = self.norm(s, condition)
        keys = self.keys(u) if keys is None else keys
        edge = edge_input(self.edge_query(u), keys.edge, edges)
        edge = accumulate(edge, (basis, self.edge_basis.weight), (pair, self.edge_state.weight))
        edge = silu(self.edge_out(silu(edge)))
        paths = edges.third_atoms and self.config.triangles > 0 and pair.ndim > 1
        bias, coefficients, *sides = self._planes(edge, paths)
        s = s + gate * self.out(self._attend(u, keys, edges, edge, bias))
        vectors = self._vectors(coefficients, edges)
        u, gate = self.ffn_norm(s, condition)
        s = s + gate * self.ffn_out(F.silu(self.ffn_in(torch.cat([u, *self._invariants(vectors)], -1))))
        if pair.ndim > 1:
            pair = pair + edge if edge.requires_grad else edge.add_(pair)
        if paths:
            pair = pair + self._paths(sides, edges.mask)
        return s, self._move(u, vectors), pair

    def _planes(self, edge: Tensor, paths: bool) -> tuple[Tensor, ...]:
        """What is read off the edges [B, Q, K, E], in planes [B, ·, Q, K]: biases of the heads, weights of the vector
        channels and, for `paths`, the first and the second sides of those over third atoms."""
        b, q, k, e = edge.shape
        linear, counts = [self.bias_and_channels], [self.config.heads, self.config.channels]
        if paths:
            linear, counts = [*linear, self.triangle_sides], counts + [self.config.triangles] * 2
        weight, bias = torch.cat([part.weight for part in linear]), torch.cat([part.bias for part in linear])
        planes = torch.baddbmm(bias.unsqueeze(-1), weight.expand(b, -1, -1), edge.view(b, q * k, e).transpose(1, 2))
        return planes.view(b, -1, q, k).split(counts, 1)

    def _paths(self, sides: Sequence[Tensor], mask: Tensor) -> Tensor:
        """For each pair i, j the sum over third atoms k of the products of sides i-k and k-j, [B, N, N, E]."""
        b, n = mask.shape[:2]
        first, second = (side * mask.unsqueeze(1) for side in sides)
        paths = (first @ second).float()
        paths = paths * mask.sum(-1).clamp(min=1).to(paths.dtype).rsqrt().view(b, 1, n, 1)
        # The norm over the planes, in place of which `triangle_norm` would want the planes last.
        paths = paths - paths.mean(1, keepdim=True)
        paths = paths * (paths.square().mean(1, keepdim=True) + self.triangle_norm.eps).rsqrt()
        weight = self.triangle_out.weight
        return torch.baddbmm(
            weight @ self.triangle_norm.bias, paths.flatten(2).transpose(1, 2),
            (weight * self.triangle_norm.weight).t().expand(b, -1, -1),
        ).view(b, n, n, -1)  # fmt: skip

    def _attend(self, u: Tensor, keys: Keys, edges: Edges, edge: Tensor, bias: Tensor) -> Tensor:
        """Multi-head attention over nodes and edges, `bias` [B, H, Q, K]; a query without any neighbour receives zero.
        -> [B, Q, D].

        Queries meet all keys in one product per pocket, from which the listed ones are taken: far fewer bytes than
        gathering a key and a value for every edge. Queries of all draws of a pocket form one matrix.
        """
        b, q, d = u.shape
        h, sets = self.config.heads, len(keys.attention)
        query = self.query(u).view(sets, -1, h, d // h).transpose(1, 2)
        key, value = (k.view(sets, -1, h, d // h).transpose(1, 2) for k in (keys.attention, keys.value))
        logits = query @ key.transpose(2, 3)  # [B', H, B / B' · Q, S]
        shape, index = logits.shape, None
        if edges.index is not None:
            index = edges.index.view(sets, 1, shape[2], -1).expand(-1, h, -1, -1)
            logits = logits.gather(-1, index)
        bias = bias.unflatten(0, (sets, -1)).transpose(1, 2).flatten(2, 3)
        present = edges.mask.view(sets, 1, shape[2], -1)
        logits = (logits * (d // h) ** -0.5 + bias).float()
        logits = logits.masked_fill(~present, torch.finfo(logits.dtype).min / 2)
        weights = (logits.softmax(-1) * present).to(u.dtype)
        # An anchor may be a near neighbour too, hence the sum.
        spread = weights if index is None else weights.new_zeros(shape).scatter_add_(-1, index, weights)
        mixed = (spread @ value).transpose(1, 2).reshape(b, q, d)
        pooled = weights.transpose(1, 2).reshape(b, q, h, -1) @ edge  # [B, Q, H, E]
        return mixed + self.edge_value(pooled.view(b, q, -1))

    def _vectors(self, coefficients: Tensor, edges: Edges) -> Tensor:
        """Weighted sums of unit vectors, [B, Q, C, 3], divided by the root of the number of neighbours; fp32."""
        with torch.autocast(coefficients.device.type, enabled=False):
            weight = coefficients.float() * edges.mask.unsqueeze(1)
            unit = edges.vector / edges.distance.unsqueeze(-1)
            count = edges.mask.sum(-1).clamp(min=1).to(unit.dtype)
            return (weight.transpose(1, 2) @ unit) * count.rsqrt()[..., None, None]

    def _invariants(self, vectors: Tensor) -> list[Tensor]:
        """Lengths [B, Q, C] and, if chiral, the pseudo-scalar [B, Q, 1]."""
        lengths = (vectors.square().sum(-1) + EPS).sqrt()
        if not self.config.chiral:
            return [lengths]
        a, b, c = vectors[..., 0, :], vectors[..., 1, :], vectors[..., 2, :]
        triple = (torch.linalg.cross(a, b) * c).sum(-1, keepdim=True)
        return [lengths, torch.tanh(10 * triple)]

    def _move(self, u: Tensor, vectors: Tensor) -> Tensor:
        if self.gates is None:
            return torch.zeros_like(vectors[..., 0, :])
        with torch.autocast(u.device.type, enabled=False):
            return soft_clip((self.gates(u.float()).unsqueeze(-1) * vectors).sum(-2), self.config.max_move)


class EGNNBlock(nn.Module):
    """EGNN with bounded arithmetic: RBF distances, LayerNorm, mean aggregation, soft-clipped moves, no edge state."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        d, e = config.width, config.edge_width
        self.config = config
        self.norm = AdaptiveNorm(d, config.condition_width)
        self.edge_basis = nn.Linear(RadialBasis.SIZE, e, bias=False)
        self.edge_state = nn.Linear(e, e, bias=False)
        self.edge_query = nn.Linear(d, e)
        self.edge_key = nn.Linear(d, e, bias=False)
        self.edge_out = nn.Linear(e, e)
        self.gate = nn.Linear(e, 1)
        self.node = nn.Sequential(nn.Linear(d + e, d), nn.SiLU(), nn.Linear(d, d))
        self.coordinate = nn.Linear(e, 1, bias=False) if config.moves else None
        if self.coordinate is not None:
            nn.init.xavier_uniform_(self.coordinate.weight, gain=0.01)

    def keys(self, nodes: Tensor) -> Keys:
        """Projections of normalised key nodes [B', S, D]; EGNN reads only the edge part."""
        edge = self.edge_key(nodes)
        return Keys(edge, edge, edge)

    def forward(
        self, s: Tensor, keys: Keys | None, edges: Edges, basis: Tensor | Tabulated, pair: Tensor,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """As `EqAttnBlock.forward`; the edge state passes through unchanged."""
        u, gate = self.norm(s, condition)
        keys = self.keys(u) if keys is None else keys
        message = edge_input(self.edge_query(u), keys.edge, edges)
        message = accumulate(message, (basis, self.edge_basis.weight), (pair, self.edge_state.weight))
        message = silu(self.edge_out(silu(message)))
        mask = edges.mask.unsqueeze(-1)
        count = mask.sum(2).clamp(min=1)
        pooled = (message * torch.sigmoid(self.gate(message)) * mask).sum(2) / count
        s = s + gate * self.node(torch.cat([u, pooled], -1))
        if self.coordinate is None:
            return s, torch.zeros_like(edges.vector[:, :, 0]), pair
        with torch.autocast(u.device.type, enabled=False):
            weight = torch.tanh(self.coordinate(message.float())) * mask
            move = (weight * edges.vector / (edges.distance.unsqueeze(-1) + 1)).sum(2) * count.rsqrt()
        return s, soft_clip(15 * move, self.config.max_move), pair


def edge_input(query: Tensor, keys: Tensor, edges: Edges) -> Tensor:
    """query [B, Q, E] + keys [B', S, E] on the edges, [B, Q, K, E]: a new tensor."""
    if edges.index is None:
        return query.unsqueeze(2) + keys.unsqueeze(1)
    return gather_nodes(keys, edges.index).add_(query.unsqueeze(2))


def accumulate(total: Tensor, *products: tuple[Tensor | Tabulated, Tensor]) -> Tensor:
    """total + Σ x Wᵀ over (x [..., I] or [I] for all, W [O, I]), in the memory of `total`: out of place, every product
    would first copy it. Computed in the type of `total`, since autocast leaves operations in place alone."""
    flat, kind = total.flatten(0, -2), total.dtype
    for x, weight in products:
        if isinstance(x, Tabulated):
            flat = flat.add_(x.product(weight).view(flat.shape))
        elif x.ndim == 1:
            flat = flat.add_(F.linear(x, weight))
        else:
            flat = flat.addmm_(x.flatten(0, -2).to(kind), weight.t().to(kind))
    return flat.view(total.shape)


def linear_of(linear: nn.Linear, *parts: Tensor | Tabulated) -> Tensor:
    """linear(cat(parts, -1)) without the concatenation; features that are left out at its end count as zeros."""
    widths = [RadialBasis.SIZE if isinstance(part, Tabulated) else part.shape[-1] for part in parts]
    weights = linear.weight[:, : sum(widths)].split(widths, 1)
    first = parts[0]
    if isinstance(first, Tabulated):
        total = first.product(weights[0]) + linear.bias
    else:
        total = F.linear(first, weights[0], linear.bias)
    return accumulate(total, *zip(parts[1:], weights[1:], strict=True))


def silu(x: Tensor) -> Tensor:
    """SiLU of a tensor that nothing else reads; in place where no gradient needs the input."""
    return F.silu(x, inplace=not x.requires_grad)


def soft_clip(move: Tensor, limit: float) -> Tensor:
    """move · limit / (limit + |move|): identity for small moves, never longer than `limit` Å."""
    length = (move.square().sum(-1, keepdim=True) + EPS).sqrt()
    return move * (limit / (limit + length))


BLOCKS: dict[str, type[EqAttnBlock] | type[EGNNBlock]] = {"eqattn": EqAttnBlock, "egnn": EGNNBlock}
