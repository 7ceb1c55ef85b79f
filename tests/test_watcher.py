"""Test that a watcher continues at its position, shares its poll, never ends, and reports trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from conftest import AIRFLOW_2, SteppingClock, Supervisor

from airflow_provider_retell.api.client import AsyncRetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.calls.watch import Goal
from airflow_provider_retell.polling.finished import Cursor
from airflow_provider_retell.polling.finished_list import Ended, Listing
from airflow_provider_retell.polling.poller import Poller
from airflow_provider_retell.polling.watcher import (
    LONGEST_BACKOFF,
    UNCONFIRMED_EVENTS,
    Watcher,
    WatcherProducer,
)
from airflow_provider_retell.provider.cursor_store import CursorStore, VariableStore
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator

TALK = replace(SCENARIOS["user_hangup"], talk_seconds=20.0)


@pytest.fixture
def simulator(time: ManualClock) -> Simulator:
    return Simulator(clock=time, concurrency_limit=20_000)


class Store(dict[str, Any]):
    """A cursor store that can fail."""

    error: Exception | None = None

    async def get(self, key: str) -> Any:  # type: ignore[override]
        if self.error:
            raise self.error
        return dict.get(self, key)

    async def set(self, key: str, value: Any) -> None:
        if self.error:
            raise self.error
        self[key] = value


@pytest.fixture
def store() -> Store:
    return Store()


class Room:
    """A triggerer: watchers of one connection, which share a poll."""

    def __init__(self, simulator: Simulator, clock: SteppingClock, store: CursorStore) -> None:
        self.simulator, self.clock, self.store = simulator, clock, store
        self.api_key = simulator.api_key

        async def look_up() -> ConnectionSettings:
            return ConnectionSettings(api_key=self.api_key)

        self.poller = Poller(
            look_up, clock=clock, client=lambda settings: AsyncRetellClient(settings, transport=simulator)
        )

    def watcher(self, **arguments: Any) -> Watcher:
        @asynccontextmanager
        async def poller() -> AsyncIterator[Poller]:
            yield self.poller

        goal = Goal(wait_for=arguments.pop("wait_for", "ended"))
        given = {"filters": {}, "identity": ("retell_default", goal.wait_for), **arguments}
        return Watcher(
            "The watcher",
            poller,
            self.store,
            done=lambda call, now: goal.reached(call, now=now, seen_over=now),
            clock=self.clock,
            **given,
        )


@pytest.fixture
def run(simulator: Simulator, clock: SteppingClock, store: Store) -> Callable[..., Any]:
    """Run a coroutine on an event loop that nothing may block."""

    def run(work: Callable[[Room], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            room = Room(simulator, clock, store)
            with blockbuster_ctx():
                try:
                    return await asyncio.wait_for(work(room), 120)
                finally:
                    await room.poller.aclose()

        return asyncio.run(main())

    return run


async def ids(polls: Any, watcher: Watcher | None = None) -> list[str]:
    """Return the ids in the next event; note for a watcher that it is stored."""
    async for payload, cursor in polls:
        if watcher is not None and cursor is not None:
            watcher.stored(cursor)
        if payload is not None:
            return [call["call_id"] for call in payload["calls"]]
    raise AssertionError


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 (what is waited for has no event)
        await asyncio.sleep(0)


def lists(simulator: Simulator, name: str = "end_timestamp") -> list[Any]:
    return [it.json for it in simulator.requests if name in it.json["filter_criteria"]]


def test_the_first_cursor_is_saved_before_anything_is_read(
    run: Any, simulator: Simulator, store: Store, time: ManualClock
) -> None:
    """After a crash in the first hour "now" would be later, and the calls of that hour lost."""

    async def work(room: Room) -> None:
        watcher = room.watcher()
        first = asyncio.create_task(anext(watcher.polls()))
        await until(lambda: watcher.key in store)
        assert simulator.requests == []
        first.cancel()

    start = round(time() * 1000)
    run(work)
    assert {Cursor.read(it).ended_from for it in store.values()} == {start}


def test_calls_are_announced_from_the_first_start_on(run: Any, simulator: Simulator, time: ManualClock) -> None:
    """Those that ended before it belong to the past."""
    before = simulator.ring_in("+12025550100", scenario=TALK)
    time.advance(30)

    async def work(room: Room) -> list[str]:
        polls = room.watcher().polls()
        await anext(polls)
        after = simulator.ring_in("+12025550100", scenario=TALK)
        assert await ids(polls) == [after]
        return [before]

    run(work)


def test_since_begins_earlier(run: Any, simulator: Simulator, time: ManualClock) -> None:
    """The first start may go back; a later one goes on where the watcher was."""
    call_id = simulator.ring_in("+12025550100", scenario=TALK)
    time.advance(86_400)
    since = round((time() - 90_000) * 1000)
    assert run(lambda room: ids(room.watcher(since=since).polls())) == [call_id]


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_a_restart_goes_on_where_it_was(
    run: Any, simulator: Simulator, store: Store, time: ManualClock, stored: bool
) -> None:
    """Stored calls are not announced again; those perhaps not stored, and those ended meanwhile, are."""

    async def before(room: Room) -> None:
        watcher = room.watcher()
        polls = watcher.polls()
        await anext(polls)
        first = simulator.ring_in("+12025550100", scenario=TALK)
        assert await ids(polls, watcher if stored else None) == [first]
        await watcher.save()

    run(before)
    (first,) = simulator.calls
    second = simulator.ring_in("+12025550100", scenario=TALK)
    time.advance(5000)
    assert run(lambda room: ids(room.watcher().polls())) == ([second] if stored else [first, second])


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 3.0 brought asset watchers")
@pytest.mark.parametrize("fails", ["API_SERVER_ERROR", "PERMISSION_DENIED", OSError("no socket")])
def test_a_variable_that_cannot_be_read_is_read_again(
    simulator: Simulator, supervisor: Supervisor, time: ManualClock, fails: Any
) -> None:
    """An error of Airflow is no "there is no cursor yet": beginning at "now" would lose calls."""
    start = round(time() * 1000) - 3_600_000

    class Mending(SteppingClock):
        """Airflow works again after the first pause."""

        async def asleep(self, seconds: float) -> None:
            await super().asleep(seconds)
            supervisor.fails = None

    async def work() -> Cursor | None:
        room = Room(simulator, Mending(time), VariableStore("retell://retell_default/a"))
        await room.store.set(room.watcher().key, Cursor(ended_from=start).to_json())
        supervisor.fails = fails
        try:
            return (await anext(room.watcher().polls()))[1]
        finally:
            await room.poller.aclose()

    cursor = asyncio.run(work())
    assert cursor is not None
    assert cursor.ended_from == start


def test_without_word_of_airflow_a_cursor_is_saved_later(run: Any, simulator: Simulator, store: Store) -> None:
    """Before Airflow 3.3: ten seconds after the event, and not while it may still be lost."""
    short = replace(TALK, talk_seconds=1.0)

    async def work(room: Room) -> None:
        watcher = room.watcher(settle=10, poll_interval=4)
        polls = watcher.polls()
        await anext(polls)
        seconds = []
        for _ in range(4):
            simulator.ring_in("+12025550100", scenario=short)
            await ids(polls, watcher)
            if not seconds:
                began = room.clock.monotonic()
            saved = Cursor.read(store[watcher.key]).announced
            seconds.append((round(room.clock.monotonic() - began), sum(map(len, saved.values()))))
        # An event every four seconds: the first is saved with the poll that follows its tenth second.
        assert seconds == [(0, 0), (4, 0), (8, 0), (12, 1)]

    run(work)


@pytest.mark.parametrize("answer", [503, 429, 401, "drop", "truncate"])
def test_trouble_of_retell_is_waited_out_and_said_once(
    run: Any, simulator: Simulator, clock: SteppingClock, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    """It backs off by itself, up to five minutes, and loses nothing by that."""
    caplog.set_level("INFO")

    async def work(room: Room) -> None:
        polls = room.watcher(poll_interval=30).polls()
        await anext(polls)
        call_id = simulator.ring_in("+12025550100", scenario=TALK)
        simulator.fail(Fault(endpoint="list-calls", answer=answer, times=12))
        assert await ids(polls) == [call_id]

    run(work)
    pauses = [it for it in clock.slept if it >= 60]
    assert pauses[:3] == [60.0, 120.0, 240.0]
    assert max(pauses) == LONGEST_BACKOFF
    ours = [it.getMessage() for it in caplog.records if it.name.endswith("watcher")]
    assert len([line for line in ours if "failed while polling; trying again" in line]) == 1
    assert "works again" in ours[-1]


def test_without_a_store_nothing_is_announced(
    run: Any, simulator: Simulator, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """An asset that does not exist has no store: a watcher that could not go on there would lose calls."""
    store.error = RuntimeError("Asset not found")

    async def work(room: Room) -> None:
        polls = room.watcher().polls()
        first = asyncio.create_task(anext(polls))
        await until(lambda: len(room.clock.slept) >= 20)
        assert simulator.requests == []
        store.error = None
        await first

    run(work)
    assert "failed while reading its position; trying again: Asset not found" in caplog.text


def test_a_cursor_that_cannot_be_saved_is_saved_later(
    run: Any, simulator: Simulator, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Airflow's trouble neither ends the watcher nor makes it forget."""

    async def work(room: Room) -> None:
        watcher = room.watcher()
        polls = watcher.polls()
        await anext(polls)
        simulator.ring_in("+12025550100", scenario=TALK)
        store.error = RuntimeError("no answer")
        await ids(polls, watcher)
        await watcher.save()
        assert not store[watcher.key]["announced"]
        store.error = None
        simulator.ring_in("+12025550100", scenario=TALK)
        await ids(polls)
        assert store[watcher.key]["announced"]

    run(work)
    assert "the cursor could not be saved; trying again: no answer" in caplog.text


