"""The storage below a destination; every character of a path is taken literally."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

_BLOCK: Final = 8 * 2**20
"""Bytes in one part of an upload, which are held in memory while a file is written."""

_CHANGES: Final = (
    "mtime",
    "LastModified",
    "last_modified",
    "modificationTime",
    "updated",
    "ETag",
    "etag",
    "generation",
)
"""The keys under which local disks, S3, Google, Azure and HDFS hold what changes with a file."""

_TIMES: Final = 5

_WITHOUT_FOLDERS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az"})


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a file, as far as its storage knows it.

    Attributes:
        size: Its size.
        changes: Its time, its digest and the like; empty if the storage has none of them, as FTP has not.
    """

    size: str
    changes: str

    def is_certainly(self, other: Version | None) -> bool:
        """Return whether a file of this version is certainly the same: equal sizes are not enough."""
        return bool(self.changes) and self == other


class Storage:
    """The filesystem below a path.

    It uses only those methods of fsspec that take one path and expand no wildcards. ``rm``, ``mv`` and ``copy``
    expand them on most storages.

    Args:
        path: A URL, as Airflow's ``ObjectStoragePath`` takes it, or one of these.
    """

    def __init__(self, path: Any) -> None:
        # Imported here: it imports fsspec, which is not needed to parse a DAG file.
        from airflow.providers.common.compat.sdk import ObjectStoragePath  # noqa: PLC0415

        _attach_local_disk()
        # The path of something in the folder, because Airflow drops a "?" or "#" from the end of a URL.
        inside = path / "x" if isinstance(path, ObjectStoragePath) else ObjectStoragePath(f"{path}/x")
        self._fs: Any = inside.fs
        protocol = self._fs.protocol
        protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self._has_folders = not protocols & _WITHOUT_FOLDERS
        root = posixpath.dirname(str(inside.path))
        if "file" in protocols:
            root = str(Path.cwd() / Path(root).expanduser())
        self.root = root.rstrip("/") or "/"

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        return bytes(self._fs.cat_file(path))

    @contextmanager
    def reading(self, path: str) -> Iterator[IO[bytes]]:
        """Open a file for reading, a block at a time."""
        self._fs.invalidate_cache()
        with self._fs.open(path, "rb") as file:
            yield file

    def write(self, path: str, content: bytes) -> None:
        """Write a small file."""
        self._fs.pipe_file(path, content)

    @contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        """Open a file for writing; after an error there is no such file."""
        try:
            with self._fs.open(path, "wb", block_size=_BLOCK) as file:
                yield file
        except BaseException:
            # Closing the file completes the upload even after an error: remove it, or it passes for complete.
            with suppress(Exception):
                self.remove(path)
            raise

    def move(self, source: str, target: str) -> None:
        """Move a file. A reader of the target sees either the file that was there before or all of the new one."""
        if self._renames():
            self._fs.mv(source, target)
        else:
            self._fs.cp_file(source, target)
            self._fs.rm_file(source)

    def copy(self, source: str, target: str) -> None:
        """Copy a file."""
        self._fs.cp_file(source, target)

    def _renames(self) -> bool:
        from fsspec import AbstractFileSystem  # type: ignore[import-untyped]  # noqa: PLC0415 (as above)

        return not self._fs.async_impl and type(self._fs).mv is not AbstractFileSystem.mv

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(path)

    def remove_tree(self, folder: str) -> None:
        """Remove a folder, the files directly in it before those further down."""
        for name in sorted(self.tree(folder), key=lambda name: (name.count("/"), name)):
            self.remove(posixpath.join(folder, name))
        if self._has_folders:
            self._fs.invalidate_cache()
            for path in sorted(self._fs.find(folder, withdirs=True), key=len, reverse=True):
                self.remove_folder_if_empty(path)

    def remove_folder_if_empty(self, folder: str) -> None:
        """Remove a folder without files, on a storage that has folders."""
        if self._has_folders:
            with suppress(OSError):
                self._fs.rmdir(folder)

    def make_folder(self, folder: str) -> None:
        """Make a folder, on a storage that has folders."""
        # Elsewhere, fsspec would make a bucket of a name that has a typo.
        if self._has_folders:
            self._fs.makedirs(folder, exist_ok=True)

    def names(self, folder: str) -> frozenset[str]:
        """Return the names of everything in a folder."""
        self._fs.invalidate_cache()
        try:
            found = [str(path).rstrip("/") for path in self._fs.ls(folder, detail=False)]
        except FileNotFoundError:
            return frozenset()
        # Some storages list the folder itself too.
        inside = [path for path in found if posixpath.dirname(path).strip("/") == folder.strip("/")]
        return frozenset(posixpath.basename(path) for path in inside)

    def tree(self, folder: str) -> frozenset[str]:
        """Return the names of all files below a folder, relative to it."""
        return frozenset(self.versions(folder))

    def versions(self, folder: str) -> dict[str, Version]:
        """Return the names of all files below a folder, relative to it, each with its version."""
        self._fs.invalidate_cache()
        start = f"{folder.strip('/')}/"
        found = {str(path).lstrip("/"): info for path, info in self._fs.find(folder, detail=True).items()}
        return {
            path.removeprefix(start): _version(found[path]) for path in sorted(found) if path.startswith(start)
        }

    def version(self, path: str) -> Version:
        """Return the version of a file; raise ``FileNotFoundError`` if there is no such file."""
        self._fs.invalidate_cache()
        return _version(self._fs.info(path))


def _attach_local_disk() -> None:
    """Attach the local disk, or Airflow imports the storages of all providers to find it: half a second of CPU.

    A file system that a user has attached in its place stays.

    See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/objectstorage.html
    """
    from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]  # noqa: PLC0415 (as above)

    try:
        from airflow.sdk.io import attach  # noqa: PLC0415
    except ImportError:  # before 3.0
        from airflow.io.store import attach  # type: ignore[import-not-found, no-redef]  # noqa: PLC0415
    attach("file", fs=LocalFileSystem())


def despite_cleaning(steps: Callable[[], None]) -> None:
    """Run steps that make a folder and files in it; repeat them if another process removes one of these meanwhile.

    When a process ends, it removes empty folders, and files that seem to be left from killed processes.

    Raises:
        FileNotFoundError: One was removed each time.
    """
    for _ in range(_TIMES - 1):
        with suppress(FileNotFoundError):
            return steps()
    return steps()


def _version(info: Mapping[str, Any]) -> Version:
    known = (info.get(name) for name in _CHANGES)
    return Version(size=str(info.get("size")), changes=" ".join(str(each) for each in known if each is not None))
