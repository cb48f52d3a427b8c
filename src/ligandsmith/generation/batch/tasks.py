"""A task: some molecules of one pocket, written whole or not at all, so that a task whose files are there is done.

Of a task that is cut off, the latents that it made stay, and the next worker goes on from them.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from rdkit import Chem

from ligandsmith.chem.sdf import complete_records, write_sdf
from ligandsmith.config import SITE_RADIUS
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import atomic_write, changes, json_content
from ligandsmith.generation.batch.manifest import PocketRow
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.generation.output import UNFINISHED, identity_of, records_of, require_rows, sample_rows
from ligandsmith.generation.sampler import NOTHING_KEPT
from ligandsmith.generation.unfinished import KeptLatents
from ligandsmith.options import GenerationOptions
from ligandsmith.parallel.devices import usable_device
from ligandsmith.records import GeneratedLigand, Pocket

CHUNKS = "chunks"


@dataclass(frozen=True)
class Task:
    """Molecules number `begin` to `end` - 1 of a pocket, in files of their own in `folder`."""

    row: PocketRow
    folder: Path
    begin: int
    end: int
    options: GenerationOptions = field(compare=False)
    identity: dict[str, Any] = field(compare=False)  # see `identity_of`, when the run began

    @property
    def record(self) -> Path:
        """What `samples.json` will list. Written last: where it is, the task is done."""
        return self.folder / CHUNKS / f"{self.begin:08d}-{self.end:08d}.json"

    @property
    def ligands(self) -> Path:
        """The molecules."""
        return self.record.with_suffix(".sdf")

    @property
    def unfinished(self) -> Path:
        """Folder of the latents that are made already, while the task is not done."""
        return self.record.with_suffix(f".{UNFINISHED}")

    def done(self) -> bool:
        """Whether both files are there."""
        return self.record.is_file()


@dataclass(frozen=True)
class Chunk:
    """A finished task, read back."""

    seconds: float
    molecules: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    keys: list[str]  # of the molecules, equal where they are the same but for stereo and pose


def write_chunk(task: Task, ligands: Sequence[GeneratedLigand], identity: dict[str, Any], seconds: float) -> None:
    """Write the files of a task. Raises OSError where the disk is full or the folder cannot be written."""
    task.record.parent.mkdir(parents=True, exist_ok=True)
    write_sdf(task.ligands, records_of(ligands, identity))
    molecules, failures = sample_rows(ligands)
    keys = [molecule_key(ligand.mol) for ligand in ligands if ligand.mol is not None]
    content = Chunk(round(seconds, 3), molecules, failures, keys)
    with atomic_write(task.record) as part:
        part.write_text(json.dumps(asdict(content)), encoding="utf-8")


def read_chunk(task: Task) -> Chunk:
    """What a finished task wrote. Raises LigandsmithError for a file that was damaged since."""
    try:
        content = json_content(task.record)
        require_rows(content)
        chunk = Chunk(**content)
        int("".join(chunk.keys) or "0", 16)
        if not 0 <= chunk.seconds < float("inf") or len(chunk.keys) != len(chunk.molecules):
            raise ValueError("seconds or keys do not fit")
        return chunk
    except (OSError, ValueError, TypeError) as error:
        raise LigandsmithError(f"{task.record}: cannot be used ({error}); remove it to make it again") from None


def read_records(task: Task, count: int) -> list[str]:
    """The SDF records of a finished task as text. Raises LigandsmithError unless there are `count`."""
    text = task.ligands.read_text(encoding="utf-8") if task.ligands.is_file() else ""
    records = complete_records(text)
    if len(records) != count:
        raise LigandsmithError(
            f"{task.ligands}: holds {len(records)} of {count} molecules; remove {task.record.name} to make them again"
        )
    return records


def clear_unfinished(folder: Path) -> None:
    """Remove what is left of unfinished tasks of a pocket that needs none of them."""
    for path in (folder / CHUNKS).glob(f"*.{UNFINISHED}"):
        KeptLatents(path).clear()


def molecule_key(mol: Chem.Mol) -> str:
    """Hash of the canonical SMILES without stereo, 16 hex digits: what the metric `unique` of evaluation compares."""
    return hashlib.sha256(Chem.MolToSmiles(mol, isomericSmiles=False).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TaskRunner:
    """Does tasks. Sent to workers, each of which loads the checkpoint once and keeps the last pocket."""

    checkpoint: str
    device: str = "cpu"
    threads: int = 1  # the same in every worker: the number of threads may change the last digit of a coordinate
    radius: float = SITE_RADIUS  # Å around a centre, where the row has none
    allow_dropped: bool = False  # see `read_protein`
    adapter: str | None = None  # of the checkpoint

    def __call__(self, task: Task) -> None:
        """Do a task and write it. Raises LigandsmithError for a pocket that cannot be used."""
        if task.done():  # by a worker that was taken for dead, or an earlier run that was still at it
            return
        torch.set_num_threads(self.threads)
        generator = _generator(self.checkpoint, self.device, self.adapter)
        pocket = _pocket(task.row, self.radius, self.allow_dropped)
        options = replace(task.options, num=task.end)
        identity = identity_of(generator, options, pocket)
        if changed := changes(task.identity, identity):
            raise LigandsmithError(f"{task.row.pocket}: its files changed since the run began ({', '.join(changed)})")
        began = time.perf_counter()
        kept = KeptLatents(task.unfinished)
        keeping = NOTHING_KEPT._replace(latents=kept.latents)
        batches = generator.batches(pocket, options, start=task.begin, keeping=keeping)
        made = [ligand for batch in batches for ligand in batch]
        write_chunk(task, made, identity, time.perf_counter() - began)
        kept.clear()


@lru_cache(maxsize=1)
def _generator(checkpoint: str, device: str, adapter: str | None) -> LigandGenerator:
    return load(checkpoint, usable_device(device), adapter)


@lru_cache(maxsize=1)
def _pocket(row: PocketRow, radius: float, allow_dropped: bool) -> Pocket:
    return row.read(radius, allow_dropped)[0]
