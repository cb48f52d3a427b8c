"""Data sets on object stores: small files are copied when a set is opened, a shard when one of its records is read.

Copies of shards take up to `CacheOptions.size` GB in all; those that were not used for longest go first. Several
processes share a cache: a shard is copied once, under a lock, and has its name only after its hash was compared.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ligandsmith.data.object_store import StoredFile
from ligandsmith.data.shards import DATASET_KINDS
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import atomic_write, clear_leftovers, earlier_record, file_hash, write_json

log = logging.getLogger("ligandsmith")
STORE_FILE = "origin.json"  # in a folder of copies: where the data set is
GIGABYTE = 10**9
LOCKS = 64  # files by which processes wait for each other's copies
COPY_TRIES = 2


@dataclass(frozen=True)
class CacheOptions:
    """Where copies are kept, and how many GB of shards."""

    folder: Path | None = None  # None: `ligandsmith` in XDG_CACHE_HOME or ~/.cache
    size: float = 10.0

    def root(self) -> Path:
        """The folder of all copies."""
        if self.folder is not None:
            return self.folder.resolve()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ligandsmith"


def mirrored(uri: str, small_files: tuple[str, ...], cache: CacheOptions) -> Path:
    """A folder with copies of the small files of a data set on an object store, in which its shards come and go.

    The first of `small_files` must be there, others may. A copy is made again if the file changed on the store.
    Raises LigandsmithError.
    """
    store = StoredFile(uri.rstrip("/"))
    digest = hashlib.sha256(store.uri.encode()).hexdigest()[:16]
    folder = cache.root() / f"{store.name or 'data'}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".small.lock"):
        # Times on a store may be whole seconds, so the first file, whose content says all, is always copied.
        first = folder / small_files[0]
        before = first.read_bytes() if first.is_file() else b""
        first.unlink(missing_ok=True)
        _copy_if_changed(store.child(first.name), first, required=True)
        changed = first.read_bytes() != before
        for name in small_files[1:]:
            if changed:
                (folder / name).unlink(missing_ok=True)
            _copy_if_changed(store.child(name), folder / name, required=False)
        origin = {"uri": store.uri, "cache_size": cache.size}
        if earlier_record(folder / STORE_FILE) != origin:
            write_json(folder / STORE_FILE, origin)
    return folder


def _copy_if_changed(stored: StoredFile, path: Path, required: bool) -> None:
    found = stored.size_and_time()
    if found is None:
        path.unlink(missing_ok=True)
        if required:
            raise LigandsmithError(f"{stored.parent()}: no {stored.name} there, so not a data set; check the address")
        return
    size, changed = found
    with suppress(FileNotFoundError):
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (size, changed):
            return
    with atomic_write(path) as part:
        stored.download(part)
        os.utime(part, ns=(changed, changed))


def stored_shards(folder: Path, hashes: dict[str, str]) -> "list[CachedShard] | None":
    """The shards of a folder of copies, given the hash of each; None for a folder that has its own."""
    origin = earlier_record(folder / STORE_FILE)
    if origin is None:
        return None
    store, limit = StoredFile(str(origin["uri"])), round(float(origin["cache_size"]) * GIGABYTE)
    return [CachedShard(store.child(name), folder / name, digest, limit) for name, digest in hashes.items()]


@dataclass(frozen=True)
class CachedShard:
    """A shard on an object store, of which there may be a copy at `path`."""

    stored: StoredFile
    path: Path
    digest: str  # sha256
    limit: int = field(compare=False)  # bytes of all copies in the cache

    def __str__(self) -> str:
        return str(self.stored)

    def local(self) -> Path:
        """The copy, made if need be. Raises LigandsmithError where the shard is missing, damaged or too large."""
        if self._is_whole():
            return self.path
        with _locked(self.path.parent / f".{int(self.digest[:8], 16) % LOCKS}.lock"):
            for _ in range(COPY_TRIES):
                if self._is_whole():
                    return self.path
                self._copy()
        raise LigandsmithError(f"{self}: differs from its hash in the manifest; copy or prepare the data again")

    def _is_whole(self) -> bool:
        """Whether there is a copy with the right content; marks it as used."""
        try:
            os.utime(self.path)
            stat = self.path.stat()
            return _hash_of_copy(self.path, stat.st_ino, stat.st_size) == self.digest
        except FileNotFoundError:
            return False

    def _copy(self) -> None:
        root, part = self.path.parents[1], self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        found = self.stored.size_and_time()
        if found is None:
            raise LigandsmithError(f"{self}: the manifest names this shard but it is missing; copy the data again")
        with _locked(root / ".room.lock"):
            make_room(root, found[0], self.limit)
        try:
            self.stored.download(part)
            if file_hash(part) == self.digest:
                os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)


@lru_cache(maxsize=100_000)
def _hash_of_copy(path: Path, inode: int, size: int) -> str:
    """Read once in a process: a copy is never written into."""
    del inode, size
    return file_hash(path)


def make_room(root: Path, size: int, limit: int) -> None:
    """Remove shards that were not used for longest until `size` bytes more fit into `limit` bytes."""
    if size > limit:
        raise LigandsmithError(
            f"{root}: a shard takes {size / GIGABYTE:.3g} GB, more than the cache's {limit / GIGABYTE:.3g} GB; give a "
            "higher --cache_size"
        )
    folders = [path.parent for path in root.glob(f"*/{STORE_FILE}")]
    for folder in folders:
        clear_leftovers(folder)
    # What is being copied counts, but stays.
    copies = [path for folder in folders for kind in DATASET_KINDS for path in folder.glob(f"{kind}-*.parquet*")]
    known = [(path.stat(), path) for path in copies if path.exists()]
    taken = sum(stat.st_size for stat, _ in known)
    for stat, path in sorted(known, key=lambda pair: pair[0].st_mtime_ns):
        if taken + size > limit and path.suffix == ".parquet":
            path.unlink(missing_ok=True)
            taken -= stat.st_size


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for other processes that hold this file; without effect where files cannot be locked."""
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        with suppress(OSError):  # some network file systems
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
