"""Test the shared poll: few requests, an end to every wait, and no waiter suffers from another one's error."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest
from blockbuster import blockbuster_ctx
from conftest import SteppingClock
from trickling import trickling

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.call_states import CallState
from airflow_provider_retell.api.client import AsyncRetellClient, RetellClient
from airflow_provider_retell.api.flows import stop
from airflow_provider_retell.api.patience import NOT_THERE_YET
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellConnectionError,
    RetellError,
    RetellInputError,
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPermissionError,
    RetellRateLimitError,
    RetellResponseError,
    RetellServerError,
)
from airflow_provider_retell.polling.poller import FLOWS_AT_ONCE, Poller
from airflow_provider_retell.polling.refreshing_client import FIRST_LOOK_UPS, IMPORTED_ON_THE_LOOP, LOOK_UP_EVERY
from airflow_provider_retell.polling.rounds import WAITERS_PER_LOOP_TURN, Ask
from airflow_provider_retell.provider.options import Options
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator

SHOWN = pytest.mark.parametrize("list_registered", [True, False], ids=["registered shown", "registered hidden"])


@pytest.fixture
def list_registered() -> bool:
    """Choose whether list-calls shows registered calls, because Retell does not document it."""
    return True


@pytest.fixture
def simulator(time: ManualClock, list_registered: bool) -> Simulator:
    return Simulator(clock=time, list_registered=list_registered, concurrency_limit=20_000)


@pytest.fixture
def register(simulator: Simulator) -> Callable[..., list[str]]:
    """Register calls that play a scenario; return their ids."""

    def register(count: int = 1, name: str = "user_hangup") -> list[str]:
        settings = ConnectionSettings(api_key=simulator.api_key)
        with RetellClient(settings, transport=simulator) as client:
            request = {"agent_id": "agent_1", "to_number": SCENARIOS[name].number}
            return [client.send(endpoints.register_phone_call(request)).call_id for _ in range(count)]

    return register


class Account:
    """An Airflow connection, and what became of its look-ups."""

    def __init__(self, api_key: str, transport: httpx.AsyncBaseTransport | None) -> None:
        self.api_key = api_key
        self.transport = transport
        self.looked_up = 0
        self.clients: list[AsyncRetellClient] = []
        self.error: Exception | None = None
        self.timeout = 5.0

    async def look_up(self) -> ConnectionSettings:
        self.looked_up += 1
        if self.error:
            raise self.error
        return ConnectionSettings(api_key=self.api_key, timeout=self.timeout)

    def client(self, settings: ConnectionSettings) -> AsyncRetellClient:
        self.clients.append(AsyncRetellClient(settings, transport=self.transport))
        return self.clients[-1]


@pytest.fixture
def account(simulator: Simulator) -> Account:
    return Account(simulator.api_key, simulator)


def poll(
    account: Account, clock: Any, work: Callable[[Poller], Awaitable[Any]], options: Options | None = None
) -> Any:
    """Run some work with a poller on a loop of its own, where nothing may block or hang."""

    async def main() -> Any:
        shared = Poller(
            account.look_up,
            client=account.client,
            clock=clock,
            options=options or Options(shortest_poll_interval=1),
        )
        with blockbuster_ctx(scanned_modules=["airflow_provider_retell"]):
            try:
                return await asyncio.wait_for(work(shared), timeout=30)
            finally:
                await shared.aclose()

    return asyncio.run(main())


def together(*readers: Callable[[Poller], Awaitable[Any]]) -> Callable[[Poller], Awaitable[list[Any]]]:
    """Let several waiters wait side by side; return what each got, its error included."""

    async def work(shared: Poller) -> list[Any]:
        return await asyncio.gather(*(reader(shared) for reader in readers), return_exceptions=True)

    return work


def reader(*call_ids: str, due: float = 0.0) -> Callable[[Poller], Awaitable[Any]]:
    """A waiter that reads once."""
    return lambda shared: shared.read(call_ids, due=due)


def asked(simulator: Simulator) -> list[str]:
    """Return the endpoints of the polls."""
    return [request.endpoint for request in simulator.requests if request.endpoint != "register-phone-call"]


class Lists(httpx.AsyncBaseTransport):
    """A Retell with a given response to list-calls; get-call knows every call."""

    def __init__(self, *, items: list[Any], calls: dict[str, Any] | None = None, **more: Any) -> None:
        self.items = items
        self.calls = calls or {"call_status": "ongoing"}
        self.more = more
        self.asked_for: list[int] = []
        self.status = 200
        self.key: str | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.key and request.headers["Authorization"] != f"Bearer {self.key}":
            return httpx.Response(401, json={"status": "error", "message": "API key is missing or invalid."})
        if request.method == "GET":
            return httpx.Response(200, json={"call_id": request.url.path.rpartition("/")[2]} | self.calls)
        self.asked_for.append(len(json.loads(request.content)["filter_criteria"]["call_id"]["value"]))
        if self.status != 200:
            return httpx.Response(self.status, json={"status": "error", "message": "Not so many."})
        return httpx.Response(200, json={"items": self.items} | self.more)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.answer(request)


NEIGHBOURS = [{"call_id": "call_1", "call_status": "ongoing"}, {"call_id": "call_2", "call_status": "ended"}]


IMPORTS = """
import asyncio, os, sys, threading
from airflow_provider_retell.simulator import SCENARIOS, Simulator
from airflow_provider_retell.triggers import RetellCallTrigger

