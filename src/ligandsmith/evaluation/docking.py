"""AutoDock Vina: score of a pose, local minimisation, docking anew. Never imports torch.

The receptor is rigid and prepared once per site; Vina's maps are computed once per site and process. The box encloses
the reference ligand with 5 Å on each side, at least 20 Å wide; without a reference, or where a molecule leaves it, the
molecule's own box of the same make. Hydrogens of the ligand are added with coordinates first.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolAlign

from ligandsmith.evaluation.failure import ToolFailure
from ligandsmith.evaluation.poses import Protein
from ligandsmith.evaluation.receptor import prepared
from ligandsmith.evaluation.tools import Site

MARGIN = 5.0  # Å on each side of the ligand
SMALLEST_BOX = 20.0  # Å
MODES = ("score", "minimise", "dock")
Box = tuple[NDArray[np.float64], NDArray[np.float64]]  # centre and edges, Å


@dataclass(frozen=True)
class VinaTool:
    """`vina_score`, `vina_min`, `vina_dock` (kcal/mol) as asked for in `modes`; `dock_rmsd` (Å) between the pose and
    the docked one; the poses themselves as `min_pose` and `dock_pose` (mol blocks of heavy atoms).

    `cache` is a folder for prepared receptors.
    """

    name: str = "vina"
    seconds: float = 1800.0
    modes: tuple[str, ...] = ("score", "minimise")
    exhaustiveness: int = 8
    seed: int = 0
    cache: Path | None = None

    def missing(self, site: Site) -> str:
        """Why it cannot run."""
        for package in ("vina", "meeko"):
            if importlib.util.find_spec(package) is None:
                return f"{package} is not installed: pip install 'ligandsmith[evaluate]'"
        return "" if site.protein is not None else "no protein given"

    def settings(self) -> dict[str, Any]:
        """Modes, those of docking only where it is asked for, versions, box."""
        found: dict[str, Any] = {"modes": list(self.modes), "box": [MARGIN, SMALLEST_BOX]}
        found |= {package: metadata.version(package) for package in ("vina", "meeko")}
        return found | ({"exhaustiveness": self.exhaustiveness, "seed": self.seed} if "dock" in self.modes else {})

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        """Prepare the receptor; the function scores a molecule."""
        assert site.protein is not None
        box = None if site.reference is None else box_around(site.reference)
        return _Scorer(self, site.protein, box)


def box_around(mol: Chem.Mol) -> Box:
    """Centre and edges (Å) of the box around a molecule."""
    x = mol.GetConformer().GetPositions()
    return (x.max(0) + x.min(0)) / 2, np.maximum(x.max(0) - x.min(0) + 2 * MARGIN, SMALLEST_BOX)


def within(mol: Chem.Mol, box: Box) -> bool:
    """Whether every atom is in the box, 1 Å from its walls."""
    return bool((np.abs(mol.GetConformer().GetPositions() - box[0]) < box[1] / 2 - 1.0).all())


class _Scorer:
    """Vina with the maps of a site."""

    def __init__(self, tool: VinaTool, protein: Protein, box: Box | None) -> None:
        self.tool, self.box = tool, box
        self.pdbqt = prepared(protein, tool.cache).pdbqt
        self.site_vina = None if box is None else self._vina(box)

    def _vina(self, box: Box) -> Any:
        from vina import Vina  # noqa: PLC0415 (optional)

        # Vina takes seed 0 for "choose one"
        vina = Vina(sf_name="vina", cpu=1, seed=self.tool.seed + 1, verbosity=0)
        with tempfile.NamedTemporaryFile("w", suffix=".pdbqt") as file:
            file.write(self.pdbqt)
            file.flush()
            vina.set_receptor(file.name)
        vina.compute_vina_maps(center=box[0].tolist(), box_size=box[1].tolist())
        return vina

    def __call__(self, mol: Chem.Mol) -> dict[str, Any]:
        text = ligand_pdbqt(mol)
        inside = self.box is not None and within(mol, self.box)
        vina = self.site_vina if inside else self._vina(box_around(mol))
        try:
            return self._answers(vina, text, mol)
        except RuntimeError as error:
            raise ToolFailure(f"vina: {' '.join(str(error).split())[:160]}") from error

    def _answers(self, vina: Any, text: str, mol: Chem.Mol) -> dict[str, Any]:
        vina.set_ligand_from_string(text)
        answers: dict[str, Any] = {}
        if "score" in self.tool.modes:
            answers["vina_score"] = float(vina.score()[0])
        if "minimise" in self.tool.modes:
            answers["vina_min"] = float(vina.optimize()[0])
            answers["min_pose"] = _block(_written(vina), mol)
        if "dock" in self.tool.modes:
            vina.dock(exhaustiveness=self.tool.exhaustiveness, n_poses=1)
            answers["vina_dock"] = float(vina.energies(n_poses=1)[0][0])
            pose = _pose(vina.poses(n_poses=1))
            answers["dock_pose"] = _block(vina.poses(n_poses=1), mol)
            answers["dock_rmsd"] = None if pose is None else float(rdMolAlign.CalcRMS(pose, Chem.Mol(mol)))
        return answers


def _written(vina: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pose.pdbqt"
        vina.write_pose(str(path))
        return path.read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _preparation() -> Any:
    from meeko import MoleculePreparation  # noqa: PLC0415 (optional)

    return MoleculePreparation()


def ligand_pdbqt(mol: Chem.Mol) -> str:
    """PDBQT text of a heavy-atom molecule with a conformer; raises ToolFailure."""
    from meeko import PDBQTWriterLegacy  # noqa: PLC0415 (optional)

    if len(Chem.GetMolFrags(mol)) > 1:
        raise ToolFailure("vina: several fragments")
    try:
        with_hydrogens = Chem.AddHs(mol, addCoords=True)
        (setup, *_) = _preparation().prepare(with_hydrogens)
        text, done, message = PDBQTWriterLegacy.write_string(setup)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ToolFailure(f"meeko: {' '.join(str(error).split())[:160]}") from error
    if not done:
        raise ToolFailure(f"meeko: {' '.join(str(message).split())[:160]}")
    return str(text)


def _pose(pdbqt: str) -> Chem.Mol | None:
    """The first pose as a heavy-atom molecule."""
    from meeko import PDBQTMolecule, RDKitMolCreate  # noqa: PLC0415 (optional)

    mols = RDKitMolCreate.from_pdbqt_mol(PDBQTMolecule(pdbqt, skip_typing=True))
    return None if not mols or mols[0] is None else Chem.RemoveHs(mols[0])


def _block(pdbqt: str, mol: Chem.Mol) -> str | None:
    pose = _pose(pdbqt)
    if pose is None or pose.GetNumAtoms() != mol.GetNumAtoms():
        return None
    return str(Chem.MolToMolBlock(pose))
