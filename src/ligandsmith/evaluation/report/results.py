"""The folder that `ligandsmith evaluate` writes, read back for the report. Never imports torch.

Everything in it may come from strangers: it is parsed as data, and what is absent or unreadable is named in `missing`.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.errors import LigandsmithError, shortened
from ligandsmith.evaluation.molecule_table import MoleculeRow, MoleculeTable, finite_number, read_molecule_table
from ligandsmith.evaluation.report.rendering import label, number
from ligandsmith.evaluation.summary import SUMMARY_FORMAT
from ligandsmith.files import earlier_record, file_hash, json_content

RANKING = (  # (metrics, of which the first that was scored counts; better)
    (("pb_valid",), "higher"),
    (("connected", "valid_connected"), "higher"),
    (("vina_dock", "vina_min", "vina_minimize", "vina_minimise", "vina_score", "vina"), "lower"),
    (("clashes",), "lower"),
    (("qed",), "higher"),
)
METRIC_DEFAULTS = {
    "mean": None, "median": None, "low": None, "high": None, "n": 0, "population": "", "population_size": "?",
    "failures": None, "unit": "", "better": "", "meaning": "", "status": "ok", "reference": None,
}  # fmt: skip
ABSENT = {  # what the report lacks without a file
    "references.sdf": "no reference ligand to compare with",
    "pockets/*.pdb": "the 3D view shows no protein and names no residues",
    "molecules.sdf": "no 3D view and no download of molecules",
    "interactions.json": "interactions with the protein were not computed",
}
ANY_KEY = "*"
LARGEST_NUMBER = 1e300
COUNT, NUMBER, TEXT, LABEL, ANY = (int,), (int, float), (str,), (int, float, str), (object,)
STATISTICS = {"mean": NUMBER, "median": NUMBER, "low": NUMBER, "high": NUMBER, "n": COUNT, "undecided": COUNT}
SHAPE: dict[str, Any] = {  # of summary.json, as far as the report reads it; everything may be absent or null
    "metrics": {ANY_KEY: {
        **STATISTICS, "population": TEXT, "population_size": COUNT, "failures": COUNT, "unit": TEXT, "better": TEXT,
        "meaning": TEXT, "status": TEXT,
    }},
    "reference": {ANY_KEY: NUMBER},
    "pockets": {ANY_KEY: {ANY_KEY: NUMBER}},
    "funnel": [{"stage": TEXT, "n": COUNT, "lost": {ANY_KEY: COUNT}, "status": TEXT}],
    "failures": {ANY_KEY: COUNT},
    "posebusters": {"status": TEXT, "suite": TEXT, "checks": {ANY_KEY: STATISTICS}},
    "distributions": {"status": TEXT, ANY_KEY: {"mean": NUMBER, ANY_KEY: {"jsd": NUMBER, "n": COUNT}}},
    "protocol": {"name": TEXT, "version": LABEL, "about": TEXT, "columns": [TEXT], "differences": [TEXT]},
    "published": [{"method": TEXT, "source": TEXT}],
    "inputs": [{"pocket": TEXT, "ligands": TEXT, "ligands_sha256": TEXT}],
    "generation": {ANY_KEY: ANY},
    "requested": COUNT,
    "seconds": NUMBER,
}  # fmt: skip


def misshapen(value: Any, shape: Any, place: str = "") -> str:
    """Where a value of a JSON file is not of the shape that is expected; empty if it is."""
    if value is None:
        return ""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return place
        parts = ((name, part, shape.get(name, shape.get(ANY_KEY, ANY))) for name, part in value.items())
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return place
        parts = ((str(k), part, shape[0]) for k, part in enumerate(value))
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        sound = isinstance(value, shape) and (
            shape is ANY or isinstance(value, str) or (number and abs(value) < LARGEST_NUMBER)
        )
        return "" if sound else place
    return next((found for name, v, s in parts if (found := misshapen(v, s, f"{place}.{name}".lstrip(".")))), "")


class Choice(NamedTuple):
    """What `ligandsmith rank` did: rank of each molecule by its key, and how, in words."""

    places: dict[tuple[str, str], int]
    words: str


@dataclass(frozen=True)
class Results:
    """What the report needs. `interactions` by 'pocket/index', or 'pocket/reference' for the reference ligand."""

    folder: Path
    summary: dict[str, Any]
    table: MoleculeTable
    structures: dict[tuple[str, str], Chem.Mol]  # molecules with coordinates, by the key of their row
    references: dict[str, Chem.Mol]
    pocket_files: dict[str, Path]
    interactions: dict[str, list[dict[str, Any]]]
    missing: list[str]
    choice: Choice | None = None  # of `rank`, if it was run on these scores

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The summary's metrics with every key of METRIC_DEFAULTS; `reference` is the reference ligands' mean."""
        reference = self.summary.get("reference") or {}
        metrics = {}
        for name, entry in (self.summary.get("metrics") or {}).items():
            given = {key: value for key, value in entry.items() if value is not None}
            metrics[name] = {**METRIC_DEFAULTS, **given, "reference": reference.get(name)}
        return metrics

    @cached_property
    def molecules(self) -> list[MoleculeRow]:
        """Rows of valid molecules, best first; the pockets take turns, so that a page cut short shows them all."""
        by_pocket: dict[str, list[MoleculeRow]] = {}
        place = self._rank if self.choice is None else self._chosen_place
        for row in sorted((r for r in self.table.rows if not r.reason and r.smiles), key=place):
            by_pocket.setdefault(row.pocket, []).append(row)
        turns = zip_longest(*by_pocket.values())
        return [row for turn in turns for row in turn if row is not None]

    @property
    def ranking(self) -> list[tuple[str, str]]:
        """(metric, better) in order of importance, of those that have a value. Used where `rank` was not run."""
        chosen = ((next(iter(self.table.filled(self._known(names))), None), better) for names, better in RANKING)
        return [(name, better) for name, better in chosen if name is not None]

    def _known(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.table.metric_names]

    def _chosen_place(self, row: MoleculeRow) -> list[float]:
        assert self.choice is not None
        return [self.choice.places.get(row.key, math.inf)]

    def _rank(self, row: MoleculeRow) -> list[float]:
        values = ((row.values.get(name), better) for name, better in self.ranking)
        return [math.inf if v is None else -v if better == "higher" else v for v, better in values]


