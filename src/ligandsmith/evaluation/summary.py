"""From scored pockets to rows and a summary: every mean with its n, population, failures and interval."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from rdkit import Chem

from ligandsmith.evaluation.geometry import divergences
from ligandsmith.evaluation.input import EvaluationInput, NotRun
from ligandsmith.evaluation.metrics import METRICS, Metric
from ligandsmith.evaluation.protocols import Protocol
from ligandsmith.evaluation.sources import Source
from ligandsmith.evaluation.statistics import Value, estimate
from ligandsmith.evaluation.tools.runner import Answer
from ligandsmith.files import file_hash

SUMMARY_FORMAT = 2
NEVER_BUILT = {"not generated", "not sampled", "unusable pocket", "no atoms"}  # reasons of molecules that are not there
PROGRAMS = ("ligandsmith", "rdkit", "numpy", "gemmi", "posebusters", "vina", "meeko", "prolif")


@dataclass(frozen=True)
class Scored:
    """One pocket: what was looked at, and the values of every metric by sample."""

    source: Source
    data: EvaluationInput
    columns: Mapping[str, Sequence[Value]]
    status: Mapping[str, str]  # of each metric: 'ok', or why it was not run
    reference: Mapping[str, Value] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """`rows`: one dict for each requested molecule, same keys. `summary`: plain values, as in summary.json."""

    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    pockets: tuple[Scored, ...] = ()


def rows_of(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """A row for each requested molecule: where it comes from, why it failed, metrics, PoseBusters' checks (pb_...)."""
    names = _check_names(scored)
    return [row for pocket in scored for row in _pocket_rows(pocket, names)]


def _check_names(scored: Sequence[Scored]) -> list[str]:
    return list(dict.fromkeys(name for s in scored for _, answer in s.data.answered("posebusters") for name in answer))


def _answers(scored: Scored, tool: str) -> Sequence[Answer | None]:
    try:
        return scored.data.of_tool(tool)
    except NotRun:
        return [None] * len(scored.data.samples)


def _pocket_rows(scored: Scored, names: list[str]) -> Iterable[dict[str, Any]]:
    checks = _answers(scored, "posebusters")
    for k, sample in enumerate(scored.data.samples):
        own = checks[k] if isinstance(checks[k], dict) else {}
        failed = [a for tool in scored.data.answers if isinstance(a := _answers(scored, tool)[k], str)]
        yield {
            "pocket": scored.source.pocket,
            "index": sample.index,
            "title": sample.title,
            "reason": sample.reason,
            "detail": sample.detail or "; ".join(failed),
            "smiles": "" if sample.mol is None else Chem.MolToSmiles(sample.mol),
            **{name: values[k] for name, values in scored.columns.items()},
            **{f"pb_{name}": own.get(name) for name in names},  # type: ignore[union-attr]
        }


def summarise(scored: Sequence[Scored], protocol: Protocol) -> dict[str, Any]:
    """The content of summary.json, but for the command and the time it took."""
    samples = [sample for s in scored for sample in s.data.samples]
    references = [s.reference for s in scored if s.reference]
    return {
        "format": SUMMARY_FORMAT,
        "protocol": {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(protocol).items() if key != "published"
        },
        "versions": _versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [_input(s) for s in scored],
        "generation": {s.source.pocket: dict(s.generation) for s in scored if s.generation},
        "requested": len(samples),
        "failures": dict(Counter(s.reason for s in samples if s.mol is None)),
        "funnel": _funnel(scored),
        "metrics": {m.name: _metric(m, scored) for m in METRICS.values()},
        "reference": {
            name: _mean([r.get(name) for r in references]) for name in (METRICS if references else ())
        },
        "posebusters": _checks(scored),
        "distributions": {
            "status": "ok", **divergences(x.mol for x in samples if x.mol is not None and x.connected)
        },
        "tool_failures": {tool: _tool_failures(scored, tool) for tool in protocol.tools},
        "published": [dict(row) for row in protocol.published],
        "pockets": {s.source.pocket: {name: _mean(v) for name, v in s.columns.items()} for s in scored},
    }  # fmt: skip


