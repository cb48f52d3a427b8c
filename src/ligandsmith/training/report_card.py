"""Report card of a ligand VAE on held-out ligands: does it give the molecule back, also from noisy latents?"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ligandsmith.batches import LigandBatch
from ligandsmith.diffusion import rng
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.predictions import LigandPrediction
from ligandsmith.training.losses import bonded_pairs
from ligandsmith.training.vae_losses import gaussian_kl

ACTIVE = 0.1  # nats; a latent dimension with less KL carries nothing


@dataclass(frozen=True)
class ReportCard:
    """Shares are of atoms, bonds or molecules; lengths in Å; KL in nats per atom."""

    molecules: int
    noise_x: float  # Å per axis, added to z_x
    noise_h: float  # added to z_h, in units of its s.d. over the set
    element: float
    charge: float
    num_h: float
    bond_recall: float  # bonds found with the right order
    false_bonds: float  # bonds that are not there, per real bond
    exact_graph: float  # all elements, charges and bond orders right
    rmsd_in: float
    rmsd_out: float
    bond_error_in: float  # r.m.s. of bond lengths
    bond_error_out: float
    kl: float
    active_dimensions: int
    kl_per_dimension: tuple[float, ...] = ()


@torch.no_grad()
def ligand_report_card(
    vae: LigandVAE, batches: Iterable[LigandBatch], noise_x: float = 0.0, noise_h: float = 0.0, seed: int = 0
) -> ReportCard:
    """Decode posterior means plus noise; the same seed gives the same noise."""
    vae.eval()
    all_batches = list(batches)
    posteriors = [vae.encode(batch) for batch in all_batches]
    means = torch.cat([p.mean_h[p.mask] for p in posteriors])
    kl = torch.cat([gaussian_kl(p)[p.mask] for p in posteriors]).mean(0)
    spread = means.std(0)
    sums: dict[str, float] = {}
    for number, (batch, posterior) in enumerate(zip(all_batches, posteriors, strict=True)):
        seeds = rng.make_seeds(seed, number, torch.arange(len(batch.x)))
        z_x = batch.x + noise_x * rng.normal(seeds, "x", batch.x.shape[1:])
        z_h = posterior.mean_h + noise_h * spread * rng.normal(seeds, "h", posterior.mean_h.shape[1:])
        level = torch.full((len(batch.x),), noise_x)
        for name, value in _counts(vae.decode(z_x, z_h, batch.mask, level), batch, z_x).items():
            sums[name] = sums.get(name, 0.0) + float(value)
    atoms, bonds, molecules = sums["atoms"], sums["bonds"], sums["molecules"]
    return ReportCard(
        molecules=int(molecules), noise_x=noise_x, noise_h=noise_h,
        element=sums["element"] / atoms, charge=sums["charge"] / atoms, num_h=sums["num_h"] / atoms,
        bond_recall=sums["found"] / bonds, false_bonds=sums["false"] / bonds, exact_graph=sums["exact"] / molecules,
        rmsd_in=(sums["x_in"] / atoms) ** 0.5, rmsd_out=(sums["x_out"] / atoms) ** 0.5,
        bond_error_in=(sums["length_in"] / bonds) ** 0.5, bond_error_out=(sums["length_out"] / bonds) ** 0.5,
        kl=float(kl.sum()), active_dimensions=int((kl > ACTIVE).sum()),
        kl_per_dimension=tuple(kl.tolist()),
    )  # fmt: skip


def _counts(prediction: LigandPrediction, batch: LigandBatch, z_x: Tensor) -> dict[str, Tensor]:
    """Sums over a batch of what the card divides."""
    mask = batch.mask
    right = {
        "element": prediction.element.argmax(-1) == batch.element,
        "charge": prediction.charge.argmax(-1) == batch.charge,
        "num_h": prediction.num_h.argmax(-1) == batch.num_h,
    }
    bonded, _ = bonded_pairs(batch.bonds)
    upper = torch.triu(mask.unsqueeze(1) & mask.unsqueeze(2), diagonal=1)
    decoded = prediction.bonds.argmax(-1)
    wrong_bonds = ((decoded != batch.bonds) & upper).sum((1, 2))
    wrong_atoms = (~(right["element"] & right["charge"]) & mask).sum(1)
    real = bonded & upper

    def length_error(x: Tensor) -> Tensor:
        lengths, true = (((c.unsqueeze(1) - c.unsqueeze(2)).square().sum(-1) + 1e-12).sqrt() for c in (x, batch.x))
        return ((lengths - true).square() * real).sum()

    return {
        **{name: (value & mask).sum() for name, value in right.items()},
        "atoms": mask.sum(), "molecules": torch.tensor(len(mask)), "bonds": real.sum(),
        "found": ((decoded == batch.bonds) & real).sum(), "false": ((decoded > 0) & ~bonded & upper).sum(),
        "exact": ((wrong_bonds + wrong_atoms) == 0).sum(),
        "x_in": ((z_x - batch.x).square() * mask.unsqueeze(-1)).sum(),
        "x_out": ((prediction.x - batch.x).square() * mask.unsqueeze(-1)).sum(),
        "length_in": length_error(z_x), "length_out": length_error(prediction.x),
    }  # fmt: skip
