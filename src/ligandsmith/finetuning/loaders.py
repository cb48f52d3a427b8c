"""Batches of a fine-tuning run: own records, repeated in short sets, with a share of others."""

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, DataLoader, Subset

from ligandsmith.batches import collate
from ligandsmith.data.collate import BucketSampler, FramedDataset
from ligandsmith.finetuning.options import Settings
from ligandsmith.finetuning.records import OwnRecords, RecordList
from ligandsmith.finetuning.stage import FinetuneStage
from ligandsmith.training.loaders import Loaders, record_sizes

STEPS_BETWEEN_TESTS = 50
TESTED = 48  # records of a test, at least; held-out ones are repeated, each time with other noise
ATOMS_ALIKE = 8  # ligands whose sizes differ by less may share a batch

Latents = dict[str, NDArray[np.float16]]


def finetuning_loaders(
    stage: FinetuneStage, own: OwnRecords, others: RecordList, settings: Settings, seed: int, latents: Latents
) -> Loaders:
    """An epoch is at least `STEPS_BETWEEN_TESTS` steps: all own records equally often, and in every batch a share of
    the others, new ones each epoch until all have come."""
    wanted = STEPS_BETWEEN_TESTS * settings.batch_size * (1 - settings.mix)
    always = _repeated(own.train, math.ceil(wanted / len(own.train)))
    extra = round(len(always) * settings.mix / (1 - settings.mix)) if others else 0
    parts: list[Any] = [always, others] if others else [always]
    mixed: Any = ConcatDataset(parts)
    tested = _repeated(own.held_out, math.ceil(TESTED / len(own.held_out)))
    sampler = BucketSampler(
        record_sizes(mixed)[:, 0] // ATOMS_ALIKE, settings.batch_size, seed=seed, always=len(always), extra=extra
    )
    tests = BucketSampler(record_sizes(tested)[:, 0], settings.batch_size, seed=None)
    framed = partial(FramedDataset, config=stage.config.pocket, surroundings=True, pocket_latents=latents)
    fragments = stage.config.diffusion.fragment_prob if stage.config.denoiser.fragments else 0.0
    pad = partial(collate, vocabulary=stage.vocabulary)
    return Loaders(
        DataLoader(framed(mixed, seed=seed, fragment_prob=fragments), batch_sampler=sampler, collate_fn=pad),
        sampler,
        DataLoader(framed(tested, seed=None), batch_sampler=tests, collate_fn=pad),
        tests,
    )


def _repeated(records: RecordList, times: int) -> Any:
    """The records that many times over, or once."""
    rows = list(range(len(records))) * max(1, times)
    return Subset(records, rows)  # type: ignore[arg-type, var-annotated]
