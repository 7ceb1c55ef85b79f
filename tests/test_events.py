"""Test the trigger as Airflow uses it, and the calls as a DAG reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import AIRFLOW_2

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.events import SETTLED_AFTER, finished_calls
from airflow_provider_retell.provider.cursor_store import AssetStateStore, VariableStore
from airflow_provider_retell.provider.event_triggers import HAS_ASSET_STATE, HAS_ASSET_WATCHERS
from airflow_provider_retell.simulator import RealClock, Simulator
from airflow_provider_retell.triggers import RetellFinishedCallsTrigger

CALLS = "retell://retell_default/inbound"

watching = pytest.mark.skipif(not HAS_ASSET_WATCHERS, reason="Airflow 3.0 brought asset watchers")


@pytest.mark.skipif(HAS_ASSET_WATCHERS, reason="this Airflow has asset watchers")
def test_airflow_2_says_what_is_missing() -> None:
    """The module loads, and the trigger's error says which Airflow it needs."""
    assert AIRFLOW_2
    with pytest.raises(RetellInputError, match=r"needs asset watchers: Airflow 3\.0"):
        RetellFinishedCallsTrigger(CALLS)


@watching
def test_what_is_stored_makes_the_same_trigger() -> None:
    """A triggerer makes the trigger again from its class path and plain JSON."""
    trigger = RetellFinishedCallsTrigger(
        CALLS,
        since=datetime(2026, 1, 31, 2, tzinfo=timezone(timedelta(hours=2))),
        agent_id="agent_1",
        direction="inbound",
        metadata={"team": "a", "vip": True},
        wait_for="analyzed",
        poll_interval=5,
    )
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_retell.triggers.RetellFinishedCallsTrigger"
    assert kwargs["since"] == "2026-01-31T00:00:00+00:00"
    again = RetellFinishedCallsTrigger(**kwargs)
    assert again.serialize() == (path, kwargs)
    assert again.watcher().since == 1_769_817_600_000


@watching
def test_two_assets_with_equal_filters_have_watchers_of_their_own() -> None:
    """Airflow makes one trigger of equal arguments, and one stream of equal keys: the asset is part of both."""
    one, other = (RetellFinishedCallsTrigger(f"retell://retell_default/{name}") for name in ("a", "b"))
    assert one.shared_stream_key() != other.shared_stream_key()
    assert one.shared_stream_key() == RetellFinishedCallsTrigger("retell://retell_default/a").shared_stream_key()
    assert hash(one.shared_stream_key())
    assert one.watcher().key == other.watcher().key  # in the store of each asset


@watching
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"asset": ""}, "asset must be the URI"),
        ({"asset": None}, "asset must be the URI"),
        ({"asset": SimpleNamespace(uri=CALLS)}, "asset must be the URI"),
        ({"since": "yesterday"}, "since must be a datetime"),
        ({"since": 7}, "since must be a datetime"),
        ({"direction": "in"}, "direction takes"),
        ({"wait_for": "answered"}, "wait_for takes"),
        ({"poll_interval": -1}, "poll_interval must be"),
        ({"agent_id": ""}, "agent_id is empty"),
        ({"metadata": {}}, "metadata is empty"),
        ({"metadata": {"k": [1]}}, "list_calls compares metadata"),
    ],
)
def test_mistakes_are_found_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    """A trigger that failed in the triggerer would fail once a second without a trace."""
    with pytest.raises(RetellInputError, match=message):
        RetellFinishedCallsTrigger(**{"asset": CALLS, **arguments})


@watching
def test_the_key_of_a_cursor_is_that_of_the_filters() -> None:
    """Two watchers of one asset keep cursors of their own; another interval is no other watcher."""
    key = RetellFinishedCallsTrigger(CALLS).watcher().key
    assert RetellFinishedCallsTrigger(CALLS, poll_interval=5, since="2026-01-01").watcher().key == key
    others = [{"agent_id": "a"}, {"direction": "inbound"}, {"wait_for": "analyzed"}, {"retell_conn_id": "other"}]
    keys = {RetellFinishedCallsTrigger(CALLS, **other).watcher().key for other in others}
    assert len(keys | {key}) == 5


@watching
def test_each_airflow_keeps_the_cursor_where_it_can() -> None:
    """In the asset's state if Airflow says when an event is stored; else in a Variable, some seconds later."""
    watcher = RetellFinishedCallsTrigger(CALLS).watcher()
    assert isinstance(watcher.store, AssetStateStore if HAS_ASSET_STATE else VariableStore)
    assert watcher.settle == (0 if HAS_ASSET_STATE else SETTLED_AFTER)


