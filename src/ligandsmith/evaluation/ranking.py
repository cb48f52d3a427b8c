"""Rank the molecules of an evaluation: Pareto fronts or weights, filters, a diverse choice. Never imports torch."""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
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
from ligandsmith.evaluation.criteria import MoleculeRow, MoleculeTable, Term, parse_filters, parse_terms, value_of
from ligandsmith.evaluation.metrics import METRICS

TABLE_FILE, POSES_FILE = "per_molecule.csv", "molecules.sdf"
TOP_FILE, RANKING_FILE = "top.sdf", "ranking.csv"
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

    @property
    def key(self) -> Key:
        """Pocket and index of the molecule."""
        return self.row.get("pocket") or "", self.row["index"]


@dataclass
class Ranking:
    """Every molecule of the evaluation, in the order of ranking.csv, and the counts for a reader."""

    molecules: list[Ranked]
    lines: list[str] = field(default_factory=list)


def rank(
    folder: str | os.PathLike[str], by: str, filters: Sequence[str] = (), diverse: int = 0, num: int = DEFAULT_TOP
) -> Ranking:
    """Rank the molecules of an evaluation folder; writes top.sdf and ranking.csv there.

    `by`: metrics, `parse_terms` says how. Without weights by Pareto front, within a front by score; with a weight
    (`qed:2`; those without have 1) by score alone. The score is the weighted mean of ranks scaled to 0..1, in which an
    outlier weighs no more than any last place. Pockets are ranked apart. `filters`: see `parse_filters`. `diverse`:
    that many of each pocket by MaxMin on Morgan fingerprints, the best molecule first, among the 5 times as many that
    rank highest; else the `num` best go to top.sdf. Raises LigandsmithError.
    """
    table = load_table(Path(folder))
    terms = parse_terms(by, table)
    conditions = parse_filters(filters, table)

    def refusal(row: MoleculeRow) -> str:
        if row.get("reason"):
            return f"no molecule: {row['reason']}"
        return next((reason for condition in conditions if (reason := condition.refuses(row))), "")

    molecules = [Ranked(row, refusal(row)) for row in table.rows]
    pockets: dict[str, list[Ranked]] = {}
    for molecule in molecules:
        pockets.setdefault(molecule.key[0], []).append(molecule)
    poses = _load_poses(Path(folder), table)
    ordered: list[Ranked] = []
    for members in pockets.values():
        best = _order([m for m in members if not m.reason], terms)
        available = [m for m in best if m.score is not None and m.key in poses]
        for molecule in _diverse(available, poses, diverse) if diverse else available[:num]:
            molecule.chosen = True
        ordered += best + [m for m in members if m.rank is None]
    _write(Path(folder), ordered, terms, poses)
    return Ranking(ordered, _lines(ordered, terms, poses, Path(folder)))


def load_table(folder: Path) -> MoleculeTable:
    """per_molecule.csv of an evaluation folder; better directions of its summary.json, else of METRICS."""
    path = folder / TABLE_FILE
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except FileNotFoundError as error:
        raise LigandsmithError(f"no {TABLE_FILE} in {folder}; run ligandsmith evaluate first") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LigandsmithError(f"cannot read {path}: {error}") from error
    if not rows or "index" not in rows[0]:
        raise LigandsmithError(f"{path} has no {'column index' if rows else 'molecules'}; run ligandsmith evaluate")
    better: dict[str, str] = {name: metric.better for name, metric in METRICS.items()}
    ligands = MoleculeTable.ligands
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        better |= {name: str(entry["better"]) for name, entry in summary["metrics"].items()}
        ligands = Path(summary.get("ligands", ligands)).name
    except FileNotFoundError:
        pass
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LigandsmithError(
            f"cannot use {folder / 'summary.json'}: {error!r}; remove it or evaluate anew"
        ) from error
    return MoleculeTable(str(path), rows, better, ligands)


def _load_poses(folder: Path, table: MoleculeTable) -> dict[Key, Chem.Mol]:
    """Molecules by pocket (empty unless the table has pockets) and index, of molecules.sdf, else of the SDF that was
    evaluated."""
    path = next((folder / name for name in (POSES_FILE, table.ligands) if (folder / name).is_file()), None)
    if path is None:
        raise LigandsmithError(f"neither {POSES_FILE} nor {table.ligands} in {folder}; {TOP_FILE} is made from it")
    poses = {}
    for position, record in enumerate(read_sdf(path)):
        if record.mol is not None:
            props = record.mol.GetPropsAsDict(autoConvertStrings=False)
            record.mol.SetProp("_Name", record.title)
            pocket = str(props.get("pocket", "")) if "pocket" in table.rows[0] else ""
            poses[pocket, str(props.get("index", position))] = record.mol
    return poses


