"""Read lists page by page. Pure: no I/O.

See https://docs.retellai.com/api-references/list-calls
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast

from airflow_provider_retell.errors import RetellResponseError

if TYPE_CHECKING:
    from airflow_provider_retell.api.endpoints import Request

T = TypeVar("T")

Fields: TypeAlias = dict[str, Any]
"""A call as Retell sends it: making a model of it takes ten times as long."""


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """One response of a list.

    Attributes:
        items: The items by id, each once, in the order of the list.
        cursor: Where the next page begins, None if Retell does not say.
        has_more: Whether there is a next page.
        unreadable: How many items could not be read.
    """

    items: Mapping[str, T]
    cursor: str | None = None
    has_more: bool = False
    unreadable: int = 0

    @property
    def calls(self) -> tuple[T, ...]:
        """The items of a list of calls."""
        return tuple(self.items.values())


def page_of(
    read: Callable[[Any], T],
    *,
    key: str = "call_id",
    read_all: Callable[[list[Any]], dict[str, T]] | None = None,
) -> Callable[[Any], Page[T]]:
    """Return the function that reads a page of items.

    Args:
        read: Reads one item; raises ``ValueError`` for one that it cannot read.
        key: The field that holds an item's id.
        read_all: Reads all items of a page at once, by id; raises ``ValueError`` if they have to be read one by
            one, which must still be possible. None if that is never faster.
    """

    def read_page(body: Any) -> Page[T]:
        if not isinstance(body, dict) or not isinstance(body.get("items"), list):
            raise ValueError("a list without items")  # noqa: TRY004 (one class for every unreadable response)
        if read_all is not None:
            with suppress(ValueError):
                all_items = read_all(body["items"])
                if len(all_items) == len(body["items"]):  # else two of them have the same id
                    return page(all_items, body.get("pagination_key"), body.get("has_more"))
        items: dict[str, T] = {}
        unreadable = 0
        for item in body["items"]:
            item_id = item.get(key) if isinstance(item, dict) else None
            if isinstance(item_id, str) and item_id:
                try:
                    items.setdefault(item_id, read(item))
                    continue
                except ValueError:
                    pass
            # One bad item must not hide the others of its page.
            unreadable += 1
        return page(items, body.get("pagination_key"), body.get("has_more"), unreadable=unreadable)

    return read_page


def page(items: Mapping[str, T], cursor: Any, more: Any, *, unreadable: int = 0) -> Page[T]:
    """Return a page.

    Args:
        items: Its items by id.
        cursor: ``pagination_key`` of the response.
        more: ``has_more`` of the response.
        unreadable: How many items could not be read.
    """
    cursor = cursor if isinstance(cursor, str) and cursor else None
    has_more = cursor is not None if more is None else bool(more)
    return Page(items=items, cursor=cursor if has_more else None, has_more=has_more, unreadable=unreadable)


def as_sent(request: Request[Page[Any]]) -> Request[Page[Fields]]:
    """Return the same request for a page of calls, which reads them as plain dicts and not as models."""
    return replace(cast("Request[Any]", request), read=_read_as_sent)


def _all_as_sent(items: list[Any]) -> dict[str, Fields]:
    try:
        by_id: dict[str, Fields] = {item["call_id"]: item for item in items}
    except (TypeError, LookupError):
        raise ValueError("an item that is not a call") from None
    if "" in by_id or not set(map(type, by_id)) <= {str}:
        raise ValueError("a call without an id")
    return by_id


_read_as_sent: Final = page_of(lambda item: cast("Fields", item), read_all=_all_as_sent)


class PageWalk(Generic[T]):
    """Walk through the pages of a list, so that no item comes twice and none is dropped silently.

    ======================================  ============================================
    the page                                the walk
    ======================================  ============================================
    says that there are no more             ends
    has a cursor                            goes on there
    has a cursor that it had before         fails: the walk would never end
    says that it has more, without cursor   fails: the list would be incomplete
    holds items of an earlier page          leaves them out
    holds items that cannot be read         leaves them out and counts them
    ======================================  ============================================

    For example::

        walk = PageWalk(list_calls(agent_id="agent_1"))
        while walk.request is not None:
            for call in walk.take(client.send(walk.request)):
                ...

    Args:
        first: The request for the first page, or for the page at which an earlier walk stopped.
        seen: Ids of items that an earlier walk returned.

    Attributes:
        request: The request for the next page, None at the end.
        seen: Ids of the items of earlier pages. For a list too long to keep them all, those of the last page are
            enough.
        unreadable: How many items could not be read.
    """

    def __init__(self, first: Request[Page[T]], *, seen: Iterable[str] = ()) -> None:
        self.request: Request[Page[T]] | None = first
        self.unreadable = 0
        self._first = first
        self.seen = set(seen)
        self._cursors = {first.cursor}

    def take(self, page: Page[T]) -> list[T]:
        """Return the items of a page that were not on an earlier page, and go on to the next page.

        Raises:
            RetellResponseError: The list cannot be read to its end. The items of this page are lost with it.
        """
        if page.has_more and page.cursor is None:
            raise self._broken("says that it has more, but gives no cursor")
        if page.has_more and page.cursor in self._cursors:
            raise self._broken("leads back to a page that was read before")
        self._cursors.add(page.cursor)
        self.request = None if page.cursor is None else self._first.at(page.cursor)
        self.unreadable += page.unreadable
        fresh = [item for item_id, item in page.items.items() if item_id not in self.seen]
        self.seen.update(page.items)
        return fresh

    def _broken(self, problem: str) -> RetellResponseError:
        return RetellResponseError(
            f"{self._first}: Retell's list {problem}, so that only a part of it can be read.", status_code=200
        )
