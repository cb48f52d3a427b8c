"""The one reader of protein files: PDB or mmCIF -> the heavy atoms of the first model as arrays.

Of alternate locations, the conformer of highest mean occupancy is kept for each residue as a whole; of equal ones the
first. Everything that is left out is counted.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from ligandsmith.errors import LigandsmithError
from ligandsmith.structure import vocabulary as vocab


class Kind(IntEnum):
    """What a residue is to a pocket."""

    POLYMER = 0  # amino acids, standard or modified, and nucleotides of a chain
    METAL = 1
    COFACTOR = 2
    LIGAND = 3  # any other molecule: a drug, a buffer, a sugar


# Protonation variants and the selenium stand-in of methionine count as the residue they stand for.
RESIDUE_ALIASES = {
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS", "CYX": "CYS", "CYM": "CYS",
    "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "MSE": "MET",
}  # fmt: skip
WATERS = frozenset({"HOH", "DOD", "WAT", "H2O", "TIP", "TIP3", "TP3", "SOL", "SPC"})
COFACTORS = frozenset({
    "HEM", "HEC", "HEA", "HEB", "HAS", "NAD", "NAI", "NAP", "NDP", "FAD", "FDA", "FMN", "FNR", "SAM", "SAH", "SFG",
    "COA", "ACO", "CAA", "PLP", "PMP", "PLR", "TPP", "TDP", "TDL", "BTN", "B12", "CNC", "H4B", "BH4", "THF", "C2F",
    "FFO", "MGD", "MTE", "PCD", "SF4", "FES", "F3S", "CLA", "BCL", "BPH", "PHO", "CHL", "BCR", "HDD", "PQQ", "U10",
    "GSH", "LPA", "LIP", "ATP", "ADP", "AMP", "ANP", "ACP", "AGS", "GTP", "GDP", "GMP", "GNP", "GCP", "GSP", "UTP",
    "UDP", "CTP", "CDP", "APC", "A3P", "PAP",
})  # fmt: skip
DEUTERIUM = 119  # the code of gemmi.FlatStructure, whose other codes are atomic numbers
UNMARKED = 2.0  # Å, between atoms of one name in one residue: nearer ones are alternate locations without a label
CAPS = frozenset({"ACE", "NME", "NMA", "NH2", "FOR"})
RESIDUE_CLASS = {name: i for i, name in enumerate(vocab.RESIDUES)} | {
    alias: vocab.RESIDUES.index(name) for alias, name in RESIDUE_ALIASES.items()
}
ATOM_CLASS = {name: i for i, name in enumerate(vocab.ATOM_NAMES)}


class UnreadableFile(LigandsmithError):
    """A structure file that cannot be used; `reason` is the short cause that goes into a manifest."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Residue:
    """One residue of a `Protein`."""

    chain: str
    number: int
    insertion: str  # insertion code, "" if none
    name: str
    kind: Kind
    het: bool = False  # HETATM in the file

    @property
    def label(self) -> str:
        """CHAIN:NUMBER plus the insertion code, as users name residues: `A:57A`."""
        return f"{self.chain}:{self.number}{self.insertion}"

    @property
    def het_label(self) -> str:
        """CHAIN:NAME:NUMBER, as users name a het molecule: `A:LIG:401`."""
        return f"{self.chain}:{self.name}:{self.number}{self.insertion}"


