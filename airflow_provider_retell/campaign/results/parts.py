"""The parts of a campaign's results: complete files with the rows of each process, until the results are written.

Each process has one more file, with a row for each call that is in no part yet. All are in ``_retell_parts``, in a
folder named after a digest of the campaign, so that no campaign mistakes another's calls for its own.
Each process uses its own file names, so two at once do not overwrite each other.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from airflow_provider_retell._masking import mask_numbers
from airflow_provider_retell.campaign.results.tables import attempt_of
from airflow_provider_retell.errors import RetellError, RetellExportError, RetellInputError
from airflow_provider_retell.files.reading import read_rows
from airflow_provider_retell.files.storage import Storage, Version, despite_cleaning

PARTS: Final = "_retell_parts"
"""The folder. Spark, Hive and Athena ignore names that begin with an underscore."""

_DIGITS: Final = re.compile(r"(\d+)")
_UNFINISHED: Final = "unfinished-"
_KEPT: Final = "attempts-kept-"
_PLACED: Final = "attempts-placed-"


class Parts:
    """The parts in the folder of a campaign's results.

    Args:
        path: The folder.
        holds: A sentence that identifies the campaign.
        token: A word that identifies the process, with numbers that grow from one process to the next.

    Raises:
        RetellExportError: The storage fails. Every method may raise it.
        RetellInputError: A file is damaged.
    """

    def __init__(self, path: Any, *, holds: str, token: str) -> None:
        self._url = str(path).rstrip("/")
        self._token = token
        self._storage = Storage(path)
        self._root = self._storage.root
        self._all = posixpath.join(self._root, PARTS)
        self._folder = posixpath.join(self._all, hashlib.sha256(holds.encode()).hexdigest()[:12])
        self._unfinished = posixpath.join(self._folder, f"{_UNFINISHED}{token}")
        self._written = self._rescued = 0

    def names(self) -> list[str]:
        """Return the names of all parts, relative to the folder of the results, the oldest process first."""
        return self._names(lambda name: name.startswith("attempts-") and not name.startswith(_PLACED))

    def placed(self) -> list[str]:
        """Return the names of the files of calls that are in no part yet, relative to the same folder."""
        return self._names(lambda name: name.startswith(_PLACED))

    def _names(self, wanted: Callable[[str], bool]) -> list[str]:
        with self._errors_about("read"):
            found = filter(wanted, self._storage.names(self._folder))
        return [
            posixpath.relpath(posixpath.join(self._folder, name), self._root) for name in sorted(found, key=_order)
        ]

    def versions(self, names: Collection[str]) -> dict[str, Version]:
        """Return the versions of parts and files of the results, without those that are gone."""
        with self._errors_about("read"):
            folder = posixpath.relpath(self._folder, self._root)
            parts = self._storage.versions(self._folder)
            found = {posixpath.join(folder, name): version for name, version in parts.items()}
            for name in names:
                if not name.startswith(PARTS):
                    with suppress(FileNotFoundError):
                        found[name] = self._storage.version(posixpath.join(self._root, name))
        return {name: found[name] for name in names if name in found}

    def beside(self) -> frozenset[str]:
        """Return the names of the files in the folder of the results."""
        with self._errors_about("read"):
            return self._storage.names(self._root)

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a part, or of a file of the results."""
        parquet = name.endswith(".parquet")
        try:
            with self._errors_about("read"), self._storage.reading(posixpath.join(self._root, name)) as file:
                for _, values in read_rows(file, name):
                    yield attempt_of(values, parquet=parquet)
        except ValueError as error:
            if isinstance(error, RetellError):
                raise
            raise RetellInputError(
                f"{self._url}/{name} is damaged: {error}. It says who was called, so nobody is called until it is "
                "repaired. Restore it from a backup; or remove it, if Retell still keeps all calls of this run."
            ) from None

    def write(self, content: bytes) -> None:
        """Write one part, completely or not at all."""
        self._appear(
            lambda: self._storage.write(self._unfinished, content),
            f"attempts-{self._token}-{self._written:05}.jsonl",
        )
        self._written += 1

    def write_placed(self, content: bytes) -> None:
        """Write the calls of this process that are in no part yet, in place of those written before."""
        self._appear(lambda: self._storage.write(self._unfinished, content), f"{_PLACED}{self._token}.jsonl")

    def keep(self, names: Iterable[str]) -> None:
        """Copy files of the results to the parts, because they are about to be replaced.

        The copies have new names each time: an interrupted replacement leaves old and new files, which may hold
        the same rows in different places.
        """
        for name in names:
            self._appear(
                partial(self._storage.copy, posixpath.join(self._root, name), self._unfinished),
                f"{_KEPT}{self._token}.{self._rescued}-{name.removeprefix('attempts-')}",
            )
        self._rescued += 1

    def _appear(self, write: Callable[[], None], name: str) -> None:
        def steps() -> None:
            self._storage.make_folder(self._folder)
            write()
            self._storage.move(self._unfinished, posixpath.join(self._folder, name))

        with self._errors_about("written"):
            despite_cleaning(steps)

    def remove(self, names: Collection[str]) -> None:
        """Remove the parts that the results now contain, and the unfinished files of killed processes."""
        with self._errors_about("written"):
            left = [name for name in self._storage.names(self._folder) if name.startswith(_UNFINISHED)]
            for path in [*(posixpath.join(self._root, n) for n in names), *(f"{self._folder}/{n}" for n in left)]:
                self._storage.remove(path)
        with suppress(Exception):
            self._storage.remove_folder_if_empty(self._folder)
            self._storage.remove_folder_if_empty(self._all)

    @contextmanager
    def _errors_about(self, action: str) -> Iterator[None]:
        try:
            yield
        except (RetellError, ValueError):
            raise
        except Exception as error:
            raise RetellExportError(
                f"{self._url} cannot be {action} ({type(error).__name__}: {mask_numbers(str(error))}). The "
                "files written so far are safe; a retry or a clear continues with them."
            ) from error


def _order(name: str) -> tuple[bool, list[str | int]]:
    pieces = _DIGITS.split(name)
    return not name.startswith(_KEPT), [int(each) if each.isdigit() else each for each in pieces]
