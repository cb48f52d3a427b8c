"""Relax the molecules of an SDF in their pocket: the tool, and the file of relaxed poses. Never imports torch."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rdkit
from rdkit import Chem

from ligandsmith.chem.poses import read_poses, without_orders
from ligandsmith.chem.protein import ProteinView, count_clashes, load_protein
from ligandsmith.chem.relax import DEFAULTS, RelaxFailure, RelaxOptions, relax
from ligandsmith.chem.sdf import SdfRecord, write_sdf
from ligandsmith.chem.surroundings import ProteinSurroundings
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.sources import SAMPLES_FILE, PathLike, generation_log, load_reference, removed_from_site
from ligandsmith.evaluation.tools.runner import Answer, Site, ToolFailure, run_tool
from ligandsmith.files import earlier_record, held_alone, refuse_other, same_file, write_json, write_text
from ligandsmith.structure.ligands import without_hydrogens

POSES_FILE, SUMMARY_FILE = "relaxed.sdf", "relax.json"
Answers = Sequence[Answer | None]
Mols = Sequence[Chem.Mol | None]


@dataclass(frozen=True)
class RelaxTool:
    """Restrained relaxation in the pocket. Answers moved_rmsd (Å, heavy atoms), energy_before and energy_after
    (kcal/mol), force_field, converged, new_stereo, and pose: a mol block with hydrogens."""

    options: RelaxOptions = DEFAULTS
    seconds: float = 60.0
    name: str = "relax"

    def missing(self, site: Site) -> str:
        """What the site lacks for this tool; empty if nothing."""
        return "" if site.protein is not None else "no protein given"

    def settings(self) -> Mapping[str, Any]:
        """What the result depends on."""
        return {**asdict(self.options), "rdkit": rdkit.__version__, "method": 2}

    def open(self, site: Site) -> Callable[[Chem.Mol], dict[str, Any]]:
        """A function that relaxes a ligand in the site."""
        protein = site.required_protein()
        around = ProteinSurroundings(protein)

        def answer(mol: Chem.Mol) -> dict[str, Any]:
            try:
                result = relax(mol, around.of(mol), self.options)
            except RelaxFailure as failure:
                raise ToolFailure(str(failure)) from failure
            before, after = count_clashes(mol, protein), count_clashes(result.mol, protein)
            if after > before:
                raise ToolFailure(f"clashes would rise: from {before} to {after}")
            values = {k: v for k, v in vars(result).items() if k != "mol"}
            pose = Chem.MolToMolBlock(result.mol)
            if Chem.MolFromMolBlock(pose, removeHs=False) is None:
                raise ToolFailure("the relaxed molecule cannot be written")
            return {**values, "pose": pose}

        return answer


def relax_sdf(  # noqa: PLR0913 - a file for each thing that is read or written
    sdf: PathLike, protein: PathLike, reference: PathLike | None = None, out: PathLike | None = None, workers: int = 1,
    smiles: str = "", *, allow_dropped: bool = False, overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Relax every molecule of `sdf`; writes relaxed.sdf and relax.json to `out` (else beside the SDF).

    Molecules keep their order, title and properties and get `relax_*`; one that fails keeps its pose and gets
    `relax_failed`. A record without a usable molecule is in the summary only. The copy of `reference` in the protein
    file is left out. Interrupted work continues (relax.jsonl). `sdf` may be a MOL2, or a PDB file with `smiles`;
    `allow_dropped` is that of `read_protein`. Returns the summary; raises LigandsmithError, also for a folder that
    holds the relaxed molecules of another SDF or protein, unless `overwrite`.
    """
    source, folder = Path(sdf), Path(sdf).parent if out is None else Path(out)
    if source.resolve() == (folder / POSES_FILE).resolve():
        raise LigandsmithError(f"{source} would be overwritten; give another folder with --out")
    records = [_with_bonds(record) for record in read_poses(source, smiles)]
    if not records:
        raise LigandsmithError(f"no records in {source}; was anything generated?")
    bound = None if reference is None else load_reference(reference, smiles)
    mols = [None if r.mol is None else without_hydrogens(r.mol) for r in records]
    target = load_protein(protein, bound, removed_from_site(source), mols, allow_dropped)
    try:
        with held_alone(folder):
            _refuse_other(folder, source, Path(protein), overwrite)
            answers = run_tool(RelaxTool(), Site(protein=target, reference=bound), mols, folder, workers)
            assert not isinstance(answers, str)  # there is a protein
            poses = [_pose(r, a) for r, a in zip(records, answers, strict=True)]
            read = {"protein_reading": target.reading, "left_out_of_protein": list(target.removed)}
            summary = {
                "ligands": str(sdf),
                "protein": str(protein),
                **read,
                **_summary(records, answers, poses, target),
            }
            write_json(folder / SUMMARY_FILE, summary)  # before the poses, so that these are never without their origin
            write_sdf(folder / POSES_FILE, _written(records, answers, poses))
            if generation_log(source) and folder.resolve() != source.parent.resolve():
                copied = (source.parent / SAMPLES_FILE).read_text(encoding="utf-8")
                write_text(folder / SAMPLES_FILE, copied)  # failures stay accounted for
    except OSError as error:
        raise LigandsmithError(f"cannot write to {folder}: {error.strerror or error}") from error
    return summary