@dataclass(frozen=True)
class Protein:
    """Heavy atoms of the first model, without waters; one conformer per residue."""

    name: str
    element: NDArray[np.uint8]  # [A] atomic numbers
    residue: NDArray[np.uint8]  # [A] index into vocabulary.RESIDUES
    atom_name: NDArray[np.uint8]  # [A] index into vocabulary.ATOM_NAMES
    residue_of: NDArray[np.int64]  # [A] index into `residues`
    kind: NDArray[np.uint8]  # [A] Kind of the atom's residue
    x: NDArray[np.float32]  # [A, 3] Å
    residues: tuple[Residue, ...]
    atom_label: NDArray[np.str_]  # [A] atom names as in the file
    dropped: dict[str, int] = field(default_factory=dict)  # what was left out on reading, e.g. {"waters": 120}
    alternate: frozenset[int] = frozenset()  # residues whose file has an alternate location for some atom

    @property
    def num_atoms(self) -> int:
        """Number of heavy atoms."""
        return len(self.element)

    @property
    def hets(self) -> tuple[int, ...]:
        """Indices of the residues that are no part of a chain."""
        return tuple(i for i, r in enumerate(self.residues) if r.kind is not Kind.POLYMER)

    def without(self, gone: Collection[int]) -> "Protein":
        """The protein without some residues, by index; the others are renumbered."""
        stays = np.ones(len(self.residues), dtype=bool)
        stays[list(gone)] = False
        rows = np.flatnonzero(stays[self.residue_of])
        number = np.cumsum(stays) - 1
        columns = {
            name: getattr(self, name)[rows] for name in ("element", "residue", "atom_name", "kind", "x", "atom_label")
        }
        return replace(
            self,
            **columns,
            residue_of=number[self.residue_of[rows]],
            residues=tuple(r for r, keep in zip(self.residues, stays, strict=True) if keep),
            alternate=frozenset(int(number[i]) for i in self.alternate if stays[i]),
        )

    def sequence(self, chain: str) -> str:
        """One-letter codes of the amino acids of a chain that have atoms, X for a modified one without a parent."""
        members = (r for r in self.residues if r.chain == chain and r.kind is Kind.POLYMER and r.name not in CAPS)
        return "".join(_one_letter(r.name) for r in members)


def read_protein(path: Path) -> Protein:
    """Read a `.pdb`, `.ent`, `.cif` or `.mmcif` file, gzipped or not.

    Raises UnreadableFile for a missing file, a file without atoms and for non-finite coordinates.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableFile("missing file", f"{path}: no such file; give a PDB or mmCIF file of the protein")
    try:
        structure = gemmi.read_structure(str(path), format=gemmi.CoorFormat.Detect)
    except (RuntimeError, ValueError, OSError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile("not a structure", f"{path}: not a PDB or mmCIF file ({cause})") from None
    if not len(structure) or not structure[0].count_atom_sites():
        raise UnreadableFile("not a structure", f"{path}: no atoms in it; is it a PDB or mmCIF file?")
    return protein_from_structure(structure, path)


@dataclass(frozen=True)
class _Columns:
    """The atoms of a structure as NumPy columns, each [A]."""

    element: NDArray[np.uint8]
    serial: NDArray[np.int32]
    atom: NDArray[np.str_]
    residue: NDArray[np.str_]
    chain: NDArray[np.str_]
    number: NDArray[np.int32]
    insertion: NDArray[np.int8]  # character code
    altloc: NDArray[np.int8]  # character code
    occupancy: NDArray[np.float32]
    het: NDArray[np.int8]  # character code, H for HETATM
    x: NDArray[np.float64]  # [A, 3] Å

    @classmethod
    def of(cls, structure: gemmi.Structure) -> "_Columns":
        flat = gemmi.FlatStructure(structure)
        codes = np.asarray(flat.elements)
        return cls(
            element=np.where(codes == DEUTERIUM, 1, codes).astype(np.uint8),
            serial=np.asarray(flat.serials),
            atom=_strings(np.asarray(flat.atom_names)),
            residue=_strings(np.asarray(flat.residue_names)),
            chain=_strings(np.asarray(flat.chain_ids)),
            number=np.asarray(flat.resnums),
            insertion=np.asarray(flat.icodes),
            altloc=np.asarray(flat.altlocs),
            occupancy=np.asarray(flat.occ),
            het=np.asarray(flat.het_flags),
            x=np.asarray(flat.pos),
        )

    @property
    def place(self) -> tuple[NDArray[Any], ...]:
        """The columns that say where a residue is, without its name."""
        return self.chain, self.number, self.insertion


def protein_from_structure(structure: gemmi.Structure, path: Path) -> Protein:
    """The arrays of a gemmi structure's first model. `path` names it in messages. Raises UnreadableFile."""
    more_models = len(structure) - 1
    while len(structure) > 1:
        del structure[-1]
    atoms = _Columns.of(structure)
    if not np.isfinite(atoms.x).all():
        serial = int(atoms.serial[np.argwhere(~np.isfinite(atoms.x))[0, 0]])
        raise UnreadableFile("non-finite coordinates", f"{path}: atom {serial} has a coordinate that is not a number")
    keep, dropped = _filter(atoms)
    if more_models:
        dropped["further models"] = more_models
    if not keep.any():
        raise UnreadableFile("not a structure", f"{path}: no heavy atoms besides waters")
    rows = np.flatnonzero(keep)
    rows, new, repeated = _residue_starts(atoms, rows)
    if repeated:
        dropped["atoms in alternate locations"] = dropped.get("atoms in alternate locations", 0) + repeated
    residue_of = np.cumsum(new) - 1
    modified = {record.res_id.name for record in structure.mod_residues}
    residues = tuple(_residue(atoms, r, modified) for r in np.split(rows, np.flatnonzero(new)[1:]))
    return Protein(
        name=path.name.removesuffix(".gz").rsplit(".", 1)[0],
        element=atoms.element[rows].astype(np.uint8),
        residue=np.array([RESIDUE_CLASS.get(r.name, vocab.OTHER_RESIDUE) for r in residues], np.uint8)[residue_of],
        atom_name=_atom_classes(atoms.atom[rows]),
        residue_of=residue_of,
        kind=np.array([r.kind for r in residues], np.uint8)[residue_of],
        x=atoms.x[rows].astype(np.float32),
        residues=residues,
        atom_label=atoms.atom[rows],
        dropped=dropped,
        alternate=frozenset(residue_of[~np.isin(atoms.altloc[rows], (0, ord(" ")))].tolist()),
    )


