"""Fit size models to a trained denoiser, one to pockets as they are cut around a ligand, one to those around a centre.

`python scripts/fit_size_models.py best_denoiser.pt fitted.pt --data FULL`

Training beside the denoiser sees pockets cut at random radii, so that its size model learns little from how many atoms
a pocket has. The state with the smallest mean loss on the validation complexes is kept.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ligandsmith.checkpoints.export import slim
from ligandsmith.checkpoints.files import load_checkpoint, save_checkpoint
from ligandsmith.config import MIN_ATOMS, SITE_RADIUS, PocketConfig
from ligandsmith.data.dataset import ComplexDataset, Split
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.models.latent_diffusion import SizeModel, size_nats
from ligandsmith.models.size import CUTS, FittedSizeModel
from ligandsmith.records import Complex, Pocket
from ligandsmith.structure.pocket import mark_pocket, sphere

CENTER_SPREAD = 1.0  # Å per axis, of a centre about that of the ligand

Examples = tuple[Tensor, Tensor]  # features [n, F] of pockets, atoms [n] of their ligands


def pocket_of(record: Complex, cut: str, config: PocketConfig, rng: np.random.Generator) -> Pocket:
    """The record's pocket as generation cuts it around its ligand, or around a point near the ligand's centre."""
    assert record.pocket is not None
    if cut == "ligand":
        return mark_pocket(record.pocket, record.ligand.x, config)
    point = (record.ligand.x.mean(0) + rng.normal(0, CENTER_SPREAD, 3)).astype(np.float32)
    return mark_pocket(replace(record.pocket, center=point), point[None], sphere(config, SITE_RADIUS))


@torch.inference_mode()
def examples(generator: LigandGenerator, data: ComplexDataset, cut: str, seed: int, limit: int) -> tuple[Examples, str]:
    """Features of the complexes, and how well the general size model does on them."""
    rng, reader = np.random.default_rng(seed), FittedSizeModel(generator.config.pocket_vae.latent_width)
    general: SizeModel = generator.model.size
    features, atoms, logits = [], [], []
    for index in range(min(len(data), limit)):
        record = data[index]
        latents, _ = generator.encode(pocket_of(record, cut, generator.config.pocket, rng))
        features.append(reader.features(latents))
        logits.append(general(latents))
        atoms.append(record.ligand.num_atoms)
    return (torch.cat(features), torch.tensor(atoms)), summary(torch.cat(logits), torch.tensor(atoms))


def summary(logits: Tensor, atoms: Tensor) -> str:
    """Loss, and how far the mean of the predicted sizes is from the true one."""
    mean = logits.softmax(-1) @ torch.arange(MIN_ATOMS, MIN_ATOMS + logits.shape[-1], dtype=torch.float32)
    error = mean - atoms
    return f"{float(size_nats(logits, atoms).mean()):.3f} nats, {float(error.mean()):+.1f} atoms on average, " \
        f"{float(error.abs().mean()):.1f} off"  # fmt: skip


def fit(model: FittedSizeModel, train: Examples, held_out: Examples, epochs: int, rate: float) -> str:
    """Leaves the model in the state that is best on the held-out pockets; returns how good that is."""
    features, atoms = train
    model.mean.copy_(features.mean(0))
    model.scale.copy_(features.std(0) + 1e-3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.03)
    best, state, words = float("inf"), {}, ""
    for epoch in range(1, epochs + 1):
        model.train()
        for rows in torch.randperm(len(atoms)).split(64):
            loss = size_nats(model.logits(features[rows]), atoms[rows]).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        with torch.no_grad():
            logits = model.logits(held_out[0])
        nats = float(size_nats(logits, held_out[1]).mean())
        if nats < best:
            best, state = nats, {name: value.clone() for name, value in model.state_dict().items()}
            words = f"{summary(logits, held_out[1])} (epoch {epoch})"
    model.load_state_dict(state)
    return words


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="default: the data set that comes with the package")
    parser.add_argument("--limit", type=int, default=10**9, help="complexes of each split")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    generator = load(args.checkpoint)
    content = slim(load_checkpoint(args.checkpoint))
    splits: tuple[Split, ...] = ("train", "validation")
    for cut in CUTS:
        torch.manual_seed(args.seed)
        (train, _), (held_out, before) = (
            examples(generator, ComplexDataset(args.data, split), cut, args.seed + number, args.limit)
            for number, split in enumerate(splits)
        )
        model = FittedSizeModel(generator.config.pocket_vae.latent_width)
        after = fit(model, train, held_out, args.epochs, args.learning_rate)
        print(f"around a {cut}: {before}; fitted to it: {after}", flush=True)
        content["diffusion_state"] |= {f"fitted_sizes.{cut}.{k}": v for k, v in model.state_dict().items()}
    pocket = asdict(replace(generator.config.pocket, fitted_sizes=True))
    save_checkpoint(args.out, content | {"config": content["config"] | {"pocket": pocket}})


if __name__ == "__main__":
    main()
