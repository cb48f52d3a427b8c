"""The published CrossDocked2020 training set: one LMDB file of pickled records and a split file.

The keys are the numbers of the records as text. An index-based split file counts records in the order of the keys *as
text* ("0", "1", "10", "100", ...), the order in which an LMDB is walked and in which the published split was made; its
numbers are not keys. A name-based split file holds (pocket file, ligand file) pairs.

On first use every record is read and checked once; what was found is kept in an index file beside the LMDB (or in the
user's cache folder). After that, opening reads the index alone, and a record costs one look-up by its key.
"""

import hashlib
import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from weakref import WeakValueDictionary

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from ligandsmith.data.crossdocked.record import complex_from_record
from ligandsmith.data.crossdocked.safe_pickle import restricted_loads, restricted_torch_load
from ligandsmith.data.dataset import Split, known_split
from ligandsmith.data.splitting import hold_out_groups
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import atomic_write
from ligandsmith.parallel.processes import WorkerFailure, results_from_processes
from ligandsmith.records import Complex, Rejection

log = logging.getLogger(__name__)

PROTEINS_HELD_OUT = 0.01  # fraction of the training records, in whole protein groups
INDEX_VERSION = 1
LARGEST_RECORD = 50_000_000  # bytes; published ones have some 100 kB
REPORTED = 10_000  # records between two lines of the log


class RecordFile:
    """Look-up of pickled records by key. Opened on first use in each process, read-only, without locks."""

    # An LMDB may be open only once in a process, so that data sets of one file share it.
    _open: ClassVar[WeakValueDictionary[tuple[str, int], lmdb.Environment]] = WeakValueDictionary()

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._environment: lmdb.Environment | None = None
        self._pid = -1

    def keys(self) -> list[str]:
        """All keys in the order of the file, which is that of their bytes."""
        try:
            with self._env().begin() as transaction:
                return [bytes(key).decode("latin1") for key in transaction.cursor().iternext(values=False)]
        except lmdb.Error as error:
            raise LigandsmithError(f"{self.path}: damaged ({error}); get the file again") from None

    def load(self, key: str) -> object:
        """One record as it was pickled, or a Rejection. Nothing in it is executed."""
        try:
            with self._env().begin() as transaction:
                data = transaction.get(key.encode())
            if data is None:
                return Rejection(key, "missing record", f"no key {key} in {self.path.name}")
            if len(data) > LARGEST_RECORD:
                size = f"{len(data) / 1e6:.0f} MB"
                return Rejection(key, "record too large", f"key {key}: {size}; {LARGEST_RECORD / 1e6:.0f} MB are read")
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
            self._environment, self._pid = self._open.get(place), os.getpid()
            if self._environment is None:
                self._close_inherited()
                self._environment = self._open[place] = self._connect()
        return self._environment

    @classmethod
    def _close_inherited(cls) -> None:
        """A forked process may not use, and holds open, what its parent opened."""
        for place, environment in list(cls._open.items()):
            if place[1] != os.getpid():
                environment.close()
                del cls._open[place]

    def _connect(self) -> lmdb.Environment:
        try:
            return lmdb.open(
                str(self.path), subdir=False, readonly=True, lock=False, readahead=False, meminit=False, max_readers=1
            )
        except lmdb.Error as error:
            raise LigandsmithError(f"{self.path}: not a readable LMDB file ({error}); get the file again") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return RecordFile, (self.path,)


class IndexEntry(NamedTuple):
    """What the index knows of one record of the file. `reason` is empty for a good record."""

    key: str
    id: str  # unique
    protein: str  # protein_filename, "" where unreadable
    ligand: str  # ligand_filename, "" where unreadable
    num_ligand: int = 0
    num_pocket: int = 0
    reason: str = ""
    detail: str = ""

    @property
    def group(self) -> str:
        """The protein group of the record: the folder of its protein file, on Windows or elsewhere."""
        return _portable(self.protein).split("/", maxsplit=1)[0]


def _portable(name: str) -> str:
    """A file name of the LMDB or a split file with forward slashes."""
    return name.replace("\\", "/")


