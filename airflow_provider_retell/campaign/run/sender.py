"""Place one call of a campaign, and report the result of the request.

===================================================  ==========================================================
the request                                          is reported as
===================================================  ==========================================================
must not be sent any more                            ``not_sent``
cannot be made of the person's fields                ``rejected``
is answered with a call                              ``placed``
certainly did not arrive                             ``unreached``
is turned away with 429                              ``turned_away``
may have arrived, and the answer is lost             ``lost``
is refused with 400, and Retell keeps the contact    ``refused`` as ``do_not_call``
as ``do_not_call``
is refused with 400, and the contact cannot be read  ``unreached``
for now
is refused otherwise                                 ``rejected``
===================================================  ==========================================================

Retell documents no text for the 400 that answers ``honor_internal_dnc``, so the contact itself is read.
See https://docs.retellai.com/api-references/create-phone-call
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from threading import Condition, Lock
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell.api.contacts import get_contact_by_phone
from airflow_provider_retell.calls.intent import tag_of
from airflow_provider_retell.campaign.people.identity import TaggedAttempt
from airflow_provider_retell.campaign.people.person import Refusal
from airflow_provider_retell.campaign.plan.actions import Place
from airflow_provider_retell.campaign.plan.ledger import read_call
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.run.background import Moments
from airflow_provider_retell.campaign.run.requests import CallRequests, rejection, unsendable
from airflow_provider_retell.errors import (
    Concerns,
    RetellConnectionError,
    RetellError,
    RetellInputError,
    RetellInvalidRequestError,
    RetellRateLimitError,
    RetellStatusError,
)

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.api.endpoints import Request
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.campaign.run.recorder import Recorder

log = logging.getLogger(__name__)


class NotNow(Exception):  # noqa: N818 (a decision, not an error)
    """A call must not be placed any more: it is too late, or the decision is too old."""


class DoNotCallContact(RetellInvalidRequestError):  # noqa: N818 (a state of the person)
    """Retell refused a call, and keeps the contact as ``do_not_call``."""


Answer: TypeAlias = "CallRow | RetellError | NotNow"
"""The result of a request."""


class Sender:
    """Send the requests that place calls.

    Args:
        client: Sends them.
        requests: Makes them.
        plan: Decides right before each request whether to send it, and receives the result.
        moments: The time.
        killed: Returns True once the task was killed: it places no more calls.
        recorder: Receives each call that Retell answers with.

    Attributes:
        plan_lock: Held while the plan is asked, because all threads share its pace.
    """

    def __init__(
        self,
        client: RetellClient,
        requests: CallRequests,
        plan: Plan,
        moments: Moments,
        *,
        killed: Callable[[], bool],
        recorder: Recorder,
    ) -> None:
        self._client = client
        self._requests = requests
        self._plan = plan
        self._moments = moments
        self._killed = killed
        self._recorder = recorder
        self.plan_lock = Lock()
        self._closed = False
        self._in_flight = 0
        self._placed: set[str] = set()
        self._answered = Condition()

    def close(self) -> None:
        """Place no more calls, not even those whose requests wait for a connection. Thread-safe."""
        with self.plan_lock:
            self._closed = True

    @property
    def in_flight(self) -> int:
        """The number of requests whose result is still to come."""
        return self._in_flight

    def wait(self, seconds: float) -> None:
        """Wait until no request is in flight, but at most so many seconds. Thread-safe."""
        with self._answered:
            self._answered.wait_for(lambda: not self._in_flight, seconds)

    def live(self) -> list[str]:
        """Return the calls of this map index that may be live, including those not reported yet.

        Thread-safe, and safe in a signal handler: after a kill, nothing may wait for the campaign's own thread.
        """
        placed = tuple(self._placed)  # first: a call that is reported meanwhile is in progress
        return [*dict.fromkeys([*placed, *self._plan.state.in_progress.to_stop()])]

    def send(self, order: Place) -> Answer:
        """Place a call if that is still allowed, and return the result. Thread-safe."""
        with self._answered:
            self._in_flight += 1
        placed: tuple[str, ...] = ()
        try:
            answer = self._send(order)
            if not isinstance(answer, Exception) and self._tagged(order, answer).same_map_index:
                placed = (answer.call_id,)
            return answer
        finally:
            with self._answered:
                self._in_flight -= 1
                self._placed.update(placed)
                self._answered.notify_all()

    def _send(self, order: Place) -> Answer:
        def check() -> None:
            with self.plan_lock:
                if self._closed or self._killed() or not self._plan.may_send(order, self._moments.now()):
                    raise NotNow

        try:
            request = self._requests.of(order.person, order.attempt)
        except RetellError as error:
            return error
        try:
            return self._client.send_once(self._recorder.projection.one(request), check=check)
        except RetellInvalidRequestError as error:
            return self._explained(error, request)
        except (RetellError, NotNow) as error:
            return error

    def _explained(self, error: RetellInvalidRequestError, request: Request[Call]) -> RetellError:
        """Return the error for a refusal; read the contact if that may be the reason."""
        body = request.body or {}
        if not body.get("honor_internal_dnc") or error.status_code != HTTPStatus.BAD_REQUEST:
            return error
        try:
            contact = self._client.send(get_contact_by_phone(body["to_number"]))
        except RetellError as unread:
            log.warning("A contact could not be read, to see whether the person may be called: %s", unread)
            if unread.concerns is not Concerns.NOTHING:
                return error
            return RetellConnectionError(f"{error} The contact could not be read.", may_have_arrived=False)
        if contact.get("do_not_call") is not True:
            return error
        return DoNotCallContact(str(error), status_code=error.status_code, message=error.message)

    def report(self, order: Place, answer: Answer) -> None:
        """Report the result of a request to the plan; only for the campaign's own thread."""
        state, now = self._plan.state, self._moments.now()
        match answer:
            case NotNow():
                state.not_sent(order, now)
            case DoNotCallContact():
                state.refused(order, Refusal.DO_NOT_CALL, "Retell keeps this contact as do_not_call", now)
            case RetellInputError():
                state.rejected(order, unsendable(answer), now)
            case RetellRateLimitError():
                metrics.count("retell.rate_limited")
                state.turned_away(order, now, asked=answer.retry_after)
            case RetellError() if answer.may_have_arrived:
                log.warning("A call may have been placed, but its response was lost; it is looked for: %s", answer)
                state.lost(order, now)
            case RetellStatusError():
                log.warning("Retell refused a call: %s", answer)
                state.rejected(order, rejection(answer, order.person, self._requests.defaults), now)
            case RetellError():
                log.warning("No call could be placed: %s", answer)
                state.unreached(order, now)
            case call:
                metrics.count("retell.calls.placed.create")
                tagged = self._tagged(order, call)
                known = read_call(call, tagged, now=now.wall, placed_at=order.decided.wall)
                self._recorder.saw(call, known, now.wall)
                if known.outcome is not None:
                    metrics.count(f"retell.calls.ended.{known.outcome}")
                state.placed(order, known, now)
                self._placed.discard(call.call_id)

    def _tagged(self, order: Place, call: CallRow) -> TaggedAttempt:
        """Return the person and the attempt of a call that Retell answered with, and whether it is ours.

        The tag shows whether another map index placed it under the same key. Without a tag, which Retell may not
        store, it counts as ours.
        """
        identity = self._requests.identity
        placed_by = identity.read(tag_of(call))
        return TaggedAttempt(
            person=identity.person(to_number=order.person.to_number, person_id=order.person.person_id),
            attempt=order.attempt,
            same_map_index=placed_by is None or placed_by.same_map_index,
        )