simulator, on_the_loop = Simulator(), []
call_id = simulator.register({{"agent_id": "agent_1", "to_number": SCENARIOS["user_hangup"].number}})

def note(event, arguments):
    if event == "import" and threading.current_thread() is threading.main_thread():
        on_the_loop.append(arguments[0])

async def wait():
    trigger = RetellCallTrigger(call_ids=[call_id], retell_conn_id="retell_default", deadline=0)
    return [event async for event in trigger.run()]

with simulator.serve() as url:
    os.environ["AIRFLOW_CONN_RETELL_DEFAULT"] = simulator.connection(url)
    sys.addaudithook(note)
    (event,) = asyncio.run(wait())
assert event.payload["calls"] == {{call_id: "registered"}}, event
assert not {{*{modules}}}.intersection(on_the_loop), on_the_loop
"""


# -- few requests ----------------------------------------------------------------------------------------------


@SHOWN
def test_a_thousand_waiters_cost_one_request_and_at_most_twenty_more(
    register: Callable[..., list[str]],
    simulator: Simulator,
    account: Account,
    clock: SteppingClock,
    list_registered: bool,
) -> None:
    """One list for all; of the calls that Retell does not list, a round reads twenty."""
    ids = register(1000)
    readings = poll(account, clock, together(*map(reader, ids)))
    assert asked(simulator) == ["list-calls"] + ["get-call"] * (0 if list_registered else 20)
    assert sum(len(reading) for reading in readings) == (1000 if list_registered else 20)
    assert (account.looked_up, len(account.clients)) == (1, 1)


@pytest.mark.parametrize("list_registered", [False])
def test_calls_that_are_not_listed_have_their_turn(
    register: Callable[..., list[str]], simulator: Simulator, account: Account, clock: SteppingClock
) -> None:
    """Each round reads others, so that no call is forgotten."""
    ids = register(100)

    async def work(shared: Poller) -> set[str]:
        seen: set[str] = set()
        for _ in range(5):
            seen |= set(await shared.read(ids, due=clock.now()))
        return seen

    assert poll(account, clock, work) == set(ids)
    assert asked(simulator) == (["list-calls"] + ["get-call"] * 20) * 5


@pytest.mark.parametrize("list_registered", [False])
def test_calls_that_are_over_are_read_on_and_on(
    register: Callable[..., list[str]], account: Account, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as all that are read one by one turn out to be over, a round does not stop at twenty."""
    ids = register(50, "dial_busy")
    clock.time.advance(3600)
    monkeypatch.setattr(account, "transport", Lists(items=[], calls={"call_status": "not_connected"}))
    (reading,) = poll(account, clock, together(reader(*ids)))
    assert len(reading) == 50


@pytest.mark.parametrize(("count", "requests"), [(1, []), (2, [2]), (1001, [1000, 1]), (10_000, [1000] * 10)])
def test_ids_go_in_parts_that_retell_takes(
    account: Account, clock: SteppingClock, count: int, requests: list[int]
) -> None:
    """A thousand ids fit into one request, the thousand-and-first makes another; one call alone is not listed."""
    ids = [f"call_{number}" for number in range(count)]
    account.transport = lists = Lists(items=[{"call_id": call_id, "call_status": "ongoing"} for call_id in ids])
    (reading,) = poll(account, clock, together(reader(*ids, *ids)))
    assert len(reading) == count
    assert lists.asked_for == requests


