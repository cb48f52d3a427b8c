"""Restrained relaxation of a ligand in a fixed pocket, with hydrogens. Never imports torch.

MMFF94s (UFF where it has no parameters) for the ligand, Lennard-Jones terms for the pocket, and a
harmonic restraint of 5 kcal/mol/Å² on the place of every heavy atom: bonds and angles are corrected and contacts eased,
the pose stays. A restraint that is flat up to 0.2 or 0.3 Å reached the same energies and only moved crystal poses
further. Hydrogens are relaxed first, with heavy atoms fixed.

The pocket has no bonds, no hydrogens and no charges here, so that no residue, cofactor or gap of a protein file can
fail to be typed. Radii and depths are those of the Universal Force Field, with three exceptions that stand for what
charges would do: polar pairs (N, O) meet at 3.0 Å, a polar hydrogen is drawn to an acceptor at 1.9 Å, and a metal ion
binds N, O and S at 2.2 Å.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers
from scipy.optimize import minimize

Array = NDArray[np.float64]
UFF = {  # distance of the minimum in Å, depth in kcal/mol, of an atom with its like
    1: (2.886, 0.044), 5: (4.083, 0.180), 6: (3.851, 0.105), 7: (3.660, 0.069), 8: (3.500, 0.060),
    9: (3.364, 0.050), 14: (4.295, 0.402), 15: (4.147, 0.305), 16: (4.035, 0.274), 17: (3.947, 0.227),
    34: (4.205, 0.291), 35: (4.189, 0.251), 53: (4.500, 0.339),
}  # fmt: skip
UFF_OTHER = (2.8, 0.1)  # metal ions and the rest
POLAR, SULFUR = (7, 8), 16
POLAR_PAIR = (3.0, 0.15)  # Å, kcal/mol: N and O of a hydrogen bond
HYDROGEN_BOND = (1.9, 1.0)  # polar hydrogen and acceptor
HYDROGEN_DONOR = (2.6, 0.05)  # polar hydrogen and an N that has only hydrogens to give, or a metal
METAL_BOND = (2.2, 0.5)
SOFT = 0.6  # of the distance of the minimum; nearer, the energy rises on a straight line instead of to infinity
CUTOFF = 6.0  # Å from the ligand; pocket atoms beyond are left out
DIELECTRIC = 4.0  # times the distance in Å: charges of one molecule in a pocket feel each other less than in a vacuum
GRADIENT = 0.05  # kcal/mol/Å of any coordinate: converged
FIELDS = ("MMFF94s", "UFF")

Mask = NDArray[np.bool_]  # of atoms
Energy = Callable[[Array], tuple[float, Array]]
HeavyEnergy = Callable[[Array], tuple[float, Array]]  # of the places [N, 3] of the heavy atoms; kcal/mol, and gradient


@dataclass(frozen=True)
class Surroundings:
    """Fixed heavy atoms around a ligand."""

    x: Array  # [P, 3] Å
    element: NDArray[np.int64]  # [P] atomic numbers
    accepts: NDArray[np.bool_]  # [P] accepts hydrogen bonds

    def near(self, x: Array, radius: float) -> "Surroundings":
        """The atoms within `radius` Å of any of x [N, 3]."""
        inside = ((self.x >= x.min(0) - radius) & (self.x <= x.max(0) + radius)).all(1)
        kept = np.flatnonzero(inside)
        distance = np.linalg.norm(self.x[kept][:, None] - x[None], axis=-1)
        kept = kept[(distance <= radius).any(1)]
        return Surroundings(self.x[kept], self.element[kept], self.accepts[kept])


class PocketTerm:
    """Energy of a ligand with hydrogens in its surroundings, kcal/mol, and its gradient."""

    def __init__(self, mol: Chem.Mol, surroundings: Surroundings) -> None:
        self.y = surroundings.x
        self.minimum, self.depth = _pair_parameters(mol, surroundings)  # [N, P] each

    def __call__(self, x: Array) -> tuple[float, Array]:
        """Energy and its gradient [N, 3] at x [N, 3] Å."""
        square = (x * x).sum(1)[:, None] + (self.y * self.y).sum(1)[None] - 2 * x @ self.y.T
        r = np.sqrt(np.maximum(square, 1e-6))
        held = np.maximum(r, SOFT * self.minimum)
        sixth = (self.minimum / held) ** 6
        slope = 12 * self.depth * (sixth - sixth * sixth) / held  # dE/dr
        energy = self.depth * (sixth * sixth - 2 * sixth) + slope * (r - held)
        pull = slope / r
        return float(energy.sum()), pull.sum(1)[:, None] * x - pull @ self.y


def _pair_parameters(mol: Chem.Mol, surroundings: Surroundings) -> tuple[Array, Array]:
    ligand = np.array([a.GetAtomicNum() for a in mol.GetAtoms()])
    pocket = surroundings.element
    own, other = (np.array([UFF.get(int(z), UFF_OTHER) for z in elements]) for elements in (ligand, pocket))
    minimum = np.sqrt(own[:, None, 0] * other[None, :, 0])
    depth = np.sqrt(own[:, None, 1] * other[None, :, 1])
    polar = np.array(
        [z == 1 and a.GetNeighbors()[0].GetAtomicNum() in (*POLAR, SULFUR) if a.GetDegree() else False
         for a, z in zip(mol.GetAtoms(), ligand, strict=True)]
    )  # fmt: skip
    metal = np.array([int(z) not in UFF for z in pocket], dtype=bool)
    cases = (
        (np.isin(ligand, POLAR), np.isin(pocket, POLAR), POLAR_PAIR),
        (np.isin(ligand, (*POLAR, SULFUR)), metal, METAL_BOND),
        (polar, np.isin(pocket, POLAR) | metal, HYDROGEN_DONOR),
        (polar, surroundings.accepts, HYDROGEN_BOND),
    )
    for rows, columns, (distance, energy) in cases:
        pair = rows[:, None] & columns[None]
        minimum[pair], depth[pair] = distance, energy
    return minimum, depth


class RelaxFailure(Exception):
    """A ligand cannot be relaxed. The text is the reason, one line."""


@dataclass(frozen=True)
class RelaxOptions:
    """Restraint of heavy atoms (force constant, kcal/mol/Å²), and the most steps of each of the two stages."""

    force: float = 5.0
    steps: int = 600


DEFAULTS = RelaxOptions()


@dataclass(frozen=True)
class Relaxed:
    """A ligand with hydrogens. Energies in kcal/mol, of the ligand and its contacts without the restraint; 'before' is
    with the given heavy atoms and relaxed hydrogens. `new_stereo`: too flat to have had any at a place before."""

    mol: Chem.Mol
    energy_before: float
    energy_after: float
    moved_rmsd: float  # Å, heavy atoms
    force_field: str
    converged: bool
    new_stereo: bool


def relax(
    mol: Chem.Mol, surroundings: Surroundings | None, options: RelaxOptions = DEFAULTS, more: HeavyEnergy | None = None,
    *, fixed: int = 0, keep_stereo: bool = True,
) -> Relaxed:  # fmt: skip
    """Add hydrogens and relax; formal charges and stereo stay. Raises RelaxFailure.

    `mol` is sanitised and has one 3D conformer; hydrogens that it has are placed again. Without surroundings the ligand
    is relaxed alone, under the same restraint. `more` is a further energy of the heavy atoms. The first `fixed` heavy
    atoms stay where they are. Unless `keep_stereo`, stereo becomes what the relaxed pose has.
    """
    heavy = _without_hydrogens(mol)
    full = Chem.AddHs(heavy, addCoords=True)
    field, name = _force_field(full)
    start = full.GetConformer().GetPositions()
    number = np.arange(len(start))
    skeleton = number < heavy.GetNumAtoms()
    pocket = None if surroundings is None else _pocket(full, surroundings.near(start[skeleton], CUTOFF))
    energy = _energy(field, pocket)
    pulled = energy if more is None else _with_more(energy, more, heavy.GetNumAtoms())
    with np.errstate(all="ignore"):
        start, _ = _descend(energy, start, ~skeleton, options.steps)
        before, _ = energy(start)
        restrained = _restrained(pulled, start, skeleton, options.force)
        end, converged = _descend(restrained, start, number >= fixed, options.steps)
        after, _ = energy(end)
    if not (np.isfinite(end).all() and np.isfinite([before, after]).all()):
        raise RelaxFailure(f"the energy is not finite: {name}")
    full.GetConformer().SetPositions(end)
    moved = float(np.sqrt(((end - start)[skeleton] ** 2).sum(1).mean()))
    if not keep_stereo:
        Chem.AssignStereochemistryFrom3D(full)
    new_stereo = keep_stereo and _new_stereo(heavy, full)
    return Relaxed(full, before, after, moved, name, converged, new_stereo)


def _without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    if mol.GetNumConformers() != 1 or not np.isfinite(mol.GetConformer().GetPositions()).all():
        raise RelaxFailure("no finite coordinates")
    heavy = Chem.RemoveAllHs(mol)
    if not heavy.GetNumAtoms() or not heavy.GetConformer().Is3D():
        raise RelaxFailure("no heavy atoms in 3D")
    return heavy


def _pocket(mol: Chem.Mol, near: Surroundings) -> PocketTerm:
    if not len(near.x):
        raise RelaxFailure(f"no protein atom within {CUTOFF:g} Å")
    return PocketTerm(mol, near)


def _force_field(mol: Chem.Mol) -> tuple[Any, str]:
    """A force field of the ligand alone, and its name; raises RelaxFailure."""
    try:
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
        if properties is not None:
            properties.SetMMFFDielectricModel(1)  # distance-dependent
            properties.SetMMFFDielectricConstant(DIELECTRIC)
            field = rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties, ignoreInterfragInteractions=False)
            if field is not None:
                field.Initialize()
                return field, FIELDS[0]
        if rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
            field = rdForceFieldHelpers.UFFGetMoleculeForceField(mol, ignoreInterfragInteractions=False)
            if field is not None:
                field.Initialize()
                return field, FIELDS[1]
    except (RuntimeError, ValueError) as error:
        raise RelaxFailure(f"no force field: {' '.join(str(error).split())}") from error
    raise RelaxFailure("neither MMFF94s nor UFF has parameters for it")


def _energy(field: Any, pocket: PocketTerm | None) -> Energy:
    def energy(x: Array) -> tuple[float, Array]:
        flat = x.ravel().tolist()
        value, gradient = field.CalcEnergy(flat), np.array(field.CalcGrad(flat)).reshape(-1, 3)
        if pocket is not None:
            more, slope = pocket(x)
            value, gradient = value + more, gradient + slope
        return float(value), gradient

    return energy


def _with_more(energy: Energy, more: HeavyEnergy, count: int) -> Energy:
    def both(x: Array) -> tuple[float, Array]:
        (value, gradient), (extra, slope) = energy(x), more(x[:count])
        gradient[:count] += slope
        return value + extra, gradient

    return both


def _restrained(energy: Energy, start: Array, heavy: Mask, force: float) -> Energy:
    def restrained(x: Array) -> tuple[float, Array]:
        value, gradient = energy(x)
        shift = (x - start)[heavy]
        gradient[heavy] += force * shift
        return value + 0.5 * force * float((shift**2).sum()), gradient

    return restrained


def _descend(energy: Energy, start: Array, moving: Mask, steps: int) -> tuple[Array, bool]:
    """Lowest place found when the `moving` atoms move, and whether the gradient vanishes there."""
    if not moving.any():
        return start, True
    x = start.copy()

    def objective(flat: Array) -> tuple[float, Array]:
        x[moving] = flat.reshape(-1, 3)
        value, gradient = energy(x)
        return value, gradient[moving].ravel()

    options = {"maxiter": steps, "maxfun": 2 * steps, "gtol": GRADIENT, "ftol": 1e-9}
    result = minimize(objective, start[moving].ravel(), jac=True, method="L-BFGS-B", options=options)
    end = start.copy()
    end[moving] = result.x.reshape(-1, 3)
    return end, bool(result.success)


def _new_stereo(heavy: Chem.Mol, relaxed: Chem.Mol) -> bool:
    """Whether stereo that was undefined, because too flat, is defined now; raises RelaxFailure where it changed."""
    before, after = Chem.Mol(heavy), Chem.Mol(heavy)
    after.GetConformer().SetPositions(relaxed.GetConformer().GetPositions()[: heavy.GetNumAtoms()])
    for mol in (before, after):
        Chem.AssignStereochemistryFrom3D(mol)
    if Chem.MolToSmiles(before) == Chem.MolToSmiles(after):
        return False
    unknown = Chem.ChiralType.CHI_UNSPECIFIED
    for old, new in zip(before.GetAtoms(), after.GetAtoms(), strict=True):
        if old.GetChiralTag() not in (unknown, new.GetChiralTag()):
            raise RelaxFailure(f"stereo would change: centre at atom {old.GetIdx()}")
    unset = (Chem.BondStereo.STEREONONE, Chem.BondStereo.STEREOANY)
    for old, new in zip(before.GetBonds(), after.GetBonds(), strict=True):
        if old.GetStereo() not in (*unset, new.GetStereo()):
            raise RelaxFailure(f"stereo would change: double bond at atom {old.GetBeginAtomIdx()}")
    return True
