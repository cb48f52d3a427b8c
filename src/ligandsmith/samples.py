"""The folder of a generation run: `ligands.sdf` and `samples.json`, written by batches, continued where they end."""

import hashlib
import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdkit import Chem

from ligandsmith.chem.sdf import write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import whole_file
from ligandsmith.types import GeneratedLigand, Pocket

if TYPE_CHECKING:
    from ligandsmith.generation import GenerationOptions, LigandGenerator

SAMPLES_FILE, LIGANDS_FILE = "samples.json", "ligands.sdf"
RECORD_END = "\n$$$$\n"


def generate_to_folder(
    generator: "LigandGenerator",
    pocket: Pocket,
    options: "GenerationOptions",
    out: Path,
    notes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `ligands.sdf` and `samples.json`, batch by batch, continuing what is there; returns the latter.

    Raises LigandsmithError if the folder holds the samples of another request.
    """
    setting = options.sampling(generator.config.sampling)
    options.size_range()  # refused before anything is written
    identity = {
        "checkpoint": generator.checkpoint_hash,
        "pocket": hashlib.sha256(pocket.x.tobytes()).hexdigest()[:16],
        "seed": options.seed,
        "num_atoms": options.num_atoms,
        "add_hs": options.add_hs,
        "sampling": asdict(setting),
    }
    record = _previous(out, identity) or {
        "identity": identity,
        "done": 0,
        "molecules": [],
        "failures": [],
        "seconds": 0.0,
    }
    record |= {"requested": max(options.num, record["done"]), **(notes or {})}
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / SAMPLES_FILE, record)
    began = time.perf_counter() - record["seconds"]
    for batch in generator.batches(pocket, options, start=record["done"]):
        made = [(_finished(g, options), _properties(g, record)) for g in batch if g.mol is not None]
        write_sdf(out / LIGANDS_FILE, made, append=True)
        record["molecules"] += [_summary(g) for g in batch if g.mol is not None]
        record["failures"] += [
            {"index": g.index, "reason": g.reason, "detail": g.detail} for g in batch if g.mol is None
        ]
        record["done"] = batch[-1].index + 1
        record["seconds"] = round(time.perf_counter() - began, 3)
        _write_json(out / SAMPLES_FILE, record)
    return record


def _previous(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier, interrupted run of the same request; molecules it did not list leave the SDF."""
    path, sdf = out / SAMPLES_FILE, out / LIGANDS_FILE
    if not path.exists():
        if sdf.exists():
            raise LigandsmithError(f"{sdf}: is there without a {SAMPLES_FILE}; choose another --out")
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        theirs, listed = record["identity"], len(record["molecules"])
    except (ValueError, KeyError, TypeError) as error:
        raise LigandsmithError(f"{path}: not the record of earlier samples ({error!r}); choose another --out") from None
    other = [k for k in identity if theirs.get(k) != identity[k]]
    if other:
        raise LigandsmithError(
            f"{out}: holds samples of another request (different {', '.join(other)}); choose another --out"
        )
    text = sdf.read_text(encoding="utf-8") if sdf.exists() else ""
    records = text.split(RECORD_END)[:-1]
    if len(records) < listed:
        raise LigandsmithError(
            f"{sdf}: holds {len(records)} of {listed} molecules of {SAMPLES_FILE}; choose another --out"
        )
    kept = "".join(r + RECORD_END for r in records[:listed])
    if kept != text:
        _write_text(sdf, kept)
    return record


def _finished(ligand: GeneratedLigand, options: "GenerationOptions") -> Chem.Mol:
    assert ligand.mol is not None
    mol = Chem.AddHs(ligand.mol, addCoords=True) if options.add_hs else Chem.Mol(ligand.mol)
    mol.SetProp("_Name", f"ligand_{ligand.index:05d}")
    return mol


def _properties(ligand: GeneratedLigand, record: dict[str, Any]) -> dict[str, Any]:
    return {
        **_summary(ligand),
        "seed": record["identity"]["seed"],
        "checkpoint": record["identity"]["checkpoint"],
        "pocket": record["identity"]["pocket"],
    }


def _summary(ligand: GeneratedLigand) -> dict[str, Any]:
    return {
        "index": ligand.index,
        "smiles": Chem.MolToSmiles(ligand.mol),
        "heavy_atoms": ligand.num_atoms,
        "raw_valid": ligand.raw_valid,
        "repaired": ligand.repaired,
        "connected": ligand.connected,
    }


def _write_json(path: Path, data: dict[str, Any]) -> None:
    _write_text(path, json.dumps(data, indent=1) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    try:
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LigandsmithError(f"cannot write {path}: {error.strerror}; what was written before is whole") from error


def funnel(record: dict[str, Any]) -> list[str]:
    """Requested -> built -> valid as decoded -> connected, with the reasons for the rest, as lines of text."""
    molecules, requested = record["molecules"], record["requested"]
    done = record["done"]
    lines = [f"{requested} requested, {done} sampled in {record['seconds']:.1f} s"]
    counts = {
        "molecules (after repair)": len(molecules),
        "valid as decoded": sum(m["raw_valid"] for m in molecules),
        "valid and connected": sum(m["connected"] for m in molecules),
        "valid and connected as decoded": sum(m["raw_valid"] and m["connected"] for m in molecules),
        "distinct": len({m["smiles"] for m in molecules}),
    }
    lines += [f"  {count:5d}  {name}" for name, count in counts.items()]
    reasons = Counter(f["reason"] for f in record["failures"])
    lines += [f"  {count:5d}  failed: {reason}" for reason, count in reasons.most_common()]
    fragments = sum(not m["connected"] for m in molecules)
    return lines + ([f"  {fragments:5d}  of the molecules are in several pieces"] if fragments else [])
