"""Train and validation loss of one model state, by one code path, on equally many records; prints JSON lines.

`python -m benchmarks loss_parity --checkpoint src/ligandsmith/weights/denoiser_tiny.pt`
"Train" records are treated as validation records are (no augmentation), so that the difference is generalisation alone.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import report
from ligandsmith.batches import collate
from ligandsmith.checkpoints.files import averaged_vae_state, load_checkpoint
from ligandsmith.config import Config, from_dict
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import to_frame
from ligandsmith.diffusion.rng import step_seeds
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.structure.vocabulary import Vocabulary
from ligandsmith.training.losses import DiffusionTraining
from ligandsmith.training.vae_losses import VAETraining

BATCH = 8


def training_module(path: Path) -> tuple[torch.nn.Module, Config, Vocabulary]:
    """The module whose loss a checkpoint was trained on, with its weights for use."""
    content = load_checkpoint(path)
    config, vocabulary = from_dict(Config, content["config"]), Vocabulary.from_dict(content["vocabulary"])
    vaes = build_vaes(config, vocabulary)
    if content["kind"].endswith("_vae"):
        name = content["kind"].removesuffix("_vae")
        vaes[name].load_state_dict(averaged_vae_state(content, name))
        return VAETraining(vaes[name], name), config, vocabulary
    for name in vaes:
        vaes[name].load_state_dict(averaged_vae_state(content, name))
    model = DiffusionModel(config)
    model.load_state_dict(content["diffusion_state"])
    return DiffusionTraining(model, vaes, {}), config, vocabulary


def _shuffle_gap(module: torch.nn.Module, config: Config, vocabulary: Vocabulary, normal: float) -> None:
    """Validation loss with every ligand in another ligand's pocket: what it gains on the right one is conditioning."""
    data = ComplexDataset(None, "validation")
    records = [to_frame(data[i], config.pocket) for i in range(len(data))]
    swapped = [replace(r, pocket=records[i - 1].pocket) for i, r in enumerate(records)]
    losses = []
    for number, begin in enumerate(range(0, len(records), BATCH)):
        chunk = swapped[begin : begin + BATCH]
        seeds = step_seeds(7, number, len(chunk), (0, 1), torch.device("cpu"))
        losses.append(
            module(collate(chunk, vocabulary), *seeds, torch.full((len(chunk),), 1 / len(chunk))).per_molecule
        )
    shuffled = float(torch.cat(losses).mean())
    report(benchmark="pocket_shuffle", n=len(records), normal=normal, shuffled=shuffled, gap=shuffled - normal)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    module, config, vocabulary = training_module(args.checkpoint)
    means = {}
    for mode in ("train", "eval"):
        module.train(mode == "train")
        for split in ("train", "validation"):
            data = ComplexDataset(None, split)
            count = len(ComplexDataset(None, "validation"))
            chosen = np.linspace(0, len(data) - 1, count).astype(int)
            losses = []
            for number, begin in enumerate(range(0, count, BATCH)):
                records = [to_frame(data[int(i)], config.pocket) for i in chosen[begin : begin + BATCH]]
                n = len(records)
                seeds = step_seeds(7, number, n, (0, 1), torch.device("cpu"))
                losses.append(module(collate(records, vocabulary), *seeds, torch.full((n,), 1 / n)).per_molecule)
            values = torch.cat(losses)
            means[mode, split] = values
            report(
                benchmark="loss_parity", checkpoint=args.checkpoint.name, mode=mode, split=split, n=count,
                loss=float(values.mean()), standard_error=float(values.std() / count**0.5),
            )  # fmt: skip
    if isinstance(module, DiffusionTraining):
        _shuffle_gap(module.eval(), config, vocabulary, float(means["eval", "validation"].mean()))
    gap = max(float((means["train", s] - means["eval", s]).abs().max()) for s in ("train", "validation"))
    report(benchmark="loss_parity", checkpoint=args.checkpoint.name, largest_difference_of_modes=gap)


if __name__ == "__main__":
    main()
