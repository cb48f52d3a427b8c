"""How batches and reports pass through Fabric, which takes known containers apart to convert their tensors."""

from typing import Any

import torch
from torch import nn

from ligandsmith.batches import LossReport


class Packed:
    """Arguments and result of a step, in an object that Fabric does not take apart to convert its tensors."""

    def __init__(self, *values: Any) -> None:
        self.values = values


class PackedModule(nn.Module):
    """The stage's module behind one packed argument; returns (objective, packed report)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, packed: Packed) -> tuple[torch.Tensor, Packed]:
        report: LossReport = self.inner(*packed.values)
        return report.total if report.objective is None else report.objective, Packed(report)
