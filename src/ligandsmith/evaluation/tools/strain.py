"""Strain of a pose by the force fields UFF and MMFF94s. Never imports torch.

As an early `get_strain_energy` of PoseCheck (Harris et al. 2023): energy of the pose with hydrogens placed by RDKit,
minus the energy of one conformer embedded again (ETKDG, seed 0xF00D) and minimised by 200 iterations in the same force
field. Where no conformer can be embedded, the pose itself is minimised, as there. Which version is behind the published
tables is not known; the pose against itself minimised has a median of 107 kcal/mol on the same ligands, near 103 too.

Hydrogens of the pose are placed and not relaxed: with them relaxed, the ligands of the CrossDocked test set would have
strains that do not compare with those published. `relaxed_hydrogens` has that variant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.ForceField.rdForceField import ForceField

from ligandsmith.evaluation.tools.runner import Site, failing_as

SEED = 0xF00D  # of the embedding, as in PoseCheck
UNRELAXED = 1e4  # kcal/mol; a conformer that is still there after minimisation says nothing about its molecule
ITERATIONS = 200  # of the minimisation, as in PoseCheck
EMBED_TRIES = 20  # of ETKDG; a cage that cannot be embedded would take minutes


FieldOf = Callable[[Chem.Mol], ForceField | None]  # None: parameters are missing


@dataclass(frozen=True)
class StrainTool:
    """`strain_uff` and `strain_mmff` (MMFF94s) in kcal/mol; None where a force field lacks parameters."""

    relaxed_hydrogens: bool = False
    name: str = "strain"
    seconds: float = 60.0

    def missing(self, site: Site) -> str:
        """Never: RDKit is always there."""
        del site
        return ""

    def settings(self) -> dict[str, Any]:
        """Version, seed and what is done to hydrogens."""
        return {
            "version": rdBase.rdkitVersion,
            "seed": SEED,
            "iterations": ITERATIONS,
            "relaxed_hydrogens": self.relaxed_hydrogens,
        }

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, float | None]]:
        """The function gives both strains of a heavy-atom molecule; the site plays no part."""
        del site
        return lambda mol: strains(mol, self.relaxed_hydrogens)


def strains(mol: Chem.Mol, relaxed_hydrogens: bool = False) -> dict[str, float | None]:
    """`strain_uff` and `strain_mmff` of a molecule with heavy-atom coordinates, kcal/mol.

    Raises ToolFailure if hydrogens cannot be added.
    """
    with failing_as("strain"):
        pose = Chem.AddHs(mol, addCoords=True)
    relaxed = _embedded(pose)
    fields = {"strain_uff": _uff, "strain_mmff": _mmff}
    return {name: _strain(pose, relaxed, field_of, relaxed_hydrogens) for name, field_of in fields.items()}


def _embedded(pose: Chem.Mol) -> Chem.Mol:
    """The molecule in a conformer of its own, or in its pose if none can be embedded."""
    relaxed = Chem.Mol(pose)
    try:
        found = rdDistGeom.EmbedMolecule(relaxed, maxAttempts=EMBED_TRIES, randomSeed=SEED)
    except (ValueError, RuntimeError):
        found = -1
    return relaxed if found >= 0 else Chem.Mol(pose)


def _strain(pose: Chem.Mol, relaxed: Chem.Mol, field_of: FieldOf, relaxed_hydrogens: bool) -> float | None:
    pose, relaxed = Chem.Mol(pose), Chem.Mol(relaxed)  # a force field moves the molecule, and dies with it
    start, end = field_of(pose), field_of(relaxed)
    if start is None or end is None:
        return None
    start.Initialize()
    end.Initialize()
    try:
        if relaxed_hydrogens:
            for atom in pose.GetAtoms():
                if atom.GetAtomicNum() > 1:
                    start.AddFixedPoint(atom.GetIdx())
            start.Minimize(maxIts=ITERATIONS)
        end.Minimize(maxIts=ITERATIONS)
        lowest = float(end.CalcEnergy())
        if lowest > UNRELAXED:
            return None
        value = float(start.CalcEnergy() - lowest)
    except (ValueError, RuntimeError, ArithmeticError):
        return None
    return value if abs(value) < float("inf") else None  # neither infinite nor NaN


def _uff(mol: Chem.Mol) -> ForceField | None:
    known = rdForceFieldHelpers.UFFHasAllMoleculeParams(mol)
    return rdForceFieldHelpers.UFFGetMoleculeForceField(mol) if known else None


def _mmff(mol: Chem.Mol) -> ForceField | None:
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    return None if properties is None else rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
