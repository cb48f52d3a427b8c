"""Training steps as CUDA graphs: a step of thousands of small kernels is recorded once for each shape of batch and then
played again by one call, so that the GPU no longer waits for the CPU.

Batches come padded to few shapes (`data.shapes`); rows that only pad have no weight in the loss.
"""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from ligandsmith.batches import ComplexBatch
from ligandsmith.errors import LigandsmithError
from ligandsmith.training.modules import DiffusionTraining, StepKeys, step_keys
from ligandsmith.training.objective import self_conditions
from ligandsmith.training.optim.muon import MuonAdamW
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
        self.graphed = GraphedStep(module, raw, self.optimizer_config.clip_norm, self.fabric)
        self.unread = 0  # molecules whose loss is still on the GPU

    def _batch(self, batch: ComplexBatch, step_now: bool) -> None:
        p, o = self.progress, self.options
        keys = step_keys(o.seed, self._draw_number(), len(batch.ids), self.ranks, torch.device("cpu"))
        self.graphed(batch, keys, self._rate())
        self.average.update(self.stage.module)
        self.unread += len(batch.ids)
        p.step += 1
        if p.step % BETWEEN_READINGS == 0 or p.batch + 1 == len(self.loaders.train_sampler):
            self._read()

    def _read(self) -> None:
        """Bring the loss of the batches since the last time into the books."""
        p = self.progress
        loss, molecules, bad = self.graphed.sums.tolist()
        self.graphed.sums.zero_()
        p.loss_sum, p.molecules, p.skipped = p.loss_sum + loss, p.molecules + molecules, p.skipped + int(bad)
        self.unread = 0
        self._write("train", {"total": loss / max(molecules, 1)})
        if bad >= BETWEEN_READINGS:
            raise LigandsmithError(
                f"{int(bad)} steps had non-finite gradients (epoch {p.epoch}, step {p.step}); lower --learning_rate "
                "or turn mixed precision off with --no-use_amp"
            )

    def _save(self, *args: Any) -> None:
        if self.unread:
            self._read()
        super()._save(*args)


class GraphedStep:
    """One optimizer step on a batch. The first batch of a shape goes through as usual; the second is recorded."""

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
        self.sums = torch.zeros(3, device=self.device, dtype=torch.float64)  # Σ loss, molecules, steps without effect
        self.recorded: dict[Any, Recorded | None] = {}  # by signature; None: gone through once
        self.pool = None
        if self.device.type == "cuda":
            # All graphs in one pool: they never run at the same time. Recording needs a stream of its own, and what
            # reads the weights, such as their average, must follow in it.
            self.pool = torch.cuda.graph_pool_handle()
            torch.cuda.synchronize()
            torch.cuda.set_stream(torch.cuda.Stream())

    def __call__(self, batch: ComplexBatch, keys: StepKeys, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate * group["lr_ratio"])
        inputs = prepared(batch, keys.molecules)
        signature = (inputs.shapes(), batch.leading, self_conditions(keys.step))
        if self.pool is None or signature not in self.recorded:
            self.recorded[signature] = None
            self._work(inputs.to(self.device), keys.step)
            return
        recorded = self.recorded[signature] or self._record(inputs, keys.step)
        self.recorded[signature] = recorded
        recorded.play(inputs)

    def _record(self, inputs: "Inputs", step: Tensor) -> "Recorded":
        static = inputs.to(self.device)
        graph = torch.cuda.CUDAGraph()
        # The thread that pins the next batches may call the driver meanwhile.
        with torch.cuda.graph(
            graph, pool=self.pool, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
        ):
            self._work(static, step)
        return Recorded(graph, static)

    def _work(self, inputs: "Inputs", step: Tensor) -> None:
        """Everything of a step that happens on the device; nothing here may wait for a result."""
        torch._foreach_zero_(self.gradients)
        with self.fabric.autocast():
            report = self.module(inputs.batch, StepKeys(inputs.molecules, step), inputs.share)
        report.objective.backward()
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(self.gradients)))
        usable = norm.isfinite() & report.total.isfinite()
        torch._foreach_mul_(self.gradients, (self.clip_norm / (norm + 1e-6)).clamp(max=1.0))
        for gradient in self.gradients:
            gradient.masked_fill_(~usable, 0.0)
        for group in self.optimizer.param_groups:
            group["lr"].mul_(usable)  # the weights stay where they are
        self.optimizer.step()
        size = (inputs.share > 0).sum()
        loss = torch.where(usable, report.total.detach() * size, 0.0)
        self.sums.add_(torch.stack([loss.double(), torch.where(usable, size, 0).double(), (~usable).double()]))


class Inputs:
    """What a step reads: the tensors of a padded batch, keys and weights of its molecules."""

    def __init__(self, batch: ComplexBatch, molecules: Tensor, share: Tensor) -> None:
        self.batch, self.molecules, self.share = batch, molecules, share

    def tensors(self) -> list[Tensor]:
        return [*_tensors(self.batch.ligand), *_tensors(self.batch.pocket), self.molecules, self.share]

    def shapes(self) -> tuple[Any, ...]:
        return tuple(t.shape for t in self.tensors())

    def to(self, device: torch.device) -> "Inputs":
        return Inputs(self.batch.to(device), self.molecules.to(device), self.share.to(device))


class Recorded:
    """A graph and the tensors it reads."""

    def __init__(self, graph: "torch.cuda.CUDAGraph", static: Inputs) -> None:
        self.graph, self.static = graph, static

    def play(self, inputs: Inputs) -> None:
        for place, value in zip(self.static.tensors(), inputs.tensors(), strict=True):
            place.copy_(value, non_blocking=True)
        self.graph.replay()


def _tensors(record: Any) -> list[Tensor]:
    return [v for f in fields(record) if isinstance(v := getattr(record, f.name), Tensor)]


def prepared(batch: ComplexBatch, molecules: Tensor) -> Inputs:
    """A padded batch with the keys [B] of its molecules, and their weights: alike, none for rows that only pad.

    Raises LigandsmithError where pockets would have to be encoded.
    """
    if batch.pocket is None or batch.pocket.latent is None:
        raise LigandsmithError("--cuda_graphs: a batch without stored pocket latents; add --cache_latents")
    rows, size = len(batch.ligand.mask), len(batch.ids)
    keys, share = torch.zeros(rows, dtype=torch.long), torch.zeros(rows)
    keys[:size], share[:size] = molecules, 1 / size
    if torch.cuda.is_available():
        keys, share = keys.pin_memory(), share.pin_memory()
    return Inputs(batch, keys, share)
