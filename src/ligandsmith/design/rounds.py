"""Sampling the proposals of a round: in tasks of a few, by threads of this process, other processes or a cluster.

A task is written whole or not at all, always by one thread of torch, so that neither an interruption nor the number of
workers changes a ligand.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from rdkit import Chem

from ligandsmith.design.moves import Proposal
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import json_content, write_json
from ligandsmith.generation.generator import LigandGenerator, SamplingSite, load
from ligandsmith.generation.sampler import Start
from ligandsmith.options import GenerationOptions
from ligandsmith.parallel.devices import usable_device
from ligandsmith.parallel.engines import ENGINES
from ligandsmith.parallel.threads import Check, side_by_side
from ligandsmith.records import GeneratedLigand, Pocket

TASK_SIZE = 8  # proposals


@dataclass(frozen=True)
class RoundTask:
    """Some proposals of a round, and the file of what comes of them."""

    path: Path
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True)
class Sampled:
    """What came of a proposal: the mol block of a ligand in one piece, or why there is none."""

    index: int
    block: str = ""
    reason: str = ""
    detail: str = ""
    repaired: bool = False


@dataclass(frozen=True)
class RoundSampler:
    """Does tasks. Sent to workers, each of which loads the checkpoint and encodes the pocket once."""

    key: str  # of checkpoint, pocket and options
    checkpoint: str
    device: str
    pocket: Pocket = field(compare=False)
    options: GenerationOptions = field(compare=False)
    adapter: str | None = None

    def __call__(self, task: RoundTask, check: Check = lambda: None) -> None:
        """Do a task and write it."""
        if task.path.is_file():
            return
        with one_torch_thread():
            generator, site = opened(self)
        site = site._replace(task=site.task._replace(check=check))
        made = sampled(generator, site, self.options.seed, task.proposals)
        write_json(task.path, [vars(_plain(ligand)) for ligand in made])


@lru_cache(maxsize=2)
def generator_of(checkpoint: str, device: str, adapter: str | None = None) -> LigandGenerator:
    """Loaded once in a process."""
    return load(checkpoint, usable_device(device), adapter)


@lru_cache(maxsize=1)
def opened(sampler: RoundSampler) -> tuple[LigandGenerator, SamplingSite]:
    """The generator and the encoded pocket, kept in a process."""
    generator = generator_of(sampler.checkpoint, sampler.device, sampler.adapter)
    return generator, generator.site(sampler.pocket, sampler.options)


def sampled(
    generator: LigandGenerator, site: SamplingSite, seed: int, proposals: Sequence[Proposal]
) -> list[GeneratedLigand]:
    """The ligands of proposals, in their order."""
    starts = []
    for proposal in proposals:
        z = None
        if proposal.ligand is not None:
            z = generator.sampler.latents_of([proposal.ligand], site.task.origin)[0]
        starts.append(Start(z, proposal.fragment, site.task.fragment, proposal.time))
    index, sizes = [p.index for p in proposals], [p.size for p in proposals]
    return generator.from_starts(site, seed, index, sizes, starts)


def _plain(ligand: GeneratedLigand) -> Sampled:
    if ligand.mol is None:
        return Sampled(ligand.index, "", ligand.reason, ligand.detail)
    if not ligand.connected:
        return Sampled(ligand.index, "", "several pieces", Chem.MolToSmiles(ligand.mol))
    return Sampled(ligand.index, Chem.MolToMolBlock(ligand.mol), repaired=ligand.repaired)


def tasks_of(folder: Path, proposals: Sequence[Proposal]) -> list[RoundTask]:
    """Proposals in tasks: those that the sampler can take together, of similar size."""
    order = sorted(proposals, key=lambda p: (p.ligand is None, p.time, -p.size, p.index))
    parts = [order[i : i + TASK_SIZE] for i in range(0, len(order), TASK_SIZE)]
    return [RoundTask(folder / f"{_digest(part)}.json", tuple(part)) for part in parts]


def _digest(proposals: Sequence[Proposal]) -> str:
    """Names a task: what an earlier run with another budget left is not taken for it."""
    return hashlib.sha256(repr([(p.index, p.move, p.parents, p.size) for p in proposals]).encode()).hexdigest()[:16]


def run_tasks(sampler: RoundSampler, tasks: Sequence[RoundTask], workers: int, engine: str) -> dict[int, Sampled]:
    """What came of all proposals, by index. With one local worker by the threads that torch has here.

    A proposal whose task could not be done has the reason.
    """
    reasons: dict[Path, str] = {}
    if workers == 1 and engine == "local":
        _here(sampler, tasks)
    else:
        with closing(ENGINES[engine](sampler, iter(tasks), workers)) as results:
            reasons = {task.path: reason for task, reason in results if reason}
    found: dict[int, Sampled] = {}
    for task in tasks:
        if task.path in reasons:
            found |= {p.index: Sampled(p.index, "", "not sampled", reasons[task.path]) for p in task.proposals}
        else:
            found |= {made.index: made for made in _read(task.path)}
    return found


def _here(sampler: RoundSampler, tasks: Sequence[RoundTask]) -> None:
    with one_torch_thread():
        opened(sampler)  # before the threads, each of which would do it
    if len(tasks) == 1:
        with one_torch_thread():
            sampler(tasks[0])
    else:
        side_by_side(sampler, tasks)


def _read(path: Path) -> list[Sampled]:
    try:
        made = [Sampled(**row) for row in json_content(path)]
        if any(type(one.index) is not int or (one.block and Chem.MolFromMolBlock(one.block) is None) for one in made):
            raise ValueError("a molecule that cannot be read")
        return made
    except (OSError, ValueError, TypeError) as error:
        raise LigandsmithError(f"{path}: cannot be used ({error}); remove it to make it again") from None


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch computes with one thread in the block: the number may change the last digit of a coordinate."""
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)