def test_few_flows_run_at_the_same_time(account: Account, clock: SteppingClock) -> None:
    """A thousand tasks killed at once would fill httpx's pool, which is slow then."""
    running, begun, answers = [0], asyncio.Event(), asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        running.append(running[-1] + 1)
        begun.set()
        await answers.wait()
        running.append(running[-1] - 1)
        return httpx.Response(200, json={"call_id": request.url.path.rpartition("/")[2], "call_status": "ended"})

    async def answer_late(_: Poller) -> None:
        await begun.wait()
        for _ in range(2000):
            await asyncio.sleep(0)
        answers.set()

    account.transport = httpx.MockTransport(answer)
    stops = [partial(Poller.run, flow=stop(f"call_{number}", leave_registered=False)) for number in range(100)]
    *results, _ = poll(account, clock, together(*stops, answer_late))
    assert all("over already" in result.message for result in results)
    assert max(running) == FLOWS_AT_ONCE


# -- when -------------------------------------------------------------------------------------------------------


def test_a_round_begins_when_the_first_waiter_is_due(
    register: Callable[..., list[str]], simulator: Simulator, account: Account, clock: SteppingClock
) -> None:
    """Waiters that would have waited for longer get the result as well, at no cost."""
    one, another = register(2)
    now = clock.now()
    poll(account, clock, together(reader(one, due=now + 30), reader(another, due=now + 5)))
    assert (clock.now(), asked(simulator)) == (now + 5, ["list-calls"])


def test_rounds_keep_the_shortest_interval(
    register: Callable[..., list[str]], account: Account, clock: SteppingClock
) -> None:
    """Whatever the waiters ask for, Retell is not asked more often than Airflow's configuration says."""
    (call_id,) = register()
    now = clock.now()

    async def work(shared: Poller) -> None:
        for _ in range(4):
            await shared.read([call_id], due=0)

    poll(account, clock, work, Options(shortest_poll_interval=7))
    assert clock.now() == now + 21


def test_who_comes_in_between_is_not_kept_waiting(account: Account, time: ManualClock) -> None:
    """A waiter that is due before the others ends the pause."""
    account.transport = Lists(items=[{"call_id": "call_1"}, {"call_id": "call_2"}])

    class Endless(SteppingClock):
        async def asleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    async def work(shared: Poller) -> Any:
        early = asyncio.create_task(shared.read(["call_1"], due=time() + 3600))
        await asyncio.sleep(0.01)
        assert not early.done()
        return await shared.read(["call_2"], due=0), await early

    assert [*map(list, poll(account, Endless(time), work))] == [["call_2"], ["call_1"]]


def test_others_have_their_turn_while_waiters_are_woken(account: Account, clock: SteppingClock) -> None:
    """A thousand waiters at once would hold the loop for a tenth of a second."""
    ids = [f"call_{number}" for number in range(1000)]
    account.transport = Lists(items=[{"call_id": call_id, "call_status": "ongoing"} for call_id in ids])
    woken: list[int] = [0]

    async def wait(shared: Poller, call_id: str) -> None:
        await shared.read([call_id], due=0)
        woken[-1] += 1

    async def take_turns() -> None:
        while sum(woken) < len(ids):
            await asyncio.sleep(0)
            woken.append(0)

    poll(account, clock, together(*(partial(wait, call_id=it) for it in ids), lambda _: take_turns()))
    assert sum(woken) == len(ids)
    assert max(woken) == WAITERS_PER_LOOP_TURN


