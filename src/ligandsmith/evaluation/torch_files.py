"""Published result files of structure-based benchmarks (`torch.save`), read without torch and without their code.

Such a file is a zip archive with one pickle. Here the pickle may name RDKit molecules, which are rebuilt from their
binary form, tensors and arrays, which are passed over, and builtin containers; any other name is refused.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from rdkit import Chem

from ligandsmith.errors import LigandsmithError

LARGEST_PICKLE = 1 << 31  # bytes, unpacked


class _Nothing:
    """Stands for a tensor or array, whose values are not needed."""

    def __init__(self, *_: Any) -> None:
        return

    def __setstate__(self, _: Any) -> None:
        return


class _Molecule(_Nothing):
    """An RDKit molecule in the pickle: its binary form; `build` makes the molecule."""

    def __init__(self, data: Any = b"") -> None:
        self.data = data if isinstance(data, bytes) else b""

    def build(self) -> Chem.Mol | None:
        try:
            return Chem.Mol(self.data)  # type: ignore[call-overload]
        except (RuntimeError, ValueError):
            return None


class _Encode:
    """`_codecs.encode`, as a class so that the pickle cannot set attributes of a function."""

    def __new__(cls, text: Any, encoding: Any = "latin1") -> bytes:  # type: ignore[misc]
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
            raise pickle.UnpicklingError(f"text codec {encoding!r}")
        return text.encode(encoding)


ALLOWED: dict[tuple[str, str], type] = {
    ("rdkit.Chem.rdchem", "Mol"): _Molecule,
    ("_codecs", "encode"): _Encode,
    ("collections", "OrderedDict"): OrderedDict,
    **{(module, t.__name__): t for module in ("builtins", "__builtin__") for t in (dict, list, tuple, set)},
    **{("torch._utils", name): _Nothing for name in ("_rebuild_tensor_v2", "_rebuild_parameter")},
    **{("numpy", name): _Nothing for name in ("ndarray", "dtype")},
    **{
        (f"numpy.{core}.multiarray", name): _Nothing
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
}


class _ResultUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name in ("torch", "torch.storage") and global_name.endswith("Storage"):
            return _Nothing
        if (module_name, global_name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module_name}.{global_name}")
        return ALLOWED[module_name, global_name]

    def persistent_load(self, _: Any) -> Any:
        return _Nothing()


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
            if len(names) != 1 or archive.getinfo(names[0]).file_size > LARGEST_PICKLE:
                raise LigandsmithError(f"{path}: not a file of torch.save")
            data = archive.read(names[0])
    except FileNotFoundError:
        raise LigandsmithError(f"no such file: {path}") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise LigandsmithError(f"{path}: not a file of torch.save ({error})") from error
    try:
        return _ResultUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        raise LigandsmithError(f"{path}: refused to unpickle {error}; only molecules are read") from None
    except Exception as error:  # a damaged pickle can raise anything; it is always re-raised as one kind
        raise LigandsmithError(f"{path}: damaged ({type(error).__name__})") from error
