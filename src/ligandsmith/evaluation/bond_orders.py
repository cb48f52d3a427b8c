"""Bonds for molecules that come as atoms and coordinates alone.

With hydrogens in the file, RDKit finds bonds and orders. Without, orders cannot be read off coordinates reliably: Open
Babel is asked where its program `obabel` is on the PATH (in a process of its own), else the molecule is a failure.
"""

import shutil
import subprocess

from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

SECONDS = 30


def with_orders(mol: Chem.Mol) -> Chem.Mol | None:
    """The molecule with bonds perceived from its coordinates; None if that fails."""
    bare = Chem.RWMol(mol)
    for bond in list(bare.GetBonds()):
        bare.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    has_hydrogens = any(atom.GetAtomicNum() == 1 for atom in bare.GetAtoms())
    try:
        if has_hydrogens:
            rdDetermineBonds.DetermineBonds(bare, charge=0)
        found = bare.GetMol() if has_hydrogens else _by_open_babel(bare.GetMol())
        if found is not None:
            Chem.SanitizeMol(found)
    except (ValueError, RuntimeError, OSError, subprocess.SubprocessError):
        return None
    return found


def _by_open_babel(mol: Chem.Mol) -> Chem.Mol | None:
    """Not sanitised; raises OSError or SubprocessError where the program fails."""
    program = shutil.which("obabel")
    if program is None:
        return None
    words, xyz = [program, "-ixyz", "-osdf"], Chem.MolToXYZBlock(mol)
    done = subprocess.run(words, input=xyz, capture_output=True, text=True, check=True, timeout=SECONDS)
    found = Chem.MolFromMolBlock(done.stdout, sanitize=False, removeHs=False)
    if found is None or found.GetNumAtoms() != mol.GetNumAtoms():
        return None
    for atom in found.GetAtoms():  # it writes heavy atoms as having no implicit hydrogens
        atom.SetNoImplicit(False)
        atom.SetNumRadicalElectrons(0)
    return found
