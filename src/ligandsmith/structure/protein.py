"""The one reader of protein files: PDB or mmCIF -> the heavy atoms of the first model as arrays.

Of alternate locations, the conformer of highest mean occupancy is kept for each residue as a whole; of equal ones the
first. Everything that is left out is counted.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import file_content
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.vocabulary import (
    ATOM_ALIASES,
    ATOM_CLASS,
    BUFFERS,
    CAPS,
    COFACTORS,
    HYDROXIDES,
    ION_ELEMENTS,
    NUCLEOTIDE_ALIASES,
    RESIDUE_ALIASES,
    RESIDUE_CLASS,
    VIRTUAL_SITES,
    Kind,
)

DEUTERIUM = 119  # the code of gemmi.FlatStructure, whose other codes are atomic numbers
MMCIF = re.compile(r"(?:\s*#.*\n)*\s*data_", flags=re.IGNORECASE)
WIDE_SERIAL = re.compile(r"(?:ATOM  |HETATM)(\d{6,})")  # pushes all columns of the line to the right
STANDARD_LINE = re.compile(r".{6}[ \d]{5} .{18}(?: {,4}-?\d{1,4}\.\d{3}){3}").match
# well-formed; any other is looked at
ATOM_RECORDS = ("ATOM  ", "HETATM")
COORDINATES = (30, 38, 46, 54)  # columns of x, y, z in an ATOM line
MAX_COORDINATE = 1e5  # Å; no structure is that large
SUGAR = frozenset({"C1'", "C3'"})  # of a nucleotide
UNSET = frozenset({".", "?"})  # a value that an mmCIF file does not give
WATER_ATOM = 8  # oxygen
ORGANIC = (1, 6, 7, 8, 15, 16, 34)  # elements of amino acids
PEPTIDE_BOND = 2.0  # Å, at most
LOST = ("atoms of unknown element", "atoms of zero occupancy")  # heavy atoms that should be there and are not used
MUCH_LOST, TOO_MUCH_LOST = 0.01, 0.2  # of the heavy atoms of a file, waters aside: said aloud, refused
MANY = 12  # names shown in a message before it is cut short
log = logging.getLogger("ligandsmith")
GAP = 5.0  # Å, between molecules of one label; a wider one than where atoms of a molecule were not seen
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
    own_chain: str | None = None  # the chain's name in the file, if that is the name of several copies

    @property
    def het(self) -> bool:
        """Whether it is no part of a chain, whatever the file records it as."""
        return self.kind is not Kind.POLYMER

    @property
    def place(self) -> str:
        """Number and insertion code: `57A`."""
        return f"{self.number}{self.insertion}"

    @property
    def label(self) -> str:
        """CHAIN:NUMBER plus the insertion code, as users name residues: `A:57A`."""
        return f"{self.chain}:{self.place}"

    @property
    def full_label(self) -> str:
        """Chain, name and number: `A:SER57A`."""
        return f"{self.chain}:{self.name}{self.place}"

    @property
    def het_label(self) -> str:
        """CHAIN:NAME:NUMBER, as users name a het molecule: `A:LIG:401`."""
        return f"{self.chain}:{self.name}:{self.place}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every text that may name the residue: label and het label, also with the name of the chain in the file."""
        own = self.chain if self.own_chain is None else self.own_chain
        return (self.label, self.het_label, f"{own}:{self.place}", f"{own}:{self.name}:{self.place}")

    @property
    def is_additive(self) -> bool:
        """Whether it is what a crystal was grown from or a salt: a buffer, a cryoprotectant, a chloride."""
        known = self.name in BUFFERS or _tabulated(self.name).kind == gemmi.ResidueKind.BUF
        return self.kind is Kind.LIGAND and (known or self.name in ION_ELEMENTS)


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
    atom_label: NDArray[np.str_]  # [A] atom names
    dropped: dict[str, int] = field(default_factory=dict)  # what was left out on reading, e.g. {"waters": 120}
    renamed: dict[str, int] = field(default_factory=dict)  # residues and atoms with another name, e.g. {"HIE→HIS": 3}
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

    @property
    def lost(self) -> float:
        """Share of the heavy atoms of the file that cannot be used, waters aside."""
        lost = sum(self.dropped.get(what, 0) for what in LOST)
        return lost / (self.num_atoms + lost)

    def description(self, where: str = "") -> str:
        """One line: what was kept, renamed and left out of the file, which is called `where`."""
        chains = list(dict.fromkeys(r.chain or "(blank)" for r in self.residues if r.kind is Kind.POLYMER))
        place = f" in chains {listed(chains, MANY)}" if chains else ""
        groups: dict[str, Counter[str]] = {}
        for residue in self.residues:
            if residue.kind is not Kind.POLYMER:
                groups.setdefault(_group(residue), Counter())[residue.name] += 1
        parts = [f"{where or self.name}: {self.num_atoms:,} heavy atoms of {len(self.residues):,} residues{place}"]
        parts += [f"{group} {_counts(groups[group])}" for group in sorted(groups)]
        parts += [f"renamed: {_counts(self.renamed)}"] if self.renamed else []
        parts += ["left out: " + ", ".join(f"{n:,} {what}" for what, n in self.dropped.items())] if self.dropped else []
        parts += [f"{100 * self.lost:.0f} % of the atoms cannot be used"] if self.lost > MUCH_LOST else []
        return "; ".join(parts)

    def sequence(self, chain: str) -> str:
        """One-letter codes of the amino acids of a chain that have atoms, X for a modified one without a parent."""
        members = (r for r in self.residues if r.chain == chain and r.kind is Kind.POLYMER and r.name not in CAPS)
        return "".join(_one_letter(r.name) for r in members)


