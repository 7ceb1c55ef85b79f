"""Test how the page reads the calls of a tag: once for all viewers, with a limit, and never for long."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from time import process_time
from typing import Any

import pytest
from conftest import SteppingClock
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell.api.endpoints import Request, list_tagged_calls
from airflow_provider_retell.errors import RetellConnectionError, RetellError, RetellRateLimitError
from airflow_provider_retell.page import reading
from airflow_provider_retell.page.call_cache import CallCache
from airflow_provider_retell.page.figures import one_page, outcomes, over_time, totals
from airflow_provider_retell.page.reading import Reach, Readings

FIRST = list_tagged_calls("airflow_call", "run.", op="sw")
LIVE, OVER = {"call_status": "ongoing"}, {"call_status": "ended", "disconnection_reason": "user_hangup"}


class AtOnce(Executor):
    """An executor that runs each task before ``submit`` returns."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        function(*args, **kwargs)


class Retell:
    """A Retell that lists some calls, so many on a page, and counts the requests."""

    def __init__(self, clock: SteppingClock, *, size: int = 1000) -> None:
        self.clock, self.size = clock, size
        self.calls: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[float, str | None]] = []
        self.error: RetellError | None = None

    def send(self, request: Request[Any]) -> Any:
        self.asked.append((self.clock.now(), request.cursor))
        if self.error is not None:
            raise self.error
        begin = int(request.cursor or 0)
        listed = [{"call_id": call_id, **fields} for call_id, fields in self.calls.items()]
        more = begin + self.size < len(listed)
        return request.read(
            {
                "items": listed[begin : begin + self.size],
                "has_more": more,
                **({"pagination_key": str(begin + self.size)} if more else {}),
            }
        )


@pytest.fixture
def retell(clock: SteppingClock) -> Retell:
    """A Retell with three calls, one of them live."""
    retell = Retell(clock)
    retell.calls = {"call_0": OVER, "call_1": LIVE, "call_2": OVER}
    return retell


@pytest.fixture
def cache(retell: Retell, clock: SteppingClock) -> CallCache:
    """The page's cache of these calls."""
    return CallCache(FIRST, retell.send, AtOnce(), clock=clock)


@given(pages=st.integers(1, 50), pauses=st.lists(st.floats(0, 7), max_size=200), live=st.booleans())
def test_a_minute_costs_a_bounded_number_of_requests(pages: int, pauses: list[float], *, live: bool) -> None:
    """However often it is looked at: 12 for a list of one page, 18 for a longer one, after its first walk."""
    now, readings, spent = 0.0, Readings(), list[tuple[float, int]]()
    for pause in pauses:
        now += pause
        match readings.next(now, live=live):
            case Reach.WALK:
                readings = readings.walked(now, pages)
                spent.append((now, pages))
            case Reach.GLANCE:
                readings = readings.glanced(now)
                spent.append((now, 1))
    later = spent[1:]
    for begin, _ in later:
        # A walk is a lump: its requests belong to the time until the next one.
        assert sum(cost for at, cost in later if begin <= at < begin + 60) <= (
            12 if pages == 1 else 12 + 6 + 2 * pages
        )
    hours = now / 60 + 1
    assert sum(cost for _, cost in later) <= (12 if pages == 1 else 18) * hours + 2 * pages


@pytest.mark.parametrize(
    ("readings", "now", "live", "next_reach"),
    [
        (Readings(), 0.0, False, Reach.WALK),
        (Readings(read_at=0.0), 0.0, False, Reach.WALK),
        (Readings(pages=1, read_at=0.0, failed=True), reading.AFTER_FAILURE - 1, True, None),
        (Readings(pages=1, read_at=0.0, failed=True), reading.AFTER_FAILURE, True, Reach.WALK),
        (Readings(pages=1).failed_at(0.0, asked=60.0), 59.0, True, None),
        (Readings(pages=1).failed_at(0.0, asked=60.0), 60.0, True, Reach.WALK),
        (Readings(pages=1).failed_at(0.0, asked=86400.0), reading.LONGEST_PAUSE - 1, True, None),
        (Readings(pages=1).failed_at(0.0, asked=86400.0), reading.LONGEST_PAUSE, True, Reach.WALK),
        (Readings(pages=1, read_at=0.0), reading.WHILE_LIVE - 1, True, None),
        (Readings(pages=1, read_at=0.0), reading.WHILE_LIVE, True, Reach.WALK),
        (Readings(pages=1, read_at=0.0), reading.WHILE_LIVE, False, None),
        (Readings(pages=1, read_at=0.0), reading.WHILE_QUIET, False, Reach.WALK),
        (Readings(pages=10, read_at=95.0), 100.0, True, Reach.WALK),
        (Readings(pages=10, read_at=90.0), 95.0, True, Reach.GLANCE),
    ],
)
def test_what_is_read_next(readings: Readings, now: float, next_reach: Reach | None, *, live: bool) -> None:
    """The table of the module."""
    assert readings.next(now, live=live) is next_reach


def test_ten_who_look_cost_no_more_than_one(retell: Retell, cache: CallCache, clock: SteppingClock) -> None:
    """All viewers share one cache, which is read every five seconds while a call is live."""
    for _ in range(60):
        for _ in range(10):
            assert len(cache.look().entries) == 3
        clock.sleep(1)
    assert len(retell.asked) == 12


