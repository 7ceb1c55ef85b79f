"""All calls of an interval as a stream of pages, as Retell sends them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast

from airflow_provider_retell.api.concurrency import RequestRate
from airflow_provider_retell.api.endpoints import MAX_PAGE_SIZE, Request, get_call, list_calls, page_at
from airflow_provider_retell.errors import RetellExportError

Fields: TypeAlias = dict[str, Any]
"""A call as Retell sends it: not as a model, which costs ten times as much and has no use for a copy."""

_WITHOUT_CONVERSATION: Final = ("not_connected", "error")


@dataclass(frozen=True, kw_only=True)
class RawPage:
    """One answer of list-calls.

    Attributes:
        calls: The calls, less those that an earlier page had.
        cursor: Where the next page begins, None after the last one.
        unreadable: How many items had no ``call_id``.
    """

    calls: tuple[Fields, ...]
    cursor: str | None
    unreadable: int = 0


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which calls are wanted.

    Attributes:
        start: Calls answered at this time or later, in milliseconds since the epoch.
        end: Calls answered before this time.
        filters: Further filters of ``airflow_provider_retell.api.endpoints.list_calls``.
        page_size: Calls in one answer, 1 to 1000.
    """

    start: int
    end: int
    filters: Mapping[str, Any]
    page_size: int = MAX_PAGE_SIZE

    def dated(self, *, since: int = 0) -> Request[RawPage]:
        """Return the request for the first page of the interval, oldest calls first.

        Args:
            since: Leave out what is earlier, in milliseconds since the epoch.
        """
        return self._list(started_from=max(self.start, since), started_before=self.end, **self.filters)

    def undated(self) -> Request[RawPage] | None:
        """Return the request for the first page of the calls that may have no start, None if there can be none.

        Retell cannot be asked for them alone: those that have a start come along.
        """
        wanted = self.filters.get("call_status") or _WITHOUT_CONVERSATION
        statuses = [status for status in _WITHOUT_CONVERSATION if status in wanted]
        return self._list(**{**self.filters, "call_status": statuses}) if statuses else None

    def describe_interval(self) -> str:
        """Return the interval in words.

        >>> Selection(start=0, end=86_400_000, filters={}).describe_interval()
        'the calls from 1970-01-01T00:00:00+00:00 to 1970-01-02T00:00:00+00:00'
        """
        start, end = (datetime.fromtimestamp(moment / 1000, UTC).isoformat() for moment in (self.start, self.end))
        return f"the calls from {start} to {end}"

    def describe_filters(self) -> str:
        """Return the filters in words, the metadata as a digest: its values may be about a person.

        >>> Selection(start=0, end=1, filters={"direction": "inbound", "agent_id": "agent_1"}).describe_filters()
        "agent_id 'agent_1', direction 'inbound'"
        """
        return ", ".join(f"{name} {_describe_filter(name, value)}" for name, value in sorted(self.filters.items()))

    def _list(self, **arguments: Any) -> Request[RawPage]:
        # Oldest first: what starts while this reads comes behind what was read, and moves no page.
        listed = list_calls(page_size=self.page_size, sort_order="ascending", **arguments)
        return replace(cast("Request[Any]", listed), read=_read_page)


def _describe_filter(name: str, value: Any) -> str:
    if name != "metadata":
        return repr(sorted(value) if isinstance(value, list | tuple) else value)
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _read_page(answer: Any) -> RawPage:
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        raise ValueError("a list of calls without items")  # noqa: TRY004 (one class for every unreadable answer)
    calls = tuple(item for item in answer["items"] if _is_call(item))
    cursor = answer.get("pagination_key")
    if answer.get("has_more") and not (isinstance(cursor, str) and cursor):
        raise ValueError("a list of calls that has more and does not say where")
    more = answer.get("has_more", cursor is not None)
    return RawPage(calls=calls, cursor=cursor if more else None, unreadable=len(answer["items"]) - len(calls))


def whole_call(call_id: str) -> Request[Fields]:
    """Return the request for one call, with everything Retell has of it, as Retell sends it."""
    return replace(cast("Request[Any]", get_call(call_id)), read=_read_whole_call)


def _read_whole_call(answer: Any) -> Fields:
    if not _is_call(answer):
        raise ValueError("a call without call_id")
    return dict(answer)


def _is_call(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("call_id"), str) and bool(item["call_id"])


def pages(
    send: Callable[[Request[RawPage]], RawPage],
    first: Request[RawPage],
    *,
    pace: RequestRate | None = None,
    last_ids: frozenset[str] = frozenset(),
) -> Generator[RawPage]:
    """Yield the pages from a first one on; the next one is read while somebody deals with the one before.

    Two pages are in memory at most.

    Args:
        send: Sends a request; called in a thread.
        first: The request for the first page.
        pace: When the next request may begin.
        last_ids: The calls of the page before the first one.

    Raises:
        RetellExportError: A cursor came twice: the list leads round in circles.
    """

    def read(endpoint: Request[RawPage]) -> RawPage:
        if pace is not None:
            pace.wait()
        return send(endpoint)

    seen: set[str] = {str((first.body or {}).get("pagination_key"))}
    pool = ThreadPoolExecutor(1, thread_name_prefix="retell-pages")
    try:
        coming: Future[RawPage] | None = pool.submit(read, first)
        while coming is not None:
            page, coming = coming.result(), None
            if page.cursor is not None:
                if page.cursor in seen:
                    raise RetellExportError(
                        f"{first}: Retell's list of calls leads back to a page that was read before."
                    )
                seen.add(page.cursor)
                coming = pool.submit(read, page_at(first, page.cursor))
            # A page may begin with calls that the one before ended with.
            fresh = {call["call_id"]: call for call in page.calls if call["call_id"] not in last_ids}
            last_ids = frozenset(call["call_id"] for call in page.calls)
            yield replace(page, calls=tuple(fresh.values()))
    finally:
        pool.shutdown(cancel_futures=True)


def is_undated(call: Mapping[str, Any]) -> bool:
    """Say whether a call has no start, and so belongs to no interval."""
    return call.get("start_timestamp") is None
