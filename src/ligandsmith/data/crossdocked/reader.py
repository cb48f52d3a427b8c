"""The published CrossDocked2020 training set: one LMDB file of pickled records and a split file.

The keys are the numbers of the records as text. An index-based split file counts records in the order of the keys *as
text* ("0", "1", "10", "100", ...), the order in which an LMDB is walked and in which the published split was made; its
numbers are not keys. A name-based split file holds (pocket file, ligand file) pairs.

On first use every record is read and checked once; what was found is kept in an index file beside the LMDB (or in the
user's cache folder). After that, opening reads the index alone, and a record costs one look-up by its key.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ligandsmith.data.crossdocked.record import complex_from_record
from ligandsmith.data.crossdocked.safe_pickle import restricted_loads, restricted_torch_load
from ligandsmith.data.dataset import Split
from ligandsmith.data.splitting import hold_out_groups
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import atomic_write
from ligandsmith.parallel.processes import map_in_processes
from ligandsmith.records import Complex, Rejection

log = logging.getLogger(__name__)

VALIDATION_SHARE = 0.01  # of the training records, in whole protein groups
INDEX_VERSION = 1
CHUNK = 256  # records that a process checks at a time
_Row = tuple[str, str, str, int, int, str, str]  # the columns of RecordIndex after the key


class RecordFile:
    """Look-up of pickled records by key. Opened on first use in each process, read-only, without locks."""

    # An LMDB may be open only once in a process, so that data sets of one file share it.
    _open: ClassVar[WeakValueDictionary[tuple[str, int], lmdb.Environment]] = WeakValueDictionary()

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._environment: lmdb.Environment | None = None
        self._pid = -1

    def get(self, key: str) -> bytes | None:
        """The pickled record of a key, None where there is none."""
        with self._env().begin() as transaction:
            return transaction.get(key.encode())

    def keys(self) -> list[str]:
        """All keys in the order of the file, which is that of their bytes."""
        with self._env().begin() as transaction:
            return [bytes(key).decode("latin1") for key in transaction.cursor().iternext(values=False)]

    def load(self, key: str) -> object:
        """One record as it was pickled, or a Rejection. Nothing in it is executed."""
        try:
            data = self.get(key)
            if data is None:
                return Rejection(key, "missing record", f"no key {key} in {self.path.name}")
            return restricted_loads(data)
        except (lmdb.Error, LigandsmithError) as error:
            return Rejection(key, "unreadable record", f"key {key}: {error}")

    def read(self, key: str) -> Complex | Rejection:
        """One record, checked; whatever is wrong with it is a Rejection."""
        record = self.load(key)
        return record if isinstance(record, Rejection) else complex_from_record(record, key)

    def _env(self) -> lmdb.Environment:
        if self._environment is None or self._pid != os.getpid():
            place = (str(self.path.resolve()), os.getpid())
            environment = self._open.get(place)
            if environment is None:
                self._close_inherited()
                environment = self._connect()
                self._open[place] = environment
            self._environment, self._pid = environment, os.getpid()
        return self._environment

    @classmethod
    def _close_inherited(cls) -> None:
        """A forked process may not use, and holds open, what its parent opened."""
        for place, environment in list(cls._open.items()):
            if place[1] != os.getpid():
                environment.close()
                del cls._open[place]

    def _connect(self) -> lmdb.Environment:
        if not self.path.is_file():
            raise LigandsmithError(f"{self.path}: no such LMDB file; give the path of the published .lmdb file")
        try:
            return lmdb.open(
                str(self.path), subdir=False, readonly=True, lock=False, readahead=False, meminit=False, max_readers=1
            )
        except lmdb.Error as error:
            raise LigandsmithError(f"{self.path}: not a readable LMDB file ({error}); get the file again") from None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_environment": None, "_pid": -1}


@dataclass(frozen=True)
class RecordIndex:
    """What is known of every record of the file, in the order of its keys. `reason` is empty for a good record."""

    key: list[str]
    id: list[str]  # unique
    protein: list[str]  # protein_filename, "" where unreadable
    ligand: list[str]  # ligand_filename, "" where unreadable
    num_ligand: list[int]
    num_pocket: list[int]
    reason: list[str]
    detail: list[str]

    def groups(self) -> NDArray[np.int64]:
        """Number of the protein group of each record: the folder of its protein file."""
        return np.unique(np.array([_group(p) for p in self.protein]), return_inverse=True)[1]


def _group(protein: str) -> str:
    return protein.split("/", maxsplit=1)[0]


def load_index(path: Path, cache_folder: Path | None = None, workers: int = 1) -> RecordIndex:
    """The index of an LMDB file, built (in `workers` processes) and stored where no valid one is found.

    Stored beside the file, or in `cache_folder`, or, where neither can be written, in the user's cache folder. An
    index is valid for the size and modification time of its LMDB.
    """
    if not path.is_file():
        raise LigandsmithError(f"{path}: no such LMDB file; give the path of the published .lmdb file")
    stat = path.stat()
    stamp = f"{INDEX_VERSION}:{stat.st_size}:{stat.st_mtime_ns}"
    folders = [cache_folder or path.parent, _user_cache()]
    name = f"{path.name}.{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}.index.parquet"
    for folder in folders:
        found = _read_index(folder / name, stamp)
        if found is not None:
            return found
    index = build_index(path, workers)
    for folder in folders:
        try:
            _write_index(folder / name, stamp, index)
        except OSError as error:
            log.warning("the index of %s cannot be kept in %s (%s)", path.name, folder, error.strerror)
        else:
            break
    return index


def build_index(path: Path, workers: int = 1) -> RecordIndex:
    """Read and check every record of the file once."""
    keys = RecordFile(path).keys()
    if not keys:
        raise LigandsmithError(f"{path}: an LMDB without records; get the file again")
    log.info("checking the %d records of %s, once", len(keys), path)
    chunks = [keys[i : i + CHUNK] for i in range(0, len(keys), CHUNK)]
    rows: list[_Row] = []
    names = partial("{0}, a record after {1[0]}".format, path)
    for part in map_in_processes(partial(_check, path), chunks, min(workers, len(chunks)), names):
        rows += part
        if len(rows) % (40 * CHUNK) == 0:
            log.info("%d of %d records checked", len(rows), len(keys))
    identifiers, *columns = (list(column) for column in zip(*rows, strict=True))
    times = Counter(identifiers)
    unique = [f"{name}#{key}" if times[name] > 1 else name for name, key in zip(identifiers, keys, strict=True)]
    return RecordIndex(keys, unique, *columns)


def _check(path: Path, keys: Sequence[str]) -> list[_Row]:
    file = RecordFile(path)
    rows: list[_Row] = []
    for key in keys:
        raw = file.load(key)
        fields = raw if isinstance(raw, dict) else {}
        names = [n if isinstance(n, str) else "" for n in map(fields.get, ("protein_filename", "ligand_filename"))]
        record = raw if isinstance(raw, Rejection) else complex_from_record(raw, key)
        if isinstance(record, Rejection):
            rows.append((record.id, names[0], names[1], 0, 0, record.reason, record.detail))
        else:
            pocket = record.pocket.num_atoms if record.pocket else 0
            rows.append((record.id, names[0], names[1], record.ligand.num_atoms, pocket, "", ""))
    return rows


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ligandsmith"


def _read_index(path: Path, stamp: str) -> RecordIndex | None:
    try:
        table = pq.read_table(path)
        if (table.schema.metadata or {}).get(b"stamp", b"").decode() != stamp:
            return None
        return RecordIndex(**{name: table[name].to_pylist() for name in RecordIndex.__dataclass_fields__})
    except (OSError, pa.ArrowException, KeyError):
        return None


def _write_index(path: Path, stamp: str, index: RecordIndex) -> None:
    """Write whole or not at all: a reader never sees half an index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        pq.write_table(pa.table(index.__dict__).replace_schema_metadata({"stamp": stamp}), part, compression="zstd")


