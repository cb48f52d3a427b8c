"""Where a new data set goes: a folder, or a prefix of an object store."""

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from ligandsmith.data.dataset import DATASET_FILES, MANIFEST, scratch_folder
from ligandsmith.data.object_store import StoredFile
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import is_uri, temporary_folder


@contextmanager
def destination(out: Path | str, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes the data set `out` at the end, or goes without a trace if anything fails.

    For a URI it is a temporary folder (of TMPDIR), whose files are uploaded, the manifest last. Raises LigandsmithError
    if there is a data set already, unless `overwrite` is given.
    """
    if not is_uri(out):
        with scratch_folder(Path(out), overwrite) as scratch:
            yield scratch
        return
    store = StoredFile(str(out).rstrip("/"))
    _refuse_stored(store, overwrite)
    with temporary_folder() as folder:
        yield folder
        _refuse_stored(store, overwrite)  # it may have come meanwhile
        _upload(folder, store)


def _stored_names(store: StoredFile) -> list[str]:
    return [name for name in store.names() if any(fnmatch(name, pattern) for pattern in DATASET_FILES)]


def _refuse_stored(store: StoredFile, overwrite: bool) -> None:
    found = _stored_names(store)
    if found and not overwrite:
        raise LigandsmithError(
            f"{store}: exists already and holds {found[0]}; name a new prefix, or replace the data set with --overwrite"
        )


def _upload(folder: Path, store: StoredFile) -> None:
    """Manifest first and last: without it, a prefix is no data set."""
    for name in sorted(_stored_names(store), key=lambda name: name != MANIFEST):
        store.child(name).remove()
    for path in sorted(folder.iterdir(), key=lambda path: path.name == MANIFEST):
        store.child(path.name).upload(path)
