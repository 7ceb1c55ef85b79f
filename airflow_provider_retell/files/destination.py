"""A folder of an object store, or of a disk, that one run at a time fills with complete files.

Unfinished files are in the folder ``_retell_unfinished``, below the token of the run that writes them. A claim
there names the writing process (``claim``). The file ``_retell_manifest`` names the published files; the next run
replaces or removes these and no others.

Publishing can be interrupted at any step, and repeated:

1. The manifest gets the names of the new files in addition to the old ones, and is marked incomplete.
2. Each new file moves to its name in one step: a rename on a disk, a copy on an object store.
3. Old files that are no longer written are removed.
4. The manifest gets the names of the new files alone, and is marked complete.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, Any, Final

from airflow_provider_retell._masking import mask_numbers, shown
from airflow_provider_retell.errors import (
    RetellError,
    RetellExportError,
    RetellExportOvertakenError,
    RetellInputError,
)
from airflow_provider_retell.files.claim import Claim
from airflow_provider_retell.files.manifest import MANIFEST, Manifest
from airflow_provider_retell.files.storage import Storage, despite_cleaning

log = logging.getLogger(__name__)

_COMPLETE: Final = "complete"
_MAX_NAMES_IN_MESSAGE: Final = 3


class Destination:
    """A folder that one run at a time fills with complete files, which it owns by name.

    ::

        destination = Destination("s3://aws_default@bucket/calls/1", token="run1", holds="the calls of ...")
        destination.claim()
        with destination.writing("calls-00000.jsonl") as file:
            file.write(b"...")
        destination.publish(["calls-00000.jsonl"])
        destination.clean_up()

    Args:
        path: Its URL, as Airflow's ``ObjectStoragePath`` takes it, or one of these:
            https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/objectstorage.html
        token: Identifies the run. A retry with the same token can use the files that an earlier try put aside.
        holds: The files in words. A folder whose manifest says something else is refused.
        details: More about them. If the manifest says something else, a warning is logged.

    Raises:
        RetellInputError: The path has characters that Airflow drops.
        RetellExportError: The storage fails, or is not known. Every method may raise it.
    """

    def __init__(self, path: Any, *, token: str, holds: str, details: str = "") -> None:
        self.token = token
        self.holds = holds
        self.details = details
        self._url = str(path).rstrip("/")
        if not str(path).isprintable() or str(path) != str(path).strip():
            raise RetellInputError(
                f"path must not have line breaks or tabs, nor spaces at its ends, got {shown(str(path))}."
            )
        self._publishing_began = False
        with self._errors_about("opened"):
            self._storage = Storage(path)
        self._root = self._storage.root
        self._claim = Claim(self._storage, token=token)
        self._aside = self._claim.aside

    @contextmanager
    def _errors_about(self, action: str) -> Iterator[None]:
        """Turn any storage library's error into one that names the destination."""
        try:
            yield
        except RetellError:
            raise
        except Exception as error:
            state = (
                "Some files of an earlier run may be replaced already; the next run replaces the others."
                if self._publishing_began
                else "No file of an earlier run was touched."
            )
            raise RetellExportError(
                f"{self._url} cannot be {action} ({type(error).__name__}: {mask_numbers(str(error))}). {state}"
            ) from error

    # -- who writes --------------------------------------------------------------------------------------------

    def claim(self, *, keeping: Collection[str] | None = None, names: Collection[str] = ()) -> bool:
        """Take the destination over, and remove what other runs left unfinished.

        Args:
            keeping: The names of the files that an earlier try with this token put aside, None if there was none.
            names: Files that will be published in any case.

        Returns:
            Whether all of ``keeping`` is there. If not, everything put aside is removed.

        Raises:
            RetellInputError: The folder holds other files: by its manifest, or under one of ``names``.
        """
        with self._errors_about("written"):
            manifest = self._manifest()
            self._refuse_files_of_others(names, manifest)
            if manifest.names and manifest.details != self.details:
                log.warning(
                    "%s holds %s (%s): this task replaces them (%s). Tasks that select other calls need paths of "
                    "their own.",
                    self._url,
                    manifest.holds,
                    manifest.details or "all",
                    self.details or "all",
                )
            self._publishing_began = not manifest.complete
            self._claim.take()
            if keeping is not None and self._storage.names(self._aside).issuperset(keeping):
                return True
            self._storage.remove_tree(self._aside)
            self._storage.make_folder(self._aside)
            return False

    def mark(self, *, began_at: float | None, names: Collection[str] = ()) -> float | None:
        """Write to the manifest what the folder is going to hold, so that others are refused from now on.

        This claims nothing, so it disturbs no process that is writing here. It raises the errors of ``claim``.

        Args:
            began_at: When this process began, in seconds since the epoch; None if that does not matter.
            names: As for ``claim``.

        Returns:
            When the first process that fills the folder began, None if that is not known.
        """
        with self._errors_about("written"):
            stored = self._stored_manifest()
            manifest = stored or Manifest(holds=self.holds)
            self._refuse_files_of_others(names, manifest)
            times = [at for at in (began_at, manifest.began_at) if at is not None]
            marked = replace(manifest, began_at=min(times, default=None))
            despite_cleaning(lambda: self._write_manifest(marked, appears=marked != stored))
            self._claim.drop_unfinished()
        return marked.began_at

    def is_claimed(self) -> bool:
        """Return whether a process has the destination."""
        with self._errors_about("read"):
            return self._claim.holder() is not None

    def check(self) -> None:
        """Raise ``RetellExportOvertakenError`` if another run, or a later try, has taken the destination over."""
        with self._errors_about("read"):
            if not self._claim.is_held():
                raise RetellExportOvertakenError(
                    f"Another run that started later writes to {self._url}, so this one stops."
                )

    # -- unfinished files --------------------------------------------------------------------------------------

    def keep(self, name: str, content: bytes) -> None:
        """Put some bytes aside."""
        self.check()
        with self._errors_about("written"):
            self._storage.write(posixpath.join(self._aside, name), content)

    def kept(self, name: str) -> bytes:
        """Return bytes that were put aside."""
        try:
            with self._errors_about("read"):
                return self._storage.read(posixpath.join(self._aside, name))
        except RetellExportError:
            self.check()
            raise

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for writing that ``publish`` can then make appear under this name.

        Args:
            name: Relative to the destination, such as ``calls-00000.jsonl`` or ``recordings/call_1.wav``.
        """
        path = posixpath.join(self._aside, _COMPLETE, name)
        with self._errors_about("written"):
            self._storage.make_folder(posixpath.dirname(path))
            with self._storage.writing(path) as file:
                yield file

    # -- published files ---------------------------------------------------------------------------------------

    def publish(self, names: Collection[str]) -> None:
        """Make these files appear, and remove all others that earlier runs published.

        Files appear one after the other, so a reader in between may see files of both runs. After an interruption
        this can be called again; files that have already appeared need not be written again.

        Raises:
            RetellInputError: One of the names is taken by a file that this package has not written.
            RetellExportOvertakenError: A later run has taken the destination over.
        """
        self.check()
        try:
            with self._errors_about("written"):
                self._publish(frozenset(names))
        except RetellExportError:
            self.check()
            raise

    def _publish(self, names: frozenset[str]) -> None:
        complete = posixpath.join(self._aside, _COMPLETE)
        manifest = self._manifest()
        written = names & self._storage.tree(complete)
        present = self._refuse_files_of_others(names, manifest)
        if lost := names - written - present:
            raise RetellExportError(f"{self._url}: {_some(lost)} of this run cannot be found any more.")
        self._publishing_began = True
        self._write_manifest(replace(manifest, names=manifest.names | names, complete=False))
        for folder in {posixpath.dirname(name) for name in written}:
            self._storage.make_folder(posixpath.join(self._root, folder))
        self.check()
        for name in sorted(written):
            self._storage.move(posixpath.join(complete, name), posixpath.join(self._root, name))
        self.check()
        for name in sorted(manifest.names - names):
            self._storage.remove(posixpath.join(self._root, name))
        self.check()
        self._write_manifest(replace(manifest, names=names, complete=True))
        for folder in {posixpath.dirname(name) for name in manifest.names - names} - {""}:
            self._storage.remove_folder_if_empty(posixpath.join(self._root, folder))
        self._publishing_began = False

    def url(self, name: str) -> str:
        """Return the URL of a published file."""
        return f"{self._url}/{name}"

    def published(self) -> frozenset[str]:
        """Return the names of the files that this destination owns."""
        with self._errors_about("read"):
            return self._manifest().names

    def clean_up(self) -> None:
        """Remove unfinished files and the claim, unless another run has the destination; never raise."""
        with suppress(Exception):
            self.check()
            self._claim.release()

    # -- the manifest ------------------------------------------------------------------------------------------

    def _manifest(self) -> Manifest:
        return self._stored_manifest() or Manifest(holds=self.holds)

    def _stored_manifest(self) -> Manifest | None:
        try:
            manifest = Manifest.read(self._storage.read(posixpath.join(self._root, MANIFEST)))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise RetellInputError(f"{self.url(MANIFEST)} cannot be read: {error}. No file was touched.") from None
        if manifest.holds != self.holds:
            raise RetellInputError(
                f"{self._url} holds {manifest.holds}, and this task writes {self.holds}. Give the task a path of "
                "its own, or remove that folder. No file was touched."
            )
        return manifest

    def _write_manifest(self, manifest: Manifest, *, appears: bool = True) -> None:
        # Written elsewhere first: a killed process must not leave half a manifest.
        aside = posixpath.join(self._aside, MANIFEST)
        self._storage.make_folder(self._aside)
        self._storage.write(aside, replace(manifest, details=self.details).to_bytes())
        if appears:
            self._storage.move(aside, posixpath.join(self._root, MANIFEST))

    def _refuse_files_of_others(self, names: Collection[str], manifest: Manifest) -> frozenset[str]:
        """Return the names that exist already; raise if one of them is not in the manifest."""
        folders = {posixpath.dirname(name) for name in names}
        listed = {folder: self._storage.names(posixpath.join(self._root, folder)) for folder in folders}
        present = frozenset(n for n in names if posixpath.basename(n) in listed[posixpath.dirname(n)])
        if foreign := present - manifest.names:
            raise RetellInputError(
                f"{self._url} has {_some(foreign)}, which no run of this package has written, according to "
                f"{MANIFEST}. Move it, or give the task a path of its own. No file was touched."
            )
        return present


def _some(names: Collection[str]) -> str:
    shown = sorted(names)[:_MAX_NAMES_IN_MESSAGE]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
