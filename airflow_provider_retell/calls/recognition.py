"""Recognise a call: is it the one that the task asks for, and is it older than the request? Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell._masking import last_digits
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.rows import moment

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.models import Call


def differs(placed: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """Return in words how a call differs from the wanted one, None if it does not.

    The called number and the agent are compared if both sides have them.

    >>> differs({"to_number": "+14155550100"}, {"to_number": "+14155550101"})
    'to …0100, but the task asks for a call to …0101'

    Args:
        placed: The request that was sent.
        asked: The request that would be sent.
    """
    before, now = str(placed.get("to_number") or ""), str(asked.get("to_number") or "")
    if before and now and not _same_number(before, now):
        return f"to {last_digits(before)}, but the task asks for a call to {last_digits(now)}"
    agent, wanted = (request.get("agent_id") or request.get("override_agent_id") for request in (placed, asked))
    if agent and wanted and agent != wanted:
        return f"by agent {agent}, but the task asks for agent {wanted}"
    return None


def request_of(call: CallRow) -> dict[str, Any]:
    """Return the fields of a call's request that the call still shows."""
    return {"to_number": call.to_number, "agent_id": call.agent_id}


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)


def _same_number(one: str, other: str) -> bool:
    shorter, longer = sorted((_digits(one), _digits(other)), key=len)
    if shorter == longer:
        return True
    # Retell shows numbers in E.164 form, whatever form the request had. Two numbers in that form are complete: the
    # digits of one in another country may be the end of the other.
    complete = one.strip().startswith("+") and other.strip().startswith("+")
    return not complete and len(shorter) >= _SHORTEST_NUMBER and longer.endswith(shorter)


_SHORTEST_NUMBER: Final = 7


def was_there_before(call: Call | CallRow, *, first_sent_at: float) -> bool:
    """Return whether the call in a response existed before the request was first sent.

    Retell answers a key that it knows with the call of the first request. A call that is older than the request,
    or that is already over although its phone must have rung, was not placed by it.

    Args:
        call: The call in the response.
        first_sent_at: When the request was first sent, in seconds since the epoch.
    """
    known = [at for at in map(moment, (call.start_timestamp, call.end_timestamp)) if at is not None]
    if known:
        return min(known) < first_sent_at - _CLOCKS_DIFFER
    return call.is_terminal and call.outcome not in _AT_ONCE


_CLOCKS_DIFFER: Final = 2.0
"""Seconds by which this machine's clock and Retell's may differ."""

_AT_ONCE: Final = frozenset(
    {Outcome.CAPACITY, Outcome.BAD_NUMBER, Outcome.BLOCKED, Outcome.BILLING, Outcome.TECHNICAL, Outcome.NOT_DIALED}
)
"""Outcomes of calls that may be over in the response that places them: no phone has rung."""
