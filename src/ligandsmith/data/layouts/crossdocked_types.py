"""CrossDocked2020 as it is unpacked: types/*.types, and a folder of receptors (PDB) and poses (SDF) for each pocket.

A line of a types file is `label pK RMSD receptor ligand #Vina`: `POCKET/X_rec_0.gninatypes` stands for
`POCKET/X_rec.pdb`, and `POCKET/Y_docked_3.gninatypes` for the fourth record of `POCKET/Y_docked.sdf.gz`. A pair of
files `X_train0.types` and `X_test0.types` is the split; part of the pockets of the former is held out for validation.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ligandsmith.data.dataset import Split
from ligandsmith.data.sources import Pair, first_file
from ligandsmith.data.splitting import hold_out_groups
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Rejection
from ligandsmith.structure.files import LigandChoice

MOST_RMSD = 1.0  # Å from the crystal pose, as in the subset on which generators are trained
HELD_OUT = 0.01  # of the training poses, in whole pockets
TYPES_NAME = re.compile(r"(.*)_(train|test)(\d+)(.*)\.types")
NUMBERED = re.compile(r"(.+)_(\d+)\.gninatypes")
FEWEST_COLUMNS = 5
LONGEST_LINE = 4096
log = logging.getLogger("ligandsmith")


class _Line(NamedTuple):
    p: str  # pK, empty where it is unknown
    rmsd: float  # Å
    receptor: str
    ligand: str
    vina: str  # kcal/mol


def crossdocked_pairs(source: Path) -> tuple[list[Pair], list[Rejection]]:
    """The poses near the crystal's of a folder with one pair of types files, or of the pair that `source` is one of."""
    files = _types_files(source)
    root = next(iter(files.values())).parent
    root = root.parent if root.name == "types" else root
    pairs: list[Pair] = []
    rejections: list[Rejection] = []
    far = 0
    for split, path in files.items():
        for line in _lines(path):
            if isinstance(line, _Line) and not 0 <= line.rmsd <= MOST_RMSD:
                far += 1
                continue
            found = line if isinstance(line, Rejection) else _pair(root, line, split)
            if isinstance(found, Pair):
                pairs.append(found)
            else:
                rejections.append(found)
    log.info("%s: %d poses within %g Å of the crystal's; %d others passed over", source, len(pairs), MOST_RMSD, far)
    if not pairs and not rejections:
        raise LigandsmithError(f"{source}: no line of {', '.join(map(str, files.values()))} has an RMSD of 0 to 1 Å")
    return _with_validation(pairs), rejections


def _types_files(source: Path) -> dict[str, Path]:
    """Types files by split. Raises LigandsmithError where it is not clear which."""
    if source.is_file():
        match = TYPES_NAME.fullmatch(source.name)
        if match is None:
            raise LigandsmithError(
                f"{source}: not named X_train0.types or X_test0.types; give CrossDocked2020's folder"
            )
        names = {s: source.with_name(f"{match[1]}_{s}{match[3]}{match[4]}.types") for s in ("train", "test")}
        return {split: path for split, path in names.items() if path.is_file()}
    folder = source / "types" if (source / "types").is_dir() else source
    there = [(path, m) for path in sorted(folder.glob("*.types")) if (m := TYPES_NAME.fullmatch(path.name))]
    kinds = {(m[1], m[3], m[4]) for _, m in there}
    if len(kinds) != 1:
        what = f"{len(there)} files X_train0.types and X_test0.types"
        first = f"; name one, as {there[0][0]}" if there else "; expected types/*.types"
        raise LigandsmithError(f"{folder}: {what}, and one split can be read{first}")
    return {m[2]: path for path, m in sorted(there, key=lambda found: found[1][2], reverse=True)}


def _lines(path: Path) -> Iterator[_Line | Rejection]:
    """The lines of a types file, which may have some ten millions."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for number, text in enumerate(iter(lambda: stream.readline(LONGEST_LINE), ""), 1):
                if text.strip():
                    yield _parsed(text, f"{path}, line {number}")
    except OSError as error:
        raise LigandsmithError(f"{path}: cannot be read ({error.strerror})") from None


def _parsed(text: str, place: str) -> _Line | Rejection:
    words = text.split()
    try:
        _, p, rmsd, receptor, ligand = words[:FEWEST_COLUMNS]
        vina = words[FEWEST_COLUMNS].lstrip("#") if len(words) > FEWEST_COLUMNS else ""
        return _Line(p if float(p) else "", float(rmsd), receptor, ligand, vina)
    except ValueError:
        return Rejection(place, "incomplete row", "not 'label pK RMSD receptor ligand'")


def _pair(root: Path, line: _Line, split: str) -> Pair | Rejection:
    id = line.ligand.rsplit(".", 1)[0]
    receptor, _ = _file_of(root, line.receptor, ".pdb")
    ligand, record = _file_of(root, line.ligand, ".sdf")
    if receptor is None or ligand is None:
        return Rejection(id, "missing file", f"{root / (line.receptor if receptor is None else line.ligand)}")
    known = {"affinity": line.p, "rmsd": f"{line.rmsd:g}", "vina": line.vina}
    return Pair(id, receptor, ligand, LigandChoice(record=record), split, known)


def _file_of(root: Path, name: str, end: str) -> tuple[Path | None, int]:
    """The structure file that a name in a types file stands for, and the record in it."""
    match = NUMBERED.fullmatch(name)
    stem, record = (match[1] + end, int(match[2])) if match else (name, 0)
    return first_file(root, stem), record


def _with_validation(pairs: list[Pair]) -> list[Pair]:
    """Some pockets of the training part become the validation split, by their names alone."""
    train = [i for i, pair in enumerate(pairs) if pair.split == Split.TRAIN]
    held = hold_out_groups([Path(pairs[i].id).parent.name for i in train], HELD_OUT, seed=0)
    chosen = {i for i, out in zip(train, held, strict=True) if out}
    return [replace(p, split=str(Split.VALIDATION)) if i in chosen else p for i, p in enumerate(pairs)]
