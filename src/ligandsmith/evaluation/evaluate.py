"""Score any SDF of generated ligands: one row for each requested molecule, a summary with n and failures.

Imports RDKit, gemmi and NumPy, never torch.
"""

import csv
import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase

from ligandsmith.chem.sdf import SdfRecord, read_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.metrics import (
    METRICS,
    EvaluationInput,
    KnownMolecules,
    Metric,
    NotRun,
    Sample,
    estimate,
    in_population,
    pose_checks,
)
from ligandsmith.evaluation.poses import POSEBUSTERS_MISSING, load_protein, posebusters_available, run_posebusters

INCHIKEY = re.compile(r"[A-Z]{14}(-[A-Z]{10}-[A-Z])?")
NOT_GENERATED = "not generated"
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Evaluation:
    """`rows`: one dict for each requested molecule, same keys. `summary`: plain values, as in summary.json."""

    rows: list[dict[str, Any]]
    summary: dict[str, Any]


def evaluate(
    sdf: PathLike,
    protein: PathLike | None = None,
    reference: PathLike | None = None,
    requested: int | None = None,
    novelty: PathLike | Iterable[str] | None = None,
    posebusters: bool = True,
) -> Evaluation:
    """Score the molecules of `sdf` with every metric of METRICS.

    Failures listed in a `samples.json` beside `ligands.sdf` are rows with their reason; molecules of `requested` that
    neither file accounts for are rows 'not generated'. `reference` (SDF) is scored too, and its copy in the protein
    file is left out. `novelty`: known molecules as SMILES or InChIKeys, one a line in a file, or as strings. What
    cannot be computed is 'not run' with the cause, never 0. Raises LigandsmithError for input that cannot be used.
    """
    samples = load_samples(Path(sdf), requested)
    bound = None if reference is None else load_reference(reference)
    target = None if protein is None else load_protein(protein, bound)
    known = None if novelty is None else load_known(novelty)
    data = _with_poses(EvaluationInput(tuple(samples), target, known), posebusters)
    columns, metrics = _score(data)
    summary: dict[str, Any] = {
        "ligands": str(sdf),
        "protein": None if protein is None else str(protein),
        "left_out_of_protein": [] if target is None else list(target.removed),
        "requested": len(samples),
        "failures": dict(Counter(s.reason for s in samples if s.mol is None)),
        "metrics": metrics,
        "posebusters": _summarise_checks(data),
    }
    if bound is not None:
        own = _with_poses(EvaluationInput((Sample(0, bound),), target, known), posebusters)
        summary["reference"] = {"file": str(reference), **{k: v[0] for k, v in _score(own)[0].items()}}
    return Evaluation(_rows(data, columns), summary)


def load_samples(sdf: Path, requested: int | None = None) -> list[Sample]:
    """One sample for each requested molecule, in the order of their index; raises LigandsmithError."""
    records = read_sdf(sdf)
    log = _generation_log(sdf)
    failures = {int(f["index"]): f for f in log.get("failures", [])}
    total = requested if requested is not None else log.get("requested", len(records) + len(failures))
    if not total:
        raise LigandsmithError(f"no records in {sdf}; was anything generated?")
    if len(records) + len(failures) > total:
        raise LigandsmithError(
            f"{sdf} has {len(records)} records and {len(failures)} failures, more than the {total} requested"
        )
    samples = {i: Sample(i, None, str(f["reason"]), str(f.get("detail", ""))) for i, f in failures.items()}
    for index, record in zip(_record_indices(records, set(samples)), records, strict=True):
        samples[index] = _sample(index, record)
    missing = (i for i in range(total + len(samples)) if i not in samples)
    while len(samples) < total:
        index = next(missing)
        samples[index] = Sample(index, None, NOT_GENERATED)
    return [samples[i] for i in sorted(samples)]


