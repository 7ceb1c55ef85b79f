"""Test which calls are announced: each one that ends, whatever crashes, and none from before the start."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.endpoints import stop_call
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.pages import Page
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.calls.watch import Goal
from airflow_provider_retell.errors import RetellInvalidRequestError
from airflow_provider_retell.polling import finished
from airflow_provider_retell.polling.finished import HELD_MS, VERSION, Cursor, calls_to_announce, events
from airflow_provider_retell.polling.finished_list import (
    KNOWN_AT_LEAST,
    LATE_MS,
    OVERLAP_MS,
    PAGES_AT_ONCE,
    WITHOUT_AN_END,
    Ended,
    Known,
    Listing,
    Newest,
    Want,
    common_filters,
    digest,
    list_ended,
    list_newest,
    matches,
)
from airflow_provider_retell.simulator import SCENARIOS, ManualClock, Simulator

NOW = 1_800_000_000.0
NOW_MS = 1_800_000_000_000
LIST = "unanswered"
START = NOW_MS - 3_600_000


def call(name: str, *, ended: int | None = NOW_MS - 1000, **more: Any) -> dict[str, Any]:
    """Return a call as the list shows it."""
    status = {"call_status": "not_connected" if ended is None else "ended", "direction": "inbound"}
    ends = {} if ended is None else {"end_timestamp": ended, "start_timestamp": ended - 60_000}
    return {"call_id": name, **status, **ends, **more}


def reached(wait_for: Any) -> Any:
    goal = Goal(wait_for=wait_for)
    return lambda call, now: goal.reached(call, now=now, seen_over=now)


def step(
    cursor: Cursor,
    *ended: dict[str, Any],
    newest: Any = (),
    whole: bool = False,
    up_to: int | None = None,
    wait_for: str = "ended",
    filters: Mapping[str, Any] | None = None,
    now: float = NOW,
    **more: Any,
) -> finished.Announcement:
    listing = Listing(
        ended=Ended(calls=ended, up_to=up_to), newest={LIST: Newest(calls=list(newest), complete=whole)}
    )
    return calls_to_announce(cursor, listing, filters=filters or {}, done=reached(wait_for), now=now, **more)


def ids(step: finished.Announcement) -> list[str]:
    return [call.call_id for call in step.calls]


def remembered(*names: str, ended: int = NOW_MS - 1000) -> dict[int, frozenset[str]]:
    return {ended // 60_000: frozenset(map(digest, names))}


@pytest.mark.parametrize(
    ("cursor", "listed", "arguments", "announced"),
    [
        ({}, call("a", direction="outbound"), {"filters": {"direction": "inbound"}}, []),
        ({}, call("a", ended=START - 1), {}, []),
        ({"announced": remembered("a")}, call("a"), {}, []),
        ({}, call("a"), {}, ["a"]),
        ({}, call("a", call_analysis={"call_summary": "s"}), {"wait_for": "analyzed"}, ["a"]),
        ({}, call("a"), {"wait_for": "analyzed"}, []),
        ({}, call("a", call_status="archived"), {}, []),
        ({}, call("a", call_status="archived", ended=NOW_MS - HELD_MS), {}, ["a"]),
        ({}, call("a", call_status=7, ended=NOW_MS - HELD_MS), {}, ["a"]),
    ],
    ids=[
        "filtered",
        "before",
        "announced",
        "over",
        "analyzed",
        "not analyzed",
        "of an unknown status",
        "of an unknown status for an hour",
        "unreadable status",
    ],
)
def test_a_call_with_an_end_is_announced_once(
    cursor: dict[str, Any], listed: dict[str, Any], arguments: dict[str, Any], announced: list[str]
) -> None:
    """The rows of the table for calls that have an end."""
    assert ids(step(Cursor(ended_from=START, **cursor), listed, **arguments)) == announced


@pytest.mark.parametrize(
    ("known", "whole", "announced"),
    [
        (None, True, []),
        (Known(digests=(digest("old"),)), False, ["new"]),
        (Known(digests=(digest("new"),)), False, []),
        (Known(digests=(digest("new"), digest("old"))), False, []),
        (Known(digests=(digest("older"),)), False, ["new", "old"]),
        (Known(complete=True), True, ["new", "old", "older"]),
        (Known(digests=(digest("new"),), complete=True), True, ["old", "older"]),
        (Known(digests=(digest("deleted"),)), True, ["new", "old", "older"]),
        (Known(digests=(digest("deleted"),)), False, []),
    ],
    ids=[
        "at the first look",
        "before a known one",
        "behind all known ones",
        "known",
        "before the last known one",
        "all are new",
        "all but the known one are new",
        "the list was read to its end",
        "too many",
    ],
)
def test_a_call_without_an_end_is_announced_once(known: Known | None, whole: bool, announced: list[str]) -> None:
    """The rows of the table for calls that have no end."""
    listed = [call(name, ended=None) for name in ("new", "old", "older")]
    done = step(Cursor(ended_from=START, known={LIST: known} if known else {}), newest=listed, whole=whole)
    assert ids(done) == announced
    assert ids(step(done.cursor, newest=listed, whole=whole)) == []
    assert done.too_many is (announced == [] and known is not None and known.digests == (digest("deleted"),))


def test_a_call_in_both_lists_is_announced_once() -> None:
    """Retell may give calls that were not connected an end: such a call is in both lists."""
    both = call("a", call_status="not_connected")
    assert ids(step(Cursor(ended_from=START, known={LIST: Known(complete=True)}), both, newest=[both])) == ["a"]


def test_an_empty_list_forgets_nothing() -> None:
    """All calls may be deleted, and the list of an hour ago may come back."""
    known = Known(digests=(digest("a"),))
    assert step(Cursor(ended_from=START, known={LIST: known})).cursor.known == {LIST: known}


def test_the_newest_are_remembered() -> None:
    """As many as may begin while one rings; older ones are behind them in the list, and so are known as old."""
    many = [call(f"call_{number}", ended=None) for number in range(KNOWN_AT_LEAST + 1)]
    known = step(Cursor(ended_from=START), newest=many, whole=True).cursor.known[LIST]
    assert known == Known(digests=tuple(digest(it["call_id"]) for it in many[:-1]), complete=False)


@pytest.mark.parametrize(
    ("listed", "arguments", "ended_from"),
    [
        ([], {}, START),
        ([call("a", ended=NOW_MS - 5000)], {}, NOW_MS - 5000 - OVERLAP_MS),
        ([call("a", ended=START + 5)], {}, START),
        ([call("a", ended=NOW_MS + 86_400_000)], {}, NOW_MS - OVERLAP_MS),
        (
            [call("a", ended=NOW_MS), call("b", ended=NOW_MS - 700_000)],
            {"wait_for": "analyzed"},
            NOW_MS - OVERLAP_MS,
        ),
        (
            [call("a", ended=NOW_MS), call("b", ended=NOW_MS - 1_800_000, call_status="archived")],
            {},
            NOW_MS - 1_800_000,
        ),
        ([call("a", ended=NOW_MS - 5000)], {"up_to": START + 7}, START + 7),
    ],
    ids=["an empty list", "ten minutes", "never back", "a date ahead", "given up", "held back", "read so far"],
)
def test_the_cursor_follows_the_list(
    listed: list[dict[str, Any]], arguments: dict[str, Any], ended_from: int
) -> None:
    """It stays ten minutes behind the latest end listed, before every call held, and where the reading ended."""
    assert step(Cursor(ended_from=START), *listed, **arguments).cursor.ended_from == ended_from


def test_a_call_is_held_back_until_it_is_analyzed() -> None:
    """The cursor stays before a call that waits for its analysis, and the call is announced once it has it."""
    waiting = call("a", ended=NOW_MS - 1_000)
    later = call("b", ended=NOW_MS + 599_000, call_analysis={"call_summary": "s"})
    first = step(Cursor(ended_from=START), waiting, later, wait_for="analyzed", now=NOW + 590)
    assert ids(first) == ["b"]
    assert first.cursor.ended_from <= NOW_MS - 1_000
    assert ids(step(first.cursor, waiting, later, wait_for="analyzed", now=NOW + 600)) == ["a"]


def test_what_is_remembered_does_not_grow() -> None:
    """Digests are kept of the minutes that the next list may hold: twelve of them."""
    cursor = Cursor(ended_from=START)
    for minute in range(60):
        cursor = step(cursor, call(f"call_{minute}", ended=START + 60_000 * minute)).cursor
    assert len(cursor.announced) <= 12


@pytest.mark.parametrize("known", [None, Known(complete=True), Known(digests=(digest("x"), digest("y")))])
def test_a_cursor_is_stored_as_json(known: Known | None) -> None:
    """A stored cursor reads as it was saved."""
    cursor = Cursor(ended_from=START, announced=remembered("a", "b"), known={LIST: known} if known else {})
    assert Cursor.read(cursor.to_json()) == cursor


def test_of_a_cursor_of_another_version_the_time_is_read() -> None:
    """A release may add to the cursor, and a user may go back to the one before: nothing is lost by that."""
    other = {"version": VERSION + 1, "ended_from": START, "anything": ["else"]}
    assert Cursor.read(other) == Cursor(ended_from=START)


@pytest.mark.parametrize(
    "stored", ["", 7, {}, {"version": 1}, {"version": VERSION, "ended_from": 1}, {"ended_from": "yesterday"}]
)
def test_other_values_are_no_cursor(stored: Any) -> None:
    """Anything else in the store is reported, and not taken for a cursor."""
    with pytest.raises(ValueError, match="not a cursor"):
        Cursor.read(stored)


def test_an_event_has_a_thousand_calls_at_most() -> None:
    """And names, of each call, what a branch needs: no number, no transcript."""
    calls = [
        Call.read(call(f"call_{number}", agent_id="agent_1", disconnection_reason="user_hangup"))
        for number in range(1001)
    ]
    first, second = events(calls)
    assert len(first["calls"]) == 1000
    assert second == {
        "calls": [{"call_id": "call_1000", "outcome": "answered", "direction": "inbound", "agent_id": "agent_1"}]
    }
    assert events([]) == []


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({}, True),
        ({"agent_id": "agent_1", "direction": "inbound"}, True),
        ({"agent_id": "agent_2"}, False),
        ({"metadata": {"n": 1, "s": "x"}}, True),
        ({"metadata": {"n": 1.0}}, True),
        ({"metadata": {"n": True}}, False),
        ({"metadata": {"other": "x"}}, False),
    ],
)
def test_filters_are_applied_as_retell_does(filters: dict[str, Any], passes: bool) -> None:
    """A list may hold the calls of other watchers of the connection."""
    assert matches(call("a", agent_id="agent_1", metadata={"n": 1, "s": "x"}), filters) is passes
    assert matches(call("a", agent_id="agent_1"), {"metadata": {"n": 1}}) is False


def test_only_filters_of_all_watchers_are_sent() -> None:
    """Retell leaves out what no watcher wants, and nothing that one of them does."""
    wants = [
        Want(ended_from=0, filters={"direction": "inbound", "metadata": {"x": 1}, "agent_id": "a"}),
        Want(ended_from=0, filters={"direction": "inbound", "metadata": {"x": True}}),
    ]
    assert common_filters(wants[:1]) == wants[0].filters
    assert common_filters(wants) == {"direction": "inbound"}


def run(client: RetellClient, flow: Any, change: Callable[[Page[Any]], Any]) -> Any:
    """Run a flow whose pages come changed, and return its result."""
    request = next(flow)
    while True:
        page: Page[Any] = client.send(request)
        try:
            request = flow.send(replace(page, items=change(page)))
        except StopIteration as end:
            return end.value


# -- the lists, as the simulator has them ------------------------------------------------------------------------


@pytest.fixture
def simulator(time: ManualClock) -> Simulator:
    return Simulator(clock=time)


@pytest.fixture
def client(simulator: Simulator) -> Any:
    with RetellClient(ConnectionSettings(api_key=simulator.api_key), transport=simulator) as client:
        yield client


def test_a_long_list_is_left_where_all_that_ended_before_is_read(
    simulator: Simulator, client: RetellClient, time: ManualClock
) -> None:
    """A watcher that is far behind announces five pages before it reads on, and misses no long call by that."""
    simulator.seed(300, days=2)
    begin = round((time() - 2 * 86_400) * 1000)
    part = client.run(list_ended(begin, {}, now=time(), page_size=10))
    assert len(simulator.requests) == PAGES_AT_ONCE
    assert part.up_to is not None
    whole = client.run(list_ended(begin, {}, now=0, page_size=10))  # nothing is far behind
    assert whole.up_to is None
    ended_before = {it["call_id"] for it in whole.calls if it["end_timestamp"] < part.up_to}
    assert ended_before
    assert ended_before <= {it["call_id"] for it in part.calls}


def test_a_list_is_not_left_in_the_middle_of_a_rush(
    simulator: Simulator, client: RetellClient, time: ManualClock
) -> None:
    """The next look begins ten minutes before the latest end, so each part must be longer than that."""
    begin = round(time() * 1000)
    for _ in range(100):
        simulator.ring_in("+12025550100")
        time.advance(1)
    time.advance(86_400)
    assert client.run(list_ended(begin, {}, now=time(), page_size=10)).up_to is None
    assert len(simulator.requests) == 10


def test_a_list_in_another_order_is_read_to_its_end(
    simulator: Simulator, client: RetellClient, time: ManualClock
) -> None:
    """The order of a list makes it safe to leave it early; if Retell breaks the order, all of it is read."""
    simulator.seed(100, days=2)
    flow = list_ended(0, {}, now=time(), page_size=10)
    assert run(client, flow, lambda page: dict(reversed(page.items.items()))).up_to is None


def test_only_new_calls_without_a_conversation_are_read(
    simulator: Simulator, client: RetellClient, time: ManualClock
) -> None:
    """Of a long past one page, of what is new as much as there is."""
    simulator.seed(3000, days=2)
    first = client.run(list_newest(LIST, [Want(ended_from=0)], page_size=20))
    assert (len(first.calls), first.complete, len(simulator.requests)) == (20, False, 1)
    known = Known(digests=tuple(digest(it["call_id"]) for it in first.calls))
    for _ in range(45):
        simulator.ring_in("+12025550100", scenario="error_retell")
        time.advance(60)
    again = client.run(
        list_newest(LIST, [Want(ended_from=0, known={LIST: known}), Want(ended_from=0)], page_size=20)
    )
    assert len(again.calls) == 80
    assert len(simulator.requests) == 5


# -- calls without an end that come late -------------------------------------------------------------------------


PAGE = 5
PAST = [call(f"past_{number}", ended=None) for number in range(50)]


def read_newest(listed: Sequence[dict[str, Any]], known: Mapping[str, Known]) -> tuple[Newest, int]:
    """Return what a watcher reads of a list, and how many pages that takes."""
    flow = list_newest(LIST, [Want(ended_from=0, known=known)], page_size=PAGE)
    next(flow)
    for end in range(PAGE, len(listed) + PAGE, PAGE):
        items = {it["call_id"]: it for it in listed[end - PAGE : end]}
        cursor = str(end) if end < len(listed) else None
        try:
            flow.send(Page(items=items, cursor=cursor, has_more=cursor is not None))
        except StopIteration as done:
            return done.value, end // PAGE
    raise AssertionError("a page behind the last one was asked for")


@given(
    calls=st.lists(st.tuples(st.integers(0, 30), st.integers(0, LATE_MS // 1000)), max_size=150),
    interval=st.sampled_from([5, 30, 200]),
)
@settings(max_examples=60, deadline=None)
def test_a_call_without_an_end_is_found_behind_however_many_newer_ones(
    calls: list[tuple[int, int]], interval: int
) -> None:
    """Whatever the rate, the ringing and the delay of the list, each is announced once, and none from before."""
    shown: list[tuple[int, str]] = []  # when the list shows each, in the order of their start
    start = 0
    for number, (gap, late) in enumerate(calls):
        start += gap
        shown.append((start + late, f"call_{number}"))
    cursor, announced = Cursor(ended_from=START), []
    for now in range(0, start + LATE_MS // 1000 + 2 * interval, interval):
        # The first look is before the first call.
        listed = [call(name, ended=None) for at, name in reversed(shown) if at < now] + PAST
        newest, _ = read_newest(listed, cursor.known)
        found = calls_to_announce(
            cursor,
            Listing(newest={LIST: newest}),
            filters={},
            done=reached("ended"),
            now=NOW + now,
            known_at_least=3,
        )
        cursor = Cursor.read(json.loads(json.dumps(found.cursor.to_json())))
        announced += ids(found)
    assert sorted(announced) == sorted(name for _, name in shown)


def test_a_quiet_account_costs_one_page() -> None:
    """More is only read while more calls were new than a page holds."""
    known = Known(digests=tuple(digest(it["call_id"]) for it in PAST[:PAGE]))
    assert read_newest(PAST, {LIST: known})[1] == 1
    rush = [call(f"call_{number}", ended=None) for number in range(20)]
    cursor = Cursor(ended_from=START, known={LIST: known})
    pages = []
    for later in (0, 1, 2 * LATE_MS // 1000, 2 * LATE_MS // 1000 + 1):
        newest, read = read_newest([*rush, *PAST], cursor.known)
        pages.append(read)
        listing = Listing(newest={LIST: newest})
        arguments = {"filters": {}, "done": reached("ended"), "known_at_least": PAGE}
        cursor = calls_to_announce(cursor, listing, now=NOW + later, **arguments).cursor
    assert pages == [5, 5, 5, 1]


# -- every call is announced ------------------------------------------------------------------------------------


ENDINGS = [
    "user_hangup",
    "call_transfer",
    "error_retell",
    "dial_busy",
    "dial_no_answer",
    "registered_call_timeout",
]


class Account(RuleBasedStateMachine):
    """An account with calls, a list that lags and fails, and a watcher that crashes at any step."""

    def __init__(self) -> None:
        super().__init__()
        self.time = ManualClock(NOW)
        self.simulator = Simulator(clock=self.time, concurrency_limit=10_000)
        self.client = RetellClient(ConnectionSettings(api_key=self.simulator.api_key), transport=self.simulator)
        self.hidden: dict[str, float] = {}
        self.announced: set[str] = set()
        self.deleted: set[str] = set()

    @initialize(past=st.sampled_from([0, 30, 300]), wait_for=st.sampled_from(["ended", "analyzed"]))
    def begin(self, past: int, wait_for: str) -> None:
        self.simulator.seed(past)
        self.past = set(self.simulator.calls)
        self.done = reached(wait_for)
        self.saved = Cursor(ended_from=round(self.time() * 1000))
        self.cursor = self.saved
        self.poll("nowhere")

    def list(self, flow: Any) -> Any:
        def shown(page: Page[Any]) -> dict[str, Any]:
            return {i: it for i, it in page.items.items() if self.hidden.get(i, 0) <= self.time()}

        return run(self.client, flow, shown)

    @rule(
        ending=st.sampled_from(ENDINGS),
        talk=st.sampled_from([0.001, 1.0, 90.0, 1200.0, 7200.0]),
        lag=st.integers(0, 540),
    )
    def ring_in(self, ending: str, talk: float, lag: int) -> None:
        scenario = replace(SCENARIOS[ending], talk_seconds=talk)
        ring = 0.0 if scenario.connects else (scenario.ring_seconds or 30.0)
        if scenario.connects:
            call_id = self.simulator.ring_in("+12025550100", scenario=scenario)
        else:
            self.simulator.play("+12025550150", scenario)
            request = {"agent_id": "agent_1", "to_number": "+12025550150"}
            call_id = self.simulator.register(request)
        # The list shows its end late, and later than that of others.
        self.hidden[call_id] = self.time() + ring + talk + lag if lag else 0

    @rule(which=st.integers(0, 99))
    def stop(self, which: int) -> None:
        """Stop a call, which may ring still: it is over without an end then."""
        going_on = [name for name, it in self.simulator.calls.items() if not it.is_over(self.time())]
        if going_on:
            call_id = going_on[which % len(going_on)]
            with suppress(RetellInvalidRequestError):  # it has not been dialed yet
                self.client.send(stop_call(call_id))
                self.hidden.pop(call_id, None)

    @rule(seconds=st.sampled_from([1, 30, 200, 700, 4000, 90_000]))
    def go_on(self, seconds: int) -> None:
        self.time.advance(seconds)

    @rule(which=st.integers(0, 99))
    def delete(self, which: int) -> None:
        candidates = [call_id for call_id in self.simulator.calls if call_id not in self.past]
        if candidates:
            call_id = candidates[which % len(candidates)]
            self.simulator.delete(call_id)
            self.deleted.add(call_id)

    @rule(crash=st.sampled_from(["nowhere", "before it is stored", "before it is saved", "after"]))
    def poll(self, crash: str) -> None:
        want = Want(ended_from=self.cursor.ended_from, known=self.cursor.known)
        newest = {name: self.list(list_newest(name, [want], page_size=40)) for name in WITHOUT_AN_END}
        ended = self.list(list_ended(want.ended_from, {}, now=self.time(), page_size=3))
        listing = Listing(ended=ended, newest=newest)
        found = calls_to_announce(
            self.cursor, listing, filters={}, done=self.done, now=self.time(), known_at_least=200
        )
        self.behind = found.behind
        assert not found.too_many
        if crash != "before it is stored":
            self.announced |= set(ids(found))
            if crash != "before it is saved":
                self.saved = found.cursor
        self.cursor = found.cursor if crash == "nowhere" else self.saved

    @invariant()
    def none_is_announced_that_goes_on_or_is_from_before(self) -> None:
        calls = self.simulator.calls
        assert not self.announced & self.past
        assert all(calls[it].is_over(self.time()) for it in self.announced if it in calls)

    def teardown(self) -> None:
        self.time.advance(100_000)
        self.poll("after")
        while self.behind:
            self.poll("nowhere")
        over = set(self.simulator.calls) - self.past
        assert over <= self.announced, f"lost: {over - self.announced}"
        self.client.close()


Account.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_every_call_that_ends_is_announced = Account.TestCase
