"""Place one intended call once, whatever happens to the worker, by carrying out the decisions of ``next_step``.

A call that follows another one of the same try needs no such decision until its request is sent: see
``Placement._follow``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, assert_never

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.key_rotation import key_digest
from airflow_provider_retell.calls import refusals
from airflow_provider_retell.calls.capacity import LineWait, is_capacity_named
from airflow_provider_retell.calls.gate import OutsideHours
from airflow_provider_retell.calls.intent import Record, counts
from airflow_provider_retell.calls.lookup import CallLookup
from airflow_provider_retell.calls.next_step import next_step
from airflow_provider_retell.calls.recognition import differs, request_of
from airflow_provider_retell.calls.sending import RecordedSender
from airflow_provider_retell.calls.steps import (
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
)
from airflow_provider_retell.calls.stopping import stop_until_over
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellRateLimitError,
)

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.policy import Redial

log = logging.getLogger(__name__)


@dataclass
class Placement:
    """Place the one call of a task.

    Attributes:
        sender: Sends its request, and keeps the record of it.
        first_try: Whether no earlier try or process can have placed a call.
        fail_on: The endings after which a new call is placed; empty if the task does not wait for the end.
        line: The pauses while there is no free line.
        redial: The rules by which the task places more calls when they are due.
        run_began: When the DAG run began, in seconds since the epoch, None if that is not known.
        waits_for_hours: Whether the task waits until the calling hours open, and looks for its calls again then.
    """

    sender: RecordedSender
    _: KW_ONLY
    first_try: bool
    fail_on: tuple[str, ...]
    line: LineWait
    redial: tuple[Redial, ...] = ()
    run_began: float | None = None
    waits_for_hours: bool = True
    _lookup: CallLookup = field(init=False)
    _hours_shut: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._lookup = CallLookup(self.sender)

    def place(self, *, after: int | None = None) -> CallRow:
        """Return the call of this task: an earlier try's, or a new one. May wait for a free line.

        Args:
            after: The ordinal of the finished call that the new one follows.

        Raises:
            RetellCallFinalError: A person must decide whether a call is placed.
            RetellError: The call could not be placed.
        """
        sender = self.sender
        placing: PlaceNew | None = None if after is None else self._next(after)
        if after is not None:
            self._check_followed()
        while True:
            try:
                call = self._continue() if placing is None else self._follow(placing)
            except OutsideHours:
                # A call that rings already is continued with at any hour.
                if self._hours_shut or not self._may_have_placed(placing):
                    raise
                self._hours_shut = True
            except RetellRateLimitError as error:
                # After a lost response the call may exist. Only a key makes it safe to ask once more.
                lost = error.may_have_arrived and not sender.retell_dials
                if lost or not self.line.pause(error.retry_after):
                    raise
            else:
                sender.calls = (*sender.calls, call.call_id)
                if not (is_capacity_named(call, self.fail_on) and self.line.pause()):
                    return call
                placing = self._next(sender.ordinal)

    def recall(self, call_id: str) -> None:
        """Restore what this try has placed so far, in a process that does not know it. Place no call.

        Args:
            call_id: The last call of the try.

        Raises:
            RetellError: That cannot be found out, so another call might be one too many.
        """
        sender = self.sender
        record = sender.record()
        if record is not None and record.call_id == call_id:
            sender.calls, sender.ordinal = (*record.earlier, call_id), record.ordinal
            sender.placed_at = record.last_sent_at
            return
        seen = self._lookup.list_tagged(sender.intent.prefix, again=False)
        call = next((each for each in seen if each.call_id == call_id), None) if isinstance(seen, tuple) else None
        if call is None:
            raise RetellCallError(
                "No further call is placed: Airflow itself ended the wait, and Retell does not list "
                f"{call_id}, so it is unknown how many calls there were. A retry looks again.",
                call_ids=(call_id,),
            )
        sender.calls, sender.ordinal = (*self._before(call, None, seen), call_id), counts(call)[1]

    def _next(self, ordinal: int) -> PlaceNew:
        return PlaceNew(self.sender.intent.generation, ordinal + 1)

    def _check_followed(self) -> None:
        """Raise if the call that the next one follows was to another person: fields may have changed."""
        (*_, call_id), body = self.sender.calls, self.sender.request.body or {}
        seen = self._lookup.read((call_id,), None)
        followed = seen[0] if isinstance(seen, tuple) else None
        if followed is None or (difference := differs(request_of(followed), body)):
            why = "Retell no longer knows that call" if followed is None else f"it is a call {difference}"
            raise RetellCallFinalError(
                f"Not called again after {call_id}: {why}. {refusals.CLEAR}", call_ids=(call_id,)
            )

    def _may_have_placed(self, placing: PlaceNew | None) -> bool:
        """Return whether a call may exist that Retell does not list yet, so that it has to be looked for."""
        sender = self.sender
        record = sender.record()
        if placing is None and record is None:  # the answer of an earlier try may be lost
            looked_for = sender.intent.cleared or sender.intent.named or self.waits_for_hours
            return sender.durable and not self.first_try and not looked_for
        first = (sender.intent.generation, 0 if placing is None else placing.ordinal)
        if record is None or record.refused or record.call_id is not None:
            return False
        return (record.generation, record.ordinal) >= first

    def _follow(self, placing: PlaceNew) -> CallRow:
        sender, follower = self.sender, (placing.generation, placing.ordinal)
        record = None if sender.intent.named else sender.record()
        if record and not record.refused and (record.generation, record.ordinal) >= follower:
            return self._continue()  # with its key: to date it a second time would make the key outlive Retell's
        # A record is this task's alone; without one, the call of an earlier try may have been hidden.
        known = (sender.store is not None and not sender.intent.named) or not sender.durable
        seen = Missing.UNLISTED if known else self._lookup.list_tagged(sender.intent.prefix, again=False)
        newest = max(seen, key=counts) if isinstance(seen, tuple) else None
        if newest is None or counts(newest) < follower:
            return sender.send_new(placing)[0]
        sender.calls = self._before(newest, None, seen)
        return self._adopt(newest, None)

    @property
    def sent(self) -> bool:
        """True if a request that may have placed a call was sent."""
        return not self.first_try or (self.sender.last is not None and not self.sender.last.refused)

    # -- carry out the decisions of next_step ------------------------------------------------------------------

    def _continue(self) -> CallRow:
        sender = self.sender
        record = sender.record()
        sender.intent = sender.intent.as_recorded(record)
        wanted = self._wanted()
        seen: Seen = None
        while True:
            match step := next_step(wanted, record, seen, now=sender.clock.now()):
                case PlaceNew():
                    sender.calls = self._before(step, record, seen)
                    call, existed = sender.send_new(step)
                    if existed and not wanted.first_try:
                        # The key finds the call of an earlier try even without a record.
                        record, seen = sender.new_record(step, call_id=call.call_id), (call,)
                        continue
                    return call
                case SendAgain(record=sent):
                    sender.calls = sent.earlier
                    log.info("Sending the request of try %d again, with its key.", sent.try_number)
                    return sender.send_recorded(sent, again=True)
                case Adopt(call=call):
                    sender.calls = self._before(call, record, seen)
                    return self._adopt(call, record)
                case Read(call_ids=call_ids):
                    record = self._note_found(record, call_ids[-1])
                    seen = self._lookup.read(call_ids, seen)
                case LookForTag(prefix=prefix):
                    seen = self._lookup.list_tagged(prefix, again=seen is not None)
                case StopFirst(calls=calls, then=then):
                    self._stop(calls)
                    sender.calls = ()
                    return sender.send_new(then)[0]
                case Refuse():
                    raise RetellCallFinalError(step.message, call_ids=step.call_ids, outcomes=step.outcomes)
                case _ as never:
                    assert_never(never)

    def _wanted(self) -> Wanted:
        sender = self.sender
        return Wanted(
            intent=sender.intent,
            body=sender.request.body or {},
            retell_dials=sender.retell_dials,
            fail_on=self.fail_on,
            first_try=self.first_try
            or (sender.intent.named and sender.try_number == sender.intent.tries_before + 1),
            redial=self.redial,
            began=sender.clock.now(),
            run_began=self.run_began,
            durable=sender.durable,
            conn_id=sender.client.settings.conn_id,
            key_digest=key_digest(sender.client.settings),
            hours_shut=self._hours_shut,
        )

    def _before(self, this: PlaceNew | CallRow, record: Record | None, seen: Seen) -> tuple[str, ...]:
        """Return the ids of the calls of the same generation that were placed before this one, oldest first."""
        numbers = partial(counts, record=None if self.sender.intent.named else record)
        if isinstance(this, PlaceNew):
            generation, ordinal, own_id = this.generation, this.ordinal, None
        else:
            (generation, ordinal), own_id = numbers(this), this.call_id
        listed = sorted(seen, key=numbers) if isinstance(seen, tuple) else []
        known = [call.call_id for call in listed if (generation, 0) <= numbers(call) < (generation, ordinal)]
        if record is not None and record.generation == generation and record.ordinal <= ordinal:
            known += [*record.earlier, *filter(None, [record.call_id])]
        return tuple(dict.fromkeys(each for each in known if each != own_id))

    def _note_found(self, record: Record | None, call_id: str) -> Record | None:
        """Record the call of a response that was lost, and return the record."""
        if record is not None and record.call_id is None:
            record = replace(record, call_id=call_id, body=None)
            self.sender.write(record)
        return record

    def _adopt(self, call: CallRow, record: Record | None) -> CallRow:
        sender = self.sender
        placed_by = f"try {record.try_number}" if record else "an earlier try or task"
        metrics.count("retell.calls.adopted")
        sender.ordinal, sender.placed_at = counts(call)[1], sender.clock.now()
        log.info("Adopted %s placed by %s (%s): not called again.", call.call_id, placed_by, call.call_status)
        if record is not None and (not sender.intent.named or record.call_id == call.call_id):
            sender.ordinal, sender.placed_at = record.ordinal, record.last_sent_at
            self._note_found(record, call.call_id)
        # A list leaves the transcript out.
        return sender.client.send(sender.rows.one(endpoints.get_call(call.call_id))) if call.is_terminal else call

    def _stop(self, calls: Sequence[CallRow]) -> None:
        sender = self.sender
        for call in calls:
            result = stop_until_over(
                sender.client, call.call_id, leave_registered=not sender.retell_dials, clock=sender.clock
            )
            log.info("The task was cleared: %s.", result.message)
            if result.may_go_on:
                raise RetellCallError(
                    f"Not called again: {call.call_id} from before the clear is still live and could not be "
                    "stopped. Stop it in Retell's dashboard; the next try looks again.",
                    call_ids=(call.call_id,),
                )
