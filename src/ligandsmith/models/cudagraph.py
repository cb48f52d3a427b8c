"""Network calls as CUDA graphs: a call of over a thousand small kernels is recorded once and then played again, so that
the GPU does not wait for the CPU."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ligandsmith.diffusion.process import NoisyLigand

Network = Callable[..., Tensor]


class RecordedNetwork:
    """A network for one trajectory: shapes, masks and what is given stay the same from call to call.

    The first call of a kind goes through as usual, the second is recorded. The answer is overwritten by the next call
    of its kind.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.recorded: dict[Any, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor] | None] = {}

    def __call__(self, noisy: NoisyLigand, null: Tensor, third_atoms: bool) -> Tensor:
        kind = (third_atoms, noisy.previous is None, len(null))
        if kind not in self.recorded:
            self.recorded[kind] = None
            return self.network(noisy, null=null, third_atoms=third_atoms)
        found = self.recorded[kind]
        if found is None:
            graph = torch.cuda.CUDAGraph()
            own = mapped(noisy, torch.clone)
            own_null = null.clone()
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                answer = self.network(own, null=own_null, third_atoms=third_atoms)
            found = self.recorded[kind] = (graph, [*tensors(own), own_null], answer)
        graph, places, answer = found
        for place, value in zip(places, [*tensors(noisy), null], strict=True):
            place.copy_(value)
        graph.replay()
        return answer


def tensors(part: Any) -> list[Tensor]:
    """All tensors of nested named tuples, in order."""
    if isinstance(part, Tensor):
        return [part]
    return [tensor for inner in part for tensor in tensors(inner)] if isinstance(part, tuple) else []


def mapped(part: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested named tuples with every tensor changed."""
    if isinstance(part, Tensor):
        return change(part)
    return type(part)(*(mapped(inner, change) for inner in part)) if isinstance(part, tuple) else part
