"""Reading pickles from strangers without running their code.

A pickle names the functions that rebuild its objects, and the standard unpickler calls whatever it names. Here every
name is looked up in a fixed table of harmless rebuilders, one for each use; a name outside the table is refused before
it is imported.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar
from numpy._core.numeric import _frombuffer  # type: ignore[attr-defined]

from ligandsmith.errors import LigandsmithError, one_line

NUMERIC_KINDS = "biufcSU"  # object and void dtypes can carry pointers or callables


class Placeholder:
    """Stands for a class or an object whose content is not needed."""

    def __init__(self, *_: Any) -> None:
        return

    def __setstate__(self, _: Any) -> None:
        return


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or str(encoding).lower() not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise pickle.UnpicklingError(f"text codec {encoding!r}")
    return text.encode(encoding)


def _dtype(*args: Any) -> np.dtype[Any]:
    result = np.dtype(str(args[0]), copy=True)  # a copy: the pickle sets its byte order in place
    if result.kind not in NUMERIC_KINDS:
        raise pickle.UnpicklingError(f"numpy dtype {args[0]!r}")
    return result


_BUILTINS = {
    **{kind.__name__: kind for kind in (dict, list, tuple, set, frozenset, complex)},
    "bytes": lambda content=b"": bytes(memoryview(content)),  # of a number, `bytes` would allocate so many
    "bytearray": lambda content=b"": bytearray(memoryview(content)),
}
_NUMPY_CORE = {
    # An empty array, which the pickle then fills through `__setstate__` (numpy checks sizes there).
    "multiarray._reconstruct": lambda *_: _reconstruct(np.ndarray, (0,), b"b"),
    "multiarray.scalar": scalar,
    "numeric._frombuffer": _frombuffer,
}
CONTAINERS: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
    **{f"{module}.{name}": made for module in ("builtins", "__builtin__") for name, made in _BUILTINS.items()},
}
NUMERIC_ARRAYS: dict[str, Any] = {
    "numpy.ndarray": Placeholder,  # passed as an argument, never called
    "numpy.dtype": _dtype,
    **{f"numpy.{core}.{name}": made for core in ("core", "_core") for name, made in _NUMPY_CORE.items()},
}


class RestrictedUnpickler(pickle.Unpickler):
    """Knows the names in `allowed` alone; `accepted` says in words what they make. Subclasses give both."""

    allowed: ClassVar[Mapping[str, Any]]
    accepted: ClassVar[str]

    def find_class(self, module_name: str, global_name: str) -> Any:
        """What stands for a name; raises UnpicklingError with the name if it is not allowed."""
        found = self.allowed.get(f"{module_name}.{global_name}")
        if found is None:
            raise pickle.UnpicklingError(f"{module_name}.{global_name}")
        # A pickle can set attributes of what it was given: functions are handed out wrapped, afresh each time.
        return _wrapped(found) if callable(found) and not isinstance(found, type) else found


def _wrapped(function: Any) -> Any:
    def call(*args: Any) -> Any:
        return function(*args)

    return call


def unpickle(data: bytes, unpickler: type[RestrictedUnpickler]) -> Any:
    """The content of a pickle. Raises LigandsmithError: the name that was refused, or what is wrong with the pickle."""
    try:
        return unpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        raise LigandsmithError(f"refused to unpickle: {error}; only {unpickler.accepted} are read") from error
    except Exception as error:  # a damaged pickle can raise anything; it is always re-raised as one kind
        raise LigandsmithError(f"damaged pickle: {type(error).__name__}: {one_line(error)[:200]}") from error
