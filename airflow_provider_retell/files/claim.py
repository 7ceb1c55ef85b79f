"""Decide which process may write to a folder: the one that started last.

The claim is a file in ``_retell_unfinished``, beside a folder for the unfinished files of each run. Taking it
removes the unfinished files of other runs, which may have been killed. A process that is still running after it
lost the claim notices that before it replaces a file.
"""

from __future__ import annotations

import json
import posixpath
import secrets
from typing import Final

from airflow_provider_retell.files.storage import Storage, despite_cleaning

UNFINISHED: Final = "_retell_unfinished"

_CLAIM: Final = "claim"


class Claim:
    """The claim of one process.

    Args:
        storage: The storage.
        token: Identifies the run.

    Attributes:
        aside: The folder for the run's unfinished files.
    """

    def __init__(self, storage: Storage, *, token: str) -> None:
        self._storage = storage
        self._token = token
        self._folder = posixpath.join(storage.root, UNFINISHED)
        self._file = posixpath.join(self._folder, _CLAIM)
        self._taken_as = ""
        self.aside = posixpath.join(self._folder, token)

    def take(self) -> None:
        """Take the folder over, and remove the unfinished files of other runs."""
        self._taken_as = secrets.token_hex(8)
        content = json.dumps({"token": self._token, "claimed_as": self._taken_as}).encode()

        def write() -> None:
            self._storage.make_folder(self.aside)
            self._storage.write(self._file, content)

        despite_cleaning(write)
        for name in self._storage.names(self._folder) - {_CLAIM, self._token}:
            self._storage.remove_tree(posixpath.join(self._folder, name))

    def holder(self) -> str | None:
        """Return a word that identifies the process that has the folder, None if no process has it."""
        try:
            holder = json.loads(self._storage.read(self._file)).get("claimed_as")
        except (FileNotFoundError, ValueError, AttributeError):
            return None
        return None if holder is None else str(holder)

    def is_held(self) -> bool:
        """Return whether this process still has the folder."""
        return self.holder() == self._taken_as

    def drop_unfinished(self) -> None:
        """Remove the run's unfinished files, and no others."""
        self._storage.remove_tree(self.aside)
        self._storage.remove_folder_if_empty(self._folder)

    def release(self) -> None:
        """Remove the run's unfinished files and the claim."""
        self._storage.remove_tree(self.aside)
        if self.is_held():
            self._storage.remove(self._file)
        self._storage.remove_folder_if_empty(self._folder)
