"""List all calls of an interval as a stream of pages, as Retell sends them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.concurrency import RequestRate
from airflow_provider_retell.api.endpoints import Request, get_call, list_calls
from airflow_provider_retell.api.filters import MAX_PAGE_SIZE
from airflow_provider_retell.api.pages import Fields, Page, PageWalk, as_sent
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.outcomes import WITHOUT_TIMES


def read_filters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters that are not None.

    >>> read_filters({"agent_id": "agent_1", "direction": None})
    {'agent_id': 'agent_1'}

    Args:
        given: Filters of ``airflow_provider_retell.api.endpoints.list_calls``, after templates were rendered.

    Raises:
        RetellInputError: A filter is empty, for example because a template rendered to nothing. It must not count
            as no filter, because the files would then hold other people's calls.
    """
    filters = {name: value for name, value in given.items() if value is not None}
    for name, value in filters.items():
        if name == "metadata" and not isinstance(value, Mapping):
            raise RetellInputError(f"{name} must be a mapping, got {shown(value)}. Nothing was sent.")
        if _has_empty_part(value):
            raise RetellInputError(
                f"{name} is empty or has an empty part, got {shown(value)}: did a template render to nothing? "
                f"Leave {name} out to export the calls without this filter. Nothing was sent."
            )
    return filters


def _has_empty_part(value: Any) -> bool:
    match value:
        case str():
            return value.strip() in {"", "None"}  # what Jinja makes of None
        case Mapping():
            return not value or any(map(_has_empty_part, [*value.keys(), *value.values()]))
        case Collection():
            return not value or any(map(_has_empty_part, value))
    return False


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The calls to export.

    Attributes:
        start: Calls answered at this time or later, in milliseconds since the epoch.
        end: Calls answered before this time.
        filters: Further filters of ``airflow_provider_retell.api.endpoints.list_calls``.
        page_size: Calls in one response, 1 to 1000.
    """

    start: int
    end: int
    filters: Mapping[str, Any]
    page_size: int = MAX_PAGE_SIZE

    def dated(self, *, since: int = 0) -> Request[Page[Fields]]:
        """Return the request for the first page of the interval, oldest calls first.

        Args:
            since: Leave out calls that started earlier, in milliseconds since the epoch.
        """
        return self._list(started_from=max(self.start, since), started_before=self.end, **self.filters)

    def undated(self) -> Request[Page[Fields]] | None:
        """Return the request for the first page of the calls that may have no start, None if there can be none.

        Retell has no filter for them alone, so the list also has calls with a start.
        """
        wanted = self.filters.get("call_status") or WITHOUT_TIMES
        statuses = [status for status in WITHOUT_TIMES if status in wanted]
        return self._list(**{**self.filters, "call_status": statuses}) if statuses else None

    def describe_interval(self) -> str:
        """Return the interval in words.

        >>> Selection(start=0, end=86_400_000, filters={}).describe_interval()
        'the calls from 1970-01-01T00:00:00+00:00 to 1970-01-02T00:00:00+00:00'
        """
        start, end = (datetime.fromtimestamp(moment / 1000, UTC).isoformat() for moment in (self.start, self.end))
        return f"the calls from {start} to {end}"

    def describe_filters(self) -> str:
        """Return the filters in words; metadata is shown as a digest, because it may be about a person.

        >>> Selection(start=0, end=1, filters={"direction": "inbound", "agent_id": "agent_1"}).describe_filters()
        "agent_id 'agent_1', direction 'inbound'"
        """
        return ", ".join(f"{name} {_describe_filter(name, value)}" for name, value in sorted(self.filters.items()))

    def _list(self, **arguments: Any) -> Request[Page[Fields]]:
        # Oldest first: calls that start meanwhile come last, so they do not shift the pages.
        return as_sent(list_calls(page_size=self.page_size, sort_order="ascending", **arguments))


def _describe_filter(name: str, value: Any) -> str:
    if name != "metadata":
        return repr(value if isinstance(value, str) else sorted(value))
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def complete_call(call_id: str) -> Request[Fields]:
    """Return the request for one call with all its fields, read as Retell sends them."""
    return replace(cast("Request[Any]", get_call(call_id)), read=_read_complete_call)


def _read_complete_call(body: Any) -> Fields:
    if not isinstance(body, dict) or not isinstance(body.get("call_id"), str) or not body["call_id"]:
        raise ValueError("a call without call_id")
    return body


@dataclass(frozen=True, kw_only=True)
class ListedPage:
    """One page of the list.

    Attributes:
        calls: The calls that were not on the previous page.
        ids: The ids of all calls of the page.
        cursor: Where the next page begins, None after the last one.
        unreadable: How many items had no ``call_id``.
    """

    calls: Sequence[Fields]
    ids: Collection[str]
    cursor: str | None
    unreadable: int = 0


def pages(
    send: Callable[[Request[Page[Fields]]], Page[Fields]],
    first: Request[Page[Fields]],
    *,
    rate: RequestRate | None = None,
    seen: Collection[str] = (),
) -> Generator[ListedPage]:
    """Yield the pages from a first one on; the next page is read while the caller handles the current one.

    At most two pages are in memory.

    Args:
        send: Sends a request; called in a thread.
        first: The request for the first page.
        rate: When the next request may begin.
        seen: The ids on the page before the first one.

    Raises:
        RetellResponseError: The list cannot be read to its end.
    """

    def read(request: Request[Page[Fields]]) -> Page[Fields]:
        if rate is not None:
            rate.wait()
        return send(request)

    walk = PageWalk(first, seen=seen)
    pool = ThreadPoolExecutor(1, thread_name_prefix="retell-pages")
    try:
        coming: Future[Page[Fields]] | None = pool.submit(read, first)
        while coming is not None:
            page = coming.result()
            calls = walk.take(page)
            walk.seen = set(page.items)  # all ids of a long list would fill the memory
            coming = None if walk.request is None else pool.submit(read, walk.request)
            yield ListedPage(calls=calls, ids=page.items, cursor=page.cursor, unreadable=page.unreadable)
    finally:
        pool.shutdown(cancel_futures=True)


def is_undated(call: Mapping[str, Any]) -> bool:
    """Return whether a call has no start, and so belongs to no interval."""
    return call.get("start_timestamp") is None
