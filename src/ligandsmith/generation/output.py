"""The folder of a generation run: `ligands.sdf` and `samples.json`, written by batches, continued where they end."""

import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from ligandsmith.chem.sdf import append_sdf, complete_records, write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import (
    atomic_write,
    changes,
    held_alone,
    json_content,
    refuse_other,
    remove_all,
    write_json,
    write_text,
)
from ligandsmith.generation.sampler import Keeping
from ligandsmith.records import GeneratedLigand, Pocket

if TYPE_CHECKING:
    from ligandsmith.generation.generator import LigandGenerator
    from ligandsmith.options import GenerationOptions

SAMPLES_FILE, LIGANDS_FILE, UNFINISHED = "samples.json", "ligands.sdf", "unfinished"


def generate_to_folder(
    generator: "LigandGenerator",
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
    generator: "LigandGenerator", pocket: Pocket, options: "GenerationOptions", out: Path, record: dict[str, Any],
    notes: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    identity, unfinished = record["identity"], UnfinishedBatch(out, record["identity"])
    record |= {"requested": max(options.num, record["done"]), **notes}
    write_json(out / SAMPLES_FILE, record)
    began = time.perf_counter() - record["seconds"]
    unfinished.begin(record["done"])
    for batch in generator.batches(pocket, options, record["done"], Keeping(unfinished.latents, unfinished.finished)):
        unfinished.take_back()
        write_sdf(out / LIGANDS_FILE, records_of(batch, identity), append=True)
        molecules, failures = sample_rows(batch)
        record["molecules"] += molecules
        record["failures"] += failures
        record["done"] = batch[-1].index + 1
        record["seconds"] = round(time.perf_counter() - began, 3)
        write_json(out / SAMPLES_FILE, record)
        unfinished.clear()
        unfinished.begin(record["done"])
    unfinished.clear()  # also what a run that was killed at the very end left
    return record


class UnfinishedBatch:
    """What is on disk of the batch that is being made, so that the end of the process costs next to nothing of it.

    Its finished ligands are at the end of `ligands.sdf`, in the order in which they came; `samples.json` lists them
    with the batch. The latents of all its candidates are in `unfinished/`, a file for each group of candidates, from
    which the next run makes the same ligands without sampling them again. They go when the batch is listed.
    """

    def __init__(self, out: Path, identity: dict[str, Any]) -> None:
        self.sdf, self.folder, self.identity = out / LIGANDS_FILE, out / UNFINISHED, identity
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

    def latents(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """Those of a group that was made before, else `compute()`, which is kept."""
        path = self.folder / f"{key}.npy"
        if path.is_file():
            return torch.from_numpy(np.load(path)).clone()
        computed = compute()
        self.folder.mkdir(exist_ok=True)
        with atomic_write(path) as part, part.open("wb") as file:
            np.save(file, computed.cpu().numpy())
        return computed

    def clear(self) -> None:
        """Remove the latents."""
        shutil.rmtree(self.folder, ignore_errors=True)


def identity_of(generator: "LigandGenerator", options: "GenerationOptions", pocket: Pocket) -> dict[str, Any]:
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
    every = molecules + record["failures"]
    sampled, valid = (sum(row.get(name, 0) for row in every) for name in ("candidates", "candidates_valid"))
    if sampled > len(every):
        lines.append(
            f"  chosen from {sampled} candidates, of which {valid / sampled:.0%} are valid and connected as decoded"
        )
    reasons = Counter(f["reason"] for f in record["failures"])
    lines += [f"  {count:5d}  failed: {reason}" for reason, count in reasons.most_common()]
    fragments = sum(not m["connected"] for m in molecules)
    return lines + ([f"  {fragments:5d}  of the molecules are in several pieces"] if fragments else [])
