"""Which equivariant block recovers noised coordinates best in a fixed budget of one core?

Coordinates of real ligands are noised by 0.15 Å per axis; a small network of four blocks sees them and the noise-free
latents z_h of a trained ligand VAE, and returns the coordinates. Per block, the last line printed has the mean squared
error on held-out molecules over that of the noised input (1: no denoising), and the r.m.s. error of bond lengths in Å.
It costs minutes and no sampler is involved, so every change of a block can be judged by it first.
"""

import argparse
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ligandsmith.batches import LigandBatch, collate, collate_ligands
from ligandsmith.checkpoints.files import load_vae
from ligandsmith.config import BlockConfig, LigandVAEConfig, OptimizerConfig, preset
from ligandsmith.data.collate import BucketSampler
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import to_frame
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.rng import step_seeds
from ligandsmith.models.backbones import BLOCKS
from ligandsmith.models.layers import RadialBasis, RadialLinear, dense_edges
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.losses import bonded_pairs, distance_error
from ligandsmith.training.optim import make_optimizer
from ligandsmith.training.vae_losses import VAETraining

NOISE = 0.15  # Å per axis
WIDTH, EDGE_WIDTH, LAYERS = 96, 48, 4
HELD_OUT = 500
WARMUP_STEPS = 30
SHIPPED_VAE = "ligand_vae_tiny.pt"
LOG = logging.getLogger("denoise_proxy")

Batch = tuple[LigandBatch, Tensor]  # ligands and their latents [B, N, Z]


@dataclass(frozen=True)
class Molecules:
    """Records in their own frames, with the latent means [N, Z] of each, scaled to unit variance."""

    records: list[Complex]
    latents: list[Tensor]

    @property
    def sizes(self) -> list[int]:
        return [record.ligand.num_atoms for record in self.records]

    def batch(self, indices: Sequence[int]) -> Batch:
        """The listed molecules, padded."""
        ligand = collate_ligands([self.records[i].ligand for i in indices], VOCABULARY)
        latents = nn.utils.rnn.pad_sequence([self.latents[i] for i in indices], batch_first=True)
        return ligand, latents


class ProxyNetwork(nn.Module):
    """Latents -> scalars, distances -> edge states, blocks that move the atoms."""

    def __init__(self, block: str, latent_width: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(latent_width, WIDTH)
        self.pair_embedding = RadialLinear(EDGE_WIDTH)
        self.blocks = nn.ModuleList(BLOCKS[block](BlockConfig(WIDTH, EDGE_WIDTH)) for _ in range(LAYERS))
        self.basis = RadialBasis()

    def forward(self, x: Tensor, z_h: Tensor, mask: Tensor) -> Tensor:
        """x [B, N, 3] Å, z_h [B, N, Z] -> coordinates [B, N, 3] Å."""
        s, pair = self.embedding(z_h), None
        for block in self.blocks:
            edges = dense_edges(x, mask, self.basis)
            s, move, pair = block(s, None, edges, self.pair_embedding(edges.radial) if pair is None else pair)
            x = x + move * mask.unsqueeze(-1)
        return x


def train(
    network: nn.Module, sampler: BucketSampler, loss: Callable[[int, list[int]], Tensor],
    optimizer: torch.optim.Optimizer, seconds: float,
) -> int:  # fmt: skip
    """Steps of `loss(step, indices)` until `seconds` of processor time are spent; warm-up, cosine to zero. -> steps."""
    step, start, total = 0, time.process_time(), 0.0
    while True:
        for batch in sampler:
            spent = (time.process_time() - start) / seconds
            if spent >= 1:
                return step
            factor = min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * spent))
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("peak", group["lr"]) * factor
            optimizer.zero_grad()
            value = loss(step, [index for _, index in batch])
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0, error_if_nonfinite=True)
            optimizer.step()
            step, total = step + 1, total + value.item()
            if step % 200 == 0:
                LOG.info("step %d, %.0f s, loss %.4f", step, spent * seconds, total / 200)
                total = 0.0
        sampler.epoch += 1


