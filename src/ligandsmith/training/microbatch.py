"""A batch in parts: within a budget of atom pairs, and in smaller ones where memory runs out.

A molecule's noise and its weight in the mean come with it, so the gradients of the parts add up to those of the batch.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ligandsmith.batches import ComplexBatch, LossReport
from ligandsmith.data.collate import batch_rows
from ligandsmith.errors import LigandsmithError
from ligandsmith.training.modules import StepKeys
from ligandsmith.training.packing import Packed

log = logging.getLogger("ligandsmith")
Part = tuple[ComplexBatch, StepKeys, Tensor]  # batch, keys, share


def pairs_per_molecule(batch: ComplexBatch) -> int:
    """Ordered pairs of ligand atoms of one molecule, padding included."""
    return batch.ligand.mask.shape[1] ** 2


def parts(batch: ComplexBatch, keys: StepKeys, share: Tensor, budget: int) -> list[Part]:
    """The batch in equal parts of at most `budget` atom pairs each, or of one molecule; whole without a budget (0)."""
    count = len(batch.ids)
    most = max(1, budget // pairs_per_molecule(batch)) if budget else count
    if most >= count:
        return [(batch, keys, share)]
    size = math.ceil(count / math.ceil(count / most))
    slices = [(begin, min(begin + size, count)) for begin in range(0, count, size)]
    return [(batch_rows(batch, a, b), StepKeys(keys.molecules[a:b], keys.step), share[a:b]) for a, b in slices]


def added(reports: Sequence[LossReport]) -> LossReport:
    """The report of the whole batch; those of its parts are weighted sums already."""
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
    return replace(first, total=total, terms=terms, per_molecule=None, objective=None, moments=moments)


class PartedModule:
    """A stage's module (set up by Fabric), run in parts of at most `budget` atom pairs; lowered where memory ends."""

    def __init__(self, fabric: Fabric, module: Any, budget: int) -> None:
        self.fabric, self.module, self.budget = fabric, module, budget

    def report(self, whole: Part) -> LossReport:
        """Loss of a batch, without gradients."""
        with torch.no_grad():
            return added([self.module(Packed(*part))[1].values[0] for part in parts(*whole, self.budget)])

    def backward(self, whole: Part, sync: bool, accumulate: int, place: str) -> LossReport:
        """Add the gradients of a batch, divided by `accumulate`, and return its loss; with `sync`, the processes
        exchange theirs. Raises LigandsmithError, naming `place`, where a single molecule does not fit.

        The exchange comes after all backward passes, not beside the last one: a process that runs out of memory does
        its batch anew while the others wait.
        """
        while (report := self._attempt(whole, accumulate, place)) is None:
            pass
        if sync and self.fabric.world_size > 1:
            average_gradients(self.fabric, self.module)
        if report.moments is not None:
            self.module.module.inner.follow(self.fabric.all_reduce(report.moments, reduce_op="sum"))
        return report

    def _attempt(self, whole: Part, accumulate: int, place: str) -> LossReport | None:
        """None where memory ran out: nothing has changed then but the budget."""
        pieces = parts(*whole, self.budget)
        kept = _kept_state(self.module)
        reports = []
        try:
            for piece in pieces:
                with self.fabric.no_backward_sync(self.module):
                    objective, packed = self.module(Packed(*piece))
                    self.fabric.backward(objective / accumulate)
                reports.append(packed.values[0])
            return added(reports)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            self._lower_budget(pieces[0][0], place, error)
        # after the handler: until then the error holds on to the tensors of the attempt
        _restore_state(self.module, kept)
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _lower_budget(self, batch: ComplexBatch, place: str, error: RuntimeError) -> None:
        rows = len(batch.ids) // 2
        self.budget = rows * pairs_per_molecule(batch)
        if not rows:
            raise LigandsmithError(_out_of_memory_text(batch, place, error)) from error
        # an error, so that it is heard from every process
        log.error(
            "out of memory at %s, process %d: done anew in parts of %d complexes", place, self.fabric.global_rank, rows
        )


@torch.no_grad()
def average_gradients(fabric: Fabric, module: nn.Module) -> None:
    """Replace each gradient by its mean over the processes. One that a process lacks counts as zero there, and stays
    away where all lack it."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    there = torch.tensor([float(p.grad is not None) for p in parameters], device=fabric.device)
    anywhere = fabric.all_reduce(there, reduce_op="sum").tolist()  # type: ignore[union-attr]
    used = [p for p, count in zip(parameters, anywhere, strict=True) if count]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in used]
    mean = fabric.all_reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduce_op="mean")
    for p, part in zip(used, mean.split([p.numel() for p in used]), strict=True):  # type: ignore[union-attr]
        p.grad = part.view_as(p)


def _is_out_of_memory(error: BaseException) -> bool:
    """On a GPU, or of the machine's own memory."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _kept_state(module: nn.Module) -> list[Tensor | None]:
    """Copies of gradients and buffers, to go back to where a batch fails half way."""
    gradients = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    return [*gradients, *(buffer.clone() for buffer in module.buffers())]


@torch.no_grad()
def _restore_state(module: nn.Module, kept: Sequence[Tensor | None]) -> None:
    """The inverse of `_kept_state`."""
    parameters = list(module.parameters())
    for parameter, gradient in zip(parameters, kept, strict=False):
        parameter.grad = gradient
    for buffer, value in zip(module.buffers(), kept[len(parameters) :], strict=True):
        assert value is not None
        buffer.copy_(value)


def _out_of_memory_text(batch: ComplexBatch, place: str, error: BaseException) -> str:
    """One line: which batch, and what to do."""
    atoms = batch.ligand.mask.shape[1]
    pocket = 0 if batch.pocket is None else batch.pocket.mask.shape[1]
    return (
        f"out of memory at {place}: {len(batch.ids)} complexes padded to {atoms} ligand and {pocket} pocket atoms; "
        f"add --gradient_checkpointing ({str(error).splitlines()[0]})"
    )