def _residue_starts(atoms: _Columns, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Rows of the atoms that stay, whether each is the first of its residue, and the number of repeated atoms.

    A second atom of one name without a label of alternate location is an unmarked alternate location if it is near the
    first. If it is farther away, it begins another copy of the residue: files of assemblies may give all copies of a
    chain the same name.
    """
    new = np.ones(len(rows), dtype=bool)
    new[1:] = np.any([column[rows][1:] != column[rows][:-1] for column in (atoms.residue, *atoms.place)], axis=0)
    starts = np.flatnonzero(new)
    gone: list[int] = []
    for begin, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        names = atoms.atom[rows[begin:end]]
        if len(set(names.tolist())) == len(names):
            continue
        first: dict[str, int] = {}
        for i, name in enumerate(names.tolist(), int(begin)):
            if name not in first:
                first[name] = i
            elif np.linalg.norm(atoms.x[rows[i]] - atoms.x[rows[first[name]]]) <= UNMARKED:
                gone.append(i)
            else:
                new[i], first = True, {name: i}
    stays = np.ones(len(rows), dtype=bool)
    stays[gone] = False
    return rows[stays], new[stays], len(gone)


def _filter(atoms: _Columns) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which atoms [A] a pocket may contain, and how many are left out for each cause."""
    names, name_of = np.unique(atoms.residue, return_inverse=True)
    causes = {
        "atoms of waters": np.array([_is_water(str(name)) for name in names], dtype=bool)[name_of],
        "hydrogens": atoms.element == 1,
        "atoms of unknown element": atoms.element == 0,
        "atoms of zero occupancy": _zero_occupancy(atoms.occupancy),
    }
    keep = np.ones(len(atoms.element), dtype=bool)
    dropped = {}
    for cause, mask in causes.items():
        dropped[cause] = int((keep & mask).sum())
        keep &= ~mask
    other = _other_conformers(atoms, keep)
    keep[other] = False
    dropped["atoms in alternate locations"] = len(other)
    return keep, {cause: n for cause, n in dropped.items() if n}


def _residue(atoms: _Columns, rows: NDArray[np.int64], modified: set[str]) -> Residue:
    first = rows[0]
    name = str(atoms.residue[first])
    return Residue(
        chain=str(atoms.chain[first]),
        number=int(atoms.number[first]),
        insertion=chr(atoms.insertion[first]).strip("\0 "),
        name=name,
        kind=Kind.POLYMER if name in modified else _kind(name, atoms, rows),
        het=chr(atoms.het[first]) == "H",
    )


def _kind(name: str, atoms: _Columns, rows: NDArray[np.int64]) -> Kind:
    if name in RESIDUE_CLASS or name in CAPS:
        return Kind.POLYMER
    if name in COFACTORS:
        return Kind.COFACTOR
    if len(rows) == 1 and gemmi.Element(int(atoms.element[rows[0]])).is_metal:
        return Kind.METAL
    if _tabulated(name).is_nucleic_acid():
        return Kind.POLYMER
    # A modified amino acid of a chain has the backbone; a free one, a ligand, has both carboxyl oxygens as well.
    labels = set(atoms.atom[rows].tolist())
    return Kind.POLYMER if {"N", "CA", "C", "O"} <= labels and "OXT" not in labels else Kind.LIGAND


@lru_cache(maxsize=4096)
def _tabulated(name: str) -> gemmi.ResidueInfo:
    return gemmi.find_tabulated_residue(name)


def _strings(padded: NDArray[np.int8]) -> NDArray[np.str_]:
    """Zero-padded rows of characters [A, 8] as strings [A]."""
    width = padded.shape[1]
    return np.ascontiguousarray(padded).view(f"S{width}").ravel().astype(f"U{width}")


@lru_cache(maxsize=4096)
def _one_letter(name: str) -> str:
    code = _tabulated(RESIDUE_ALIASES.get(name, name)).one_letter_code.strip()
    return code.upper() if code else "X"


def _is_water(name: str) -> bool:
    return name in WATERS or _tabulated(name).is_water()


def _atom_classes(names: NDArray[np.str_]) -> NDArray[np.uint8]:
    unique, index = np.unique(names, return_inverse=True)
    return np.array([ATOM_CLASS.get(str(n), vocab.OTHER_ATOM) for n in unique], np.uint8)[index]


def _zero_occupancy(occupancy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Atoms that were not seen. A file that gives zero everywhere (modelling programs do) says nothing by it."""
    zero = occupancy <= 0
    return zero & ~zero.all()


def _other_conformers(atoms: _Columns, keep: NDArray[np.bool_]) -> list[int]:
    """Rows of all but one conformer of each residue; the one with the highest mean occupancy stays, else the first.

    Two residues of different names at one place are conformers as well. Atoms without a label that have labelled
    namesakes are a conformer, too.
    """
    labelled = (atoms.altloc != 0) & (atoms.altloc != ord(" "))
    places: dict[tuple[Any, ...], dict[int, list[int]]] = {}
    names: dict[tuple[Any, ...], set[str]] = {}
    for row in np.flatnonzero(keep & labelled).tolist():
        place = tuple(column[row] for column in atoms.place)
        places.setdefault(place, {}).setdefault(int(atoms.altloc[row]), []).append(row)
        names.setdefault(place, set()).add(str(atoms.atom[row]))
    if not places:
        return []
    for row in np.flatnonzero(keep & ~labelled).tolist():
        place = tuple(column[row] for column in atoms.place)
        if str(atoms.atom[row]) in names.get(place, ()):
            places[place] = {0: [*places[place].get(0, []), row], **{k: v for k, v in places[place].items() if k}}
    others: list[int] = []
    for conformers in places.values():
        best = max(conformers, key=lambda label: float(atoms.occupancy[conformers[label]].mean()))
        others += [row for label, rows in conformers.items() if label != best for row in rows]
    return others
