from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.client import AsyncRetellClient, RetellClient
from airflow_provider_retell.api.endpoints import MAX_PAGE_SIZE
from airflow_provider_retell.api.flows import Flow, StopResult, stop
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.pages import Page
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.api.sweeps import MODELS, Sweeps, list_many, read_calls
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellInputError,
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellRateLimitError,
    RetellServerError,
)
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator

Run = Callable[[Flow[Any]], Any]

SHOWN = pytest.mark.parametrize("list_registered", [True, False], ids=["registered shown", "registered hidden"])


@pytest.fixture
def list_registered() -> bool:
    """Choose whether list-calls shows registered calls, because Retell does not document it."""
    return False


@pytest.fixture
def simulator(time: ManualClock, list_registered: bool) -> Simulator:
    return Simulator(clock=time, list_registered=list_registered, concurrency_limit=5000)


@pytest.fixture(params=["blocking", "asynchronous"])
def run(request: pytest.FixtureRequest, simulator: Simulator) -> Run:
    """Run a flow with one of the two clients, which sends each request once."""
    settings = ConnectionSettings(api_key=simulator.api_key, max_attempts=1)

    def blocking(flow: Flow[Any]) -> Any:
        with RetellClient(settings, transport=simulator) as client:
            return client.run(flow)

    def asynchronous(flow: Flow[Any]) -> Any:
        async def main() -> Any:
            async with AsyncRetellClient(settings, transport=simulator) as client:
                with blockbuster_ctx(scanned_modules=["airflow_provider_retell"]):
                    return await client.run(flow)

        return asyncio.run(main())

    return {"blocking": blocking, "asynchronous": asynchronous}[request.param]


@pytest.fixture
def register(simulator: Simulator) -> Callable[..., str]:
    """Register a call that plays a scenario; return its id. It is dialed a second later, rings for four."""

    def register(name: str = "user_hangup") -> str:
        settings = ConnectionSettings(api_key=simulator.api_key)
        with RetellClient(settings, transport=simulator) as client:
            request = {"agent_id": "agent_1", "to_number": SCENARIOS[name].number}
            return client.send(endpoints.register_phone_call(request)).call_id

    return register


def sent(simulator: Simulator) -> list[str]:
    """Return the endpoints that were asked since the calls were registered."""
    return [request.endpoint for request in simulator.requests if request.endpoint != "register-phone-call"]


# -- reading many calls ----------------------------------------------------------------------------------------


@SHOWN
def test_calls_that_are_listed_are_read_with_one_request(
    run: Run, simulator: Simulator, time: ManualClock, register: Callable[..., str]
) -> None:
    """A hundred calls that are over cost one request, whatever Retell shows of others."""
    ids = [register("dial_busy" if i % 2 else "user_hangup") for i in range(100)]
    time.advance(60)
    calls = run(read_calls(ids))
    assert set(calls) == set(ids)
    assert [calls[call_id].outcome for call_id in ids[:2]] == ["answered", "busy"]
    assert sent(simulator) == ["list-calls"]


@SHOWN
def test_calls_that_are_not_listed_are_read_one_by_one(
    run: Run, simulator: Simulator, time: ManualClock, register: Callable[..., str], list_registered: bool
) -> None:
    """A call that the list leaves out is not taken for lost: get-call knows it."""
    over = register()
    time.advance(60)
    waiting = [register(), register()]
    calls = run(read_calls([waiting[0], over, waiting[1]]))
    assert {call_id: str(call.call_status) for call_id, call in calls.items()} == {
        waiting[0]: "registered",
        over: "ended",
        waiting[1]: "registered",
    }
    assert sent(simulator) == ["list-calls"] + ["get-call"] * (0 if list_registered else 2)


def test_one_call_is_read_with_get_call(run: Run, simulator: Simulator, register: Callable[..., str]) -> None:
    """Twice the same id is one call; a list of one would be a request more."""
    call_id = register()
    assert list(run(read_calls([call_id, call_id]))) == [call_id]
    assert sent(simulator) == ["get-call"]


