"""Reading pickled tensors and arrays from strangers without running their code.

A pickle names the functions that rebuild its objects, and the standard unpickler calls whatever it names. Here every
name is looked up in one fixed table of harmless rebuilders; a name outside the table is refused before it is imported.
"""

import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct, scalar
from numpy.typing import NDArray

from ligandsmith.errors import LigandsmithError

STORAGE_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LARGEST_TENSOR = 1 << 26  # elements; a stride of 0 repeats elements without holding them
NUMERIC_KINDS = "biufcSU"  # object and void dtypes can carry pointers or callables


class _NdarrayName:
    """Stands for the class `numpy.ndarray`, which pickles pass as an argument and never need to call."""


def _dtype(*args: Any) -> np.dtype[Any]:
    result = np.dtype(str(args[0]), copy=True)  # a copy: the pickle sets its byte order in place
    if result.kind not in NUMERIC_KINDS:
        raise pickle.UnpicklingError(f"numpy dtype {args[0]!r}")
    return result


def _array(*_: Any) -> NDArray[Any]:
    """An empty array, which the pickle then fills through `__setstate__` (numpy checks sizes there)."""
    return cast("NDArray[Any]", _reconstruct(np.ndarray, (0,), b"b"))


def _frombuffer(buffer: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> NDArray[Any]:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding.lower() not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise pickle.UnpicklingError(f"text codec {encoding!r}")
    return text.encode(encoding)


def _bytes(content: bytes = b"") -> bytes:
    return bytes(memoryview(content))  # of a number, `bytes` would allocate so many


def _bytearray(content: bytes = b"") -> bytearray:
    return bytearray(memoryview(content))


def _storage(data: bytes) -> torch.Tensor:
    """The flat tensor of a storage, which is a `torch.save` file (of the kind before zip files) inside the pickle.

    Five pickles (magic number, protocol, byte order, one reference to a storage, its keys), then the number of
    elements as int64 and the elements.
    """
    stream = io.BytesIO(data)
    _, _, system, storage, _ = (_StorageUnpickler(stream).load() for _ in range(5))
    if not isinstance(storage, _StorageReference) or not system["little_endian"]:
        raise pickle.UnpicklingError(f"{type(storage).__name__} where a little-endian tensor storage belongs")
    (count,) = struct.unpack("<q", stream.read(8))
    content = bytearray(stream.read())
    if count != storage.count or len(content) != count * storage.dtype.itemsize:
        raise pickle.UnpicklingError(f"a tensor storage of {count} elements in {len(content)} bytes")
    return torch.frombuffer(content, dtype=storage.dtype) if count else torch.empty(0, dtype=storage.dtype)


def _tensor(flat: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> torch.Tensor:
    """The strided view of a storage; refuses one that reaches beyond the storage's end."""
    if not isinstance(flat, torch.Tensor):
        raise pickle.UnpicklingError(f"{type(flat).__name__} where a tensor storage belongs")
    empty = any(n == 0 for n in size)
    reach = offset + (0 if empty else 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)))
    if offset < 0 or min((*size, *stride), default=0) < 0 or reach > len(flat) or math.prod(size) > LARGEST_TENSOR:
        raise pickle.UnpicklingError("a tensor larger than its storage")
    return flat.as_strided(tuple(size), tuple(stride), offset)


def _allowed_names() -> dict[tuple[str, str], Any]:
    table: dict[tuple[str, str], Any] = {
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch.storage", "_load_from_bytes"): _storage,
        ("numpy", "ndarray"): _NdarrayName,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): OrderedDict,
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = _array
        table[f"{core}.multiarray", "scalar"] = scalar
        table[f"{core}.numeric", "_frombuffer"] = _frombuffer
    for kind in (dict, list, tuple, set, frozenset, complex):
        table["builtins", kind.__name__] = table["__builtin__", kind.__name__] = kind
    for module in ("builtins", "__builtin__"):
        table[module, "bytes"], table[module, "bytearray"] = _bytes, _bytearray
    return table


ALLOWED = _allowed_names()


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        found = ALLOWED.get((module_name, global_name))
        if found is None:
            raise pickle.UnpicklingError(f"{module_name}.{global_name}")
        # A pickle can set attributes of what it was given: functions are handed out wrapped, afresh each time.
        return found if isinstance(found, type) else _wrapped(found)


@dataclass(frozen=True)
class _StorageReference:
    dtype: torch.dtype
    count: int


class _StorageUnpickler(_RestrictedUnpickler):
    """For the pickles inside a storage, where alone the storage types are names that may occur."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "torch" and global_name in STORAGE_DTYPES:
            return _StorageReference(STORAGE_DTYPES[global_name], 0)
        return super().find_class(module_name, global_name)

    def persistent_load(self, reference: Any) -> _StorageReference:
        word, kind, _, _, count, view = reference
        if word != "storage" or not isinstance(kind, _StorageReference) or view is not None:
            raise pickle.UnpicklingError(f"a reference to {word!r:.40} in a tensor storage")
        return _StorageReference(kind.dtype, int(count))


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return function(*args)

    return call


def restricted_loads(data: bytes) -> object:
    """Unpickle tensors, numeric numpy arrays and builtin containers; nothing else.

    Raises LigandsmithError: the name that was refused, or what is wrong with a damaged pickle. No function named in
    the pickle is imported or called unless it is in the table of this module.
    """
    try:
        return _RestrictedUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        raise LigandsmithError(
            f"refused to unpickle: {error}; only tensors, numeric arrays and builtin containers are read"
        ) from error
    except Exception as error:  # a damaged pickle can raise anything; it is always re-raised as one kind
        raise LigandsmithError(f"damaged pickle: {type(error).__name__}: {_one_line(error)}") from error


def restricted_torch_load(path: Path | str) -> Any:
    """`torch.load(weights_only=True)` on the CPU, with every failure as a LigandsmithError of one line."""
    if not Path(path).is_file():
        raise LigandsmithError(f"no such file: {path}; give the path of a file written by torch.save")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or unsafe file; always re-raised as one
        raise LigandsmithError(
            f"cannot read {path} as plain tensors, numbers and lists: {_one_line(error)}; get the file again"
        ) from error


def _one_line(error: Exception) -> str:
    """The line of an error text that says what happened (torch puts advice, several lines, around it)."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Unsupported" in line or "GLOBAL" in line]
    return (telling or lines or [type(error).__name__])[0][:200]
