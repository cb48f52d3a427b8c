"""What happens to a record between the data set and the batch: the cut of the pocket and the frame.

The frame belongs to the pocket: its origin is the user's box centre or the mean of the pocket's C-alphas, never the
ligand. In training (a generator is passed in) the cut and the origin vary, so that neither tells where the ligand is.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ligandsmith.config import PocketConfig
from ligandsmith.records import Complex, Ligand, Pocket
from ligandsmith.structure.pocket import crop_mask, frame_origin, nearest_distance, select_atoms, within_radius

NO_POCKET_SPREAD = 2.0  # Å per axis, s.d. of the ligand's centre around the origin where there is no pocket


def shift(record: Complex, origin: NDArray[np.float32]) -> Complex:
    """The record with `origin` moved to zero."""
    ligand, pocket = replace(record.ligand, x=(record.ligand.x - origin).astype(np.float32)), record.pocket
    if pocket is not None:
        pocket = replace(pocket, x=(pocket.x - origin).astype(np.float32), center=None)
    return replace(record, ligand=ligand, pocket=pocket)


def to_frame(
    record: Complex, config: PocketConfig, rng: np.random.Generator | None = None, *, surroundings: bool = False
) -> Complex:
    """Cut and centre a record. Without `rng` (validation) nothing is random. With `surroundings` what would be cut off
    the pocket stays, marked."""
    if record.pocket is None:
        spread = np.zeros(3) if rng is None else rng.normal(0, NO_POCKET_SPREAD, 3)
        return shift(record, (record.ligand.x.mean(0) + spread).astype(np.float32))
    whole, ligand = record.pocket, record.ligand
    keep = crop_mask(whole, ligand.x, config) if rng is None else _random_crop_mask(whole, ligand, config, rng)
    pocket = replace(whole, kept=keep) if surroundings else select_atoms(whole, keep)
    origin = frame_origin(pocket)
    if rng is not None:
        origin = origin + rng.normal(0, config.center_jitter, 3).astype(np.float32)
    return shift(replace(record, pocket=pocket), origin)


def _random_crop_mask(
    pocket: Pocket, ligand: Ligand, config: PocketConfig, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mask [M] of a random cut: another radius, and some residues of the rim missing."""
    radius = rng.uniform(config.min_training_radius, config.calpha_radius)
    distance = nearest_distance(pocket.x, ligand.x)
    inside = distance <= config.min_training_radius
    residues = np.flatnonzero(np.bincount(pocket.residue_index))
    lost = np.zeros(len(residues) and int(residues[-1]) + 1, np.bool_)
    lost[residues] = rng.random(len(residues)) < config.rim_dropout
    lost[pocket.residue_index[inside]] = False
    return within_radius(pocket, distance, ~lost[pocket.residue_index], config, radius)
