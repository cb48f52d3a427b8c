"""Bonds for molecules that come as atoms and coordinates alone.

With hydrogens in the file, RDKit finds bonds and orders. Without, orders cannot be read off coordinates reliably: Open
Babel is asked where its program `obabel` is on the PATH (in a process of its own), else the molecule is a failure.
"""

import shutil
import subprocess

from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

SECONDS = 30


def without_orders(mol: Chem.Mol) -> bool:
    """Whether a molecule of several heavy atoms has no bond at all, or only bonds of unknown order."""
    if mol.GetNumHeavyAtoms() < 2:
        return False
    unknown = (Chem.BondType.ZERO, Chem.BondType.UNSPECIFIED, Chem.BondType.OTHER)
    return all(bond.GetBondType() in unknown for bond in mol.GetBonds())


def with_orders(mol: Chem.Mol) -> Chem.Mol | None:
    """The molecule with bonds perceived from its coordinates; None if that fails."""
    bare = Chem.RWMol(mol)
    for bond in list(bare.GetBonds()):
        bare.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    if any(atom.GetAtomicNum() == 1 for atom in bare.GetAtoms()):
        try:
            rdDetermineBonds.DetermineBonds(bare, charge=0)
            Chem.SanitizeMol(bare)
        except (ValueError, RuntimeError, Chem.MolSanitizeException):
            return None
        return bare.GetMol()
    return _by_open_babel(bare.GetMol())


def _by_open_babel(mol: Chem.Mol) -> Chem.Mol | None:
    program = shutil.which("obabel")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-ixyz", "-osdf"],
            input=Chem.MolToXYZBlock(mol),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = Chem.MolFromMolBlock(done.stdout, sanitize=False, removeHs=False) if done.returncode == 0 else None
    if found is None or found.GetNumAtoms() != mol.GetNumAtoms():
        return None
    for atom in found.GetAtoms():  # it writes heavy atoms as having no implicit hydrogens
        atom.SetNoImplicit(False)
        atom.SetNumRadicalElectrons(0)
    try:
        Chem.SanitizeMol(found)
    except (ValueError, RuntimeError, Chem.MolSanitizeException):
        return None
    return found