def _generation_log(sdf: Path) -> dict[str, Any]:
    """`samples.json` beside a `ligands.sdf`, which says what was requested and what failed; {} where there is none."""
    path = sdf.parent / "samples.json"
    if sdf.name.split(".")[0] != "ligands" or not path.is_file():
        return {}
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
        counts = isinstance(log.get("requested", 0), int) and all(int(f["index"]) >= 0 for f in log.get("failures", []))
        reasons = all(f["reason"] for f in log.get("failures", []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LigandsmithError(f"cannot use {path}: {error!r}; remove it to evaluate the SDF alone") from error
    if not (counts and reasons):
        raise LigandsmithError(f"cannot use {path}: bad 'requested' or 'failures'; remove it to evaluate the SDF alone")
    return dict(log)


def _record_indices(records: list[SdfRecord], taken: set[int]) -> list[int]:
    """The generation index of each record: its SD property `index` if all have a distinct free one, else in order."""
    stated = [r.mol.GetProp("index") if r.mol is not None and r.mol.HasProp("index") else "" for r in records]
    if all(text.isdigit() for text in stated):
        indices = [int(text) for text in stated]
        if len(set(indices) - taken) == len(records):
            return indices
    free = (i for i in range(len(records) + len(taken)) if i not in taken)
    return [next(free) for _ in records]


def _sample(index: int, record: SdfRecord) -> Sample:
    if record.mol is None:
        return Sample(index, None, *_reason_and_detail(record.reason), title=record.title)
    mol = Chem.RemoveHs(record.mol)
    if not mol.GetConformer().Is3D():
        return Sample(index, None, "no 3D coordinates", title=record.title)
    return Sample(index, mol, title=record.title)


def _reason_and_detail(text: str) -> tuple[str, str]:
    reason, _, detail = text.partition(": ")
    return reason, detail


def load_reference(path: PathLike) -> Chem.Mol:
    """Heavy atoms of the first molecule of an SDF file; raises LigandsmithError."""
    records = read_sdf(path)
    if not records or records[0].mol is None:
        raise LigandsmithError(
            f"no usable reference ligand in {path}: {records[0].reason if records else 'empty file'}"
        )
    return Chem.RemoveHs(records[0].mol)


def load_known(novelty: PathLike | Iterable[str]) -> KnownMolecules:
    """Known molecules from a file (.gz too) or strings: SMILES or InChIKeys, the first word of each line.

    Raises LigandsmithError for a missing file and for a line that is neither, naming it.
    """
    place = "known molecules"
    lines: Iterable[str]
    if isinstance(novelty, str | os.PathLike):
        place = str(novelty)
        try:
            data = Path(novelty).read_bytes()
            lines = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8").splitlines()
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise LigandsmithError(f"cannot read known molecules {place}: {error}") from error
    else:
        lines = novelty
    smiles, keys = set(), set()
    with rdBase.BlockLogs():
        for number, line in enumerate(lines, start=1):
            word = line.split()[0] if line.split() else ""
            if INCHIKEY.fullmatch(word):
                keys.add(word[:14])
            elif word and not (number == 1 and word.lower() in {"smiles", "inchikey"}):
                mol = Chem.MolFromSmiles(word)
                if mol is None:
                    raise LigandsmithError(f"{place}, line {number}: {word[:60]!r} is neither SMILES nor InChIKey")
                smiles.add(Chem.MolToSmiles(mol, isomericSmiles=False))
    return KnownMolecules(frozenset(smiles), frozenset(keys))


def _with_poses(data: EvaluationInput, wanted: bool) -> EvaluationInput:
    if not wanted:
        return data
    if not posebusters_available():
        return EvaluationInput(data.samples, data.protein, data.known, POSEBUSTERS_MISSING)
    poses = run_posebusters([sample.mol for sample in data.samples], data.protein)
    return EvaluationInput(data.samples, data.protein, data.known, poses)


def _score(data: EvaluationInput) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Values of every metric by sample, and its entry in the summary."""
    columns: dict[str, list[Any]] = {}
    summary: dict[str, Any] = {}
    with rdBase.BlockLogs():
        for metric in METRICS.values():
            try:
                values, status = metric.values(data), "ok"
            except NotRun as cause:
                values, status = [None] * len(data.samples), f"not run: {cause}"
            columns[metric.name] = values
            summary[metric.name] = _summarise(metric, data, values, status)
    return columns, summary


def _summarise(metric: Metric, data: EvaluationInput, values: list[Any], status: str) -> dict[str, Any]:
    size = sum(in_population(sample, metric.population) for sample in data.samples)
    result = estimate(values)
    return {
        **asdict(result),
        "population": metric.population,
        "population_size": size,
        "failures": size - result.n if status == "ok" else None,
        "unit": metric.unit,
        "better": metric.better,
        "meaning": metric.meaning,
        "status": status,
    }


def _summarise_checks(data: EvaluationInput) -> dict[str, Any]:
    """Pass rate of each PoseBusters check over the molecules for which it decided."""
    try:
        answers = [checks for checks in pose_checks(data) if checks is not None]
    except NotRun as cause:
        return {"status": f"not run: {cause}"}
    checks = {}
    for name in dict.fromkeys(name for answer in answers for name in answer):
        result = estimate([None if answer.get(name) is None else float(bool(answer[name])) for answer in answers])
        checks[name] = {**asdict(result), "undecided": len(answers) - result.n}
    failed = Counter(p for p in data.poses if isinstance(p, str)) if not isinstance(data.poses, str) else Counter()
    suite = "mol" if data.protein is None else "dock"
    return {"status": "ok", "suite": suite, "checks": checks, "failures": dict(failed)}


def _rows(data: EvaluationInput, columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    poses = [None] * len(data.samples) if isinstance(data.poses, str) else list(data.poses)
    names = list(dict.fromkeys(name for p in poses if isinstance(p, dict) for name in p))
    rows = []
    for k, sample in enumerate(data.samples):
        checks = poses[k]
        rows.append(
            {
                "index": sample.index,
                "title": sample.title,
                "reason": sample.reason,
                "detail": checks if isinstance(checks, str) else sample.detail,
                "smiles": "" if sample.mol is None else Chem.MolToSmiles(sample.mol),
                **{name: values[k] for name, values in columns.items()},
                **{f"pb_{name}": checks.get(name) if isinstance(checks, dict) else None for name in names},
            }
        )
    return rows


def write_evaluation(evaluation: Evaluation, directory: PathLike) -> tuple[Path, Path]:
    """Write per_molecule.csv (a missing value is an empty field) and summary.json; returns their paths."""
    folder = Path(directory)
    table, summary = folder / "per_molecule.csv", folder / "summary.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(evaluation.rows[0]))
            writer.writeheader()
            writer.writerows(evaluation.rows)
        summary.write_text(json.dumps(evaluation.summary, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise LigandsmithError(f"cannot write the evaluation to {folder}: {error.strerror or error}") from error
    return table, summary


def summary_table(evaluation: Evaluation) -> str:
    """Plain text: each metric with mean, interval, n of its population, better; then reasons and failed checks."""
    rows = [("metric", "mean", "95 % interval", "n / population", "better")]
    for name, entry in evaluation.summary["metrics"].items():
        if entry["status"] != "ok":
            rows.append((name, entry["status"], "", "", ""))
            continue
        mean = "-" if entry["mean"] is None else f"{entry['mean']:.3f} {entry['unit'].replace('fraction', '')}".strip()
        interval = "" if entry["low"] is None else f"{entry['low']:.3f} to {entry['high']:.3f}"
        better = "" if entry["better"] == "none" else entry["better"]
        rows.append((name, mean, interval, f"{entry['n']} / {entry['population_size']} {entry['population']}", better))
    widths = [max(len(row[k]) for row in rows if row[1][:7] != "not run" or k != 1) for k in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"no molecule: {reason} ({count})" for reason, count in evaluation.summary["failures"].items()]
    for name, check in evaluation.summary["posebusters"].get("checks", {}).items():
        if check["mean"] is None or check["mean"] < 1:
            rate = "undecided" if check["mean"] is None else f"{check['mean']:.3f}"
            lines.append(f"PoseBusters {name}: {rate} (n {check['n']})")
    return "\n".join(lines)
