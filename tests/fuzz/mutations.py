"""Seeded mutations of the files that the commands read: of bytes, of text, and of the values inside.

`mutate(path, rng)` changes one file in place and says what it did. The kinds that parse a file (JSON, Parquet,
checkpoints, LMDB) write it whole again, so that what is wrong is a value and not a checksum.
"""

import gzip
import hashlib
import json
import pickle
import shutil
import struct
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

Rng = np.random.Generator
NUMBERS = ["nan", "inf", "-inf", "1e30", "-1", "0", "", "9223372036854775808", "1e400", "99999999999", "0x10", "1,5",
           "NaN", "None", "true", "1e-320", "²", "[1]"]  # fmt: skip
WORDS = ["$$$$", "M  END", "ATOM", "TER", "MODEL        2", "data_x\nloop_\n", "../..", "<", "'", '"', "=1+1", "\x00",
         "\t", "é", "\u2028", "@<TRIPOS>ATOM", "{}", "V3000", "  0  0  0", "*" * 8, "--out", "%s%n",
         "/dev/null"]  # fmt: skip
VALUES: list[Any] = [None, True, -1, 0, 2**63, 10**30, 1e308, float("nan"), float("inf"), "", "x", "²", [], {}, [[]],
                     [None], {"a": 1}, "../..", 0.5, "nan", [1, "a", None], {"index": "x"}]  # fmt: skip
OTHER_KINDS = [b"", b"\n", b"\x00" * 64, b"{}", b"[]", b"null", b"PK\x03\x04", b"\x1f\x8b", b"PAR1", b"\x80\x04.",
               b"%PDF-1.4\n", b"id,split\n", b"\xff\xfe\x00a", b"1", b"<html></html>"]  # fmt: skip


def pick(rng: Rng, options: Any) -> Any:
    """One of a sequence."""
    return options[int(rng.integers(len(options)))]


def mutate(path: Path, rng: Rng) -> str:
    """Change a file in place; returns the name of the change."""
    own = next((kinds for ends, kinds in BY_CONTENT.items() if path.name.endswith(ends)), [])
    general: list[Callable[[Path, Rng], None]] = [bytes_changed, lines_changed, numbers_replaced, fields_exchanged,
                                                  replaced_whole]  # fmt: skip
    change = pick(rng, own if own and rng.random() < 0.6 else general)
    change(path, rng)
    return str(change.__name__)


def _packed(path: Path) -> bool:
    return path.read_bytes()[:2] == b"\x1f\x8b"


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if _packed(path) else path.read_bytes()


def _store(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data, 1) if _packed(path) else data)


def bytes_changed(path: Path, rng: Rng) -> None:
    """One to four flips, insertions, deletions; now and then a cut."""
    data = path.read_bytes() if rng.random() < 0.3 else _content(path)
    for _ in range(int(rng.integers(1, 5))):
        at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 40))
        word = pick(rng, WORDS).encode()
        data = pick(rng, [
            data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :],
            data[:at] + data[at + length :],
            data[:at] + word + data[at:],
            data[:at] + word + data[at + len(word) :],
            data[:at] + rng.bytes(length) + data[at:],
            data[:at],
        ])  # fmt: skip
    if rng.random() < 0.5:
        path.write_bytes(data)
    else:
        _store(path, data)


def lines_changed(path: Path, rng: Rng) -> None:
    """Lines left out, repeated, shuffled, very long; other line ends."""
    lines = _content(path).split(b"\n")
    i, j = sorted(int(k) for k in rng.integers(len(lines), size=2))
    long = lines[i] + pick(rng, [b"A", b" ", b"9", b",", b"C(", b"\xe9"]) * 200_000
    _store(path, pick(rng, [
        b"\n".join(lines[:i] + lines[j + 1 :]),
        b"\n".join(lines[: j + 1] + lines[i:]),
        b"\n".join([*lines[:i], long, *lines[i + 1 :]]),
        b"\n".join(lines[k] for k in rng.permutation(len(lines))),
        b"\r\n".join(lines),
        b"\r".join(lines),
        b"\n".join([*lines[:i], lines[j], *lines[i + 1 : j], lines[i], *lines[j + 1 :]]),
        b"\xef\xbb\xbf" + b"\n".join(lines),
    ]))  # fmt: skip


