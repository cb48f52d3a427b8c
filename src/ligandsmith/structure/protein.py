"""The one reader of protein files: PDB or mmCIF -> the heavy atoms of the first model as arrays.

Of alternate locations, the conformer of highest mean occupancy is kept for each residue as a whole; of equal ones the
first. Everything that is left out is counted.
"""

import logging
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import file_content
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.vocabulary import (
    ATOM_CLASS,
    CAPS,
    COFACTORS,
    HYDROXIDES,
    RESIDUE_ALIASES,
    RESIDUE_CLASS,
    VIRTUAL_SITES,
    Kind,
)

DEUTERIUM = 119  # the code of gemmi.FlatStructure, whose other codes are atomic numbers
MMCIF = re.compile(r"(?:\s*#.*\n)*\s*data_", flags=re.IGNORECASE)
WIDE_SERIAL = re.compile(r"(?:ATOM  |HETATM)(\d{6,})")  # pushes all columns of the line to the right
STANDARD_LINE = re.compile(r".{6}[ \d]{5} .{18}(?: {,4}-?\d{1,4}\.\d{3}){3}")  # well-formed; any other is looked at
COORDINATES = (30, 38, 46, 54)  # columns of x, y, z in an ATOM line
MAX_COORDINATE = 1e5  # Å; no structure is that large
OXYGEN = 8
ORGANIC = (1, 6, 7, 8, 15, 16, 34)  # elements of amino acids
PEPTIDE_BOND = 2.0  # Å, at most
MUCH_UNKNOWN = 0.01  # of the atoms of a file
log = logging.getLogger("ligandsmith")
UNMARKED = 2.0  # Å, between atoms of one name in one residue: nearer ones are alternate locations without a label


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
    if path.name.lower().removesuffix(".gz").endswith(".pdbqt"):
        raise UnreadableFile(
            "not a structure",
            f"{path}: PDBQT has AutoDock's atom types instead of elements; give the PDB or mmCIF file it was made from",
        )
    try:
        text = file_content(path).decode("latin-1")
        if MMCIF.match(text):
            structure = gemmi.make_structure_from_block(gemmi.cif.read_string(text)[0])
        else:
            structure = gemmi.read_pdb_string(_with_standard_columns(text, path))
    except UnreadableFile:
        raise
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile("not a structure", f"{path}: not a PDB or mmCIF file ({cause})") from None
    if not len(structure) or not structure[0].count_atom_sites():
        raise UnreadableFile("not a structure", f"{path}: no atoms in it; is it a PDB or mmCIF file?")
    return protein_from_structure(structure, path)


def _with_standard_columns(text: str, path: Path) -> str:
    """PDB text whose serial numbers of six digits and more are cut, so that each value is in its own columns.

    gemmi reads a coordinate that is no number as zero, so that all are checked here. Raises UnreadableFile.
    """
    lines = text.splitlines()
    for index, line in enumerate(lines):
        is_atom = line.startswith(("ATOM  ", "HETATM"))
        if not line.isascii():
            if is_atom:
                raise UnreadableFile("not a structure", f"{path}, line {index + 1}: an atom with letters beyond ASCII")
            lines[index] = line.encode("ascii", "replace").decode()
        if is_atom and not STANDARD_LINE.match(line):
            lines[index] = _with_short_serial(line)
            fields = [lines[index][begin:end] for begin, end in pairwise(COORDINATES)]
            if not all(map(is_coordinate, fields)):
                raise UnreadableFile(
                    "non-finite coordinates",
                    f"{path}, line {index + 1}: a coordinate of an atom is not a number: '{' '.join(fields).strip()}'",
                )
    return "\n".join(lines) + "\n"


def _with_short_serial(line: str) -> str:
    serial = WIDE_SERIAL.match(line)
    extra = len(serial.group(1)) - 5 if serial else 0
    decimal_point = COORDINATES[0] + 4 + extra
    return line[:6] + line[6 + extra :] if line[decimal_point : decimal_point + 1] == "." else line


