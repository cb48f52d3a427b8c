"""PDBbind as it is unpacked: a folder CODE with CODE_protein.pdb and CODE_ligand.sdf or .mol2, at any depth.

So are `refined-set/1a30` and `v2020-other-PL/1a30`, and the release of 2024, which sorts folders by year
(`P-L/1981-2000/1a30`). Index files (`INDEX_*`, anywhere) give affinity, resolution and year; where the core set has an
index of its own (`INDEX_core_data.2016`, or `CoreSet.dat` of CASF), it is the test split.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ligandsmith.data.dataset import Split
from ligandsmith.data.layouts.affinity import p_affinity
from ligandsmith.data.sources import Pair, first_file, pairs_and_rejections
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import file_text
from ligandsmith.records import Rejection

CODE = re.compile(r"[0-9][A-Za-z0-9]{3}")
CORE = re.compile(r"INDEX_core.*|CoreSet\.dat")
ROW = re.compile(  # code, resolution, year, -log in index files named "data", measure, // reference, ligand
    r"(?P<code>[0-9]\w{3})\s+(?P<resolution>\S+)\s+(?P<year>\d{4})\s+(?:(?P<p>-?\d+\.\d+)\s+)?"
    r"(?P<measure>Kd|Ki|IC50)(?P<relation><=|>=|[=<>~])(?P<value>[\d.]+)(?P<unit>[fpnum]?M)"
    r"(?:.*\((?P<ligand>[^()]*)\))?"
)


def pdbbind_pairs(source: Path) -> tuple[list[Pair], list[Rejection]]:
    """The complexes of a PDBbind folder, sorted by code within each part."""
    folders, indices = [], []
    for place, names, files in os.walk(source):
        folders += [Path(place, name) for name in sorted(names) if CODE.fullmatch(name)]
        names[:] = sorted(name for name in names if not CODE.fullmatch(name))
        indices += [Path(place, name) for name in sorted(files) if name.startswith("INDEX_") or CORE.fullmatch(name)]
    if not folders:
        raise LigandsmithError(f"{source}: no PDBbind folder; expected CODE/CODE_protein.pdb with CODE/CODE_ligand.sdf")
    metadata, core = _metadata(indices), _core_set(indices)
    found = [_pair(folder, metadata, core) for folder in folders]
    return pairs_and_rejections(found)


def _pair(folder: Path, metadata: dict[str, dict[str, str]], core: set[str]) -> Pair | Rejection:
    code = folder.name
    protein = first_file(folder, f"{code}_protein.pdb", f"{code}_pocket.pdb")
    ligand = first_file(folder, f"{code}_ligand.sdf", f"{code}_ligand.mol2")
    if protein is None or ligand is None:
        missing = f"{code}_protein.pdb" if protein is None else f"{code}_ligand.sdf or .mol2"
        return Rejection(code.lower(), "missing file", f"{folder}: no {missing}")
    split = "" if not core else str(Split.TEST if code.lower() in core else Split.TRAIN)
    return Pair(code.lower(), protein, ligand, split=split, metadata=metadata.get(code.lower(), {}))


def _metadata(indices: list[Path]) -> dict[str, dict[str, str]]:
    """Columns of `metadata.csv` by code. Of several indices the first that has a code counts."""
    found: dict[str, dict[str, str]] = {}
    for line in _lines(indices):
        row = ROW.match(line)
        if row is None:
            continue
        computed = p_affinity(float(row["value"] or 0), row["unit"])
        found.setdefault(row["code"].lower(), {
            "affinity": row["p"] or computed,
            "measure": f"{row['measure']}{row['relation']}{row['value']}{row['unit']}",
            "resolution": row["resolution"],
            "year": row["year"],
            "ligand": row["ligand"] or "",
        })  # fmt: skip
    return found


def _core_set(indices: list[Path]) -> set[str]:
    lines = _lines([path for path in indices if CORE.fullmatch(path.name)])
    return {line.split()[0].lower() for line in lines if CODE.fullmatch(line.split()[0])}


def _lines(paths: list[Path]) -> Iterator[str]:
    """The lines of index files, comments and blank ones aside."""
    for path in paths:
        try:
            text = file_text(path, errors="replace")
        except OSError as error:
            raise LigandsmithError(f"{path}: cannot be read ({error})") from None
        yield from (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
