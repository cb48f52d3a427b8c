"""The NumPy records that flow between the packages: one ligand, pocket or complex each. No torch here.

Shape legend: N ligand heavy atoms, M pocket atoms, E bonds, Z latent width. Coordinates are in Å unless a name says
`latent`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Mol


@dataclass(frozen=True)
class Ligand:
    """Heavy atoms of one molecule. Atom order is that of the source file."""

    element: NDArray[np.uint8]  # [N] atomic numbers
    charge: NDArray[np.int8]  # [N] formal charges
    aromatic: NDArray[np.bool_]  # [N]
    num_h: NDArray[np.uint8]  # [N] hydrogens, implicit and explicit
    x: NDArray[np.float32]  # [N, 3] Å
    bond_index: NDArray[np.int16]  # [E, 2], i < j
    bond_type: NDArray[np.uint8]  # [E], index into vocabulary.BOND_CLASSES (1..4)
    fixed: NDArray[np.bool_] | None = None  # [N], of a fragment that is given and to be completed
    properties: NDArray[np.float32] | None = None  # as data.properties has them, NaN where unknown

    @property
    def num_atoms(self) -> int:
        """Number of heavy atoms."""
        return len(self.element)


@dataclass(frozen=True)
class Pocket:
    """Heavy atoms of the protein, metals and cofactors around a site. Waters are never in it."""

    element: NDArray[np.uint8]  # [M] atomic numbers
    residue: NDArray[np.uint8]  # [M] index into vocabulary.RESIDUES
    atom_name: NDArray[np.uint8]  # [M] index into vocabulary.ATOM_NAMES
    residue_index: NDArray[np.int16]  # [M] 0-based running number of the residue within the pocket
    x: NDArray[np.float32]  # [M, 3] Å
    center: NDArray[np.float32] | None = None  # [3] box centre given by the user; None: mean of the C-alphas
    name: str = ""
    latent: NDArray[np.float16] | None = None  # [M, Z], where a frozen encoder has been run before
    kept: NDArray[np.bool_] | None = None  # [M], what the denoiser sees; the rest only surrounds it. None: all
    cut: str = ""  # around what, at the radii that size models are fitted to: ligand | center; empty: anything else
    labels: tuple[
        str, ...
    ] = ()  # of the residues by `residue_index`, CHAIN:NAME:NUMBER; empty where not known, as in shards

    @property
    def num_atoms(self) -> int:
        """Number of pocket atoms."""
        return len(self.element)


@dataclass(frozen=True)
class Complex:
    """One training record. A ligand-only record (conformer, crystal ligand) has `pocket=None`."""

    id: str
    ligand: Ligand
    pocket: Pocket | None = None
    smiles: str = ""
    source: str = ""
    licence: str = ""
    cluster: int = -1  # 90 % sequence cluster; -1: unknown, a cluster of its own


@dataclass(frozen=True)
class Rejection:
    """A record that could not be used, and why. Counted and listed, never dropped in silence."""

    id: str
    reason: str  # short machine-readable cause, e.g. "unknown element"
    detail: str = ""  # the specifics: file, line, atom


@dataclass(frozen=True)
class DecodedLigand:
    """What the ligand decoder says of one molecule, before any chemistry."""

    element: NDArray[np.uint8]  # [N] atomic numbers
    charge: NDArray[np.int8]  # [N]
    aromatic: NDArray[np.bool_]  # [N]
    num_h: NDArray[np.uint8]  # [N]
    bond_probs: NDArray[np.float32]  # [N, N, 5], symmetric, rows sum to 1
    x: NDArray[np.float32]  # [N, 3] Å


@dataclass(frozen=True)
class BuildFailure:
    """Why a decoded ligand is not a molecule."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class GeneratedLigand:
    """One requested molecule: a molecule, or the reason why there is none."""

    index: int
    num_atoms: int
    mol: Mol | None
    raw_valid: bool  # sanitises with the decoder's bonds as they are
    repaired: bool  # valence repair changed a bond or a charge
    connected: bool
    reason: str = ""  # why mol is None
    detail: str = ""
    candidates: int = 1  # sampled for it; this is the one that was kept
    candidates_valid: int = 0  # of these, valid and connected without repair
    changed: tuple[int, ...] = ()  # atoms of `mol` that repair touched
    notes: tuple[tuple[str, str], ...] = ()  # names and values of further SD properties


class PropertyScale(NamedTuple):
    """Mean, standard deviation and range of a property of drug-like ligands."""

    mean: float
    sd: float
    low: float  # values that can be asked for
    high: float


PROPERTIES = {  # SA is the normalised score, 1 the easiest to make (Ertl and Schuffenhauer 2009)
    "qed": PropertyScale(0.55, 0.2, 0.0, 1.0),
    "sa": PropertyScale(0.75, 0.1, 0.0, 1.0),
    "logp": PropertyScale(2.5, 1.8, -6.0, 10.0),
}
