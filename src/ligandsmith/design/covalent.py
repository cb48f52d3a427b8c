"""A warhead bonded to a residue: placed at bonding geometry, as the fragment that ligands are grown from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from scipy.spatial.transform import Rotation

from ligandsmith.chem.fragment import Fragment
from ligandsmith.design.anchors import PREFERENCE, TOLERANCES, are_apart
from ligandsmith.design.parts import beside
from ligandsmith.design.residues import NamedResidues
from ligandsmith.design.space import FreeSpace
from ligandsmith.design.warheads import NUCLEOPHILES, read_warhead, unreacted_smiles
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Pocket, Rejection
from ligandsmith.structure.ligands import ligand_from_mol

BONDED_LENGTHS = {  # Å, of single bonds between the residue's atom and the warhead's
    (16, 6): 1.81, (8, 6): 1.41, (7, 6): 1.45, (8, 5): 1.48,
}  # fmt: skip
ANGLES = {16: 102.0, 8: 115.0, 7: 116.0}  # degrees, at the residue's atom
LENGTH_TOLERANCE, ANGLE_TOLERANCE = 0.1, 12.0
CONFORMERS = 100
DISTINCT = 0.3  # Å, RMSD between conformers
OUTERMOST = 0.6  # of the burial that anchors need: a residue that reacts often lies at the rim
ENOUGH = 10  # places, for ligands to differ
TURNS = 60  # about the last bond of the residue
CARBON_ELEMENT = 6
BONDED = 2.6  # Å; nearer atoms of other residues, another sulfur or a metal, are bonded to the residue's atom
RESIDUE_CLASH = 2.5  # Å, of the other atoms of a ligand with the residue


@dataclass(frozen=True)
class Placement:
    """A placed warhead."""

    fragment: Fragment
    burial: int  # pocket atoms around where it grows


class CovalentSite:
    """A residue of a pocket and a warhead that is bonded to it. Raises LigandsmithError for what cannot be."""

    def __init__(self, pocket: Pocket, residue: str, warhead: str) -> None:
        self.warhead = read_warhead(warhead)
        residues = NamedResidues(pocket)
        number = residues.find(residue, f"--covalent {residue}")
        self.label, name, atoms = residues.label(number), residues.parents[number], residues.atoms(number)
        if name not in NUCLEOPHILES:
            raise LigandsmithError(
                f"--covalent {residue}: {name or 'this residue'} does not react; these do: {', '.join(NUCLEOPHILES)}"
            )
        if name not in self.warhead.residues:
            raise LigandsmithError(
                f"--covalent {residue}: {self.warhead.name} reacts with {', '.join(self.warhead.residues)}, not {name}"
            )
        missing = [atom for atom in (*NUCLEOPHILES[name], "CA") if atom not in atoms]
        if missing:
            raise LigandsmithError(f"--covalent {residue}: the file has no atom {missing[0]} of it")
        self.atom_name = NUCLEOPHILES[name][0]
        self.atom, self.before = (atoms[a] for a in NUCLEOPHILES[name])
        near = [
            a for a in residues.protein.tree.query_ball_point(pocket.x[self.atom], BONDED) if a not in atoms.values()
        ]
        if near:
            partner = residues.label(int(pocket.residue_index[near[0]]))
            raise LigandsmithError(f"--covalent {residue}: its {self.atom_name} is bonded to {partner} already")
        self.x, self.element = pocket.x.astype(np.float64), int(pocket.element[self.atom])
        self.touched = tuple({self.atom, self.before, atoms["CA"]})  # by the warhead, being bonded
        self.space = FreeSpace(pocket, self.touched)
        self.residue_atoms = np.array([self.atom, self.before])
        self.placements = self._placements(residue)

    def _placements(self, residue: str) -> list[Placement]:
        """The most buried ones first."""
        found: list[Placement] = []
        for tolerance in TOLERANCES:
            found = [placed for pose in self._poses() if (placed := self._placed(*pose, tolerance))]
            if len(found) >= ENOUGH:
                break
        if found:
            return sorted(found, key=lambda placed: -placed.burial)
        raise LigandsmithError(
            f"--covalent {residue}: no room for {self.warhead.name} at {self.atom_name}; "
            "it is buried, or faces away from the site"
        )

    @cached_property
    def _bound(self) -> Chem.Mol:
        """The warhead with hydrogens, the residue's atom in place of the dummy and the one before it last; conformers
        without strain. Atoms are in the order of `warhead.adduct`."""
        new = Chem.RWMol(self.warhead.adduct)
        for atom in new.GetAtoms():
            atom.SetAtomMapNum(0)
            if atom.GetAtomicNum():
                atom.SetNumExplicitHs(atom.GetTotalNumHs())
                atom.SetNoImplicit(True)
        new.ReplaceAtom(self.warhead.num_atoms, Chem.Atom(self.element))
        new.AddBond(self.warhead.num_atoms, new.AddAtom(Chem.Atom(CARBON_ELEMENT)), Chem.BondType.SINGLE)
        Chem.SanitizeMol(new)
        mol = Chem.AddHs(new.GetMol())
        rdDistGeom.EmbedMultipleConfs(mol, CONFORMERS, randomSeed=0, pruneRmsThresh=DISTINCT)
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(mol)
        return mol

    def _poses(self) -> list[tuple[Chem.Mol, NDArray[np.float64]]]:
        """Coordinates of `_bound` with the residue's two atoms where they are, turned about their bond."""
        mol, heavy = self._bound, self.warhead.num_atoms
        start, axis = self.x[self.atom], self.x[self.before] - self.x[self.atom]
        axis /= np.linalg.norm(axis)
        found = []
        for conformer in mol.GetConformers():
            x = conformer.GetPositions()
            x = x - x[heavy]
            aligned = Rotation.align_vectors(axis, x[heavy + 1])[0].apply(x)
            turns = Rotation.from_rotvec(axis * np.linspace(0, 2 * np.pi, TURNS, endpoint=False)[:, None])
            found += [(mol, turn.apply(aligned) + start) for turn in turns]
        return found

    def _placed(self, mol: Chem.Mol, x: NDArray[np.float64], tolerance: float) -> Placement | None:
        heavy = self.warhead.num_atoms
        if not self.space.is_free(x[None, :heavy], tolerance)[0] or not self.bonded(x[self.warhead.bonded]):
            return None
        hydrogens = [(a.GetIdx(), a.GetNeighbors()[0].GetIdx()) for a in mol.GetAtoms() if a.GetAtomicNum() == 1]
        exits = self.space.exits(x, [(h, atom) for h, atom in hydrogens if atom in self.warhead.grows], tolerance)
        if max(exits.values(), default=0) < OUTERMOST * self.space.least_burial:
            return None
        capped = self._capped(x[:heavy])
        ligand = ligand_from_mol(capped, self.warhead.name, whole=False)
        if isinstance(ligand, Rejection):
            raise LigandsmithError(f"--warhead {self.warhead.name}: {ligand.reason}: {ligand.detail}")
        return Placement(Fragment(ligand, np.isin(np.arange(heavy), list(exits))), max(exits.values()))

    def _capped(self, x: NDArray[np.float64]) -> Chem.Mol:
        """The warhead alone, a hydrogen in place of the residue's atom."""
        bare = Chem.RWMol(self.warhead.adduct)
        for atom in bare.GetAtoms():
            atom.SetAtomMapNum(0)
            atom.SetNumExplicitHs(atom.GetTotalNumHs() + (atom.GetIdx() == self.warhead.bonded))
            atom.SetNoImplicit(True)
        bare.RemoveAtom(self.warhead.num_atoms)
        mol = bare.GetMol()
        Chem.SanitizeMol(mol)
        mol.RemoveAllConformers()
        conformer = Chem.Conformer(len(x))
        conformer.SetPositions(x)
        mol.AddConformer(conformer)
        return mol

    def length_and_angle(self, x: NDArray[np.float64]) -> tuple[float, float]:
        """Of the bond to a ligand's atom at x [3]: length (Å), and angle at the residue's atom (degrees)."""
        bond, back = x - self.x[self.atom], self.x[self.before] - self.x[self.atom]
        cosine = bond @ back / (np.linalg.norm(bond) * np.linalg.norm(back))
        return float(np.linalg.norm(bond)), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    def bonded(self, x: NDArray[np.float64]) -> bool:
        """Whether an atom of the ligand at x [3] has the geometry of a bond with the residue."""
        length, angle = self.length_and_angle(x)
        element = self.warhead.adduct.GetAtomWithIdx(self.warhead.bonded).GetAtomicNum()
        ideal = BONDED_LENGTHS.get((self.element, element), length)
        return abs(length - ideal) <= LENGTH_TOLERANCE and abs(angle - ANGLES[self.element]) <= ANGLE_TOLERANCE

    def leave(self, excluded: Callable[[NDArray[np.float32]], bool]) -> bool:
        """Leave out placements in excluded regions; whether any is left."""
        self.placements = [placed for placed in self.placements if not excluded(placed.fragment.ligand.x)]
        return bool(self.placements)

    def start(self, rng: np.random.Generator, fixed: Fragment | None) -> Fragment:
        """A placed warhead, chosen at random among buried ones that keep away from `fixed`, which follows it.

        Raises LigandsmithError if none does.
        """
        fitting = [p for p in self.placements if fixed is None or are_apart(p.fragment, fixed)]
        if not fitting:
            raise LigandsmithError(f"--covalent {self.label}: the fragment of --fix lies where the warhead has to be")
        weight = np.exp((np.array([p.burial for p in fitting]) - fitting[0].burial) / PREFERENCE)
        chosen = fitting[rng.choice(len(fitting), p=weight / weight.sum())].fragment
        return chosen if fixed is None else beside(chosen, fixed)

    def broken(self, mol: Chem.Mol) -> list[str]:
        """What is wrong with a ligand's bond to the residue, the warhead being its first atoms."""
        x = mol.GetConformer().GetPositions()
        found = [] if self.bonded(x[self.warhead.bonded]) else [f"no bond to {self.label}"]
        rest = x[self.warhead.num_atoms :]
        gap = np.linalg.norm(rest[:, None] - self.x[self.residue_atoms][None], axis=-1)
        found += [f"atoms on {self.label}"] if (gap < RESIDUE_CLASH).any() else []
        return found + ([] if len(Chem.GetMolFrags(mol)) == 1 else [f"a piece that is not bonded to {self.label}"])

    def notes(self, mol: Chem.Mol) -> dict[str, str]:
        """What an SDF record says of the bond: residue, atom of the record, and the ligand before the reaction."""
        told = {"covalent_residue": f"{self.label}:{self.atom_name}", "covalent_atom": str(self.warhead.bonded + 1)}
        before = unreacted_smiles(mol, self.warhead)
        return told | ({"unreacted_smiles": before} if before else {})
