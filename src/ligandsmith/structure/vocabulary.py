"""The only tables of elements, charges, bonds, residues and atom names. Immutable; every checkpoint has a copy."""

from dataclasses import asdict, dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ligandsmith.errors import LigandsmithError, shortened

BOND_CLASSES = ("none", "single", "double", "triple", "aromatic")
NONE, SINGLE, DOUBLE, TRIPLE, AROMATIC = range(5)

RESIDUES = (
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE",
    "LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
    "OTHER",
)  # fmt: skip
ATOM_NAMES = (
    "N", "CA", "C", "O", "CB", "CG", "CG1", "CG2", "CD", "CD1", "CD2", "CE", "CE1", "CE2", "CE3", "CZ", "CZ2", "CZ3",
    "CH2", "SD", "SG", "OG", "OG1", "OD1", "OD2", "OE1", "OE2", "OH", "ND1", "ND2", "NE", "NE1", "NE2", "NH1", "NH2",
    "NZ", "OXT", "OTHER",
)  # fmt: skip
BACKBONE_NAMES = frozenset({"N", "CA", "C", "O", "OXT"})
CALPHA = ATOM_NAMES.index("CA")
OTHER_RESIDUE = RESIDUES.index("OTHER")
OTHER_ATOM = ATOM_NAMES.index("OTHER")


class Kind(IntEnum):
    """What a residue is to a pocket."""

    POLYMER = 0  # amino acids, standard or modified, and nucleotides of a chain
    METAL = 1
    COFACTOR = 2
    LIGAND = 3  # any other molecule: a drug, a buffer, a sugar
    WATER = 4  # only where waters are asked for


def _force_field_names() -> dict[str, str]:
    """Names that force fields and modelling programs give to amino acids by protonation state or place in the chain."""
    variants = {
        "HIS": "HID HIE HIP HSD HSE HSP HISD HISE HISH HISP HIS1 HIS2 HISA HISB HDP", "CYS": "CYX CYM CYS2 CYSH CYN",
        "ASP": "ASH ASPP ASPH ASPN", "GLU": "GLH GLUP GLUH", "LYS": "LYN LSN LYSH LYSN", "ARG": "ARN ARGN",
        "TYR": "TYM TYN", "MET": "MSE",
    }  # fmt: skip
    names = {variant: name for name, group in variants.items() for variant in group.split()}
    residues = {name: name for name in RESIDUES[:-1]} | {v: n for v, n in names.items() if len(v) == 3 and v != "MSE"}
    return names | {f"{end}{variant}": name for end in "NC" for variant, name in residues.items()}  # AMBER's ends


RESIDUE_ALIASES = _force_field_names()
NUCLEOTIDE_ALIASES = {
    f"{kind}{base}{end}": f"{kind}{base}".removeprefix("R")
    for kind in ("D", "R")
    for base in "ACGTU"
    for end in ("", "5", "3", "N")
    if kind == "R" or end
}
NUCLEOTIDE_ALIASES |= {"ADE": "A", "GUA": "G", "CYT": "C", "URA": "U", "THY": "DT"}  # CHARMM's; bare bases elsewhere
ATOM_ALIASES = {"OT1": "O", "OC1": "O", "O1": "O", "OT2": "OXT", "OC2": "OXT", "O2": "OXT", "CD": "CD1"}
# of amino acids: the carboxylate at the end of a chain, and the last carbon of isoleucine
COFACTORS = frozenset({
    "HEM", "HEC", "HEA", "HEB", "HAS", "NAD", "NAI", "NAP", "NDP", "FAD", "FDA", "FMN", "FNR", "SAM", "SAH", "SFG",
    "COA", "ACO", "CAA", "PLP", "PMP", "PLR", "TPP", "TDP", "TDL", "BTN", "B12", "CNC", "H4B", "BH4", "THF", "C2F",
    "FFO", "MGD", "MTE", "PCD", "SF4", "FES", "F3S", "CLA", "BCL", "BPH", "PHO", "CHL", "BCR", "HDD", "PQQ", "U10",
    "GSH", "LPA", "LIP", "ATP", "ADP", "AMP", "ANP", "ACP", "AGS", "GTP", "GDP", "GMP", "GNP", "GCP", "GSP", "UTP",
    "UDP", "CTP", "CDP", "APC", "A3P", "PAP",
})  # fmt: skip
CAPS = frozenset({"ACE", "NME", "NMA", "NH2", "FOR"})
BUFFERS = frozenset({"PEG", "PG4", "PGE", "1PE", "P6G", "PO4", "EPE", "MES", "BME", "DTT", "IMD", "NHE", "CAC"})
# beside those of gemmi's table: what a protein was crystallised from
ION_ELEMENTS = {
    **{
        name: name.capitalize()
        for name in (
            "MG",
            "CA",
            "ZN",
            "NA",
            "K",
            "MN",
            "FE",
            "CO",
            "NI",
            "CU",
            "CD",
            "HG",
            "CS",
            "RB",
            "LI",
            "SR",
            "BA",
            "CL",
            "BR",
        )
    },
    "SOD": "Na",
    "POT": "K",
    "CLA": "Cl",
    "CAL": "Ca",
    "CES": "Cs",
    "LIT": "Li",
    "RUB": "Rb",
    "BAR": "Ba",
    "CAD": "Cd",
    "FE2": "Fe",
    "CU1": "Cu",
    "MN3": "Mn",
    "3CO": "Co",
    "IOD": "I",
}  # of residues that are one atom, by the names of the Protein Data Bank, CHARMM and AMBER
HYDROXIDES = frozenset({"OH", "O", "O2-", "OXO"})  # single oxygens that are no water
VIRTUAL_SITES = frozenset({"M", "MW", "EPW", "EP", "LP", "LP1", "LP2", "EP1", "EP2", "LP3"})  # of water models
RESIDUE_CLASS = {name: i for i, name in enumerate(RESIDUES)} | {
    alias: RESIDUES.index(name) for alias, name in RESIDUE_ALIASES.items()
}
ATOM_CLASS = {name: i for i, name in enumerate(ATOM_NAMES)}


