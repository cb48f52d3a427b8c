"""Free space of a site: where groups can be placed, and how deep in the site a place lies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ligandsmith.chem.plausibility import PocketAtoms
from ligandsmith.records import Pocket
from ligandsmith.structure.pocket import frame_origin, kept_atoms

BURIAL = 8.0  # Å; pocket atoms this near a place count for its burial
REACH = 14.0  # Å, from the centre of the site
LEAST_BURIAL = 0.5  # of the most buried place of the site
GRID = 1.5  # Å
ROOM = 1.5  # Å, to the next atom
NEAREST = 6  # pocket atoms that are looked at


class FreeSpace:
    """A pocket without some of its atoms (indices)."""

    def __init__(self, pocket: Pocket, without: tuple[int, ...] = ()) -> None:
        self.atoms = PocketAtoms.of(np.delete(pocket.x, without, axis=0), np.delete(pocket.element, without))
        self.lining = cKDTree(kept_atoms(pocket).x)
        self.centre = frame_origin(pocket).astype(np.float64)
        self.least_burial = LEAST_BURIAL * self._deepest()

    def is_free(self, x: NDArray[np.float64], tolerance: float = 1.0) -> NDArray[np.bool_]:
        """Poses [T] of which no atom of x [T, N, 3] is nearer to the pocket than `tolerance` times the least distance
        of a ligand's atom."""
        distance, near = self.atoms.tree.query(x, k=NEAREST)
        return np.asarray((distance >= tolerance * self.atoms.nearest[near]).all((1, 2)))

    def burial(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number [T] of the site's atoms around each of x [T, 3]."""
        return np.asarray(self.lining.query_ball_point(x, BURIAL, return_length=True))

    def exits(self, x: NDArray[np.float64], hydrogens: Sequence[tuple[int, int]], tolerance: float) -> dict[int, int]:
        """Atoms of a group, [N, 3] Å with its hydrogens, that have room for a new atom, and the burial of its place;
        `hydrogens` are pairs of a hydrogen and the atom that it is bonded to."""
        found: dict[int, int] = {}
        for h, atom in hydrogens:
            place = x[atom] + ROOM * (x[h] - x[atom]) / np.linalg.norm(x[h] - x[atom])
            if self.is_free(place[None, None], tolerance)[0]:
                found[atom] = max(found.get(atom, 0), int(self.burial(place[None])[0]))
        return found

    def _deepest(self) -> float:
        """The burial of the most buried free place."""
        axis = np.arange(-REACH, REACH, GRID)
        x = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3) + self.centre
        x = x[self.is_free(x[:, None])]
        return float(self.burial(x).max()) if len(x) else 0.0
