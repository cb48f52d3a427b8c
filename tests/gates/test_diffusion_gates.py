"""G4 (overfit, then sample the ligands back), G11 (rings) and G12 (the pocket is used)."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdMolAlign

from ligandsmith.batches import collate
from ligandsmith.chem.builder import build_molecule
from ligandsmith.config import DenoiserConfig, DiffusionConfig, SamplingConfig, preset
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import to_frame
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.guidance import GuidedDenoiser
from ligandsmith.diffusion.process import UNCONDITIONED, NoisyLigand, Schedule, add_noise, coefficients, linear, target
from ligandsmith.diffusion.rng import step_seeds
from ligandsmith.diffusion.samplers import euler, time_grid
from ligandsmith.generation.sampler import decoded_ligand
from ligandsmith.models.denoiser import Denoiser
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes, moments
from ligandsmith.models.pocket_vae import PocketLatents, null_pocket, pocket_latents
from ligandsmith.records import Ligand
from ligandsmith.structure.ligands import mol_from_ligand
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.losses import denoising_errors, diffusion_loss, encoded_pocket, per_atom_mean
from ligandsmith.training.optim import learning_rate_factor, make_optimizer
from ligandsmith.training.vae_losses import VAETraining

pytestmark = pytest.mark.gate
CPU = torch.device("cpu")


PLAIN = SamplingConfig(cfg_scale=1.0, noise_scale=1.0, churn=0.0)


def test_g4_overfit_and_sample_back(record) -> None:
    """Eight complexes: the VAE learns them in 300 steps, the denoiser in 2000, and sampling gives the ligands back"""
    torch.manual_seed(0)
    config = preset("tiny")
    data = ComplexDataset(None, "train")
    small = np.flatnonzero(data.sizes()[0] <= 18)
    small = small[np.linspace(0, len(small) - 1, 8).astype(int)]
    records = [to_frame(data[int(i)], config.pocket) for i in small]
    assert len(records) == 8
    batch = collate(records, VOCABULARY)
    weight = torch.full((8,), 1 / 8)
    vaes = build_vaes(config, VOCABULARY)
    training = VAETraining(vaes["ligand"], "ligand")
    _fit(training, 300, 3e-3, lambda step: training(batch, *step_seeds(0, step, 8, (0, 1), CPU), weight).total)
    with torch.no_grad():
        posterior = vaes["ligand"].encode(batch.ligand)
        decoded = vaes["ligand"].decode(batch.ligand.x, posterior.mean_h, batch.ligand.mask)
        pocket = encoded_pocket(vaes["protein"], batch, config.denoiser.anchors)
    pairs = torch.triu(batch.ligand.mask.unsqueeze(1) & batch.ligand.mask.unsqueeze(2), diagonal=1)
    wrong = ((decoded.bonds.argmax(-1) != batch.ligand.bonds) & pairs).sum((1, 2))
    wrong += ((decoded.element.argmax(-1) != batch.ligand.element) & batch.ligand.mask).sum(1)
    exact = int((wrong == 0).sum())

    model = DiffusionModel(replace(config, diffusion=replace(config.diffusion, cfg_dropout_prob=0.0, noise_draws=4)))
    model.stats.update(moments(batch.ligand.x, posterior.mean_h, batch.ligand.mask))

    def loss(step: int) -> torch.Tensor:
        report = diffusion_loss(
            model, batch.ligand, posterior.mean_h, pocket, step_seeds(1, step, 8, (0, 1), CPU), weight
        )
        assert report.objective is not None  # the bonds are learned beside the total
        return report.objective

    _fit(model, 2000, 3e-3, loss)
    model.eval()
    with torch.no_grad():
        seeds = [step_seeds(2, s, 8, (0, 1), CPU) for s in range(8)]
        terms = [diffusion_loss(model, batch.ligand, posterior.mean_h, pocket, k, weight).terms for k in seeds]
        rmsds, plain = (
            [_rmsd(_sampled(model, vaes, batch, pocket, row, setting), records[row].ligand) for row in range(8)]
            for setting in (replace(config.sampling, cfg_scale=1.0), PLAIN)
        )
    l_x, l_h = (float(torch.stack([t[name] for t in terms]).mean()) for name in ("x", "h"))
    close, without = (sum(r < 0.5 for r in found) for found in (rmsds, plain))
    record(
        "G4",
        "exact 8/8, L_x < 0.3, L_h < 0.3, RMSD < 0.5 Å for ≥ 6/8",
        {
            "exact": exact,
            "L_x": l_x,
            "L_h": l_h,
            "within 0.5 Å": close,
            "median RMSD": float(np.median(rmsds)),
            "within, full noise and no churn": without,
        },
    )
    assert exact == 8
    assert l_x < 0.3
    assert l_h < 0.3
    assert close >= 6


def _fit(module: torch.nn.Module, steps: int, rate: float, loss) -> None:
    optimizer = make_optimizer(module, preset("tiny").optimizer, rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * group.get("lr_ratio", 1.0) * learning_rate_factor(step, steps, preset("tiny").optimizer)
            )
        optimizer.zero_grad()
        loss(step).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


def _sampled(model: DiffusionModel, vaes, batch, pocket: PocketLatents, row: int, setting: SamplingConfig):
    """The molecule that is sampled for one of the pockets; None where it cannot be built."""
    mask = batch.ligand.mask[row : row + 1]
    one = PocketLatents(*(getattr(pocket, f)[row : row + 1] for f in ("x", "h", "mask", "tokens", "token_mask")))
    kv, layout = model.denoiser.project_pocket(one), model.denoiser.layout
    seeds = rng.make_seeds(5, torch.tensor([row]))
    scale = torch.full((layout.width(mask.shape[1]),), setting.noise_scale_h)
    scale[:3] = setting.noise_scale
    denoise = GuidedDenoiser(lambda noisy, null: model.denoiser(noisy, kv, null), mask, model.stats.scale_x, setting,
                             model.schedule, "f", layout)  # fmt: skip
    z = euler(denoise, scale * layout.noise(seeds, "start", mask), time_grid(50, 0.005, 2.0), model.schedule,
              lambda i: scale * layout.noise(seeds, f"step {i}", mask), setting.churn)  # fmt: skip
    x, h = model.stats.restore(z)
    prediction = vaes["ligand"].decode(x, h, mask)
    n = int(mask.sum())
    built = build_molecule(decoded_ligand(prediction, 0, n, VOCABULARY, np.zeros(3, np.float32)))
    return getattr(built, "mol", None)


def _rmsd(mol: Chem.Mol | None, ligand: Ligand) -> float:
    """In-place RMSD (Å, symmetry-corrected) between a sampled ligand and the true one; 99 if it is another molecule."""
    true = mol_from_ligand(ligand)
    if mol is None or Chem.MolToSmiles(mol, isomericSmiles=False) != Chem.MolToSmiles(true, isomericSmiles=False):
        return 99.0
    return float(rdMolAlign.CalcRMS(mol, true))


def _toy(seeds: torch.Tensor) -> tuple[torch.Tensor, PocketLatents]:
    """Three coloured pocket atoms; the ligand's atoms are their images mirrored at the pocket's centre, coloured alike.

    (Mirrored at the origin they could not be placed: the network sees the pocket, not the frame.)
    """
    x = 1.5 * rng.normal(seeds, "toy x", (3, 3))
    mirrored = 2 * x.mean(1, keepdim=True) - x
    colour = torch.nn.functional.one_hot((rng.uniform(seeds, "toy colour", (3,)) * 4).long(), 4).float()
    z = torch.cat([mirrored / 1.5, (colour - 0.25) / 0.433], -1)
    return z, pocket_latents(x, colour, torch.ones(len(x), 3, dtype=torch.bool), 0)


def test_g12_conditioning_is_used(record) -> None:
    """Toy pocket of three coloured points, ligand = its mirror image at the pocket's centre, coloured alike"""
    torch.manual_seed(0)
    shape = DenoiserConfig(width=64, edge_width=32, self_layers=3, cross_layers=3, cross_neighbors=3, anchors=0)
    denoiser = Denoiser(shape, 4, 4, "f")
    config, schedule, scale = DiffusionConfig(), linear(), torch.tensor(1.5)
    mask = torch.ones(64, 3, dtype=torch.bool)

    def errors(seed: int, step: int, shuffle: bool = False) -> dict[str, torch.Tensor]:
        seeds = rng.make_seeds(seed, step, torch.arange(64))
        z, pocket = _toy(seeds)
        if shuffle:
            pocket = pocket_latents(pocket.x.roll(1, 0), pocket.h.roll(1, 0), pocket.mask, 0)
        model = _model(denoiser, config, scale)
        kv = denoiser.project_pocket(pocket)
        return denoising_errors(model, kv, z, mask, UNCONDITIONED, (seeds, seeds[0]))[0]

    _fit(denoiser, 1500, 3e-3, lambda step: sum(e.mean() for e in errors(0, step).values()))
    denoiser.eval()
    with torch.no_grad():
        right, wrong = ([sum(float(e.mean()) for e in errors(9, s, shuffle).values()) for s in range(8)]
                        for shuffle in (False, True))  # fmt: skip
        gap = float(np.mean(wrong) - np.mean(right))
        by_scale = {w: _toy_samples(denoiser, w, schedule, scale) for w in (1.0, 1.5, 7.5)}
    measured = {"shuffle gap": gap, "CoM error / s_x": by_scale[1.0][0]}
    measured |= {f"colours right, w={w}": value[1] for w, value in by_scale.items()}
    measured["spread at 7.5 / at 1"] = by_scale[7.5][2] / by_scale[1.0][2]
    record("G12", "shuffle gap > 0.1, CoM error < 0.3 s_x, colours at w = 1.5 ≥ at w = 1", measured)
    assert gap > 0.1
    assert by_scale[1.0][0] < 0.3
    assert by_scale[1.5][1] >= by_scale[1.0][1] - 0.01


