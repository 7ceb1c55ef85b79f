"""Where an export is written, so that files appear only when all of them are whole.

What is not finished is in a folder ``_retell_export`` of the destination, under the token of the run that writes
it; finished files are moved from there to their names. A claim in that folder says which run writes: the latest
one.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

from airflow_provider_retell.errors import RetellError, RetellExportError, RetellExportOvertakenError, mask_numbers

STAGING: Final = "_retell_export"
RECORDINGS: Final = "recordings"

_CLAIM: Final = "claim.json"
_OURS: Final = re.compile(r"(calls|undated)-\d{5}\.(parquet|jsonl(\.gz)?)")
_BLOCK: Final = 8 * 2**20
"""Bytes in one part of an upload: what a file being written holds in memory."""
_WITHOUT_FOLDERS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az"})


class Destination:
    """A folder of an object store, or of a disk, that one run at a time fills.

    Args:
        path: Its URL, as Airflow's ``ObjectStoragePath`` takes it, or one of these.
        token: Names this run.
    """

    def __init__(self, path: Any, *, token: str) -> None:
        # Here, not above: it brings fsspec along, which no DAG file needs to be parsed.
        from airflow.providers.common.compat.sdk import ObjectStoragePath  # noqa: PLC0415

        self.token = token
        self._url = str(path).rstrip("/")
        with self._told("opened"):
            folder = ObjectStoragePath(path)
            self._fs: Any = folder.fs
            self._root = str(folder.path).rstrip("/")
        self._staging = posixpath.join(self._root, STAGING, token)
        self._claim = posixpath.join(self._root, STAGING, _CLAIM)

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """Say of any storage's error, of whatever library, which destination it is about."""
        try:
            yield
        except RetellError:
            raise
        except Exception as error:
            raise RetellExportError(
                f"{self._url} cannot be {done} ({type(error).__name__}: {mask_numbers(str(error))}). "
                "No file of an earlier run was touched."
            ) from error

    # -- who writes --------------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Take the destination over, and remove what runs before this one left unfinished.

        Raises:
            RetellExportError: It cannot be written.
        """
        with self._told("written"):
            self._make_folder(self._staging)
            self._fs.pipe_file(self._claim, json.dumps({"token": self.token}).encode())
            for name in self._names(posixpath.dirname(self._staging)):
                if name not in {_CLAIM, self.token}:
                    self._remove(posixpath.join(self._root, STAGING, name))

    def check(self) -> None:
        """Raise ``RetellExportOvertakenError`` if a later run has taken the destination over."""
        with self._told("read"):
            try:
                claimed = json.loads(self._fs.cat_file(self._claim)).get("token")
            except (FileNotFoundError, ValueError, AttributeError):
                claimed = None
        if claimed != self.token:
            raise RetellExportOvertakenError(
                f"Another run writes to {self._url}, and began later: this one leaves it to that one."
            )

    # -- what is not finished ----------------------------------------------------------------------------------

    def keep(self, name: str, content: bytes) -> None:
        """Put some bytes aside."""
        self.check()
        with self._told("written"):
            self._fs.pipe_file(posixpath.join(self._staging, name), content)

    def kept(self, name: str) -> bytes:
        """Return bytes that were put aside."""
        try:
            with self._told("read"):
                return bytes(self._fs.cat_file(posixpath.join(self._staging, name)))
        except RetellExportError:
            self.check()
            raise

    def kept_names(self) -> set[str]:
        """Return the names of all that was put aside."""
        with self._told("read"):
            return set(self._names(self._staging))

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file that will appear under this name once ``publish`` is called."""
        path = posixpath.join(self._staging, "whole", name)
        with self._told("written"):
            self._make_folder(posixpath.dirname(path))
            try:
                with self._fs.open(path, "wb", block_size=_BLOCK) as file:
                    yield file
            except BaseException:
                # An upload is ended by an error as it is by its end: what there is of it would stand for the
                # whole.
                with suppress(Exception):
                    self._remove(path)
                raise

    # -- what is ------------------------------------------------------------------------------------------------

    def publish(self) -> list[str]:
        """Make the files appear in place of an earlier run's, and return their URLs.

        One after the other, each at once: in the moments between, files of this run and of an earlier one may
        stand side by side.
        """
        whole = posixpath.join(self._staging, "whole")
        self.check()
        with self._told("written"):
            written = self._move_all(whole, self._root)
            recordings = posixpath.join(self._root, RECORDINGS)
            recorded = set(self._move_all(posixpath.join(whole, RECORDINGS), recordings))
            for name in self._names(self._root):
                if _OURS.fullmatch(name) and name not in written:
                    self._remove(posixpath.join(self._root, name))
            for name in self._names(recordings):
                if name not in recorded:
                    self._remove(posixpath.join(recordings, name))
        self.abandon()
        return [f"{self._url}/{name}" for name in sorted(written)]

    def _move_all(self, source: str, target: str) -> list[str]:
        names = [name for name in self._names(source) if name != RECORDINGS]
        if names:
            self._make_folder(target)
        for name in names:
            self._fs.mv(posixpath.join(source, name), posixpath.join(target, name))
        return names

    def abandon(self) -> None:
        """Remove what is not finished, and the claim if it is this run's."""
        with suppress(Exception):
            self._remove(self._staging)
        with suppress(Exception):
            self.check()
            self._remove(posixpath.dirname(self._staging))

    # -- the storage --------------------------------------------------------------------------------------------

    def _make_folder(self, path: str) -> None:
        # A store without folders would make a bucket of a name that somebody mistyped.
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        if not protocols & _WITHOUT_FOLDERS:
            self._fs.makedirs(path, exist_ok=True)

    def _names(self, folder: str) -> list[str]:
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        names = (posixpath.basename(str(path).rstrip("/")) for path in found)
        # Some stores list the folder itself.
        return sorted({name for name in names if name} - {posixpath.basename(folder)})

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm(path, recursive=True)
