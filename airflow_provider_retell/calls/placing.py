"""Place one intended call once, whatever happens to the worker in between.

What is about to be sent is written down before the request, the call's id right after it. A retry reads it:

========================  ====================================  ==========================================
written down              the call                              the retry
========================  ====================================  ==========================================
nothing                   was never asked for                   places it
refused                   was certainly not placed              places it
sent, id known            lives, or is over well                adopts it
sent, id known            failed                                places a new one
sent, id known            was declined                          adopts it: a person has spoken
sent, id known            was hung up on                        fails: redialing is for people to decide
sent, id known            is unknown to Retell (deleted)        fails: nobody can say whether it rang
sent, answer lost         created, within the key's hour        sends the same request with the same key
sent, answer lost         created, later                        looks for its tag; fails if it finds none
sent, answer lost         registered                            looks for its tag; registers if it finds none
by an earlier clear       whatever it is                        stops it if it lives, then places a new one
========================  ====================================  ==========================================

*Failed* is a call in the status ``error`` or ``not_connected``, and one that ``fail_on`` names, be it declined or
hung up on. A call after which the person asked never to be called again is never replaced.

Where nothing is written down although this is not the first try (Airflow before 3.3 has no task state store, and
it may have been upgraded in between), the key and the tag stand in for it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell._masking import shown
from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.calls.capacity import LimitWait, found_no_line
from airflow_provider_retell.calls.intent import STORE_KEY, Intent, Record, StateStore
from airflow_provider_retell.calls.stopping import LONGEST_RINGING, STOP_INTERVAL, stop_until_over
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellError,
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPermissionError,
    RetellRateLimitError,
)
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.outcomes import CallStatus, Outcome

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

log = logging.getLogger(__name__)

TAG: Final = "airflow_call"
"""The top-level metadata key under which the calls of a task can be found again."""

KEY_LIFETIME: Final = 3600 - 300
"""Seconds for which a key is trusted: Retell's hour, less five minutes for clocks that disagree."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Places the one call of a task.

    Attributes:
        hook: Talks to Retell.
        body: The request's fields.
        request: Makes the request, of a body and an idempotency key.
        retell_dials: Whether Retell takes an idempotency key for it.
        unwanted: Says whether ``fail_on`` names how a call went.
        intent: Whose call it is.
        try_number: Of the running task.
        store: Where to write down what is sent; None before Airflow 3.3.
        limit: How long to wait where the account is at its limit.
        durable: Whether to look for the call of an earlier try.
        before_sending: Called before each request that places a call; raises if none must be placed any more.
        clock: What time it is.
    """

    hook: RetellHook
    body: Mapping[str, Any]
    request: Callable[[Mapping[str, Any], str | None], Request[Call]]
    retell_dials: bool
    unwanted: Callable[[Call], bool]
    intent: Intent
    try_number: int
    store: StateStore | None
    limit: LimitWait
    durable: bool = True
    before_sending: Callable[[], None] = lambda: None
    clock: Clock = SYSTEM_CLOCK

    def place(self, *, instead_of: Call | None = None) -> Call:
        """Return the call of this task: an earlier try's, or a new one, for which it may wait for a free line.

        Args:
            instead_of: The call of this try that found no line.
        """
        place = self._place_once if self.durable else self._place_anew
        while True:
            try:
                call = place(instead_of)
            except RetellRateLimitError as error:
                # After a lost answer this may be the second call: the next try finds out.
                if error.may_have_arrived or not self.limit.pause(error.retry_after):
                    raise
            else:
                if not found_no_line(call) or not self.limit.pause():
                    return call
                instead_of = call

    def _place_anew(self, instead_of: Call | None) -> Call:
        key = self.intent.key if instead_of is None else f"{self.intent.key}.{instead_of.call_id}"
        return self._request(self.request(self.body, key if self.retell_dials else None), sent_at=self.clock.now())

    def _place_once(self, instead_of: Call | None) -> Call:
        if self.store is None:
            return self._without_record(instead_of)
        record = Record.read(self.store.get(STORE_KEY))
        if record is None:
            return self._without_record(instead_of)
        intent = replace(self.intent, generation=record.generation, redial=record.redial)
        if record.generation != self.intent.generation:
            self._end_cleared(self._earlier_calls(record, intent))
            return self._send(self.intent)
        if record.refused:
            return self._send(intent)
        if record.call_id is not None:
            return self._adopt_or_replace(self._known(record.call_id), intent, record.try_number)
        return self._settle(record, intent)

    # -- an earlier try's call -----------------------------------------------------------------------------

    def _known(self, call_id: str) -> Call:
        try:
            return self.hook.get_call(call_id)
        except RetellNotFoundError as error:
            raise RetellCallFinalError(
                f"Not called again: an earlier try placed {call_id}, which Retell no longer knows, so how it "
                f"went cannot be known ({error}). To place a new call, clear the task.",
                call_ids=(call_id,),
            ) from error

    def _adopt_or_replace(self, call: Call, intent: Intent, try_number: int | None) -> Call:
        if call.outcome == Outcome.STOPPED and not self.unwanted(call):
            raise RetellCallFinalError(
                f"Not called again: {call.call_id} of an earlier try was hung up on, by this task when it was "
                "killed or timed out, or by somebody else. To place a new call, clear the task; to have retries "
                "place one, name 'stopped' in fail_on.",
                call_ids=(call.call_id,),
                outcomes=frozenset({Outcome.STOPPED.value}),
            )
        if self._failed(call):
            log.info("%s of an earlier try failed (%s): placing a new call.", call.call_id, call.outcome)
            return self._send(replace(intent, redial=intent.redial + 1))
        placed_by = f"try {try_number}" if try_number else "an earlier try"
        metrics.count("retell.calls.adopted")
        log.info("Adopted %s placed by %s (%s): not called again.", call.call_id, placed_by, call.call_status)
        return call

    def _failed(self, call: Call) -> bool:
        """Say whether a retry calls again."""
        if not call.is_terminal or call.outcome == Outcome.DO_NOT_CALL:
            return False
        return self.unwanted(call) or (call.call_status != CallStatus.ENDED and call.outcome != Outcome.DECLINED)

    def _settle(self, record: Record, intent: Intent) -> Call:
        """Find out what became of a request whose answer was lost."""
        age = self.clock.now() - record.sent_at
        if self.retell_dials and age < KEY_LIFETIME:
            log.info(
                "Sending the request of try %d again, with its key: Retell places it once.", record.try_number
            )
            return self._send(intent, again=record)
        found = self._tagged(intent.tag)
        if found:
            self._write(replace(record, call_id=found[0].call_id))
            return self._adopt_or_replace(self._known(found[0].call_id), intent, record.try_number)
        if self.retell_dials:
            listed = "no call with its tag is listed" if found is not None else "calls cannot be listed"
            raise RetellCallFinalError(
                f"Not called again: {age / 60:.0f} minutes ago try {record.try_number} asked Retell for this call "
                f"and lost the answer, and {listed}. Look for the call in Retell's "
                f"dashboard (metadata {TAG} = {intent.tag}); to place a new one, clear the task."
            )
        log.info("The registration of try %d left no call: registering anew.", record.try_number)
        return self._send(intent)

    def _earlier_calls(self, record: Record, intent: Intent) -> list[Call]:
        if record.refused:
            return []
        if record.call_id is None:
            return self._listed_late(record, intent)
        try:
            return [self.hook.get_call(record.call_id)]
        except RetellNotFoundError:
            return []

    def _listed_late(self, record: Record, intent: Intent) -> list[Call]:
        """Look for a call whose answer was lost until Retell would list it: perhaps it does not while it rings."""
        while True:
            found = self._tagged(intent.tag)
            rings_no_more = not self.retell_dials or self.clock.now() >= record.sent_at + LONGEST_RINGING
            if found is None or found or rings_no_more:
                return found or []
            self.before_sending()
            self.clock.sleep(STOP_INTERVAL)

    def _end_cleared(self, calls: Sequence[Call]) -> None:
        for call in calls:
            if call.is_terminal or (call.call_status == CallStatus.REGISTERED and not self.retell_dials):
                continue
            became = stop_until_over(
                self.hook, call.call_id, leave_registered=not self.retell_dials, clock=self.clock
            )
            log.info("The task was cleared: %s.", became.told)
            if became.live:
                raise RetellCallError(
                    f"Not called again: {call.call_id} of before the clear is still live and could not be "
                    "stopped. Stop it in Retell's dashboard; the next try looks again.",
                    call_ids=(call.call_id,),
                )

    # -- nothing is written down -------------------------------------------------------------------------

    def _without_record(self, instead_of: Call | None) -> Call:
        if instead_of is not None:
            return self._send(replace(self.intent, redial=_redial(instead_of) + 1))
        if self.try_number <= 1:
            return self._send(self.intent)
        found = self._tagged(f"{self.intent.task}.", op="sw") or []
        ours = [call for call in found if _generation(call) == self.intent.generation]
        self._end_cleared([call for call in found if call not in ours])
        if ours:
            newest = max(ours, key=_redial)
            intent = replace(self.intent, redial=_redial(newest))
            return self._adopt_or_replace(self._known(newest.call_id), intent, None)
        return self._send(self.intent)

    def _tagged(self, tag: str, op: Literal["eq", "sw"] = "eq") -> list[Call] | None:
        """Return the calls with a tag, None if this key or this server does not list calls."""
        try:
            page = self.hook.send(endpoints.list_tagged_calls(TAG, tag, op=op))
        except (RetellInvalidRequestError, RetellNotFoundError, RetellPermissionError) as error:
            log.warning("A call cannot be looked up by its tag: %s", error)
            return None
        # Checked again: adopting a stranger's call would be worse than finding none.
        return [call for call in page.calls if _tag(call).startswith(tag)]

    # -- a new one -----------------------------------------------------------------------------------------

    def _send(self, intent: Intent, *, again: Record | None = None) -> Call:
        record = again or Record(
            generation=intent.generation,
            redial=intent.redial,
            body=self._with_tag(intent),
            sent_at=self.clock.now(),
            try_number=self.try_number,
        )
        endpoint = self.request(record.body, intent.key if self.retell_dials else None)
        self._write(record)
        try:
            call = self._request(endpoint, sent_at=record.sent_at)
        except RetellError as error:
            if again is None and not error.may_have_arrived:
                self._write(replace(record, refused=True))
            raise
        self._write(replace(record, call_id=call.call_id))
        return call

    def _request(self, endpoint: Request[Call], *, sent_at: float) -> Call:
        client = self.hook.get_conn()

        def attempt() -> Call:
            # Each time: between two attempts the task may be killed, and a key may grow old.
            self.before_sending()
            if self.clock.now() >= sent_at + KEY_LIFETIME:
                raise RetellCallError(
                    "Not called again: Retell did not answer for so long that the idempotency key of this call "
                    "may have expired. The next try looks for the call by its tag."
                )
            return client.send_once(endpoint)

        call = client.repeat(endpoint, attempt)
        _check_is_asked_for(call, endpoint.body or {})
        log.info("Placed %s.", call.call_id)
        metrics.count(f"retell.calls.placed.{'create' if self.retell_dials else 'register'}")
        return call

    def _with_tag(self, intent: Intent) -> dict[str, Any]:
        metadata = dict(self.body.get("metadata") or {})
        if TAG in metadata:
            log.warning(
                "metadata has a key %r of its own, which is kept: a call whose answer is lost cannot be found.",
                TAG,
            )
            return dict(self.body)
        return {**self.body, "metadata": {**metadata, TAG: intent.tag}}

    def _write(self, record: Record) -> None:
        if self.store is not None:
            self.store.set(STORE_KEY, asdict(record))


def _tag(call: Call) -> str:
    return str((call.metadata or {}).get(TAG, ""))


def _generation(call: Call) -> int:
    return _counts(call)[0]


def _redial(call: Call) -> int:
    return _counts(call)[1]


def _counts(call: Call) -> tuple[int, int]:
    # The tag may be the user's own.
    found = re.fullmatch(r"[0-9a-f]+\.(\d+)\.(\d+)", _tag(call))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _check_is_asked_for(call: Call, body: Mapping[str, Any]) -> None:
    """Raise if Retell answers the key with a call to somebody else: two Airflows may share an account."""
    called, asked = (re.sub(r"\D", "", str(number or "")) for number in (call.to_number, body.get("to_number")))
    if called and asked and not called.endswith(asked) and not asked.endswith(called):
        raise RetellCallFinalError(
            f"Not called: Retell answers this request with {call.call_id} to "
            f"{shown(call.to_number, is_number=True)}, which was "
            "placed under the same idempotency key within the last hour, for another number. Either another "
            "Airflow with a DAG, a run and a task of the same names uses this Retell account, or a run of this "
            "name was deleted. Rename the DAG, or start a run of another name.",
            call_ids=(call.call_id,),
        )
