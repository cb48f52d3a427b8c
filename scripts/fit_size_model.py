"""Train the size model of a denoiser further, alone, on pockets cut as they are when ligands are generated.

`python scripts/fit_size_model.py best_denoiser.pt fitted.pt --data FULL`

Training beside the denoiser sees pockets cut at random radii, so that it learns little from how many atoms a pocket
has. Here each pocket is encoded twice: cut around its ligand, and around a point near the ligand's centre. The state
with the smallest mean loss on the validation complexes is kept.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ligandsmith.config import PocketConfig
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import mark_pocket
from ligandsmith.generation import LigandGenerator, load
from ligandsmith.models.latents import PocketLatents, pocket_latents
from ligandsmith.models.size import SizeModel
from ligandsmith.training.checkpoint import load_checkpoint, save_checkpoint
from ligandsmith.training.sharing import slim
from ligandsmith.types import Complex, Pocket

CENTRE_RADIUS = 10.0  # Å, as `read_pocket` has it around a centre
CENTRE_SPREAD = 1.0  # Å per axis, of a centre about the ligand's
CUTS = ("around the ligand", "around a centre")

Example = tuple[Tensor, Tensor, int]  # coordinates [M, 3] Å and latents [M, Z] of a pocket, atoms of its ligand


def around_ligand(record: Complex, config: PocketConfig) -> Pocket:
    """The record's pocket as a reference ligand cuts it."""
    assert record.pocket is not None
    return mark_pocket(record.pocket, record.ligand.x, config)


def around_centre(record: Complex, config: PocketConfig, rng: np.random.Generator) -> Pocket:
    """The record's pocket as a point near the ligand's centre cuts it."""
    assert record.pocket is not None
    point = (record.ligand.x.mean(0) + rng.normal(0, CENTRE_SPREAD, 3)).astype(np.float32)
    shape = replace(config, radius=CENTRE_RADIUS, calpha_radius=CENTRE_RADIUS + config.calpha_radius - config.radius)
    return mark_pocket(replace(record.pocket, center=point), point[None], shape)


@torch.inference_mode()
def examples(generator: LigandGenerator, data: ComplexDataset, limit: int | None = None) -> dict[str, list[Example]]:
    """Of every complex the encoded pocket, by the way it is cut."""
    rng, config = np.random.default_rng(0), generator.config.pocket
    found: dict[str, list[Example]] = {cut: [] for cut in CUTS}
    for index in range(min(len(data), limit or len(data))):
        record = data[index]
        for cut, pocket in zip(CUTS, (around_ligand(record, config), around_centre(record, config, rng)), strict=True):
            latents, _ = generator.encode(pocket)
            found[cut].append((latents.x[0].clone(), latents.h[0].clone(), record.ligand.num_atoms))
    return found


def batch_of(chosen: list[Example]) -> tuple[PocketLatents, Tensor]:
    """Padded pockets and the atoms of their ligands."""
    x, h = (torch.nn.utils.rnn.pad_sequence([example[k] for example in chosen], batch_first=True) for k in (0, 1))
    length = torch.tensor([len(example[0]) for example in chosen])
    mask = torch.arange(x.shape[1]) < length.unsqueeze(-1)
    return pocket_latents(x, h, mask, 0), torch.tensor([example[2] for example in chosen])


@torch.no_grad()
def mean_loss(model: SizeModel, held_out: list[Example]) -> float:
    """Nats a pocket."""
    return float(model.loss(*batch_of(held_out)).mean())


def fit(
    model: SizeModel, train: dict[str, list[Example]], held_out: dict[str, list[Example]], epochs: int, rate: float
) -> None:
    """Leaves the model in the state that is best on the held-out complexes, both cuts weighing the same."""
    every = [example for cut in CUTS for example in train[cut]]
    with torch.no_grad():
        pockets = [len(example[0]) for example in every]
        model.fit_histogram(torch.tensor(pockets), torch.tensor([example[2] for example in every]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2)
    best, state = float("inf"), {}
    for epoch in range(epochs):
        for rows in torch.randperm(len(every)).split(64):
            loss = model.loss(*batch_of([every[row] for row in rows.tolist()])).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        losses = {cut: mean_loss(model, held_out[cut]) for cut in CUTS}
        if (mean := sum(losses.values())) < best:
            best, state = mean, {name: value.clone() for name, value in model.state_dict().items()}
            print(f"Epoch {epoch + 1}: " + ", ".join(f"{cut} {loss:.3f}" for cut, loss in losses.items()), flush=True)
    model.load_state_dict(state)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="default: the data set that comes with the package")
    parser.add_argument("--limit", type=int, help="complexes of each split")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    generator = load(args.checkpoint)
    sets = {split: examples(generator, ComplexDataset(args.data, split), seed)
            for seed, split in enumerate(("train", "validation"))}  # fmt: skip
    model = generator.model.size.requires_grad_(True)
    before = {cut: mean_loss(model, sets["validation"][cut]) for cut in CUTS}
    print("Before: " + ", ".join(f"{cut} {loss:.3f}" for cut, loss in before.items()), flush=True)
    fit(model, sets["train"], sets["validation"], args.epochs, args.learning_rate)
    content = slim(load_checkpoint(args.checkpoint))
    content["diffusion_state"] |= {f"size.{name}": value for name, value in model.state_dict().items()}
    save_checkpoint(args.out, content)


if __name__ == "__main__":
    main()
