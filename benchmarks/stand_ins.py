"""Small stand-ins in plain torch for packages that other projects need and that are missing in this Python."""

import importlib.util
import sys
import types
from typing import Any

import torch
from torch import Tensor


def scatter_sum(src: Tensor, index: Tensor, dim: int = 0, out: None = None, dim_size: int | None = None) -> Tensor:
    assert dim == 0
    size = int(index.max()) + 1 if dim_size is None else dim_size
    return src.new_zeros(size, *src.shape[1:]).index_add(0, index, src)


def scatter_mean(src: Tensor, index: Tensor, dim: int = 0, out: None = None, dim_size: int | None = None) -> Tensor:
    total = scatter_sum(src, index, dim, dim_size=dim_size)
    count = scatter_sum(src.new_ones(len(src)), index, 0, dim_size=dim_size).clamp(min=1)
    return total / count.view(-1, *[1] * (src.ndim - 1))


def scatter_softmax(src: Tensor, index: Tensor, dim: int = 0, dim_size: int | None = None) -> Tensor:
    assert dim == 0
    size = int(index.max()) + 1 if dim_size is None else dim_size
    wide = index.view(-1, *[1] * (src.ndim - 1)).expand_as(src)
    top = src.new_full((size, *src.shape[1:]), -torch.inf).scatter_reduce(0, wide, src, "amax")
    weight = (src - top[index]).exp()
    return weight / scatter_sum(weight, index, 0, dim_size=size)[index]


def knn_graph(x: Tensor, k: int, batch: Tensor, flow: str = "source_to_target") -> Tensor:
    """[2, edges] (neighbour, atom) within each graph of a sorted `batch`."""
    found, begin = [], 0
    for size in batch.bincount().tolist():
        part = x[begin : begin + size]
        distance = torch.cdist(part, part).fill_diagonal_(torch.inf)
        near = distance.topk(min(k, size - 1), largest=False).indices
        atoms = torch.arange(size, device=x.device).view(-1, 1).expand_as(near)
        found.append(torch.stack([near.flatten(), atoms.flatten()]) + begin)
        begin += size
    return torch.cat(found, 1)


def install_stand_ins() -> list[str]:
    """Put a small module for each missing package into this process; returns their names."""

    def absent(*_: Any, **__: Any) -> None:
        raise NotImplementedError("a stand-in that the benchmark does not need")

    scatter = {"scatter_sum": scatter_sum, "scatter_add": scatter_sum, "scatter_mean": scatter_mean,
               "scatter_softmax": scatter_softmax}  # fmt: skip
    content: dict[str, dict[str, Any]] = {
        "torch_scatter": scatter,
        "torch_geometric.nn": {"knn_graph": knn_graph, "radius_graph": absent},
        "Bio.PDB.Polypeptide": {"is_aa": absent, "three_to_one": absent},
        "networkx.algorithms": {"isomorphism": types.SimpleNamespace()},
        "rdkit.Chem": {},
        "tqdm.auto": {"tqdm": lambda items, **_: items},
        "torchdiffeq": {"odeint": absent},
        "absl": {"logging": types.SimpleNamespace()},
        "fire": {},
    }
    made = []
    for name, values in content.items():
        if importlib.util.find_spec(name.split(".")[0]) is not None:
            continue
        made.append(name.split(".")[0])
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            module = sys.modules.setdefault(path, types.ModuleType(path))
            if depth > 1:
                setattr(sys.modules[".".join(parts[: depth - 1])], parts[depth - 1], module)
        vars(sys.modules[name]).update(values)
    return made