def _model(denoiser: Denoiser, config: DiffusionConfig, scale: torch.Tensor) -> Any:
    """What `denoising_errors` reads of a diffusion model."""
    return SimpleNamespace(
        config=SimpleNamespace(diffusion=config), denoiser=denoiser, stats=SimpleNamespace(scale_x=scale),
        schedule=linear(),
    )  # fmt: skip


def _toy_samples(denoiser: Denoiser, w: float, schedule: Schedule, scale: torch.Tensor) -> tuple[float, float, float]:
    """(centre-of-mass error in s_x, share of atoms whose colour is that of the mirrored pocket atom, spread)."""
    seeds = rng.make_seeds(77, torch.arange(128))
    z, pocket = _toy(seeds)
    projected = denoiser.project_pocket(pocket)
    mask = torch.ones(128, 3, dtype=torch.bool)
    setting = SamplingConfig(cfg_scale=w, cfg_scale_x=w)
    denoise = GuidedDenoiser(
        lambda n, null: denoiser(n, projected, null), mask, scale, setting, schedule, "f", denoiser.layout
    )
    start = rng.normal(seeds, "start", (3, 7))
    made = euler(denoise, start, time_grid(30, 0.005, 2.0), schedule, lambda i: torch.zeros_like(start))
    centre = (made[..., :3].mean(1) - z[..., :3].mean(1)).norm(dim=-1).mean() / 3**0.5
    nearest = torch.cdist(made[..., :3], z[..., :3]).argmin(-1)
    true = z[..., 3:].argmax(-1).gather(1, nearest)
    return float(centre), float((made[..., 3:].argmax(-1) == true).float().mean()), float(made[..., :3].std())


