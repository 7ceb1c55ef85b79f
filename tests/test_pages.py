from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.pages import Page, PageWalk, as_sent
from airflow_provider_retell.errors import RetellResponseError

FIRST = endpoints.list_calls(direction="inbound", page_size=2)


def page(**body: Any) -> Page[Any]:
    """Read a response of list-calls."""
    return FIRST.read({"items": [], **body})


def items(*ids: str) -> list[dict[str, Any]]:
    """Return the items of a page."""
    return [{"call_id": call_id} for call_id in ids]


class Book:
    """A Retell whose list has some pages, by their cursors; the first page has the cursor None."""

    def __init__(self, pages: dict[str | None, dict[str, Any]]) -> None:
        self.pages = pages
        self.asked: list[str | None] = []

    def send(self, request: Request[Page[Any]]) -> Page[Any]:
        self.asked.append(request.cursor)
        return request.read(self.pages[request.cursor])

    def walk(self, walk: PageWalk[Any]) -> Iterable[Any]:
        while walk.request is not None:
            yield from walk.take(self.send(walk.request))


def book(*pages: Sequence[str], **last: Any) -> Book:
    """Return a list of calls in pages, each of which leads to the next."""
    made: dict[str | None, dict[str, Any]] = {}
    for number, ids in enumerate(pages):
        more: dict[str, Any] = {"has_more": True, "pagination_key": f"page {number + 1}"}
        if number == len(pages) - 1:
            more = last or {"has_more": False}
        made[f"page {number}" if number else None] = {"items": items(*ids), **more}
    return Book(made)


def ids(calls: Iterable[Any]) -> list[str]:
    return [call["call_id"] if isinstance(call, dict) else call.call_id for call in calls]


FORMS = pytest.mark.parametrize("request_", [FIRST, as_sent(FIRST)], ids=["models", "as sent"])

# -- one page ---------------------------------------------------------------------------------------------


@FORMS
def test_a_page_is_read(request_: Request[Page[Any]]) -> None:
    """Its calls in order, each once, and where the next page begins."""
    body = {"items": items("call_1", "call_2", "call_1"), "has_more": True, "pagination_key": "next"}
    read = request_.read(body)
    assert ids(read.calls) == list(read.items) == ["call_1", "call_2"]
    assert (read.cursor, read.has_more, read.unreadable) == ("next", True, 0)


@pytest.mark.parametrize(
    "item", [None, {}, {"call_id": 5}, {"call_id": []}, {"call_id": ""}, {"direction": "inbound"}, "call_2"]
)
@FORMS
def test_an_unreadable_item_is_counted_and_hides_no_other(request_: Request[Page[Any]], item: Any) -> None:
    """One broken call must not stop the wait for the other 999 of its page."""
    read = request_.read({"items": [*items("call_1"), item, *items("call_3")]})
    assert (ids(read.calls), read.unreadable) == (["call_1", "call_3"], 1)


def test_a_call_can_be_read_as_it_was_sent() -> None:
    """An export copies calls, and needs no model of them; the first of two with one id counts."""
    sent = {"call_id": "call_1", "start_timestamp": "odd", "new_field": [1]}
    assert as_sent(FIRST).read({"items": [sent, {"call_id": "call_1"}]}).calls == (sent,)


@pytest.mark.parametrize("body", [[], {}, {"items": None}, {"items": {}}, None])
def test_what_is_no_page_is_not_read(body: Any) -> None:
    """The bare array of the older list-calls, or an object without items, is not taken for an empty page."""
    with pytest.raises(ValueError, match="a list without items"):
        FIRST.read(body)


