"""The records that flow between the rooms, and the legend of their shapes.

Shape legend: B batch, N ligand heavy atoms, M pocket atoms, K neighbours, D hidden width, Z latent width,
P pairs. Coordinates are in Å unless a name says `latent`. Masks are True on real atoms.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ligandsmith.errors import LigandsmithError  # noqa: F401 (re-exported)

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True)
class Ligand:
    """Heavy atoms of one molecule. Atom order is that of the source file."""

    element: NDArray[np.uint8]  # [N] atomic numbers
    charge: NDArray[np.int8]  # [N] formal charges
    aromatic: NDArray[np.bool_]  # [N]
    num_h: NDArray[np.uint8]  # [N] hydrogens, implicit and explicit
    x: NDArray[np.float32]  # [N, 3] Å
    bond_index: NDArray[np.int16]  # [E, 2], i < j
    bond_type: NDArray[np.uint8]  # [E], index into vocabulary.BOND_CLASSES (1..4)
    fixed: NDArray[np.bool_] | None = None  # [N], of a fragment that is given and to be completed
    properties: NDArray[np.float32] | None = None  # as data.properties has them, NaN where unknown

    @property
    def num_atoms(self) -> int:
        return len(self.element)


@dataclass(frozen=True)
class Pocket:
    """Heavy atoms of the protein, metals and cofactors around a site. Waters are never in it."""

    element: NDArray[np.uint8]  # [M] atomic numbers
    residue: NDArray[np.uint8]  # [M] index into vocabulary.RESIDUES
    atom_name: NDArray[np.uint8]  # [M] index into vocabulary.ATOM_NAMES
    residue_index: NDArray[np.int16]  # [M] 0-based running number of the residue within the pocket
    x: NDArray[np.float32]  # [M, 3] Å
    center: NDArray[np.float32] | None = None  # [3] box centre given by the user; None: mean of the C-alphas
    name: str = ""
    latent: NDArray[np.float16] | None = None  # [M, Z], where a frozen encoder has been run before
    kept: NDArray[np.bool_] | None = None  # [M], what the denoiser sees; the rest only surrounds it. None: all
    cut: str = ""  # around what, at the radii that size models are fitted to: ligand | center; empty: anything else

    @property
    def num_atoms(self) -> int:
        return len(self.element)


@dataclass(frozen=True)
class Complex:
    """One training record. A ligand-only record (conformer, crystal ligand) has `pocket=None`."""

    id: str
    ligand: Ligand
    pocket: Pocket | None = None
    smiles: str = ""
    source: str = ""
    licence: str = ""
    cluster: int = -1  # 90 % sequence cluster; -1: unknown, a cluster of its own


@dataclass(frozen=True)
class Rejection:
    """A record that could not be used, and why. Counted and listed, never dropped in silence."""

    id: str
    reason: str  # short machine-readable cause, e.g. "unknown element"
    detail: str = ""  # the specifics: file, line, atom


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


@dataclass(frozen=True)
class DecodedLigand:
    """What the ligand decoder says of one molecule, before any chemistry."""

    element: NDArray[np.uint8]  # [N] atomic numbers
    charge: NDArray[np.int8]  # [N]
    aromatic: NDArray[np.bool_]  # [N]
    num_h: NDArray[np.uint8]  # [N]
    bond_probs: NDArray[np.float32]  # [N, N, 5], symmetric, rows sum to 1
    x: NDArray[np.float32]  # [N, 3] Å


@dataclass(frozen=True)
class BuildFailure:
    """Why a decoded ligand is not a molecule."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class GeneratedLigand:
    """One requested molecule: a molecule, or the reason why there is none."""

    index: int
    num_atoms: int
    mol: "Mol | None"
    raw_valid: bool  # sanitises with the decoder's bonds as they are
    repaired: bool  # valence repair changed a bond or a charge
    connected: bool
    reason: str = ""  # why mol is None
    detail: str = ""
    candidates: int = 1  # sampled for it; this is the one that was kept
    candidates_valid: int = 0  # of these, valid as decoded and connected
    changed: tuple[int, ...] = ()  # atoms of `mol` that repair touched
