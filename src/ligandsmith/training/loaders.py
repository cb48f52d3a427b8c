"""From a data set on disk to batches: which records a model trains on, in which order, with which stored latents."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, DataLoader, Subset

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import Config
from ligandsmith.data.collate import ONE_SHARD, BucketSampler, FramedDataset
from ligandsmith.data.crossdocked.reader import CrossDockedDataset
from ligandsmith.data.dataset import (
    SPLITS,
    ComplexDataset,
    Manifest,
    Split,
    named_shards,
    open_dataset,
    read_splits,
    split_records,
)
from ligandsmith.data.shard_cache import CacheOptions
from ligandsmith.data.shards import DATASET_KINDS, DatasetKind, ShardReader
from ligandsmith.data.static_shapes import EvenSampler, collate_to_static_shapes
from ligandsmith.errors import LigandsmithError
from ligandsmith.options import DataOptions
from ligandsmith.parallel.processes import ignore_stop_signals
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY, Vocabulary

log = logging.getLogger("ligandsmith")
IDS_SHOWN = 20  # ids in a warning
LIGAND_COST = 1000  # of a ligand atom, 1 of a pocket atom: batches are sorted by ligand, then pocket size
TrainingPopulation = Literal["ligands", "pockets", "complexes"]


def record_sizes(records: Any) -> NDArray[np.uint16]:
    """Atoms of the ligand and of the pocket (0 without one) of each record [n, 2], without reading the records."""
    if isinstance(records, ConcatDataset):
        return np.concatenate([record_sizes(dataset) for dataset in records.datasets])
    if isinstance(records, Subset):
        return record_sizes(records.dataset)[records.indices]
    return np.stack(records.sizes(), 1).astype(np.uint16)


def _costs(records: Any) -> NDArray[np.int32]:
    """What batches are sorted by [n]: the ligand's size, then the pocket's."""
    sizes = record_sizes(records)
    return LIGAND_COST * sizes[:, 0].astype(np.int32) + sizes[:, 1]


def _shard_starts(records: Any) -> NDArray[np.int64]:
    """The first record of each shard."""
    if isinstance(records, ConcatDataset):
        firsts = [0, *records.cumulative_sizes[:-1]]
        return np.concatenate([_shard_starts(d) + first for d, first in zip(records.datasets, firsts, strict=True)])
    if isinstance(records, Subset):
        starts = _shard_starts(records.dataset)
        return np.unique(np.searchsorted(records.indices, starts[starts <= np.max(records.indices)]))
    return records.shard_starts() if isinstance(records, ComplexDataset) else ONE_SHARD


def open_records(
    options: DataOptions, split: Split, population: TrainingPopulation, vocabulary: Vocabulary = VOCABULARY
) -> tuple[ConcatDataset[Complex], int]:
    """The records a population needs, and how many of them come in every epoch."""
    usable = partial(_usable, limit=options.limit, vocabulary=vocabulary)
    if options.is_lmdb:
        if options.split_file is None:
            raise LigandsmithError(f"{options.data}: an LMDB needs --split_file crossdocked_pocket10_pose_split.pt")
        datasets = [usable(CrossDockedDataset(Path(options.data or ""), options.split_file, split))]
    else:
        folder = dataset_folder(options)
        kinds = _kinds(folder, options, split, population)
        datasets = [usable(ComplexDataset(folder, split, kind)) for kind in kinds]
    records: ConcatDataset[Complex] = ConcatDataset(datasets)
    return records, len(records) if population == "ligands" else len(datasets[0])


def dataset_folder(options: DataOptions) -> Path:
    """The folder of the data set, or of the copies of one on an object store. Raises LigandsmithError."""
    return open_dataset(options.data, CacheOptions(options.cache_dir, options.cache_size))


def _kinds(folder: Path, options: DataOptions, split: Split, population: TrainingPopulation) -> list[DatasetKind]:
    """The kinds of records of a data set that a population needs. Warns of ids of the split that have no record."""
    manifest = Manifest.load(folder)
    found = {kind: split_records(folder, manifest, kind, split) for kind in DATASET_KINDS}
    has = {kind: len(records.rows) > 0 for kind, records in found.items()}
    if found["complexes"].named > sum(len(records.rows) for records in found.values()):
        _warn_of_missing(folder, manifest, split)
    if population == "ligands" and not has["complexes"] and has["ligands"]:
        return ["ligands"]
    if population == "pockets" or not options.ligand_only or not has["ligands"]:
        return ["complexes"]
    return ["complexes", "ligands"]


def _warn_of_missing(folder: Path, manifest: Manifest, split: Split) -> None:
    shards = [shard for kind in DATASET_KINDS for shard in named_shards(folder, manifest, kind)]
    known = set(ShardReader(shards).index()["id"])
    absent = sorted(set(read_splits(folder).get(split, ())) - known)
    listing = ", ".join(absent[:IDS_SHOWN]) + (", …" if len(absent) > IDS_SHOWN else "")
    log.warning("%s: %d ids of the split %s have no record: %s", folder / SPLITS, len(absent), split, listing)


def _usable(records: Any, limit: int, vocabulary: Vocabulary) -> Any:
    """The first `limit` records (0: all) of those whose ligands have elements of the vocabulary only."""
    if set(VOCABULARY.ligand_elements) <= set(vocabulary.ligand_elements):
        return Subset(records, range(min(limit, len(records)))) if limit else records
    known = (i for i in range(len(records)) if np.isin(records[i].ligand.element, vocabulary.ligand_elements).all())
    rows = np.fromiter(islice(known, limit or None), dtype=np.int32)
    if not limit and len(rows) < len(records):
        missing = len(records) - len(rows)
        log.info("%d of %d records left out: ligands with elements that this preset lacks", missing, len(records))
    return Subset(records, rows)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Loaders:
    """Training and validation batches with their samplers."""

    train: DataLoader[Complex]
    train_sampler: BucketSampler
    validation: DataLoader[Complex]
    validation_sampler: BucketSampler

    def end_workers(self) -> None:
        """End the worker processes. They ignore SIGTERM, by which Python would end them when it exits, and so wait for
        each other for ever where a reference to the iterator is left."""
        iterator: Any = self.train._iterator
        if iterator is not None:
            iterator._shutdown_workers()
            self.train._iterator = None


def make_loaders(
    options: DataOptions, population: TrainingPopulation, config: Config, vocabulary: Vocabulary,
    ranks: tuple[int, int] = (0, 1), latents: dict[str, NDArray[np.float16]] | None = None,
) -> Loaders:  # fmt: skip
    """Loaders of one process. To the complexes of an epoch come `ligands_per_complex` times as many ligands alone."""
    train, always = open_records(options, Split.TRAIN, population, vocabulary)
    validated = replace(options, ligand_only=population == "ligands")
    validation, fixed = open_records(validated, Split.VALIDATION, population)
    extra = min(round(always * options.ligands_per_complex), len(train) - always)
    train_sampler = (EvenSampler if options.static_shapes else BucketSampler)(
        _costs(train), options.batch_size, seed=options.seed, always=always, extra=extra, ranks=ranks,
        shards=_shard_starts(train),
    )  # fmt: skip
    validation_sampler = BucketSampler(_costs(validation), options.batch_size, seed=None, always=fixed, ranks=ranks)
    framed = partial(
        FramedDataset, config=config.pocket, surroundings=population == "complexes", pocket_latents=latents
    )
    fragments = config.diffusion.fragment_prob if population == "complexes" and config.denoiser.fragments else 0.0
    pad = partial(collate, vocabulary=vocabulary)
    pad_train = partial(collate_to_static_shapes, vocabulary=vocabulary) if options.static_shapes else pad
    return Loaders(
        _loader(framed(train, seed=options.seed, fragment_prob=fragments), train_sampler, options, pad_train),
        train_sampler,
        _loader(framed(validation, seed=None), validation_sampler, replace(options, num_workers=0), pad),
        validation_sampler,
    )


def _loader(
    dataset: FramedDataset, sampler: BucketSampler, options: DataOptions, pad: Callable[[list[Complex]], ComplexBatch]
) -> "DataLoader[Complex]":
    # A generator of its own: drawing the workers' seeds from the global one would make a resumed run differ.
    return DataLoader(
        dataset, batch_sampler=sampler, collate_fn=pad, num_workers=options.num_workers,
        persistent_workers=options.num_workers > 0, pin_memory=torch.cuda.is_available(), generator=torch.Generator(),
        worker_init_fn=ignore_stop_signals,
    )  # fmt: skip
