"""What lies beside the folders of pockets: the run's summary, its failures, and a manifest for `evaluate`."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ligandsmith.chem.sdf import write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import json_content, write_csv, write_json
from ligandsmith.generation.batch.manifest import PocketRow
from ligandsmith.generation.batch.progress import STATE_FILE, PocketProgress
from ligandsmith.generation.output import LIGANDS_FILE, SAMPLES_FILE
from ligandsmith.structure.ligands import read_ligand

RUN_FILE, MANIFEST_FILE, FAILURES_FILE = "generation.json", "manifest.csv", "failures.csv"
UNUSABLE = "unusable pocket"


def read_run(out: Path) -> dict[str, Any] | None:
    """What decided the molecules of an earlier run in `out`, None without one. Raises LigandsmithError."""
    path = out / RUN_FILE
    if not path.is_file():
        return None
    try:
        return dict(json_content(path)["identity"])
    except (ValueError, KeyError, TypeError) as error:
        raise LigandsmithError(
            f"{path}: not the summary of a run ({type(error).__name__}: {error}); choose another --out, or --overwrite"
        ) from None


def write_results(
    out: Path, rows: Sequence[PocketRow], bad: Mapping[str, str], pockets: Mapping[str, PocketProgress],
    about: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Write the files of a run that came to its end; returns the summary. Every row of the manifest is in each.

    `bad`: pockets that could not be used, and why; all their molecules are failures in their `samples.json`. `about`
    has `identity`, `command`, and `num`, the molecules requested for each pocket. Raises LigandsmithError, OSError.
    """
    for row in rows:
        if row.pocket in bad:
            _write_unusable(out / row.pocket, bad[row.pocket], about)
    write_csv(out / MANIFEST_FILE, [_for_evaluation(out, row, bad) for row in rows])
    failures = [f for row in rows for f in _failures(row, bad, pockets)]
    if failures:
        write_csv(out / FAILURES_FILE, failures)
    else:
        (out / FAILURES_FILE).unlink(missing_ok=True)
    summary = about | {"rows": len(rows), "totals": _totals(bad, pockets), "failures": failures}
    summary["pockets"] = {name: asdict(pocket.counts) for name, pocket in pockets.items() if pocket.counts}
    write_json(out / RUN_FILE, summary)
    return summary


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Plain text."""
    totals = summary["totals"]
    lines = [f"{summary['rows']} pockets: " + ", ".join(f"{n} {state}" for state, n in totals["pockets"].items())]
    lines.append(f"{totals['requested']} ligands requested of those that could be used:")
    lines += [f"  {totals[name]:6d}  {name}" for name in ("molecules", "connected", "distinct")]
    lines += [f"  {count:6d}  failed: {reason}" for reason, count in totals["failures"].items()]
    lines += [f"{name} {counts['stopped']}" for name, counts in summary["pockets"].items() if counts["stopped"]]
    return lines + [f"failed: {f['pocket']} (line {f['line']}): {f['reason']}" for f in summary["failures"]]


def _write_unusable(folder: Path, reason: str, about: dict[str, Any]) -> None:
    """A folder that says of every molecule why it is not there; what an earlier run made of the pocket stays."""
    if (folder / STATE_FILE).exists() and (folder / LIGANDS_FILE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_sdf(folder / LIGANDS_FILE, [])
    failures = [{"index": i, "reason": UNUSABLE, "detail": reason} for i in range(about["num"])]
    record = {"identity": {}, "done": 0, "molecules": [], "failures": failures}
    write_json(folder / SAMPLES_FILE, record | {"requested": about["num"], "command": about["command"]})


def _for_evaluation(out: Path, row: PocketRow, bad: Mapping[str, str]) -> dict[str, str]:
    """How `ligandsmith evaluate` names a pocket. One that cannot be used has no protein, only failures."""
    files = {"ligands": out / row.pocket / LIGANDS_FILE}
    if row.pocket not in bad:
        files["protein"] = row.folder / row.protein
        if row.ligand:
            files["reference"] = _as_sdf(row.folder / row.ligand, out / row.pocket, row.smiles)
    paths = {name: os.path.relpath(files[name], out) if name in files else "" for name in ("protein", "reference")}
    return {"pocket": row.pocket, "ligands": os.path.relpath(files["ligands"], out), **paths}


def _as_sdf(ligand: Path, folder: Path, smiles: str) -> Path:
    """The reference as evaluation reads it: any other format becomes an SDF in the folder of the pocket."""
    if not smiles and ligand.name.endswith((".sdf", ".sdf.gz")):
        return ligand
    copy = folder / "reference.sdf"
    write_sdf(copy, [(read_ligand(ligand, smiles), {})])
    return copy


def _failures(
    row: PocketRow, bad: Mapping[str, str], pockets: Mapping[str, PocketProgress]
) -> list[dict[str, str | int]]:
    """One for a pocket that cannot be used, or one for each task that could not be made."""
    if row.pocket in bad:
        return [{"pocket": row.pocket, "line": row.line, "first": "", "reason": bad[row.pocket]}]
    failed = sorted(pockets[row.pocket].missing().items())
    return [{"pocket": row.pocket, "line": row.line, "first": begin, "reason": reason} for begin, reason in failed]


def _totals(bad: Mapping[str, str], pockets: Mapping[str, PocketProgress]) -> dict[str, Any]:
    counts = [pocket.counts for pocket in pockets.values() if pocket.counts]
    failures: Counter[str] = Counter()
    for pocket_counts in counts:
        failures.update(pocket_counts.failures)
    incomplete, stopped = sum(bool(p.missing()) for p in pockets.values()), sum(bool(c.stopped) for c in counts)
    states = {"made": len(pockets), "that stopped early": stopped, "with parts that failed": incomplete}
    states["that cannot be used"] = len(bad)
    return {
        "pockets": {state: n for state, n in states.items() if n},
        **{name: sum(getattr(c, name) for c in counts) for name in ("requested", "molecules", "connected", "distinct")},
        "seconds": round(sum(c.seconds for c in counts), 3),
        "failures": dict(failures.most_common()),
    }
