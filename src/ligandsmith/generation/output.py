"""The folder of a generation run: `ligands.sdf` and `samples.json`, written by batches, continued where they end."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rdkit import Chem

from ligandsmith.chem.sdf import append_sdf, complete_records, write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import (
    changes,
    held_alone,
    json_content,
    refuse_other,
    remove_all,
    write_json,
    write_text,
)
from ligandsmith.generation.sampler import Keeping
from ligandsmith.generation.unfinished import KeptLatents
from ligandsmith.records import GeneratedLigand, Pocket

if TYPE_CHECKING:
    from ligandsmith.generation.generator import SamplingRequest
    from ligandsmith.options import GenerationOptions

SAMPLES_FILE, LIGANDS_FILE, UNFINISHED = "samples.json", "ligands.sdf", "unfinished"


class Maker(Protocol):
    """What makes ligands for a pocket: a `LigandGenerator`, or something that uses one."""

    @property
    def checkpoint_hash(self) -> str:
        """What names the checkpoint."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the ligands besides the request, as plain values."""

    def sampling_request(self, options: "GenerationOptions", pocket: Pocket) -> "SamplingRequest":
        """What the options ask for, refused if it cannot be."""

    def batches(
        self, pocket: Pocket, options: "GenerationOptions", start: int = 0, keeping: Keeping = ...
    ) -> Iterator[list[GeneratedLigand]]:
        """Ligands number `start` and following, a batch at a time."""


