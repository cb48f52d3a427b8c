"""Trading time for memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from ligandsmith.models.backbones import BLOCKS


def enable_gradient_checkpointing(module: nn.Module) -> int:
    """Recompute every equivariant block in the backward pass instead of keeping its edges; returns how many blocks."""
    blocks = [m for m in module.modules() if isinstance(m, tuple(BLOCKS.values()))]
    for block in blocks:
        block.forward = partial(_recomputed, block.forward)  # type: ignore[method-assign]
    return len(blocks)


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
