"""Binding MOAD as it is unpacked: every.csv, and biological assemblies CODE.bio1, CODE.bio2, ... in any folder.

Ligands lie in the assemblies; every.csv names them (`AMH:A:90`), tells valid ones, and gives SMILES and affinity. Lists
of the split that DiffSBDD published (`moad_train.txt`, `moad_val.txt`, `moad_test.txt`) are used where they are beside
every.csv.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ligandsmith.data.dataset import Split
from ligandsmith.data.layouts.affinity import p_affinity
from ligandsmith.data.sources import Pair, pairs_and_rejections
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import file_content, file_text
from ligandsmith.records import Rejection
from ligandsmith.structure.files import LigandChoice

MOAD_TABLE = "every.csv"
COLUMNS_OF_TABLE = 10
ASSEMBLY = re.compile(r"([0-9][a-z0-9]{3})\.bio(\d+)(\.gz)?", re.IGNORECASE)
HET_NAME = re.compile(r"(\w+):(\w*):(-?\d+\w?)")  # name, chain, number
SPLIT_LISTS = {"moad_train.txt": Split.TRAIN, "moad_val.txt": Split.VALIDATION, "moad_test.txt": Split.TEST}


class _Row(NamedTuple):
    """A valid ligand of every.csv."""

    code: str
    ligand: str  # NAME:CHAIN:NUMBER, or several names with blanks between
    measure: str
    affinity: str
    smiles: str
    protein_class: str  # EC number


def bindingmoad_pairs(source: Path) -> tuple[list[Pair], list[Rejection]]:
    """The valid ligands of every.csv, in its order."""
    if not (source / MOAD_TABLE).is_file():
        raise LigandsmithError(f"{source}: no {MOAD_TABLE}; give the folder of Binding MOAD that holds it")
    assemblies = _assemblies(source)
    if not assemblies:
        raise LigandsmithError(f"{source}: no assemblies (CODE.bio1) in it; unpack Binding MOAD's every_part_*.zip")
    split_of = _split_of(source)
    found = [_pair(row, assemblies.get(row.code, []), split_of) for row in _valid_ligands(source / MOAD_TABLE)]
    return pairs_and_rejections(found)


def _pair(row: _Row, assemblies: list[Path], split_of: dict[str, str]) -> Pair | Rejection:
    id = f"{row.code}_{row.ligand.replace(' ', '-')}"
    named = HET_NAME.fullmatch(row.ligand)
    if named is None:
        return Rejection(id, "several het groups", f"{MOAD_TABLE}: {row.ligand} is no single molecule of a PDB file")
    name, chain, number = named.groups()
    place = next((path for path in assemblies if _has_het(path, name, chain, number)), None)
    if place is None:
        what = f"none of {len(assemblies)} assemblies has {row.ligand}" if assemblies else f"no {row.code}.bio1"
        return Rejection(id, "missing file", what)
    metadata = {"affinity": row.affinity, "measure": row.measure, "ligand": name, "class": row.protein_class}
    choice = LigandChoice(row.smiles, f"{chain}:{name}:{number}")
    return Pair(id, place, place, choice, split_of.get(f"{row.code}_{row.ligand}", ""), metadata)


def _assemblies(source: Path) -> dict[str, list[Path]]:
    """Files of the assemblies of each entry, by their numbers."""
    numbered: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(source.rglob("*.bio*")):
        if match := ASSEMBLY.fullmatch(path.name):
            numbered.setdefault(match[1].lower(), []).append((int(match[2]), path))
    return {code: [path for _, path in sorted(found)] for code, found in numbered.items()}


def _has_het(path: Path, name: str, chain: str, number: str) -> bool:
    """Whether a PDB file has atoms of a molecule, without parsing it."""
    place = f"{number:>4}" if number[-1].isdigit() else f"{number:>5}"
    wanted = f"{name:>3} {chain:1}{place}".encode()
    try:
        return any(line[17:].startswith(wanted) for line in file_content(path).splitlines() if line[:6] == b"HETATM")
    except OSError:
        return True  # the reader will say what is wrong with it


def _valid_ligands(table: Path) -> Iterator[_Row]:
    """The valid ligands. Classes, proteins and ligands have rows of their own, each with other cells filled."""
    try:
        rows = list(csv.reader(file_text(table, errors="replace").splitlines()))
    except (OSError, csv.Error) as error:
        raise LigandsmithError(f"{table}: not a readable CSV file ({error})") from None
    protein_class = code = ""
    for row in rows:
        if len(row) < COLUMNS_OF_TABLE:
            continue
        if row[0]:
            protein_class = row[0]
        elif row[2]:
            code = row[2].strip().lower()
        elif row[3] and row[4] == "valid" and code:
            yield _Row(
                code, row[3].strip(), "".join(row[5:9]), _affinity(row[7], row[8]), row[9].strip(), protein_class
            )


def _affinity(value: str, unit: str) -> str:
    try:
        return p_affinity(float(value), unit)
    except ValueError:
        return ""


def _split_of(source: Path) -> dict[str, str]:
    """Split by CODE_LIGAND; nothing without the lists."""
    found: dict[str, str] = {}
    for name, split in SPLIT_LISTS.items():
        if (source / name).is_file():
            for word in file_text(source / name).replace("\n", ",").split(","):
                entry, _, ligand = word.strip().partition("_")
                found[f"{entry[:4].lower()}_{ligand}"] = str(split)
    return found
