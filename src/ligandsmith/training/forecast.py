"""What a training run will need, from one small step of it: parameters, memory, complexes a second.

Memory of a step = weights, gradients, optimizer state and average, plus what autograd keeps, which grows with the
number of molecules in the batch. The second part is counted tensor by tensor in two small batches and extrapolated
linearly.
"""

import time
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import Config
from ligandsmith.diffusion.rng import step_seeds
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.options import DataOptions
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.gradient_checkpointing import enable_gradient_checkpointing
from ligandsmith.training.loaders import Loaders, TrainingPopulation, make_loaders
from ligandsmith.training.losses import DiffusionTraining
from ligandsmith.training.vae_losses import VAE_LOSSES, VAETraining

COPIES = 5  # weights, gradients, their average, and at most two moments of the optimizer, in single precision
BATCH_SIZES = (2, 6)  # molecules of the two batches


@dataclass(frozen=True)
class Forecast:
    """Of one stage at one batch size. Bytes, seconds."""

    stage: str
    parameters: int
    state_bytes: int
    activation_bytes: int
    seconds_per_step: float
    batch_size: int

    def line(self) -> str:
        """One row of the table that `doctor` prints."""
        total = (self.state_bytes + self.activation_bytes) / 2**30
        return (
            f"{self.stage:<12} {self.parameters / 1e6:7.2f} M   {total:6.2f} GiB "
            f"(state {self.state_bytes / 2**30:.2f})   {self.batch_size / self.seconds_per_step:8.1f}/s   "
            f"{self.seconds_per_step:8.2f} s a step"
        )


def forecasts(
    config: Config, data: DataOptions, device: torch.device, gradient_checkpointing: bool = False
) -> list[Forecast]:
    """Of the two VAEs, the denoiser with both frozen, and joint training, on records of the data set."""
    vaes = build_vaes(config, VOCABULARY)
    ligands, pockets, complexes = (
        make_loaders(data, population, config, VOCABULARY) for population in get_args(TrainingPopulation)
    )
    ligand = _forecast("ligand VAE", VAETraining(vaes["ligand"], "ligand"), ligands, device)
    protein = _forecast("protein VAE", VAETraining(vaes["protein"], "protein"), pockets, device)
    joint = _forecast("joint", DiffusionTraining(DiffusionModel(config), vaes, VAE_LOSSES), complexes, device)
    # last: it takes the VAEs apart from training
    module = DiffusionTraining(DiffusionModel(config), vaes, {})
    if gradient_checkpointing:
        enable_gradient_checkpointing(module)
    return [ligand, protein, _forecast("denoiser", module, complexes, device), joint]


def _forecast(name: str, module: nn.Module, loaders: Loaders, device: torch.device) -> Forecast:
    """Two small batches from the middle of the sizes, one timed step of the larger."""
    module.to(device)
    if isinstance(module, DiffusionTraining):
        module.move_frozen(device)
    sizes = loaders.train_sampler.sizes[: loaders.train_sampler.always]
    middle = sizes.argsort(kind="stable")[len(sizes) // 2 :]
    bytes_kept, seconds = [], 0.0
    for count in BATCH_SIZES:
        records = [loaders.train.dataset[(0, int(i))] for i in middle[:count]]  # type: ignore[index]
        batch = collate(records, VOCABULARY).to(device)
        kept, seconds = _step(module, batch)
        bytes_kept.append(kept)
    per_molecule = max(0.0, (bytes_kept[1] - bytes_kept[0]) / (BATCH_SIZES[1] - BATCH_SIZES[0]))
    number = loaders.train_sampler.global_batch
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return Forecast(
        stage=name,
        parameters=trainable,
        state_bytes=4 * COPIES * trainable,
        activation_bytes=round(bytes_kept[1] + (number - BATCH_SIZES[1]) * per_molecule),
        seconds_per_step=seconds * number / BATCH_SIZES[1],
        batch_size=number,
    )


def _step(module: nn.Module, batch: ComplexBatch) -> tuple[int, float]:
    """Bytes that autograd keeps, and seconds of a second step (the first warms up)."""
    device, count = batch.ligand.x.device, len(batch.ids)
    weight = torch.full((count,), 1 / count, device=device)
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def step() -> None:
        report = module(batch, *step_seeds(0, 0, count, (0, 1), device), weight)
        report.objective.backward()
        module.zero_grad(set_to_none=True)

    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    began = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return sum(size for place, size in storages.items() if place not in own), time.perf_counter() - began