def test_between_two_rounds_nothing_is_kept_of_the_last(account: Account, time: ManualClock) -> None:
    """A thousand waiters would otherwise take half as much memory again."""
    ids = [f"call_{number}" for number in range(100)]
    account.transport = Lists(items=[{"call_id": call_id, "call_status": "ongoing"} for call_id in ids])

    asleep = asyncio.Event()

    class Endless(SteppingClock):
        async def asleep(self, seconds: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

    async def wait(shared: Poller, call_id: str) -> None:
        await shared.read([call_id], due=0)
        await shared.read([call_id], due=time() + 3600)

    async def work(shared: Poller) -> int:
        tasks = [asyncio.create_task(wait(shared, call_id)) for call_id in ids]
        await asleep.wait()
        gc.collect()  # what nothing refers to any more is not kept, only not freed yet
        asks = sum(type(it) is Ask for it in gc.get_objects())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return asks

    assert poll(account, Endless(time), work) == len(ids)


# -- trouble ----------------------------------------------------------------------------------------------------


def test_an_unknown_call_fails_its_waiter_only(
    register: Callable[..., list[str]], account: Account, clock: SteppingClock
) -> None:
    """The others read on; a waiter for it and for others gets those too."""
    one, another = register(2)

    async def work(shared: Poller) -> list[Any]:
        first = await shared.read([one, "call_unknown"], due=0)
        clock.time.advance(NOT_THERE_YET)
        return [first, *await together(reader(one, "call_unknown"), reader(another))(shared)]

    first, mine, theirs = poll(account, clock, work)
    assert list(first) == [one], "it may not be there yet"
    assert isinstance(mine["call_unknown"], RetellNotFoundError)
    assert mine[one].call_id == one
    assert list(theirs) == [another]


def test_a_call_that_is_there_a_little_later_fails_no_waiter(
    register: Callable[..., list[str]], simulator: Simulator, account: Account, clock: SteppingClock
) -> None:
    """Retell may not know a call in the moment after it was placed."""
    (call_id,) = register()
    simulator.fail(Fault(endpoint="get-call", answer=422))

    async def work(shared: Poller) -> list[Any]:
        return [await shared.read([call_id], due=0), await shared.read([call_id], due=0)]

    assert [list(reading) for reading in poll(account, clock, work)] == [[], [call_id]]


@pytest.mark.parametrize("list_registered", [False])
def test_a_call_that_is_refused_fails_its_waiter_only(
    register: Callable[..., list[str]], simulator: Simulator, account: Account, clock: SteppingClock
) -> None:
    """A 400 for one of ten calls fails one waiter; the other nine get theirs."""
    ids = register(10)
    simulator.fail(Fault(endpoint=f"GET /v2/get-call/{ids[3]}", answer=400, times=None))
    readings = poll(account, clock, together(*map(reader, ids)))
    kinds = [type(reading[call_id]) for call_id, reading in zip(ids, readings, strict=True)]
    assert kinds == [RetellInvalidRequestError if number == 3 else CallState for number in range(10)]


def test_a_clock_that_is_set_back_stops_no_poll(account: Account, time: ManualClock) -> None:
    """Pauses are measured by the monotonic clock: an hour back on the wall, and the rounds go on as before."""
    account.transport = Lists(items=[])

    class SetBack(SteppingClock):
        back = 0.0

        def now(self) -> float:
            return super().now() - self.back

    clock = SetBack(time)

    async def work(shared: Poller) -> list[float]:
        await shared.read(["call_1"], due=0)
        clock.back = 3600
        for _ in range(3):
            await shared.read(["call_1"], due=clock.monotonic() + 5)
        return clock.slept

    assert poll(account, clock, work) == [5, 5, 5]


@pytest.mark.parametrize("list_registered", [False])
@pytest.mark.parametrize("answer", [400, 500, 503, "empty"])
def test_a_call_that_cannot_be_read_fails_its_waiter_only(
    register: Callable[..., list[str]], simulator: Simulator, account: Account, clock: SteppingClock, answer: Any
) -> None:
    """One call for which Retell stumbles keeps no other waiter from reading."""
    known, odd = register(2)
    simulator.fail(Fault(endpoint=f"GET /v2/get-call/{odd}", answer=answer, times=None))
    mine, theirs = poll(account, clock, together(reader(odd), reader(known)))
    assert isinstance(mine[odd], RetellError)
    assert list(theirs) == [known]


@pytest.mark.parametrize("list_registered", [False])
def test_a_response_that_does_not_come_ends_the_round_without_an_error(
    register: Callable[..., list[str]], simulator: Simulator, account: Account, clock: SteppingClock
) -> None:
    """Each further call that is read one by one might take as long: the others come in the next round."""
    ids = register(10)
    simulator.fail(Fault(endpoint="get-call", answer="drop", skip=2))

    async def work(shared: Poller) -> list[Any]:
        first = await shared.read(ids, due=0)
        return [first, await shared.read(ids, due=0)]

    first, second = poll(account, clock, work)
    assert [isinstance(call, RetellError) for call in first.values()] == [False, False, True]
    assert len(second) == 10


def test_an_id_that_is_none_fails_its_waiter_only(account: Account, clock: SteppingClock) -> None:
    """It is refused before it can spoil the request of all."""
    account.transport = Lists(items=[{"call_id": "call_1"}])
    mine, theirs = poll(account, clock, together(reader("a/b"), reader("call_1")))
    assert isinstance(mine, RetellInputError)
    assert list(theirs) == ["call_1"]


@pytest.mark.parametrize("retry_after", [None, 40, 9999])
def test_429_slows_all_waiters(
    register: Callable[..., list[str]],
    simulator: Simulator,
    account: Account,
    clock: SteppingClock,
    retry_after: float | None,
) -> None:
    """Until Retry-After is over, five minutes at most, nothing is sent; waiters that are due get the error."""
    ids = register(3)
    simulator.fail(Fault(endpoint="list-calls", answer=429, retry_after=retry_after))
    began = clock.now()

    async def wait(shared: Poller, call_id: str, interval: float) -> tuple[int, float]:
        failed, due = 0, 0.0
        while True:
            try:
                await shared.read([call_id], due=due)
            except RetellRateLimitError:
                failed += 1
                due = clock.now() + interval
            else:
                return failed, clock.now() - began

    intervals = (10, 10, 60)
    waits = poll(
        account,
        clock,
        together(*(partial(wait, call_id=c, interval=i) for c, i in zip(ids, intervals, strict=True))),
    )
    seldom, often, waited = {None: (1, 1, 10), 40: (1, 4, 40), 9999: (5, 30, 300)}[retry_after]
    assert waits == [(often, waited), (often, waited), (seldom, waited)]
    assert asked(simulator) == ["list-calls"] * 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (500, RetellServerError),
        (503, RetellServerError),
        ("drop", RetellConnectionError),
        ("truncate", RetellConnectionError),
        ("empty", RetellResponseError),
    ],
)
def test_all_waiters_get_an_error_that_ends(
    register: Callable[..., list[str]],
    simulator: Simulator,
    account: Account,
    clock: SteppingClock,
    answer: Any,
    kind: type[RetellError],
) -> None:
    """No waiter is left waiting, and the next round works again; the log has a line for each."""
    ids = register(2)
    simulator.fail(Fault(endpoint="list-calls", answer=answer))

    async def work(shared: Poller) -> list[Any]:
        failed = await together(*map(reader, ids))(shared)
        return [failed, await together(*(reader(call_id, due=clock.now() + 5) for call_id in ids))(shared)]

    failed, read = poll(account, clock, work)
    assert [type(error) for error in failed] == [kind, kind]
    assert [list(reading) for reading in read] == [[call_id] for call_id in ids]


