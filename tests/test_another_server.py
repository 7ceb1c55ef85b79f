"""Test that one intended call is one call on any server that speaks Retell's API, not only on the simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from another_server import Clock, Fate, Server, Spoil, page, reset, serving, status, truncate
from conftest import CREATE, REGISTER, Store, TaskInstance, place

from airflow_provider_retell.errors import RetellCallFinalError, RetellError, RetellPermissionError
from airflow_provider_retell.policy import CallingHours
from airflow_provider_retell.testing import clock_replaced_by

NUMBER, ANOTHER = "+14155550100", "+14155550101"

FAULTS: dict[str, tuple[Spoil, bool]] = {
    "408 after": (status(408), True),
    "425 after": (status(425), True),
    "429": (status(429, Retry_After="0"), False),
    "500 before": (status(500), False),
    "500 after": (status(500), True),
    "502 after": (status(502), True),
    "503 before": (status(503), False),
    "504 after": (status(504), True),
    "403 page after": (page(403), True),
    "reset after": (reset, True),
    "truncated": (truncate, True),
}

TALKS = {"call_status": "ongoing"}
RINGS = {"call_status": "registered"}
NO_ANSWER = {"call_status": "not_connected", "disconnection_reason": "dial_no_answer"}
HUNG_UP = {"call_status": "ended", "disconnection_reason": "user_hangup"}

FATES: dict[str, tuple[Fate, float]] = {
    "live": (((0, TALKS),), 0),
    "rings, then live": (((0, RINGS), (40, TALKS)), 40),
    "rings, then over": (((0, RINGS), (40, NO_ANSWER)), 40),
    "rings five minutes": (((0, RINGS), (300, NO_ANSWER)), 300),
    "over": (((0, NO_ANSWER),), 0),
}
"""The story of a call, and the seconds after which it can be stopped or is over."""

lists_or_not = pytest.mark.parametrize("lists", [True, False], ids=["lists calls", "lists none"])
store_or_not = pytest.mark.parametrize("store", [Store, None], ids=["store", "no store"])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve as the connection ``retell_default``, whose client sends a request at most twice."""
    with serving() as server:
        fields = {
            "conn_type": "retell",
            "password": "key_1",
            "host": f"http://127.0.0.1:{server.server_port}",
            "extra": {"max_attempts": 2, "max_retry_delay": 0},
        }
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields))
        yield server


class Task:
    """A task from try to try, by the server's time.

    Args:
        server: Retell.
        store: The class of its state store, None for an Airflow without one.
        arguments: The operator's.
    """

    def __init__(
        self, server: Server, store: type[Store] | None, endpoint: str = CREATE, **arguments: Any
    ) -> None:
        self.clock = server.clock
        self.kept = {"task_state_store": store()} if store else {}
        self.endpoint = endpoint
        self.arguments = {"to_number": NUMBER, "poll_interval": 5, "limit_timeout": 0, **arguments}
        self.began = TaskInstance().run_began

    def attempt(self, try_number: int, *, max_tries: int, clock: Clock | None = None, **arguments: Any) -> Any:
        operator = place(self.endpoint, **self.arguments | arguments)
        ti = TaskInstance(try_number=try_number, max_tries=max_tries)
        ti.run_began = self.began
        with clock_replaced_by(clock or self.clock):
            return operator.execute(ti.context(**self.kept))


@lists_or_not
@store_or_not
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("endpoint", [REGISTER, CREATE])
def test_every_fault_places_one_call(
    server: Server, endpoint: str, fault: str, store: type[Store] | None, *, lists: bool
) -> None:
    """Through all tries of a task, one call is placed; of registrations, one is handed on."""
    server.lists = lists
    spoil, server.takes_effect = FAULTS[fault]
    server.spoils["place"] = [spoil] * 3
    task = Task(server, store, endpoint, retries=3)
    rows: list[Any] = []
    for try_number in range(1, 5):
        try:
            rows.append(task.attempt(try_number, max_tries=3))
        except RetellError as error:
            assert NUMBER not in str(error)  # noqa: PT017 (some tries fail, others do not)
        if rows and not store and not lists:
            break  # neither Airflow nor Retell can tell a further try of a registration that went well
    assert len({row["call_id"] for row in rows}) == 1
    assert endpoint == REGISTER or len(server.calls) == 1


@lists_or_not
@store_or_not
@pytest.mark.parametrize("fate", FATES)
def test_a_clear_never_has_two_phones_ring(
    server: Server, fate: str, store: type[Store] | None, *, lists: bool
) -> None:
    """A clear places its call once the old one is over, and none if the old one can be neither read nor listed."""
    server.lists = lists
    becomes, earliest = FATES[fate]
    server.fates = [becomes]
    task = Task(server, store)
    task.attempt(1, max_tries=0)
    if not store and not lists:
        with pytest.raises(RetellCallFinalError, match="may not list calls"):
            task.attempt(2, max_tries=1)
        assert len(server.calls) == 1
        return
    assert task.attempt(2, max_tries=1)["call_id"] == "call_1"
    assert server.at_once == 1
    assert server.was_stopped("call_0") == fate.endswith("live")
    assert earliest <= server.seconds_between("call_0", "call_1") <= earliest + 5


