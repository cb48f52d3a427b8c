"""Ring systems of known ligands: of the shipped crystal ligands and of drugs (`scripts/build_ring_systems.py`)."""

import csv
from functools import cache
from importlib import resources

from rdkit import Chem

TABLE = "ring_systems.csv"


def ring_systems(mol: Chem.Mol) -> list[tuple[str, tuple[int, ...]]]:
    """SMILES (without stereo and charges of substituents) and atoms of each ring system: rings that share an atom, with
    the atoms that are double-bonded to them."""
    systems: list[set[int]] = []
    for ring in map(set, mol.GetRingInfo().AtomRings()):
        joined = [system for system in systems if system & ring]
        systems = [system for system in systems if not system & ring] + [ring.union(*joined)]
    found = []
    for atoms in systems:
        whole = atoms | {
            bond.GetOtherAtomIdx(i)
            for i in atoms
            for bond in mol.GetAtomWithIdx(i).GetBonds()
            if bond.GetBondType() == Chem.BondType.DOUBLE
        }
        smiles = Chem.MolFragmentToSmiles(mol, sorted(whole), isomericSmiles=False)
        found.append((_plain(smiles), tuple(sorted(whole))))
    return found


def _plain(smiles: str) -> str:
    """Canonical form, in which hydrogens fill what was cut off; the text itself where that is no molecule."""
    mol = Chem.MolFromSmiles(smiles)
    return smiles if mol is None else str(Chem.MolToSmiles(mol))


@cache
def known_ring_systems() -> dict[str, int]:
    """Number of molecules with each known ring system, by its SMILES."""
    with (resources.files(__package__) / TABLE).open(encoding="utf-8") as stream:
        return {row["smiles"]: int(row["crystal_ligands"]) + int(row["drugs"]) for row in csv.DictReader(stream)}
