"""The tensor records that flow between data, models and losses, and the legend of their shapes.

Shape legend: B batch, N ligand heavy atoms, M pocket atoms, K neighbours, D hidden width, Z latent width,
P pairs. Coordinates are in Å unless a name says `latent`. Masks are True on real atoms.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


class TensorRecord:
    """Base of frozen dataclasses of tensors, nested records and None: changes all fields together."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Any:
        """A copy on another device."""
        return self.mapped(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Any:
        """A copy in page-locked memory, for asynchronous transfer to a GPU. Called by DataLoader."""
        return self.mapped(lambda part: part.pin_memory())

    def mapped(self, change: Callable[[Any], Any]) -> Any:
        """A copy with `change` applied to every tensor and nested record."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return replace(  # type: ignore[type-var]
            self, **{name: change(part) for name, part in parts.items() if isinstance(part, Tensor | TensorRecord)}
        )


@dataclass(frozen=True)
class LigandBatch(TensorRecord):
    """Ligands padded to the largest of the batch."""

    x: Tensor  # [B, N, 3] Å, in the frame of the batch
    element: Tensor  # [B, N] long, class
    charge: Tensor  # [B, N] long, class
    aromatic: Tensor  # [B, N] long, 0/1
    num_h: Tensor  # [B, N] long, 0..max_hydrogens
    bonds: Tensor  # [B, N, N] long, class, symmetric, 0 = none
    mask: Tensor  # [B, N] bool
    fixed: Tensor | None = None  # [B, N] bool, atoms of a given fragment
    fragment_latent: Tensor | None = None  # [B, N, Z], latents of the fragment encoded alone
    properties: Tensor | None = None  # [B, 3], see data.properties; NaN where unknown


@dataclass(frozen=True)
class PocketBatch(TensorRecord):
    """Pockets padded to the largest of the batch."""

    x: Tensor  # [B, M, 3] Å
    element: Tensor  # [B, M] long
    residue: Tensor  # [B, M] long
    atom_name: Tensor  # [B, M] long
    residue_index: Tensor  # [B, M] long
    mask: Tensor  # [B, M] bool; a row without any True is the null pocket
    latent: Tensor | None = None  # [B, M, Z], stored latents of a frozen encoder
    kept: Tensor | None = None  # [B, M] bool, the cropped pocket that the denoiser reads; None: all


@dataclass(frozen=True)
class ComplexBatch(TensorRecord):
    """Ligands and their pockets. `pocket` is None if no record has one."""

    ligand: LigandBatch
    pocket: PocketBatch | None
    ids: tuple[str, ...] = ()
    num_with_pocket: int | None = None  # the first records have a pocket and the others have none; None: not known