def numbers_replaced(path: Path, rng: Rng) -> None:
    """One to three blank-, comma- or colon-separated words become odd numbers, in their width or not."""
    data = _content(path)
    for _ in range(int(rng.integers(1, 4))):
        places = [k for k in range(len(data)) if data[k : k + 1] in b"0123456789"] if len(data) < 20_000 else []
        at = pick(rng, places) if places else int(rng.integers(len(data) + 1))
        end = at
        while end < len(data) and data[end : end + 1] not in (b" ", b",", b"\n", b":", b"\t", b'"'):
            end += 1
        number = pick(rng, NUMBERS).encode()
        data = data[:at] + (number.rjust(end - at) if rng.random() < 0.5 else number) + data[end:]
    _store(path, data)


def fields_exchanged(path: Path, rng: Rng) -> None:
    """Two fields of a line, or of the heading, change places; or one goes."""
    lines = _content(path).split(b"\n")
    i = 0 if rng.random() < 0.3 else int(rng.integers(len(lines)))
    mark = b"," if b"," in lines[i] else b" "
    fields = lines[i].split(mark)
    a, b = (int(k) for k in rng.integers(len(fields), size=2))
    if rng.random() < 0.3:
        fields.pop(a)
    else:
        fields[a], fields[b] = fields[b], fields[a]
    lines[i] = mark.join(fields)
    _store(path, b"\n".join(lines))


def replaced_whole(path: Path, rng: Rng) -> None:
    """Another kind of file, an empty one, or a folder in its place; or packed once more."""
    choice = rng.random()
    if choice < 0.15:
        path.unlink()
        path.mkdir()
    elif choice < 0.3:
        siblings = sorted(p for p in path.parent.iterdir() if p.is_file() and p != path) or [path]
        shutil.copyfile(pick(rng, siblings), path) if siblings != [path] else path.write_bytes(b"")
    elif choice < 0.4:
        path.write_bytes(gzip.compress(path.read_bytes(), 1))
    elif choice < 0.5:
        path.write_bytes(rng.bytes(3000))
    else:
        path.write_bytes(pick(rng, OTHER_KINDS))


# --- values inside ------------------------------------------------------------------------------------------------


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """(container, key) of all values inside; of a long list only some."""
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(min(len(value), 8)))
        for key in keys:
            found.append((value, key))
            _places(value[key], found)
    return found


def changed_value(value: Any, rng: Rng) -> Any:
    """A structure with one to three values replaced, left out or exchanged."""
    for _ in range(int(rng.integers(1, 4))):
        places = _places(value, [])
        if not places or rng.random() < 0.05:
            return deepcopy(pick(rng, VALUES))
        holder, key = pick(rng, places)
        other, second = pick(rng, places)
        choice = rng.random()
        if choice < 0.15:
            holder.pop(key)
        elif choice < 0.3:
            holder[key], other[second] = other[second], holder[key]
            if _is_circular(value):
                return deepcopy(pick(rng, VALUES))
        elif isinstance(holder[key], torch.Tensor | np.ndarray):
            holder[key] = changed_array(holder[key], rng)
        else:
            holder[key] = deepcopy(pick(rng, VALUES))
    return value


def _is_circular(value: Any, above: tuple[int, ...] = ()) -> bool:
    if not isinstance(value, dict | list):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return id(value) in above or any(_is_circular(v, (*above, id(value))) for v in inside)


def changed_array(array: Any, rng: Rng) -> Any:
    """A tensor or array of another length, type, or with odd values; or none at all."""
    is_tensor = isinstance(array, torch.Tensor)
    plain = array.detach().clone().numpy() if is_tensor else array.copy()
    spoilt = plain.copy().reshape(-1)
    if spoilt.size:
        odd = pick(rng, [np.nan, np.inf, 1e30, -1, 2**31, 255])
        with np.errstate(all="ignore"):
            spoilt[int(rng.integers(spoilt.size))] = np.array(odd).astype(spoilt.dtype)
    new = pick(rng, [spoilt.reshape(plain.shape), plain.reshape(-1), plain[:-1] if plain.ndim else plain[None],
                     plain.astype(np.int64) if plain.dtype.kind == "f" and np.isfinite(plain).all() else plain * 1.5,
                     np.zeros((0, *plain.shape[1:]), plain.dtype),
                     np.concatenate([plain, plain]) if plain.ndim else plain,
                     None, "x"])  # fmt: skip
    return torch.from_numpy(np.ascontiguousarray(new)) if is_tensor and isinstance(new, np.ndarray) else new