BOND = 1.4  # Å, of the rings


def _rings(seeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Regular polygons of 3 to 8 corners, turned at random, and the parity of their number: z [B, 8, 5], mask."""
    corners = 3 + (rng.uniform(seeds, "corners") * 6).long()
    number = torch.arange(8)
    mask = number < corners.view(-1, 1)
    angle = 2 * torch.pi * number / corners.view(-1, 1)
    flat = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
    flat = flat * (BOND / 2 / (torch.pi / corners).sin()).view(-1, 1, 1)
    turn = torch.linalg.qr(rng.normal(seeds, "turn", (3, 3)))[0]
    parity = torch.nn.functional.one_hot(corners % 2, 2).float().unsqueeze(1).expand(-1, 8, 2)
    z = torch.cat([flat @ turn / 1.5, 2 * parity - 1], -1)
    return z * mask.unsqueeze(-1), mask


def test_g11_rings(record) -> None:
    """Toy: regular polygons of 3 to 8 corners whose feature is the parity of their number, without a pocket"""
    torch.manual_seed(0)
    shape = DenoiserConfig(width=64, edge_width=32, self_layers=4, cross_layers=0, channels=8, anchors=0)
    denoiser, schedule, scale = Denoiser(shape, 2, 1, "f"), linear(), torch.tensor(1.5)
    pocket_kv = denoiser.project_pocket(null_pocket(64, 1, 0, CPU))

    def errors(step: int) -> dict[str, torch.Tensor]:
        seeds = rng.make_seeds(3, step, torch.arange(64))
        z, mask = _rings(seeds)
        model = _model(denoiser, DiffusionConfig(separate_times=0.0), scale)
        return denoising_errors(model, pocket_kv, z, mask, UNCONDITIONED, (seeds, seeds[0]))[0]

    _fit(denoiser, 600, 3e-3, lambda step: sum(e.mean() for e in errors(step).values()))
    denoiser.eval()
    seeds = rng.make_seeds(78, torch.arange(256))
    z, mask = _rings(seeds)
    with torch.no_grad():
        made = _ring_samples(denoiser, seeds, mask, schedule, scale)
        level = _error_at(denoiser, z, mask, (schedule, scale, seeds), 0.2)
    right = ((made[..., 3:].argmax(-1) == z[..., 3:].argmax(-1)) & mask).sum() / mask.sum()
    closed, length = _closed(made[..., :3] * scale, mask)
    record(
        "G11",
        "L_x at t = 0.2 ≤ 0.50, parity ≥ .99, closed rings ≥ .25",
        {"L_x at 0.2": level, "parity": float(right), "closed": closed, "bond mean": length},
    )
    assert level <= 0.5
    assert right >= 0.99
    assert closed >= 0.25


def _ring_samples(denoiser: Denoiser, seeds, mask, schedule: Schedule, scale: torch.Tensor) -> torch.Tensor:
    projected, null = (
        denoiser.project_pocket(null_pocket(len(mask), 1, 0, CPU)),
        torch.ones(len(mask), dtype=torch.bool),
    )
    setting = SamplingConfig(cfg_scale=1.0, cfg_scale_x=1.0)
    denoise = GuidedDenoiser(lambda n, _: denoiser(n, projected, null), mask, scale, setting, schedule, "f",
                             denoiser.layout)  # fmt: skip
    start = rng.normal(seeds, "start", (8, 5)) * mask.unsqueeze(-1)
    return euler(denoise, start, time_grid(50, 0.005, 2.0), schedule, lambda i: torch.zeros_like(start))


def _error_at(denoiser: Denoiser, z, mask, setting, level: float) -> float:
    """Mean squared error of the coordinates' target at one time."""
    schedule, scale, seeds = setting
    t = torch.full((len(z),), level)
    c = coefficients(schedule, t, "f")
    both = c.joined(c, z.shape[-1])
    eps = rng.normal(seeds, "error", z.shape[1:])
    noisy = NoisyLigand(add_noise(z, eps, both) * mask.unsqueeze(-1), mask, t, t, c, c, scale)
    null = torch.ones(len(z), dtype=torch.bool)
    error = denoiser(noisy, denoiser.project_pocket(null_pocket(len(z), 1, 0, CPU)), null) - target(z, eps, both)
    return float(per_atom_mean(error[..., :3].square().mean(-1), mask).mean())


def _closed(x: torch.Tensor, mask: torch.Tensor) -> tuple[float, float]:
    """(share of rings in which every corner has exactly two neighbours at bond length, mean bond length in Å)."""
    far = 99.0 * (~mask.unsqueeze(1) | ~mask.unsqueeze(2) | torch.eye(8, dtype=torch.bool)).float()
    distance = torch.cdist(x, x) + far
    bonded = (distance > 0.8 * BOND) & (distance < 1.2 * BOND)
    two = (bonded.sum(-1) == 2) | ~mask
    return float(two.all(-1).float().mean()), float(distance[bonded].mean())
