"""Several requests of which each depends on the answers before. No I/O: a client runs them, blocking or not."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from airflow_provider_retell.endpoints import MAX_PAGE_SIZE, Endpoint, get_call, list_calls, stop_call
from airflow_provider_retell.errors import (
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPermissionError,
)
from airflow_provider_retell.models import Call
from airflow_provider_retell.outcomes import CallStatus

log = logging.getLogger(__name__)

T = TypeVar("T")
Flow = Generator[Endpoint[Any], Any, T]
"""Yields requests, takes their answers (or errors), returns a result."""


def read_calls(call_ids: Sequence[str]) -> Flow[dict[str, Call]]:
    """Read many calls with few requests: list-calls first, get-call for those that it does not show.

    Retell does not say whether list-calls shows calls that are still ``registered``, so a call that it leaves
    out is not taken for lost. One call alone is read with get-call.

    Raises:
        RetellNotFoundError: Retell does not know one of the calls.
    """
    wanted = dict.fromkeys(call_ids)
    found: dict[str, Call] = {}
    if len(wanted) > 1:
        for first in range(0, len(wanted), MAX_PAGE_SIZE):
            some = list(wanted)[first : first + MAX_PAGE_SIZE]
            try:
                page = yield list_calls(call_ids=some, page_size=len(some))
            except (RetellInvalidRequestError, RetellNotFoundError, RetellPermissionError) as error:
                # How many ids Retell takes, and which keys may list, is not documented.
                log.warning("Reading %d calls one by one, since they cannot be listed: %s", len(some), error)
                continue
            found |= {call.call_id: call for call in page.calls if call.call_id in wanted}
    for call_id in wanted:
        if call_id not in found:
            found[call_id] = yield get_call(call_id)
    return found


def hang_up(call_id: str, *, leave_registered: bool) -> Flow[str]:
    """Stop a call if it is live, and return what became of it.

    Args:
        call_id: The call.
        leave_registered: Leave a call alone that nobody has dialled yet: it times out by itself.
    """
    call: Call = yield get_call(call_id)
    if call.is_terminal:
        return f"{call_id} was over already ({call.outcome})"
    if leave_registered and call.call_status == CallStatus.REGISTERED:
        return f"{call_id} was not dialled yet and times out by itself"
    try:
        yield stop_call(call_id)
    except (RetellInvalidRequestError, RetellNotFoundError) as error:
        return f"{call_id} could not be stopped ({error})"
    return f"{call_id} was stopped"
