"""Files on object stores (`s3://bucket/prefix`, `gs://`, `abfs://`) and in folders named by URI (`file:///folder`).

Credentials and endpoints come from the environment, as the store's own tools read them (AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, ...); an endpoint may also stand in the URI: `s3://bucket/prefix?endpoint_override=http://host:port`.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow as pa
from pyarrow import fs

from ligandsmith.errors import LigandsmithError, one_line
from ligandsmith.files import atomic_write, require_readable_size

PIECE = 1 << 22  # bytes that are copied at a time
SECRETS = re.compile(r"(?<=^s3)://[^/?]*@")


class NoSuchFile(LigandsmithError):
    """There is no such file on the store, which answered."""


@dataclass(frozen=True)
class StoredFile:
    """A file or folder at a URI. All methods raise LigandsmithError with the URI."""

    uri: str

    def __post_init__(self) -> None:
        if SECRETS.search(self.uri):
            raise LigandsmithError(
                f"{SECRETS.sub('://...@', self.uri)}: keys in a URI end up in logs; give them by the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            )

    def __str__(self) -> str:
        return self.uri

    def child(self, name: str) -> "StoredFile":
        """A file below this folder."""
        place, mark, query = self.uri.partition("?")
        return StoredFile(f"{place.rstrip('/')}/{name}{mark}{query}")

    def parent(self) -> "StoredFile":
        """The folder of this file."""
        place, mark, query = self.uri.partition("?")
        return StoredFile(f"{place.rstrip('/').rpartition('/')[0]}{mark}{query}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.uri.partition("?")[0].rstrip("/").rpartition("/")[2]

    def size_and_time(self) -> tuple[int, int] | None:
        """Bytes and time of the last change, ns; None if there is no such file."""
        with self._opened() as (system, path):
            info = system.get_file_info(path)
            return (info.size, info.mtime_ns or 0) if info.type == fs.FileType.File else None

    def names(self) -> list[str]:
        """The names of the files in this folder, sorted; none if there is no such folder."""
        with self._opened() as (system, path):
            found = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
            return sorted(info.base_name for info in found if info.type == fs.FileType.File)

    def read(self) -> bytes:
        """The content of a small file."""
        with self._opened() as (system, path), system.open_input_file(path) as stream:
            require_readable_size(stream.size())
            return bytes(stream.read())

    def write(self, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        with self._opened() as (system, path):
            if system.type_name == "local":  # an object store has no folders, and shows no file before it is whole
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(Path(path)) as part:
                    part.write_bytes(content)
                return
            with system.open_output_stream(path) as stream:
                stream.write(content)

    def download(self, to: Path) -> None:
        """Copy to a file on this machine."""
        with self._opened() as (system, path), system.open_input_stream(path) as stream, to.open("wb") as out:
            while piece := stream.read(PIECE):
                out.write(piece)

    def upload(self, source: Path) -> None:
        """Copy a file of this machine here."""
        self.write(source.read_bytes())

    def remove(self) -> None:
        """Remove a file."""
        with self._opened() as (system, path):
            system.delete_file(path)

    def remove_empty(self) -> None:
        """Remove a folder without files; on an object store there is none."""
        with self._opened() as (system, path):
            if system.type_name == "local" and system.get_file_info(path).type == fs.FileType.Directory:
                system.delete_dir(path)

    @contextmanager
    def _opened(self) -> Iterator[tuple[fs.FileSystem, str]]:
        """The file system of the URI and the path in it."""
        parts = urlsplit(self.uri)
        try:
            system, root = _file_system(urlunsplit(parts._replace(path="/")), os.getpid())
            yield system, f"{root.rstrip('/')}{unquote(parts.path) if parts.scheme == 'file' else parts.path}"
        except FileNotFoundError:
            raise NoSuchFile(f"{self.uri}: no such file; check the address") from None
        except ImportError as error:  # of a store that this build of pyarrow lacks
            raise LigandsmithError(f"{self.uri}: {one_line(error)}") from None
        except (OSError, pa.ArrowException, ValueError) as error:
            raise LigandsmithError(
                f"{self.uri}: {one_line(error)}; check the address, the credentials and the network"
            ) from None


@lru_cache(maxsize=16)
def _file_system(uri: str, process: int) -> tuple[fs.FileSystem, str]:
    """The file system of a URI and the path in it. A forked process makes its own: connections are not shared."""
    del process
    found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(uri)
    return found