def _versions() -> dict[str, str]:
    found = dict.fromkeys(PROGRAMS, "not installed")
    for name in PROGRAMS:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _input(scored: Scored) -> dict[str, Any]:
    source, protein = scored.source, scored.data.site.protein
    files = {"ligands": source.ligands, "protein": source.protein, "reference": source.reference}
    return {
        "pocket": source.pocket,
        **{name: None if path is None else str(path) for name, path in files.items()},
        "ligands_sha256": file_hash(source.ligands) if source.ligands.is_file() else None,
        "protein_reading": "" if protein is None else protein.reading,
        "left_out_of_protein": [] if protein is None else list(protein.removed),
        "requested": len(scored.data.samples),
    }


def _mean(values: Iterable[Value]) -> Value:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _metric(metric: Metric, scored: Sequence[Scored]) -> dict[str, Any]:
    """Estimate over all pockets. A pocket in which the metric could not run counts as failures, if it ran in others."""
    values = [v for s in scored for v in s.columns[metric.name]]
    groups = [s.source.pocket for s in scored for _ in s.data.samples]
    size = sum(sum(s.data.members(metric.population)) for s in scored)
    stopped = {s.source.pocket: s.status[metric.name] for s in scored if s.status[metric.name] != "ok"}
    ran = len(stopped) < len(scored)
    result = estimate(values, groups)
    return {
        **asdict(result),
        "population": metric.population,
        "population_size": size,
        "failures": size - result.n if ran else None,
        "unit": metric.unit,
        "better": metric.better,
        "meaning": metric.meaning,
        "status": "ok" if ran else next(iter(stopped.values())),
        "not_run_in": list(stopped) if ran else [],
    }


def _checks(scored: Sequence[Scored]) -> dict[str, Any]:
    """Pass rate of each PoseBusters check over the molecules for which it decided."""
    causes = [a for a in (s.data.answers.get("posebusters", "not asked for") for s in scored) if isinstance(a, str)]
    if len(causes) == len(scored):
        return {"status": f"not run: {causes[0]}"}
    found = [(s.source.pocket, answer) for s in scored for _, answer in s.data.answered("posebusters")]
    checks = {}
    for name in _check_names(scored):
        decided = [None if a.get(name) is None else float(bool(a[name])) for _, a in found]
        result = estimate(decided, [pocket for pocket, _ in found])
        checks[name] = {**asdict(result), "undecided": len(found) - result.n}
    suite = "mol" if all(s.data.site.protein is None for s in scored) else "dock"
    return {"status": "ok", "suite": suite, "checks": checks, "failures": _tool_failures(scored, "posebusters")}


def _tool_failures(scored: Sequence[Scored], tool: str) -> dict[str, int]:
    """Reasons why single molecules have no answer, with their counts."""
    reasons = Counter(a for s in scored for a in _answers(s, tool) if isinstance(a, str))
    return dict(reasons.most_common())


def _funnel(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """requested -> built -> valid -> connected -> unique -> PoseBusters-valid; how many were lost, by reason.

    Built: the method delivered something. A molecule counts in a stage only if it passed all stages before.
    """
    samples = [x for s in scored for x in s.data.samples]
    failed = Counter(x.reason for x in samples if x.mol is None)
    lost: dict[str, dict[str, int]] = {
        "built": {reason: n for reason, n in failed.items() if reason in NEVER_BUILT},
        "valid": {reason: n for reason, n in failed.items() if reason not in NEVER_BUILT},
        "connected": Counter("several fragments" for x in samples if x.mol is not None and not x.connected),
        "unique": Counter("same molecule again" for s in scored for v in s.columns["unique"] if v == 0),
    }
    status = _checks(scored)["status"]
    if status == "ok":
        lost["posebusters"] = dict(Counter(_failed_checks(scored)).most_common())
    stages: list[dict[str, Any]] = [{"stage": "requested", "n": len(samples), "lost": {}}]
    for name, reasons in lost.items():
        stages.append({"stage": name, "n": stages[-1]["n"] - sum(reasons.values()), "lost": dict(reasons)})
    if status != "ok":
        stages.append({"stage": "posebusters", "n": None, "lost": {}, "status": status})
    return stages


def _failed_checks(scored: Sequence[Scored]) -> Iterator[str]:
    """Of each unique molecule that is not PoseBusters-valid: the first check that it fails, or why it has no answer."""
    for s in scored:
        values = zip(_answers(s, "posebusters"), s.columns["unique"], s.columns["pb_valid"], strict=True)
        for answer, unique, valid in values:
            if unique == 1 and valid != 1:
                found = (
                    next((n for n, v in answer.items() if v is not True), "") if isinstance(answer, dict) else answer
                )
                yield found or "no answer"