def load_index(path: Path) -> list[IndexEntry]:
    """The index of an LMDB file in the order of its keys, built and stored where there is none.

    Stored next to the file or, where that cannot be written, in the user's cache folder. An index is valid for the size
    and modification time of its LMDB.
    """
    if not path.is_file():
        raise LigandsmithError(f"{path}: no such LMDB file; give the path of the published .lmdb file")
    stat = path.stat()
    stamp = f"{INDEX_VERSION}:{stat.st_size}:{stat.st_mtime_ns}"
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ligandsmith"
    folders = [path.parent, user_cache]
    name = f"{path.name}.{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}.index.parquet"
    for folder in folders:
        if (index := _read_index(folder / name, stamp)) is not None:
            return index
    index = _index_from_process(path)
    for folder in folders:
        try:
            _write_index(folder / name, stamp, index)
        except OSError as error:
            log.warning("the index of %s cannot be kept in %s (%s)", path.name, folder, error.strerror)
        else:
            break
    return index


def _index_from_process(path: Path) -> list[IndexEntry]:
    """`build_index` in a process of its own: in a damaged file the library may follow a place that is not there, which
    no program survives. What was read whole once can be read again."""
    (_, result), *_ = results_from_processes(build_index, [path], workers=1, method=_start_method())
    if isinstance(result, WorkerFailure):
        raise LigandsmithError(
            f"{path}: damaged, reading it ended the process ({result.exit_code}); get the file again"
        )
    return result


def _start_method() -> str:
    """Forking is quicker, where there is it and no GPU is in use yet, which no fork outlives."""
    return "fork" if "fork" in multiprocessing.get_all_start_methods() and not torch.cuda.is_initialized() else "spawn"


def build_index(path: Path) -> list[IndexEntry]:
    """Read and check every record of the file once."""
    file = RecordFile(path)
    keys = file.keys()
    if not keys:
        raise LigandsmithError(f"{path}: an LMDB without records; get the file again")
    log.info("checking the %d records of %s, once", len(keys), path)
    index: list[IndexEntry] = []
    for key in keys:
        index.append(_entry(file.load(key), key))
        if len(index) % REPORTED == 0:
            log.info("%d of %d records checked", len(index), len(keys))
    times = Counter(entry.id for entry in index)
    return [e._replace(id=f"{e.id}#{e.key}") if times[e.id] > 1 else e for e in index]


def _entry(raw: object, key: str) -> IndexEntry:
    fields = raw if isinstance(raw, dict) else {}
    protein, ligand = (fields.get(name) for name in ("protein_filename", "ligand_filename"))
    entry = IndexEntry(key, key, protein if isinstance(protein, str) else "", ligand if isinstance(ligand, str) else "")
    record = raw if isinstance(raw, Rejection) else complex_from_record(raw, key)
    if isinstance(record, Rejection):
        return entry._replace(id=record.id, reason=record.reason, detail=record.detail)
    num_pocket = record.pocket.num_atoms if record.pocket else 0
    return entry._replace(id=record.id, num_ligand=record.ligand.num_atoms, num_pocket=num_pocket)


def _read_index(path: Path, stamp: str) -> list[IndexEntry] | None:
    try:
        table = pq.read_table(path)
        if (table.schema.metadata or {}).get(b"stamp", b"").decode() != stamp:
            return None
        return [IndexEntry(**row) for row in table.select(IndexEntry._fields).to_pylist()]
    except (OSError, pa.ArrowException, KeyError):
        return None


