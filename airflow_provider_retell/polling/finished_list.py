"""List the calls of an account that may have ended since a watcher's last look. No I/O: a client runs the flows.

Retell can only sort its list by the start of the calls, and does not document whether calls that were never
answered have an end. So three lists are read: the calls that ended since the last look, the newest calls that were
not connected or failed, and the newest calls that were stopped, perhaps before they were answered.

See https://docs.retellai.com/api-references/list-calls
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from airflow_provider_retell.api.endpoints import list_calls
from airflow_provider_retell.api.filters import MAX_PAGE_SIZE, any_of
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.pages import Fields, PageWalk, as_sent
from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.outcomes import WITHOUT_TIMES

WITHOUT_AN_END: Final[Mapping[str, Mapping[str, Any]]] = {
    "unanswered": {"call_status": any_of(WITHOUT_TIMES)},
    "stopped": {"disconnection_reason": any_of(["manual_stopped", "no_concurrency_fallback"])},
}
"""The filters of calls that may have no end: not connected, failed, or stopped before they were answered."""

PAGES_AT_ONCE: Final = 5
"""Pages of ended calls after which a watcher that is far behind announces them, before it reads on."""

OVERLAP_MS: Final = 600_000
"""Milliseconds by which the list may show a call late, after calls that ended later."""

FAR_BEHIND_MS: Final = 3_600_000
"""Milliseconds before the present up to which a list may be read in parts."""

KNOWN_AT_LEAST: Final = 500
"""The calls of a list that a watcher remembers. A call is new only if it is listed before one of them."""

KNOWN_AT_MOST: Final = 3000
"""The most calls of a list to remember, in a rush: 24 kB. Airflow warns of values of more than 64 kB."""

LATE_MS: Final = OVERLAP_MS + round(LONGEST_RINGING * 1000)
"""Maximum milliseconds from the beginning of a call until a list of ``WITHOUT_AN_END`` shows it."""

NEWEST_PAGES: Final = 100
"""The most pages of a list of ``WITHOUT_AN_END`` to read in search of a known call."""

DIGEST_LENGTH: Final = 8
MINUTE_MS: Final = 60_000


def digest(call_id: str) -> str:
    """Return the digest of a call's id that a cursor remembers: 48 bits, a fifth of its length."""
    return urlsafe_b64encode(hashlib.sha256(call_id.encode()).digest())[:DIGEST_LENGTH].decode()


@dataclass(frozen=True, kw_only=True)
class Known:
    """The calls of a list of ``WITHOUT_AN_END`` that a watcher remembers.

    Attributes:
        digests: The newest ones, in the order of the list.
        complete: Whether the list has no others, so that any other call is new, wherever it is listed.
        recent: How many were new within the last ``LATE_MS``, by the minute: at most this many are listed before
            a call that is listed late.
    """

    digests: tuple[str, ...] = ()
    complete: bool = False
    recent: Mapping[int, int] = field(default_factory=dict)

    def with_new(self, number: int, *, now_ms: int) -> Self:
        """Return a copy with some more calls counted as new, and without the counts of long ago."""
        counts = {**self.recent, now_ms // MINUTE_MS: self.recent.get(now_ms // MINUTE_MS, 0) + number}
        oldest = (now_ms - LATE_MS) // MINUTE_MS
        return replace(self, recent={minute: it for minute, it in counts.items() if it and minute >= oldest})

    def depth(self, at_least: int = KNOWN_AT_LEAST) -> int:
        """Return how many calls to remember: enough that some are listed behind a call that is listed late."""
        return min(max(at_least, 2 * sum(self.recent.values())), KNOWN_AT_MOST)

    def enough(self, pages: Sequence[Sequence[str]]) -> bool:
        """Return whether the pages read so far hold all new calls.

        Args:
            pages: The digests of each page, newest first.
        """
        if self.complete:
            return False
        known = set(self.digests)
        found = known.intersection(*[set().union(*pages)])
        return found == known or (bool(found) and known.isdisjoint(pages[-1]))


@dataclass(frozen=True, kw_only=True)
class Want:
    """The request of one watcher.

    Attributes:
        ended_from: Calls that ended at this time or later, in milliseconds since the epoch.
        filters: Arguments of ``list_calls`` that the calls must match: ``agent_id``, ``direction``, ``metadata``.
        known: The calls that it knows in each list of ``WITHOUT_AN_END``; empty before its first look.
    """

    ended_from: int
    filters: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Known] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Calls that have an end.

    Attributes:
        calls: The calls, as Retell sends them.
        up_to: Milliseconds since the epoch; all calls that ended earlier are here. None if the list was read to
            its end.
    """

    calls: Sequence[Fields] = ()
    up_to: int | None = None


@dataclass(frozen=True, kw_only=True)
class Newest:
    """The newest calls that may have no end; some of them have one.

    Attributes:
        calls: The calls, newest first.
        complete: Whether these are all calls of the list.
    """

    calls: Sequence[Fields] = ()
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The calls that a round lists for one watcher; not all of them match its filters."""

    ended: Ended = field(default_factory=Ended)
    newest: Mapping[str, Newest] = field(default_factory=dict)