def test_rounds_that_fail_come_ever_more_slowly(
    register: Callable[..., list[str]], simulator: Simulator, account: Account, clock: SteppingClock
) -> None:
    """A Retell in trouble is asked after 1, 2, 4 ... 30 seconds, however often the waiters are due."""
    (call_id,) = register()
    simulator.fail(Fault(endpoint="get-call", answer=429, times=None))

    async def work(shared: Poller) -> None:
        until = clock.now() + 600
        while clock.now() < until:
            with pytest.raises(RetellRateLimitError):
                await shared.read([call_id], due=clock.now() + 1)

    poll(account, clock, work)
    times = [request.clock for request in simulator.requests if request.endpoint == "get-call"]
    pauses = [round(later - earlier) for earlier, later in pairwise(times)]
    assert pauses[:8] == [1, 2, 4, 8, 16, 30, 30, 30]


def test_an_answer_that_never_ends_is_given_up(account: Account, clock: SteppingClock) -> None:
    """Retell may drip an answer for ever, and keep to every time-out of the HTTP library."""

    async def look_up() -> ConnectionSettings:
        return ConnectionSettings(api_key="key_1", base_url=url, timeout=0.1)

    account.transport = None
    account.look_up = look_up  # type: ignore[method-assign]
    with trickling() as url:
        (reading,) = poll(account, clock, together(reader("call_1")))
    assert isinstance(reading["call_1"], RetellConnectionError)