def read_results(folder: Path) -> Results:
    """Read a results folder; raises LigandsmithError where summary.json or per_molecule.csv cannot be used."""
    summary = read_json(folder / "summary.json")
    stated = summary.get("format") if isinstance(summary, dict) else None
    if stated != SUMMARY_FORMAT:
        raise LigandsmithError(
            f"{folder / 'summary.json'} has format {shortened(stated)}, not {SUMMARY_FORMAT}; "
            "run `ligandsmith evaluate` again"
        )
    if wrong := misshapen(summary, SHAPE):
        what = f"{shortened(wrong)} has another type than `ligandsmith evaluate` writes"
        raise LigandsmithError(f"{folder / 'summary.json'}: {what}; run it again")
    table = read_molecule_table(folder, summary.get("metrics") or {})
    missing = [f"no {name}: {lacks}" for name, lacks in ABSENT.items() if not any(folder.glob(name))]
    if not any(row.smiles and not row.reason for row in table.rows):
        missing.append("no valid molecule among those requested")
    missing += [f"newer molecules: {name} changed after it was scored; run `ligandsmith evaluate` again"
                for name in _changed_since(summary, folder)]  # fmt: skip
    return Results(
        folder,
        summary,
        table,
        structures={(_prop(m, "pocket"), _prop(m, "index")): m for m in _read_mols(folder / "molecules.sdf")},
        references={_prop(mol, "pocket"): mol for mol in reversed(_read_mols(folder / "references.sdf"))},
        pocket_files={path.stem: path for path in sorted((folder / "pockets").glob("*.pdb"))},
        interactions=_read_interactions(folder / "interactions.json"),
        missing=missing,
        choice=_read_choice(folder, table),
    )


def _changed_since(summary: dict[str, Any], folder: Path) -> list[str]:
    """Files of molecules that are others than those that were scored. One that is gone says nothing."""
    scored = ((Path(entry.get("ligands") or ""), entry.get("ligands_sha256")) for entry in summary.get("inputs") or [])
    places = ((path if path.is_file() else folder / path.name, digest) for path, digest in scored if digest)
    return sorted({place.name for place, digest in places if place.is_file() and file_hash(place) != digest})


def _read_choice(folder: Path, table: MoleculeTable) -> Choice | None:
    """What `rank` did last, None if it was not run on the scores that are there now."""
    criteria = earlier_record(folder / "ranking.json") or {}
    path, terms = folder / "ranking.csv", criteria.get("terms")
    if criteria.get("table") != file_hash(table.path) or not path.is_file() or not isinstance(terms, list):
        return None
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        rows = [(row.get("pocket"), row.get("index") or "", row.get("rank") or "") for row in csv.DictReader(stream)]
    only = table.rows[0].pocket if table.rows else ""
    places = {
        (only if pocket is None else pocket, index): int(rank) for pocket, index, rank in rows if rank.isdecimal()
    }
    return Choice(places, _in_words(criteria, [term for term in terms if isinstance(term, dict)]))


def _in_words(criteria: dict[str, Any], terms: Sequence[dict[str, Any]]) -> str:
    weighted = any(term.get("weight") is not None for term in terms)
    names = [
        f"{label(str(term.get('metric')))} ({term.get('better')} better"
        + (f", weight {number(term.get('weight') or 1)})" if weighted else ")")
        for term in terms
    ]
    filters = [str(word) for word in criteria.get("filters") or ()]
    how = "weighted ranks" if weighted else "Pareto fronts"
    return f"{how} of {', '.join(names)}" + (f"; filtered by {', '.join(filters)}, the rest last" if filters else "")


def read_json(path: Path, command: str = "evaluate") -> Any:
    """A JSON file with NaN and infinity as None; raises LigandsmithError naming the command that writes it."""
    try:
        return json_content(path, parse_float=finite_number, parse_constant=finite_number)
    except FileNotFoundError as error:
        raise LigandsmithError(f"no {path.name} in {path.parent}; run `ligandsmith {command}` first") from error
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"cannot read {path}: {error}; run `ligandsmith {command}` again") from error


def _read_mols(path: Path) -> list[Chem.Mol]:
    return [record.mol for record in read_sdf(path) if record.mol is not None] if path.is_file() else []


def _read_interactions(path: Path) -> dict[str, list[dict[str, Any]]]:
    if not path.is_file():
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
