"""The backbones that `backbone` in the configuration chooses from: EGNN here, equivariant attention in `layers`."""

import torch
from torch import Tensor, nn

from ligandsmith.config import BlockConfig
from ligandsmith.models.layers import (
    AdaptiveNorm,
    Edges,
    EqAttnBlock,
    KeyValue,
    RadialLinear,
    add_linear,
    edge_input,
    silu,
    soft_clip,
)

MOVE_SCALE = 15.0  # Å, upper limit of an edge's contribution to a move


class EGNNBlock(nn.Module):
    """EGNN (Satorras et al. 2021) with bounded arithmetic: radial bases, LayerNorm, mean aggregation, clipped moves."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        d, e = config.width, config.edge_width
        self.config = config
        self.norm = AdaptiveNorm(d, config.condition_width)
        self.edge_basis = RadialLinear(e, bias=False)
        self.edge_state = nn.Linear(e, e, bias=False)
        self.edge_query = nn.Linear(d, e)
        self.edge_key = nn.Linear(d, e, bias=False)
        self.edge_out = nn.Linear(e, e)
        self.gate = nn.Linear(e, 1)
        self.node = nn.Sequential(nn.Linear(d + e, d), nn.SiLU(), nn.Linear(d, d))
        self.coordinate = nn.Linear(e, 1, bias=False) if config.moves else None
        if self.coordinate is not None:
            nn.init.xavier_uniform_(self.coordinate.weight, gain=0.01)

    def project(self, nodes: Tensor) -> KeyValue:
        """Projections of normalised key nodes [B', S, D]; EGNN reads only the edge part."""
        edge = self.edge_key(nodes)
        return KeyValue(edge, edge, edge)

    def forward(
        self, s: Tensor, kv: KeyValue | None, edges: Edges, pair: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `EqAttnBlock.forward`; the edge state passes through unchanged."""
        u, gate = self.norm(s, condition)
        kv = self.project(u) if kv is None else kv
        message = self.edge_basis.add_to(edge_input(self.edge_query(u), kv.edge, edges), edges.radial)
        message = silu(self.edge_out(silu(add_linear(message, pair, self.edge_state.weight))))
        mask = edges.mask.unsqueeze(-1)
        count = mask.sum(2).clamp(min=1)
        pooled = (message * torch.sigmoid(self.gate(message)) * mask).sum(2) / count
        s = s + gate * self.node(torch.cat([u, pooled], -1))
        if self.coordinate is None:
            return s, torch.zeros_like(edges.vector[:, :, 0]), pair
        with torch.autocast(u.device.type, enabled=False):
            weight = torch.tanh(self.coordinate(message.float())) * mask
            move = (weight * edges.vector / (edges.distance.unsqueeze(-1) + 1)).sum(2) * count.rsqrt()
        return s, soft_clip(MOVE_SCALE * move, self.config.max_move), pair


BLOCKS: dict[str, type[EqAttnBlock] | type[EGNNBlock]] = {"eqattn": EqAttnBlock, "egnn": EGNNBlock}
