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

from ligandsmith.data.collate import batch_rows
from ligandsmith.errors import LigandsmithError
from ligandsmith.training.modules import StepKeys
from ligandsmith.training.packing import Packed
from ligandsmith.types import ComplexBatch, LossReport

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
    return replace(first, total=total, terms=terms, per_molecule=None, objective=None)


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
        exchange theirs. Raises LigandsmithError, naming `place`, where a single molecule does not fit."""
        while True:
            report = self._attempt(whole, sync, accumulate, place)
            if report is not None:
                return report

    def _attempt(self, whole: Part, sync: bool, accumulate: int, place: str) -> LossReport | None:
        """None where memory ran out: nothing has changed then but the budget."""
        pieces = parts(*whole, self.budget)
        kept = _kept_state(self.module)
        reports = []
        try:
            for number, piece in enumerate(pieces, 1):
                alone = not sync or number < len(pieces)
                with self.fabric.no_backward_sync(self.module, enabled=alone):
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
        processes = self.fabric.world_size
        if not rows or processes > 1:  # the other processes wait for gradients that do not come
            raise LigandsmithError(_out_of_memory_text(batch, place, self.budget, error)) from error
        log.warning("out of memory at %s: done anew in parts of %d complexes", place, rows)


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


def _out_of_memory_text(batch: ComplexBatch, place: str, budget: int, error: BaseException) -> str:
    """One line: which batch, and what to do."""
    atoms = batch.ligand.mask.shape[1]
    pocket = 0 if batch.pocket is None else batch.pocket.mask.shape[1]
    other = f"continue with --resume auto --pair_budget {budget}, which changes no result, or " if budget else ""
    return (
        f"out of memory at {place}: {len(batch.ids)} complexes padded to {atoms} ligand and {pocket} pocket atoms; "
        f"{other}add --gradient_checkpointing ({str(error).splitlines()[0]})"
    )