def read_split_file(path: Path | str, index: RecordIndex) -> tuple[dict[str, list[int]], list[Rejection]]:
    """Split name -> positions in the index, of either published format, and the pairs that the LMDB does not have.

    The parts `train` and `test` are required, `val` is optional. Raises LigandsmithError for any other content, for
    positions that the LMDB does not have, and for a record that is in two parts.
    """
    content = restricted_torch_load(path)
    if not isinstance(content, Mapping) or not {"train", "test"} <= set(content):
        raise LigandsmithError(f"{path}: not a split file; a dict with the lists 'train' and 'test' is expected")
    entries = {"train": content["train"], "validation": content.get("val", []), "test": content["test"]}
    missing: list[Rejection] = []
    by_name = {pair: i for i, pair in enumerate(zip(index.protein, index.ligand, strict=True))}
    positions = {name: _positions(path, part, by_name, missing) for name, part in entries.items()}
    flat = [i for part in positions.values() for i in part]
    if flat and not 0 <= min(flat) <= max(flat) < len(index.key):
        raise LigandsmithError(
            f"{path}: names record {max(flat)}, the LMDB has {len(index.key)}; use files of one version"
        )
    if len(set(flat)) < len(flat):
        twice = next(i for i, times in Counter(flat).items() if times > 1)
        raise LigandsmithError(f"{path}: record {index.id[twice]} is listed twice; a record belongs to one split, once")
    return positions, missing


