from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import retell
from retell.types import PhoneCallResponse, WebCallResponse

from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator

FROM = "+12025550199"
ANSWERED = SCENARIOS["agent_hangup"].number


class Caller:
    """Retell's own client, whichever of its two forms, behind one face."""

    def __init__(self, simulator: Simulator, clock: ManualClock, ask: Callable[[Any], Any]) -> None:
        self.simulator = simulator
        self.clock = clock
        self.ask = ask


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["transport", "socket"])
def caller(request: pytest.FixtureRequest, kind: str) -> Iterator[Caller]:
    clock = ManualClock()
    simulator = Simulator(clock=clock)
    on_socket = request.param == "socket"
    with simulator.serve() as url, asyncio.Runner() as runner:
        options: dict[str, Any] = {"api_key": simulator.api_key, "base_url": url, "max_retries": 0}
        if kind == "sync":
            transport = httpx.HTTPTransport(verify=False) if on_socket else simulator
            with retell.Retell(http_client=httpx.Client(transport=transport), **options) as client:
                yield Caller(simulator, clock, lambda question: question(client))
            return
        transport = httpx.AsyncHTTPTransport(verify=False) if on_socket else simulator
        asynchronous = retell.AsyncRetell(http_client=httpx.AsyncClient(transport=transport), **options)

        async def ask(question: Callable[[Any], Any]) -> Any:
            answer = question(asynchronous)
            return await answer if inspect.isawaitable(answer) else answer

        yield Caller(simulator, clock, lambda question: runner.run(ask(question)))
        runner.run(asynchronous.close())


def _create(caller: Caller, to_number: str = ANSWERED, **more: Any) -> PhoneCallResponse:
    return caller.ask(lambda api: api.call.create_phone_call(from_number=FROM, to_number=to_number, **more))


def test_register_get_and_list(caller: Caller) -> None:
    """A registered call is a phone call to the SDK at every stage of its life, alone and in a list."""
    registered = caller.ask(
        lambda api: api.call.register_phone_call(
            agent_id="agent_1", from_number=FROM, to_number=ANSWERED, direction="outbound", metadata={"a": 1}
        )
    )
    assert (type(registered), registered.call_status) == (PhoneCallResponse, "registered")
    for seconds, status in (5, "ongoing"), (20, "ended"), (3, "ended"):
        caller.clock.advance(seconds)
        call = caller.ask(lambda api: api.call.retrieve(registered.call_id))
        assert (type(call), call.call_status) == (PhoneCallResponse, status)
    assert call.call_analysis.custom_analysis_data["satisfaction"] == 4
    assert call.transcript_object[0].words[0].word == "Hello,"
    assert call.call_cost.combined_cost == 4.4
    assert not call.model_extra
    named = {"call_id": {"type": "enum", "op": "in", "value": [registered.call_id]}}
    page = caller.ask(lambda api: api.call.list(filter_criteria=named, limit=10, include_total=True))
    assert (page.has_more, page.total) == (False, 1)
    assert page.items[0].call_id == registered.call_id
    assert page.items[0].call_type == "phone_call"


def test_create_with_an_idempotency_key(caller: Caller) -> None:
    """The SDK's idempotency key places one call."""
    ids = {_create(caller, idempotency_key="k").call_id for _ in range(2)}
    assert len(ids) == len(caller.simulator.placed) == 1


def test_stop(caller: Caller) -> None:
    """The SDK stops an ongoing call; of one that is over it says bad request."""
    call_id = _create(caller, SCENARIOS["talks_forever"].number).call_id
    caller.clock.advance(60)
    assert caller.ask(lambda api: api.call.stop(call_id)) is None
    with pytest.raises(retell.BadRequestError):
        caller.ask(lambda api: api.call.stop(call_id))
    call = caller.ask(lambda api: api.call.retrieve(call_id))
    assert (call.call_status, call.disconnection_reason) == ("ended", "manual_stopped")


def test_account(caller: Caller) -> None:
    """The SDK reads the key's owner and the concurrency."""
    _create(caller)
    identity = caller.ask(lambda api: api.identity.retrieve())
    assert (identity.org_id, identity.api_key_name) == ("org_simulated", "Simulator")
    concurrency = caller.ask(lambda api: api.concurrency.retrieve())
    assert (concurrency.current_concurrency, concurrency.concurrency_limit) == (1, 20)


def test_pages(caller: Caller) -> None:
    """Following the SDK's pages shows every call once."""
    ids = {_create(caller).call_id for _ in range(5)}
    caller.clock.advance(60)
    first = caller.ask(lambda api: api.call.list(limit=3))
    second = caller.ask(lambda api: api.call.list(limit=3, pagination_key=first.pagination_key))
    assert first.has_more
    assert not second.has_more
    assert {call.call_id for call in [*first.items, *second.items]} == ids


def test_errors(caller: Caller) -> None:
    """The SDK raises the class that belongs to each status, and reads the simulator's bodies."""
    with pytest.raises(retell.UnprocessableEntityError, match="Cannot find requested asset"):
        caller.ask(lambda api: api.call.retrieve("call_unknown"))
    with pytest.raises(retell.AuthenticationError):
        caller.ask(lambda api: api.with_options(api_key="other").concurrency.retrieve())
    with pytest.raises(retell.BadRequestError) as wrong:
        _create(caller, retell_llm_dynamic_variables={"age": None})
    assert wrong.value.body == {"error_message": "request/body/retell_llm_dynamic_variables/age must be string"}
    caller.simulator.fail(Fault(endpoint="create-phone-call", answer=429))
    with pytest.raises(retell.RateLimitError):
        _create(caller)
    caller.simulator.fail(Fault(endpoint="create-phone-call", answer="drop"))
    with pytest.raises(retell.APIConnectionError):
        _create(caller)


def test_values_unknown_to_the_sdk_are_mistaken_for_a_web_call(caller: Caller) -> None:
    """A reason or status of the future does not fail in the SDK: it is read as a web call, data kept."""
    for name in ("unknown_reason", "unknown_status", "machine_detected"):
        call_id = _create(caller, SCENARIOS[name].number).call_id
        caller.clock.advance(60)
        call = caller.ask(lambda api, call_id=call_id: api.call.retrieve(call_id))
        assert isinstance(call, WebCallResponse)
        assert (call.call_status, call.disconnection_reason) == (SCENARIOS[name].status, SCENARIOS[name].reason)