def matches(call: Fields, filters: Mapping[str, Any]) -> bool:
    """Return whether a call passes filters, as Retell compares them."""
    for name, wanted in filters.items():
        if name == "metadata":
            given = call.get("metadata")
            if not isinstance(given, Mapping) or not all(
                _equal(given.get(key), value) for key, value in wanted.items()
            ):
                return False
        elif call.get(name) != wanted:
            return False
    return True


def common_filters(wants: Sequence[Want]) -> dict[str, Any]:
    """Return the filters that all watchers have in common, so that Retell can apply them.

    >>> some = [Want(ended_from=0, filters={"direction": "inbound", "agent_id": name}) for name in ("a", "b")]
    >>> common_filters(some)
    {'direction': 'inbound'}
    """
    first, *others = [want.filters for want in wants]
    return {name: it for name, it in first.items() if all(repr(other.get(name)) == repr(it) for other in others)}


def list_ended(
    ended_from: int,
    filters: Mapping[str, Any],
    *,
    now: float,
    page_size: int = MAX_PAGE_SIZE,
) -> Flow[Ended]:
    """Read the calls that ended at a time or later, in the order of their start.

    Once the list is read up to a start, every call that ended before it has been read, because a call starts
    before it ends. So a long list can be left in the middle.

    Args:
        ended_from: Milliseconds since the epoch.
        filters: Further arguments of ``list_calls``.
        now: Seconds since the epoch.
        page_size: Calls in one response.
    """
    since = {"end_timestamp": {"type": "number", "op": "ge", "value": ended_from}}
    walk = PageWalk(
        as_sent(list_calls(filter_criteria=since, sort_order="ascending", page_size=page_size, **filters))
    )
    calls: list[Fields] = []
    starts: list[int] = []
    read = 0
    while walk.request is not None:
        page = walk.take((yield walk.request))
        calls += page
        starts += [call["start_timestamp"] for call in page if isinstance(call.get("start_timestamp"), int)]
        read += 1
        if walk.request is not None and read >= PAGES_AT_ONCE and starts == sorted(starts):
            last = starts[-1] if starts else 0
            # Not in the middle of a rush: the next look begins ten minutes before, and would get no further.
            if ended_from + 2 * OVERLAP_MS < last < now * 1000 - FAR_BEHIND_MS:
                return Ended(calls=calls, up_to=last)
    return Ended(calls=calls)


def list_newest(name: str, wants: Sequence[Want], *, page_size: int = KNOWN_AT_LEAST) -> Flow[Newest]:
    """Read the newest calls that may have no end, until each watcher has all that are new to it.

    Args:
        name: The name of the list in ``WITHOUT_AN_END``.
        wants: The requests of the watchers.
        page_size: Calls in one response.
    """
    filters = WITHOUT_AN_END[name]
    walk = PageWalk(as_sent(list_calls(filter_criteria=filters, sort_order="descending", page_size=page_size)))
    calls: list[Fields] = []
    pages: list[list[str]] = []
    while walk.request is not None and len(pages) < NEWEST_PAGES:
        page = walk.take((yield walk.request))
        calls += page
        pages.append([digest(call["call_id"]) for call in page])
        # Before its first look a watcher only wants to know where the list begins.
        if all(want.known[name].enough(pages) for want in wants if name in want.known):
            break
    return Newest(calls=calls, complete=walk.request is None)


def _equal(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