def test_changed_filters_go_on_where_the_others_were(
    run: Any, simulator: Simulator, time: ManualClock, store: Store
) -> None:
    """A call that ends while a DAG is changed is not lost by that."""

    async def work(room: Room) -> None:
        watcher = room.watcher(filters={"agent_id": "agent_1"})
        await anext(watcher.polls())

    run(work)
    call_id = simulator.ring_in("+12025550100", scenario=TALK)
    time.advance(3600)
    assert run(lambda room: ids(room.watcher(filters={"direction": "inbound"}).polls())) == [call_id]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("nonsense", "cannot be read and is ignored"),
        ({"version": 99, "ended_from": 0}, "the cursor is of version 99"),
    ],
)
def test_an_odd_cursor_is_said(
    run: Any, simulator: Simulator, store: Store, caplog: pytest.LogCaptureFixture, stored: Any, message: str
) -> None:
    """Of another version its time is read, of anything else nothing; then the asset's own cursor counts."""
    call_id = simulator.ring_in("+12025550100", scenario=TALK)

    async def work(room: Room) -> list[str]:
        watcher = room.watcher()
        store[watcher.key] = stored
        store[watcher.last_key] = Cursor(ended_from=1).to_json()
        return await ids(watcher.polls())

    assert run(work) == [call_id]
    assert message in caplog.text


