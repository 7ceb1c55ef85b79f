"""Read many calls with few requests. No I/O: a client runs the flows."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

from airflow_provider_retell.api.endpoints import Request, get_call, list_calls
from airflow_provider_retell.api.filters import MAX_PAGE_SIZE
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.pages import Page
from airflow_provider_retell.api.patience import NOT_THERE_YET
from airflow_provider_retell.errors import (
    Concerns,
    RetellConnectionError,
    RetellError,
    RetellPermissionError,
    RetellRateLimitError,
)
from airflow_provider_retell.outcomes import CallStatus

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

log = logging.getLogger(__name__)


class SeenCall(Protocol):
    """The state of a call by which a wait decides: a ``Call`` or a ``CallState``."""

    @property
    def call_id(self) -> str:
        """Its id."""

    @property
    def call_status(self) -> CallStatus | str | None:
        """Its status; one that this package does not know is a plain string."""

    @property
    def is_terminal(self) -> bool:
        """True if it is over."""

    @property
    def connected(self) -> bool:
        """True if a person or a machine answered."""

    @property
    def analyzed(self) -> bool:
        """True if it has an analysis."""

    @property
    def end_timestamp(self) -> Any:
        """The time of its end according to Retell, in milliseconds since the epoch."""


C = TypeVar("C", bound=SeenCall)


@dataclass(frozen=True, kw_only=True)
class Projection(Generic[C]):
    """The fields to read of a call, and the type that holds them: a model, a row, or a state.

    Attributes:
        one: Returns the same request for one call, read as this type.
        page: Returns the same request for a page of calls, each read as this type.
    """

    one: Callable[[Request[Call]], Request[C]]
    page: Callable[[Request[Page[Call]]], Request[Page[C]]]


MODELS: Final[Projection[Call]] = Projection(one=lambda request: request, page=lambda request: request)

Reading: TypeAlias = Mapping[str, C | RetellError]
"""The calls read, by call id; an error in place of a call that could not be read."""

SINGLE_READS: Final = 20
"""Calls that one sweep reads one by one before it leaves the others to the next."""

SHORTEST_LIST: Final = 20
"""A refused list of this many ids or fewer is not halved: reading them one by one is cheaper."""


class Sweeps(Generic[C]):
    """Read the calls of waiting tasks again and again, with few requests each time.

    A sweep uses list-calls first, then get-call for the calls that the list does not show: Retell does not
    document whether it lists calls that are still ``registered``, so a call missing from the list is not lost.
    Most of those have not changed, so one sweep reads only some of them, and different ones each time; if all of
    these are over, it reads more. Only the last sweep asks for all. One call alone is read with get-call.

    What a failed read does:

    =================================  ==================================================================
    the failure                        the sweep
    =================================  ==================================================================
    list: concerns call or request     lists half as many ids, down to 20, then reads them one by one
    list: 403                          reads them one by one
    list: any other                    ends with it
    get: 401, 402, 403, 429            ends with it
    get: no response                   hands it to this call, and leaves the rest to the next sweep
    get: 404, 422 for a minute         leaves this call out: it is not there yet (but not the last sweep).
                                       The minute begins when it is first not found, in a rescheduled
                                       sensor at the first poke
    get: any other                     hands it to this call, and goes on
    =================================  ==================================================================

    Args:
        projection: The fields to read of the calls.
        waited: Seconds since the first sweep, if another process made it (a rescheduled sensor).
    """

    def __init__(self, projection: Projection[C], *, waited: float = 0) -> None:
        self._projection = projection
        self._waited = waited
        self._sweep = 0
        self._now = 0.0
        self._is_last = False
        self._last_read: dict[str, int] = {}
        self._first_missed: dict[str, float] = {}
        self._warned = False
        self._unanswered = False

    def sweep(self, call_ids: Sequence[str], *, now: float) -> Iterator[Flow[Reading[C]]]:
        """Return the steps of one sweep; run each one before taking the next.

        Args:
            call_ids: The calls.
            now: Seconds by a monotonic clock.
        """
        self._now, self._is_last = now, False
        return self._steps(call_ids, single_reads=SINGLE_READS)

    def last_sweep(self, call_ids: Sequence[str]) -> Iterator[Flow[Reading[C]]]:
        """Return the steps of the final sweep: it asks for every call, until a request gets no response.

        Args:
            call_ids: The calls.
        """
        self._is_last = True
        return self._steps(call_ids, single_reads=max(1, len(call_ids)))

    def _steps(self, call_ids: Sequence[str], *, single_reads: int) -> Iterator[Flow[Reading[C]]]:
        self._sweep += 1
        self._unanswered = False
        self._first_missed = {i: self._first_missed[i] for i in call_ids if i in self._first_missed}
        unlisted = dict.fromkeys(call_ids)
        if len(unlisted) > 1:
            parts = _parts(list(unlisted), MAX_PAGE_SIZE)
            while parts:
                yield self._list(parts.pop(0), unlisted, parts)
        self._last_read = {call_id: self._last_read.get(call_id, 0) for call_id in unlisted}
        waiting = list(unlisted)
        # At random among those read equally long ago, because each poke of a rescheduled sensor starts from
        # scratch.
        random.shuffle(waiting)
        waiting.sort(key=self._last_read.__getitem__)
        not_over: set[str] = set()
        for some in _parts(waiting, single_reads):
            for call_id in some:
                yield self._get(call_id, not_over)
                if self._unanswered:
                    return
            if not_over:
                return

    def _list(self, call_ids: list[str], unlisted: dict[str, None], parts: list[list[str]]) -> Flow[Reading[C]]:
        request = self._projection.page(list_calls(call_ids=call_ids, page_size=len(call_ids)))
        try:
            page: Page[C] = yield request
        except RetellError as error:
            refused = error.concerns in {Concerns.CALL, Concerns.REQUEST}
            if not refused and not isinstance(error, RetellPermissionError):
                raise
            self._warn(len(call_ids), error)
            parts += _halves(call_ids) if refused else []
            return {}
        found = _asked_for(page, call_ids)
        for call_id in found:
            unlisted.pop(call_id, None)
        return found

    def _warn(self, count: int, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning("Reading %d calls in parts or one by one, since they cannot be listed: %s", count, error)

    def _get(self, call_id: str, not_over: set[str]) -> Flow[Reading[C]]:
        request = self._projection.one(get_call(call_id))
        self._last_read[call_id] = self._sweep
        not_over.add(call_id)
        try:
            call: C = yield request
        except RetellError as error:
            if error.concerns is Concerns.ACCOUNT or isinstance(error, RetellRateLimitError):
                raise
            # After one response has timed out, the next may take as long.
            self._unanswered = isinstance(error, RetellConnectionError)
            return {} if self._is_not_there_yet(call_id, error) else {call_id: error}
        self._first_missed.pop(call_id, None)
        if call.is_terminal:
            not_over.discard(call_id)
        return {call_id: call}

    def _is_not_there_yet(self, call_id: str, error: RetellError) -> bool:
        if error.concerns is not Concerns.CALL or self._is_last:
            return False
        if call_id not in self._first_missed:
            self._first_missed[call_id] = self._now - self._waited
            log.info("Retell does not show %s yet; looking again: %s", call_id, error)
        return self._now < self._first_missed[call_id] + NOT_THERE_YET


def read_calls(call_ids: str | Sequence[str]) -> Flow[dict[str, Call]]:
    """Read calls with as few requests as possible.

    Args:
        call_ids: The calls, or one call.

    Raises:
        RetellNotFoundError: Retell does not know one of the calls.
    """
    call_ids = [call_ids] if isinstance(call_ids, str) else call_ids
    found: dict[str, Call] = {}
    for step in Sweeps(MODELS).last_sweep(call_ids):
        for call_id, call in (yield from step).items():
            if isinstance(call, RetellError):
                raise call
            found[call_id] = call
    return {call_id: found[call_id] for call_id in dict.fromkeys(call_ids)}


def list_many(call_ids: Sequence[str], projection: Projection[C]) -> Flow[list[C]]:
    """Return those of the given calls that Retell lists; read none one by one.

    Args:
        call_ids: The calls.
        projection: The fields to read of them.

    Raises:
        RetellError: A list was refused, however short, or failed.
    """
    parts = _parts(list(call_ids), MAX_PAGE_SIZE)
    found: list[C] = []
    while parts:
        part = parts.pop()
        try:
            page: Page[C] = yield projection.page(list_calls(call_ids=part, page_size=len(part)))
        except RetellError as error:
            halves = _halves(part) if error.concerns in {Concerns.CALL, Concerns.REQUEST} else []
            if not halves:
                raise
            parts += halves
        else:
            found += _asked_for(page, part).values()
    return found


def _asked_for(page: Page[C], call_ids: Sequence[str]) -> dict[str, C]:
    """Return those of some calls that a page holds: Retell may list others too, and leave some out."""
    return {call_id: page.items[call_id] for call_id in call_ids if call_id in page.items}


def _halves(call_ids: list[str]) -> list[list[str]]:
    """Return a refused list in two parts; nothing if it is short: reading one by one is cheaper then.

    Retell does not document how many ids it takes, and may refuse a list because of one of them.
    """
    return _parts(call_ids, (len(call_ids) + 1) // 2) if len(call_ids) > SHORTEST_LIST else []


def _parts(call_ids: list[str], size: int) -> list[list[str]]:
    return [call_ids[first : first + size] for first in range(0, len(call_ids), size)]
