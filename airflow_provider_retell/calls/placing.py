"""Place one intended call once, whatever happens to the worker: carry out what ``next_step`` decides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, assert_never

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.pages import PageWalk
from airflow_provider_retell.calls.capacity import LineWait, found_no_line
from airflow_provider_retell.calls.intent import STORE_KEY, TAG, Intent, Record, StateStore, counts, tag_of
from airflow_provider_retell.calls.next_step import (
    KEY_LIFETIME,
    LONGEST_RINGING,
    Adopt,
    LookForTag,
    Missing,
    PlaceNew,
    Read,
    Refuse,
    Seen,
    SendAgain,
    StopFirst,
    Wanted,
    next_step,
)
from airflow_provider_retell.calls.recognition import differs, request_of, was_there_before
from airflow_provider_retell.calls.stopping import STOP_INTERVAL, stop_until_over
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellError,
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPermissionError,
    RetellRateLimitError,
)
from airflow_provider_retell.outcomes import matches

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.api.models import Call

log = logging.getLogger(__name__)


@dataclass
class Placement:
    """Places the one call of a task.

    Attributes:
        client: Sends the requests.
        request: The request, without tag and key.
        intent: Whose call it is.
        try_number: Of the running task.
        first_try: Whether no earlier try or process can have placed a call.
        store: Where to write down what is sent; None before Airflow 3.3.
        retell_dials: Whether Retell dials, under an idempotency key.
        fail_on: The endings that a new call is placed for; empty if the task does not wait for the end.
        line: How long to wait for a free line.
        durable: Whether to look for the call of an earlier try, and to write down this one's.
        run_began: When the DAG run began, in seconds since the epoch, None if that is not known.
        before_sending: Called before each request that places a call; raises if none must be placed now.
        before_looking: Called before each further look for a call; raises if the task is to end.
        clock: The time.
        number: Of the call placed or adopted last.
        placed_at: When that call was placed, in seconds since the epoch; if unknown, when it was adopted.
    """

    client: RetellClient
    request: Request[Call]
    intent: Intent
    _: KW_ONLY
    try_number: int
    first_try: bool
    store: StateStore | None
    retell_dials: bool
    fail_on: tuple[str, ...]
    line: LineWait
    durable: bool = True
    run_began: float | None = None
    before_sending: Callable[[], None] = lambda: None
    before_looking: Callable[[], None] = lambda: None
    clock: Clock = SYSTEM_CLOCK

    number: int = field(init=False)
    placed_at: float = field(init=False)
    _last: Record | None = field(default=None, init=False)
    _looks_again: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not self.durable:
            self.store = None
        self.number = self.intent.number
        self.placed_at = self.clock.now()

    def place(self, *, after: int | None = None) -> Call:
        """Return the call of this task: an earlier try's, or a new one, for which it may wait for a free line.

        Args:
            after: The number of this try's call that found no line: a new one is placed.

        Raises:
            RetellCallFinalError: It is for people to decide whether a call is placed.
            RetellError: The call could not be placed.
        """
        placing: PlaceNew | None = None if after is None else self._next(after)
        while True:
            try:
                call = self._continue() if placing is None else self._place(placing)[0]
            except RetellRateLimitError as error:
                # After a lost response the call may exist. Only a key makes it safe to ask once more.
                lost = error.may_have_arrived and not self.retell_dials
                if lost or not self.line.pause(error.retry_after):
                    raise
            else:
                if not (found_no_line(call) and matches(call, self.fail_on) and self.line.pause()):
                    return call
                placing = self._next(self.number)

    def _next(self, number: int) -> PlaceNew:
        record = self._record()
        return PlaceNew(self.intent.generation if record is None else record.generation, number + 1)

    @property
    def sent(self) -> bool:
        """Whether a request was sent that may have placed a call."""
        return not self.first_try or (self._last is not None and not self._last.refused)

    # -- what next_step decides is carried out -----------------------------------------------------------------

    def _continue(self) -> Call:
        wanted, record, seen = self._wanted(), self._record(), self._seen_so_far()
        while True:
            match step := next_step(wanted, record, seen, now=self.clock.now()):
                case PlaceNew():
                    call, existed = self._place(step)
                    if existed and not wanted.first_try:
                        # The key shows what no record does: the call of an earlier try.
                        record, seen = self._as_record(step, call), (call,)
                        continue
                    return call
                case SendAgain(record=sent):
                    log.info("Sending the request of try %d again, with its key.", sent.try_number)
                    return self._send_recorded(sent, again=True)
                case Adopt(call=call):
                    return self._adopt(call, record)
                case Read(call_id=call_id):
                    seen = self._read(call_id)
                case LookForTag(prefix=prefix):
                    seen = self._look(prefix, again=seen is not None)
                case StopFirst(calls=calls, then=then):
                    self._stop(calls)
                    return self._place(then)[0]
                case Refuse():
                    raise RetellCallFinalError(step.message, call_ids=step.call_ids, outcomes=step.outcomes)
                case _ as never:
                    assert_never(never)

    def _wanted(self) -> Wanted:
        return Wanted(
            intent=self.intent,
            body=self.request.body or {},
            retell_dials=self.retell_dials,
            fail_on=self.fail_on,
            first_try=self.first_try,
            began=self.clock.now(),
            run_began=self.run_began,
        )

    def _record(self) -> Record | None:
        if self._last is not None or self.store is None:
            return self._last
        return Record.read(self.store.get(STORE_KEY))

    def _seen_so_far(self) -> Seen:
        # Without durability nothing is looked for: only the key stands between two calls.
        return None if self.durable else Missing.UNLISTED

    def _as_record(self, step: PlaceNew, call: Call) -> Record:
        return Record(
            generation=step.generation,
            number=step.number,
            sent_at=self.clock.now(),
            try_number=self.try_number,
            call_id=call.call_id,
        )

    def _adopt(self, call: Call, record: Record | None) -> Call:
        placed_by = f"try {record.try_number}" if record else "an earlier try"
        metrics.count("retell.calls.adopted")
        self.number, self.placed_at = counts(call)[1], self.clock.now()
        log.info("Adopted %s placed by %s (%s): not called again.", call.call_id, placed_by, call.call_status)
        if record is not None:
            self.number, self.placed_at = record.number, record.sent_at
            if record.call_id is None:
                self._write(replace(record, call_id=call.call_id, body=None))
        # A list leaves the transcript out.
        return self.client.send(endpoints.get_call(call.call_id)) if call.is_terminal else call

    def _read(self, call_id: str) -> Seen:
        try:
            return (self.client.send(endpoints.get_call(call_id)),)
        except RetellNotFoundError:
            return Missing.UNKNOWN

    def _look(self, prefix: str, *, again: bool) -> Seen:
        if again:
            if not self._looks_again:
                log.info(
                    "A call of before the clear may still ring, and Retell may not list a ringing call: looking "
                    "for it every %.0f s, for up to %.0f s (metadata %s = %s...).",
                    STOP_INTERVAL,
                    LONGEST_RINGING,
                    TAG,
                    prefix,
                )
            self._looks_again = True
            self.before_looking()
            self.clock.sleep(STOP_INTERVAL)
        walk = PageWalk(endpoints.list_tagged_calls(TAG, prefix, op="sw"))
        found: list[Call] = []
        try:
            while walk.request is not None:
                found += walk.take(self.client.send(walk.request))
        except (RetellInvalidRequestError, RetellNotFoundError, RetellPermissionError) as error:
            log.warning("The calls of this task cannot be listed: %s", error)
            return Missing.UNLISTABLE
        if walk.unreadable:
            raise RetellCallError(
                f"Not called: of the calls that Retell lists for this task, {walk.unreadable} cannot be read, and "
                f"one of them may be going on (metadata {TAG} = {prefix}...). The next try looks again."
            )
        # Checked again: adopting a stranger's call would be worse than finding none.
        return tuple(call for call in found if tag_of(call).startswith(prefix)) or Missing.UNLISTED

    def _stop(self, calls: Sequence[Call]) -> None:
        for call in calls:
            result = stop_until_over(
                self.client, call.call_id, leave_registered=not self.retell_dials, clock=self.clock
            )
            log.info("The task was cleared: %s.", result.message)
            if result.live:
                raise RetellCallError(
                    f"Not called again: {call.call_id} of before the clear is still live and could not be "
                    "stopped. Stop it in Retell's dashboard; the next try looks again.",
                    call_ids=(call.call_id,),
                )

    # -- a request that places a call --------------------------------------------------------------------------

    def _place(self, step: PlaceNew) -> tuple[Call, bool]:
        """Send a request, and return its call with whether the call existed before."""
        self.before_sending()
        intent = replace(self.intent, generation=step.generation, number=step.number)
        sent = Record(
            generation=step.generation,
            number=step.number,
            sent_at=self.clock.now(),
            try_number=self.try_number,
            body=self._with_tag(intent),
        )
        call = self._send_recorded(sent, again=False)
        return call, was_there_before(call, first_sent_at=sent.sent_at)

    def _send_recorded(self, record: Record, *, again: bool) -> Call:
        """Send the request of a record; write it down before, and its call after."""
        intent = replace(self.intent, generation=record.generation, number=record.number)
        self.number, self.placed_at = record.number, record.sent_at
        request = replace(self.request, body=record.body)
        if self.retell_dials:
            request = request.with_idempotency_key(intent.key)
        self._write(record)
        try:
            call = self._send(request, record)
        except RetellError as error:
            if not again and not error.may_have_arrived:
                self._write(replace(record, refused=True, body=None))
            raise
        self._write(replace(record, call_id=call.call_id, body=None))
        return call

    def _send(self, request: Request[Call], record: Record) -> Call:
        def attempt() -> Call:
            # Each time: between two attempts the task may be killed, and a key may grow old.
            self.before_sending()
            if self.retell_dials and self.clock.now() >= record.sent_at + KEY_LIFETIME:
                raise RetellCallError(
                    "Not called again: Retell did not respond for so long that the idempotency key of this call "
                    "may have expired. The next try looks for the call by its tag."
                )
            return self.client.send_once(request)

        # A 429 is not retried in there: the wait for a line has one owner, and one bound.
        call = self.client.repeat(request, attempt, retry_rate_limits=False)
        if difference := differs(request_of(call), request.body or {}):
            raise RetellCallFinalError(
                f"Not called: Retell answers this request with {call.call_id}, which was placed under the same "
                f"idempotency key within the last hour; it is a call {difference}. Either this task has placed "
                "that call before, or another Airflow with a DAG, a run and a task of the same names uses this "
                "Retell account (set the option namespace in section [retell] of one of them).",
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

    def _with_tag(self, intent: Intent) -> dict[str, Any]:
        body = dict(self.request.body or {})
        if not self.durable:
            return body
        metadata = dict(body.get("metadata") or {})
        if TAG in metadata:
            log.warning(
                "metadata has a key %r of its own, which is kept: a call whose response is lost cannot be found.",
                TAG,
            )
            return body
        return {**body, "metadata": {**metadata, TAG: intent.tag}}

    def _write(self, record: Record) -> None:
        self._last = record
        if self.store is not None:
            self.store.set(STORE_KEY, asdict(record))
