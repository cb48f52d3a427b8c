"""AutoDock Vina on poses as they are, minimised and docked again. Never imports torch; vina and meeko are optional.

The box is the reference ligand's extent and 5 Å on each side, at least 22.5 Å long; without a reference, that of the
protein atoms. A molecule that leaves the box is scored and minimised in a box of its own; docking always searches the
site's box. Molecules get RDKit's hydrogens and meeko's types, torsions and branches; rings stay rigid, macrocycles too.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolAlign

from ligandsmith.chem.protein import ProteinView
from ligandsmith.chem.receptor import Places, receptor_pdbqt
from ligandsmith.errors import one_line
from ligandsmith.evaluation.tools.runner import Site, ToolFailure, failing_as, not_installed
from ligandsmith.files import temporary_folder, write_text

MODES = ("score", "minimise", "dock")
MARGIN = 5.0  # Å around the reference ligand
SMALLEST_EDGE = 22.5  # Å
LARGEST_EDGE = 45.0  # Å; a box around a whole protein is cut to this about its centre
INSIDE = 1.0  # Å that every atom of a molecule must keep from the box's steric
ELEMENTS = {"H", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"}  # of ligands that meeko and Vina both type
RECEPTOR_RULES = "2"  # changes with `receptor`


@dataclass(frozen=True)
class VinaTool:
    """AutoDock Vina scores (kcal/mol) and poses (mol blocks of the heavy atoms) for the modes asked for.

    `score` gives vina_score; `minimise` vina_min and min_pose; `dock` vina_dock, dock_pose and dock_rmsd (Å).
    """

    name: str = "vina"
    seconds: float = 900.0
    modes: tuple[str, ...] = ("score", "minimise")
    exhaustiveness: int = 8
    seed: int = 0
    cache: Path | None = None  # folder of receptors, shared between runs

    def missing(self, site: Site) -> str:
        """Why it cannot run."""
        unknown = [mode for mode in self.modes if mode not in MODES]
        wrong = f"vina: no mode '{unknown[0]}'; choose from: {', '.join(MODES)}" if unknown else ""
        return not_installed("vina", "meeko") or ("no protein given" if site.protein is None else wrong)

    def settings(self) -> dict[str, Any]:
        """Versions, modes, search effort where it matters, box."""
        chosen: dict[str, Any] = {"modes": [mode for mode in MODES if mode in self.modes]}
        if "dock" in self.modes:
            chosen |= {"exhaustiveness": self.exhaustiveness, "seed": self.seed}
        versions = {package: metadata.version(package) for package in ("vina", "meeko")}
        return {**versions, **chosen, "receptor": RECEPTOR_RULES, "box": [MARGIN, SMALLEST_EDGE, LARGEST_EDGE]}

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        """Prepare receptor and maps once; the function scores a molecule or raises ToolFailure."""
        return Docking(self, _receptor(site.required_protein(), self.cache), *site_box(site)).answer


def site_box(site: Site) -> tuple[Places, Places]:
    """Centre and edges (Å) of the box that docking searches."""
    if site.reference is not None:
        return _box(site.reference.GetConformer().GetPositions())
    center, size = _box(site.required_protein().x, margin=0.0)
    return center, np.minimum(size, LARGEST_EDGE)


def _box(x: Places, margin: float = MARGIN) -> tuple[Places, Places]:
    low, high = x.min(0), x.max(0)
    return (low + high) / 2, np.maximum(high - low + 2 * margin, SMALLEST_EDGE)


def _receptor(protein: ProteinView, cache: Path | None) -> str:
    """The receptor as PDBQT text, kept in `cache`."""
    if cache is None:
        return receptor_pdbqt(protein)
    path = cache / f"{receptor_key(protein)}.pdbqt"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        write_text(path, receptor_pdbqt(protein))
    return path.read_text(encoding="ascii")


def receptor_key(protein: ProteinView) -> str:
    """Changes with the atoms, their names and coordinates, and with the rules of typing."""
    digest = hashlib.sha256(RECEPTOR_RULES.encode())
    digest.update(protein.element.tobytes() + protein.x.tobytes() + protein.residue_index.tobytes())
    digest.update(repr((protein.residues, protein.name)).encode())
    return digest.hexdigest()[:24]


class Docking:
    """Vina with a receptor and the maps of one box (centre and edges, Å), for one molecule after the other."""

    def __init__(self, tool: VinaTool, receptor: str, center: Places, size: Places) -> None:
        self.tool, self.center, self.size = tool, center, size
        self.receptor, self.vina = receptor, _load_vina(receptor, tool.seed)
        self.vina.compute_vina_maps(center.tolist(), size.tolist())

    def answer(self, mol: Chem.Mol) -> dict[str, Any]:
        """The values of the modes asked for; raises ToolFailure."""
        ligand = prepare_ligand(mol)
        with failing_as("vina"):
            return self._local(mol, ligand) | self._dock(mol, ligand)

    def _local(self, mol: Chem.Mol, ligand: "PreparedLigand") -> dict[str, Any]:
        """Score of the pose, and of its local minimum."""
        answer: dict[str, Any] = {}
        if not {"score", "minimise"} & set(self.tool.modes):
            return answer
        inside = bool((np.abs(ligand.x - self.center) < self.size / 2 - INSIDE).all())
        # Maps of a box of its own have the types of this molecule only; one of other types would end the process.
        vina = self.vina if inside else _load_vina(self.receptor, self.tool.seed)
        vina.set_ligand_from_string(ligand.pdbqt)
        if not inside:
            center, size = _box(ligand.x)
            vina.compute_vina_maps(center.tolist(), size.tolist())
        if "score" in self.tool.modes:
            answer["vina_score"] = float(vina.score()[0])
        if "minimise" in self.tool.modes:
            answer["vina_min"] = float(vina.optimize()[0])
            with temporary_folder() as folder:
                vina.write_pose(str(folder / "pose.pdbqt"))
                pose = (folder / "pose.pdbqt").read_text(encoding="ascii")
            answer["min_pose"] = Chem.MolToMolBlock(ligand.moved(mol, pose))
        return answer

    def _dock(self, mol: Chem.Mol, ligand: "PreparedLigand") -> dict[str, Any]:
        """The best pose of a search that starts anywhere in the box."""
        if "dock" not in self.tool.modes:
            return {}
        self.vina.set_ligand_from_string(ligand.pdbqt)
        self.vina.dock(exhaustiveness=self.tool.exhaustiveness, n_poses=1)
        docked = ligand.moved(mol, self.vina.poses(n_poses=1))
        return {
            "vina_dock": float(self.vina.energies(n_poses=1)[0][0]),
            "dock_rmsd": float(rdMolAlign.CalcRMS(Chem.RemoveHs(docked), Chem.RemoveHs(mol))),
            "dock_pose": Chem.MolToMolBlock(docked),
        }


def _load_vina(receptor: str, seed: int) -> Any:
    from vina import Vina  # noqa: PLC0415 (optional)

    vina = Vina(sf_name="vina", cpu=1, seed=seed + 1, verbosity=0)  # seed 0 would be a random one
    with temporary_folder() as folder:
        path = folder / "receptor.pdbqt"
        path.write_text(receptor, encoding="ascii")
        vina.set_receptor(str(path))
    return vina


@dataclass(frozen=True)
class PreparedLigand:
    """A molecule as Vina reads it, and where its atoms are in that text."""

    pdbqt: str
    atoms: tuple[int, ...]  # index in the molecule of each atom line
    x: Places  # [N, 3] Å, of the atom lines

    def moved(self, mol: Chem.Mol, pose: str) -> Chem.Mol:
        """A copy of the heavy-atom molecule at the place of a pose, PDBQT text with the same atom lines."""
        copy, x = Chem.Mol(mol), mol.GetConformer().GetPositions()
        for atom, place in zip(self.atoms, _places(pose), strict=True):
            if atom < len(x):
                x[atom] = place
        copy.GetConformer().SetPositions(x)
        return copy


def prepare_ligand(mol: Chem.Mol) -> PreparedLigand:
    """Hydrogens, types and torsions for a heavy-atom molecule with a conformer; raises ToolFailure."""
    from meeko import MoleculePreparation, PDBQTWriterLegacy  # noqa: PLC0415 (optional, and slow to import)

    if len(Chem.GetMolFrags(mol)) > 1:
        raise ToolFailure("vina: several fragments")
    untyped = sorted({a.GetSymbol() for a in mol.GetAtoms()} - ELEMENTS)
    if untyped:
        raise ToolFailure(f"vina: no atom type for {', '.join(untyped)}")
    with failing_as("vina: meeko failed"):
        full = Chem.AddHs(mol, addCoords=True)
        setup = MoleculePreparation(rigid_macrocycles=True, charge_model="zero").prepare(full)[0]
        text, written, cause = PDBQTWriterLegacy.write_string(setup, add_index_map=True, remove_smiles=True)
    if not written:
        raise ToolFailure(f"vina: meeko failed: {one_line(cause)}")
    places: dict[int, int] = {}  # number of the atom line to index in the molecule
    for line in text.splitlines():
        if line.startswith("REMARK INDEX MAP"):
            numbers = [int(word) for word in line.split()[3:]]
            places |= dict(zip(numbers[1::2], (n - 1 for n in numbers[::2]), strict=True))
    return PreparedLigand(text, tuple(places[n] for n in sorted(places)), _places(text))


def _places(pdbqt: str) -> Places:
    lines = [line for line in pdbqt.splitlines() if line.startswith(("ATOM", "HETATM"))]
    return np.array([[float(line[30 + 8 * k : 38 + 8 * k]) for k in range(3)] for line in lines])
