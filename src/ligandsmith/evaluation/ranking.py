"""Rank the molecules of an evaluation: Pareto fronts or weights, filters, a diverse choice. Never imports torch."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.SimDivFilters import rdSimDivPickers
from scipy.stats import rankdata

from ligandsmith.chem.sdf import read_sdf, write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.columns import FINGERPRINT_BITS, FINGERPRINT_RADIUS
from ligandsmith.evaluation.criteria import Term, parse_filters, parse_terms
from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.evaluation.molecule_table import MoleculeRow, read_molecule_table
from ligandsmith.files import (
    changes,
    earlier_record,
    file_hash,
    held_alone,
    json_content,
    refuse_other,
    write_csv,
    write_json,
)

POSES_FILE = "molecules.sdf"
TOP_FILE, RANKING_FILE, CRITERIA_FILE = "top.sdf", "ranking.csv", "ranking.json"
FILES = (TOP_FILE, RANKING_FILE, CRITERIA_FILE)
POOL = 5  # times the wanted number: diverse molecules are picked among so many of the best
DEFAULT_TOP = 100
Key = tuple[str, str]  # pocket, index


@dataclass
class Ranked:
    """One molecule. `rank` counts from 1 in its pocket; None: filtered out. `front` and `score` need every value."""

    row: MoleculeRow
    reason: str = ""  # why it was filtered out, or has no score and ranks last
    rank: int | None = None
    front: int | None = None
    score: float | None = None  # 1: best in every term, 0: worst in every term
    chosen: bool = False  # is in top.sdf


@dataclass
class Ranking:
    """Every molecule of the evaluation, in the order of ranking.csv, and the counts for a reader."""

    molecules: list[Ranked]
    lines: list[str] = field(default_factory=list)


def rank(
    folder: str | os.PathLike[str], by: str, filters: Sequence[str] = (), diverse: int = 0, num: int = DEFAULT_TOP,
    overwrite: bool = False,
) -> Ranking:  # fmt: skip
    """Rank the molecules of an evaluation folder; writes top.sdf, ranking.csv and, how it was done, ranking.json there.

    `by`: metrics, `parse_terms` says how. Without weights by Pareto front, within a front by score; with a weight
    (`qed:2`; those without have 1) by score alone. The score is the weighted mean of ranks scaled to 0..1, in which an
    outlier weighs no more than any last place. Pockets are ranked apart. `filters`: see `parse_filters`. `diverse`:
    that many of each pocket by MaxMin on Morgan fingerprints, the best molecule first, among the 5 times as many that
    rank highest; else the `num` best go to top.sdf. Raises LigandsmithError, also where there is a choice by other
    criteria already, unless `overwrite`.
    """
    folder = Path(folder)
    table = read_molecule_table(folder)
    if not table.rows or "index" not in table.columns:
        lacks = "column index" if table.rows else "molecules"
        raise LigandsmithError(f"{table.path} has no {lacks}; run ligandsmith evaluate")
    better, ligands = _summary(folder)
    terms = parse_terms(by, table, better)
    conditions = parse_filters(filters, table)

    def refusal(row: MoleculeRow) -> str:
        if row.reason:
            return f"no molecule: {row.reason}"
        return next((reason for condition in conditions if (reason := condition.refuses(row))), "")

    pockets: dict[str, list[Ranked]] = {}
    for row in table.rows:
        pockets.setdefault(row.pocket, []).append(Ranked(row, refusal(row)))
    poses = _load_poses(folder, ligands, "pocket" in table.columns)
    ordered: list[Ranked] = []
    for members in pockets.values():
        best = _order([m for m in members if not m.reason], terms)
        available = [m for m in best if m.score is not None and m.row.key in poses]
        for molecule in _diverse(available, poses, diverse) if diverse else available[:num]:
            molecule.chosen = True
        ordered += best + [m for m in members if m.rank is None]
    request = {"by": by, "filters": [f.strip() for f in filters if f.strip()], "diverse": diverse, "num": num}
    with held_alone(folder):
        refuse_other(folder, FILES, changes(earlier_record(folder / CRITERIA_FILE), request), overwrite, "")
        write_json(folder / CRITERIA_FILE, request)
        _write(folder, ordered, terms, poses)
        used = [{"metric": t.column, "better": "lower" if t.lower else "higher", "weight": t.weight} for t in terms]
        write_json(folder / CRITERIA_FILE, {**request, "terms": used, "table": file_hash(table.path)})  # it is whole
    return Ranking(ordered, _lines(ordered, terms, poses, folder))


def _summary(folder: Path) -> tuple[dict[str, str], str]:
    """Better directions of columns, of summary.json and else of METRICS, and the name of the SDF that was evaluated."""
    path, better = folder / "summary.json", {name: str(metric.better) for name, metric in METRICS.items()}
    try:
        summary = json_content(path)
        better |= {name: str(entry["better"]) for name, entry in summary["metrics"].items()}
        return better, Path(summary.get("ligands", "ligands.sdf")).name
    except FileNotFoundError:
        return better, "ligands.sdf"
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LigandsmithError(
            f"cannot use {path}: {type(error).__name__}: {error}; remove it or evaluate again"
        ) from error


def _load_poses(folder: Path, ligands: str, pockets: bool) -> dict[Key, Chem.Mol]:
    """Molecules by pocket (empty unless the table has pockets) and index, of molecules.sdf, else of the SDF that was
    evaluated."""
    path = next((folder / name for name in (POSES_FILE, ligands) if (folder / name).is_file()), None)
    if path is None:
        raise LigandsmithError(f"neither {POSES_FILE} nor {ligands} in {folder}; {TOP_FILE} is made from it")
    poses = {}
    for position, record in enumerate(read_sdf(path)):
        if record.mol is not None:
            props = record.mol.GetPropsAsDict(autoConvertStrings=False)
            record.mol.SetProp("_Name", record.title)
            pocket = str(props.get("pocket", "")) if pockets else ""
            poses[pocket, str(props.get("index", position))] = record.mol
    return poses


def _order(molecules: list[Ranked], terms: Sequence[Term]) -> list[Ranked]:
    """Set front, score and rank; best first, those without a value last."""
    for molecule in molecules:
        row = molecule.row
        lacking = next((t.column for t in terms if row.values[t.column] is None), "")
        if lacking:
            molecule.reason = f"{lacking} is {row.fields[lacking]}" if row.fields[lacking] else f"no value of {lacking}"
    scored = [m for m in molecules if not m.reason]
    if scored:
        values = np.array([[m.row.values[t.column] for t in terms] for m in scored], dtype=np.float64)
        costs = values * [1.0 if t.lower else -1.0 for t in terms]  # smaller is better in every column
        for molecule, score, front in zip(scored, scores(costs, terms), fronts(costs), strict=True):
            molecule.score, molecule.front = float(score), int(front)
        weighted = any(t.weight is not None for t in terms)
        scored.sort(key=lambda m: (0 if weighted else m.front, -(m.score or 0.0)))
    ordered = scored + [m for m in molecules if m.score is None]
    for place, molecule in enumerate(ordered, 1):
        molecule.rank = place
    return ordered


def scores(costs: NDArray[np.float64], terms: Sequence[Term]) -> NDArray[np.float64]:
    """Weighted mean of the ranks of costs [M, K], scaled: 1 best, 0 worst; ties share a rank."""
    if len(costs) == 1:
        return np.ones(1)
    places = (len(costs) - rankdata(costs, axis=0)) / (len(costs) - 1)
    weights = np.array([1.0 if t.weight is None else t.weight for t in terms])
    return np.asarray(places @ weights / weights.sum())


def fronts(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pareto front of each row of costs [M, K], from 1: in front n + 1 is what only rows up to front n dominate.

    A row dominates another that is nowhere better and somewhere worse.
    """

    front = np.zeros(len(costs), dtype=np.int64)
    for i in np.lexsort(costs.T[::-1]).tolist():  # what dominates a row comes before it
        dominating = (costs <= costs[i]).all(1) & (costs < costs[i]).any(1)
        front[i] = 1 + front[dominating].max(initial=0)
    return front


