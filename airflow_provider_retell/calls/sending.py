"""Send the request that places a call, and record the call right after.

A request that rings a phone is also recorded before it is sent. For a registration, which rings none, that is not
worth a request to Airflow: if its response is lost, a later try finds the call by its tag, or registers another.
"""

from __future__ import annotations

import logging
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.call_rows import CallRow, row_projection
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.key_rotation import key_digest
from airflow_provider_retell.api.sweeps import Projection
from airflow_provider_retell.calls.intent import STORE_KEY, TAG, Intent, Record, StateStore, untagged
from airflow_provider_retell.calls.recognition import differs, request_of, was_there_before
from airflow_provider_retell.calls.steps import KEY_LIFETIME, PlaceNew
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellConnectionError,
    RetellError,
    RetellInputError,
)

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.calls.gate import Gate

log = logging.getLogger(__name__)

_SAME_MOMENT: Final = 1.0  # seconds
_OLDEST_CHECK: Final = 60.0
"""Seconds after which a check is too old to send a request on: opening a connection takes less."""

_SAME_NAMES: Final = (
    "Either this task has placed that call before, or another Airflow with a DAG, a run and a task of the same "
    "names uses this Retell account (set the option namespace in section [retell] of one of them)."
)
_SAME_CALL_KEY: Final = "Its call_key is the same: another call needs another call_key."


