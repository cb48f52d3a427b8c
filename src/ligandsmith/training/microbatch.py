"""Loss and gradients of a batch, in micro-batches within a budget of atom pairs, smaller where memory runs out.

The noise of a molecule and its weight in the mean do not depend on the micro-batch, so the gradients of the
micro-batches add up to those of the batch.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ligandsmith.batches import ComplexBatch, batch_rows
from ligandsmith.errors import LigandsmithError
from ligandsmith.predictions import LossReport

log = logging.getLogger("ligandsmith")


class LossInputs(NamedTuple):
    """Arguments of a training module."""

    batch: ComplexBatch
    seeds: Tensor  # [B] int64, one per molecule
    step_seed: Tensor  # scalar int64 on the CPU, the same in all processes
    weight: Tensor  # [B], weight of each molecule in the mean over the global batch

    def rows(self, begin: int, end: int) -> "LossInputs":
        """Molecules `begin` to `end`."""
        part = slice(begin, end)
        return LossInputs(batch_rows(self.batch, begin, end), self.seeds[part], self.step_seed, self.weight[part])


def pairs_per_molecule(batch: ComplexBatch) -> int:
    """Ordered pairs of ligand atoms of one molecule, padding included."""
    return batch.ligand.mask.shape[1] ** 2


def micro_batches(inputs: LossInputs, budget: int) -> list[LossInputs]:
    """Equal parts of at most `budget` atom pairs each, or of one molecule; one part without a budget (0)."""
    count = len(inputs.batch.ids)
    largest = max(1, budget // pairs_per_molecule(inputs.batch)) if budget else count
    if largest >= count:
        return [inputs]
    size = math.ceil(count / math.ceil(count / largest))
    return [inputs.rows(begin, min(begin + size, count)) for begin in range(0, count, size)]


def added(reports: Sequence[LossReport]) -> LossReport:
    """The report of a batch from those of its micro-batches, which are weighted sums."""
    first = reports[0]
    if len(reports) == 1:
        return first
    terms: dict[str, Tensor] = {}
    for report in reports:
        for name, value in report.terms.items():
            terms[name] = terms[name] + value.detach() if name in terms else value.detach()
    total = torch.stack([report.total.detach() for report in reports]).sum()
    found = [report.moments for report in reports if report.moments is not None]
    moments = torch.stack(found).sum(0) if found else None
    return replace(first, total=total, objective=total, terms=terms, per_molecule=None, moments=moments)


class MicroBatches:
    """Runs a training module in micro-batches of at most `budget` atom pairs; lowers the budget if memory runs out."""

    def __init__(self, fabric: Fabric, module: nn.Module, budget: int) -> None:
        self.fabric, self.module, self.budget = fabric, module, budget

    @torch.no_grad()
    def report(self, module: nn.Module, inputs: LossInputs) -> LossReport:
        """Loss of a batch by `module`, without gradients."""
        with self.fabric.autocast():
            return added([module(*part) for part in micro_batches(inputs, self.budget)])

    def backward(self, inputs: LossInputs, exchange: bool, accumulate: int, place: str) -> LossReport:
        """Add the gradients of a batch, divided by `accumulate`, and return its loss.

        With `exchange`, the gradients are averaged over the processes after all backward passes: a process that runs
        out of memory repeats its batch while the others wait. Raises LigandsmithError, naming `place`, if a single
        molecule does not fit into memory.
        """
        while (report := self._attempt(inputs, accumulate, place)) is None:
            pass
        if exchange and self.fabric.world_size > 1:
            average_gradients(self.fabric, self.module)
        if report.moments is not None:
            self.module.update_statistics(self.fabric.all_reduce(report.moments, reduce_op="sum"))  # type: ignore[operator]
        return report

    def _attempt(self, inputs: LossInputs, accumulate: int, place: str) -> LossReport | None:
        """None if memory ran out: then nothing has changed but the budget."""
        parts = micro_batches(inputs, self.budget)
        before = _copied_state(self.module)
        reports = []
        try:
            for part in parts:
                with self.fabric.autocast():
                    report = self.module(*part)
                self.fabric.backward(report.objective / accumulate)
                reports.append(report)
            return added(reports)
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise  # neither the memory of a GPU nor that of the machine ran out
            self._lower_budget(parts[0].batch, place, error)
        # after the handler: until then the error holds on to the tensors of the attempt
        _restore_state(self.module, before)
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _lower_budget(self, batch: ComplexBatch, place: str, error: RuntimeError) -> None:
        rows = len(batch.ids) // 2
        self.budget = rows * pairs_per_molecule(batch)
        if not rows:
            raise LigandsmithError(_out_of_memory_text(batch, place, error)) from error
        # logged as an error, so that every process prints it
        log.error(
            "out of memory at %s, process %d: repeated in micro-batches of %d complexes",
            place, self.fabric.global_rank, rows,
        )  # fmt: skip


@torch.no_grad()
def average_gradients(fabric: Fabric, module: nn.Module) -> None:
    """Replace each gradient by its mean over the processes.

    A gradient that a process lacks counts as zero there. One that all processes lack stays None.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    there = torch.tensor([float(p.grad is not None) for p in parameters], device=fabric.device)
    anywhere = fabric.all_reduce(there, reduce_op="sum").tolist()  # type: ignore[union-attr]
    used = [p for p, count in zip(parameters, anywhere, strict=True) if count]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in used]
    mean = fabric.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduce_op="mean")
    for p, part in zip(used, mean.split([p.numel() for p in used]), strict=True):  # type: ignore[union-attr]
        p.grad = part.view_as(p)


def _copied_state(module: nn.Module) -> list[Tensor | None]:
    """Copies of gradients and buffers, to go back to if a batch fails half way."""
    gradients = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    return [*gradients, *(buffer.clone() for buffer in module.buffers())]


@torch.no_grad()
def _restore_state(module: nn.Module, before: Sequence[Tensor | None]) -> None:
    """The inverse of `_copied_state`."""
    parameters = list(module.parameters())
    for parameter, gradient in zip(parameters, before, strict=False):
        parameter.grad = gradient
    for buffer, value in zip(module.buffers(), before[len(parameters) :], strict=True):
        assert value is not None
        buffer.copy_(value)


def _out_of_memory_text(batch: ComplexBatch, place: str, error: Any) -> str:
    """One line: which batch, and what to do."""
    atoms = batch.ligand.mask.shape[1]
    pocket = 0 if batch.pocket is None else batch.pocket.mask.shape[1]
    return (
        f"out of memory at {place}: {len(batch.ids)} complexes padded to {atoms} ligand and {pocket} pocket atoms; "
        f"add --gradient_checkpointing ({str(error).splitlines()[0]})"
    )