def is_coordinate(field: str) -> bool:
    """Whether a text is a number that a coordinate (Å) can have."""
    try:
        return abs(float(field)) < MAX_COORDINATE  # false for NaN
    except ValueError:
        return False


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
        chain = _chain_names(structure[0])
        for part in structure[0]:
            part.name = ""  # FlatStructure takes at most seven letters
            for residue in part:
                residue.subchain = residue.entity_id = residue.segment = ""
        flat = gemmi.FlatStructure(structure)
        codes = np.asarray(flat.elements)
        atom, name = _strings(np.asarray(flat.atom_names)), _strings(np.asarray(flat.residue_names))
        return cls(
            element=_elements(np.where(codes == DEUTERIUM, 1, codes).astype(np.uint8), atom, name),
            serial=np.asarray(flat.serials),
            atom=atom,
            residue=name,
            chain=chain,
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


def _chain_names(model: gemmi.Model) -> NDArray[np.str_]:
    """Name of the chain of each atom [A]: the segment where it alone tells residues of one label apart."""
    residues = [(chain.name, residue) for chain in model for residue in chain]
    segments: dict[tuple[str, str, str], set[str]] = {}
    for chain, residue in residues:
        segments.setdefault((chain, str(residue.seqid), residue.name), set()).add(residue.segment)
    by_segment = any(len(found) > 1 for found in segments.values())
    names = [residue.segment if by_segment and residue.segment else chain for chain, residue in residues]
    return np.repeat(np.array(names, dtype=np.str_), [len(residue) for _, residue in residues])


def _elements(element: NDArray[np.uint8], atom: NDArray[np.str_], residue: NDArray[np.str_]) -> NDArray[np.uint8]:
    """Atomic numbers [A]; of an amino acid's atom, that of its first letter where the file makes it a metal or unknown.

    A file without elements whose atom names begin in the wrong column turns an alpha carbon into calcium.
    """
    names, index = np.unique(residue, return_inverse=True)
    standard = np.array([str(name) in RESIDUE_CLASS for name in names], dtype=bool)[index]
    fixed = element.copy()
    for row in np.flatnonzero(standard & ~np.isin(element, ORGANIC)).tolist():
        letters = str(atom[row]).lstrip("0123456789")
        if letters[:1] in "CNOSH" and letters:
            fixed[row] = gemmi.Element(letters[0]).atomic_number
    return fixed


def protein_from_structure(structure: gemmi.Structure, path: Path) -> Protein:
    """The arrays of a gemmi structure's first model. `path` names it in messages. Raises UnreadableFile."""
    more_models = len(structure) - 1
    while len(structure) > 1:
        del structure[-1]
    try:
        atoms = _Columns.of(structure)
    except (RuntimeError, UnicodeDecodeError) as error:  # names that are too long for the table, or are no text
        raise UnreadableFile("not a structure", f"{path}: {error}") from None
    if not (np.abs(atoms.x) < MAX_COORDINATE).all():
        serial = int(atoms.serial[np.argwhere(~(np.abs(atoms.x) < MAX_COORDINATE))[0, 0]])
        raise UnreadableFile("non-finite coordinates", f"{path}: atom {serial} has a coordinate that is not a number")
    keep, dropped = _filter(atoms)
    unknown = dropped.get("atoms of unknown element", 0) / len(keep)
    if unknown > MUCH_UNKNOWN:
        log.warning("%s: %.0f %% of the atoms have an element that is not known, and are left out", path, 100 * unknown)
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
    residues = _with_free_amino_acids(residues, atoms, rows, residue_of)
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
    causes = {
        "atoms of waters": _waters(atoms),
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
    return Kind.POLYMER if set(atoms.atom[rows].tolist()) >= {"N", "CA", "C", "O"} else Kind.LIGAND


def _with_free_amino_acids(
    residues: tuple[Residue, ...], atoms: _Columns, rows: NDArray[np.int64], residue_of: NDArray[np.int64]
) -> tuple[Residue, ...]:
    """Amino acids with both carboxyl oxygens and no peptide bond are ligands, unless the file calls them ATOM."""
    is_polymer = np.array([r.kind is Kind.POLYMER for r in residues])
    named = {name: np.flatnonzero(atoms.atom[rows] == name) for name in ("N", "C", "OXT")}
    in_chain = atoms.het[rows] == ord("A")
    free = {int(residue_of[i]) for i in named["OXT"] if is_polymer[residue_of[i]] and not in_chain[i]}
    if not free:
        return residues
    for ends, others in (("N", "C"), ("C", "N")):
        partners = named[others]
        for i in named[ends].tolist():
            if residue_of[i] in free:
                distance = np.linalg.norm(atoms.x[rows[partners]] - atoms.x[rows[i]], axis=1)
                if (distance[residue_of[partners] != residue_of[i]] < PEPTIDE_BOND).any():
                    free.discard(int(residue_of[i]))
    return tuple(replace(r, kind=Kind.LIGAND) if i in free else r for i, r in enumerate(residues))


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


def _waters(atoms: _Columns) -> NDArray[np.bool_]:
    """Atoms [A] of waters: residues whose one heavy atom is an oxygen, by whatever name, virtual sites aside."""
    new = np.ones(len(atoms.element), dtype=bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in (atoms.residue, *atoms.place)], axis=0)
    residue_of = np.cumsum(new) - 1
    heavy = (atoms.element != 1) & ~np.isin(atoms.atom, list(VIRTUAL_SITES))
    other = np.bincount(residue_of, weights=heavy & (atoms.element != OXYGEN)) > 0
    # Alternate locations repeat the name of the oxygen.
    oxygens = np.unique(np.stack([residue_of, np.unique(atoms.atom, return_inverse=True)[1]])[:, heavy], axis=1)[0]
    single = np.bincount(oxygens, minlength=int(new.sum())) == 1
    names, name_of = np.unique(atoms.residue, return_inverse=True)
    hydroxide = np.array([str(name) in HYDROXIDES for name in names], dtype=bool)[name_of]
    known = np.array([_tabulated(str(name)).is_water() for name in names], dtype=bool)[name_of]
    return known | (single & ~other)[residue_of] & ~hydroxide


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