def test_a_slow_round_leaves_the_rest_to_the_next(account: Account, clock: SteppingClock) -> None:
    """Calls that are read one by one hold up a round for a minute at most."""
    account.transport = lists = Lists(items=[], calls={"call_status": "ended"})
    answer = lists.answer

    def slowly(request: httpx.Request) -> httpx.Response:
        clock.time.advance(7)
        return answer(request)

    lists.answer = slowly  # type: ignore[method-assign]
    (reading,) = poll(account, clock, together(reader(*(f"call_{n}" for n in range(100)))))
    assert len(reading) == 8


@pytest.mark.parametrize("waiters", [1, 3])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_fails_all_after_one_fresh_look_up(
    register: Callable[..., list[str]],
    simulator: Simulator,
    account: Account,
    clock: SteppingClock,
    status: int,
    waiters: int,
) -> None:
    """A refused key fails all waiters after one new look-up of the connection."""
    ids = register(waiters)
    simulator.fail(*(Fault(endpoint=name, answer=status, times=None) for name in ("list-calls", "get-call")))
    errors = poll(account, clock, together(*map(reader, ids)))
    assert [type(error) for error in errors] == [
        {401: RetellAuthenticationError, 403: RetellPermissionError}[status]
    ] * waiters
    assert account.looked_up == 2


def test_a_rotated_key_loses_no_wait(account: Account, clock: SteppingClock) -> None:
    """The connection holds the new key by the time Retell refuses the old one: no waiter notices."""
    account.transport = lists = Lists(items=NEIGHBOURS)
    lists.key = account.api_key

    async def work(shared: Poller) -> list[Any]:
        await together(reader("call_1"), reader("call_2"))(shared)
        lists.key = account.api_key = "key_new"
        return await together(reader("call_1"), reader("call_2"))(shared)

    assert [list(reading) for reading in poll(account, clock, work)] == [["call_1"], ["call_2"]]
    assert (account.looked_up, len(account.clients)) == (2, 2)


