"""Warheads: groups that react with a residue, in the form that is bonded to it, and their form before the reaction."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from rdkit import Chem

from ligandsmith.errors import LigandsmithError
from ligandsmith.structure.ligands import read_ligand

WARHEADS_FILE = "warheads.csv"
NUCLEOPHILES = {
    "CYS": ("SG", "CB"),
    "SER": ("OG", "CB"),
    "THR": ("OG1", "CB"),
    "LYS": ("NZ", "CE"),
    "TYR": ("OH", "CZ"),
}


@dataclass(frozen=True)
class Warhead:
    """A warhead bonded to a residue, whose atom is a dummy atom, the last one of `adduct`."""

    name: str
    residues: tuple[str, ...]  # that it reacts with
    adduct: Chem.Mol
    grows: tuple[int, ...]  # atoms of `adduct` that get the bonds to the rest of the ligand
    unreacted: Chem.Mol | None = None  # atoms of both forms have the same map numbers; None: not known

    @property
    def num_atoms(self) -> int:
        """Heavy atoms, without the residue's."""
        return int(self.adduct.GetNumAtoms()) - 1

    @property
    def bonded(self) -> int:
        """The atom of `adduct` that is bonded to the residue."""
        return int(self.adduct.GetAtomWithIdx(self.num_atoms).GetNeighbors()[0].GetIdx())


@cache
def shipped_warheads() -> dict[str, Warhead]:
    """By name."""
    with (resources.files(__package__) / WARHEADS_FILE).open(encoding="utf-8") as stream:
        return {row["name"]: _shipped(row) for row in csv.DictReader(stream)}


def _shipped(row: dict[str, str]) -> Warhead:
    adduct, unreacted = _dummy_last(Chem.MolFromSmiles(row["adduct"])), Chem.MolFromSmiles(row["unreacted"])
    wanted = {int(number) for number in row["grows"].split()}
    grows = tuple(atom.GetIdx() for atom in adduct.GetAtoms() if atom.GetAtomMapNum() in wanted)
    return Warhead(row["name"], tuple(row["residues"].split()), adduct, grows, unreacted)


def read_warhead(source: str) -> Warhead:
    """A shipped warhead by name, or that of a file: bonded form, a dummy atom in place of the residue's atom.

    Raises LigandsmithError.
    """
    shipped = shipped_warheads()
    if source in shipped:
        return shipped[source]
    if not Path(source).is_file():
        raise LigandsmithError(f"--warhead {source}: no such file, nor one of {', '.join(shipped)}")
    mol = Chem.RemoveHs(read_ligand(Path(source), placeholders=True))
    dummies = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]
    if len(dummies) != 1 or dummies[0].GetDegree() != 1:
        raise LigandsmithError(
            f"--warhead {source}: {len(dummies)} dummy atoms; give one, with one bond, in place of the residue's atom"
        )
    mol = _dummy_last(mol)
    near = mol.GetAtomWithIdx(mol.GetNumAtoms() - 1).GetNeighbors()[0].GetIdx()
    grows = tuple(atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs() and atom.GetIdx() != near)
    if not grows:
        raise LigandsmithError(f"--warhead {source}: no atom with a hydrogen, so nothing can be grown from it")
    return Warhead(Path(source).stem, tuple(NUCLEOPHILES), mol, grows)


def _dummy_last(mol: Chem.Mol) -> Chem.Mol:
    return Chem.RenumberAtoms(
        mol, sorted(range(mol.GetNumAtoms()), key=lambda i: mol.GetAtomWithIdx(i).GetAtomicNum() == 0)
    )


def unreacted_smiles(mol: Chem.Mol, warhead: Warhead) -> str:
    """SMILES of a ligand before the reaction. Its first atoms are those of the bonded form, without the dummy; empty if
    that form is not known."""
    if warhead.unreacted is None:
        return ""
    numbers = [a.GetAtomMapNum() for a in warhead.adduct.GetAtoms() if a.GetAtomicNum()]
    place = {number: index for index, number in enumerate(numbers)}
    new, template = Chem.RWMol(mol), warhead.unreacted
    Chem.Kekulize(new, clearAromaticFlags=True)
    for i in place.values():
        for j in place.values():
            if i < j and new.GetBondBetweenAtoms(i, j) is not None:
                new.RemoveBond(i, j)
    where = {atom.GetIdx(): place[atom.GetAtomMapNum()] if atom.GetAtomMapNum() else
             new.AddAtom(Chem.Atom(atom.GetAtomicNum())) for atom in template.GetAtoms()}  # fmt: skip
    for bond in template.GetBonds():
        new.AddBond(where[bond.GetBeginAtomIdx()], where[bond.GetEndAtomIdx()], bond.GetBondType())
    for atom in template.GetAtoms():
        changed = new.GetAtomWithIdx(where[atom.GetIdx()])
        changed.SetFormalCharge(atom.GetFormalCharge())
        changed.SetNumExplicitHs(0)
        changed.SetNoImplicit(False)
        changed.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    Chem.SanitizeMol(new)
    return str(Chem.MolToSmiles(new))
