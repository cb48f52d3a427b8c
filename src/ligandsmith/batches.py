"""The tensor records that flow between data, models and losses, how they are made of records, and a legend of shapes.

Shape legend: B batch, N ligand heavy atoms, M pocket atoms, K neighbours, D hidden width, Z latent width,
P pairs. Coordinates are in Å unless a name says `latent`. Masks are True on real atoms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ligandsmith.records import PROPERTIES, Complex, Ligand, Pocket
from ligandsmith.structure.vocabulary import Vocabulary

EMPTY = np.zeros(0, np.uint8)
NO_POCKET = Pocket(EMPTY, EMPTY, EMPTY, np.zeros(0, np.int16), np.zeros((0, 3), np.float32))


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


def _padded(arrays: Sequence[NDArray[Any]], size: int, dtype: torch.dtype = torch.long) -> Tensor:
    out = torch.zeros((len(arrays), size, *arrays[0].shape[1:]), dtype=dtype)
    rows = out.numpy()  # the same memory: filling rows by torch costs four times as much
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    return out


def _mask(lengths: Sequence[int], size: int) -> Tensor:
    return torch.arange(size).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)


def collate_ligands(ligands: Sequence[Ligand], vocabulary: Vocabulary, size: int = 0) -> LigandBatch:
    """Ligands padded to the largest of the batch, or to `size` atoms if that is more."""
    lengths = [ligand.num_atoms for ligand in ligands]
    size = max(size, *lengths)
    first_charge = {q: i for i, q in enumerate(vocabulary.charges)}
    bonds = torch.zeros(len(ligands), size, size, dtype=torch.long)
    for row, ligand in zip(bonds.numpy(), ligands, strict=True):
        i, j = ligand.bond_index.T
        row[i, j] = row[j, i] = ligand.bond_type
    return LigandBatch(
        x=_padded([m.x for m in ligands], size, torch.float32),
        element=_padded([vocabulary.ligand_element_classes(m.element) for m in ligands], size),
        charge=_padded([np.array([first_charge[q] for q in m.charge.tolist()]) for m in ligands], size),
        aromatic=_padded([m.aromatic for m in ligands], size),
        num_h=_padded([np.minimum(m.num_h, vocabulary.max_hydrogens) for m in ligands], size),
        bonds=bonds,
        mask=_mask(lengths, size),
        fixed=_masks([m.fixed for m in ligands], lengths, False, size),
        properties=_properties(ligands),
    )


def _properties(ligands: Sequence[Ligand]) -> Tensor | None:
    """Properties [B, 3], or None where none is known of any ligand."""
    if all(m.properties is None for m in ligands):
        return None
    unknown = np.full(len(PROPERTIES), np.nan, dtype=np.float32)
    return torch.from_numpy(np.stack([unknown if m.properties is None else m.properties for m in ligands]))


def collate_pockets(pockets: Sequence[Pocket | None], vocabulary: Vocabulary) -> PocketBatch | None:
    """Pockets padded to the largest; a missing one is a row without atoms; None if all are missing."""
    if all(p is None for p in pockets):
        return None
    found = [NO_POCKET if p is None else p for p in pockets]
    lengths = [p.num_atoms for p in found]
    size = max(lengths)
    return PocketBatch(
        x=_padded([p.x for p in found], size, torch.float32),
        element=_padded([vocabulary.pocket_element_classes(p.element) for p in found], size),
        residue=_padded([p.residue for p in found], size),
        atom_name=_padded([p.atom_name for p in found], size),
        residue_index=_padded([p.residue_index for p in found], size),
        mask=_mask(lengths, size),
        latent=_stored_latents(pockets, size),
        kept=_masks([p.kept for p in found], lengths, True, size),
    )


def _masks(masks: Sequence[NDArray[Any] | None], lengths: Sequence[int], default: bool, size: int) -> Tensor | None:
    """Masks [B, size] of the atoms, `default` for a molecule without one; None where none has one."""
    if all(mask is None for mask in masks):
        return None
    every = [np.full(n, default) if mask is None else mask for mask, n in zip(masks, lengths, strict=True)]
    return _padded(every, size).bool()


def _stored_latents(pockets: Sequence[Pocket | None], size: int) -> Tensor | None:
    """Latents of a frozen encoder, if every pocket that is there brings its own."""
    latents = [None if p is None else p.latent for p in pockets]
    found = [latent for latent in latents if latent is not None]
    if len(found) < sum(p is not None for p in pockets):
        return None
    nothing = np.zeros((0, found[0].shape[1]))
    return _padded([nothing if latent is None else latent for latent in latents], size, torch.float32)


def collate(records: Sequence[Complex], vocabulary: Vocabulary) -> ComplexBatch:
    """Records already in their frames -> one batch."""
    return ComplexBatch(
        ligand=collate_ligands([r.ligand for r in records], vocabulary),
        pocket=collate_pockets([r.pocket for r in records], vocabulary),
        ids=tuple(r.id for r in records),
    )


def batch_rows(batch: ComplexBatch, begin: int, end: int) -> ComplexBatch:
    """Molecules `begin` to `end` of a batch, padded to the largest of them."""
    atoms = int(batch.ligand.mask[begin:end].sum(-1).max())
    ligand = _cut(batch.ligand, begin, end, atoms)
    pocket = batch.pocket
    size = 0 if pocket is None else int(pocket.mask[begin:end].sum(-1).max())
    properties = batch.ligand.properties
    return ComplexBatch(
        ligand=replace(
            ligand,
            bonds=ligand.bonds[:, :, :atoms],
            properties=None if properties is None else properties[begin:end],
        ),
        pocket=None if pocket is None or not size else _cut(pocket, begin, end, size),
        ids=batch.ids[begin:end],
    )


def _cut(batch: Any, begin: int, end: int, atoms: int) -> Any:
    tensors = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return replace(batch, **{k: v[begin:end, :atoms] for k, v in tensors.items() if v is not None})
