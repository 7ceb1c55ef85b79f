"""Stop all live calls of a task at the same time when the task is killed.

A killed task has five seconds. Requests in flight may place calls that ring only after the kill, and Retell may
refuse to stop a call that still rings. So calls are stopped in a few rounds:

=============================================  ================================================================
a call                                         in each round
=============================================  ================================================================
is live                                        is stopped
is placed by a request that was in flight      is stopped as soon as its request is answered
could not be stopped before, as it rings       is tried again
of a request that is not answered in time      goes on, if it was placed at all
=============================================  ================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell.api.flows import StopResult, stop
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import RetellError
from airflow_provider_retell.operators.last_seconds import LAST_SECONDS, last_client
from airflow_provider_retell.provider.ownership import KillThread

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient

log = logging.getLogger(__name__)

_AT_ONCE: Final = 20
_ROUND: Final = 0.25
"""Seconds for which a round waits, at most: for answers, for calls to be stopped, and before the next one."""
_LAST_ROUND: Final = LAST_SECONDS - 1.0
"""Seconds after which no round begins, so that the last one has time to finish."""
_SHOWN: Final = 5
_NONE: Final = "It had no live calls"


class Calls(Protocol):
    """The calls of a task, and the requests that place them. Thread-safe, and safe in a signal handler."""

    @property
    def in_flight(self) -> int:
        """The number of requests whose result is still to come."""

    def wait(self, seconds: float) -> None:
        """Wait until no request is in flight, for ``seconds`` at most."""

    def live(self) -> Sequence[str]:
        """Return the ids of the calls that may be live."""


class StopCallsOnKill:
    """Note that a task is killed, and stop its calls if wanted.

    The signal handler only gives the order, because the task may hold a lock that stopping needs. A thread finds
    out whether this process still runs the task's current try, and stops the calls; the task waits for it as it
    ends.

    Args:
        context: Airflow's context.
        settings: The connection.
        wanted: Whether to stop calls at all.

    Attributes:
        killed: Whether the task was killed.
        calls: The calls; None before there are any.
    """

    def __init__(self, context: Mapping[str, Any], *, settings: ConnectionSettings, wanted: bool) -> None:
        self.killed = False
        self.calls: Calls | None = None
        self._settings = settings
        self._wanted = wanted
        self._context = context
        self._outcome = "Not all of its live calls were stopped in time" if wanted else "Its live calls go on"
        self._thread = KillThread(self.stop)

    def __enter__(self) -> None:
        if self._wanted:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self.killed and self._wanted:
            self._thread.wait(LAST_SECONDS)
        self._thread.dismiss()

    def order(self) -> None:
        """Note that the task is killed, and let its calls be stopped. Safe in a signal handler."""
        self.killed = True
        if self._wanted:
            self._thread.order()

    def outcome(self) -> str:
        """Wait until the calls are stopped, if wanted, and return in words what becomes of them."""
        if self._wanted:
            self._thread.wait(LAST_SECONDS)
        return self._outcome

    def stop_if_wanted(self) -> None:
        """Stop the live calls if wanted, because the task has no time left."""
        if self._wanted:
            self.stop()

    def stop(self) -> None:
        """Stop the live calls, unless another process has the task by now."""
        calls = self.calls
        if calls is None or not (calls.in_flight or calls.live()):
            self._outcome = _NONE
        elif (client := last_client(self._context, self._settings)) is None:
            self._outcome = "Another try runs it by now, and its live calls go on"
        else:
            with client:
                results = _stop_all(client, calls)
            self._outcome = _in_words(results, unanswered=calls.in_flight)
        log.info("The task is over. %s.", self._outcome)


def _stop_all(client: RetellClient, calls: Calls) -> dict[str, StopResult]:
    """Stop all calls, by the table above; return what became of each, by its id."""
    stopping: dict[str, Future[StopResult]] = {}

    def goes_on(call_id: str) -> bool:
        return stopping[call_id].done() and stopping[call_id].result().may_go_on

    until = CLOCK.monotonic() + _LAST_ROUND
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while True:
            answered = not calls.in_flight  # asked first: the call of an answer that comes now is live below
            for call_id in calls.live():
                if call_id not in stopping or goes_on(call_id):
                    stopping[call_id] = pool.submit(_stop, client, call_id)
            calls.wait(_ROUND)
            wait(stopping.values(), _ROUND)
            over = answered and all(each.done() for each in stopping.values()) and not any(map(goes_on, stopping))
            if over or CLOCK.monotonic() >= until:
                break
            CLOCK.sleep(_ROUND)
    results = {call_id: begun.result() for call_id, begun in stopping.items()}
    for result in results.values():
        log.info("The task is over: %s.", result.message)
    return results


def _stop(client: RetellClient, call_id: str) -> StopResult:
    try:
        return client.run(stop(call_id, leave_registered=False))
    except RetellError as error:
        return StopResult(message=f"{call_id} may go on ({error})", may_go_on=True)


def _in_words(results: Mapping[str, StopResult], *, unanswered: int) -> str:
    """Return what became of the calls, in words.

    >>> results = {"call_1": StopResult(message=""), "call_2": StopResult(message="", may_go_on=True)}
    >>> _in_words(results, unanswered=1)
    '1 of its 2 live calls may go on (call_2), and 1 request to place a call was not answered in time'
    """
    going_on = [call_id for call_id, result in results.items() if result.may_go_on]
    if going_on:
        shown = ", ".join([*going_on[:_SHOWN], *(["..."] if len(going_on) > _SHOWN else [])])
        words = f"{len(going_on)} of its {len(results)} live calls may go on ({shown})"
    elif results:
        words = f"Its {len(results)} live {'call was' if len(results) == 1 else 'calls were'} stopped"
    else:
        words = _NONE
    if unanswered:
        requests = "request to place a call was" if unanswered == 1 else "requests to place calls were"
        words += f", and {unanswered} {requests} not answered in time"
    return words