@dataclass(frozen=True)
class Vocabulary:
    """Classes that the networks read and predict.

    Elements are atomic numbers in class order. `pocket_elements` ends with 0, the class of everything not listed.
    """

    ligand_elements: tuple[int, ...] = (6, 7, 8, 9, 15, 16, 17, 35, 53, 5)
    charges: tuple[int, ...] = (-1, 0, 1)
    max_hydrogens: int = 3
    pocket_elements: tuple[int, ...] = (6, 7, 8, 16, 15, 34, 30, 12, 20, 26, 25, 11, 19, 29, 28, 27, 9, 17, 35, 53, 0)
    residues: tuple[str, ...] = RESIDUES
    atom_names: tuple[str, ...] = ATOM_NAMES
    bonds: tuple[str, ...] = BOND_CLASSES

    def ligand_element_classes(self, atomic_numbers: NDArray[Any]) -> NDArray[np.int64]:
        """Atomic numbers [N] -> class indices [N]; raises ValueError naming an element that has no class."""
        classes = self._ligand_table[np.asarray(atomic_numbers, dtype=np.int64)]
        if (classes < 0).any():
            bad = sorted({int(z) for z in np.asarray(atomic_numbers)[classes < 0]})
            raise ValueError(f"unknown ligand element: atomic number(s) {bad}; known: {list(self.ligand_elements)}")
        return classes

    def pocket_element_classes(self, atomic_numbers: NDArray[Any]) -> NDArray[np.int64]:
        """Atomic numbers [M] -> class indices [M]; an unlisted element is the last class."""
        return self._pocket_table[np.asarray(atomic_numbers, dtype=np.int64)]

    @cached_property
    def _ligand_table(self) -> NDArray[np.int64]:
        return _table(self.ligand_elements, -1)

    @cached_property
    def _pocket_table(self) -> NDArray[np.int64]:
        return _table(self.pocket_elements[:-1], len(self.pocket_elements) - 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as stored in checkpoints and manifests."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Any) -> "Vocabulary":
        """Inverse of `to_dict`. Raises LigandsmithError for anything else."""
        if not isinstance(data, dict):
            raise LigandsmithError(f"vocabulary: a {type(data).__name__}, no table")
        known = cls().to_dict()
        for name, value in data.items():
            like = known.get(name)
            values, own = (v if isinstance(v, list) else [v] for v in (value, like))
            same = type(value) is type(like) and values and all(type(v) is type(own[0]) for v in values)
            if not same or any(isinstance(v, int) and not -9 <= v <= 118 for v in values):
                raise LigandsmithError(f"vocabulary: {shortened(name)} is {shortened(value)}, which cannot be")
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields)


def _table(elements: tuple[int, ...], other: int) -> NDArray[np.int64]:
    """Class of each atomic number below 256."""
    table = np.full(256, other, dtype=np.int64)
    table[list(elements)] = np.arange(len(elements))
    return table


VOCABULARY = Vocabulary()
ORIGIN_VOCABULARY = Vocabulary(
    ligand_elements=(1, 6, 7, 8, 9, 15, 16, 17, 35, 53), pocket_elements=(1, 6, 7, 8, 9, 15, 16, 17, 35, 0)
)
