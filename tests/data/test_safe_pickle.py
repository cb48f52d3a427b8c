"""Pickles from strangers: data is read, code never runs."""

import builtins
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ligandsmith.data.crossdocked.safe_pickle import restricted_loads, restricted_torch_load
from ligandsmith.errors import LigandsmithError

RECORD: dict[str, Any] = {
    "float": torch.tensor([[1.5, -2.0, 3.25], [0.0, 1e-3, 7.0]]),
    "long": torch.arange(12).reshape(3, 4),
    "bool": torch.tensor([True, False]),
    "view": torch.arange(12).reshape(3, 4)[:, 1:3].T,
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(2.5),
    "array": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "names": np.array(["CA", "OXT"]),
    "byte_names": np.array([b"CA", b"N"]),
    "number": np.float32(1.25),
    "list": ["N", "CA", None, 3, 2.5, True, b"x"],
    "bytearray": bytearray(b"abc"),
    "complex": 1 + 2j,
    "expanded": torch.ones(1).expand(5),
    "nested": {1: [2, 3], "t": (1, 2), "s": {4, 5}},
    "ordered": OrderedDict([("a", 1), ("b", 2)]),
}


class Payload:
    """Pickles to a call of `function(*args)`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_tensors_arrays_and_containers_come_back_unchanged_in_every_protocol(protocol: int) -> None:
    loaded = restricted_loads(pickle.dumps(RECORD, protocol=protocol))
    assert isinstance(loaded, dict)
    assert list(loaded) == list(RECORD)
    for key, expected in RECORD.items():
        if isinstance(expected, torch.Tensor):
            assert loaded[key].dtype == expected.dtype
            assert torch.equal(loaded[key], expected)
        elif isinstance(expected, np.ndarray | np.generic):
            assert loaded[key].dtype == expected.dtype
            np.testing.assert_array_equal(loaded[key], expected)
        else:
            assert loaded[key] == expected


def test_arrays_written_by_the_older_numpy_are_read() -> None:
    data = pickle.dumps(np.arange(4.0), protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    np.testing.assert_array_equal(restricted_loads(data), np.arange(4.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "posix.system"),
        (builtins.eval, "eval"),
        (builtins.exec, "exec"),
        (builtins.getattr, "getattr"),
        (torch.load, "torch.serialization.load"),
        (pickle.loads, "_pickle.loads"),
    ],
)
def test_any_other_function_is_refused_by_name(function: Any, name: str) -> None:
    with pytest.raises(LigandsmithError, match=name):
        restricted_loads(pickle.dumps({"a": Payload(function, "1")}))


def test_a_payload_does_not_run_in_the_pickle_nor_in_a_storage_inside_it(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    payload = Payload(os.system, f"touch {marker}")
    inner = io.BytesIO()
    torch.save({"a": payload}, inner)
    storage = Payload(torch.storage._load_from_bytes, inner.getvalue())
    code = Payload(builtins.eval, f"open({str(marker)!r}, 'w')")
    for attack in (payload, storage, code):
        with pytest.raises(LigandsmithError):
            restricted_loads(pickle.dumps(attack))
    assert not marker.exists()
    pickle.loads(pickle.dumps(payload))  # noqa: S301  the control: the payload does work where nothing guards
    assert marker.exists()


def test_a_tensor_that_reaches_beyond_its_storage_is_refused() -> None:
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.arange(4.0).untyped_storage(), dtype=torch.float32, _internal=True
    )
    far = 1 << 40
    for offset, size, stride in (
        (0, (far,), (0,)),
        (0, (5,), (1,)),
        (2, (3,), (1,)),
        (0, (2, 2), (4, 1)),
        (-1, (2,), (1,)),
    ):
        rebuilt = Payload(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())
        with pytest.raises(LigandsmithError, match="larger than its storage"):
            restricted_loads(pickle.dumps(rebuilt))


def test_an_object_array_is_refused() -> None:
    with pytest.raises(LigandsmithError, match="dtype"):
        restricted_loads(pickle.dumps(np.array([{}, []], dtype=object)))


def test_a_number_of_bytes_to_allocate_is_refused() -> None:
    for kind in (bytes, bytearray):
        with pytest.raises(LigandsmithError):
            restricted_loads(pickle.dumps(Payload(kind, 1 << 40)))


def test_every_truncation_of_a_pickle_is_one_clear_error() -> None:
    data = pickle.dumps({"pos": torch.ones(2, 3), "name": "CA", "n": np.arange(3)}, protocol=4)
    for end in range(0, len(data), 7):
        with pytest.raises(LigandsmithError) as caught:
            restricted_loads(data[:end])
        assert "\n" not in str(caught.value)


def test_a_split_file_is_read_and_a_bad_one_is_one_clear_line(tmp_path: Path) -> None:
    good, evil, noise = tmp_path / "good.pt", tmp_path / "evil.pt", tmp_path / "noise.pt"
    torch.save({"train": [1, 2], "test": [("a.pdb", "b.sdf")]}, good)
    torch.save({"train": Payload(os.system, f"touch {tmp_path / 'marker'}")}, evil)
    noise.write_bytes(b"not a torch file")
    assert restricted_torch_load(good) == {"train": [1, 2], "test": [("a.pdb", "b.sdf")]}
    for path in (evil, noise, tmp_path / "missing.pt"):
        with pytest.raises(LigandsmithError, match=path.name) as caught:
            restricted_torch_load(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "marker").exists()