def test_a_changed_connection_is_picked_up(
    register: Callable[..., list[str]], account: Account, clock: SteppingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is looked up again every five minutes; a look-up that fails changes nothing."""
    (call_id,) = register()

    async def work(shared: Poller) -> list[int]:
        clients = []
        for change in ("none", "error", "timeout"):
            clock.time.advance(LOOK_UP_EVERY)
            account.error = OSError("The vault is closed.") if change == "error" else None
            account.timeout = 9 if change == "timeout" else 5
            await shared.read([call_id], due=0)
            clients.append(len(account.clients))
        return clients

    assert poll(account, clock, work) == [1, 1, 2]
    assert account.looked_up == 3
    assert "The vault is closed." in caplog.text


def test_one_failed_look_up_fails_no_waiter(
    register: Callable[..., list[str]], account: Account, clock: SteppingClock
) -> None:
    """A triggerer that starts while the secrets backend is away asks again, for half a minute."""
    look_up, times = account.look_up, []

    async def unsteady() -> ConnectionSettings:
        times.append(clock.now())
        if len(times) <= len(FIRST_LOOK_UPS):
            raise ConnectionError("The vault is away.")
        return await look_up()

    account.look_up = unsteady  # type: ignore[method-assign]
    (call_id,) = register(1)
    (reading,) = poll(account, clock, together(reader(call_id)))
    assert list(reading) == [call_id]
    assert [after - before for before, after in pairwise(times)] == list(FIRST_LOOK_UPS)


def test_a_connection_that_cannot_be_looked_up_fails_all(account: Account, clock: SteppingClock) -> None:
    """There is no wait for a connection that is not there."""
    account.error = LookupError("no such connection")
    errors = poll(account, clock, together(reader("call_1"), reader("call_2")))
    assert [str(error) for error in errors] == ["no such connection"] * 2


def test_a_waiter_that_is_cancelled_takes_no_other_along(
    register: Callable[..., list[str]], account: Account, clock: SteppingClock
) -> None:
    """A cancelled waiter does not affect others, even if it came first."""
    one, another = register(2)

    async def work(shared: Poller) -> Any:
        first = asyncio.create_task(shared.read([one], due=clock.now() + 60))
        second = asyncio.create_task(shared.read([another], due=clock.now() + 60))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert list(poll(account, clock, work)) == [another]


def test_a_look_up_is_not_cut_short(account: Account, clock: SteppingClock) -> None:
    """After a cancelled look-up, older versions of Airflow would mistake its answer for the next one."""
    ended = asyncio.Event()
    look_up = account.look_up

    async def slowly() -> ConnectionSettings:
        await asyncio.sleep(0.05)
        ended.set()
        return await look_up()

    account.look_up = slowly  # type: ignore[method-assign]

    async def work(shared: Poller) -> None:
        waiting = asyncio.create_task(shared.read(["call_1"], due=0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await shared.aclose()
        await asyncio.wait_for(ended.wait(), timeout=60)

    poll(account, clock, work)


def test_a_poller_that_has_ended_answers_its_waiters(account: Account, clock: SteppingClock) -> None:
    """Its waiters learn of it, and do not wait for ever."""
    account.transport = Lists(items=[])

    async def work(shared: Poller) -> Any:
        waiting = asyncio.create_task(shared.read(["call_1"], due=clock.now() + 60))
        await asyncio.sleep(0)
        await shared.aclose()
        return await waiting

    with pytest.raises(RetellError, match="ended"):
        poll(account, clock, work)


def test_the_first_poll_imports_nothing_large_on_the_loop() -> None:
    """A thread imports what the look-up and httpx need, which would hold up all other triggers on the loop."""
    code = IMPORTS.format(modules=IMPORTED_ON_THE_LOOP)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)  # noqa: S603 (it stands above)


# -- odd answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "more"),
    [
        (NEIGHBOURS, {"has_more": True, "pagination_key": "again"}),
        (NEIGHBOURS, {"has_more": True}),
        ([*NEIGHBOURS, {"call_id": "call_strange"}], {}),
        ([*NEIGHBOURS, {"call_status": "ended"}, None, "call_3", {"call_id": 7}], {}),
        ([{"call_id": "call_1", "call_status": "archived"}, NEIGHBOURS[1]], {}),
        ([*NEIGHBOURS, *NEIGHBOURS], {}),
        (NEIGHBOURS[:1], {}),
        ([], {}),
    ],
    ids=["a cursor", "more without one", "a stranger", "no ids", "a status", "twice", "half of them", "nothing"],
)
def test_odd_lists_hurt_no_waiter(
    account: Account, clock: SteppingClock, items: list[Any], more: dict[str, Any]
) -> None:
    """Nothing that a list may hold makes a round hang, ask without end or lose a waiter."""
    account.transport = lists = Lists(items=items, **more)
    one, another = poll(account, clock, together(reader("call_1"), reader("call_2")))
    assert (list(one), list(another)) == (["call_1"], ["call_2"])
    assert lists.asked_for == [2]


@pytest.mark.parametrize(("status", "parts"), [(403, [100]), (400, [100, 50, 50, 25, 25, 25, 25] + [13, 12] * 4)])
def test_a_list_that_is_refused_is_asked_for_in_parts(
    account: Account, clock: SteppingClock, status: int, parts: list[int]
) -> None:
    """Too many ids, or one that Retell refuses: halves may be listed. A key that may not list never will."""
    account.transport = lists = Lists(items=[])
    lists.status = status
    (reading,) = poll(account, clock, together(reader(*(f"call_{n}" for n in range(100)))))
    assert sorted(lists.asked_for) == sorted(parts)
    assert len(reading) == 20


def test_two_connections_know_nothing_of_each_other(
    account: Account, clock: SteppingClock, register: Callable[..., list[str]], simulator: Simulator
) -> None:
    """A refused key of one leaves the other's waiters alone."""
    (call_id,) = register()
    refused = Account("key_wrong", simulator)

    async def both(shared: Poller) -> Any:
        other = Poller(refused.look_up, client=refused.client, clock=clock)
        try:
            return await asyncio.gather(
                shared.read([call_id], due=0), other.read([call_id], due=0), return_exceptions=True
            )
        finally:
            await other.aclose()

    good, bad = poll(account, clock, both)
    assert list(good) == [call_id]
    assert isinstance(bad, RetellAuthenticationError)
