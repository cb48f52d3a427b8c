"""The records of a fine-tuning run: own ones, some held out, mixed with others against forgetting."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.data.dataset import MANIFEST, ComplexDataset, Manifest, Split, open_dataset, read_splits
from ligandsmith.data.shards import DATASET_KINDS, ShardReader, shard_paths
from ligandsmith.data.splitting import hold_out_groups
from ligandsmith.errors import LigandsmithError
from ligandsmith.finetuning.options import FEWEST, FinetuneOptions
from ligandsmith.records import Complex

log = logging.getLogger("ligandsmith")
MOST_HELD_OUT = 200
MOST_MIXED = 256  # of each kind
REJECTIONS_SHOWN = 5


class RecordList(list[Complex]):
    """Records in memory that tell their sizes."""

    def sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Heavy atoms of the ligands [n] and of the pockets [n], 0 without one."""
        pockets = [0 if r.pocket is None else r.pocket.num_atoms for r in self]
        return np.array([r.ligand.num_atoms for r in self], np.int64), np.array(pockets, np.int64)


@dataclass(frozen=True)
class OwnRecords:
    """Own records for training and held-out ones."""

    train: RecordList
    held_out: RecordList


def prepared_data(options: FinetuneOptions, folder: Path) -> Path:
    """The data set of the own records: one that is there, or one made in `folder`. What was refused is logged."""
    if options.data is not None and (options.data / MANIFEST).is_file():
        return options.data
    if not (folder / MANIFEST).is_file():
        _prepare(options, folder)
    manifest = Manifest.load(folder)
    for rejection in manifest.rejections[:REJECTIONS_SHOWN]:
        log.warning("left out %s: %s (%s)", rejection.id, rejection.reason, rejection.detail)
    if len(manifest.rejections) > REJECTIONS_SHOWN:
        more = len(manifest.rejections) - REJECTIONS_SHOWN
        log.warning("left out %d more; all are listed in %s", more, folder / MANIFEST)
    return folder


def _prepare(options: FinetuneOptions, folder: Path) -> None:
    from ligandsmith.data.conformers import EmbedOptions, embed_conformers  # noqa: PLC0415
    from ligandsmith.data.preparation import PrepareOptions, prepare  # noqa: PLC0415
    from ligandsmith.data.series import prepare_series  # noqa: PLC0415

    folder.parent.mkdir(parents=True, exist_ok=True)
    if options.data is not None:
        prepare(options.data, folder, PrepareOptions(options.workers))
    elif options.ligands is not None and options.protein is not None:
        prepare_series(options.ligands, options.protein, folder)
    elif options.smiles is not None:
        embed_conformers(options.smiles, folder, EmbedOptions(options.seed, workers=options.workers))


def own_records(folder: Path, options: FinetuneOptions, elements: Sequence[int]) -> OwnRecords:
    """The records of a data set whose ligands have known `elements` only. Its validation split is held out; where it
    has none, a share of the molecules is. Raises LigandsmithError where too few are left."""
    train, held_out = (_records_of(folder, split, elements) for split in (Split.TRAIN, Split.VALIDATION))
    if len(train) + len(held_out) < FEWEST:
        raise LigandsmithError(
            f"{folder}: {len(train) + len(held_out)} usable records; fine-tuning needs {FEWEST} or more, so that some "
            "can be held out"
        )
    if not held_out:
        out = hold_out_groups([_flat(r.smiles) for r in train], options.hold_out, options.seed)
        held_out = RecordList(r for r, held in zip(train, out, strict=True) if held)
        train = RecordList(r for r, held in zip(train, out, strict=True) if not held)
    if not train or not held_out:
        what = "to train on" if not train else "to hold out: all are poses of one molecule"
        raise LigandsmithError(f"{folder}: no record {what}; add others, or split them with `ligandsmith split`")
    return OwnRecords(train, RecordList(held_out[:MOST_HELD_OUT]))


def _records_of(folder: Path, split: Split, elements: Sequence[int]) -> RecordList:
    ids, found = set(read_splits(open_dataset(folder)).get(split, ())), RecordList()
    for kind in DATASET_KINDS:
        if ids & set(ShardReader(shard_paths(folder, kind)).index()["id"]):
            found += ComplexDataset(folder, split, kind)  # type: ignore[arg-type]
    usable = RecordList(r for r in found if np.isin(r.ligand.element, elements).all())
    if len(usable) < len(found):
        log.warning("left out %d records with elements that these weights do not know", len(found) - len(usable))
    return usable


def _flat(smiles: str) -> str:
    """Poses and epimers of a molecule are held out together."""
    mol = Chem.MolFromSmiles(smiles)
    return smiles if mol is None else str(Chem.MolToSmiles(mol, isomericSmiles=False))


def other_records(options: FinetuneOptions, own: OwnRecords, split: Split = Split.TRAIN) -> RecordList:
    """Complexes and ligands of the data set to mix in, at random, without those that are own records."""
    known, found = {r.id for r in (*own.train, *own.held_out)}, RecordList()
    rng = np.random.default_rng(options.seed)
    for kind in DATASET_KINDS:
        data = ComplexDataset(options.mix_data, split, kind)
        rows = np.sort(rng.permutation(len(data))[:MOST_MIXED])
        found += [data[int(row)] for row in rows if data.ids[int(row)] not in known]
    return found