def test_no_calls_are_read_with_no_request(run: Run, simulator: Simulator) -> None:
    """Without calls no request is sent."""
    assert run(read_calls([])) == {}
    assert not simulator.requests


def test_more_than_a_thousand_calls_are_listed_in_parts(
    run: Run, simulator: Simulator, time: ManualClock, register: Callable[..., str]
) -> None:
    """Retell lists at most 1,000 calls in one answer, so it is asked for no more, and always for how many."""
    ids = [register() for _ in range(MAX_PAGE_SIZE + 5)]
    time.advance(60)
    assert set(run(read_calls(ids))) == set(ids)
    asked = [request.json for request in simulator.requests if request.endpoint == "list-calls"]
    assert [body["limit"] for body in asked] == [MAX_PAGE_SIZE, 5]
    assert [len(body["filter_criteria"]["call_id"]["value"]) for body in asked] == [MAX_PAGE_SIZE, 5]
    assert set(sent(simulator)) == {"list-calls"}


def test_a_list_that_is_refused_is_halved_and_nothing_is_read_one_by_one(
    run: Run, register: Callable[..., str], time: ManualClock, simulator: Simulator
) -> None:
    """Retell does not document how many ids it takes; a list of 20 that is refused as well is an error."""
    ids = [register() for _ in range(50)]
    time.advance(60)
    before = len(simulator.requests)
    simulator.fail(Fault(endpoint="list-calls", answer=400, times=2))
    assert sorted(call.call_id for call in run(list_many(ids, MODELS))) == sorted(ids)
    sizes = [len(request.json["filter_criteria"]["call_id"]["value"]) for request in simulator.requests[before:]]
    assert sizes == [50, 25, 12, 13, 25]
    simulator.fail(Fault(endpoint="list-calls", answer=400, times=None))
    with pytest.raises(RetellInvalidRequestError):
        run(list_many(ids, MODELS))
    assert {request.endpoint for request in simulator.requests[before:]} == {"list-calls"}