@lists_or_not
@store_or_not
@pytest.mark.parametrize("fault", [name for name, (_, takes_effect) in FAULTS.items() if takes_effect])
def test_a_clear_finds_the_call_whose_response_was_lost(
    server: Server, fault: str, store: type[Store] | None, *, lists: bool
) -> None:
    """A lost response is no refusal: a clear stops its call first, or places none if calls cannot be listed."""
    server.lists = lists
    server.spoils["place"] = [FAULTS[fault][0]] * 2
    task = Task(server, store)
    with pytest.raises(RetellError):
        task.attempt(1, max_tries=0)
    if lists:
        assert task.attempt(2, max_tries=1)["call_id"] == "call_1"
        assert server.was_stopped("call_0")
    else:
        with pytest.raises(RetellCallFinalError, match="may not list calls"):
            task.attempt(2, max_tries=1)
        assert len(server.calls) == 1
    assert server.at_once == 1


@lists_or_not
@store_or_not
def test_a_clear_does_not_wait_for_a_registration(
    server: Server, store: type[Store] | None, *, lists: bool
) -> None:
    """No phone rings because of a registration that was not dialed: the clear registers at once."""
    server.lists = lists
    server.fates = [((0, RINGS),)]
    task = Task(server, store, REGISTER)
    task.attempt(1, max_tries=0)
    assert task.attempt(2, max_tries=1)["call_id"] == "call_1"
    assert server.seconds_between("call_0", "call_1") == 0
    assert not server.was_stopped("call_0")


@store_or_not
def test_another_persons_call_is_not_taken(server: Server, store: type[Store] | None) -> None:
    """If a key or a record leads to a call to another number, the task fails and names both numbers."""
    task = Task(server, store)
    task.attempt(1, max_tries=0)
    with pytest.raises(RetellCallFinalError, match=r"to …0100, but .* to …0101"):
        task.attempt(1, max_tries=0, to_number=ANOTHER)
    assert len(server.calls) == 1


def test_a_page_under_403_is_waited_out(server: Server) -> None:
    """The page of a gateway says nothing about the permissions of the API key: the task goes on waiting."""
    server.fates = [((0, TALKS), (60, HUNG_UP))]
    server.spoils["get-call"] = [page(403)] * 4
    assert Task(server, None, wait_for="ended").attempt(1, max_tries=0)["outcome"] == "answered"
    assert not server.spoils["get-call"]


def test_a_403_of_retells_own_is_final(server: Server) -> None:
    """Without the permission to read calls a task cannot wait, so it fails at the first answer."""
    server.spoils["get-call"] = [status(403)] * 4
    with pytest.raises(RetellPermissionError):
        Task(server, None, wait_for="ended").attempt(1, max_tries=0)
    assert len(server.spoils["get-call"]) == 3


class Died(BaseException):
    """The worker, while it waits."""


class LastClock(Clock):
    """The clock of a worker that dies as soon as it waits."""

    def sleep(self, seconds: float) -> None:
        raise Died


@lists_or_not
@store_or_not
@pytest.mark.parametrize("fail_on", [(), "no_answer", "not_connected", "busy"])
def test_an_unanswered_call_is_replaced_by_fail_on_alone(
    server: Server, fail_on: str | tuple[str, ...], store: type[Store] | None, *, lists: bool
) -> None:
    """After the worker died, the retry reports the call, and rings again only if ``fail_on`` asks for it."""
    server.lists = lists
    server.fates = [((0, RINGS), (30, NO_ANSWER)), ((0, RINGS), (10, TALKS), (20, HUNG_UP))]
    task = Task(server, store, wait_for="ended", fail_on=fail_on, retries=1)
    with suppress(Died):
        task.attempt(1, max_tries=1, clock=LastClock())
    server.clock.sleep(60)
    row = task.attempt(2, max_tries=1)
    replaced = fail_on in {"no_answer", "not_connected"}
    assert row["outcome"] == ("answered" if replaced else "no_answer")
    assert len(server.calls) == (2 if replaced else 1)
    assert server.at_once == 1


@store_or_not
@pytest.mark.parametrize("endpoint", [REGISTER, CREATE])
def test_a_wait_for_a_line_that_lasts_beyond_the_hours_places_nothing(
    server: Server, endpoint: str, store: type[Store] | None
) -> None:
    """After a 429 one minute before the hours end, no request is sent; a task that must not wait fails."""
    last_minute = datetime.fromtimestamp(server.clock.now(), UTC).replace(hour=19, minute=59, second=30)
    server.clock.sleep((last_minute + timedelta(days=1)).timestamp() - server.clock.now())
    server.spoils["place"] = [status(429, Retry_After="60")] * 9
    server.takes_effect = False
    hours = CallingHours("09:00", "20:00", time_zone="UTC")
    task = Task(server, store, endpoint, calling_hours=hours, outside_hours="fail", limit_timeout=3600)
    with pytest.raises(RetellCallFinalError, match="20:00"):
        task.attempt(1, max_tries=0)
    assert server.requests[endpoint] == 1
    assert not server.calls
