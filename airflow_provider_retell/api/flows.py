"""Sequences of requests, each depending on the responses before it. No I/O: a client runs them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_provider_retell.api.endpoints import Request, get_call, stop_call
from airflow_provider_retell.errors import RetellInvalidRequestError, RetellNotFoundError
from airflow_provider_retell.outcomes import CallStatus

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

T = TypeVar("T")
Flow = Generator[Request[Any], Any, T]
"""Yields requests, is sent their results (or thrown their errors), and returns a result.

For example, a flow that reads a call and then its agent, and the loop that runs it::

    def agent_of(call_id: str) -> Flow[dict[str, Any]]:
        call = yield get_call(call_id)
        return (yield get_agent(call.agent_id))


    agent = client.run(agent_of("call_0123abcd"))
"""


class FlowRunner(Protocol):
    """A blocking sender of the requests of flows: a ``RetellClient``."""

    def run(self, flow: Flow[T]) -> T:
        """Send the requests of a flow, one after the other, and return its result."""


class AsyncFlowRunner(Protocol):
    """A sender of the requests of flows on an event loop: an ``AsyncRetellClient``, or a ``Poller``."""

    async def run(self, flow: Flow[T]) -> T:
        """Send the requests of a flow, one after the other, and return its result."""


@dataclass(frozen=True, kw_only=True)
class StopResult:
    """The result of an attempt to stop a call.

    Attributes:
        message: The result in words, beginning with the call's id.
        may_go_on: Whether the call may still be going on, because Retell refused to stop it.
    """

    message: str
    may_go_on: bool = False


def stop(call_id: str, *, leave_registered: bool) -> Flow[StopResult]:
    """Stop a call if it is live, and return what became of it.

    Args:
        call_id: The call.
        leave_registered: Do not stop a call that has not been dialed yet: it times out by itself.
    """
    try:
        call: Call = yield get_call(call_id)
    except RetellNotFoundError as error:
        # Retell may not yet show a call that is already ringing.
        return StopResult(message=f"{call_id} could not be stopped ({error})", may_go_on=True)
    if call.is_terminal:
        return StopResult(message=f"{call_id} was over already ({call.outcome})")
    if leave_registered and call.call_status == CallStatus.REGISTERED:
        return StopResult(message=f"{call_id} has not been dialed yet and times out by itself")
    try:
        yield stop_call(call_id)
    except (RetellInvalidRequestError, RetellNotFoundError) as error:
        return StopResult(message=f"{call_id} could not be stopped ({error})", may_go_on=True)
    return StopResult(message=f"{call_id} was stopped")