def generate_to_folder(
    generator: "Maker",
    pocket: Pocket,
    options: "GenerationOptions",
    out: Path,
    notes: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write `ligands.sdf` and `samples.json`, batch by batch, continuing what is there; returns the latter.

    Raises LigandsmithError if the folder holds the samples of another request (unless `overwrite`, which removes them),
    or if another process writes into it.
    """
    identity = identity_of(generator, options, pocket)
    with held_alone(out):
        try:
            record = _previous(out, identity)
        except LigandsmithError:
            if not overwrite:
                raise
            remove_all([out / name for name in (SAMPLES_FILE, LIGANDS_FILE, UNFINISHED)])
            record = None
        return _continued(generator, pocket, options, out, record or _new_record(identity), notes or {})


def _new_record(identity: dict[str, Any]) -> dict[str, Any]:
    return {"identity": identity, "done": 0, "molecules": [], "failures": [], "seconds": 0.0}


def _continued(
    generator: "Maker", pocket: Pocket, options: "GenerationOptions", out: Path, record: dict[str, Any],
    notes: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    identity, unfinished = record["identity"], UnfinishedBatch(out / LIGANDS_FILE, record["identity"])
    kept = KeptLatents(out / UNFINISHED)
    record |= {"requested": max(options.num, record["done"]), **notes}
    write_json(out / SAMPLES_FILE, record)
    began = time.perf_counter() - record["seconds"]
    unfinished.begin(record["done"])
    for batch in generator.batches(pocket, options, record["done"], Keeping(kept.latents, unfinished.finished)):
        unfinished.take_back()
        write_sdf(out / LIGANDS_FILE, records_of(batch, identity), append=True)
        molecules, failures = sample_rows(batch)
        record["molecules"] += molecules
        record["failures"] += failures
        record["done"] = batch[-1].index + 1
        record["seconds"] = round(time.perf_counter() - began, 3)
        write_json(out / SAMPLES_FILE, record)
        kept.clear()
        unfinished.begin(record["done"])
    kept.clear()  # also what a run that was killed at the very end left
    return record


class UnfinishedBatch:
    """The finished ligands of the batch that is being made: at the end of the SDF, in the order in which they came.

    `samples.json` lists them with the batch.
    """

    def __init__(self, sdf: Path, identity: dict[str, Any]) -> None:
        self.sdf, self.identity = sdf, identity
        self.first = self.size = 0

    def begin(self, first: int) -> None:
        """The batch starts with ligand number `first`, at the end of the SDF."""
        self.first, self.size = first, self.sdf.stat().st_size if self.sdf.exists() else 0

    def take_back(self) -> None:
        """Remove its ligands from the SDF."""
        if self.sdf.exists():
            os.truncate(self.sdf, self.size)

    def finished(self, ligands: list[GeneratedLigand]) -> None:
        """Append ligands, numbered from the start of the batch, to the SDF."""
        numbered = (replace(ligand, index=self.first + ligand.index) for ligand in ligands)
        append_sdf(self.sdf, records_of(numbered, self.identity))


def identity_of(generator: "Maker", options: "GenerationOptions", pocket: Pocket) -> dict[str, Any]:
    """What decides the molecules of a pocket, as plain values. Raises LigandsmithError for options that cannot be."""
    request = generator.sampling_request(options, pocket)  # refused before anything is written
    return {
        "checkpoint": generator.checkpoint_hash,
        "pocket": pocket_hash(pocket),
        "seed": options.seed,
        "num_atoms": options.num_atoms,
        "add_hs": options.add_hs,
        "fragment": request.fragment and request.fragment.digest,
        "constraints": options.constraints and options.constraints.digest,
        "sampling": asdict(request.sampling),
        **generator.identity,
    }


def pocket_hash(pocket: Pocket) -> str:
    """Sixteen hex digits that change with the coordinates."""
    return hashlib.sha256(pocket.x.tobytes()).hexdigest()[:16]


def refuse_other_samples(out: Path, theirs: dict[str, Any], ours: dict[str, Any], file: str) -> None:
    """Raise LigandsmithError unless what is in `out`, `file` above all, was made by the same request."""
    refuse_other(out, [file], changes(theirs, ours), what="samples")


def _previous(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier, interrupted run of the same request; molecules it did not list leave the SDF."""
    path, sdf = out / SAMPLES_FILE, out / LIGANDS_FILE
    if not path.exists():
        if sdf.exists():
            raise LigandsmithError(f"{sdf}: is there without a {SAMPLES_FILE}; choose another --out, or --overwrite")
        return None
    try:
        record: dict[str, Any] = json_content(path)
        require_rows(record)
        theirs, listed = record["identity"], len(record["molecules"])
        if any(
            type(record[name]) is not kind for name, kind in (("identity", dict), ("done", int), ("seconds", float))
        ):
            raise TypeError("values of other types")
    except (ValueError, KeyError, TypeError) as error:
        raise LigandsmithError(
            f"{path}: not the record of earlier samples ({type(error).__name__}: {error}); choose another --out, or "
            "--overwrite"
        ) from None
    refuse_other_samples(out, theirs, identity, LIGANDS_FILE)
    text = sdf.read_text(encoding="utf-8", errors="replace") if sdf.exists() else ""
    records = complete_records(text)
    if len(records) < listed:
        raise LigandsmithError(
            f"{sdf}: holds {len(records)} of {listed} molecules of {SAMPLES_FILE}; choose another --out, or --overwrite"
        )
    kept = "".join(records[:listed])
    if kept != text:
        write_text(sdf, kept)
    return record


def records_of(
    ligands: Iterable[GeneratedLigand], identity: dict[str, Any]
) -> Iterator[tuple[Chem.Mol, dict[str, Any]]]:
    """What `ligands.sdf` holds of each ligand that could be built: molecule and SD properties."""
    same = {name: identity[name] for name in ("seed", "checkpoint", "pocket")}
    for ligand in ligands:
        if ligand.mol is not None:
            mol = Chem.AddHs(ligand.mol, addCoords=True) if identity["add_hs"] else Chem.Mol(ligand.mol)
            mol.SetProp("_Name", f"ligand_{ligand.index:05d}")
            yield mol, _summary(ligand) | same


def sample_rows(ligands: Iterable[GeneratedLigand]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What `samples.json` lists: molecules, and failures with their reason."""
    molecules, failures = [], []
    for ligand in ligands:
        if ligand.mol is not None:
            molecules.append(_summary(ligand))
        else:
            failures.append({
                "index": ligand.index, "reason": ligand.reason, "detail": ligand.detail, **_candidates(ligand),
            })  # fmt: skip
    return molecules, failures


def require_rows(record: Any) -> None:
    """Raise ValueError unless `molecules` and `failures` of a record that was read are what `sample_rows` makes."""
    needed = {
        "molecules": {"index": int, "smiles": str, "raw_valid": bool, "connected": bool},
        "failures": {"index": int, "reason": str},
    }
    for name, kinds in needed.items():
        rows = record.get(name) if isinstance(record, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{name} is no list of rows")
        counts = {key: int for key in ("candidates", "candidates_valid")}
        for row in rows:
            if any(type(row.get(key)) is not kind for key, kind in kinds.items()):
                raise ValueError(f"a row of {name} lacks one of {', '.join(kinds)}, or has another type")
            if any(type(row.get(key, 0)) is not kind for key, kind in counts.items()):
                raise ValueError(f"a row of {name} has candidates that are no number")


def _summary(ligand: GeneratedLigand) -> dict[str, Any]:
    return {
        "index": ligand.index,
        "smiles": Chem.MolToSmiles(ligand.mol),
        "heavy_atoms": ligand.num_atoms,
        "raw_valid": ligand.raw_valid,
        "repaired": ligand.repaired,
        "connected": ligand.connected,
        **_candidates(ligand),
        **dict(ligand.notes),
    }


def _candidates(ligand: GeneratedLigand) -> dict[str, int]:
    return {"candidates": ligand.candidates, "candidates_valid": ligand.candidates_valid}


def funnel(record: dict[str, Any]) -> list[str]:
    """Requested -> built -> valid without repair -> connected, with the reasons for the rest, as lines of text."""
    molecules, requested = record["molecules"], record["requested"]
    done = record["done"]
    lines = [f"{requested} requested, {done} sampled in {record['seconds']:.1f} s"]
    counts = {
        "molecules (after repair)": len(molecules),
        "valid without repair": sum(m["raw_valid"] for m in molecules),
        "valid and connected": sum(m["connected"] for m in molecules),
        "valid and connected without repair": sum(m["raw_valid"] and m["connected"] for m in molecules),
        "distinct": len({m["smiles"] for m in molecules}),
    }
    lines += [f"  {count:5d}  {name}" for name, count in counts.items()]
    every = molecules + record["failures"]
    sampled, valid = (sum(row.get(name, 0) for row in every) for name in ("candidates", "candidates_valid"))
    if sampled > len(every):
        lines.append(
            f"  chosen from {sampled} candidates, of which {valid / sampled:.0%} are valid and connected without repair"
        )
    reasons = Counter(f["reason"] for f in record["failures"])
    lines += [f"  {count:5d}  failed: {reason}" for reason, count in reasons.most_common()]
    fragments = sum(not m["connected"] for m in molecules)
    return lines + ([f"  {fragments:5d}  of the molecules are in several pieces"] if fragments else [])
