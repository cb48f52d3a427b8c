"""The shared equivariant layers. Every network of the package is built from these.

A block reads scalars of the query atoms, keys and values (of the same atoms, or of a pocket encoded once), the edges
between them and an edge state. It returns new scalars, a coordinate move and the new edge state. Edge networks use one
projection per node and add (A u_i + B u_j) instead of concatenating pairs: cost N² E instead of N² 2D.

Shapes: B batch, Q query atoms, S key atoms, K neighbours per query (K = S when dense), D width, E edge width,
C vector channels, H heads. B' is the number of key sets; B is a multiple of B', and consecutive rows share a set.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ligandsmith.config import BlockConfig
from ligandsmith.diffusion.process import real_pairs

EPS = 1e-6  # Å², keeps the gradient of the distance finite at zero
MAX_EXPONENT = 30.0  # exp(-30) is 1e-13; an exp that underflows costs ten times as much on a CPU
FINE_END, FINE_STEP = 3.6, 0.005  # Å; spacing of the table of radial bases up to FINE_END ...
FINE_ROWS = round(FINE_END / FINE_STEP)
COARSE_END, COARSE_STEP = 12.8, 0.02  # ... and beyond, up to where the last Gaussian ends
RADIAL_SIZE = 43  # 25 fine and 17 coarse Gaussians, and the distance itself


class Radial(NamedTuple):
    """Radial basis of distances [...]: its values, or for table lookup the rows of a table and their weights."""

    values: Tensor  # [..., RADIAL_SIZE], or the table [rows, RADIAL_SIZE] if `rows` is given
    rows: Tensor | None = None  # [P, 2] long, rows of the table on either side of each distance
    weights: Tensor | None = None  # [P, 2], linear interpolation between the two
    shape: torch.Size = torch.Size()  # of the distances

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """basis @ weightᵀ + bias, [..., O]; interpolated in a table to about 1e-3 of the largest weight."""
        if self.rows is None:
            return F.linear(self.values, weight, bias)
        products = self.values @ weight.t()  # the table has far fewer rows than a batch has edges
        found = F.embedding_bag(self.rows, products, mode="sum", per_sample_weights=self.weights)
        found = found.view(*self.shape, -1)
        return found if bias is None else found + bias


class _Gaussians(torch.autograd.Function):
    """exp(-z²) of z = (distance - centers) · scale, then distance / 10; few passes over memory both ways."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, centers: Tensor, scale: Tensor) -> Tensor:
        z = distance.unsqueeze(-1).sub(centers).mul_(scale)
        out = torch.cat([z.square().clamp_(max=MAX_EXPONENT).neg_().exp_(), distance.unsqueeze(-1) * 0.1], -1)
        ctx.save_for_backward(z, scale, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        z, scale, out = ctx.saved_tensors
        gradient = gradients[0]
        through = (gradient[..., :-1] * out[..., :-1]).mul_(z) @ scale
        return gradient[..., -1] * 0.1 - 2 * through, None, None


class RadialBasis(nn.Module):
    """Gaussians of a distance in Å with two widths (fine over bond lengths, coarse beyond), and the distance.

    With `use_table`, products with the basis are interpolated in a table: faster on a CPU, accurate to about 1e-3.
    """

    use_table = False
    centers: Tensor
    scale: Tensor
    table: Tensor  # [rows, RADIAL_SIZE] at distances FINE_STEP apart, from FINE_END on COARSE_STEP

    def __init__(self) -> None:
        super().__init__()
        fine, coarse = torch.linspace(0.8, 3.2, 25), torch.linspace(3.6, 10.0, 17)
        self.register_buffer("centers", torch.cat([fine, coarse]), persistent=False)
        width = torch.cat([torch.full((25,), 0.1), torch.full((17,), 0.4)])
        self.register_buffer("scale", math.sqrt(0.5) / width, persistent=False)
        near, far = torch.arange(FINE_ROWS) * FINE_STEP, torch.arange(FINE_END, COARSE_END, COARSE_STEP)
        self.register_buffer("table", self.exact(torch.cat([near, far])), persistent=False)

    def exact(self, distance: Tensor) -> Tensor:
        """Basis [..., RADIAL_SIZE] of distances [...] in Å."""
        return _Gaussians.apply(distance.float(), self.centers, self.scale)

    def forward(self, distance: Tensor) -> Radial:
        """Radial basis of distances [...] in Å, exact or by table."""
        if not self.use_table:
            return Radial(self.exact(distance))
        d = distance.flatten()
        place = torch.where(d < FINE_END, d / FINE_STEP, (d - FINE_END) / COARSE_STEP + FINE_ROWS)
        row = place.long().clamp_(max=len(self.table) - 2)  # beyond the table only the last, linear feature is nonzero
        upper = place - row
        rows, weights = torch.stack([row, row + 1], 1), torch.stack([1 - upper, upper], 1)
        return Radial(self.table, rows, weights, distance.shape)


class RadialLinear(nn.Linear):
    """A linear layer of edge features and radial bases, without their concatenation.

    The weight has `features` columns, then RADIAL_SIZE columns for each of `radials` bases.
    """

    def __init__(self, out_features: int, *, features: int = 0, radials: int = 1, bias: bool = True) -> None:
        super().__init__(features + radials * RADIAL_SIZE, out_features, bias)
        self.features = features

    def forward(self, *radials: Radial, features: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """`features` [..., F] and bases of distances [...] -> [..., O]. A missing last basis counts as zero."""
        columns = self.weight[:, self.features :].split(RADIAL_SIZE, 1)
        if features is not None:
            total = F.linear(features, self.weight[:, : self.features], self.bias)
        else:
            total = radials[0].linear(columns[0], self.bias)
            radials, columns = radials[1:], columns[1:]
        for radial, weight in zip(radials, columns, strict=False):
            total = _add_radial(total, radial, weight)
        return total

    def add_to(self, total: Tensor, radial: Radial) -> Tensor:
        """total + W radial, in the memory of `total` [..., O]."""
        return _add_radial(total, radial, self.weight)


def _add_radial(total: Tensor, radial: Radial, weight: Tensor) -> Tensor:
    if radial.rows is None:
        return add_linear(total, radial.values, weight)
    return total.add_(radial.linear(weight))


def add_linear(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """total + x Wᵀ in the memory of `total` [..., O], for x [..., I] or one x [I] for all.

    The product is computed in the type of `total`: autocast does not change operations in place.
    """
    if x.ndim == 1:
        return total.add_(F.linear(x, weight))
    flat, kind = total.flatten(0, -2), total.dtype
    return flat.addmm_(x.flatten(0, -2).to(kind), weight.t().to(kind)).view(total.shape)


class Edges(NamedTuple):
    """Directed edges query <- key. `index` is None for a dense graph (all keys, K = S)."""

    vector: Tensor  # [B, Q, K, 3] Å, x_query - x_key
    distance: Tensor  # [B, Q, K] Å
    mask: Tensor  # [B, Q, K] bool
    radial: Radial  # basis of the distances
    index: Tensor | None = None  # type: ignore[assignment]  # [B, Q, K] long; hides tuple.index
    triangles: bool = True  # apply the triangle update in blocks that have one


class KeyValue(NamedTuple):
    """Projections of the key nodes. Those of a pocket are computed once and reused."""

    edge: Tensor  # [B', S, E]
    key: Tensor  # [B', S, D]
    value: Tensor  # [B', S, D]


def dense_edges(x: Tensor, mask: Tensor, basis: RadialBasis, triangles: bool = True) -> Edges:
    """All ordered pairs of distinct real atoms. x [B, N, 3] Å, mask [B, N]."""
    vector = x.unsqueeze(2) - x.unsqueeze(1)
    distance = (vector.square().sum(-1) + EPS).sqrt()
    return Edges(vector, distance, real_pairs(mask), basis(distance), triangles=triangles)


def gathered_edges(x: Tensor, key_x: Tensor, index: Tensor, mask: Tensor, basis: RadialBasis) -> Edges:
    """Edges to listed keys. x [B, Q, 3] Å, key_x [B', S, 3] Å, index and mask [B, Q, K]."""
    vector = x.unsqueeze(2) - gather_nodes(key_x, index)
    distance = (vector.square().sum(-1) + EPS).sqrt()
    return Edges(vector, distance, mask, basis(distance), index)


def gather_nodes(nodes: Tensor, index: Tensor) -> Tensor:
    """nodes [B', S, C], index [B, Q, K] -> [B, Q, K, C]. Row b reads node set b // (B / B')."""
    sets, size = nodes.shape[:2]
    batch = index.shape[0]
    base = torch.arange(batch, device=index.device).div(batch // sets, rounding_mode="floor") * size
    flat = (index + base.view(-1, 1, 1)).reshape(-1)
    return nodes.reshape(sets * size, -1).index_select(0, flat).view(*index.shape, -1)


def nearest(x: Tensor, mask: Tensor, key_x: Tensor, key_mask: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Index and mask [B, Q, K] of the k nearest keys of each query, itself included."""
    repeats = x.shape[0] // key_x.shape[0]
    with torch.no_grad():
        keys = key_x.repeat_interleave(repeats, 0) if repeats > 1 else key_x
        allowed = key_mask.repeat_interleave(repeats, 0) if repeats > 1 else key_mask
        # Axis by axis: a sum over a last dimension of three is an order of magnitude slower.
        squared = torch.zeros((), device=x.device)
        for a, b in zip(x.unbind(-1), keys.unbind(-1), strict=True):
            squared = squared + (a.unsqueeze(2) - b.unsqueeze(1)).square_()
        squared.masked_fill_(~allowed.unsqueeze(1), math.inf)
        value, index = squared.topk(min(k, keys.shape[1]), dim=-1, largest=False, sorted=False)
    return index, torch.isfinite(value) & mask.unsqueeze(-1)


class AdaptiveNorm(nn.Module):
    """LayerNorm with gain, shift and output gate from a condition (adaLN-Zero; Peebles and Xie 2023).

    Without a condition it is an ordinary LayerNorm.
    """

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


class TriangleMultiplication(nn.Module):
    """Triangle multiplicative update of a dense edge state (Jumper et al. 2021, "AlphaFold", algorithm 11).

    update_ij = W norm(Σ_k a_ik b_kj / √n) with channels a and b of the edges. The output layer starts at zero.
    """

    def __init__(self, edge_width: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.sides = nn.Linear(edge_width, 2 * channels)
        self.norm = nn.LayerNorm(channels)
        self.out = nn.Linear(channels, edge_width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        """Update [B, N, N, E] from the edge mask [B, N, N] and the two sides [B, C, N, N], which a block computes with
        its other edge projections."""
        batch, n = mask.shape[:2]
        product = ((a * mask.unsqueeze(1)) @ (b * mask.unsqueeze(1))).float()
        product = product * mask.sum(-1).clamp(min=1).to(product.dtype).rsqrt().view(batch, 1, n, 1)
        # The LayerNorm over channels, which are not the last dimension here, fused with the output layer.
        product = product - product.mean(1, keepdim=True)
        product = product * (product.square().mean(1, keepdim=True) + self.norm.eps).rsqrt()
        weight = self.out.weight
        return torch.baddbmm(
            weight @ self.norm.bias, product.flatten(2).transpose(1, 2),
            (weight * self.norm.weight).t().expand(batch, -1, -1),
        ).view(batch, n, n, -1)  # fmt: skip


class EqAttnBlock(nn.Module):
    """Equivariant attention: scalar attention with pair features, a kept edge state, and bounded moves along edges.

    Sums of weighted unit vectors (C channels) move the atoms. Their lengths and, with `chiral`, the determinant of
    three of them (which changes sign under reflection) are inputs of the feed-forward network.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        d, e, c = config.width, config.edge_width, config.channels
        self.config = config
        self.norm = AdaptiveNorm(d, config.condition_width)
        self.edge_basis = RadialLinear(e, bias=False)
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
        self.triangle = TriangleMultiplication(e, config.triangles) if config.triangles else None
        self.gates = nn.Linear(d, c) if config.moves else None
        if self.gates is not None:
            nn.init.normal_(self.gates.weight, std=0.02)
            nn.init.normal_(self.gates.bias, std=0.1)
        self.register_load_state_dict_pre_hook(_rename_triangle)

    def project(self, nodes: Tensor) -> KeyValue:
        """Key and value projections of normalised nodes [B', S, D]."""
        return KeyValue(self.edge_key(nodes), self.key(nodes), self.value(nodes))

    def forward(
        self, s: Tensor, kv: KeyValue | None, edges: Edges, pair: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """s [B, Q, D], edge state `pair` [B, Q, K, E] -> (s, move [B, Q, 3] Å, pair).

        `pair` may also be one state [E] for all edges; it is then returned unchanged. `kv=None` means self-attention
        over a dense graph or over `edges.index` of the same atoms.
        """
        u, gate = self.norm(s, condition)
        kv = self.project(u) if kv is None else kv
        edge = self.edge_basis.add_to(edge_input(self.edge_query(u), kv.edge, edges), edges.radial)
        edge = silu(self.edge_out(silu(add_linear(edge, pair, self.edge_state.weight))))
        triangle = self.triangle if edges.triangles and pair.ndim > 1 else None
        bias, coefficients, *sides = self._edge_projections(edge, triangle)
        s = s + gate * self.out(self._attend(u, kv, edges, edge, bias))
        vectors = self._vectors(coefficients, edges)
        u, gate = self.ffn_norm(s, condition)
        s = s + gate * self.ffn_out(F.silu(self.ffn_in(torch.cat([u, *self._invariants(vectors)], -1))))
        if pair.ndim > 1:
            pair = pair + edge if edge.requires_grad else edge.add_(pair)
        if triangle is not None:
            pair = pair + triangle(sides[0], sides[1], edges.mask)
        return s, self._move(u, vectors), pair

    def _edge_projections(self, edge: Tensor, triangle: TriangleMultiplication | None) -> tuple[Tensor, ...]:
        """Attention biases [B, H, Q, K], weights of the vector channels [B, C, Q, K] and, for a triangle update, its
        two sides, of edges [B, Q, K, E]: one product for all, with channels first, as they are used."""
        b, q, k, e = edge.shape
        linear, counts = [self.bias_and_channels], [self.config.heads, self.config.channels]
        if triangle is not None:
            linear, counts = [*linear, triangle.sides], counts + [triangle.channels] * 2
        weight, bias = torch.cat([part.weight for part in linear]), torch.cat([part.bias for part in linear])
        channels = torch.baddbmm(bias.unsqueeze(-1), weight.expand(b, -1, -1), edge.view(b, q * k, e).transpose(1, 2))
        return channels.view(b, -1, q, k).split(counts, 1)

    def _attend(self, u: Tensor, kv: KeyValue, edges: Edges, edge: Tensor, bias: Tensor) -> Tensor:
        """Multi-head attention over nodes and edges with `bias` [B, H, Q, K] -> [B, Q, D]. Zero without neighbours.

        Queries meet all keys in one product per key set, from which the listed ones are taken: far fewer bytes than
        gathering a key and a value for every edge. Queries of all rows of a key set form one matrix.
        """
        b, q, d = u.shape
        h, sets = self.config.heads, len(kv.key)
        query = self.query(u).view(sets, -1, h, d // h).transpose(1, 2)
        key, value = (k.view(sets, -1, h, d // h).transpose(1, 2) for k in (kv.key, kv.value))
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
        # A key may be listed twice (near neighbour and global token), hence the sum.
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


def _rename_triangle(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    """Parameters of the triangle update had other names in checkpoints before version 0.1."""
    for name in [name for name in state if name.startswith(f"{prefix}triangle_")]:
        state[name.replace(f"{prefix}triangle_", f"{prefix}triangle.")] = state.pop(name)


def edge_input(query: Tensor, key: Tensor, edges: Edges) -> Tensor:
    """query [B, Q, E] + key [B', S, E] on the edges, [B, Q, K, E]: a new tensor."""
    if edges.index is None:
        return query.unsqueeze(2) + key.unsqueeze(1)
    return gather_nodes(key, edges.index).add_(query.unsqueeze(2))


def silu(x: Tensor) -> Tensor:
    """SiLU of a tensor that nothing else reads; in place where no gradient needs the input."""
    return F.silu(x, inplace=not x.requires_grad)


def soft_clip(move: Tensor, limit: float) -> Tensor:
    """move · limit / (limit + |move|): identity for small moves, never longer than `limit` Å."""
    length = (move.square().sum(-1, keepdim=True) + EPS).sqrt()
    return move * (limit / (limit + length))
