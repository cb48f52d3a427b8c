"""Where the molecules of an evaluation come from: SDF files, folders, manifests, published result files.

Every requested molecule becomes a `Sample`; what is not there is a sample with its reason.
"""

import glob
import math
import os
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase

from ligandsmith.chem.poses import read_poses, without_orders
from ligandsmith.chem.sdf import SdfRecord
from ligandsmith.errors import LigandsmithError, one_line, shortened
from ligandsmith.evaluation.bond_orders import with_orders
from ligandsmith.evaluation.input import KnownMolecules, Sample
from ligandsmith.evaluation.torch_files import read_result_file
from ligandsmith.files import csv_content, file_text, json_content
from ligandsmith.structure.ligands import (
    MOL2_SUFFIXES,
    SDF_SUFFIXES,
    orders_lost,
    read_ligand,
    sanitise,
    without_hydrogens,
)
from ligandsmith.structure.templates import COORDINATE_SUFFIXES

INCHIKEY = re.compile(r"[A-Z]{14}(-[A-Z]{10}-[A-Z])?")
SAMPLES_FILE = "samples.json"
GENERATED = ("ligands", "relaxed")  # names of SDF files that it is about
NOT_GENERATED = "not generated"
MOST_REQUESTED = 1_000_000  # molecules of a pocket that a file may say were requested
PathLike = str | os.PathLike[str]
SDF_ENDINGS = (".sdf", ".sdf.gz")
PROTEIN_FILE_ENDINGS = (".pdb", ".cif", ".mmcif", ".ent", ".pdb.gz", ".cif.gz")
REFERENCE_FILE_ENDINGS = tuple(
    tuple(f"{end}{gz}" for end in ends for gz in ("", ".gz"))
    for ends in (SDF_SUFFIXES, MOL2_SUFFIXES, COORDINATE_SUFFIXES)
)  # by preference
MANIFEST_COLUMNS = ("pocket", "ligands", "protein", "reference", "requested", "smiles")


@dataclass(frozen=True)
class Source:
    """The molecules of one pocket, and where they are judged. `mols` are there already (from a result file)."""

    pocket: str
    ligands: Path
    protein: Path | None = None
    reference: Path | None = None
    requested: int | None = None
    mols: tuple[Chem.Mol | None, ...] | None = None
    smiles: str = ""  # of the reference, and of molecules in files without bond orders

    def samples(self) -> list[Sample]:
        """One for each requested molecule; raises LigandsmithError."""
        if self.mols is None:
            return load_samples(self.ligands, self.requested, self.smiles)
        found = [_built(i, mol) for i, mol in enumerate(self.mols)]
        missing = range(len(found), self.requested or 0)
        return found + [Sample(i, None, NOT_GENERATED) for i in missing]

    def absolute(self) -> "Source":
        """With paths that hold in another current folder."""
        protein, reference = (None if p is None else p.resolve() for p in (self.protein, self.reference))
        return replace(self, ligands=self.ligands.resolve(), protein=protein, reference=reference)


def file_name(pocket: str) -> str:
    """A pocket's name as the name of a file: nothing that leaves the folder."""
    return pocket.replace("/", "_").replace("\\", "_").lstrip(".") or "pocket"


def find_sources(
    place: PathLike, protein: PathLike | None = None, reference: PathLike | None = None, requested: int | None = None
) -> list[Source]:
    """The pockets of `place`: an SDF, a folder, a manifest (.csv) or a result file (.pt).

    A folder is one of `generate` (it has `ligands.sdf`), or holds one SDF for each pocket, or one such folder for each;
    one of `generate --manifest` has a manifest of its own, which counts unless `protein` or `reference` is given.
    For several pockets `protein` and `reference` are folders with a file of each pocket's name. The columns of a
    manifest are ligands, and if wanted pocket, protein, reference, requested, smiles; its paths are relative to it.
    Raises LigandsmithError.
    """
    path = Path(place)
    own = path / "manifest.csv"
    if own.is_file() and protein is None and reference is None:
        path = own
    if path.name.endswith(".csv"):
        return _manifest(path)
    if path.suffix == ".pt":
        found = [Source(n, path, mols=tuple(mols)) for n, mols in read_result_file(path).items()]
    elif path.is_dir():
        found = [Source(name, sdf) for name, sdf in _sdf_files(path)]
    else:
        return [Source(_stem(path), path, _path(protein), _path(reference), requested)]
    if len(found) > 1 or (protein is not None and Path(protein).is_dir()):
        return [
            replace(
                source,
                protein=_of_pocket(source.pocket, protein, PROTEIN_FILE_ENDINGS, "--protein"),
                reference=_reference_of_pocket(source.pocket, reference),
                requested=requested,
            )
            for source in found
        ]
    return [replace(found[0], protein=_path(protein), reference=_path(reference), requested=requested)]


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _stem(path: Path) -> str:
    return path.parent.name if path.name.startswith("ligands.sdf") and path.parent.name else path.name.split(".sdf")[0]


