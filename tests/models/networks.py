"""Small networks whose weights are nowhere zero, and the transformations that they are tested with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ligandsmith.config import DenoiserConfig, LigandVAEConfig, PocketVAEConfig
from ligandsmith.models.layers import RadialBasis

SIZES = {"width": 32, "edge_width": 16, "channels": 4}
BACKBONES = ("eqattn", "egnn")


class Basis64(RadialBasis):
    """The same basis without the rounding to fp32, so that symmetries can be tested to 1e-9."""

    def exact(self, distance: Tensor) -> Tensor:
        distance = distance.unsqueeze(-1)
        square = ((distance - self.centers) * self.scale).square()
        return torch.cat([torch.exp(-square), distance * 0.1], -1)


def ligand_config(backbone: str = "eqattn") -> LigandVAEConfig:
    return LigandVAEConfig(backbone=backbone, decoder_layers=2, **SIZES)


def pocket_config(backbone: str = "eqattn") -> PocketVAEConfig:
    return PocketVAEConfig(backbone=backbone, layers=2, latent_width=6, neighbors=12, **SIZES)


def denoiser_config(kind: str = "eqattn") -> DenoiserConfig:
    """A backbone; or "bonds": eqattn that also denoises bonds, with triangle updates; or "conditioned": that, with
    fragments and properties."""
    bonds = kind in ("bonds", "conditioned")
    return DenoiserConfig(
        backbone="eqattn" if bonds else kind, self_layers=2, cross_layers=2, cross_neighbors=12, anchors=4, bonds=bonds,
        triangles=4 if bonds else 0, fragments=kind == "conditioned", properties=kind == "conditioned", **SIZES,
    )  # fmt: skip


def wake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Add noise to every parameter, so that nothing that starts at zero hides a broken symmetry. Eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = 0.3 / max(parameter.shape[-1], 1) ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def without_chirality(module: nn.Module) -> nn.Module:
    """Cut the pseudo-scalar (the last input of the feed-forward part) off every chiral block."""
    with torch.no_grad():
        for block in module.modules():
            if hasattr(block, "ffn_in") and block.config.chiral:
                block.ffn_in.weight[:, -1] = 0
    return module


def rotation(seed: int = 0, reflected: bool = False) -> Tensor:
    """A random rotation [3, 3], float64, or one followed by a reflection."""
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.linalg.det(q)
    return -q if reflected else q


@contextmanager
def double_precision(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute in float64. The networks pin geometry to fp32 by `.float()`, which here means `.double()`."""
    with patch.context() as inner:
        inner.setattr(Tensor, "float", lambda self, **_: self.double())
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def doubled(record: Any) -> Any:
    """A batch record with its floating tensors in float64."""
    changes = {}
    for name, value in vars(record).items():
        if isinstance(value, Tensor) and value.is_floating_point():
            changes[name] = value.double()
    return replace(record, **changes)


class Skewed(nn.Module):
    """A block that is broken on purpose: it favours one axis of space."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
        s, move, pair = self.block(*args)
        return s, move * torch.tensor([1.0, 1.0, 1.5], dtype=move.dtype), pair

    def project(self, nodes: Tensor) -> Any:
        return self.block.project(nodes)
