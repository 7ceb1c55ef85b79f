"""Test asset events: their content, their outlets, and that Airflow starts a DAG by them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias
from conftest import AIRFLOW_2, SteppingClock, TaskInstance, run_task

from airflow_provider_retell.operators import RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator
from airflow_provider_retell.provider.outlets import (
    NAMED_CALLS,
    announce_calls,
    announce_campaign,
    announce_export,
    calls_uri,
    exports_uri,
)
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.simulator import SCENARIOS, Simulator

if AIRFLOW_2:
    from airflow.utils.context import OutletEventAccessors
else:
    from airflow.sdk.execution_time.context import OutletEventAccessors

ASSET, ALIAS = Asset("retell://retell_default/calls"), AssetAlias("finished")


def announced(events: Any, alias: AssetAlias = ALIAS) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of an alias: the asset and the extra of each."""
    if AIRFLOW_2:
        return [(event["dest_dataset_uri"], event["extra"]) for event in events[alias].dataset_alias_events]
    return [(event.dest_asset_key.uri, event.extra) for event in events[alias].asset_alias_events]


def rows(count: int) -> list[dict[str, Any]]:
    return [{"call_id": f"call_{n}", "outcome": "answered", "to_number": "+14155550100"} for n in range(count)]


def test_an_alias_gets_an_event_for_each_call_that_is_over() -> None:
    """Id and outcome, and an asset for each outcome, so that a DAG may wait for one of them alone."""
    events = OutletEventAccessors()
    called = [*rows(2), {"call_id": "call_2", "outcome": "busy"}, {"call_id": "call_3", "outcome": None}]
    announce_calls({"outlet_events": events}, [ALIAS], called, retell_conn_id="retell_default")
    assert announced(events) == [
        ("retell://retell_default/calls/answered", {"call_id": "call_0", "outcome": "answered"}),
        ("retell://retell_default/calls/answered", {"call_id": "call_1", "outcome": "answered"}),
        ("retell://retell_default/calls/busy", {"call_id": "call_2", "outcome": "busy"}),
    ]


@pytest.mark.parametrize(
    ("conn_id", "server"),
    [
        ("retell:eu", "retell:eu"),
        ("team#retell", "team%23retell"),
        ("team/retell", "team%2Fretell"),
        ("a@b", "a%40b"),
        ("a b?", "a%20b%3F"),
    ],
)
def test_each_connection_id_has_a_uri(conn_id: str, server: str) -> None:
    """An id that a URI cannot hold is quoted: the row of a call that was placed must not be lost to it."""
    events = OutletEventAccessors()
    context = {"outlet_events": events}
    announce_calls(context, [ALIAS], rows(1), retell_conn_id=conn_id)
    announce_export(context, [ALIAS], {}, retell_conn_id=conn_id)
    announce_campaign(context, [ALIAS], {}, retell_conn_id=conn_id)
    assert [uri for uri, _ in announced(events)] == [
        f"retell://{server}/{path}" for path in ("calls/answered", "exports", "campaigns")
    ]


@pytest.mark.parametrize(
    ("count", "extra"),
    [
        (0, {"outcomes": {}, "calls": {}}),
        (1, {"call_id": "call_0", "outcome": "answered"}),
        (2, {"outcomes": {"answered": 2}, "calls": {"call_0": "answered", "call_1": "answered"}}),
        (NAMED_CALLS + 1, {"outcomes": {"answered": NAMED_CALLS + 1}}),
    ],
)
def test_an_asset_gets_one_event(count: int, extra: dict[str, Any]) -> None:
    """Of one call its id and outcome; of many the counts, and each call unless there are too many to keep."""
    events = OutletEventAccessors()
    announce_calls({"outlet_events": events}, [ASSET], rows(count), retell_conn_id="retell_default")
    assert events[ASSET].extra == extra


