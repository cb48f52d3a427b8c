"""Published result files of structure-based benchmarks (`torch.save`), read without torch and without their code.

Such a file is a zip archive with one pickle. Here the pickle may name RDKit molecules, which are rebuilt from their
binary form, tensors and arrays, which are passed over, and builtin containers; any other name is refused.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

from rdkit import Chem

from ligandsmith.errors import LigandsmithError
from ligandsmith.files import MEGABYTE, largest_file
from ligandsmith.unpickling import CONTAINERS, NUMERIC_ARRAYS, Placeholder, RestrictedUnpickler, unpickle

LARGEST_PICKLE = 1 << 31  # bytes, unpacked
STORAGES = (
    "Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool", "ComplexFloat",
    "ComplexDouble", "Typed", "Untyped",
)  # fmt: skip


class _Molecule(Placeholder):
    """An RDKit molecule in the pickle: its binary form; `build` makes the molecule."""

    def __init__(self, data: Any = b"") -> None:
        self.data = data if isinstance(data, bytes) else b""

    def build(self) -> Chem.Mol | None:
        try:
            return Chem.Mol(self.data)  # type: ignore[call-overload]
        except (RuntimeError, ValueError):
            return None


class _ResultUnpickler(RestrictedUnpickler):
    accepted = "molecules"
    allowed: ClassVar = {
        **CONTAINERS,
        **dict.fromkeys(NUMERIC_ARRAYS, Placeholder),
        "rdkit.Chem.rdchem.Mol": _Molecule,
        **{f"torch._utils._rebuild_{name}": Placeholder for name in ("tensor_v2", "parameter")},
        **{f"{module}.{kind}Storage": Placeholder for module in ("torch", "torch.storage") for kind in STORAGES},
    }

    def persistent_load(self, _: Any) -> Placeholder:
        return Placeholder()


def read_result_file(path: Path) -> dict[str, list[Chem.Mol | None]]:
    """Molecules by pocket, in the order of the file, from a TargetDiff-style result file.

    The file holds a list with an entry for each pocket (a list of records) or one list of records; a record is a dict
    with `mol` and, for the pocket's name, `ligand_filename`. Raises LigandsmithError for anything else, naming what was
    refused.
    """
    content = _load(path)
    if isinstance(content, dict):
        content = content.get("all_results", content.get("results", content))
    if not isinstance(content, list) or not content:
        raise LigandsmithError(f"{path}: no list of results in it; expected records with 'mol'")
    pockets = content if isinstance(content[0], list) else [content]
    found: dict[str, list[Chem.Mol | None]] = {}
    for number, records in enumerate(pockets):
        for record in records:
            if not isinstance(record, dict) or not isinstance(record.get("mol"), _Molecule | None):
                raise LigandsmithError(f"{path}: entry {number} is no record with 'mol'")
            name = record.get("ligand_filename") or record.get("pocket") or f"pocket_{number:03d}"
            mol = record.get("mol")
            found.setdefault(_pocket_name(str(name)), []).append(None if mol is None else mol.build())
    return found


def _pocket_name(ligand_filename: str) -> str:
    """`PROTEIN/x_rec_y_lig.sdf` -> `x_rec_y_lig`, the name of the pocket's files in the published test sets."""
    name = ligand_filename.replace("\\", "/").split("/")[-1]
    return name.removesuffix(".gz").removesuffix(".sdf") or "pocket"


def _load(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith("data.pkl")]
            if len(names) != 1:
                raise LigandsmithError(f"{path}: not a file of torch.save")
            most = max(LARGEST_PICKLE, largest_file())
            if archive.getinfo(names[0]).file_size > most:
                limit = f"more than {most // MEGABYTE} MB unpacked; a higher --max_file_size reads it"
                raise LigandsmithError(f"{path}: {limit}")
            data = archive.read(names[0])
    except FileNotFoundError:
        raise LigandsmithError(f"no such file: {path}") from None
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error) as error:  # RuntimeError: encrypted
        raise LigandsmithError(f"{path}: not a file of torch.save ({error})") from error
    try:
        return unpickle(data, _ResultUnpickler)
    except LigandsmithError as error:
        raise LigandsmithError(f"{path}: {error}") from error