def squared_error(x: Tensor, ligand: LigandBatch) -> Tensor:
    """Sum of the squared error (Å²) over real atoms."""
    return ((x - ligand.x).square() * ligand.mask.unsqueeze(-1)).sum()


def bond_errors(x: Tensor, ligand: LigandBatch) -> Tensor:
    """Errors of the bond lengths, Å, [bonds of the batch]."""
    row, i, j = torch.nonzero(ligand.bonds.triu(), as_tuple=True)
    return (x[row, i] - x[row, j]).norm(dim=-1) - (ligand.x[row, i] - ligand.x[row, j]).norm(dim=-1)


@torch.no_grad()
def evaluate(network: nn.Module, held_out: Molecules) -> dict[str, float]:
    """MSE ratio and bond-length r.m.s. errors on held-out molecules, with noise that is the same in every run."""
    order = np.argsort(held_out.sizes, kind="stable").tolist()
    errors_in, errors_out, bonds_in, bonds_out = [], [], [], []
    for begin in range(0, len(order), 25):
        indices = order[begin : begin + 25]
        ligand, z_h = held_out.batch(indices)
        noised = ligand.x + NOISE * rng.normal(rng.make_seeds(1, torch.tensor(indices)), "x", ligand.x.shape[1:])
        x = network(noised, z_h, ligand.mask)
        errors_in.append(squared_error(noised, ligand))
        errors_out.append(squared_error(x, ligand))
        bonds_in.append(bond_errors(noised, ligand))
        bonds_out.append(bond_errors(x, ligand))
    return {
        "mse_ratio": round((sum(errors_out) / sum(errors_in)).item(), 4),  # type: ignore[union-attr]
        "bond_rms": round(torch.cat(bonds_out).square().mean().sqrt().item(), 4),
        "bond_rms_input": round(torch.cat(bonds_in).square().mean().sqrt().item(), 4),
    }


def run_block(block: str, molecules: tuple[Molecules, Molecules], arguments: argparse.Namespace) -> dict[str, float]:
    """Train the proxy with one kind of block and measure it."""
    training, held_out = molecules
    torch.manual_seed(arguments.seed)
    network = ProxyNetwork(block, training.latents[0].shape[1])

    def loss(step: int, indices: list[int]) -> Tensor:
        ligand, z_h = training.batch(indices)
        seeds = step_seeds(arguments.seed, step, len(indices), (0, 1), torch.device("cpu"))[0]
        noised = ligand.x + NOISE * rng.normal(seeds, "x", ligand.x.shape[1:])
        x = network(noised, z_h, ligand.mask)
        lengths = torch.stack([distance_error(x, ligand.x, pairs).mean() for pairs in bonded_pairs(ligand.bonds)])
        mse = squared_error(x, ligand) / (3 * ligand.mask.sum())
        return (mse + arguments.distance_weight * lengths.sum()) / NOISE**2

    sampler = BucketSampler(np.array(training.sizes), arguments.batch_size, seed=arguments.seed)
    setting = OptimizerConfig(name=arguments.optimizer, muon_lr_ratio=arguments.matrix_lr / arguments.lr)
    optimizer = make_optimizer(network, setting, arguments.lr)
    start = time.perf_counter()
    steps = train(network, sampler, loss, optimizer, arguments.seconds)
    wall = round(time.perf_counter() - start, 1)
    parameters = sum(p.numel() for p in network.parameters())
    return evaluate(network, held_out) | {"steps": steps, "wall_s": wall, "params": parameters}


