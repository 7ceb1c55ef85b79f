"""The call that a task means to place: its tag, its key, and what the task writes down about it. Pure: no I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from airflow_provider_retell.errors import RetellCallFinalError

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.endpoints import Request
    from airflow_provider_retell.api.models import Call

TAG: Final = "airflow_call"
"""The top-level metadata key under which the calls of a task can be found again."""

STORE_KEY: Final = "retell_call"
"""The key of the task state store under which a task records what it sends."""

_COUNTS: Final = re.compile(r"[0-9a-f.]+\.(\d{4,})\.(\d{4,})")
PERSON_DIGITS: Final = 24
"""The number of hexadecimal digits that stand for a person in a tag."""

_NO_PERSON: Final = "0" * PERSON_DIGITS


class StateStore(Protocol):
    """The methods of Airflow's ``context["task_state_store"]`` (3.3 and later) that are used here."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return what was written under a key."""

    def set(self, key: str, value: Any) -> None:
        """Write JSON under a key."""


def run_prefix(*, namespace: str, dag_id: str, run_id: str) -> str:
    """Return the beginning of the tags of all calls of a DAG run."""
    return f"{digest(namespace, dag_id, run_id, length=16)}."


def task_prefix(*, namespace: str, dag_id: str, run_id: str, task_id: str, map_index: int | None = None) -> str:
    """Return the beginning of the tags of all calls of a task, or of one of its map indexes (-1: not mapped).

    >>> task_prefix(namespace="", dag_id="dag", run_id="run", task_id="call", map_index=7)
    '2bd8b8b9d9f9ad6e.26d25f5a.000008.'
    """
    run = run_prefix(namespace=namespace, dag_id=dag_id, run_id=run_id)
    task = f"{run}{digest(task_id, length=8)}."
    return task if map_index is None else f"{task}{map_index + 1:06x}."


def person_prefix(task: str, person: str = _NO_PERSON) -> str:
    """Return the beginning of the tags of all calls to a person.

    Args:
        task: The beginning for the map index, as ``task_prefix`` returns it.
        person: The person in ``PERSON_DIGITS`` digits; zeros for a task that places one call.
    """
    return f"{task}{person}."


def numbered(prefix: str, *, generation: int, ordinal: int) -> str:
    """Return the tag of one call: its prefix, generation and ordinal."""
    return f"{prefix}{generation:04}.{ordinal:04}"


def named_prefix(call_key: str) -> str:
    """Return the beginning of the tags of a call with a ``call_key``, which is the same in the whole account."""
    return f"{digest('call_key', call_key, length=32)}."