def _order(molecules: list[Ranked], terms: Sequence[Term]) -> list[Ranked]:
    """Set front, score and rank; best first, those without a value last."""
    scored = []
    for molecule in molecules:
        lacking = [t.column for t in terms if value_of(molecule.row, t.column) is None]
        if lacking:
            text = molecule.row.get(lacking[0])
            molecule.reason = f"{lacking[0]} is {text}" if text else f"no value of {lacking[0]}"
        else:
            scored.append(molecule)
    if scored:
        signs = [1.0 if t.lower else -1.0 for t in terms]
        values = [[s * (value_of(m.row, t.column) or 0.0) for s, t in zip(signs, terms, strict=True)] for m in scored]
        costs = np.array(values)  # smaller is better in every column
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

    def dominated_by(i: int) -> NDArray[np.bool_]:
        return np.asarray((costs[i] <= costs).all(1) & (costs[i] < costs).any(1))

    dominators = np.zeros(len(costs), dtype=np.int64)
    for i in range(len(costs)):
        dominators += dominated_by(i)
    front, number = np.zeros(len(costs), dtype=np.int64), 0
    while not front.all():
        number += 1
        members = (dominators == 0) & (front == 0)
        front[members] = number
        for i in np.flatnonzero(members).tolist():
            dominators -= dominated_by(i)
    return front


def _diverse(ordered: Sequence[Ranked], poses: dict[Key, Chem.Mol], wanted: int) -> list[Ranked]:
    """The best molecule and those farthest from the ones chosen before, in order of rank."""
    pool = ordered[: POOL * wanted]
    if len(pool) <= wanted:
        return list(pool)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=FINGERPRINT_RADIUS, fpSize=FINGERPRINT_BITS)
    prints = [generator.GetFingerprint(Chem.RemoveHs(poses[m.key])) for m in pool]
    picked = rdSimDivPickers.MaxMinPicker().LazyBitVectorPick(prints, len(prints), wanted, firstPicks=[0], seed=0)
    return [pool[i] for i in sorted(picked)]


def _write(folder: Path, ordered: Sequence[Ranked], terms: Sequence[Term], poses: dict[Key, Chem.Mol]) -> None:
    def chosen() -> Iterator[tuple[Chem.Mol, dict[str, object]]]:
        for molecule in ordered:
            if molecule.chosen:
                mol = poses[molecule.key]
                kept = {name: mol.GetProp(name) for name in mol.GetPropNames()}
                values = {t.column: molecule.row[t.column] for t in terms}
                place = {"rank": molecule.rank, "front": molecule.front, "score": f"{molecule.score:.4f}"}
                yield mol, {**kept, **values, **place}

    write_sdf(folder / TOP_FILE, chosen())
    path = folder / RANKING_FILE
    names = ["pocket"] * ("pocket" in ordered[0].row) + ["index", "title", "smiles"]
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["rank", "front", "score", "in_top", *names, *(t.column for t in terms), "reason"])
            for m in ordered:
                score = "" if m.score is None else f"{m.score:.4f}"
                fields = [m.row.get(name, "") for name in (*names, *(t.column for t in terms))]
                writer.writerow([m.rank, m.front, score, int(m.chosen), *fields, m.reason])
    except OSError as error:
        raise LigandsmithError(f"cannot write {path}: {error.strerror or error}") from error


def _lines(ordered: Sequence[Ranked], terms: Sequence[Term], poses: dict[Key, Chem.Mol], folder: Path) -> list[str]:
    scored = [m for m in ordered if m.score is not None]
    how = ", ".join(f"{t.column} ({'smaller' if t.lower else 'larger'} is better)" for t in terms)
    first = sum(m.front == 1 for m in scored)
    lines = [f"{len(scored)} of {len(ordered)} molecules ranked by {how}; {first} in the first Pareto front"]
    last = Counter(m.reason for m in ordered if m.rank is not None and m.score is None)
    lines += [f"  {count} ranked last: {reason}" for reason, count in last.items()]
    lost = sum(m.key not in poses for m in scored)
    lines += [f"  {lost} have no usable record in the SDF and cannot be in {TOP_FILE}"] if lost else []
    out = Counter(m.reason.split(" is ")[0] for m in ordered if not m.rank)
    lines += [f"  {count} filtered out: {reason}" for reason, count in out.items()]
    return [*lines, f"{sum(m.chosen for m in ordered)} in {folder / TOP_FILE}; all in {folder / RANKING_FILE}"]