def test_an_export_tells_its_summary() -> None:
    """An export announces counts and paths to assets and aliases."""
    events, summary = OutletEventAccessors(), {"calls": 3, "outcomes": {"answered": 3}}
    announce_export({"outlet_events": events}, [ASSET, ALIAS], summary, retell_conn_id="other")
    assert events[ASSET].extra == summary
    assert announced(events) == [("retell://other/exports", summary)]


@pytest.mark.parametrize("context", [{}, {"outlet_events": OutletEventAccessors()}])
def test_what_has_no_events_is_passed_over(context: dict[str, Any]) -> None:
    """An outlet of another kind, and a context without events, are no reason to fail."""
    announce_calls(context, [object()], rows(1), retell_conn_id="retell_default")


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("deferrable", [False, True])
def test_an_operator_tells_of_its_call_once(clock: SteppingClock, simulator: Simulator, deferrable: bool) -> None:
    """An operator announces its call once, when it is over, in every way to wait."""
    events = OutletEventAccessors()

    def make() -> RetellCreatePhoneCallOperator:
        return RetellCreatePhoneCallOperator(
            task_id="call",
            from_number="+14155550199",
            to_number=SCENARIOS["dial_busy"].number,
            wait_for="ended",
            deferrable=deferrable,
            outlets=[ASSET, ALIAS],
        )

    row = run_task(make, TaskInstance(), clock, outlet_events=events)
    extra = {"call_id": row["call_id"], "outcome": "busy"}
    assert announced(events) == [("retell://retell_default/calls/busy", extra)]
    assert events[ASSET].extra == extra


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_sensor_tells_of_each_call_once(clock: SteppingClock, simulator: Simulator, deferrable: bool) -> None:
    """A sensor announces each of its calls once."""
    simulator.seed(5)
    ids = list(simulator.calls)
    events = OutletEventAccessors()
    make = lambda: RetellCallSensor(  # noqa: E731
        task_id="wait", call_id=ids, deferrable=deferrable, outlets=[ALIAS]
    )
    found = run_task(make, TaskInstance(), clock, outlet_events=events)
    assert [extra for _, extra in announced(events)] == [
        {"call_id": row["call_id"], "outcome": row["outcome"]} for row in found
    ]


def test_a_dry_run_tells_of_nothing() -> None:
    """No call was placed: no DAG is to start because of one."""
    events = OutletEventAccessors()
    dry = RetellRegisterPhoneCallOperator(task_id="call", agent_id="agent_1", dry_run=True, outlets=[ALIAS])
    row = run_task(lambda: dry, outlet_events=events)
    run_task(lambda: RetellCallSensor(task_id="wait", call_id=row, outlets=[ALIAS]), outlet_events=events)
    assert announced(events) == []


@pytest.mark.parametrize("uri", [calls_uri("retell_default", "answered"), exports_uri("other")])
def test_uris_are_kept_as_they_are(uri: str) -> None:
    """Airflow accepts the URIs that this package makes."""
    assert Asset(uri=uri).uri == uri


@pytest.mark.filterwarnings("ignore:An Asset URI should not contain a password")
@pytest.mark.parametrize(
    "uri", ["retell://", "retell://retell_default", "retell://retell_default/", "retell:///calls"]
)
def test_a_uri_that_says_too_little_is_refused(uri: str) -> None:
    """A URI needs a connection and a path: a DAG with less would wait for events that never come."""
    complaint = "retell://retell_default/calls"
    # Airflow 2 takes it, with the same words as a warning.
    with pytest.warns(UserWarning, match=complaint) if AIRFLOW_2 else pytest.raises(ValueError, match=complaint):
        Asset(uri=uri)


def test_a_key_has_no_place_in_a_uri() -> None:
    """URIs are shown to everybody. Airflow up to 3.0 leaves the key out by itself."""
    drops = version("apache-airflow") < "3.1"
    dropped = pytest.warns(UserWarning, match="automatically dropped")
    with dropped if drops else pytest.raises(ValueError, match="without a user or a key"):
        Asset(uri="retell://key_1@retell_default/calls")
