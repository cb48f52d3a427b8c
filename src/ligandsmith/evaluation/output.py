"""What `ligandsmith evaluate` writes and prints."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from rdkit import Chem

from ligandsmith.chem.protein import ProteinView
from ligandsmith.chem.sdf import write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.molecule_table import TABLE_FILE
from ligandsmith.evaluation.sources import PathLike, Source, file_name
from ligandsmith.evaluation.summary import Evaluation, Scored
from ligandsmith.files import earlier_record, refuse_other, same_file, write_csv, write_json, write_text

SUMMARY_FILE = "summary.json"
SCORES = (
    TABLE_FILE, SUMMARY_FILE, "molecules.sdf", "references.sdf", "interactions.json", "minimised.sdf", "docked.sdf",
)  # fmt: skip
INPUTS = ("ligands", "protein", "reference")
SHOWN_RADIUS = 8.0  # Å around reference or molecules: residues of pockets/*.pdb
POSES = (("minimised.sdf", "min_pose", "vina_min"), ("docked.sdf", "dock_pose", "vina_dock"))


def results_folder(place: Path) -> Path:
    """Where results of `place` go if nothing else is said: beside an SDF; a folder of SDFs gets one of its own."""
    if not place.is_dir():
        return place.parent
    return place if (place / "ligands.sdf").is_file() else place / "evaluation"


def refuse_other_scores(folder: Path, sources: Sequence[Source], overwrite: bool) -> None:
    """Raise LigandsmithError if a folder holds the scores of other molecules, or of the same ones in another protein or
    with another reference; with `overwrite` they are removed. The answers of tools stay: they know what they are of.

    Scores by another protocol, of a longer file, or now with a protein or reference are new ones of the same. A file
    that is evaluated is never overwritten.
    """
    names = [*SCORES, *(f"pockets/{file_name(source.pocket)}.pdb" for source in sources)]
    read = [
        path for source in sources for path in (source.ligands, source.protein, source.reference) if path is not None
    ]
    written = {(folder / name).resolve() for name in names}
    if lost := [path for path in read if path.resolve() in written]:
        raise LigandsmithError(f"{lost[0]} would be overwritten; give another folder with --out")
    summary = earlier_record(folder / SUMMARY_FILE)
    inputs = (summary or {}).get("inputs")
    changed = None
    if isinstance(inputs, list) and all(isinstance(i, dict) for i in inputs):
        ours = {source.pocket: source for source in sources}
        pairs = [(i, ours.get(i.get("pocket"))) for i in inputs]
        changed = [n for n in INPUTS if not all(_same(n, before, source, folder) for before, source in pairs)]
    refuse_other(folder, [glob.escape(name) for name in names], changed, overwrite)


def _same(name: str, before: dict[str, Any], source: Source | None, folder: Path) -> bool:
    if source is None:
        return name != "ligands"
    stored, now = before.get(name), getattr(source, name)
    if name != "ligands" and stored is None:
        return True
    beside = isinstance(stored, str) and now is not None and (folder / Path(stored).name).resolve() == now.resolve()
    return beside or same_file(stored, now)


def write_evaluation(evaluation: Evaluation, directory: PathLike) -> tuple[Path, Path]:
    """Write per_molecule.csv (a missing value is an empty field) and summary.json, and what the report shows:
    molecules.sdf, references.sdf, pockets/NAME.pdb, interactions.json, and Vina's poses. Returns the first two paths.
    """
    folder = Path(directory)
    table, summary = folder / TABLE_FILE, folder / SUMMARY_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(summary, evaluation.summary)  # before the scores, so that these are never without their origin
        write_csv(table, evaluation.rows)
        _write_structures(evaluation, folder)
    except OSError as error:
        raise LigandsmithError(f"cannot write the evaluation to {folder}: {error.strerror or error}") from error
    return table, summary


def _write_structures(evaluation: Evaluation, folder: Path) -> None:
    scored = evaluation.pockets
    molecules = [
        (sample.mol, {"pocket": s.source.pocket, "index": sample.index})
        for s in scored for sample in s.data.samples if sample.mol is not None
    ]  # fmt: skip
    write_sdf(folder / "molecules.sdf", molecules)
    references = [(s.data.site.reference, {"pocket": s.source.pocket}) for s in scored if s.data.site.reference]
    if references:
        write_sdf(folder / "references.sdf", references)
    for s in scored:
        if s.data.site.protein is not None:
            path = folder / "pockets" / f"{file_name(s.source.pocket)}.pdb"
            path.parent.mkdir(exist_ok=True)
            write_text(path, pocket_pdb(s, s.data.site.protein))
    interactions = {key: value for s in scored for key, value in _interactions(s).items()}
    if interactions:
        write_json(folder / "interactions.json", interactions)
    for name, key, score in POSES:
        poses = [pose for s in scored for pose in _poses(s, key, score)]
        if poses:
            write_sdf(folder / name, poses)


def pocket_pdb(scored: Scored, protein: ProteinView) -> str:
    """The residues around the reference, or around all molecules, as PDB text."""
    site = scored.data.site
    mols = [site.reference] if site.reference is not None else [x.mol for x in scored.data.samples]
    points = [mol.GetConformer().GetPositions() for mol in mols if mol is not None]
    if not points:
        return "END\n"
    crop = protein.crop(np.concatenate(points), SHOWN_RADIUS)
    structure = gemmi.Structure()
    model = structure.add_model(gemmi.Model(1))
    for atom, place in zip(crop.GetAtoms(), crop.GetConformer().GetPositions().tolist(), strict=True):
        _add_atom(model, atom, place)
    structure.shorten_chain_names()  # the format has one letter
    options = gemmi.PdbWriteOptions(minimal=True, cryst1_record=False, ter_records=False, end_record=True)
    return str(structure.make_pdb_string(options))


def _add_atom(model: gemmi.Model, atom: Chem.Atom, place: Sequence[float]) -> None:
    """Add an atom of a cropped protein, residue by residue, to a model."""
    info = atom.GetPDBResidueInfo()
    chain = model.find_chain(info.GetChainId()) or model.add_chain(gemmi.Chain(info.GetChainId()))
    seqid = gemmi.SeqId(info.GetResidueNumber(), info.GetInsertionCode() or " ")
    last = chain[-1] if len(chain) else None
    if last is None or (last.seqid, last.name) != (seqid, info.GetResidueName()):
        last = chain.add_residue(gemmi.Residue())
        last.name, last.seqid, last.het_flag = info.GetResidueName(), seqid, "H" if info.GetIsHeteroAtom() else "A"
    added = gemmi.Atom()
    added.name, added.element = info.GetName().strip(), gemmi.Element(atom.GetAtomicNum())
    added.pos, added.occ = gemmi.Position(*place), 1.0
    last.add_atom(added)


def _interactions(scored: Scored) -> dict[str, Any]:
    answers = {str(sample.index): answer for sample, answer in scored.data.answered("interactions")}
    reference = scored.data.reference_answers.get("interactions")
    if isinstance(reference, dict):
        answers["reference"] = reference
    return {f"{scored.source.pocket}/{name}": answer["interactions"] for name, answer in answers.items()}


def _poses(scored: Scored, key: str, score: str) -> Iterator[tuple[Chem.Mol, dict[str, Any]]]:
    for sample, answer in scored.data.answered("vina"):
        mol = Chem.MolFromMolBlock(answer[key]) if answer.get(key) else None
        if mol is not None:
            yield mol, {"pocket": scored.source.pocket, "index": sample.index, "vina": answer[score]}


def summary_table(evaluation: Evaluation) -> str:
    """Plain text: each metric with mean, median, interval, n of its population, reference; reasons; failed checks."""
    summary = evaluation.summary
    rows: list[tuple[str, ...]] = [
        ("metric", "mean", "median", "95 % interval", "n / population", "better", "reference")
    ]
    not_run: dict[str, list[str]] = {}  # metrics by cause
    for name, entry in summary["metrics"].items():
        if entry["status"] == "ok":
            rows.append(_row(name, entry, summary["reference"].get(name)))
        else:
            not_run.setdefault(entry["status"], []).append(name)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{cause}: {', '.join(names)}" for cause, names in not_run.items()]
    lines += [f"no molecule: {reason} ({count})" for reason, count in summary["failures"].items()]
    for name, check in summary["posebusters"].get("checks", {}).items():
        if check["mean"] is None or check["mean"] < 1:
            rate = "undecided" if check["mean"] is None else f"{check['mean']:.3f}"
            lines.append(f"PoseBusters {name}: {rate} (n {check['n']})")
    for tool, reasons in summary["tool_failures"].items():
        lines += [f"{tool} failed: {reason} ({count})" for reason, count in reasons.items()]
    return "\n".join(lines)


def _row(name: str, entry: dict[str, Any], reference: float | None) -> tuple[str, ...]:
    def text(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    unit = entry["unit"].replace("fraction", "")
    interval = "" if entry["low"] is None else f"{entry['low']:.3f} to {entry['high']:.3f}"
    better = "" if entry["better"] == "none" else entry["better"]
    share = f"{entry['n']} / {entry['population_size']} {entry['population']}"
    shown = "" if reference is None else text(reference)
    return name, f"{text(entry['mean'])} {unit}".strip(), text(entry["median"]), interval, share, better, shown