def _diverse(ordered: Sequence[Ranked], poses: dict[Key, Chem.Mol], wanted: int) -> list[Ranked]:
    """The best molecule and those farthest from the ones chosen before, in order of rank."""
    pool = ordered[: POOL * wanted]
    if len(pool) <= wanted:
        return list(pool)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)
    prints = [generator.GetFingerprint(Chem.RemoveHs(poses[m.row.key])) for m in pool]
    picked = rdSimDivPickers.MaxMinPicker().LazyBitVectorPick(prints, len(prints), wanted, firstPicks=[0], seed=0)
    return [pool[i] for i in sorted(picked)]


def _write(folder: Path, ordered: Sequence[Ranked], terms: Sequence[Term], poses: dict[Key, Chem.Mol]) -> None:
    names, lines, top = ["index", "title", "smiles", *(t.column for t in terms)], [], []
    if "pocket" in ordered[0].row.fields:
        names.insert(0, "pocket")
    for m in ordered:
        place = {"rank": m.rank, "front": m.front, "score": "" if m.score is None else f"{m.score:.4f}"}
        fields = {name: m.row.fields.get(name, "") for name in names}
        lines.append({**place, "in_top": int(m.chosen), **fields, "reason": m.reason})
        if m.chosen:
            mol = poses[m.row.key]
            kept = {name: mol.GetProp(name) for name in mol.GetPropNames()}
            top.append((mol, {**kept, **{t.column: fields[t.column] for t in terms}, **place}))
    write_sdf(folder / TOP_FILE, top)
    write_csv(folder / RANKING_FILE, lines)


def _lines(ordered: Sequence[Ranked], terms: Sequence[Term], poses: dict[Key, Chem.Mol], folder: Path) -> list[str]:
    scored = [m for m in ordered if m.score is not None]
    how = ", ".join(f"{t.column} ({'smaller' if t.lower else 'larger'} is better)" for t in terms)
    first = sum(m.front == 1 for m in scored)
    lines = [f"{len(scored)} of {len(ordered)} molecules ranked by {how}; {first} in the first Pareto front"]
    last = Counter(m.reason for m in ordered if m.rank is not None and m.score is None)
    lines += [f"  {count} ranked last: {reason}" for reason, count in last.items()]
    lost = sum(m.row.key not in poses for m in scored)
    lines += [f"  {lost} have no usable record in the SDF and cannot be in {TOP_FILE}"] if lost else []
    out = Counter(m.reason.split(" is ")[0] for m in ordered if not m.rank)
    lines += [f"  {count} filtered out: {reason}" for reason, count in out.items()]
    return [*lines, f"{sum(m.chosen for m in ordered)} in {folder / TOP_FILE}; all in {folder / RANKING_FILE}"]
