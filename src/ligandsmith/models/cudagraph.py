"""Network calls as CUDA graphs: a call of over a thousand small kernels is captured once and then replayed, so that the
GPU does not wait for the CPU."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ligandsmith.batches import TensorRecord
from ligandsmith.diffusion.process import NoisyLigand

Network = Callable[..., Tensor]


class CapturedNetwork:
    """A network for one trajectory: shapes, masks and conditioning stay the same from call to call.

    The first call of a kind runs eagerly, the second is captured. The next call of a kind overwrites the result.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.captured: dict[Any, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor] | None] = {}

    def __call__(self, noisy: NoisyLigand, null: Tensor, triangles: bool) -> Tensor:
        kind = (triangles, noisy.previous is None, len(null))
        if kind not in self.captured:
            self.captured[kind] = None
            return self.network(noisy, null=null, triangles=triangles)
        found = self.captured[kind]
        if found is None:
            graph = torch.cuda.CUDAGraph()
            own = mapped(noisy, torch.clone)
            own_null = null.clone()
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                answer = self.network(own, null=own_null, triangles=triangles)
            found = self.captured[kind] = (graph, [*tensors(own), own_null], answer)
        graph, places, answer = found
        for place, value in zip(places, [*tensors(noisy), null], strict=True):
            place.copy_(value)
        graph.replay()
        return answer


def tensors(part: Any) -> list[Tensor]:
    """All tensors of nested named tuples and tensor records, in order."""
    if isinstance(part, Tensor):
        return [part]
    if isinstance(part, TensorRecord):
        part = tuple(vars(part).values())
    return [tensor for inner in part for tensor in tensors(inner)] if isinstance(part, tuple) else []


def mapped(part: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of nested named tuples with `change` applied to every tensor."""
    if isinstance(part, Tensor):
        return change(part)
    return type(part)(*(mapped(inner, change) for inner in part)) if isinstance(part, tuple) else part