def _with_bonds(record: SdfRecord) -> SdfRecord:
    if record.mol is None or not without_orders(record.mol):
        return record
    return SdfRecord(None, "no bonds: the file lists none; give the SMILES of the ligand", record.title)


def _refuse_other(folder: Path, source: Path, protein: Path, overwrite: bool) -> None:
    """See `files.refuse_other`; the samples.json of another run would be lost, too."""
    copied = bool(generation_log(source)) and folder.resolve() != source.parent.resolve()
    names = [POSES_FILE, SUMMARY_FILE, *([SAMPLES_FILE] if copied else [])]
    theirs = earlier_record(folder / SUMMARY_FILE)
    files = {"ligands": source, "protein": protein}
    changed = None
    if theirs is not None:
        changed = [name for name, path in files.items() if not same_file(theirs.get(name), path)]
    refuse_other(folder, names, changed, overwrite)


def _pose(record: SdfRecord, answer: Answer | None) -> Chem.Mol | None:
    """The relaxed molecule with hydrogens, else the original."""
    return Chem.MolFromMolBlock(answer["pose"], removeHs=False) if isinstance(answer, dict) else record.mol


def _written(records: Sequence[SdfRecord], answers: Answers, poses: Mols) -> Iterator[tuple[Chem.Mol, dict[str, Any]]]:
    for record, answer, pose in zip(records, answers, poses, strict=True):
        if record.mol is None or pose is None:
            continue
        kept = {k: record.mol.GetProp(k) for k in record.mol.GetPropNames() if not k.startswith("relax_")}
        if isinstance(answer, dict):
            more = {f"relax_{k}": f"{v:.3f}" if isinstance(v, float) else v for k, v in answer.items() if k != "pose"}
        else:
            more = {"relax_failed": answer}
        pose.SetProp("_Name", record.title)
        yield pose, {**kept, **more}


def _summary(records: Sequence[SdfRecord], answers: Answers, poses: Mols, protein: ProteinView) -> dict[str, Any]:
    done = [a for a in answers if isinstance(a, dict)]
    reasons = [r.reason if r.mol is None else a for r, a in zip(records, answers, strict=True)]
    failed = {k: reason for k, reason in enumerate(reasons, 1) if isinstance(reason, str)}
    return {
        "n": len(records),
        "relaxed": len(done),
        "failures": dict(Counter(reason.partition(": ")[0] for reason in failed.values())),
        "failed": [{"record": k, "reason": reason} for k, reason in failed.items()],
        **{
            f"median_{name}": statistics.median(a[name] for a in done) if done else None
            for name in ("moved_rmsd", "energy_before", "energy_after")
        },
        "force_fields": dict(Counter(a["force_field"] for a in done)),
        "not_converged": sum(not a["converged"] for a in done),
        "new_stereo": sum(a["new_stereo"] for a in done),
        "clashes_before": _clashes([r.mol for r in records], protein),
        "clashes_after": _clashes(poses, protein),
    }


def _clashes(mols: Mols, protein: ProteinView) -> dict[str, float | None]:
    """Of the usable molecules: mean number of clashes, and the share that has none."""
    counts = [count_clashes(mol, protein) for mol in mols if mol is not None]
    if not counts:
        return {"mean": None, "share_with_none": None}
    return {"mean": statistics.fmean(counts), "share_with_none": sum(c == 0 for c in counts) / len(counts)}


def relaxation_lines(summary: Mapping[str, Any]) -> list[str]:
    """The summary for a reader."""
    lines = [f"{summary['relaxed']} of {summary['n']} molecules relaxed"]
    lines += [f"  {count} kept as they were: {reason}" for reason, count in summary["failures"].items()]
    if summary["median_moved_rmsd"] is not None:
        lines.append(f"heavy atoms moved by {summary['median_moved_rmsd']:.2f} Å (median of RMSD)")
    before, after = summary["clashes_before"], summary["clashes_after"]
    if before["mean"] is not None:
        lines.append(
            f"clashes per molecule: {before['mean']:.2f} before, {after['mean']:.2f} after; "
            f"without any: {before['share_with_none']:.0%} before, {after['share_with_none']:.0%} after"
        )
    return lines
