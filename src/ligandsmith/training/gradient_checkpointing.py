"""Trading time for memory."""

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from ligandsmith.models.backbones import BLOCKS


def enable_gradient_checkpointing(module: nn.Module) -> int:
    """Recompute every equivariant block in the backward pass instead of keeping its edges; returns how many blocks."""
    blocks = [m for m in module.modules() if isinstance(m, tuple(BLOCKS.values()))]
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
    return len(blocks)