def test_nothing_is_asked_while_no_page_is_open(retell: Retell, cache: CallCache, clock: SteppingClock) -> None:
    """The page costs nothing once it is closed."""
    cache.look()
    clock.sleep(3600)
    assert len(retell.asked) == 1


def test_a_call_is_over_within_one_reading(retell: Retell, cache: CallCache, clock: SteppingClock) -> None:
    """A change at Retell is seen five seconds later, and a call that is deleted there disappears."""
    assert [entry.call_id for entry in cache.look().entries if entry.live] == ["call_1"]
    retell.calls["call_1"] = OVER
    del retell.calls["call_0"]
    clock.sleep(5)
    assert [(entry.call_id, entry.live) for entry in cache.look().entries] == [
        ("call_1", False),
        ("call_2", False),
    ]


def test_a_long_list_is_read_to_its_end_and_glanced_at_in_between(
    retell: Retell, cache: CallCache, clock: SteppingClock
) -> None:
    """Ten thousand calls are ten requests, once in a while; a new call is seen by a glance at the first page."""
    retell.calls = {f"call_{n}": LIVE if n == 0 else OVER for n in range(10_000)}
    snapshot = cache.look()
    assert (len(snapshot.entries), snapshot.complete, len(retell.asked)) == (10_000, True, 10)
    clock.sleep(5)
    retell.calls = {"call_new": LIVE, **retell.calls}
    assert len(cache.look().entries) == 10_001
    assert len(retell.asked) == 11


def test_a_list_without_end_is_cut(cache: CallCache, retell: Retell) -> None:
    """More than fifty pages are not read, and the page can say so."""
    retell.size = 1
    retell.calls = {f"call_{n}": OVER for n in range(60)}
    snapshot = cache.look()
    assert (len(snapshot.entries), snapshot.complete, snapshot.cut) == (50, True, True)


def test_a_failure_keeps_what_is_known_and_says_so(retell: Retell, cache: CallCache, clock: SteppingClock) -> None:
    """The calls stay on the page, with their time; after a pause it reads again."""
    as_of = cache.look().as_of
    retell.error = RetellConnectionError("No answer.", reason="No answer.", may_have_arrived=False)
    clock.sleep(5)
    snapshot = cache.look()
    assert (len(snapshot.entries), snapshot.as_of, snapshot.problem) == (3, as_of, "No answer.")
    retell.error = None
    clock.sleep(5)
    assert cache.look().problem == "No answer."
    clock.sleep(10)
    assert cache.look().problem is None


def test_a_pause_that_retell_asks_for_is_kept(retell: Retell, cache: CallCache, clock: SteppingClock) -> None:
    """A 429 with Retry-After is not answered by more requests."""
    retell.error = RetellRateLimitError("Slow.", status_code=429, message="Slow.", retry_after=120)
    for _ in range(119):
        cache.look()
        clock.sleep(1)
    assert len(retell.asked) == 1
    clock.sleep(1)
    cache.look()
    assert len(retell.asked) == 2


def test_an_error_of_our_own_does_not_stop_the_page(
    retell: Retell, cache: CallCache, clock: SteppingClock
) -> None:
    """Whatever breaks, the next look reads again, and no detail leaves the server."""
    retell.error = ValueError("secret")  # type: ignore[assignment]
    snapshot = cache.look()
    assert snapshot.problem is not None
    assert "secret" not in snapshot.problem
    retell.error = None
    clock.sleep(15)
    assert cache.look().problem is None


def test_pages_appear_as_they_come(retell: Retell, clock: SteppingClock) -> None:
    """The first viewer does not wait for the end of a long list, and the next one sees more."""
    retell.calls = {f"call_{n}": OVER for n in range(2000)}
    reached, go_on = threading.Event(), threading.Event()

    def send(request: Request[Any]) -> Any:
        if request.cursor:
            reached.set()
            go_on.wait(60)
        return retell.send(request)

    with ThreadPoolExecutor(1) as executor:
        cache = CallCache(FIRST, send, executor, clock=clock)
        snapshot = cache.look(wait=60)
        assert (len(snapshot.entries), snapshot.complete) == (1000, False)
        assert reached.wait(60)
        go_on.set()
        snapshot = cache.look(wait=60)
        assert (len(snapshot.entries), snapshot.complete) == (2000, True)


def test_ten_thousand_calls_are_little_work(retell: Retell, cache: CallCache) -> None:
    """Reading them all, and all that the first screen shows of them, takes this process less than two seconds."""
    more = {"to_number": "+12065550100", "start_timestamp": 1_790_000_000_000, "duration_ms": 40_000}
    retell.calls = {f"call_{n}": {**OVER, **more, "agent_name": "Ada"} for n in range(10_000)}
    began = process_time()
    entries = cache.look().entries
    shown = [totals(entries), outcomes(entries), over_time(entries)]
    page = one_page(entries, outcome=None, offset=0, limit=50, tasks={})
    assert process_time() - began < 2
    assert (shown[0]["calls"], len(page["rows"])) == (10_000, 50)
