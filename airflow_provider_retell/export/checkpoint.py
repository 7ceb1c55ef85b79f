"""Save an export's progress after each page, so that the next try can continue (Airflow 3.3 and later)."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from airflow_provider_retell.calls.intent import StateStore
from airflow_provider_retell.export.progress import Progress

STORE_KEY: Final = "retell_export"
"""The key of the task state store that holds an export's progress."""


class Checkpoint:
    """The progress of this task's export over all its tries.

    Args:
        context: Airflow's context of the running task.
        meant: The export's parameters, as JSON. A try with other parameters starts from the beginning.
        now: Seconds since the epoch.

    Attributes:
        token: Identifies the export; the same in all tries that continue it.
    """

    def __init__(self, context: Mapping[str, Any], meant: Any, *, now: float) -> None:
        self._store: StateStore | None = context.get("task_state_store")
        ti = context["ti"]
        # A clear changes max_tries and a retry does not, so after a clear everything is read again.
        generation = ti.max_tries
        self._may_be_retried = ti.try_number <= generation
        text = json.dumps([meant, generation], sort_keys=True, default=str)
        self._meant = hashlib.sha256(text.encode()).hexdigest()[:24]
        self._written = self._read()
        moment = datetime.fromtimestamp(now, UTC)
        self.token = str(self._written.get("token") or f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}")

    def _read(self) -> dict[str, Any]:
        written = self._store.get(STORE_KEY) if self._store is not None else None
        return written if isinstance(written, dict) and written.get("meant") == self._meant else {}

    @property
    def worth_keeping(self) -> bool:
        """True if a next try could continue from this one."""
        return self._store is not None and self._may_be_retried

    def progress(self) -> Progress | None:
        """Return the progress of an earlier try, None if there is none to continue."""
        return Progress.from_json(self._written["progress"]) if "progress" in self._written else None

    def save(self, progress: Progress) -> None:
        """Save the progress of this try."""
        if self._store is not None:
            written = {"meant": self._meant, "token": self.token, "progress": progress.to_json()}
            self._store.set(STORE_KEY, written)