def json_value(path: Path, rng: Rng) -> None:
    """Values of a JSON file; now and then very deep."""
    text = _content(path).decode()
    if path.name.endswith(".jsonl"):
        rows = [json.loads(line) for line in text.splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in changed_value(rows, rng) or []))
    elif rng.random() < 0.05:
        path.write_text("[" * 100_000 + "]" * 100_000)
    elif rng.random() < 0.1:
        path.write_text(text.rstrip()[:-1] + ', "deep": ' + '{"a": ' * 400 + "1" + "}" * 400 + text.rstrip()[-1:])
    else:
        path.write_text(json.dumps(changed_value(json.loads(text), rng)))


def checkpoint_value(path: Path, rng: Rng) -> None:
    """Values of a file of `torch.save`."""
    content = torch.load(path, map_location="cpu", weights_only=False)
    if rng.random() < 0.5 and isinstance(content, dict) and isinstance(content.get("config"), dict):
        content["config"] = changed_value(content["config"], rng)
    else:
        content = changed_value(content, rng)
    torch.save(content, path)


def safetensors_header(path: Path, rng: Rng) -> None:
    """Shapes, types and offsets that a file of safetensors states."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    name = pick(rng, [key for key in header if key != "__metadata__"])
    entry = header[name]
    change = rng.random()
    if change < 0.3:
        entry["shape"] = pick(rng, [[10**9, 10**9], [0], [], [2, 3], [-1], [2**63]])
    elif change < 0.6:
        entry["data_offsets"] = pick(rng, [[0, 10**12], [10, 0], [0, 0], [-1, 4], [0, 2**63]])
    elif change < 0.8:
        header.pop(name)
    else:
        entry["dtype"] = pick(rng, ["F64", "I8", "X9", "BF16"])
    text = json.dumps(header).encode()
    stated = pick(rng, [len(text), len(text), len(text), 2**60, 3])
    path.write_bytes(struct.pack("<Q", stated) + text + data[8 + length :])


def parquet_value(path: Path, rng: Rng) -> None:
    """Cells and columns of a Parquet file; the manifest beside it gets the new hash."""
    table = pq.read_table(path)
    name = pick(rng, table.column_names)
    column = table[name].to_pylist()
    i = int(rng.integers(max(len(column), 1)))
    choice, field = rng.random(), table.schema.field(name)
    if choice < 0.1:
        table = table.drop_columns([name])
    elif choice < 0.2:
        table = table.set_column(table.column_names.index(name), pa.field(name, pa.string()), [["x"] * len(column)])
    elif choice < 0.25:
        table = table.slice(0, 0)
    elif column:
        column[i] = _other_cell(column[i], rng)
        array = pa.array(column, type=field.type)
        table = table.set_column(table.column_names.index(name), field, array)
    pq.write_table(table, path, row_group_size=int(pick(rng, [64, 64, 1])))
    manifest = path.parent / "manifest.json"
    if manifest.is_file():
        stated = json.loads(manifest.read_text())
        if path.name in stated.get("files", {}):
            stated["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            manifest.write_text(json.dumps(stated))


def _other_cell(cell: Any, rng: Rng) -> Any:
    if isinstance(cell, bytes):
        at = int(rng.integers(len(cell) + 1))
        return pick(rng, [cell[:at], cell + cell, cell[:at] + b"\xff\xff" + cell[at + 2 :], b"", b"\xff" * len(cell)])
    if isinstance(cell, str):
        return pick(rng, ["", "x" * 100_000, "../..", "C(", cell + "x"])
    if isinstance(cell, float):
        return pick(rng, [float("nan"), float("inf"), 1e30, -1.0])
    return pick(rng, [-1, 0, 2**31 - 1, 7]) if isinstance(cell, int) else cell


def lmdb_record(path: Path, rng: Rng) -> None:
    """One record of an LMDB: its pickle, or a value in it."""
    with lmdb.open(str(path), subdir=False, map_size=1 << 28) as file, file.begin(write=True) as transaction:
        key = pick(rng, [bytes(k) for k in transaction.cursor().iternext(values=False)])
        data = bytes(transaction.get(key))
        if rng.random() < 0.4:
            at = int(rng.integers(len(data)))
            data = pick(rng, [data[:at], data[:at] + rng.bytes(3) + data[at + 3 :], b"", data[:at] + data[at + 1 :]])
        else:
            data = pickle.dumps(changed_value(pickle.loads(data), rng))  # noqa: S301 (written by the test itself)
        transaction.put(key, data)


BY_CONTENT: dict[str | tuple[str, ...], list[Callable[[Path, Rng], None]]] = {
    (".json", ".jsonl"): [json_value],
    ".pt": [checkpoint_value],
    ".safetensors": [safetensors_header],
    ".parquet": [parquet_value],
    ".lmdb": [lmdb_record],
}
