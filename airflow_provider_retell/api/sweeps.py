"""Read many calls with few requests. No I/O: a client runs the flows."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from airflow_provider_retell.api.endpoints import MAX_PAGE_SIZE, get_call, list_calls
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.errors import (
    RetellConnectionError,
    RetellError,
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPermissionError,
    RetellResponseError,
    RetellServerError,
)

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

log = logging.getLogger(__name__)

Reading: TypeAlias = "Mapping[str, Call | RetellError]"
"""What was read, by call id: the call, or why it alone could not be read."""

SINGLE_READS: Final = 20
"""Calls that one sweep reads one by one before it leaves the others to the next."""


class Sweeps:
    """Read the calls that somebody waits for, again and again, with few requests each time.

    list-calls first, then get-call for those that it does not show: Retell does not say whether it lists calls
    that are still ``registered``, so a call that it leaves out is not taken for lost. Of such calls one sweep
    reads only some, each time others, because most have nothing new to tell; it goes on to the next of them as
    long as all that it read were over. One call alone is read with get-call.

    Args:
        single_reads: Calls that are read one by one before the sweep looks whether going on makes sense.
    """

    def __init__(self, *, single_reads: int = SINGLE_READS) -> None:
        self._single_reads = single_reads
        self._sweep = 0
        self._last_read: dict[str, int] = {}
        self._warned = False
        self._unanswered = False

    def sweep(self, call_ids: Sequence[str]) -> Iterator[Flow[Reading]]:
        """Return one sweep's steps, each to be run before the next is asked for."""
        self._sweep += 1
        self._unanswered = False
        unlisted = dict.fromkeys(call_ids)
        if len(unlisted) > 1:
            parts = _parts(list(unlisted), MAX_PAGE_SIZE)
            while parts:
                yield self._list(parts.pop(0), unlisted, parts)
        self._last_read = {call_id: self._last_read.get(call_id, 0) for call_id in unlisted}
        waiting = list(unlisted)
        # At random among those read equally long ago: a rescheduled sensor begins anew each time.
        random.shuffle(waiting)
        waiting.sort(key=self._last_read.__getitem__)
        live: set[str] = set()
        for some in _parts(waiting, self._single_reads):
            for call_id in some:
                yield self._get(call_id, live)
                if self._unanswered:
                    return
            if live:
                return

    def _list(self, call_ids: list[str], unlisted: dict[str, None], parts: list[list[str]]) -> Flow[Reading]:
        try:
            page = yield list_calls(call_ids=call_ids, page_size=len(call_ids))
        except (RetellInvalidRequestError, RetellNotFoundError) as error:
            # How many ids Retell takes is not documented, and one among them may be what it refuses.
            self._warn(len(call_ids), error)
            if len(call_ids) > SINGLE_READS:
                parts += _parts(call_ids, (len(call_ids) + 1) // 2)
            return {}
        except RetellPermissionError as error:
            self._warn(len(call_ids), error)
            return {}
        asked = set(call_ids)
        found = {call.call_id: call for call in page.calls if call.call_id in asked}
        for call_id in found:
            unlisted.pop(call_id, None)
        return found

    def _warn(self, count: int, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning("Reading %d calls in parts or one by one, since they cannot be listed: %s", count, error)

    def _get(self, call_id: str, live: set[str]) -> Flow[Reading]:
        self._last_read[call_id] = self._sweep
        live.add(call_id)
        try:
            call: Call = yield get_call(call_id)
        except (RetellNotFoundError, RetellServerError, RetellResponseError) as error:
            # One call that Retell cannot tell of says nothing about the others.
            return {call_id: error}
        except RetellConnectionError as error:
            # Nor does one answer that does not come about those that came; but the next may take as long.
            self._unanswered = True
            return {call_id: error}
        if call.is_terminal:
            live.discard(call_id)
        return {call_id: call}


def read_calls(call_ids: Sequence[str]) -> Flow[dict[str, Call]]:
    """Read all of some calls, with as few requests as possible.

    Raises:
        RetellNotFoundError: Retell does not know one of the calls.
    """
    found: dict[str, Call] = {}
    for step in Sweeps(single_reads=max(1, len(call_ids))).sweep(call_ids):
        for call_id, call in (yield from step).items():
            if isinstance(call, RetellError):
                raise call
            found[call_id] = call
    return {call_id: found[call_id] for call_id in dict.fromkeys(call_ids)}


def _parts(call_ids: list[str], size: int) -> list[list[str]]:
    return [call_ids[first : first + size] for first in range(0, len(call_ids), size)]
