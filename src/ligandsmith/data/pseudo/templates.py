"""Bond orders of the twenty amino acids, and molecules of pieces of a chain made from them.

Acids, amines and guanidines are neutral, as most are in the ligands that the models learn from (62 % of the shipped
ones), which come from chemical dictionaries and not from a pH. Histidine has its hydrogen on NE2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.structure.ligands import conformer

BACKBONE = "N-CA CA-C C=O"
RING = "CB-CG CG=CD1 CD1-CE1 CE1=CZ CZ-CE2 CE2=CD2 CD2-CG"
SIDE_CHAINS = {
    "ALA": "",
    "ARG": "CB-CG CG-CD CD-NE NE-CZ CZ-NH1 CZ=NH2",
    "ASN": "CB-CG CG=OD1 CG-ND2",
    "ASP": "CB-CG CG=OD1 CG-OD2",
    "CYS": "CB-SG",
    "GLN": "CB-CG CG-CD CD=OE1 CD-NE2",
    "GLU": "CB-CG CG-CD CD=OE1 CD-OE2",
    "HIS": "CB-CG CG=CD2 CD2-NE2 NE2-CE1 CE1=ND1 ND1-CG",
    "ILE": "CB-CG1 CB-CG2 CG1-CD1",
    "LEU": "CB-CG CG-CD1 CG-CD2",
    "LYS": "CB-CG CG-CD CD-CE CE-NZ",
    "MET": "CB-CG CG-SD SD-CE",
    "PHE": RING,
    "PRO": "CB-CG CG-CD CD-N",
    "SER": "CB-OG",
    "THR": "CB-OG1 CB-CG2",
    "TRP": "CB-CG CG=CD1 CD1-NE1 NE1-CE2 CE2=CD2 CD2-CG CE2-CZ2 CZ2=CH2 CH2-CZ3 CZ3=CE3 CE3-CD2",
    "TYR": f"{RING} CZ-OH",
    "VAL": "CB-CG1 CB-CG2",
}  # each begins at CB, which is bonded to CA
AMINO_ACIDS = frozenset({*SIDE_CHAINS, "GLY"})
ORDERS = {"-": Chem.BondType.SINGLE, "=": Chem.BondType.DOUBLE}


@dataclass(frozen=True)
class Piece:
    """Some atoms of one residue, by name, in order."""

    residue: str
    atoms: tuple[str, ...]


@lru_cache
def template_bonds(residue: str) -> tuple[tuple[str, str, Chem.BondType], ...]:
    """(atom, atom, order) of all bonds within an amino acid of a chain, Kekulé. Raises KeyError for another name."""
    text = BACKBONE if residue == "GLY" else f"{BACKBONE} CA-CB {SIDE_CHAINS[residue]}"
    split = [(bond, "=" if "=" in bond else "-") for bond in text.split()]
    return tuple((*bond.split(sign), ORDERS[sign]) for bond, sign in split)  # type: ignore[misc]


@lru_cache
def template_atoms(residue: str) -> tuple[str, ...]:
    """Heavy atoms of an amino acid of a chain, backbone first. Raises KeyError for another name."""
    return tuple(dict.fromkeys(name for a, b, _ in template_bonds(residue) for name in (a, b)))


def side_chain(residue: str, anchor: str) -> tuple[str, ...]:
    """The atoms from `anchor` ("CA" or "CB") outward. Raises KeyError for a name that is no amino acid."""
    left_out = {"N", "C", "O"} if anchor == "CA" else {"N", "CA", "C", "O"}
    return tuple(name for name in template_atoms(residue) if name not in left_out)


def piece_bonds(pieces: Sequence[Piece]) -> Iterator[tuple[int, int, Chem.BondType]]:
    """Bonds by the running number of the atoms: those of the residues, and the peptide bonds between neighbours."""
    start = 0
    carbonyl = None
    for piece in pieces:
        number = {name: start + i for i, name in enumerate(piece.atoms)}
        if carbonyl is not None and "N" in number:
            yield carbonyl, number["N"], Chem.BondType.SINGLE
        for a, b, order in template_bonds(piece.residue):
            if a in number and b in number:
                yield number[a], number[b], order
        carbonyl = number.get("C")
        start += len(piece.atoms)


def mol_from_pieces(pieces: Sequence[Piece], x: NDArray[Any]) -> Chem.Mol:
    """The molecule of consecutive pieces of a chain, coordinates [N, 3] Å, with hydrogens where bonds were cut.

    Sanitised, with the stereo that the coordinates show. Raises Chem.MolSanitizeException.
    """
    mol = Chem.RWMol()
    for piece in pieces:
        for name in piece.atoms:
            mol.AddAtom(Chem.Atom(name[0]))  # C, N, O or S
    for i, j, order in piece_bonds(pieces):
        mol.AddBond(i, j, order)
    result = mol.GetMol()
    result.AddConformer(conformer(np.asarray(x)), assignId=True)
    Chem.SanitizeMol(result)
    Chem.AssignStereochemistryFrom3D(result)
    return result
