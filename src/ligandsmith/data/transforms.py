"""What happens to a record between the data set and the batch: the cut of the pocket and the frame.

The frame belongs to the pocket: its origin is the user's box centre or the mean of the pocket's C-alphas, never the
ligand. In training (a generator is passed in) the cut and the origin vary, so that neither tells where the ligand is.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ligandsmith.config import PocketConfig
from ligandsmith.records import Complex, Ligand, Pocket
from ligandsmith.structure.vocabulary import CALPHA

NO_POCKET_SPREAD = 2.0  # Å per axis, s.d. of the ligand's centre around the origin where there is no pocket


def select_atoms(pocket: Pocket, keep: NDArray[np.bool_]) -> Pocket:
    """The pocket with the atoms marked in `keep` [M] only."""
    return replace(
        pocket,
        **{name: getattr(pocket, name)[keep] for name in ("element", "residue", "atom_name", "residue_index", "x")},
        latent=None if pocket.latent is None else pocket.latent[keep],
        kept=None,
    )


def kept_part(pocket: Pocket) -> Pocket:
    """The atoms that the denoiser sees."""
    return pocket if pocket.kept is None else select_atoms(pocket, pocket.kept)


def mark_pocket(pocket: Pocket, around: NDArray[np.float32], config: PocketConfig) -> Pocket:
    """Keep heavy atoms within the config's radius of any point of `around` [P, 3] Å, the C-alphas of the shell beyond,
    and of these the nearest `max_atoms`; the others stay as surroundings."""
    return replace(pocket, kept=_cut(pocket, around, config))


def _cut(pocket: Pocket, around: NDArray[np.float32], config: PocketConfig) -> NDArray[np.bool_]:
    """Mask [M] of the atoms that the config keeps of a pocket around points [P, 3] Å."""
    distance = nearest_distance(pocket.x, around)
    return _within(pocket, distance, np.ones(len(distance), np.bool_), config, config.radius)


def _within(
    pocket: Pocket, distance: NDArray[np.float32], allowed: NDArray[np.bool_], config: PocketConfig, radius: float
) -> NDArray[np.bool_]:
    """Mask [M] of the allowed atoms that a cut at `radius` keeps; `distance` [M] Å is to what it is cut around."""
    near = (distance <= radius) | ((pocket.atom_name == CALPHA) & (distance <= max(radius, config.calpha_radius)))
    keep: NDArray[np.bool_] = allowed & near
    if np.count_nonzero(keep) > config.max_atoms:
        keep &= distance <= np.partition(distance[keep], config.max_atoms - 1)[config.max_atoms - 1]
    return keep


def nearest_distance(x: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance (Å) of each x [M, 3] to the nearest of points [P, 3]."""
    # einsum: a sum over a last dimension of three costs five times as much.
    squared = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", points, points) - 2 * x @ points.T
    return np.sqrt(np.maximum(squared.min(1), 0)).astype(np.float32)


def frame_origin(pocket: Pocket) -> NDArray[np.float32]:
    """Origin [3] Å of the pocket's frame: the box centre, else the mean of the kept C-alphas or atoms."""
    if pocket.center is not None:
        return pocket.center
    pocket = kept_part(pocket)
    calphas = pocket.x[pocket.atom_name == CALPHA]
    return (calphas if len(calphas) else pocket.x).mean(0)


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
    keep = _cut(whole, ligand.x, config) if rng is None else _varied_cut(whole, ligand, config, rng)
    pocket = replace(whole, kept=keep) if surroundings else select_atoms(whole, keep)
    origin = frame_origin(pocket)
    if rng is not None:
        origin = origin + rng.normal(0, config.center_jitter, 3).astype(np.float32)
    return shift(replace(record, pocket=pocket), origin)


def _varied_cut(pocket: Pocket, ligand: Ligand, config: PocketConfig, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask [M] of a random cut: another radius, and some residues of the rim missing."""
    radius = rng.uniform(config.min_training_radius, config.calpha_radius)
    distance = nearest_distance(pocket.x, ligand.x)
    inside = distance <= config.min_training_radius
    residues = np.flatnonzero(np.bincount(pocket.residue_index))
    lost = np.zeros(len(residues) and int(residues[-1]) + 1, np.bool_)
    lost[residues] = rng.random(len(residues)) < config.rim_dropout
    lost[pocket.residue_index[inside]] = False
    return _within(pocket, distance, ~lost[pocket.residue_index], config, radius)
