"""Pocket latents of a frozen protein VAE, computed once per data set and kept in one file beside the run."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from ligandsmith.batches import collate_pockets
from ligandsmith.checkpoints.files import fingerprint
from ligandsmith.data.dataset import MANIFEST, SPLITS, Split
from ligandsmith.data.transforms import shift
from ligandsmith.files import atomic_write
from ligandsmith.models.pocket_vae import PocketVAE
from ligandsmith.options import DataOptions
from ligandsmith.structure.pocket import frame_origin
from ligandsmith.structure.vocabulary import Vocabulary
from ligandsmith.training.loaders import dataset_folder, open_records, record_sizes

log = logging.getLogger("ligandsmith")
BATCH = 4


def cached_pocket_latents(
    vae: PocketVAE, options: DataOptions, vocabulary: Vocabulary, folder: Path, fabric: Fabric
) -> dict[str, NDArray[np.float16]]:
    """Latents [M, Z] of every pocket of the train and validation split, by record id. M is that of the uncut record.

    The file is named by the weights' fingerprint and by what is read, so that another VAE or data set never meets it.
    The first process computes it.
    """
    path = folder / f"pocket_latents_{fingerprint(vae.state_dict())}_{_records_hash(options)}.safetensors"
    if fabric.is_global_zero and not path.exists():
        latents: dict[str, NDArray[np.float16]] = {}
        for split in (Split.TRAIN, Split.VALIDATION):
            latents |= _encode(vae, options, split, vocabulary, fabric.device)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            save_file(latents, part)
        log.info("Cached the latents of %d pockets in %s", len(latents), path)
    fabric.barrier()
    with safe_open(path, "np") as stored:
        return {id: stored.get_tensor(id) for id in stored.keys()}  # noqa: SIM118 - safe_open is no dict


def _records_hash(options: DataOptions) -> str:
    """Eight hex digits that differ where the records may: by place, content, split file and limit."""
    facts = [str(options.limit)]
    if options.is_lmdb:
        files = [Path(path) for path in (options.data, options.split_file) if path is not None]
    else:
        files = [dataset_folder(options) / name for name in (MANIFEST, SPLITS)]
    for path in files:
        if path.exists():
            facts += [str(path.resolve()), str(path.stat().st_size), str(path.stat().st_mtime_ns)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def _encode(
    vae: PocketVAE, options: DataOptions, split: Split, vocabulary: Vocabulary, device: torch.device
) -> dict[str, NDArray[np.float16]]:
    records, _ = open_records(options, split, "pockets", vocabulary)
    return encoded_pockets(vae, records, vocabulary, device)


@torch.no_grad()
def encoded_pockets(
    vae: PocketVAE, records: Any, vocabulary: Vocabulary, device: torch.device
) -> dict[str, NDArray[np.float16]]:
    """Latents [M, Z] of the pockets of records, by record id; those without a pocket have none."""
    order = np.argsort(record_sizes(records)[:, 1], kind="stable")
    out: dict[str, NDArray[np.float16]] = {}
    for begin in range(0, len(order), BATCH):
        chunk = [records[int(i)] for i in order[begin : begin + BATCH]]
        placed = [shift(r, frame_origin(r.pocket)) for r in chunk if r.pocket is not None]
        pockets = collate_pockets([r.pocket for r in placed], vocabulary)
        if pockets is None:
            continue
        means = vae.encode(pockets.to(device)).mean_h.cpu().numpy().astype(np.float16)
        for record, mean in zip(placed, means, strict=True):
            assert record.pocket is not None
            out[record.id] = mean[: record.pocket.num_atoms].copy()
    return out
