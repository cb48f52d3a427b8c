"""What networks and losses return. Shapes as in `batches`."""

from dataclasses import dataclass

from torch import Tensor

from ligandsmith.batches import TensorRecord

LOGVAR_RANGE = (-8.0, 2.0)  # of Posterior.logvar_h


@dataclass(frozen=True)
class Posterior(TensorRecord):
    """Gaussian posterior of the ligand latents or, with x fixed, of the pocket latents."""

    mean_x: Tensor  # [B, N, 3] Å
    sigma_x: Tensor  # scalar, Å
    mean_h: Tensor  # [B, N, Z]
    logvar_h: Tensor  # [B, N, Z]
    mask: Tensor  # [B, N]


@dataclass(frozen=True)
class LigandPrediction(TensorRecord):
    """Output of the ligand VAE's decoder."""

    x: Tensor  # [B, N, 3] Å
    element: Tensor  # [B, N, elements] logits
    charge: Tensor  # [B, N, charges] logits
    aromatic: Tensor  # [B, N] logit
    num_h: Tensor  # [B, N, max_hydrogens + 1] logits
    bonds: Tensor  # [B, N, N, 5] logits, symmetric
    mask: Tensor  # [B, N]


@dataclass(frozen=True)
class PocketPrediction(TensorRecord):
    """Output of the pocket VAE's decoder."""

    residue: Tensor  # [B, M, residues] logits
    atom_name: Tensor  # [B, M, atom names] logits
    offset: Tensor  # [B, M, 3] Å, from a C-alpha to the centroid of its side chain


@dataclass(frozen=True)
class LossReport:
    """A loss. `objective` is minimised: `total` and any auxiliary losses.

    `total` selects the best checkpoint and has one scale for training and validation. `terms` are unweighted means over
    molecules.
    """

    total: Tensor
    objective: Tensor
    terms: dict[str, Tensor]
    per_molecule: Tensor | None = None  # [B]
    moments: Tensor | None = None  # sums over latents for their running statistics, if the ligand VAE is trained
