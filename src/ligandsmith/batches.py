"""The tensor records that flow between data, models and losses, and the legend of their shapes.

Shape legend: B batch, N ligand heavy atoms, M pocket atoms, K neighbours, D hidden width, Z latent width,
P pairs. Coordinates are in Å unless a name says `latent`. Masks are True on real atoms.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


class TensorRecord:
    """Base of frozen dataclasses of tensors (or nested records, or None): moves all fields together."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Any:
        return self.mapped(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Any:
        """In page-locked memory, from which a GPU copies while it computes. A DataLoader calls it by this name."""
        return self.mapped(lambda part: part.pin_memory())

    def mapped(self, change: Callable[[Any], Any]) -> Any:
        """With `change` applied to every tensor and nested record."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return replace(  # type: ignore[type-var]
            self, **{name: change(part) for name, part in parts.items() if isinstance(part, Tensor | TensorRecord)}
        )


@dataclass(frozen=True)
class LigandBatch(TensorRecord):
    x: Tensor  # [B, N, 3] Å, in the frame of the batch
    element: Tensor  # [B, N] long, class
    charge: Tensor  # [B, N] long, class
    aromatic: Tensor  # [B, N] long, 0/1
    num_h: Tensor  # [B, N] long, 0..max_hydrogens
    bonds: Tensor  # [B, N, N] long, class, symmetric, 0 = none
    mask: Tensor  # [B, N] bool
    fixed: Tensor | None = None  # [B, N] bool, atoms of a fragment that is given and to be completed
    fragment_latent: Tensor | None = None  # [B, N, Z], of the fixed atoms as a molecule of their own
    properties: Tensor | None = None  # [B, 3], as data.properties has them, NaN where unknown


@dataclass(frozen=True)
class PocketBatch(TensorRecord):
    x: Tensor  # [B, M, 3] Å
    element: Tensor  # [B, M] long
    residue: Tensor  # [B, M] long
    atom_name: Tensor  # [B, M] long
    residue_index: Tensor  # [B, M] long
    mask: Tensor  # [B, M] bool; a row without any True is the null pocket
    latent: Tensor | None = None  # [B, M, Z], where a frozen encoder has been run before
    kept: Tensor | None = None  # [B, M] bool, what the denoiser sees; None: all


@dataclass(frozen=True)
class ComplexBatch(TensorRecord):
    ligand: LigandBatch
    pocket: PocketBatch | None
    ids: tuple[str, ...] = ()
    leading: int | None = None  # so many records, the first, may have a pocket, and the others have none; None: unknown


@dataclass(frozen=True)
class Posterior(TensorRecord):
    """Gaussian posterior of the ligand latents (or, with x fixed, of the pocket latents)."""

    mean_x: Tensor  # [B, N, 3] Å
    sigma_x: Tensor  # scalar, Å
    mean_h: Tensor  # [B, N, Z]
    logvar_h: Tensor  # [B, N, Z]
    mask: Tensor  # [B, N]


@dataclass(frozen=True)
class LigandPrediction(TensorRecord):
    x: Tensor  # [B, N, 3] Å
    element: Tensor  # [B, N, elements] logits
    charge: Tensor  # [B, N, charges] logits
    aromatic: Tensor  # [B, N] logit
    num_h: Tensor  # [B, N, max_hydrogens + 1] logits
    bonds: Tensor  # [B, N, N, 5] logits, symmetric
    mask: Tensor  # [B, N]


@dataclass(frozen=True)
class LossReport:
    """A loss on the one scale of the project: `total` is what is minimised and what selects the checkpoint.

    `terms` are unweighted means over molecules, `weights` how they enter the total.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: dict[str, float] = field(default_factory=dict)
    per_molecule: Tensor | None = None  # [B]
    objective: Tensor | None = None  # what is minimised where heads with losses of their own train beside; else total
    moments: Tensor | None = None  # sums over the latents, for their running statistics, where the encoder trains, too
