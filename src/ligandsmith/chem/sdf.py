"""SDF files: atomic or appending writes, reads that keep every bad record with its reason. Never imports torch."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from rdkit import Chem, rdBase

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import file_text
from ligandsmith.structure.ligands import coordinate_problem, sanitise, undefined, with_line_feeds

RECORD_END = "$$$$"
FIELD_HEADING = re.compile(r">[^<]*<(.*)>")
log = logging.getLogger("ligandsmith")
Properties = Mapping[str, object]


class SdfRecord(NamedTuple):
    """One record: a sanitised molecule with its SD properties, or None and why."""

    mol: Chem.Mol | None
    reason: str
    title: str


def write_sdf(
    path: str | os.PathLike[str], molecules: Iterable[tuple[Chem.Mol, Properties]], append: bool = False
) -> int:
    """Write (molecule, SD properties) pairs in order; returns how many. Property values are written as strings.

    Streams: one molecule in memory at a time. A new file appears whole or not at all. With `append` each record is
    flushed as it comes, after the complete records of an existing file; a record that an interruption cut short goes.
    The title is the property `_Name` of the molecule. Raises LigandsmithError, naming the record, for a molecule
    without finite 3D coordinates or a property that SDF cannot hold, and for a file that cannot be written.
    """
    target = Path(path)
    written = target if append else target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if append:
            _cut_incomplete_record(target)
        count = 0
        with written.open("a" if append else "w", encoding="utf-8") as file:
            for mol, properties in molecules:
                count += 1
                _write_record(file, mol, properties, f"record {count} of {target}")
            os.fsync(file.fileno())
        if not append:
            os.replace(written, target)
    except OSError as error:
        raise LigandsmithError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if not append:
            written.unlink(missing_ok=True)
    return count


def append_sdf(path: Path, molecules: Iterable[tuple[Chem.Mol, Properties]]) -> None:
    """Append to a file of complete records, or to a new one. Raises LigandsmithError as `write_sdf` does."""
    try:
        with path.open("a", encoding="utf-8") as file:
            for count, (mol, properties) in enumerate(molecules, 1):
                _write_record(file, mol, properties, f"appended record {count} of {path}")
    except OSError as error:
        raise LigandsmithError(f"cannot write {path}: {error.strerror or error}") from error


def _write_record(file: TextIO, mol: Chem.Mol, properties: Properties, place: str) -> None:
    if mol is None or not mol.GetNumConformers():
        raise LigandsmithError(f"{place}: no molecule with coordinates; a failed molecule belongs in samples.json")
    if not np.isfinite(mol.GetConformer().GetPositions()).all():
        raise LigandsmithError(f"{place}: coordinates are not finite")
    lines = [Chem.MolToMolBlock(mol).rstrip("\n")]
    for name, value in properties.items():
        if not name or re.search(r"[\r\n]", name):
            raise LigandsmithError(f"{place}: {name!r} cannot name an SD property; it is empty or has a line break")
        given = str(value).splitlines()
        text = [line for line in given if line.strip() and not line.startswith(RECORD_END)]
        if len(text) < len(given) and str(value).strip():
            log.warning("%s: left out empty lines and end marks in the value of %s, which SDF cannot hold", place, name)
        lines += [f">  <{name}>", *text, ""]
    file.write("\n".join([*lines, RECORD_END, ""]))
    file.flush()


def _cut_incomplete_record(path: Path) -> None:
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    end = text.rfind(f"\n{RECORD_END}")
    complete = text[: end + len(RECORD_END) + 1] + "\n" if end >= 0 else ""
    if complete != text:
        os.truncate(path, len(complete.encode("utf-8", errors="surrogateescape")))
        if complete and not path.read_bytes().endswith(b"\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")


def complete_records(text: str) -> list[str]:
    """The records of an SDF text, each with its end mark; what follows the last mark is left out."""
    end = f"\n{RECORD_END}\n"
    return [record + end for record in text.split(end)[:-1]]


def read_sdf(path: str | os.PathLike[str]) -> list[SdfRecord]:
    """All records of an SDF file (or .sdf.gz), in order; a bad one has `mol` None and a one-line reason.

    Molecules are sanitised, hydrogens of the file kept, stereo taken from 3D coordinates. Raises LigandsmithError for a
    file that is missing or unreadable; an empty file has no records.
    """
    with rdBase.BlockLogs():
        return [_parse(block, complete) for block, complete in _split(_read_text(Path(path)))]


def _read_text(path: Path) -> str:
    try:
        text = file_text(path, errors="replace")
    except FileNotFoundError as error:
        raise LigandsmithError(f"no such file: {path}; give an existing SDF file") from error
    except OSError as error:
        raise LigandsmithError(f"cannot read {path}: {error}; is it a whole SDF or gzip file?") from error
    return with_line_feeds(text)


def _split(text: str) -> Iterator[tuple[str, bool]]:
    """(record text, whether its end mark is there)."""
    lines: list[str] = []
    for line in text.split("\n"):
        if line.startswith(RECORD_END):
            yield "\n".join(lines), True
            lines = []
        else:
            lines.append(line)
    if any(line.strip() for line in lines):
        yield "\n".join(lines), False


def data_fields(block: str) -> dict[str, str]:
    """The named data fields of an SDF record without its end mark, in order.

    More lenient than the format: a line of blanks ends a value as an empty one does, the last value may end without
    one, and a name may have angle brackets. Fields without a name are left out.
    """
    fields: dict[str, list[str]] = {}
    value: list[str] | None = None
    after_blank = True
    for line in block.partition("M  END")[2].split("\n")[1:]:
        heading = FIELD_HEADING.match(line) if after_blank else None
        if heading:
            value = []
            if heading.group(1):
                fields[heading.group(1)] = value
        elif value is not None:
            value.append(line)
        after_blank = not line.strip()
    return {name: "\n".join(lines).rstrip() for name, lines in fields.items()}


def _parse(block: str, complete: bool) -> SdfRecord:
    title = block.split("\n", 1)[0].strip()
    molblock = block.partition("M  END")[0].encode("ascii", "replace").decode() + "M  END"
    if complete and (problem := coordinate_problem(molblock)):
        return SdfRecord(None, f"non-finite coordinates: {problem}", title)
    supplier = Chem.SDMolSupplier()
    supplier.SetData(f"{molblock}\n{RECORD_END}\n", sanitize=False, removeHs=False)
    mol = supplier[0] if len(supplier) else None
    if mol is None:
        return SdfRecord(None, "not a molfile record" if complete else "truncated record", title)
    if not mol.GetNumAtoms():
        return SdfRecord(None, "no atoms", title)
    if not np.isfinite(mol.GetConformer().GetPositions()).all():
        return SdfRecord(None, "non-finite coordinates", title)
    try:
        (Chem.SanitizeMol if undefined(mol) else sanitise)(mol)  # what is undefined has a reason of its own
    except (Chem.MolSanitizeException, ValueError, RuntimeError) as error:
        return SdfRecord(None, f"RDKit refuses it: {' '.join(str(error).split())}", title)
    if mol.GetConformer().Is3D():
        Chem.AssignStereochemistryFrom3D(mol)
    mol.SetProp("_Name", title)
    for name, value in data_fields(block).items():
        mol.SetProp(name, value)
    return SdfRecord(mol, "", title)