def trained_vae(path: Path | None, records: list[Complex], seconds: float) -> LigandVAE:
    """The ligand VAE of a checkpoint; without one, the `tiny` one after `seconds` of training on the records."""
    if path is not None:
        loaded = load_vae(path, "ligand")
        vae = LigandVAE(loaded.config, loaded.vocabulary)
        vae.load_state_dict(loaded.state)
        return vae
    config: LigandVAEConfig = preset("tiny").ligand_vae
    LOG.info("no checkpoint of a ligand VAE: training one for %.0f s", seconds)
    torch.manual_seed(0)
    vae = LigandVAE(config, VOCABULARY)
    training = VAETraining(vae, "ligand")

    def loss(step: int, indices: list[int]) -> Tensor:
        batch = collate([records[i] for i in indices], VOCABULARY)
        seeds = step_seeds(0, step, len(indices), (0, 1), torch.device("cpu"))
        return training(batch, *seeds, torch.full((len(indices),), 1 / len(indices))).total

    sampler = BucketSampler(np.array([r.ligand.num_atoms for r in records]), 16, seed=0)
    train(vae, sampler, loss, make_optimizer(vae, OptimizerConfig(), 3e-3), seconds)
    return vae


@torch.no_grad()
def encoded(vae: LigandVAE, records: list[Complex]) -> list[Tensor]:
    """Posterior means [N, Z] of the records, in order."""
    out: dict[int, Tensor] = {}
    order = np.argsort([r.ligand.num_atoms for r in records], kind="stable").tolist()
    for begin in range(0, len(order), 64):
        indices = order[begin : begin + 64]
        mean = vae.encode(collate_ligands([records[i].ligand for i in indices], vae.vocabulary)).mean_h
        out |= {i: row[: records[i].ligand.num_atoms].clone() for i, row in zip(indices, mean, strict=True)}
    return [out[i] for i in range(len(records))]


def load_molecules(arguments: argparse.Namespace) -> tuple[Molecules, Molecules]:
    """Training and held-out molecules of a data set, with latents."""
    frame = preset("tiny").pocket
    training, held_out = (
        [to_frame(data[int(i)], frame) for i in np.random.default_rng(0).permutation(len(data))[:limit]]
        for data, limit in (
            (ComplexDataset(arguments.data, "train", kind="ligands"), arguments.molecules),
            (ComplexDataset(arguments.data, "validation", kind="ligands"), HELD_OUT),
        )
    )
    path = arguments.vae
    if path is None:
        shipped = Path(str(resources.files("ligandsmith") / "weights" / SHIPPED_VAE))
        path = shipped if shipped.is_file() else None
    vae = trained_vae(path, training, arguments.vae_seconds).eval()
    latents = encoded(vae, training)
    scale = torch.cat(latents).std(0)
    return (
        Molecules(training, [z / scale for z in latents]),
        Molecules(held_out, [z / scale for z in encoded(vae, held_out)]),
    )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--block", choices=[*BLOCKS, "all"], default="all")
    parser.add_argument("--seconds", type=float, default=200.0, help="processor time of one core per block")
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="muon")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak learning rate of AdamW")
    parser.add_argument("--matrix_lr", type=float, default=0.02, help="peak learning rate of Muon")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--distance_weight", type=float, default=0.3, help="of bond and 1-3 distances")
    parser.add_argument("--molecules", type=int, default=4000, help="training molecules, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of a prepared data set (default: the shipped one)")
    parser.add_argument("--vae", type=Path, help="checkpoint of a ligand VAE (default: the shipped weights)")
    parser.add_argument("--vae_seconds", type=float, default=200.0, help="training of a VAE if there is no checkpoint")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the blocks and print one JSON line."""
    arguments = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    molecules = load_molecules(arguments)
    blocks = list(BLOCKS) if arguments.block == "all" else [arguments.block]
    results = {block: run_block(block, molecules, arguments) for block in blocks}
    setting = {key: str(value) if isinstance(value, Path) else value for key, value in vars(arguments).items()}
    counts = {"training": len(molecules[0].records), "held_out": len(molecules[1].records)}
    print(json.dumps({"benchmark": "denoise_proxy", "setting": setting, "molecules": counts, "blocks": results}))


if __name__ == "__main__":
    main()
