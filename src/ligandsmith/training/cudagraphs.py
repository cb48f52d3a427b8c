"""Training steps as CUDA graphs: a step of thousands of small kernels is captured once for each shape of batch and then
replayed by one call, so that the GPU does not wait for the CPU.

Batches are padded to static shapes (`data.static_shapes`). Padding rows have no weight in the loss.
"""

from typing import Any

import torch
from torch import Tensor

from ligandsmith.batches import ComplexBatch
from ligandsmith.diffusion import rng
from ligandsmith.errors import LigandsmithError
from ligandsmith.models.cudagraph import tensors
from ligandsmith.training.losses import DiffusionTraining, uses_self_conditioning
from ligandsmith.training.microbatch import LossInputs
from ligandsmith.training.optim import MuonAdamW
from ligandsmith.training.trainer import Trainer

BETWEEN_READINGS = 25  # batches; reading the loss waits for the GPU


class GraphTrainer(Trainer):
    """The loop on one GPU, with the networks' step, the clipping and the optimizer in one graph."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        module = self.stage.module
        options, several = self.options, self.ranks[1] > 1
        trained = not isinstance(module, DiffusionTraining) or bool(module.trained)
        if trained or several or options.accumulate > 1 or options.pair_budget:
            raise LigandsmithError(
                "--cuda_graphs: for a denoiser on frozen VAEs, on one GPU, without --accumulate and --pair_budget"
            )
        assert isinstance(module, DiffusionTraining)
        raw = getattr(self.optimizer, "optimizer", self.optimizer)
        if not isinstance(raw, MuonAdamW):
            raise LigandsmithError(f"--cuda_graphs: optimizer '{self.optimizer_config.name}' cannot; choose muon")
        self.captured = CapturedStep(module, raw, self.optimizer_config.clip_norm, self.fabric)
        self.unread = 0  # molecules whose loss is still on the GPU

    def _batch(self, batch: ComplexBatch, weight: Tensor, size: int, step_now: bool) -> None:
        """One optimizer step; its loss stays on the GPU."""
        p, o = self.progress, self.options
        seeds = rng.step_seeds(o.seed, self._draw_number(), len(batch.ids), self.ranks, torch.device("cpu"))
        self.captured(batch, seeds, self._rate())
        self.average.update_parameters(self.module)
        self.unread += len(batch.ids)
        p.step += 1
        if p.step % BETWEEN_READINGS == 0 or p.batch + 1 == len(self.loaders.train_sampler):
            self._read()

    def _read(self) -> None:
        """Add the loss of the batches since the last reading to the progress."""
        p = self.progress
        loss, molecules, bad = self.captured.sums.tolist()
        self.captured.sums.zero_()
        p.loss_sum, p.molecules, p.skipped = p.loss_sum + loss, p.molecules + molecules, p.skipped + int(bad)
        self.unread = 0
        self._write("train", {"total": loss / max(molecules, 1)}, self.progress.step)
        if bad >= BETWEEN_READINGS:
            raise LigandsmithError(
                f"{int(bad)} steps had non-finite gradients (epoch {p.epoch}, step {p.step}); lower --learning_rate "
                "or turn mixed precision off with --no-use_amp"
            )

    def _save(self, *args: Any) -> None:
        if self.unread:
            self._read()
        super()._save(*args)


class CapturedStep:
    """One optimizer step on a batch. The first batch of a shape runs eagerly; the second is captured."""

    def __init__(self, module: DiffusionTraining, optimizer: MuonAdamW, clip_norm: float, fabric: Any) -> None:
        self.module, self.optimizer, self.clip_norm, self.fabric = module, optimizer, clip_norm, fabric
        self.device = fabric.device
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.gradients = [torch.zeros_like(p) for p in self.parameters]
        for p, gradient in zip(self.parameters, self.gradients, strict=True):
            p.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = torch.zeros((), device=self.device)
            group["count"] = torch.as_tensor(float(group.get("count", 0)), device=self.device)
        self.sums = torch.zeros(3, device=self.device, dtype=torch.float64)  # Σ loss, molecules, skipped steps
        # By shape: the graph and its inputs; None after the eager run.
        self.graphs: dict[Any, tuple[torch.cuda.CUDAGraph, LossInputs] | None] = {}
        self.pool = None
        if self.device.type == "cuda":
            # All graphs share a pool: they never run at the same time. Capturing needs a stream of its own, and what
            # reads the weights, such as their average, must run in it.
            self.pool = torch.cuda.graph_pool_handle()
            torch.cuda.synchronize()
            torch.cuda.set_stream(torch.cuda.Stream())

    def __call__(self, batch: ComplexBatch, seeds: tuple[Tensor, Tensor], rate: float) -> None:
        """A step at learning rate `rate`. `seeds` are those of the molecules and of the step."""
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate * group["lr_ratio"])
        inputs = padded_inputs(batch, *seeds)
        shapes = tuple(t.shape for t in _on_gpu(inputs))
        signature = (shapes, batch.num_with_pocket, uses_self_conditioning(inputs.step_seed))
        if self.pool is None or signature not in self.graphs:
            self.graphs[signature] = None
            self._work(self._on_device(inputs))
            return
        graph, static = self.graphs[signature] = self.graphs[signature] or self._capture(inputs)
        for place, value in zip(_on_gpu(static), _on_gpu(inputs), strict=True):
            place.copy_(value, non_blocking=True)
        graph.replay()

    def _on_device(self, inputs: LossInputs) -> LossInputs:
        batch = inputs.batch.to(self.device)
        return LossInputs(batch, inputs.seeds.to(self.device), inputs.step_seed, inputs.weight.to(self.device))

    def _capture(self, inputs: LossInputs) -> "tuple[torch.cuda.CUDAGraph, LossInputs]":
        static = self._on_device(inputs)
        graph = torch.cuda.CUDAGraph()
        # The thread that pins the next batches may call the driver meanwhile.
        with torch.cuda.graph(
            graph, pool=self.pool, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
        ):
            self._work(static)
        return graph, static

    def _work(self, inputs: LossInputs) -> None:
        """Everything of a step that happens on the device; nothing here may wait for a result."""
        torch._foreach_zero_(self.gradients)
        with self.fabric.autocast():
            report = self.module(*inputs)
        report.objective.backward()
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(self.gradients)))
        usable = norm.isfinite() & report.total.isfinite()
        torch._foreach_mul_(self.gradients, (self.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        for gradient in self.gradients:
            gradient.masked_fill_(~usable, 0.0)
        for group in self.optimizer.param_groups:
            group["lr"].mul_(usable)  # the weights stay unchanged
        self.optimizer.step()
        size = (inputs.weight > 0).sum()
        loss = torch.where(usable, report.total.detach() * size, 0.0)
        self.sums.add_(torch.stack([loss.double(), torch.where(usable, size, 0).double(), (~usable).double()]))


def _on_gpu(inputs: LossInputs) -> list[Tensor]:
    """The tensors of the inputs that a captured step reads, in order."""
    return tensors((inputs.batch, inputs.seeds, inputs.weight))


def padded_inputs(batch: ComplexBatch, molecule_seeds: Tensor, step_seed: Tensor) -> LossInputs:
    """Inputs of a padded batch: seeds [rows] and equal weights, zero for padding rows.

    Raises LigandsmithError if the pockets would have to be encoded.
    """
    if batch.pocket is None or batch.pocket.latent is None:
        raise LigandsmithError("--cuda_graphs: a batch without stored pocket latents; add --cache_latents")
    rows, size = len(batch.ligand.mask), len(batch.ids)
    seeds, weight = torch.zeros(rows, dtype=torch.long), torch.zeros(rows)
    seeds[:size], weight[:size] = molecule_seeds, 1 / size
    if torch.cuda.is_available():
        seeds, weight = seeds.pin_memory(), weight.pin_memory()
    return LossInputs(batch, seeds, step_seed, weight)