def test_a_list_of_some_calls_holds_no_others() -> None:
    """A list that holds other calls too says nothing about them to a campaign."""
    flow = list_many(["call_1", "call_2"], MODELS)
    next(flow)
    calls = {call_id: Call(call_id=call_id) for call_id in ("call_3", "call_2", "call_1")}
    with pytest.raises(StopIteration) as done:
        flow.send(Page(items=calls))
    assert [call.call_id for call in done.value.value] == ["call_1", "call_2"]


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_list_that_is_refused_is_no_obstacle(
    run: Run,
    simulator: Simulator,
    register: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """A key that may not list, or too many ids for Retell: the calls are read one by one, and the log says why."""
    ids = [register(), register()]
    simulator.fail(Fault(endpoint="list-calls", answer=status, message="Not so many."))
    with caplog.at_level(logging.WARNING, logger="airflow_provider_retell"):
        assert set(run(read_calls(ids))) == set(ids)
    assert sent(simulator) == ["list-calls", "get-call", "get-call"]
    (record,) = caplog.records
    assert "Reading 2 calls in parts or one by one" in record.getMessage()
    assert "Not so many." in record.getMessage()


@pytest.mark.parametrize(
    ("status", "kind"), [(401, RetellAuthenticationError), (429, RetellRateLimitError), (500, RetellServerError)]
)
def test_other_trouble_with_the_list_is_not_multiplied(
    run: Run, simulator: Simulator, register: Callable[..., str], status: int, kind: type[Exception]
) -> None:
    """A refused key or a Retell under load is not asked a hundred times more."""
    ids = [register(), register()]
    simulator.fail(Fault(endpoint="list-calls", answer=status))
    with pytest.raises(kind):
        run(read_calls(ids))
    assert sent(simulator) == ["list-calls"]


def test_a_call_that_retell_does_not_know_is_an_error(
    run: Run, simulator: Simulator, register: Callable[..., str]
) -> None:
    """A call that is found neither in the list nor by its id is an error that names it."""
    with pytest.raises(RetellNotFoundError, match="GET /v2/get-call/call_unknown: 422"):
        run(read_calls([register(), "call_unknown"]))


def test_calls_that_were_not_asked_for_are_left_out() -> None:
    """A list that shows more than it was asked for adds no calls."""
    flow = read_calls(["call_1", "call_2"])
    asked = next(flow)
    items = [{"call_id": call_id} for call_id in ("call_1", "call_2", "call_3")]
    with pytest.raises(StopIteration) as done:
        flow.send(asked.read({"items": items}))
    assert list(done.value.value) == ["call_1", "call_2"]


@pytest.mark.parametrize("ids", [["a/b"], ["call_1", "a/b"]])
def test_a_bad_id_among_the_calls_makes_no_request(run: Run, simulator: Simulator, ids: list[str]) -> None:
    """It is refused before the others are read."""
    with pytest.raises(RetellInputError):
        run(read_calls(ids))
    assert not simulator.requests


# -- hanging up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave_registered", [True, False])
def test_a_live_call_is_hung_up(
    run: Run, simulator: Simulator, time: ManualClock, register: Callable[..., str], leave_registered: bool
) -> None:
    """A task that is killed ends its conversation."""
    call_id = register()
    time.advance(10)
    assert run(stop(call_id, leave_registered=leave_registered)).message == f"{call_id} was stopped"
    assert simulator.call(call_id)["disconnection_reason"] == "manual_stopped"


def test_a_call_that_is_over_is_left_alone(
    run: Run, simulator: Simulator, time: ManualClock, register: Callable[..., str]
) -> None:
    """There is nothing to stop; the log says how it had gone."""
    call_id = register("dial_busy")
    time.advance(60)
    assert run(stop(call_id, leave_registered=False)) == StopResult(message=f"{call_id} was over already (busy)")
    assert sent(simulator) == ["get-call"]


def test_a_registered_call_is_left_alone_if_wanted(
    run: Run, simulator: Simulator, register: Callable[..., str]
) -> None:
    """A call that is not dialed times out by itself."""
    call_id = register()
    assert run(stop(call_id, leave_registered=True)) == StopResult(
        message=f"{call_id} has not been dialed yet and times out by itself"
    )
    assert sent(simulator) == ["get-call"]


def test_a_registered_call_is_hung_up_if_wanted(
    run: Run, simulator: Simulator, register: Callable[..., str]
) -> None:
    """A created call shows as registered while it rings: it is stopped, and a refusal is no failure."""
    call_id = register()
    became = run(stop(call_id, leave_registered=False))
    assert became.may_go_on
    assert became.message.startswith(f"{call_id} could not be stopped (")
    assert "Call is not ongoing." in became.message
    assert sent(simulator) == ["get-call", "stop-call"]


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_call_that_has_just_ended_is_no_failure(
    run: Run, simulator: Simulator, time: ManualClock, register: Callable[..., str], status: int
) -> None:
    """Between reading and stopping a call may end by itself."""
    call_id = register()
    time.advance(10)
    simulator.fail(Fault(endpoint="stop-call", answer=status))
    assert "could not be stopped" in run(stop(call_id, leave_registered=True)).message


@pytest.mark.parametrize("endpoint", ["get-call", "stop-call"])
def test_a_call_that_may_still_live_is_an_error(
    run: Run, simulator: Simulator, time: ManualClock, register: Callable[..., str], endpoint: str
) -> None:
    """A call is not reported as stopped if Retell was in no state to stop it."""
    call_id = register()
    time.advance(10)
    simulator.fail(Fault(endpoint=endpoint, answer=500))
    with pytest.raises(RetellServerError):
        run(stop(call_id, leave_registered=True))


def test_each_beginning_reads_other_calls_first() -> None:
    """Each look of a rescheduled sensor starts from scratch: it must not read the same twenty calls for ever."""
    ids = [f"call_{number}" for number in range(1000)]
    firsts = set()
    for _ in range(5):
        listing, single, *_ = islice(Sweeps(MODELS).sweep(ids, now=0), 2)
        asked = next(listing)
        with suppress(StopIteration):
            listing.send(asked.read({"items": []}))
        firsts.add(next(single).path)
    assert len(firsts) > 1