def digest(*parts: str, length: int) -> str:
    """Return a hash of some texts, in ``length`` hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:length]


@dataclass(frozen=True, kw_only=True)
class Intent:
    """One call that a task means to place.

    Attributes:
        prefix: The beginning of the tags of all calls of this task.
        generation: Grows when a user clears the task, stays when Airflow retries it.
        ordinal: How many calls of this generation came before.
        cleared: Whether a user has cleared the task.
        tries_before: How many tries there were before the last clear.
        named: Whether the call has its own name (``call_key``), so that all tasks that use it share one call.
    """

    prefix: str
    generation: int = 0
    ordinal: int = 0
    cleared: bool = False
    named: bool = False
    tries_before: int = 0

    @classmethod
    def of(
        cls, context: Mapping[str, Any], *, retries: int, namespace: str = "", call_key: str | None = None
    ) -> Self:
        """Return the intent of the running task. The try number is not part of it."""
        ti = context["ti"]
        task = task_prefix(
            namespace=namespace,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index,
        )
        # A clear sets max_tries to the tries so far plus the task's retries; a retry does not change it.
        generation = ti.max_tries
        cleared, tries_before = generation != retries, max(0, generation - retries)
        if call_key is not None:
            return cls(prefix=named_prefix(call_key), cleared=cleared, tries_before=tries_before, named=True)
        return cls(prefix=person_prefix(task), generation=generation, cleared=cleared, tries_before=tries_before)

    def is_before_clear(self, record: Record) -> bool:
        """Return whether a record was written before the last clear."""
        return record.try_number <= self.tries_before

    def as_recorded(self, record: Record | None) -> Self:
        """Return the intent under the names on record: the option ``namespace`` may have changed since."""
        if record is None or self.named or record.prefix.count(".") != self.prefix.count("."):
            return self  # the prefix of a call_key has fewer parts, and an old record has none
        return replace(self, prefix=record.prefix)

    @property
    def tag(self) -> str:
        """The value of the metadata tag. Its parts have fixed widths, so that calls can be listed by each prefix.

        Run (16 hexadecimal digits), task (8), map index (6), person (24), then generation and ordinal (4 each);
        with a ``call_key`` its digest (32) in place of the first four.
        """
        return numbered(self.prefix, generation=self.generation, ordinal=self.ordinal)

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"airflow.{self.tag}"


def tag_of(call: Call | CallRow) -> str:
    """Return the tag of a call, empty if it has none."""
    metadata: object = call.metadata
    return str(metadata.get(TAG, "")) if isinstance(metadata, Mapping) else ""


def counts(call: Call | CallRow, record: Record | None = None) -> tuple[int, int]:
    """Return the generation and the ordinal of a call: those in its tag, else those on record, else zeros.

    Args:
        call: The call; its metadata may be gone, for instance because the agent stores basic attributes only.
        record: The task's record, if there is one.
    """
    if found := _COUNTS.fullmatch(tag_of(call)):
        return int(found[1]), int(found[2])
    if record is not None and call.call_id == record.call_id:
        return record.generation, record.ordinal
    if record is not None and call.call_id in record.earlier:
        return record.generation, record.earlier.index(call.call_id)
    return 0, 0


def is_tag(value: object) -> bool:
    """Return whether a value of metadata is a tag of this package, such as that of a row passed on by a task."""
    return isinstance(value, str) and _COUNTS.fullmatch(value) is not None


def untagged(request: Request[Call]) -> Request[Call]:
    """Return a request without the tag of another call, which metadata copied from a row brings along."""
    metadata = (request.body or {}).get("metadata") or {}
    if not is_tag(metadata.get(TAG)):
        return request
    own = {name: value for name, value in metadata.items() if name != TAG}
    return replace(request, body={**(request.body or {}), "metadata": own})


@dataclass(frozen=True, kw_only=True)
class Record:
    """A task's record of the request it sent last.

    Attributes:
        generation: As in ``Intent``.
        ordinal: As in ``Intent``; ``number`` in the store.
        sent_at: When it was first sent, in seconds since the epoch.
        try_number: The try that sent it.
        body: The body, only as long as it may have to be sent again, because it is personal data.
        call_id: The call that it placed, None while that is not known.
        refused: Whether Retell certainly did not carry it out.
        sent_again_at: When it was last sent, if more than once.
        prefix: The beginning of the tags; a ``call_key`` has another one.
        earlier: The ids of the calls of this generation that were placed before, oldest first.
        conn_id: The connection that it was sent through.
        key_digest: The ``key_digest`` of that connection; another may be another account.
    """

    generation: int
    ordinal: int
    sent_at: float
    try_number: int
    body: dict[str, Any] | None = None
    call_id: str | None = None
    refused: bool = False
    sent_again_at: float | None = None
    prefix: str = ""
    earlier: tuple[str, ...] = ()
    conn_id: str = ""
    key_digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the record as the store keeps it."""
        stored = asdict(self) | {"earlier": list(self.earlier), "number": self.ordinal}
        del stored["ordinal"]
        return stored

    @property
    def last_sent_at(self) -> float:
        """The time of the last request. A call that it placed has stopped ringing ``LONGEST_RINGING`` later."""
        return self.sent_at if self.sent_again_at is None else self.sent_again_at

    @classmethod
    def read(cls, value: Any) -> Record | None:
        """Return the record in a store, None if there is none.

        Raises:
            RetellCallFinalError: The store holds something that this package did not write.
        """
        if value is None:
            return None
        try:
            stored = {**value, "earlier": tuple(value.get("earlier", ()))}
            record = cls(ordinal=stored.pop("number"), **stored)
            sound = (
                isinstance(record.generation, int)
                and isinstance(record.ordinal, int)
                and isinstance(record.sent_at, int | float)
                and isinstance(record.sent_again_at, int | float | None)
                and isinstance(record.body, dict | None)
                and isinstance(record.call_id, str | None)
                and (record.refused or record.call_id is not None or record.body is not None)
            )
        except (AttributeError, KeyError, TypeError):
            sound = False
        if not sound:
            raise RetellCallFinalError(
                f"Not called again: the task state store holds something under {STORE_KEY!r} that this operator "
                "did not write, so it is unknown whether a call was placed before. Look for the call in Retell's "
                "dashboard; then delete that key, or set durable=False, and clear the task."
            )
        return record


def run_began(context: Mapping[str, Any]) -> float | None:
    """Return when the DAG run began, in seconds since the epoch, None if that is not known."""
    start = getattr(context.get("dag_run"), "start_date", None)
    return start.timestamp() if start else None