def _write_index(path: Path, stamp: str, index: Sequence[IndexEntry]) -> None:
    """Write whole or not at all: a reader never sees half an index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([entry._asdict() for entry in index])
    with atomic_write(path) as part:
        pq.write_table(table.replace_schema_metadata({"stamp": stamp}), part, compression="zstd")


def read_split_file(path: Path | str, index: Sequence[IndexEntry]) -> tuple[dict[str, list[int]], list[Rejection]]:
    """Split name -> positions in the index, of either published format, and the pairs that the LMDB does not have.

    The splits `train` and `test` are required, `val` is optional. Raises LigandsmithError for any other content, for
    positions that the LMDB does not have, and for a record that is in two splits.
    """
    content = restricted_torch_load(path)
    if not isinstance(content, Mapping) or not {"train", "test"} <= set(content):
        raise LigandsmithError(f"{path}: not a split file; a dict with the lists 'train' and 'test' is expected")
    entries = {"train": content["train"], "validation": content.get("val", []), "test": content["test"]}
    missing: list[Rejection] = []
    by_name = {(_portable(entry.protein), _portable(entry.ligand)): i for i, entry in enumerate(index)}
    positions = {split: _positions(path, listed, by_name, missing) for split, listed in entries.items()}
    flat = [i for found in positions.values() for i in found]
    if flat and not 0 <= min(flat) <= max(flat) < len(index):
        raise LigandsmithError(f"{path}: names record {max(flat)}, the LMDB has {len(index)}; use files of one version")
    if len(set(flat)) < len(flat):
        twice = next(i for i, times in Counter(flat).items() if times > 1)
        raise LigandsmithError(f"{path}: record {index[twice].id} is listed twice; a record belongs to one split, once")
    return positions, missing


def _positions(
    path: Path | str, listed: Any, by_name: dict[tuple[str, str], int], missing: list[Rejection]
) -> list[int]:
    entries = listed.tolist() if hasattr(listed, "tolist") else listed
    if not isinstance(entries, list | tuple):
        raise LigandsmithError(f"{path}: a split is a {type(listed).__name__}, no list")
    if all(isinstance(e, int | np.integer) and not isinstance(e, bool) for e in entries):
        return [int(e) for e in entries]
    if not all(isinstance(e, tuple | list) and len(e) >= 2 and isinstance(e[0], str) for e in entries):
        raise LigandsmithError(f"{path}: a split is a list of record numbers or of (pocket file, ligand file) pairs")
    found = [by_name.get((_portable(str(e[0])), _portable(str(e[1])))) for e in entries]
    lost = [Rejection(str(e[1]), "missing record", str(e[0])) for e, i in zip(entries, found, strict=True) if i is None]
    if len(lost) == len(entries):
        raise LigandsmithError(f"{path}: the LMDB has none of the files it names; use files of one version")
    missing += lost
    return [i for i in found if i is not None]


class CrossDockedDataset:
    """Random access to one split of the published files, as `Complex` records (pocket: residues within 10 Å).

    `rejections` lists every record of the split that could not be used; `ids` and `len` count the others. Where the
    split file has no validation part, about 1 % of `train` is held out in whole protein groups, which are chosen by the
    names of the protein files alone; of a single group nothing is. Can be handed to worker processes.
    """

    def __init__(
        self, lmdb_path: Path | str, split_file: Path | str, split: Split | str = Split.TRAIN, allow_test: bool = False
    ) -> None:
        """`split`: train, validation or test, the last only with `allow_test`.

        Raises LigandsmithError for files that cannot be used and for a split without usable records.
        """
        if known_split(split) is Split.TEST and not allow_test:
            raise LigandsmithError("the test split is for the final evaluation; training code cannot open it")
        index = load_index(Path(lmdb_path))
        positions, missing = read_split_file(split_file, index)
        _, group_of = np.unique([entry.group for entry in index], return_inverse=True)
        good = {name: [i for i in found if not index[i].reason] for name, found in positions.items()}
        if not good["validation"]:
            train = np.array(good["train"], dtype=np.int64)
            held = np.array(hold_out_groups([index[i].group for i in train], PROTEINS_HELD_OUT, seed=0), dtype=np.bool_)
            good["train"], good["validation"] = train[~held].tolist(), train[held].tolist()
        chosen = [index[i] for i in good[split]]
        if not chosen:
            raise LigandsmithError(f"{split_file}: the {split} split of {lmdb_path} has no usable record")
        refused = [index[i] for i in positions[split] if index[i].reason]
        self.rejections = [Rejection(entry.id, entry.reason, entry.detail) for entry in refused] + missing
        if self.rejections:
            reasons = Counter(rejection.reason for rejection in self.rejections)
            listed = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
            total = len(chosen) + len(self.rejections)
            log.warning("%s, %s: %d of %d records refused: %s", lmdb_path, split, len(self.rejections), total, listed)
        self.ids = [entry.id for entry in chosen]
        self.clusters = group_of[good[split]]  # [len] number of the protein group
        self._keys = [entry.key for entry in chosen]
        self._sizes = np.array([(entry.num_ligand, entry.num_pocket) for entry in chosen], dtype=np.int64)
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
        return self._sizes[:, 0], self._sizes[:, 1]
