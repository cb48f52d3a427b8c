"""A prepared data set: a folder of shards, `splits.json` and `manifest.json`, read by split with O(1) random access."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ligandsmith.data.index import (
    INDEX_FILE,
    SplitRecords,
    compact_sizes,
    fingerprint_of,
    indexed_ids,
    read_index,
    write_index,
)
from ligandsmith.data.properties import FILE as PROPERTIES_FILE
from ligandsmith.data.properties import properties_at, read_properties
from ligandsmith.data.shard_cache import CacheOptions, mirrored, stored_shards
from ligandsmith.data.shards import (
    DATASET_KINDS,
    SHARD_FORMAT_VERSION,
    DatasetKind,
    ShardReader,
    ShardSource,
    shard_paths,
)
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import file_hash, held_alone, is_uri, json_content, remove_all, write_json
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure import vocabulary as vocab

_hashes: dict[tuple[int, ...], str] = {}  # of files, by device, inode, size and time
MANIFEST = "manifest.json"
SPLITS = "splits.json"
SEQUENCES = "sequences.json"  # id -> sequences of the chains that line its site
METADATA = "metadata.csv"  # id, and what the source says of the record: affinity, resolution, year
SMALL_FILES = (MANIFEST, SPLITS, INDEX_FILE, PROPERTIES_FILE)  # that a training needs besides the shards
SHIPPED_DATASET = "crystal"
DATASET_FILES = (
    MANIFEST,
    SPLITS,
    SEQUENCES,
    METADATA,
    PROPERTIES_FILE,
    INDEX_FILE,
    "leakage.json",
    *(f"{k}-*.parquet" for k in DATASET_KINDS),
)


class Split(StrEnum):
    """The splits of a data set: training learns from the first, selects on the second, never opens the third."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Manifest:
    """What a data set holds, what was refused and why, and the hashes that show that it is whole."""

    counts: dict[str, int]  # records by kind and, as "complexes/train", by kind and split
    files: dict[str, str]  # shard name -> sha256
    rejections: tuple[Rejection, ...] = ()
    format_version: int = SHARD_FORMAT_VERSION
    package_version: str = ""
    vocabulary: dict[str, Any] = field(default_factory=vocab.VOCABULARY.to_dict)

    def rejection_counts(self) -> dict[str, int]:
        """Number of rejections by reason, most frequent first."""
        return dict(Counter(r.reason for r in self.rejections).most_common())

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read `manifest.json`; raises LigandsmithError if it is missing, damaged or of another format."""
        data = _read_json(folder / MANIFEST)
        version = data.get("format_version")
        if version != SHARD_FORMAT_VERSION:
            raise LigandsmithError(
                f"{folder / MANIFEST}: format version {version}, but this program reads {SHARD_FORMAT_VERSION}; "
                "prepare the data again"
            )
        try:
            rejections = tuple(Rejection(**r) for r in data["rejections"])
            own = {name: data[name] for name in ("counts", "files", "package_version", "vocabulary")}
        except (KeyError, TypeError) as error:
            raise LigandsmithError(f"{folder / MANIFEST}: not a manifest ({error}); prepare the data again") from None
        tables = (own["counts"], own["files"], own["vocabulary"])
        texts = [text for r in rejections for text in (r.id, r.reason, r.detail)]
        if not all(isinstance(t, dict) for t in tables) or not all(isinstance(t, str) for t in texts):
            raise LigandsmithError(
                f"{folder / MANIFEST}: not a manifest (values of other types); prepare the data again"
            )
        return cls(rejections=rejections, **own)


def write_manifest(folder: Path, splits: Mapping[str, Sequence[str]], rejections: Sequence[Rejection]) -> Manifest:
    """Complete a folder of finished shards with `splits.json` and `manifest.json`."""
    counts: dict[str, int] = {}
    split_of = {id: split for split, ids in splits.items() for id in ids}
    for kind in DATASET_KINDS:
        ids = ShardReader(shard_paths(folder, kind)).index()["id"]
        counts[kind] = len(ids)
        by_split = Counter(split_of.get(id, "none") for id in ids)
        counts |= {f"{kind}/{split}": n for split, n in sorted(by_split.items())}
    lists = {str(split): list(splits.get(split, ())) for split in Split}
    write_json(folder / SPLITS, lists)
    files = {p.name: file_hash(p) for kind in DATASET_KINDS for p in shard_paths(folder, kind)}
    write_index(folder, lists, fingerprint_of(files, folder / SPLITS))
    manifest = Manifest(counts, files, tuple(rejections), package_version=metadata.version("ligandsmith"))
    write_json(folder / MANIFEST, asdict(manifest) | {"rejection_counts": manifest.rejection_counts()})
    return manifest


@contextmanager
def scratch_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder beside `out` to fill, which takes that name at the end, or goes without a trace if anything fails.

    What a killed process left in it is removed first. With `overwrite` the files of a data set in `out` are replaced;
    other files there stay. Raises LigandsmithError if `out` is there already, or if another process is filling it.
    """
    _refuse_existing(out, overwrite)
    scratch = out.with_name(f".{out.name}.part")
    with held_alone(scratch):
        try:
            _refuse_existing(out, overwrite)  # it may have come meanwhile
            remove_all(list(scratch.iterdir()))
            yield scratch
            if out.exists():
                _replace_dataset(scratch, out)
            else:
                scratch.rename(out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _refuse_existing(out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        found = [path.name for name in DATASET_FILES for path in sorted(out.glob(name))]
        holds = f" and holds {found[0]}" if found else ""
        raise LigandsmithError(
            f"{out}: exists already{holds}; name a new folder, or replace the data set in it with --overwrite"
        )
    if out.exists() and not out.is_dir():
        raise LigandsmithError(f"{out}: a file, not a folder; name a new folder")


def _replace_dataset(scratch: Path, out: Path) -> None:
    """Manifest first and last: without it, a folder is no data set."""
    remove_all([path for name in DATASET_FILES for path in sorted(out.glob(name))])
    for path in sorted(scratch.iterdir(), key=lambda path: path.name == MANIFEST):
        os.replace(path, out / path.name)


def read_splits(folder: Path) -> dict[str, list[str]]:
    """The ids of each split. Raises LigandsmithError for a damaged file or an id in two splits."""
    splits = _read_json(Path(folder) / SPLITS)
    if not all(isinstance(ids, list) and all(isinstance(id, str) for id in ids) for ids in splits.values()):
        raise LigandsmithError(f"{Path(folder) / SPLITS}: not lists of ids by split; run `ligandsmith split` again")
    seen: dict[str, str] = {}
    for split, ids in splits.items():
        for id in ids:
            if id in seen:
                where = f"in {seen[id]} and in {split}" if seen[id] != split else f"twice in {split}"
                raise LigandsmithError(f"{Path(folder) / SPLITS}: {id} is {where}; an id belongs to one split, once")
            seen[id] = split
    return splits


def open_dataset(path: Path | str | None = None, cache: CacheOptions | None = None) -> Path:
    """The folder of a prepared data set; the one that comes with the package for None. Raises LigandsmithError.

    For a URI of an object store, it is a folder of copies, whose shards come when they are read (see `shard_cache`).
    """
    if is_uri(path):
        return mirrored(str(path), SMALL_FILES, cache or CacheOptions())
    folder = Path(str(resources.files("ligandsmith") / "datasets" / SHIPPED_DATASET)) if path is None else Path(path)
    if not folder.is_dir() and path is None:
        raise LigandsmithError(
            f"{folder}: the data set that comes with ligandsmith is not installed; install the whole wheel, or name a "
            "data set with --data"
        )
    if not folder.is_dir():
        raise LigandsmithError(
            f"{folder}: no such data set folder; make one with `ligandsmith prepare DIR --out {folder}`"
        )
    if not (folder / MANIFEST).is_file():
        raise LigandsmithError(f"{folder}: no {MANIFEST} in it, so not a data set; make one with `ligandsmith prepare`")
    return folder


class ComplexDataset:
    """The records of one kind in one split, in the order of `splits.json`. Picklable; a worker reopens the files.

    `kind` is "complexes" (ligand and pocket) or "ligands" (no pocket). The test split opens only with
    `allow_test=True`, which no training code passes. Raises LigandsmithError for a missing folder, another format, a
    shard that differs from its hash or that the manifest does not name, and an empty split.
    """

    def __init__(
        self, path: Path | str | None, split: Split | str, kind: DatasetKind = "complexes", allow_test: bool = False
    ) -> None:
        self.folder = open_dataset(path)
        self.split = known_split(split)
        if self.split is Split.TEST and not allow_test:
            raise LigandsmithError(
                "the test split is for the final evaluation; train on `train`, select on `validation`"
            )
        manifest = Manifest.load(self.folder)
        shards = _verified(self.folder, manifest, kind)
        self._records = split_records(self.folder, manifest, kind, self.split)
        if not len(self._records.rows):
            raise LigandsmithError(
                f"{self.folder}: no {kind} in the split {self.split}; see {SPLITS}, or run `ligandsmith split`"
            )
        self._reader = ShardReader(shards, shard_rows=self._records.shard_rows)
        self._properties = self._read_properties()

    def _read_properties(self) -> NDArray[np.float32] | None:
        if not (self.folder / PROPERTIES_FILE).exists():
            return None
        rows, listed = self._records.rows, self._records.listed
        found = properties_at(self.folder, rows + np.int64(self._records.offset), listed) if listed else None
        return read_properties(self.folder, self.ids) if found is None else found

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the records, read when they are first asked for: from the index, or from all shards."""
        if self._records.listed:
            return indexed_ids(self.folder, self._records.rows + np.int64(self._records.offset))
        ids: list[str] = self._reader.index()["id"][self._records.rows].tolist()
        return ids

    def __len__(self) -> int:
        return len(self._records.rows)

    def __getitem__(self, i: int) -> Complex:
        """Record number `i` of the split; negative numbers count from the end."""
        record = self._reader[int(self._records.rows[i])]
        if self._properties is None:
            return record
        return replace(record, ligand=replace(record.ligand, properties=self._properties[i]))

    def sizes(self) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Heavy atoms of the ligands [n] and of the pockets [n] (0 without one), without reading the records."""
        return self._records.num_ligand, self._records.num_pocket

    def shard_starts(self) -> NDArray[np.int64]:
        """The first record of each shard, where they come in the order of the shards."""
        return self._records.shard_starts()


def split_records(folder: Path, manifest: Manifest, kind: DatasetKind, split: Split | str) -> SplitRecords:
    """Which records of a kind a split has: from the index, or where that is missing or older, from `splits.json` and
    the shards. Raises LigandsmithError for a damaged file."""
    found = read_index(folder, kind, split, fingerprint_of(manifest.files, _required(folder / SPLITS)))
    return found or _listed_records(folder, manifest, kind, split)


def _listed_records(folder: Path, manifest: Manifest, kind: DatasetKind, split: Split | str) -> SplitRecords:
    ids = read_splits(folder).get(split, ())
    reader = ShardReader(named_shards(folder, manifest, kind))
    index = reader.index()
    row_of = {id: row for row, id in enumerate(index["id"])}
    rows = np.array([row_of[id] for id in ids if id in row_of], dtype=np.int32)
    ligand, pocket = (compact_sizes(index[name][rows]) for name in ("num_ligand", "num_pocket"))
    return SplitRecords(rows, ligand, pocket, tuple(reader.shard_rows), len(ids))


def known_split(split: Split | str) -> Split:
    """The split of that name. Raises LigandsmithError for another name."""
    try:
        return Split(split)
    except ValueError:
        raise LigandsmithError(f"no split {str(split)!r}; there are {', '.join(Split)}") from None


def named_shards(folder: Path, manifest: Manifest, kind: DatasetKind) -> Sequence[Path | ShardSource]:
    """The shards of a kind that the manifest names, in the folder or on the object store that it copies."""
    hashes = {name: manifest.files[name] for name in sorted(manifest.files) if name.startswith(f"{kind}-")}
    stored = stored_shards(folder, hashes)
    return [folder / name for name in hashes] if stored is None else stored


def _verified(folder: Path, manifest: Manifest, kind: DatasetKind) -> Sequence[Path | ShardSource]:
    """The shards of a kind after comparing their hashes and the meaning of their class indices."""
    shards = named_shards(folder, manifest, kind)
    names = [shard.name for shard in shards if isinstance(shard, Path)]
    if not shards:
        raise LigandsmithError(f"{folder}: it has no {kind}; it has {manifest.counts}")
    for table in ("residues", "atom_names", "bonds"):
        if manifest.vocabulary.get(table) != vocab.VOCABULARY.to_dict()[table]:
            raise LigandsmithError(
                f"{folder / MANIFEST}: another table of {table} than this program's; prepare the data again"
            )
    if not names:
        return shards  # on an object store: compared when they are copied
    if stray := sorted({path.name for path in shard_paths(folder, kind)} - set(names)):
        raise LigandsmithError(
            f"{folder / stray[0]}: a shard that {MANIFEST} does not name, so that its records would be passed over; "
            "remove it or prepare the data again"
        )
    for name in names:
        if not (folder / name).is_file():
            raise LigandsmithError(
                f"{folder / name}: the manifest names this shard but it is missing; copy the data again"
            )
        if _hash_once(folder / name) != manifest.files[name]:
            raise LigandsmithError(
                f"{folder / name}: differs from its hash in {MANIFEST}; copy or prepare the data again"
            )
    return shards


def _hash_once(path: Path) -> str:
    """The hash of a file, which is read again only after it has changed: a training opens each shard several times."""
    stat = path.stat()
    key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if key not in _hashes:
        _hashes[key] = file_hash(path)
    return _hashes[key]


def _required(path: Path) -> Path:
    if not path.is_file():
        raise LigandsmithError(f"{path}: no such file; is its folder a prepared data set?")
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json_content(path)
    except FileNotFoundError:
        raise LigandsmithError(f"{path}: no such file; is its folder a prepared data set?") from None
    except (OSError, ValueError) as error:
        raise LigandsmithError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise LigandsmithError(f"{path}: a JSON object was expected")
    return data