def odd(number: int, end: int) -> dict[str, Any]:
    fields = [
        {"metadata": ["x"]},
        {"metadata": "x"},
        {"disconnection_reason": ["x"]},
        {"disconnection_reason": {}},
    ]
    ended = {"call_status": "ended", "end_timestamp": end, "metadata": {"team": "a"}}
    return {"call_id": f"call_{number}", **ended, **fields[number]}


def test_odd_calls_stop_no_watcher(clock: SteppingClock) -> None:
    """Metadata that is no object matches no filter, and a reason that is no text gives no known outcome."""
    end = round(clock.now() * 1000)

    class Lister:
        async def list_finished(self, _want: Any, **_due: float) -> Listing:
            return Listing(ended=Ended(calls=[odd(number, end) for number in range(4)]))

    first = asyncio.run(first_event(Lister(), clock, done=lambda _call, _now: True))
    assert [(it["call_id"], it["outcome"]) for it in first["calls"]] == [
        ("call_2", "unknown"),
        ("call_3", "unknown"),
    ]
    assert not clock.slept


def test_a_failure_to_decide_is_waited_out(clock: SteppingClock, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with a call, the watcher does not end: Airflow would start it again without a trace."""
    end = round(clock.now() * 1000)
    calls = [[odd(2, end)], [odd(2, end)]]

    class Lister:
        async def list_finished(self, _want: Any, **_due: float) -> Listing:
            return Listing(ended=Ended(calls=calls.pop()))

    def done(_call: Any, _now: float) -> bool:
        if calls:
            raise AttributeError("an odd call")
        return True

    assert [it["call_id"] for it in asyncio.run(first_event(Lister(), clock, done=done))["calls"]] == ["call_2"]
    assert caplog.text.count("failed while polling; trying again: an odd call") == 1


async def first_event(lister: Any, clock: SteppingClock, *, done: Any) -> Any:
    """Return the first event of a watcher of one team's calls."""

    @asynccontextmanager
    async def poller() -> AsyncIterator[Any]:
        yield lister

    about: dict[str, Any] = {"filters": {"metadata": {"team": "a"}}, "identity": ("one", "ended"), "clock": clock}
    payload, _ = await asyncio.wait_for(
        anext(Watcher("The watcher", poller, Store(), done=done, **about).polls()), 20
    )
    return payload


def test_a_watcher_of_another_connection_begins_at_now(
    run: Any, simulator: Simulator, clock: SteppingClock, time: ManualClock
) -> None:
    """The known calls of one account say nothing about the old calls of another."""
    other = Simulator(clock=time)
    other.play("+12025550150", SCENARIOS["dial_no_answer"])
    other.register({"agent_id": "agent_1", "to_number": "+12025550150"})
    time.advance(86_400)

    async def work(room: Room) -> Any:
        first = room.watcher(identity=("one", "ended"))
        _, cursor = await anext(first.polls())
        first.stored(cursor)  # type: ignore[arg-type]
        await first.save()
        theirs = Room(other, clock, room.store)
        try:
            return (await anext(theirs.watcher(identity=("other", "ended")).polls()))[0]
        finally:
            await theirs.poller.aclose()

    assert run(work) is None


def test_all_watchers_of_a_connection_share_one_poll(run: Any, simulator: Simulator) -> None:
    """Ten watchers with filters of their own send the requests of one."""
    agents = [f"agent_{number}" for number in range(10)]

    async def work(room: Room) -> None:
        watchers = [room.watcher(filters={"agent_id": agent, "direction": "inbound"}) for agent in agents]
        polls = [watcher.polls() for watcher in watchers]
        await asyncio.gather(*map(anext, polls))
        assert len(simulator.requests) == 3
        calls = [simulator.ring_in("+12025550100", agent_id=agent, scenario=TALK) for agent in agents]
        assert await asyncio.gather(*map(ids, polls)) == [[call_id] for call_id in calls]
        assert len(simulator.requests) == 6

    run(work)
    assert all(it["filter_criteria"]["direction"]["value"] == ["inbound"] for it in lists(simulator))


def test_one_that_catches_up_holds_up_no_other(run: Any, simulator: Simulator, time: ManualClock) -> None:
    """A watcher that begins a month ago reads its part of the list, and another its own."""
    simulator.seed(8000, days=30)
    since = round((time() - 31 * 86_400) * 1000)

    async def work(room: Room) -> tuple[set[str], list[str]]:
        ready, behind = room.watcher(filters={"direction": "inbound"}), room.watcher(since=since)
        polls = ready.polls()
        await anext(polls)
        call_id = simulator.ring_in("+12025550100", scenario=TALK)

        async def all_of(polls: Any) -> set[str]:
            found: set[str] = set()
            while call_id not in found:
                found |= set(await ids(polls))
            return found

        return await asyncio.gather(all_of(behind.polls()), ids(polls))

    found, others = run(work)
    assert others == [list(simulator.calls)[-1]]
    assert len({it["filter_criteria"]["end_timestamp"]["value"] for it in lists(simulator)}) > 2  # in parts
    ended = {i for i, it in simulator.calls.items() if "end_timestamp" in it.listed(time())}
    assert ended <= found


def test_of_a_long_past_nothing_is_read(run: Any, simulator: Simulator, time: ManualClock) -> None:
    """However many calls there are: those that ended since, and a page of those that may have no end."""
    simulator.seed(5000, days=30)

    async def work(room: Room) -> None:
        polls = room.watcher().polls()
        await anext(polls)
        for _ in range(3):
            simulator.ring_in("+12025550100", scenario=TALK)
            await ids(polls)

    start = round(time() * 1000)
    run(work)
    assert all(it["filter_criteria"]["end_timestamp"]["value"] >= start for it in lists(simulator))
    assert not any("pagination_key" in it.json for it in simulator.requests)
    assert len(simulator.requests) <= 3 * 5
    assert all(it.json["limit"] == 500 for it in simulator.requests if it.json not in lists(simulator))


def test_a_call_that_is_deleted_between_two_polls_holds_nothing_up(
    run: Any, simulator: Simulator, store: Store
) -> None:
    """One that waits for its analysis may never get it."""

    async def work(room: Room) -> None:
        watcher = room.watcher(wait_for="analyzed")
        polls = watcher.polls()
        await anext(polls)
        late = simulator.ring_in("+12025550100", scenario=replace(TALK, analysis_delay=10_000.0))
        held = simulator.ring_in("+12025550100", scenario=TALK)
        assert await ids(polls) == [held]
        simulator.delete(late)
        simulator.delete(held)
        room.clock.time.advance(5000)
        last = simulator.ring_in("+12025550100", scenario=TALK)
        assert await ids(polls, watcher) == [last]

    run(work)


def test_a_thousand_ends_in_one_poll(run: Any, simulator: Simulator, time: ManualClock) -> None:
    """They fit into one event; more make a second one, and the cursor comes with the last."""

    async def work(room: Room) -> list[Any]:
        polls = room.watcher().polls()
        await anext(polls)
        for _ in range(1001):
            simulator.ring_in("+12025550100", scenario=TALK)
        time.advance(60)
        return [await anext(polls), await anext(polls)]

    (first, none), (second, cursor) = run(work)
    assert (len(first["calls"]), none, len(second["calls"])) == (1000, None, 1)
    assert sum(map(len, cursor.announced.values())) == 1001


# -- Airflow's side of it ---------------------------------------------------------------------------------------


def item(cursor: Cursor | None, *, clean: bool = True) -> Any:
    return SimpleNamespace(broker_payload=cursor, outcome=SimpleNamespace(is_clean=clean))


CURSORS = [Cursor(ended_from=number) for number in range(4)]


@pytest.mark.parametrize(
    ("batches", "saved"),
    [
        ([[item(CURSORS[1])]], 1),
        ([[item(CURSORS[1]), item(None), item(CURSORS[2])]], 2),
        ([[item(CURSORS[1]), item(CURSORS[2], clean=False), item(CURSORS[3])]], 1),
        ([[item(CURSORS[1])], [item(None, clean=False)], [item(CURSORS[3])]], 1),
    ],
    ids=["stored", "several", "one is not stored", "a part is not stored"],
)
def test_a_cursor_is_saved_when_all_events_before_are_stored(
    run: Any, store: Store, batches: list[list[Any]], saved: int
) -> None:
    """After an event that was not stored, no cursor is true any more."""

    async def work(room: Room) -> int:
        watcher = room.watcher()
        producer = WatcherProducer(watcher)
        for batch in batches:
            await producer.advance(batch)
        return Cursor.read(store[watcher.key]).ended_from

    assert run(work) == saved


def test_few_events_wait_to_be_stored(run: Any, simulator: Simulator, time: ManualClock) -> None:
    """While Airflow's database stands still, no more calls are read than are announced again after a crash."""

    async def work(room: Room) -> None:
        producer = WatcherProducer(room.watcher())
        stream = producer.open_stream()
        items = []
        for _ in range(UNCONFIRMED_EVENTS):
            items.append(await anext(stream))
            simulator.ring_in("+12025550100", scenario=TALK)
        more = asyncio.create_task(anext(stream))
        for _ in range(200):
            await asyncio.sleep(0)
        assert not more.done()
        await producer.advance([item(items[0][1])])
        await more

    run(work)