def _sdf_files(folder: Path) -> list[tuple[str, Path]]:
    """(pocket, file) of a folder."""
    own = _ligands_file(folder)
    if own is not None:
        return [(folder.resolve().name, own)]
    found = [(_stem(p), p) for p in sorted(folder.iterdir()) if p.name.endswith(SDF_ENDINGS)]
    inside = [(sub.name, _ligands_file(sub)) for sub in sorted(folder.iterdir()) if sub.is_dir()]
    found += [(name, path) for name, path in inside if path is not None]
    if not found:
        raise LigandsmithError(f"{folder}: no SDF files and no folders with a ligands.sdf in it")
    twice = _repeated(sorted(name for name, _ in found))
    if twice:
        raise LigandsmithError(f"{folder}: two files for pocket {twice}; remove one")
    return found


def _ligands_file(folder: Path) -> Path | None:
    paths = (folder / f"ligands{ending}" for ending in SDF_ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def _of_pocket(pocket: str, place: PathLike | None, endings: tuple[str, ...], flag: str) -> Path | None:
    """The file of a pocket in a folder: NAME.pdb, or the one file that starts with NAME, or a folder NAME of one."""
    if place is None:
        return None
    folder = Path(place)
    if not folder.is_dir():
        raise LigandsmithError(f"{flag} {folder}: for several pockets give a folder with a file of each pocket's name")
    for ending in endings:
        if (folder / f"{pocket}{ending}").is_file():
            return folder / f"{pocket}{ending}"
    near = [p for p in sorted(folder.glob(f"{glob.escape(pocket)}*")) if p.name.endswith(endings)]
    near = near or [p for p in sorted(folder.glob(f"{glob.escape(pocket)}/*")) if p.name.endswith(endings)]
    if len(near) != 1:
        raise LigandsmithError(f"{flag} {folder}: {len(near)} files for pocket {pocket}; expected {pocket}{endings[0]}")
    return near[0]


def _reference_of_pocket(pocket: str, place: PathLike | None) -> Path | None:
    """The reference of a pocket in a folder: an SDF, else a MOL2, else a PDB or mmCIF file."""
    refused: list[LigandsmithError] = []
    for endings in REFERENCE_FILE_ENDINGS:
        try:
            return _of_pocket(pocket, place, endings, "--ligand")
        except LigandsmithError as error:
            refused.append(error)
    raise refused[0]


def _manifest(path: Path) -> list[Source]:
    try:
        columns, rows = csv_content(path)
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"cannot read manifest {path}: {error}") from error
    if "ligands" not in columns or set(columns) - set(MANIFEST_COLUMNS):
        raise LigandsmithError(f"{path}: the columns are {', '.join(MANIFEST_COLUMNS)}; 'ligands' is required")
    sources = []
    for line, row in rows:
        files: dict[str, Any] = {k: path.parent / row[k] for k in ("ligands", "protein", "reference") if row.get(k)}
        lacking = [str(p) for p in files.values() if not p.is_file()]
        lacking += [] if "ligands" in files else ["ligands is empty"]
        if lacking:
            raise LigandsmithError(f"{path}, line {line}: no such file: {lacking[0]}")
        count = row.get("requested") or ""
        number = _whole_number(count)
        if count and (number is None or number > MOST_REQUESTED):
            raise LigandsmithError(
                f"{path}, line {line}: requested is {shortened(count)!r}, no whole number up to {MOST_REQUESTED}"
            )
        name = row.get("pocket") or _stem(files["ligands"])
        smiles = (row.get("smiles") or "").strip()
        sources.append(Source(name, **files, requested=number, smiles=smiles))
    twice = _repeated([s.pocket for s in sources])
    if twice or not sources:
        raise LigandsmithError(f"{path}: " + (f"pocket {twice} is there twice" if twice else "no rows"))
    return sources


def _repeated(names: Sequence[str]) -> str:
    """The first name that is there twice, or an empty text."""
    return next((name for name, count in Counter(names).items() if count > 1), "")


def load_samples(sdf: Path, requested: int | None = None, smiles: str = "") -> list[Sample]:
    """One sample for each requested molecule, in the order of their index; raises LigandsmithError.

    `smiles`: the molecule of a file without bond orders.
    """
    records = read_poses(sdf, smiles)
    log = generation_log(sdf)
    failures = {f["index"]: f for f in log.get("failures", [])}
    total = requested if requested is not None else log.get("requested", len(records) + len(failures))
    if requested is None and total > MOST_REQUESTED:
        raise LigandsmithError(
            f"{sdf.parent / SAMPLES_FILE}: {total} molecules were requested; more than {MOST_REQUESTED} are taken for "
            "an error; give their number with --requested"
        )
    if not total:
        raise LigandsmithError(f"no records in {sdf}; was anything generated?")
    if len(records) + len(failures) > total:
        raise LigandsmithError(
            f"{sdf} has {len(records)} records and {len(failures)} failures, more than the {total} requested"
        )
    samples = {i: Sample(i, None, str(f["reason"]), str(f.get("detail", ""))) for i, f in failures.items()}
    for index, record in zip(_record_indices(records, set(samples)), records, strict=True):
        samples[index] = _sample(index, record)
    missing = [i for i in range(total + len(samples)) if i not in samples][: total - len(samples)]
    samples |= {i: Sample(i, None, NOT_GENERATED) for i in missing}
    return [samples[i] for i in sorted(samples)]