@dataclass
class RecordedSender:
    """Send the request of one task, and keep the record of it.

    Attributes:
        client: Sends the requests.
        request: The request, without tag and key.
        intent: The call that the task means to place.
        try_number: The number of the running try.
        store: The task state store that keeps the record; None before Airflow 3.3.
        retell_dials: Whether Retell dials, under an idempotency key.
        durable: Whether to look for the call of an earlier try, and to record this one's.
        gate: The checks before each request that places a call.
        include: Heavy fields of the call to keep.
        clock: The time.
        calls: The ids of the calls of this generation that were placed before, oldest first; after placing, the
            call placed or adopted as well.
        ordinal: The ordinal of the call placed or adopted last.
        placed_at: When that call was placed, in seconds since the epoch; if unknown, when it was adopted.
        rows: The projection in which calls are read: tasks hand on rows, and a model costs several times as much.
        last: The record of what this process sent or adopted last; None before that.
    """

    client: RetellClient
    request: Request[Call]
    intent: Intent
    _: KW_ONLY
    try_number: int
    store: StateStore | None
    gate: Gate
    retell_dials: bool
    durable: bool = True
    include: tuple[str, ...] = ()
    clock: Clock = CLOCK
    calls: tuple[str, ...] = ()

    ordinal: int = field(init=False)
    placed_at: float = field(init=False)
    rows: Projection[CallRow] = field(init=False)
    last: Record | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not self.durable:
            self.store = None
        self.rows = row_projection(self.include)
        self.ordinal = self.intent.ordinal
        self.placed_at = self.clock.now()

    def record(self) -> Record | None:
        """Return the record of the request that was sent last, None if there is none."""
        if self.last is not None or self.store is None:
            return self.last
        return Record.read(self.store.get(STORE_KEY))

    def new_record(
        self, step: PlaceNew, *, body: dict[str, Any] | None = None, call_id: str | None = None
    ) -> Record:
        """Return the record of a request that is sent now, or of the call that it found."""
        return Record(
            generation=step.generation,
            ordinal=step.ordinal,
            sent_at=self.clock.now(),
            try_number=self.try_number,
            body=body,
            call_id=call_id,
            prefix=self.intent.prefix,
            earlier=self.calls,
            conn_id=self.client.settings.conn_id,
            key_digest=key_digest(self.client.settings),
        )

    def send_new(self, step: PlaceNew) -> tuple[CallRow, bool]:
        """Send a request, and return its call and whether the call existed before."""
        self.gate.check()
        intent = replace(self.intent, generation=step.generation, ordinal=step.ordinal)
        sent = self.new_record(step, body=self._with_tag(intent))
        call = self.send_recorded(sent, again=False)
        return call, was_there_before(call, first_sent_at=sent.sent_at)

    def send_recorded(self, record: Record, *, again: bool) -> CallRow:
        """Send the request of a record; store the record before if a phone may ring, and the result after."""
        intent = replace(self.intent, generation=record.generation, ordinal=record.ordinal)
        self.ordinal, self.placed_at = record.ordinal, record.sent_at
        request = replace(
            self.rows.one(self.request), body=record.body, key_digest=record.key_digest if again else ""
        )
        if self.retell_dials:
            request = request.with_idempotency_key(intent.key)
        self._write_before(record)
        try:
            call = self._send(request, record)
        except RetellError as error:
            if not again and not error.may_have_arrived:
                self.write(replace(record, refused=True, body=None))
            raise
        self.write(replace(self.last or record, call_id=call.call_id, body=None))
        return call

    def _send(self, request: Request[CallRow], record: Record) -> CallRow:
        # A 429 is not retried here: only `LineWait` waits for a line, so that one limit holds.
        for attempt in self.client.attempts(request, retry_rate_limits=False):
            with attempt:
                # Checked before each attempt: in between the task may be killed and the key may expire.
                self.gate.check()
                if self.retell_dials and self.clock.now() >= record.sent_at + KEY_LIFETIME:
                    raise RetellCallError(
                        "Not called again: Retell did not respond for so long that the idempotency key of this "
                        "call may have expired. The next try looks for the call by its tag."
                    )
                if self.clock.now() > record.sent_at + _SAME_MOMENT:
                    # The call that this request places may ring from now on.
                    self.placed_at = self.clock.now()
                    self._write_before(replace(record, sent_again_at=self.placed_at))
                # And once more right before it goes out, because this process may be frozen in between.
                still = partial(self._check_still, request, self.clock.now())
                call = self.client.send_once(request, check=still)
        if difference := differs(request_of(call), request.body or {}):
            raise RetellCallFinalError(
                f"Not called: Retell answers this request with {call.call_id}, which was placed under the same "
                f"idempotency key within the last hour; it is a call {difference}. "
                f"{_SAME_CALL_KEY if self.intent.named else _SAME_NAMES}",
                call_ids=(call.call_id,),
            )
        if was_there_before(call, first_sent_at=record.sent_at):
            metrics.count("retell.calls.found")
            log.warning(
                "Found %s (%s), which was placed under the same idempotency key before: no phone rings for this "
                "request. A run of this name has called within the last hour.",
                call.call_id,
                call.call_status,
            )
        else:
            metrics.count(f"retell.calls.placed.{'create' if self.retell_dials else 'register'}")
            log.info("Placed %s.", call.call_id)
        return call

    def _check_still(self, request: Request[Any], checked_at: float) -> None:
        """Raise, right before a request goes out, if it was checked long ago, because this process was frozen."""
        self.gate.check_task()
        held_up = self.clock.now() - checked_at
        if held_up > _OLDEST_CHECK:
            raise RetellConnectionError(
                f"{request}: this process was held up for {held_up:.0f} s before the request was sent, so "
                "everything is checked again first. The request was not carried out.",
                may_have_arrived=False,
            )

    def _with_tag(self, intent: Intent) -> dict[str, Any]:
        body = dict(untagged(self.request).body or {})
        if not self.durable:
            return body
        metadata = dict(body.get("metadata") or {})
        if TAG in metadata:
            if intent.named:
                raise RetellInputError(
                    f"metadata must not have the key {TAG!r}, by which a call with a call_key is found. Leave it "
                    "out. Nothing was sent."
                )
            log.warning(
                "The key %r of metadata is kept as given: a call whose response is lost cannot be found by it.",
                TAG,
            )
            return body
        return {**body, "metadata": {**metadata, TAG: intent.tag}}

    def _write_before(self, record: Record) -> None:
        """Store the record of a request that is sent now, if it may ring a phone."""
        self.last = record
        if self.retell_dials:
            self.write(record)

    def write(self, record: Record) -> None:
        """Store a record, if there is a store."""
        self.last = record
        if self.store is not None:
            self.store.set(STORE_KEY, record.to_json())
