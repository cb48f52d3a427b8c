"""PDB or mmCIF file -> the heavy atoms of its first model as arrays, and a count of everything left out."""

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from ligandsmith.data import vocabulary as vocab
from ligandsmith.types import LigandsmithError


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
COFACTORS = frozenset(
    "HEM HEC HEA HEB HAS NAD NAI NAP NDP FAD FDA FMN FNR SAM SAH SFG COA ACO CAA PLP PMP PLR TPP TDP TDL BTN B12 CNC H4B "
    "BH4 THF C2F FFO MGD MTE PCD SF4 FES F3S CLA BCL BPH PHO CHL BCR HDD PQQ U10 GSH LPA LIP ATP ADP AMP ANP ACP AGS "
    "GTP GDP GMP GNP GCP GSP UTP UDP CTP CDP APC A3P PAP".split()
)
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
    dropped: dict[str, int] = field(default_factory=dict)  # what was left out on reading, e.g. {"waters": 120}

    @property
    def num_atoms(self) -> int:
        return len(self.element)

    @property
    def hets(self) -> tuple[int, ...]:
        """Indices of the residues that are no part of a chain."""
        return tuple(i for i, r in enumerate(self.residues) if r.kind is not Kind.POLYMER)


def read_protein(path: Path) -> Protein:
    """Read a `.pdb`, `.ent`, `.cif` or `.mmcif` file, gzipped or not.

    Raises UnreadableFile for a missing file, a file without atoms and for non-finite coordinates.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableFile("missing file", f"{path}: no such file; give a PDB or mmCIF file of the protein")
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile("not a structure", f"{path}: not a PDB or mmCIF file ({cause})") from None
    if not len(structure) or not structure[0].count_atom_sites():
        raise UnreadableFile("not a structure", f"{path}: no atoms in it; is it a PDB or mmCIF file?")
    return protein_from_structure(structure, path)


def protein_from_structure(structure: gemmi.Structure, path: Path) -> Protein:
    """The arrays of a gemmi structure's first model. `path` names it in messages. Raises UnreadableFile."""
    dropped = {"models": len(structure) - 1}
    while len(structure) > 1:
        del structure[-1]
    flat = gemmi.FlatStructure(structure)
    if not np.isfinite(flat.pos).all():
        serial = int(flat.serials[np.argwhere(~np.isfinite(flat.pos))[0, 0]])
        raise UnreadableFile("non-finite coordinates", f"{path}: atom {serial} has a coordinate that is not a number")
    names, chains = _strings(flat.residue_names), _strings(flat.chain_ids)
    unique_names, name_of = np.unique(names, return_inverse=True)
    keep = np.ones(len(names), dtype=bool)
    filters = {
        "waters": np.array([n in WATERS or _tabulated(n).is_water() for n in unique_names])[name_of],
        "hydrogens": flat.elements == 1,
        "atoms of unknown element": flat.elements == 0,
        "atoms of zero occupancy": _zero_occupancy(flat.occ),
    }
    for what, mask in filters.items():
        dropped[what] = int((keep & mask).sum())
        keep &= ~mask
    place = [chains, flat.resnums, flat.icodes]
    dropped["alternate locations"] = _keep_one_conformer(keep, place, flat.altlocs, flat.occ)
    if not keep.any():
        raise UnreadableFile("not a structure", f"{path}: no heavy atoms besides waters")
    rows = np.flatnonzero(keep)
    new = np.ones(len(rows), dtype=bool)
    new[1:] = np.any([column[rows][1:] != column[rows][:-1] for column in [names, *place]], axis=0)
    residue_of = np.cumsum(new) - 1
    residues = _residues(structure, flat, rows, np.flatnonzero(new))
    return Protein(
        name=path.name.removesuffix(".gz").rsplit(".", 1)[0],
        element=flat.elements[rows].astype(np.uint8),
        residue=np.array([RESIDUE_CLASS.get(r.name, vocab.OTHER_RESIDUE) for r in residues], np.uint8)[residue_of],
        atom_name=_atom_classes(flat.atom_names[rows]),
        residue_of=residue_of,
        kind=np.array([r.kind for r in residues], np.uint8)[residue_of],
        x=flat.pos[rows].astype(np.float32),
        residues=residues,
        dropped={what: n for what, n in dropped.items() if n},
    )