def _group(residue: Residue) -> str:
    """What a residue outside the chains is, in a word."""
    if residue.kind is Kind.METAL or residue.name in ION_ELEMENTS:
        return "ions"
    if residue.kind is Kind.COFACTOR:
        return "cofactors"
    return "buffers" if residue.is_additive else "other molecules"


def listed(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are, for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _counts(names: Mapping[str, int]) -> str:
    return listed([f"{name} {count:,}" for name, count in names.items()], MANY)


def read_protein(path: Path, allow_dropped: bool = False, waters: bool = False) -> Protein:
    """Read a `.pdb`, `.ent`, `.cif` or `.mmcif` file, gzipped or not; with `waters`, these too, of the kind WATER.

    Raises UnreadableFile for a missing file, a file without atoms, for non-finite coordinates, and where more than a
    fifth of the heavy atoms cannot be used, unless `allow_dropped`.
    """
    protein = protein_from_structure(read_structure(path), Path(path), waters)
    _require_most_atoms(protein, Path(path), allow_dropped)
    return protein


def read_structure(path: Path) -> gemmi.Structure:
    """All models of a PDB or mmCIF file, as gemmi reads it. Raises UnreadableFile."""
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
            structure = gemmi.make_structure_from_block(_with_standard_loop(gemmi.cif.read_string(text)[0]))
        else:
            structure = gemmi.read_pdb_string(_with_standard_columns(text, path))
    except UnreadableFile:
        raise
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile("not a structure", f"{path}: not a PDB or mmCIF file ({cause})") from None
    if not len(structure) or not structure[0].count_atom_sites():
        raise UnreadableFile("not a structure", f"{path}: no atoms in it; is it a PDB or mmCIF file?")
    return structure


def _require_most_atoms(protein: Protein, path: Path, allow_dropped: bool) -> None:
    """Warn of heavy atoms that cannot be used, and refuse a file with too many of them."""
    if protein.lost <= MUCH_LOST:
        return
    causes = ", ".join(f"{protein.dropped[what]} {what}" for what in LOST if what in protein.dropped)
    text = f"{path}: {100 * protein.lost:.0f} % of the atoms cannot be used ({causes})"
    if protein.lost > TOO_MUCH_LOST and not allow_dropped:
        raise UnreadableFile("atoms dropped", f"{text}; mend the file, or take it as it is with --allow_dropped")
    log.warning("%s and are left out", text)


def _with_standard_columns(text: str, path: Path) -> str:
    """PDB text whose serial numbers of six digits and more are cut, so that each value is in its own columns.

    gemmi reads a coordinate that is no number as zero, so that all are checked here. Raises UnreadableFile.
    """
    ascii, lines = text.isascii(), text.splitlines()
    for index, line in enumerate(lines):
        if line[:6] not in ATOM_RECORDS:
            lines[index] = line if ascii else line.encode("ascii", "replace").decode()
        elif not (ascii or line.isascii()):
            raise UnreadableFile("not a structure", f"{path}, line {index + 1}: an atom with letters beyond ASCII")
        elif not STANDARD_LINE(line):
            lines[index] = _with_short_serial(line)
            fields = [lines[index][begin:end] for begin, end in pairwise(COORDINATES)]
            if not all(map(is_coordinate, fields)):
                raise UnreadableFile(
                    "non-finite coordinates",
                    f"{path}, line {index + 1}: a coordinate of an atom is not a number: '{' '.join(fields).strip()}'",
                )
    return "\n".join(_without_ends(lines) if "\nEND" in text else lines) + "\n"


def _without_ends(lines: Sequence[str]) -> list[str]:
    """Lines of a PDB file whose atoms go on after END, where gemmi stops: of files put together one after the other.

    A part that begins with the atom that the file begins with is another model.
    """
    last = next((i for i in reversed(range(len(lines))) if lines[i][:6] in ATOM_RECORDS), 0)
    if "END" not in {line.rstrip() for line in lines[:last] if line.startswith("END")}:
        return list(lines)
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.rstrip() == "END":
            parts.append([])
        else:
            parts[-1].append(line)
    if any(line.startswith("MODEL") for line in lines):
        ended = (part[-1:] == ["ENDMDL"] for part in parts)
        return [
            line for part, done in zip(parts, ended, strict=True) for line in [*part, *([] if done else ["ENDMDL"])]
        ]
    labels = [next((line[12:27] for line in part if line[:6] in ATOM_RECORDS), "") for part in parts]
    first = [line for part, label in zip(parts, labels, strict=True) if label != labels[0] for line in part]
    others = [part for part, label in zip(parts[1:], labels[1:], strict=True) if label == labels[0] and label]
    if not others:
        return [*parts[0], *first]
    models = [[*parts[0], *first], *others]
    return [line for i, model in enumerate(models, 1) for line in (f"MODEL {i:8}", *model, "ENDMDL")]


def _with_standard_loop(block: gemmi.cif.Block) -> gemmi.cif.Block:
    """An mmCIF block whose atoms have all columns that gemmi asks for, and a number each.

    Programs that predict structures leave some out, or give `.` or `?` for the number of a ligand.
    """
    column = block.find_loop("_atom_site.Cartn_x")
    loop = column.get_loop()
    if loop is None:
        return block
    there = {tag.lower() for tag in loop.tags}

    def values(name: str) -> list[str]:
        return list(block.find_loop(f"_atom_site.{name}")) if f"_atom_site.{name}".lower() in there else []

    def put(name: str, texts: Sequence[str]) -> None:
        if f"_atom_site.{name}".lower() not in there:
            loop.add_columns([f"_atom_site.{name}"], ".")
        written = block.find_loop(f"_atom_site.{name}")
        for row, text in enumerate(texts):
            written[row] = text

    for name, texts in _missing_columns(values, len(column)).items():
        put(name, texts)
    return block


def _missing_columns(values: Callable[[str], list[str]], count: int) -> dict[str, list[str]]:
    """Columns of the atoms of an mmCIF file that are not there or not complete, with what they must hold."""
    found: dict[str, list[str]] = {}
    atom = values("label_atom_id") or values("auth_atom_id")
    name = values("label_comp_id") or values("auth_comp_id")
    chain = values("auth_asym_id") or values("label_asym_id") or ["A"] * count
    ours, theirs = values("auth_seq_id"), values("label_seq_id")
    if not ours or UNSET & set(ours):
        given = [b if a in UNSET else a for a, b in zip(ours or ["."] * count, theirs or ["."] * count, strict=True)]
        found["auth_seq_id"] = _numbered(given, chain, name, atom)
    if not values("label_asym_id"):
        found["label_asym_id"] = chain
    if not values("type_symbol"):
        found["type_symbol"] = [_guessed_element(a, n) for a, n in zip(atom, name, strict=True)]
    for tag, default in (("id", ""), ("label_alt_id", "."), ("occupancy", "1"), ("B_iso_or_equiv", "0")):
        if not values(tag):
            found[tag] = [default or str(row + 1) for row in range(count)]
    return found


def _numbered(given: Sequence[str], chain: Sequence[str], name: Sequence[str], atom: Sequence[str]) -> list[str]:
    """Residue numbers of atoms; where there is none, the next free one of the chain for each molecule."""
    last: dict[str, int] = {}
    for text, where in zip(given, chain, strict=True):
        if text.lstrip("-").isdigit():
            last[where] = max(last.get(where, 0), int(text))
    numbers: list[str] = []
    seen: set[str] = set()
    previous: tuple[str, str] | None = None
    for text, where, residue, label in zip(given, chain, name, atom, strict=True):
        if text not in UNSET:
            numbers.append(text)
            previous = None
            continue
        if (where, residue) != previous or label in seen:
            last[where], previous, seen = last.get(where, 0) + 1, (where, residue), set()
        seen.add(label)
        numbers.append(str(last[where]))
    return numbers


def _guessed_element(atom: str, residue: str) -> str:
    """Of an atom by its name: a residue that is one ion is it, other atoms begin with the letter of theirs."""
    letters = "".join(c for c in atom.strip("\"'") if c.isalpha())
    two = letters[:2].capitalize()
    return ION_ELEMENTS.get(residue.upper(), two if two in ("Cl", "Br") else letters[:1].upper() or "X")


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
    atom_names: "_Names"
    residue_names: "_Names"
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
        name = _Names.of_residues([residue for part in structure[0] for residue in part])
        for part in structure[0]:
            part.name = ""  # FlatStructure takes at most seven letters
            for residue in part:
                residue.name = residue.subchain = residue.entity_id = residue.segment = ""
        flat = gemmi.FlatStructure(structure)
        codes = np.asarray(flat.elements)
        atom = _Names.of(np.asarray(flat.atom_names))
        return cls(
            element=_elements(np.where(codes == DEUTERIUM, 1, codes).astype(np.uint8), atom, name),
            serial=np.asarray(flat.serials),
            atom_names=atom,
            residue_names=name,
            chain=chain,
            number=np.asarray(flat.resnums),
            insertion=np.asarray(flat.icodes),
            altloc=np.asarray(flat.altlocs),
            occupancy=np.asarray(flat.occ),
            het=np.asarray(flat.het_flags),
            x=np.asarray(flat.pos),
        )

    @cached_property
    def atom(self) -> NDArray[np.str_]:
        """Names of the atoms."""
        return self.atom_names.names[self.atom_names.index]

    @cached_property
    def residue(self) -> NDArray[np.str_]:
        """Names of the residues."""
        return self.residue_names.names[self.residue_names.index]

    @property
    def place(self) -> tuple[NDArray[Any], ...]:
        """The columns that say where a residue is, without its name."""
        return self.chain, self.number, self.insertion


@dataclass(frozen=True)
class _Names:
    """Names of many atoms: each once, sorted, and the index [A] of each atom's."""

    names: NDArray[np.str_]
    index: NDArray[np.int64]

    @classmethod
    def of(cls, padded: NDArray[np.int8]) -> "_Names":
        """Of zero-padded rows of characters [A, 8]."""
        words = np.ascontiguousarray(padded).view(">u8").ravel().astype(np.uint64)
        unique, index = np.unique(words, return_inverse=True)
        return cls(unique.astype(">u8").view("S8").astype("U8"), index)

    @classmethod
    def of_residues(cls, residues: Sequence[gemmi.Residue]) -> "_Names":
        """Of the residue of each atom."""
        unique, index = np.unique(np.array([r.name for r in residues], dtype=np.str_), return_inverse=True)
        return cls(unique, np.repeat(index, [len(r) for r in residues]))

    def those(self, test: Callable[[str], Any]) -> NDArray[np.bool_]:
        """Which atoms [A] have a name that passes a test."""
        return np.array([bool(test(name)) for name in self.names.tolist()], dtype=bool)[self.index]


def _chain_names(model: gemmi.Model) -> NDArray[np.str_]:
    """Name of the chain of each atom [A]: the segment where it alone tells residues of one label apart."""
    residues = [(chain.name, residue) for chain in model for residue in chain]
    segments: dict[tuple[str, str, str], set[str]] = {}
    for chain, residue in residues:
        segments.setdefault((chain, str(residue.seqid), residue.name), set()).add(residue.segment)
    by_segment = any(len(found) > 1 for found in segments.values())
    chains: dict[str, set[str]] = {}
    for chain, residue in residues:
        chains.setdefault(residue.segment, set()).add(chain)
    names = [
        chain if not by_segment or not residue.segment
        else residue.segment if len(chains[residue.segment]) == 1 else f"{chain}{residue.segment}"
        for chain, residue in residues
    ]  # fmt: skip
    return np.repeat(np.array(names, dtype=np.str_), [len(residue) for _, residue in residues])


def _elements(element: NDArray[np.uint8], atoms: _Names, residues: _Names) -> NDArray[np.uint8]:
    """Atomic numbers [A]; of an amino acid's atom, that of its first letter where the file makes it a metal or unknown.

    A file without elements whose atom names begin in the wrong column turns an alpha carbon into calcium, and CHARMM's
    name of sodium into sulfur.
    """
    standard = residues.those(RESIDUE_CLASS.__contains__)
    amino, ions = residues.those(_is_amino_acid), residues.those(_ion_element)
    atom, residue = (each.names[each.index] for each in (atoms, residues))
    fixed = element.copy()
    for row in np.flatnonzero((standard | amino) & ~np.isin(element, ORGANIC)).tolist():
        letters = str(atom[row]).lstrip("0123456789")
        misread = standard[row] or (letters[:1] == "C" and gemmi.Element(int(element[row])).is_metal)
        if letters[:1] in "CNOSHD" and letters and misread:
            fixed[row] = gemmi.Element(letters[0].replace("D", "H")).atomic_number
    for row in np.flatnonzero(ions).tolist():
        symbol, label = _ion_element(str(residue[row])), str(atom[row]).upper()
        if label in (str(residue[row]).upper(), symbol.upper()):
            fixed[row] = gemmi.Element(symbol).atomic_number
    return fixed


def _is_amino_acid(name: str) -> bool:
    return bool(_tabulated(name).is_amino_acid())


def _ion_element(name: str) -> str:
    """The element of a residue that is one ion; empty for any other name."""
    return ION_ELEMENTS.get(name.upper()) or ION_ELEMENTS.get(name.upper().rstrip("+-0123456789"), "")


def protein_from_structure(structure: gemmi.Structure, path: Path, waters: bool = False) -> Protein:
    """The arrays of a gemmi structure's first model. `path` names it in messages. Raises UnreadableFile.

    With `waters` these stay, as residues of the kind WATER. The structure itself is used up.
    """
    more_models = len(structure) - 1
    while len(structure) > 1:
        del structure[-1]
    try:
        atoms = _Columns.of(structure)
    except (RuntimeError, UnicodeDecodeError) as error:  # names that are too long for the table, or are no text
        cause = str(error).removeprefix("FlatStructure doesn't support ")
        raise UnreadableFile("not a structure", f"{path}: cannot be used: {cause}") from None
    if not (np.abs(atoms.x) < MAX_COORDINATE).all():
        serial = int(atoms.serial[np.argwhere(~(np.abs(atoms.x) < MAX_COORDINATE))[0, 0]])
        raise UnreadableFile("non-finite coordinates", f"{path}: atom {serial} has a coordinate that is not a number")
    keep, dropped = _filter(atoms, waters)
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
    groups = np.split(rows, np.flatnonzero(new)[1:])
    residues = tuple(_residue(atoms, group, modified) for group in groups)
    if waters:
        is_water = _waters(atoms)[[group[0] for group in groups]]
        residues = tuple(
            replace(r, name="HOH", kind=Kind.WATER) if water else r for r, water in zip(residues, is_water, strict=True)
        )
    residues = _with_named_copies(_with_free_amino_acids(residues, atoms, rows, residue_of))
    given = (str(atoms.residue[group[0]]) for group in groups)
    renamed = Counter(f"{old}→{r.name}" for old, r in zip(given, residues, strict=True) if old != r.name)
    labels, other_names = _standard_names(atoms.atom[rows], residues, residue_of)
    return Protein(
        name=path.name.removesuffix(".gz").rsplit(".", 1)[0],
        element=atoms.element[rows].astype(np.uint8),
        residue=np.array([RESIDUE_CLASS.get(r.name, vocab.OTHER_RESIDUE) for r in residues], np.uint8)[residue_of],
        atom_name=_atom_classes(labels),
        residue_of=residue_of,
        kind=np.array([r.kind for r in residues], np.uint8)[residue_of],
        x=atoms.x[rows].astype(np.float32),
        residues=residues,
        atom_label=labels,
        dropped=dropped,
        renamed=dict(renamed + other_names),
        alternate=frozenset(residue_of[~np.isin(atoms.altloc[rows], (0, ord(" ")))].tolist()),
    )


def _residue_starts(atoms: _Columns, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Rows of the atoms that stay, whether each is the first of its residue, and the number of repeated atoms.

    A second atom of one name without a label of alternate location is an unmarked alternate location if it is near the
    first. If it is farther away, it begins another copy of the residue: files of assemblies may give all copies of a
    chain the same name.
    """
    new, columns = np.ones(len(rows), dtype=bool), (atoms.residue_names.index, *atoms.place)
    new[1:] = np.any([column[rows][1:] != column[rows][:-1] for column in columns], axis=0)
    starts = np.flatnonzero(new)
    gone: list[int] = []
    all_names, standard = atoms.atom_names.index[rows].tolist(), atoms.residue_names.those(RESIDUE_CLASS.__contains__)
    for begin, end in pairwise([*starts.tolist(), len(rows)]):
        names = all_names[begin:end]
        if len(set(names)) == len(names):
            if not standard[rows[begin]]:
                new[begin:end] |= _molecule_starts(atoms.x[rows[begin:end]])
            continue
        first: dict[int, int] = {}
        for i, name in enumerate(names, begin):
            if name not in first:
                first[name] = i
            elif np.linalg.norm(atoms.x[rows[i]] - atoms.x[rows[first[name]]]) <= UNMARKED:
                gone.append(i)
            else:
                new[i], first = True, {name: i}
    stays = np.ones(len(rows), dtype=bool)
    stays[gone] = False
    return rows[stays], new[stays], len(gone)


def _molecule_starts(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the atoms [n, 3] Å of one label begin another molecule: programs call several `UNL 1`."""
    starts = np.zeros(len(x), dtype=bool)
    if len(x) < 2 or np.linalg.norm(np.diff(x, axis=0), axis=1).max() <= GAP:
        return starts
    near = np.linalg.norm(x[:, None] - x[None], axis=-1) <= GAP
    count, part = connected_components(csr_matrix(near))
    changes = np.flatnonzero(np.diff(part)) + 1
    if len(changes) == count - 1:
        starts[changes] = True
    return starts


def _filter(atoms: _Columns, waters: bool) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which atoms [A] a pocket may contain (with `waters`, these too), and how many are left out for each cause."""
    causes = {
        "atoms of waters": np.zeros(len(atoms.element), dtype=bool) if waters else _waters(atoms),
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
    given = str(atoms.residue[first])
    name, kind = RESIDUE_ALIASES.get(given, given), Kind.POLYMER
    if given not in RESIDUE_CLASS:
        name = _standard_residue(given, atoms.atom[rows])
        kind = Kind.POLYMER if given in modified else _kind(name, atoms, rows)
    return Residue(
        chain=str(atoms.chain[first]),
        number=int(atoms.number[first]),
        insertion=chr(atoms.insertion[first]).strip("\0 "),
        name=name,
        kind=kind,
    )


def _standard_residue(name: str, atoms: NDArray[np.str_]) -> str:
    """The usual name of a residue: of amino acids and nucleotides that force fields name, and of ions with a charge."""
    if name in NUCLEOTIDE_ALIASES and {atom.replace("*", "'") for atom in atoms.tolist()} >= SUGAR:
        return NUCLEOTIDE_ALIASES[name]
    if len(atoms) == 1 and name[-1:] in ("+", "-"):
        return name.rstrip("+-0123456789").upper()
    return RESIDUE_ALIASES.get(name, name)


def _standard_names(
    names: NDArray[np.str_], residues: Sequence[Residue], residue_of: NDArray[np.int64]
) -> tuple[NDArray[np.str_], Counter[str]]:
    """Atom names [A] with those of other force fields replaced in amino acids, and how many of each were."""
    renamed, changed = Counter[str](), names.copy()
    for row in np.flatnonzero(np.isin(names, list(ATOM_ALIASES))).tolist():
        old, residue = str(names[row]), residues[residue_of[row]]
        new = ATOM_ALIASES[old]
        fits = residue.name in vocab.RESIDUES and (old != "CD" or residue.name == "ILE")
        if fits and new not in names[residue_of == residue_of[row]]:
            changed[row] = new
            renamed[f"{old}→{new}"] += 1
    return changed, renamed


def _with_named_copies(residues: tuple[Residue, ...]) -> tuple[Residue, ...]:
    """Residues whose chain is there several times under one name get chains A-1, A-2 and so on, as do molecules that
    share a label. Copies of a chain without a name are copy1, copy2."""
    keys = [(r.chain, r.number, r.insertion, r.name) for r in residues]
    total = Counter(keys)
    if len(total) == len(keys):
        return residues
    several = {r.chain for r, key in zip(residues, keys, strict=True) if total[key] > 1 and r.kind is Kind.POLYMER}
    times, named = Counter[tuple[str, int, str, str]](), []
    for residue, key in zip(residues, keys, strict=True):
        times[key] += 1
        if residue.chain in several or total[key] > 1:
            chain = f"{residue.chain}-{times[key]}" if residue.chain else f"copy{times[key]}"
            residue = replace(residue, chain=chain, own_chain=residue.chain)  # noqa: PLW2901 (named anew)
        named.append(residue)
    return tuple(named)


def _kind(name: str, atoms: _Columns, rows: NDArray[np.int64]) -> Kind:
    if name in RESIDUE_CLASS or name in CAPS:
        return Kind.POLYMER
    if name in COFACTORS and not (len(rows) == 1 and name in ION_ELEMENTS):  # CLA: chlorophyll, or CHARMM's chloride
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


@lru_cache(maxsize=4096)
def _one_letter(name: str) -> str:
    code = _tabulated(RESIDUE_ALIASES.get(name, name)).one_letter_code.strip()
    return code.upper() if code else "X"


def _waters(atoms: _Columns) -> NDArray[np.bool_]:
    """Atoms [A] of waters: residues whose one heavy atom is an oxygen, by whatever name, virtual sites aside."""
    new = np.ones(len(atoms.element), dtype=bool)
    new[1:] = np.any([column[1:] != column[:-1] for column in (atoms.residue_names.index, *atoms.place)], axis=0)
    residue_of = np.cumsum(new) - 1
    heavy = (atoms.element != 1) & ~atoms.atom_names.those(VIRTUAL_SITES.__contains__)
    other = np.bincount(residue_of, weights=heavy & (atoms.element != WATER_ATOM)) > 0
    # Alternate locations repeat the name of the oxygen.
    count = len(atoms.atom_names.names)
    oxygens = np.unique((residue_of * count + atoms.atom_names.index)[heavy]) // count
    single = np.bincount(oxygens, minlength=int(new.sum())) == 1
    hydroxide = atoms.residue_names.those(HYDROXIDES.__contains__)
    known = atoms.residue_names.those(lambda name: _tabulated(name).is_water())
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
