"""Restrained relaxation of a ligand in a fixed pocket, with hydrogens. Never imports torch.

MMFF94s (UFF where it has no parameters) for the ligand, Lennard-Jones terms for the pocket (`surroundings`), and a
harmonic restraint of 5 kcal/mol/Å² on the place of every heavy atom: bonds and angles are corrected and contacts eased,
the pose stays. A restraint that is flat up to 0.2 or 0.3 Å reached the same energies and only moved crystal poses
further. Hydrogens are relaxed first, with heavy atoms fixed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers
from scipy.optimize import minimize

from ligandsmith.chem.surroundings import Array, PocketTerm, Surroundings

CUTOFF = 6.0  # Å from the ligand; pocket atoms beyond are left out
DIELECTRIC = 4.0  # times the distance in Å: charges of one molecule in a pocket feel each other less than in a vacuum
GRADIENT = 0.05  # kcal/mol/Å of any coordinate: converged
FIELDS = ("MMFF94s", "UFF")

Mask = NDArray[np.bool_]  # of atoms
Energy = Callable[[Array], tuple[float, Array]]


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


def relax(mol: Chem.Mol, surroundings: Surroundings | None, options: RelaxOptions = DEFAULTS) -> Relaxed:
    """Add hydrogens and relax; formal charges and stereo stay. Raises RelaxFailure.

    `mol` is sanitised and has one 3D conformer; hydrogens that it has are placed again. Without surroundings the ligand
    is relaxed alone, under the same restraint.
    """
    heavy = _without_hydrogens(mol)
    full = Chem.AddHs(heavy, addCoords=True)
    field, name = _force_field(full)
    start = full.GetConformer().GetPositions()
    fixed = np.arange(len(start)) < heavy.GetNumAtoms()
    pocket = None if surroundings is None else _pocket(full, surroundings.near(start[fixed], CUTOFF))
    energy = _energy(field, pocket)
    with np.errstate(all="ignore"):
        start, _ = _descend(energy, start, ~fixed, options.steps)
        before, _ = energy(start)
        everything = np.ones(len(start), dtype=bool)
        end, converged = _descend(_restrained(energy, start, fixed, options.force), start, everything, options.steps)
        after, _ = energy(end)
    if not (np.isfinite(end).all() and np.isfinite([before, after]).all()):
        raise RelaxFailure(f"the energy is not finite: {name}")
    full.GetConformer().SetPositions(end)
    moved = float(np.sqrt(((end - start)[fixed] ** 2).sum(1).mean()))
    return Relaxed(full, before, after, moved, name, converged, _new_stereo(heavy, full))


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
