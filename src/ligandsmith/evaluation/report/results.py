"""The folder that `ligandsmith evaluate` writes, read back for the report. Never imports torch.

Everything in it may come from strangers: it is parsed as data, and what is absent or unreadable is named in `missing`.
"""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.errors import LigandsmithError

FORMAT = 2
FIXED_COLUMNS = ("pocket", "index", "title", "reason", "detail", "smiles")
CHECK_PREFIX = "pb_"
RANKING = (  # (metrics, of which the first that was scored counts; better)
    (("pb_valid",), "higher"),
    (("connected", "valid_connected"), "higher"),
    (("vina_dock", "vina_min", "vina_minimize", "vina_minimise", "vina_score", "vina"), "lower"),
    (("clashes",), "lower"),
    (("qed",), "higher"),
)


@dataclass(frozen=True)
class Row:
    """One requested molecule. `reason` says why there is none; else `smiles` is there."""

    pocket: str
    index: str
    title: str
    reason: str
    detail: str
    smiles: str
    values: dict[str, float | None]
    checks: dict[str, bool | None]  # PoseBusters; empty where it did not run on this molecule

    @property
    def key(self) -> tuple[str, str]:
        """Unique, unlike the title."""
        return self.pocket, self.index


@dataclass(frozen=True)
class Results:
    """What the report needs. `interactions` by 'pocket/index', or 'pocket/reference' for the reference ligand."""

    folder: Path
    summary: dict[str, Any]
    rows: list[Row]
    metric_names: list[str]
    check_names: list[str]
    references: dict[str, Chem.Mol]
    pocket_files: dict[str, Path]
    interactions: dict[str, list[dict[str, Any]]]
    missing: list[str] = field(default_factory=list)

    @cached_property
    def molecules(self) -> list[Row]:
        """Rows of valid molecules, best first; the pockets take turns, so that a page cut short shows them all."""
        rows = sorted((r for r in self.rows if not r.reason and r.smiles), key=self._rank)
        by_pocket: dict[str, list[Row]] = {}
        for row in rows:
            by_pocket.setdefault(row.pocket, []).append(row)
        turns = zip_longest(*by_pocket.values())
        return [row for turn in turns for row in turn if row is not None]

    @property
    def ranking(self) -> list[tuple[str, str]]:
        """(metric, better) in order of importance, of those that were scored."""
        chosen = ((next((n for n in names if n in self.metric_names), None), better) for names, better in RANKING)
        return [(name, better) for name, better in chosen if name is not None]

    def _rank(self, row: Row) -> list[float]:
        key = []
        for name, better in self.ranking:
            value = row.values.get(name)
            key.append(math.inf if value is None else -value if better == "higher" else value)
        return key

    def blocks(self, wanted: Sequence[Row]) -> Iterator[tuple[Row, Chem.Mol]]:
        """Molecules with coordinates of these rows, as far as molecules.sdf has them."""
        found = self._molecule_by_key
        return ((row, found[row.key]) for row in wanted if row.key in found)

    @cached_property
    def _molecule_by_key(self) -> dict[tuple[str, str], Chem.Mol]:
        path = self.folder / "molecules.sdf"
        if not path.is_file():
            return {}
        mols = (record.mol for record in read_sdf(path))
        return {(_prop(mol, "pocket"), _prop(mol, "index")): mol for mol in mols if mol is not None}


def read_results(folder: Path) -> Results:
    """Read a results folder; raises LigandsmithError where summary.json or per_molecule.csv cannot be used."""
    summary = read_json(folder / "summary.json")
    if not isinstance(summary, dict) or summary.get("format") != FORMAT:
        stated = summary.get("format") if isinstance(summary, dict) else None
        raise LigandsmithError(
            f"{folder / 'summary.json'} has format {stated!r}, not {FORMAT}; run `ligandsmith evaluate` again"
        )
    rows, metric_names, check_names = _read_rows(folder / "per_molecule.csv", set(summary.get("metrics") or {}))
    missing: list[str] = []
    references = _read_references(folder / "references.sdf", missing)
    pocket_files = {path.stem: path for path in sorted((folder / "pockets").glob("*.pdb"))}
    if not pocket_files:
        missing.append("no pockets/*.pdb: the 3D view shows no protein and names no residues")
    if not (folder / "molecules.sdf").is_file():
        missing.append("no molecules.sdf: no 3D view and no download of molecules")
    interactions = _read_interactions(folder / "interactions.json", missing)
    if not any(row.smiles and not row.reason for row in rows):
        missing.append("no valid molecule among those requested")
    return Results(
        folder, summary, rows, metric_names, check_names, references, pocket_files, interactions, missing
    )  # fmt: skip


def read_json(path: Path, command: str = "evaluate") -> Any:
    """A JSON file with NaN and infinity as None; raises LigandsmithError naming the command that writes it."""
    try:
        return _finite(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise LigandsmithError(f"no {path.name} in {path.parent}; run `ligandsmith {command}` first") from error
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"cannot read {path}: {error}; run `ligandsmith {command}` again") from error


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not have, become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list) else value


def _read_rows(path: Path, metrics: set[str]) -> tuple[list[Row], list[str], list[str]]:
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            reader = csv.DictReader(file, restval="")
            names = [name for name in reader.fieldnames or [] if name not in FIXED_COLUMNS]
            checks = [n for n in names if n.startswith(CHECK_PREFIX) and n not in metrics]
            values = [name for name in names if name not in checks]
            rows = [_row(record, values, checks) for record in reader]
    except FileNotFoundError as error:
        raise LigandsmithError(f"no {path.name} in {path.parent}; run `ligandsmith evaluate` first") from error
    except (OSError, csv.Error) as error:
        raise LigandsmithError(f"cannot read {path}: {error}; run `ligandsmith evaluate` again") from error
    return rows, values, [name.removeprefix(CHECK_PREFIX) for name in checks]


def _row(record: dict[str, str], values: list[str], checks: list[str]) -> Row:
    answers = {name.removeprefix(CHECK_PREFIX): _truth(record[name]) for name in checks}
    return Row(
        **{name: record.get(name) or "" for name in FIXED_COLUMNS},
        values={name: _number(record[name]) for name in values},
        checks=answers if any(answer is not None for answer in answers.values()) else {},
    )


def _number(text: str) -> float | None:
    try:
        value = {"True": 1.0, "False": 0.0}.get(text)
        value = float(text) if value is None else value
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _truth(text: str) -> bool | None:
    return {"True": True, "1": True, "1.0": True, "False": False, "0": False, "0.0": False}.get(text)


def _read_references(path: Path, missing: list[str]) -> dict[str, Chem.Mol]:
    if not path.is_file():
        missing.append("no references.sdf: no reference ligand to compare with")
        return {}
    mols = [record.mol for record in read_sdf(path) if record.mol is not None]
    return {_prop(mol, "pocket"): mol for mol in reversed(mols)}


def _read_interactions(path: Path, missing: list[str]) -> dict[str, list[dict[str, Any]]]:
    if not path.is_file():
        missing.append("no interactions.json: interactions with the protein were not computed")
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise LigandsmithError(f"cannot use {path}: not an object by 'pocket/index'; run `ligandsmith evaluate` again")
    return {key: [i for i in found if _is_interaction(i)] for key, found in content.items() if isinstance(found, list)}


def _is_interaction(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(end), list)
        and len(value[end]) == 3
        and all(isinstance(x, int | float) for x in value[end])
        for end in ("ligand_xyz", "protein_xyz")
    )


def _prop(mol: Chem.Mol, name: str) -> str:
    return str(mol.GetProp(name)).strip() if mol.HasProp(name) else ""