@pytest.mark.parametrize(
    ("body", "cursor", "has_more"),
    [
        ({"has_more": False}, None, False),
        ({"has_more": False, "pagination_key": "left-over"}, None, False),
        ({"has_more": True, "pagination_key": "next"}, "next", True),
        ({"pagination_key": "next"}, "next", True),
        ({"has_more": None, "pagination_key": "next"}, "next", True),
        ({}, None, False),
        ({"has_more": True}, None, True),
        ({"has_more": True, "pagination_key": None}, None, True),
        ({"has_more": True, "pagination_key": ""}, None, True),
        ({"has_more": True, "pagination_key": 5}, None, True),
    ],
)
def test_a_page_says_whether_there_are_more(body: dict[str, Any], cursor: str | None, has_more: bool) -> None:
    """has_more decides; a list that does not use it has more as long as it names a cursor."""
    read = page(**body)
    assert (read.cursor, read.has_more) == (cursor, has_more)


def test_the_next_page_is_asked_for_alike() -> None:
    """Filters and page size stay; only the cursor is added, and then replaced."""
    second = FIRST.at("a")
    assert (FIRST.cursor, second.cursor) == (None, "a")
    assert second.body == {**(FIRST.body or {}), "pagination_key": "a"}
    assert second.at("b").body == {**(FIRST.body or {}), "pagination_key": "b"}


# -- from page to page --------------------------------------------------------------------------------


def test_all_pages_are_walked() -> None:
    """Each page is asked for once, with the cursor of the one before."""
    some = book(["call_1", "call_2"], ["call_3"], [], ["call_4"])
    assert ids(some.walk(PageWalk(FIRST))) == ["call_1", "call_2", "call_3", "call_4"]
    assert some.asked == [None, "page 1", "page 2", "page 3"]


@pytest.mark.parametrize(
    ("last", "problem"),
    [
        ({"has_more": True}, "says that it has more, but gives no cursor"),
        ({"has_more": True, "pagination_key": ""}, "says that it has more, but gives no cursor"),
        ({"has_more": True, "pagination_key": "page 1"}, "leads back to a page that was read before"),
        ({"pagination_key": "page 2"}, "leads back to a page that was read before"),
    ],
)
def test_a_part_of_a_list_is_no_list(last: dict[str, Any], problem: str) -> None:
    """A list that cannot be read to its end is an error; it does not just stop."""
    some = book(["call_1"], ["call_2"], ["call_3"], **last)
    with pytest.raises(RetellResponseError, match=rf"POST /v3/list-calls: Retell's list {problem}"):
        list(some.walk(PageWalk(FIRST)))
    assert len(some.asked) == 3


def test_a_walk_that_goes_on_after_another_lists_nothing_twice() -> None:
    """An export that was interrupted begins at its cursor, and knows the ids of the page before."""
    some = book(["call_1", "call_2"], ["call_2", "call_3"])
    assert ids(some.walk(PageWalk(FIRST.at("page 1"), seen=["call_1", "call_2"]))) == ["call_3"]


def test_a_walk_that_began_in_the_middle_knows_where() -> None:
    """A cursor that leads back to where the walk began is a circle too."""
    some = book(["call_1"], ["call_2"], has_more=True, pagination_key="page 1")
    with pytest.raises(RetellResponseError, match="leads back"):
        list(some.walk(PageWalk(FIRST.at("page 1"))))


def test_unreadable_items_are_counted_over_all_pages() -> None:
    """A caller can say how many calls are missing."""
    some = book(["call_1"], ["call_2"])
    for body in some.pages.values():
        body["items"] = [*body["items"], {"call_id": None}]
    walk = PageWalk(FIRST)
    assert ids(some.walk(walk)) == ["call_1", "call_2"]
    assert walk.unreadable == 2


@given(
    calls=st.lists(st.integers(0, 30).map("call_{}".format), unique=True),
    cuts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=6),
)
def test_each_call_comes_once_however_pages_overlap(calls: list[str], cuts: list[tuple[int, int]]) -> None:
    """Whatever moves between two requests, a page may repeat what earlier ones had, in any depth."""
    pages, begin = [], 0
    for end, back in sorted(cuts):
        pages.append(calls[max(0, begin - back) : end])
        begin = max(begin, end)
    pages.append(calls[begin:])
    assert ids(book(*pages).walk(PageWalk(FIRST))) == calls