def _positions(path: Path | str, part: Any, by_name: dict[tuple[str, str], int], missing: list[Rejection]) -> list[int]:
    entries = part.tolist() if hasattr(part, "tolist") else list(part)
    if all(isinstance(e, int) for e in entries):
        return entries
    if not all(isinstance(e, tuple | list) and len(e) >= 2 and isinstance(e[0], str) for e in entries):
        raise LigandsmithError(f"{path}: a split is a list of record numbers or of (pocket file, ligand file) pairs")
    found = [by_name.get((e[0], e[1])) for e in entries]
    lost = [Rejection(str(e[1]), "missing record", str(e[0])) for e, i in zip(entries, found, strict=True) if i is None]
    if len(lost) == len(entries):
        raise LigandsmithError(f"{path}: the LMDB has none of the files it names; use files of one version")
    missing += lost
    return [i for i in found if i is not None]


def hold_out(train: list[int], proteins: Sequence[str]) -> tuple[list[int], list[int]]:
    """Training positions -> (training, validation): whole protein groups, about `VALIDATION_SHARE` of the records.

    The choice depends on the names of the protein files alone; nothing is held out of a single group.
    """
    held = hold_out_groups([_group(proteins[i]) for i in train], VALIDATION_SHARE, seed=0)
    pairs = list(zip(train, held, strict=True))
    return [i for i, out in pairs if not out], [i for i, out in pairs if out]


class CrossDockedDataset:
    """Random access to one split of the published files, as `Complex` records (pocket: residues within 10 Å).

    `rejections` lists every record of the split that could not be used; `ids` and `len` count the others. Where the
    split file has no validation part, one is held out of `train` (see `hold_out`). Can be handed to worker processes.
    """

    def __init__(
        self,
        lmdb_path: Path | str,
        split_file: Path | str,
        split: Split | str = Split.TRAIN,
        *,
        allow_test: bool = False,
        cache_folder: Path | None = None,
        workers: int = 1,
    ) -> None:
        """`split`: train, validation or test, the last only with `allow_test`. `workers`: processes of the first check.

        Raises LigandsmithError for files that cannot be used and for a split without usable records.
        """
        if split not in tuple(Split):
            raise LigandsmithError(f"no split {str(split)!r}; there are {', '.join(Split)}")
        if split == Split.TEST and not allow_test:
            raise LigandsmithError("the test split is for the final evaluation; training code cannot open it")
        index = load_index(Path(lmdb_path), cache_folder, workers)
        parts, missing = read_split_file(split_file, index)
        groups = index.groups()
        good = {name: [i for i in part if not index.reason[i]] for name, part in parts.items()}
        refused = [i for i in parts[split] if index.reason[i]]
        if not good["validation"]:
            good["train"], good["validation"] = hold_out(good["train"], index.protein)
        chosen = good[split]
        if not chosen:
            raise LigandsmithError(f"{split_file}: the {split} split of {lmdb_path} has no usable record")
        self.rejections = [Rejection(index.id[i], index.reason[i], index.detail[i]) for i in refused] + missing
        self.ids = [index.id[i] for i in chosen]
        self.clusters = groups[chosen]  # [len] number of the protein group
        self._keys = [index.key[i] for i in chosen]
        self._num_ligand = np.array([index.num_ligand[i] for i in chosen], dtype=np.int64)
        self._num_pocket = np.array([index.num_pocket[i] for i in chosen], dtype=np.int64)
        self._file = RecordFile(lmdb_path)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Complex:
        """Record `i` of the split: one look-up by key. Raises LigandsmithError if the file has changed meanwhile."""
        record = self._file.read(self._keys[i])
        if isinstance(record, Rejection):
            raise LigandsmithError(f"{self._file.path}: record {record.id}: {record.reason} ({record.detail})")
        return replace(record, id=self.ids[i], cluster=int(self.clusters[i]))

    def sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Heavy atoms of the ligands [n] and of the pockets [n], without reading the records."""
        return self._num_ligand, self._num_pocket
