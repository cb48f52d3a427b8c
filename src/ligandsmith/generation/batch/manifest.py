"""The pockets of a run: a CSV with one row for each."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ligandsmith.config import MAX_SITE_RADIUS, SITE_RADIUS
from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.files import csv_content
from ligandsmith.options import GenerationOptions
from ligandsmith.records import Pocket
from ligandsmith.structure.pocket import PreflightReport, read_pocket

SITES = ("ligand", "residues", "center", "het")
COLUMNS = ("pocket", "protein", *SITES, "radius", "smiles")
FOLDER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
TAKEN = {"evaluation", "manifest.csv", "failures.csv", "generation.json"}  # what lies beside the folders of pockets


class OptionColumns(NamedTuple):
    """Columns for what is asked of the ligands of one row, besides what is asked of all."""

    names: tuple[str, ...]
    options: Callable[[Mapping[str, str], Path], GenerationOptions]  # of cells by name, with the folder of their files


@dataclass(frozen=True)
class PocketRow:
    """A pocket as the manifest names it: text of the cells, not yet looked at. Paths are relative to `folder`."""

    pocket: str
    line: int
    folder: Path
    protein: str = ""
    ligand: str = ""
    residues: str = ""  # CHAIN:NUMBER, separated by blanks
    center: str = ""  # x,y,z in Å
    het: str = ""
    radius: str = ""  # Å around the centre
    smiles: str = ""  # of the reference ligand
    asked: tuple[tuple[str, str], ...] = ()  # names and texts of the cells in option columns

    def read(self, radius: float = SITE_RADIUS, allow_dropped: bool = False) -> tuple[Pocket, PreflightReport]:
        """The pocket (`radius` in Å where the row has none), and what was kept of it. Raises LigandsmithError."""
        sites = [name for name in SITES if getattr(self, name)]
        if not self.protein or len(sites) != 1:
            raise LigandsmithError(f"give a protein and one of {', '.join(SITES)}; this row has {sites or 'no site'}")
        center = _numbers("center", self.center, 3) if self.center else None
        around = _numbers("radius", self.radius, 1)[0] if self.radius else radius
        if not 0 < around <= MAX_SITE_RADIUS:
            limits = f"above 0, at most {MAX_SITE_RADIUS:g}"
            raise LigandsmithError(f"radius '{shortened(self.radius)}' is not a number {limits}")
        ligand = self.folder / self.ligand if self.ligand else None
        return read_pocket(
            self.folder / self.protein, ligand, self.residues.split(), center, self.het or None, radius=around,
            smiles=self.smiles, allow_dropped=allow_dropped,
        )  # fmt: skip


def _numbers(name: str, text: str, count: int) -> list[float]:
    try:
        values = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != count or (count == 3 and not all(map(math.isfinite, values))):
        what = "three numbers x,y,z" if count == 3 else "a number"
        raise LigandsmithError(f"{name} '{shortened(text)}' is not {what}")
    return values


def read_manifest(path: Path, option_columns: Sequence[str] = ()) -> list[PocketRow]:
    """All rows, whatever their files are. Raises LigandsmithError for an unreadable CSV, columns that are missing or
    neither known nor `option_columns`, and names that are no folder name or there twice."""
    try:
        columns, cells = csv_content(path)
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"{path}: not a readable CSV file ({error})") from None
    _require_columns(path, columns, option_columns)
    rows = [_row(path, line, row, option_columns) for line, row in cells]
    if not rows:
        raise LigandsmithError(f"{path}: no rows; give one for each pocket")
    lines: dict[str, int] = {}
    for row in rows:
        if lines.setdefault(row.pocket, row.line) != row.line:
            raise LigandsmithError(
                f"{path}, line {row.line}: pocket {row.pocket} is in line {lines[row.pocket]} already"
            )
    return rows


def _require_columns(path: Path, columns: Sequence[str], option_columns: Sequence[str]) -> None:
    unknown = [name for name in columns if name not in (*COLUMNS, *option_columns)]
    missing = [name for name in ("pocket", "protein") if name not in columns]
    if missing or unknown or not set(SITES) & set(columns):
        wrong = f"no column {missing[0]}" if missing else f"unknown column '{unknown[0]}'" if unknown else "no site"
        raise LigandsmithError(
            f"{path}, line 1: {wrong}; the columns are pocket, protein, one or more of {', '.join(SITES)}, "
            f"and if wanted {', '.join(('radius', 'smiles', *option_columns))}"
        )


def _row(path: Path, line: int, cells: dict[str, str], option_columns: Sequence[str]) -> PocketRow:
    known = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    name = known.pop("pocket")
    if not FOLDER_NAME.fullmatch(name) or name in TAKEN:
        raise LigandsmithError(
            f"{path}, line {line}: pocket '{name}' cannot name a folder of its own; use letters, digits and _ . + -"
        )
    asked = tuple((column, text) for column in option_columns if (text := (cells.get(column) or "").strip()))
    return PocketRow(name, line, path.parent.resolve(), **known, asked=asked)
