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
    """Retell's own client, synchronous or asynchronous, with one interface."""

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
    """The SDK stops an ongoing call, and raises bad request for one that is over."""
    call_id = _create(caller, SCENARIOS["talks_forever"].number).call_id
    caller.clock.advance(60)
    assert caller.ask(lambda api: api.call.stop(call_id)) is None
    with pytest.raises(retell.BadRequestError):
        caller.ask(lambda api: api.call.stop(call_id))
    call = caller.ask(lambda api: api.call.retrieve(call_id))
    assert (call.call_status, call.disconnection_reason) == ("ended", "manual_stopped")


def test_update(caller: Caller) -> None:
    """The SDK updates a call that is over, and raises bad request for one that is not."""
    call_id = _create(caller, metadata={"a": 1}).call_id
    with pytest.raises(retell.BadRequestError):
        caller.ask(lambda api: api.call.update(call_id, metadata={}))
    caller.clock.advance(60)
    call = caller.ask(
        lambda api: api.call.update(
            call_id,
            metadata={"b": 2},
            data_storage_setting="everything_except_pii",
            custom_attributes={"x": "y", "n": 1, "f": True},
        )
    )
    assert isinstance(call, PhoneCallResponse)
    assert (call.metadata, call.data_storage_setting) == ({"b": 2}, "everything_except_pii")
    assert not call.model_extra


def test_rerun_analysis(caller: Caller) -> None:
    """The SDK lets a call be analyzed again, and reads the call."""
    call_id = _create(caller, SCENARIOS["analyzed_late"].number).call_id
    caller.clock.advance(60)
    call = caller.ask(lambda api: api.call.rerun_analysis(call_id))
    assert isinstance(call, PhoneCallResponse)
    assert call.call_analysis.call_successful


def test_delete(caller: Caller) -> None:
    """The SDK deletes a call, and raises unprocessable entity for it afterwards."""
    call_id = _create(caller).call_id
    assert caller.ask(lambda api: api.call.delete(call_id)) is None
    for question in (lambda api: api.call.retrieve(call_id), lambda api: api.call.delete(call_id)):
        with pytest.raises(retell.UnprocessableEntityError):
            caller.ask(question)


def test_inbound(caller: Caller) -> None:
    """An inbound call is a phone call to the SDK, alone and in a list of inbound calls."""
    call_id = caller.simulator.ring_in(ANSWERED)
    caller.clock.advance(60)
    call = caller.ask(lambda api: api.call.retrieve(call_id))
    assert (type(call), call.direction, call.from_number) == (PhoneCallResponse, "inbound", ANSWERED)
    inbound = {"direction": {"type": "enum", "op": "in", "value": ["inbound"]}}
    ended = {"end_timestamp": {"type": "number", "op": "ge", "value": call.end_timestamp}}
    page = caller.ask(lambda api: api.call.list(filter_criteria={**inbound, **ended}))
    assert [item.call_id for item in page.items] == [call_id]


def test_list_by_the_beginning_of_a_tag(caller: Caller) -> None:
    """The SDK finds calls by the beginning of a value in their metadata, and by one of several values."""
    ids = [_create(caller, metadata={"tag": tag}).call_id for tag in ("aa1", "aa2", "ab1")]
    caller.clock.advance(60)
    for condition, found in (
        ({"type": "string", "op": "sw", "value": "aa"}, ids[:2]),
        ({"type": "enum", "op": "in", "value": ["aa2", "ab1"]}, ids[1:]),
    ):
        wanted = {"metadata": [{"key": "tag", **condition}]}
        page = caller.ask(lambda api, wanted=wanted: api.call.list(filter_criteria=wanted, sort_order="ascending"))
        assert sorted(item.call_id for item in page.items) == sorted(found)


def test_contacts(caller: Caller) -> None:
    """The SDK lists contacts page by page, filters them and finds one by its number."""
    for area in range(201, 206):
        caller.simulator.put_contact(f"+1{area}5550100", do_not_call=area > 202, first_name="Ada")
        caller.clock.advance(1)
    dnc = {"do_not_call": {"type": "boolean", "op": "eq", "value": True}}
    first = caller.ask(lambda api: api.contact.list(filter_criteria=dnc, limit=2))
    second = caller.ask(
        lambda api: api.contact.list(filter_criteria=dnc, limit=2, pagination_key=first.pagination_key)
    )
    assert (first.has_more, first.total, second.has_more) == (True, 3, False)
    numbers = [contact.phone_number for contact in [*first.items, *second.items]]
    assert numbers == ["+12055550100", "+12045550100", "+12035550100"]
    contact = caller.ask(lambda api: api.contact.get_by_phone("+12055550100"))
    assert contact == first.items[0]
    assert (contact.first_name, contact.do_not_call, contact.model_extra) == ("Ada", True, {})
    with pytest.raises(retell.UnprocessableEntityError):
        caller.ask(lambda api: api.contact.get_by_phone("+12995550100"))


def test_contact_that_must_not_be_called(caller: Caller) -> None:
    """With `honor_internal_dnc` the SDK raises bad request, and no call is placed."""
    caller.simulator.put_contact(ANSWERED, do_not_call=True)
    with pytest.raises(retell.BadRequestError, match="do_not_call"):
        _create(caller, honor_internal_dnc=True)
    assert not caller.simulator.calls


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
    """The SDK raises the right class for each status, and reads the body."""
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
    """A call with a new reason or status does not fail in the SDK: it is read as a web call, with all its data."""
    for name in ("unknown_reason", "unknown_status", "machine_detected"):
        call_id = _create(caller, SCENARIOS[name].number).call_id
        caller.clock.advance(60)
        call = caller.ask(lambda api, call_id=call_id: api.call.retrieve(call_id))
        assert isinstance(call, WebCallResponse)
        assert (call.call_status, call.disconnection_reason) == (SCENARIOS[name].status, SCENARIOS[name].reason)