@watching
def test_a_cursor_without_calls_fires_no_event() -> None:
    """A poll that finds nothing starts no run."""

    async def stream() -> AsyncIterator[Any]:
        yield None
        yield {"calls": [{"call_id": "call_1"}]}
        yield None

    async def fired() -> list[Any]:
        trigger = RetellFinishedCallsTrigger(CALLS)
        return [event.payload async for event in trigger.filter_shared_stream(stream())]

    assert asyncio.run(fired()) == [{"calls": [{"call_id": "call_1"}]}]


# -- what a DAG reads -------------------------------------------------------------------------------------------


def event(*calls: str, **extra: Any) -> Any:
    payload = {
        "calls": [{"call_id": call, "outcome": "busy", "direction": None, "agent_id": None} for call in calls]
    }
    return SimpleNamespace(extra={"from_trigger": True, "payload": payload, **extra})


class Events(dict[Any, Any]):
    """Airflow's mapping, which finds an event by its asset only."""

    def values(self) -> Any:
        raise NotImplementedError


def test_each_call_is_read_once() -> None:
    """Calls come from several events of several assets, in the order of the events."""
    events = Events(
        {"one": [event("call_2", "call_1"), event("call_1", "call_3")], "other": [event("call_2", "call_4")]}
    )
    assert [call["call_id"] for call in finished_calls(events)] == ["call_2", "call_1", "call_3", "call_4"]
    assert finished_calls(events)[0] == {
        "call_id": "call_2",
        "outcome": "busy",
        "direction": None,
        "agent_id": None,
    }


@pytest.mark.parametrize(
    "extra",
    [
        None,
        "text",
        {},
        {"payload": "text"},
        {"payload": {"files": []}},
        {"call_id": "call_1"},
        *(
            {"payload": {"calls": calls}}
            for calls in (None, 7, "call_1", ["call_1"], [{"id": 1}], [{"call_id": [1]}])
        ),
    ],
)
def test_other_events_are_left_out(extra: Any) -> None:
    """A run may be started by an operator's event, or by a person who makes one in the UI."""
    assert finished_calls({"one": [SimpleNamespace(extra=extra), event("call_1")]})[0]["call_id"] == "call_1"
    assert finished_calls({"one": [SimpleNamespace(extra=extra)]}) == []


@watching
def test_a_moment_without_a_zone_is_in_utc() -> None:
    """A time without a zone is UTC, as in the export."""
    naive = RetellFinishedCallsTrigger(CALLS, since="2026-01-31").since
    assert naive == datetime(2026, 1, 31, tzinfo=UTC).isoformat()


# -- Airflow's own stream, since 3.3 ------------------------------------------------------------------------------


class Supervisor:
    """The part of a triggerer that is asked for the state of an asset."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Any] = {}

    async def asend(self, message: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType  # noqa: PLC0415 (Airflow 3 only)
        from airflow.sdk.execution_time import comms  # noqa: PLC0415 (as above)

        match message:
            case comms.SetAssetStateStoreByUri():
                self.kept[message.uri, message.key] = message.value
                return None
            case comms.GetAssetStateStoreByUri() if (message.uri, message.key) in self.kept:
                return comms.AssetStateStoreResult(value=self.kept[message.uri, message.key])
        return comms.ErrorResponse(error=ErrorType.ASSET_STORE_NOT_FOUND)


@pytest.mark.skipif(not HAS_ASSET_STATE, reason="Airflow 3.3 brought the state of assets")
def test_the_cursor_follows_when_airflow_has_stored_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the event is on its way to the database, a new triggerer would announce the call again."""
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415 (Airflow 3 only)
    from airflow.triggers.shared_stream import SharedStreamManager  # noqa: PLC0415 (as above)

    supervisor, simulator = Supervisor(), Simulator(clock=RealClock(speed=50))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    trigger = RetellFinishedCallsTrigger(CALLS, poll_interval=0)
    place = (CALLS, trigger.watcher().key)

    async def until(reached: Callable[[], bool]) -> None:
        while not reached():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.01)

    async def work() -> None:
        streams, key = SharedStreamManager(), trigger.shared_stream_key()
        events = trigger.filter_shared_stream(streams.subscribe(trigger_id=1, trigger=trigger, key=key))
        coming = asyncio.ensure_future(anext(events))
        await until(lambda: bool(supervisor.kept.get(place, {}).get("known")))
        call_id = simulator.ring_in("+12025550100")
        assert [call["call_id"] for call in (await coming).payload["calls"]] == [call_id]
        sequence = streams.bind_pending_event(trigger_id=1, key=key)
        coming = asyncio.ensure_future(anext(events))
        polled = len(simulator.requests)
        await until(lambda: len(simulator.requests) > polled + 6)
        assert supervisor.kept[place]["announced"] == {}
        streams.confirm_persisted([sequence])
        await until(lambda: supervisor.kept[place]["announced"] != {})
        coming.cancel()
        await streams.unsubscribe(1, key)

    with simulator.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        asyncio.run(asyncio.wait_for(work(), 30))
