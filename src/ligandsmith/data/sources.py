"""The complexes of a source: files paired by folder, by name or by a CSV. Published data sets: `layouts`."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ligandsmith.data.object_store import StoredFile
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import csv_content, is_uri, temporary_folder
from ligandsmith.records import Rejection
from ligandsmith.structure.files import PROTEIN_SUFFIXES, LigandChoice
from ligandsmith.structure.ligands import LIGAND_SUFFIXES, suffix

PROTEIN_ENDING = re.compile(r"_(protein|pocket|receptor|rec)\Z", re.IGNORECASE)
LIGAND_ENDING = re.compile(r"_(ligand|lig)\Z", re.IGNORECASE)
LIGAND_NAME = re.compile(r"(^|[_.-])(ligand|lig)\Z", re.IGNORECASE)  # of a PDB file that is one
PREFERRED_PROTEINS = ("protein", "receptor", "pocket")  # where a folder has several structures


@dataclass(frozen=True)
class Pair:
    """The files of one complex, and what its source says of it."""

    id: str
    protein: Path | StoredFile
    ligand: Path | StoredFile  # that of the protein, where `choice` names a molecule in it
    choice: LigandChoice = LigandChoice()  # noqa: RUF009 (immutable)
    split: str = ""  # of the source's own split, one of `Split`
    metadata: Mapping[str, str] = field(default_factory=dict)  # columns of `metadata.csv`


def find_pairs(source: Path | str) -> tuple[list[Pair], list[Rejection]]:
    """The complexes of a source, sorted by id (a CSV keeps its order), and those that lack a file or repeat an id."""
    if isinstance(source, str) and is_uri(source):
        pairs, rejections = _pairs_of_stored_csv(StoredFile(source))
    elif (source := Path(source)).is_file():
        if source.suffix.lower() != ".csv":
            raise LigandsmithError(
                f"{source}: give a folder of complexes or a CSV with the columns id, protein, ligand"
            )
        pairs, rejections = _pairs_of_csv(source)
    elif source.is_dir():
        folders = sorted(p for p in source.iterdir() if p.is_dir() and not p.name.startswith("."))
        found = [*map(_pair_of_folder, folders), *_pairs_of_flat_folder(source)]
        pairs, rejections = pairs_and_rejections(sorted(found, key=lambda one: one.id))
    else:
        raise LigandsmithError(f"{source}: no such folder or CSV file")
    if not pairs and not rejections:
        raise LigandsmithError(
            f"{source}: no complexes found; expected ID/*.pdb with ID/*.sdf, x_protein.pdb with x_ligand.sdf, or a CSV"
        )
    return first_of_each_id(pairs, rejections)


def first_of_each_id(pairs: Sequence[Pair], rejections: Sequence[Rejection] = ()) -> tuple[list[Pair], list[Rejection]]:
    """The pairs without those whose id came before, which are rejections."""
    first: dict[str, Pair] = {}
    refused = list(rejections)
    for pair in pairs:
        kept = first.setdefault(pair.id, pair)
        if kept is not pair:
            refused.append(Rejection(pair.id, "duplicate id", f"{pair.ligand}; {kept.ligand} was kept"))
    return list(first.values()), refused


def pairs_and_rejections(found: Iterable[Pair | Rejection]) -> tuple[list[Pair], list[Rejection]]:
    """Both kinds apart, each in the order in which it was found."""
    both = list(found)
    return [f for f in both if isinstance(f, Pair)], [f for f in both if isinstance(f, Rejection)]


def first_file(folder: Path, *names: str) -> Path | None:
    """The first of these files that a folder has, gzipped or not."""
    paths = (folder / f"{name}{gz}" for name in names for gz in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def structure_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder whose names end in one of `suffixes`, gzipped or not, by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".") and suffix(p) in suffixes)


def file_stem(path: Path) -> str:
    """The file name without `.gz` and its extension."""
    return Path(path.name[:-3] if path.name.lower().endswith(".gz") else path.name).stem


def preferred_protein(paths: Sequence[Path]) -> Path:
    """Of several structures of one complex, the whole protein rather than a pocket cut from it."""

    def preference(path: Path) -> tuple[int, str]:
        ranks = [i for i, word in enumerate(PREFERRED_PROTEINS) if word in file_stem(path).lower()]
        return min(ranks, default=len(PREFERRED_PROTEINS)), path.name

    return min(paths, key=preference)


def _pair_of_folder(folder: Path) -> Pair | Rejection:
    """The complex of a folder of its own. The whole protein is preferred to a pocket cut from it."""
    proteins, ligands = _structures_and_ligands(folder)
    if not proteins or not ligands:
        missing = "protein (*.pdb, *.cif)" if not proteins else "ligand (*.sdf, *.mol2, *_ligand.pdb)"
        return Rejection(folder.name, "missing file", f"{folder}: no {missing}")
    protein = preferred_protein(proteins)
    named = [p for p in ligands if "lig" in file_stem(p).lower()] or ligands
    if len({file_stem(p) for p in named}) > 1:
        names = ", ".join(p.name for p in named)
        return Rejection(folder.name, "ambiguous ligand", f"{folder}: {names}; keep one or name the pairs in a CSV")
    return Pair(folder.name, protein, named[0])


def _structures_and_ligands(folder: Path) -> tuple[list[Path], list[Path]]:
    """Protein files and ligand files of a folder, the latter by preference of their format, SDF first.

    PDB and mmCIF files named as ligands (x_ligand.pdb, lig.pdb) count as such, after all files with bond orders.
    """
    structures = structure_files(folder, PROTEIN_SUFFIXES)
    named = [path for path in structures if LIGAND_NAME.search(file_stem(path))]
    with_orders = structure_files(folder, LIGAND_SUFFIXES)
    with_orders.sort(key=lambda path: LIGAND_SUFFIXES.index(suffix(path)))
    return [path for path in structures if path not in named], with_orders + named


def _pairs_of_flat_folder(folder: Path) -> list[Pair | Rejection]:
    """Files of one folder paired by name: x_protein.pdb with x_ligand.sdf, or x.pdb with x.sdf."""
    proteins, ligands = (
        # reversed: of several files of one name the first counts
        {ending.sub("", file_stem(path)): path for path in reversed(paths)}
        for paths, ending in zip(_structures_and_ligands(folder), (PROTEIN_ENDING, LIGAND_ENDING), strict=True)
    )
    found: list[Pair | Rejection] = []
    for id in sorted({*proteins, *ligands}):
        if id in proteins and id in ligands:
            found.append(Pair(id, proteins[id], ligands[id]))
        else:
            there, missing = (proteins[id], "ligand") if id in proteins else (ligands[id], "protein")
            found.append(Rejection(id, "missing file", f"{there}: no {missing} of the same name"))
    return found


def _pairs_of_stored_csv(source: StoredFile) -> tuple[list[Pair], list[Rejection]]:
    if suffix(Path(source.name)) != ".csv":
        raise LigandsmithError(
            f"{source}: give a CSV with the columns id, protein, ligand; folders there are not listed"
        )
    with temporary_folder() as folder:
        source.download(folder / source.name)
        return _pairs_of_csv(folder / source.name, source.parent())


def _pairs_of_csv(path: Path, base: StoredFile | None = None) -> tuple[list[Pair], list[Rejection]]:
    """The rows of a CSV; its cells name files by URI, or relative to `base` (by default the folder of the CSV)."""

    def place(cell: str) -> Path | StoredFile:
        if is_uri(cell):
            return StoredFile(cell)
        return path.parent / cell if base is None else base.child(cell)

    pairs, rejections = [], []
    for line, row in csv_rows(path, ("id", "protein", "ligand")):
        het = row.get("het", "")
        if not all((row.get("id"), row.get("protein"), row.get("ligand") or het)):
            rejections.append(Rejection(row.get("id") or f"line {line}", "incomplete row", f"{path}: line {line}"))
        else:
            protein, ligand = row["protein"], row.get("ligand")
            choice = LigandChoice(row.get("smiles", ""), "" if ligand else het)
            pairs.append(Pair(row["id"], place(protein), place(ligand or protein), choice))
    return pairs, rejections


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and stripped fields of each row. Raises LigandsmithError if a column is missing."""
    try:
        found, rows = csv_content(path)
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"{path}: not a readable CSV file ({error})") from None
    if missing := [c for c in columns if c not in found and not (c == "ligand" and "het" in found)]:
        raise LigandsmithError(f"{path}: line 1: no column {', '.join(missing)}; needed: {', '.join(columns)}")
    for line, row in rows:
        yield line, {name: cell.strip() for name, cell in row.items()}
