"""What a task means to place, and what it writes down about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from airflow_provider_retell.errors import RetellCallFinalError

STORE_KEY: Final = "retell_call"
"""The key of the task state store under which a task writes down what it sends."""


class StateStore(Protocol):
    """Airflow's ``context["task_state_store"]`` (3.3 and later), as far as it is used here."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return what was written under a key."""

    def set(self, key: str, value: Any) -> None:
        """Write JSON under a key."""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """One call that somebody meant to place.

    Attributes:
        task: A digest of DAG, run, task and map index.
        generation: Grows when somebody clears the task, stays when Airflow retries it.
        redial: How many calls of this generation have failed.
    """

    task: str
    generation: int
    redial: int = 0

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Intent:
        """Return the intent of the running task. The try number is no part of it."""
        ti = context["ti"]
        named = json.dumps([ti.dag_id, ti.run_id, ti.task_id, ti.map_index])
        # A clear rewrites max_tries to the tries so far plus the task's retries; a retry leaves it.
        return cls(task=hashlib.sha256(named.encode()).hexdigest()[:24], generation=ti.max_tries)

    @property
    def tag(self) -> str:
        """The value of the metadata tag: 24 letters of the task, then generation and redial."""
        return f"{self.task}.{self.generation}.{self.redial}"

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"airflow.{self.tag}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a task wrote down about the call it sent.

    Attributes:
        generation: As in ``Intent``.
        redial: As in ``Intent``.
        body: What was sent.
        sent_at: When, in seconds since the epoch.
        try_number: By which try.
        call_id: The call that came of it, None as long as that is not known.
        refused: Whether Retell certainly did not carry it out.
    """

    generation: int
    redial: int
    body: dict[str, Any]
    sent_at: float
    try_number: int
    call_id: str | None = None
    refused: bool = False

    @classmethod
    def read(cls, value: Any) -> Record | None:
        """Return what a store holds, None if it holds nothing.

        Raises:
            RetellCallFinalError: It holds something that this package did not write.
        """
        if value is None:
            return None
        try:
            record = cls(**value)
            sound = (
                isinstance(record.generation, int)
                and isinstance(record.redial, int)
                and isinstance(record.body, dict)
                and isinstance(record.sent_at, int | float)
                and isinstance(record.call_id, str | None)
            )
        except TypeError:
            sound = False
        if not sound:
            raise RetellCallFinalError(
                f"Not called again: the task state store holds something under {STORE_KEY!r} that this operator "
                "did not write, so whether a call was placed before cannot be known. Look for it in Retell's "
                "dashboard; then delete that key, or set durable=False, and clear the task."
            )
        return record
