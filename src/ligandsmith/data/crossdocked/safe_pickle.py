"""Pickled tensors and arrays, and split files of `torch.save`, from strangers: data is read, code never runs."""

import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy._core.multiarray import scalar

from ligandsmith.errors import LigandsmithError
from ligandsmith.unpickling import CONTAINERS, NUMERIC_ARRAYS, RestrictedUnpickler, unpickle

STORAGE_DTYPES = {
    "torch.FloatStorage": torch.float32, "torch.DoubleStorage": torch.float64, "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16, "torch.CharStorage": torch.int8, "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}  # fmt: skip
LARGEST_TENSOR = 1 << 26  # elements; a stride of 0 repeats elements without holding them


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
    if count != storage.num_elements or len(content) != count * storage.dtype.itemsize:
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


class _RecordUnpickler(RestrictedUnpickler):
    accepted = "tensors, numeric arrays and builtin containers"
    allowed: ClassVar = {
        **CONTAINERS,
        **NUMERIC_ARRAYS,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch.storage._load_from_bytes": _storage,
    }


class _StorageReference(NamedTuple):
    dtype: torch.dtype
    num_elements: int


class _StorageUnpickler(RestrictedUnpickler):
    """For the pickles inside a storage, where alone the storage types are names that may occur."""

    allowed: ClassVar = _RecordUnpickler.allowed | STORAGE_DTYPES

    def persistent_load(self, reference: Any) -> _StorageReference:
        word, dtype, _, _, count, view = reference
        if word != "storage" or not isinstance(dtype, torch.dtype) or view is not None:
            raise pickle.UnpicklingError(f"a reference to {word!r:.40} in a tensor storage")
        return _StorageReference(dtype, int(count))


def restricted_loads(data: bytes) -> object:
    """Unpickle tensors, numeric numpy arrays and builtin containers; raises LigandsmithError for anything else."""
    return unpickle(data, _RecordUnpickler)


NUMPY_INTEGERS: list[Any] = [
    scalar,
    np.dtype,
    *{type(np.dtype(name)) for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")},
]


def restricted_torch_load(path: Path | str) -> Any:
    """`torch.load(weights_only=True)` on the CPU, with every failure as a LigandsmithError of one line."""
    if not Path(path).is_file():
        raise LigandsmithError(f"no such file: {path}; give the path of a file written by torch.save")
    try:
        with torch.serialization.safe_globals(NUMPY_INTEGERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or unsafe file; always re-raised as one
        raise LigandsmithError(
            f"cannot read {path} as plain tensors, numbers and lists: {_telling_line(error)}; get the file again"
        ) from error


def _telling_line(error: Exception) -> str:
    """The line of an error text that says what happened (torch puts advice, several lines, around it)."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Unsupported" in line or "GLOBAL" in line]
    return (telling or lines or [type(error).__name__])[0][:200]