def removed_from_site(sdf: Path) -> tuple[str, ...]:
    """Molecules of the protein file (CHAIN:NAME:NUMBER) in whose place the ligands of an SDF were generated."""
    return tuple(map(str, generation_log(Path(sdf)).get("removed_from_site", ())))


def generation_log(sdf: Path) -> dict[str, Any]:
    """`samples.json` beside a `ligands.sdf`, or beside its relaxed copy, which says what was requested and what failed;
    {} where there is none."""
    path = sdf.parent / SAMPLES_FILE
    if sdf.name.split(".")[0] not in GENERATED or not path.is_file():
        return {}
    try:
        log = json_content(path)
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"cannot use {path}: {error}; remove it to evaluate the SDF alone") from error
    if problem := _log_problem(log):
        raise LigandsmithError(f"cannot use {path}: {problem}; remove it to evaluate the SDF alone")
    return dict(log)


def _log_problem(log: Any) -> str:
    """What is wrong with the content of a samples.json; empty if it can be used."""
    if not isinstance(log, dict):
        return f"a {type(log).__name__}, no object"
    for name in ("requested", "done"):
        if not _is_count(log.get(name, 0)):
            return f"{name!r} is {reprlib.repr(log[name])}, no count"
    failures = log.get("failures", [])
    if not isinstance(failures, list) or not all(
        isinstance(f, dict) and _is_count(f.get("index")) and isinstance(f.get("reason"), str) and f["reason"]
        for f in failures
    ):
        return "'failures' is no list of objects with an index and a reason"
    seconds = log.get("seconds", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        return f"'seconds' is {reprlib.repr(seconds)}"
    removed = log.get("removed_from_site", [])
    if not isinstance(removed, list) or not all(isinstance(label, str) for label in removed):
        return "'removed_from_site' is no list of texts"
    return "" if isinstance(log.get("identity", {}), dict) else "'identity' is no object"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _whole_number(text: str) -> int | None:
    """A number of at most 15 digits, else None."""
    return int(text) if len(text) <= 15 and text.isascii() and text.isdecimal() else None


def _record_indices(records: list[SdfRecord], taken: set[int]) -> list[int]:
    """The generation index of each record: its SD property `index` if all have a distinct free one, else in order."""
    stated = [r.mol.GetProp("index") if r.mol is not None and r.mol.HasProp("index") else "" for r in records]
    indices = [number for text in stated if (number := _whole_number(text)) is not None]
    if len(indices) == len(records) and len(set(indices) - taken) == len(records):
        return indices
    free = (i for i in range(len(records) + len(taken)) if i not in taken)
    return [next(free) for _ in records]


def _sample(index: int, record: SdfRecord) -> Sample:
    if record.mol is None:
        reason, _, detail = record.reason.partition(": ")
        return Sample(index, None, reason, detail, record.title)
    return _built(index, record.mol, record.title)


def _built(index: int, mol: Chem.Mol | None, title: str = "") -> Sample:
    """A sample of a molecule as read, heavy atoms only; sanitised, with bond orders."""
    if mol is None:
        return Sample(index, None, NOT_GENERATED, title=title)
    if not mol.GetNumConformers() or not mol.GetConformer().Is3D():
        return Sample(index, None, "no 3D coordinates", title=title)
    if without_orders(mol):
        mol = with_orders(mol)
        if mol is None:
            return Sample(index, None, "no bond orders", "no bonds in the file, and none could be perceived", title)
    try:
        heavy = without_hydrogens(mol)
        sanitise(heavy)
    except (Chem.MolSanitizeException, ValueError, RuntimeError) as error:
        return Sample(index, None, "RDKit refuses it", one_line(error), title)
    lost = orders_lost(heavy, heavy.GetConformer().GetPositions())
    if lost or not heavy.GetNumAtoms():
        return Sample(index, None, "bond orders lost" if lost else "no atoms", lost, title)
    return Sample(index, heavy, title=title)


def load_reference(path: PathLike, smiles: str = "") -> Chem.Mol:
    """Heavy atoms of the first molecule of a ligand file (see `read_ligand`); raises LigandsmithError."""
    try:
        return without_hydrogens(read_ligand(Path(path), smiles))
    except LigandsmithError as error:
        raise LigandsmithError(f"no usable reference ligand: {error}") from None


def load_known(novelty: PathLike | Iterable[str]) -> KnownMolecules:
    """Known molecules from a file (.gz too) or strings: SMILES or InChIKeys, the first word of each line.

    Raises LigandsmithError for a missing file and for a line that is neither, naming it.
    """
    place = "known molecules"
    lines: Iterable[str]
    if isinstance(novelty, str | os.PathLike):
        place = str(novelty)
        try:
            lines = file_text(Path(novelty)).splitlines()
        except (OSError, UnicodeDecodeError) as error:
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