def _residues(
    structure: gemmi.Structure, flat: gemmi.FlatStructure, rows: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[Residue, ...]:
    """The residues of the kept atoms `rows`, whose first atoms are at `starts`."""
    names, chains = _strings(flat.residue_names), _strings(flat.chain_ids)
    ends = [*starts[1:].tolist(), len(rows)]
    modified = {record.res_id.name for record in structure.mod_residues}
    residues = []
    for start, end in zip(starts.tolist(), ends, strict=True):
        first = rows[start]
        name = str(names[first])
        atoms = rows[start:end]
        residues.append(
            Residue(
                chain=str(chains[first]),
                number=int(flat.resnums[first]),
                insertion=chr(flat.icodes[first]).strip("\0 "),
                name=name,
                kind=_kind(name, flat, atoms, name in modified),
            )
        )
    return tuple(residues)


def _kind(name: str, flat: gemmi.FlatStructure, atoms: NDArray[np.int64], modified: bool) -> Kind:
    if name in RESIDUE_CLASS or name in CAPS or modified:
        return Kind.POLYMER
    if len(atoms) == 1 and gemmi.Element(int(flat.elements[atoms[0]])).is_metal:
        return Kind.METAL
    if name in COFACTORS:
        return Kind.COFACTOR
    info = _tabulated(name)
    if info.is_nucleic_acid():
        return Kind.POLYMER
    # A modified amino acid has the backbone; a free one (a ligand) is written as HETATM with both carboxyl oxygens.
    labels = set(_strings(flat.atom_names[atoms]).tolist())
    backbone = {"N", "CA", "C", "O"} <= labels
    return Kind.POLYMER if backbone and "OXT" not in labels else Kind.LIGAND


@lru_cache(maxsize=4096)
def _tabulated(name: str) -> gemmi.ResidueInfo:
    return gemmi.find_tabulated_residue(name)


def _strings(padded: NDArray[np.int8]) -> NDArray[np.str_]:
    """Zero-padded rows of characters [A, 8] as strings [A]."""
    width = padded.shape[1]
    return np.ascontiguousarray(padded).view(f"S{width}").ravel().astype(f"U{width}")


def _atom_classes(padded: NDArray[np.int8]) -> NDArray[np.uint8]:
    names, index = np.unique(_strings(padded), return_inverse=True)
    return np.array([ATOM_CLASS.get(str(n), vocab.OTHER_ATOM) for n in names], np.uint8)[index]


def _zero_occupancy(occupancy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Atoms that were not seen. A file that gives zero everywhere (modelling programs do) says nothing by it."""
    zero = occupancy <= 0
    return zero & ~zero.all()


def _keep_one_conformer(
    keep: NDArray[np.bool_],
    place: list[NDArray[np.generic]],
    altlocs: NDArray[np.int8],
    occupancy: NDArray[np.float32],
) -> int:
    """Clear in `keep` all but one conformer of each residue: highest summed occupancy, then the first.

    `place` are the columns (each [A]) that say where a residue is, without its name: two amino acids sharing one
    place are conformers as well. Returns the number of atoms cleared.
    """
    alternate = np.flatnonzero(keep & (altlocs != 0) & (altlocs != ord(" ")))
    groups: dict[tuple[object, ...], dict[int, list[int]]] = {}
    for row in alternate.tolist():
        key = tuple(column[row] for column in place)
        groups.setdefault(key, {}).setdefault(int(altlocs[row]), []).append(row)
    cleared = 0
    for conformers in groups.values():
        best = max(conformers, key=lambda c: (float(occupancy[conformers[c]].mean()), len(conformers[c])))
        for label, rows in conformers.items():
            if label != best:
                keep[rows] = False
                cleared += len(rows)
    return cleared
