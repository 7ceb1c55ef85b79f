from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar
from itertools import islice
from threading import Barrier
from typing import Any, ClassVar

import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.secrets import BaseSecretsBackend
from blockbuster import blockbuster_ctx
from conftest import CirclingList, SteppingClock

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.flows import stop
from airflow_provider_retell.api.requests import CreatePhoneCallRequest, RegisterPhoneCallRequest
from airflow_provider_retell.api.rotating_key_client import RotatingKeyClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.api.sweeps import read_calls
from airflow_provider_retell.calls.connection_pause import MAX_AGE
from airflow_provider_retell.calls.intent import TAG, numbered, person_prefix
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellCallError,
    RetellError,
    RetellInputError,
    RetellNotFoundError,
    RetellResponseError,
)
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.polling.poller import Poller
from airflow_provider_retell.polling.shared import shared_poller
from airflow_provider_retell.provider.options import Options, read_options
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator

FROM, TO = "+12025550199", SCENARIOS["agent_hangup"].number
REGISTER = {"agent_id": "agent_1", "to_number": TO}
CREATE = {"from_number": FROM, "to_number": TO}

Connect = Callable[..., None]


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine on an event loop of its own, where nothing may block."""

    async def main() -> Any:
        with blockbuster_ctx(scanned_modules=["airflow_provider_retell"]):
            return await work()

    return asyncio.run(main())


# -- every method, over a real socket ------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [REGISTER, RegisterPhoneCallRequest(**REGISTER)], ids=["mapping", "model"])
def test_a_call_is_registered(connect: Connect, simulator: Simulator, request_: Any) -> None:
    """A mapping or a model goes out; the call comes back with its id."""
    with RetellHook() as hook:
        call = hook.register_phone_call(request_)
    assert (call.call_id, call.call_status, call.to_number) == (*simulator.calls, "registered", TO)
    assert simulator.requests[0].json == REGISTER


@pytest.mark.parametrize("request_", [CREATE, CreatePhoneCallRequest(**CREATE)], ids=["mapping", "model"])
def test_a_call_is_created(connect: Connect, simulator: Simulator, request_: Any) -> None:
    """Without a key each request rings; under one key the second request finds the call of the first."""
    with RetellHook() as hook:
        hook.create_phone_call(request_)
        first, again = (hook.create_phone_call(request_, idempotency_key="key-1").call_id for _ in range(2))
    assert first == again
    assert [call.creates for call in simulator.placed] == [1, 2]


def test_a_call_is_read_and_stopped(connect: Connect, time: ManualClock) -> None:
    """A stopped call is read as stopped by hand."""
    with RetellHook() as hook:
        call_id = hook.create_phone_call(CREATE).call_id
        time.advance(10)
        assert hook.get_call(call_id).call_status == "ongoing"
        hook.stop_call(call_id)
        assert hook.get_call(call_id).outcome == "stopped"


def test_concurrency_is_read(connect: Connect) -> None:
    """The response has the calls in progress and their limit."""
    with RetellHook() as hook:
        hook.create_phone_call(CREATE)
        concurrency = hook.get_concurrency()
    assert (concurrency["current_concurrency"], concurrency["concurrency_limit"]) == (1, 20)


def test_all_pages_are_listed(connect: Connect, simulator: Simulator, time: ManualClock) -> None:
    """Five calls in pages of two are three requests, and five calls."""
    with RetellHook() as hook:
        ids = {hook.register_phone_call(REGISTER).call_id for _ in range(5)}
        time.advance(60)
        listed = [call.call_id for call in hook.list_calls(page_size=2)]
    assert (len(listed), set(listed)) == (5, ids)
    asked = [request.json for request in simulator.requests if request.endpoint == "list-calls"]
    assert [body["limit"] for body in asked] == [2, 2, 2]
    assert ["pagination_key" in body for body in asked] == [False, True, True]


def test_pages_are_asked_for_as_they_are_used(connect: Connect, simulator: Simulator, time: ManualClock) -> None:
    """A caller who wants one call of a thousand does not wait for the others."""
    with RetellHook() as hook:
        for _ in range(5):
            hook.register_phone_call(REGISTER)
        time.advance(60)
        assert len(list(islice(hook.list_calls(page_size=2), 1))) == 1
    assert [request.endpoint for request in simulator.requests].count("list-calls") == 1


def test_a_list_that_leads_round_in_circles_is_an_error(circling_list: CirclingList, time: ManualClock) -> None:
    """A server stuck on one page does not keep a task busy for ever, and a part of a list is not taken for all."""
    for _ in range(5):
        circling_list.register(REGISTER)
    time.advance(60)
    with (
        RetellHook() as hook,
        pytest.raises(RetellResponseError, match="leads back to a page that was read before"),
    ):
        list(hook.list_calls(page_size=1))
    asked = [request.json for request in circling_list.requests if request.endpoint == "list-calls"]
    assert circling_list.second_page
    assert [body.get("pagination_key") for body in asked] == [None, circling_list.second_page]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"metadata": {"order": 7}}, ["first"]),
        ({"metadata": {"order": "7"}}, []),
        ({"agent_id": "agent_2"}, ["second"]),
        ({"direction": "inbound"}, ["second"]),
        ({"call_status": ["not_connected"]}, ["second"]),
        ({"call_status": "ended"}, ["first"]),
        ({"started_from": 1}, ["first"]),
        ({"started_before": 1}, []),
        ({"sort_order": "ascending"}, ["first", "second"]),
    ],
)
def test_calls_are_listed_by_filter(
    connect: Connect, time: ManualClock, filters: dict[str, Any], found: list[str]
) -> None:
    """Each filter lists exactly the calls that it describes."""
    with RetellHook() as hook:
        first = REGISTER | {"metadata": {"order": 7}, "direction": "outbound"}
        second = {"agent_id": "agent_2", "to_number": SCENARIOS["dial_busy"].number, "direction": "inbound"}
        names = {hook.register_phone_call(first).call_id: "first"}
        time.advance(10)
        names[hook.register_phone_call(second).call_id] = "second"
        time.advance(60)
        assert [names[call.call_id] for call in hook.list_calls(**filters)] == found
        assert {call.call_id for call in hook.list_calls(call_ids=list(names))} == set(names)


def test_many_calls_are_read(connect: Connect) -> None:
    """Each by its id, however they had to be asked for."""
    with RetellHook() as hook:
        ids = [hook.register_phone_call(REGISTER).call_id for _ in range(3)]
        assert hook.read_calls(ids).keys() == set(ids)
        with pytest.raises(RetellNotFoundError):
            hook.read_calls([*ids, "call_unknown"])
        assert list(hook.read_calls(ids[0])) == [ids[0]], "one id is not a sequence of letters"


def test_any_request_and_any_flow_can_be_sent(connect: Connect) -> None:
    """The hook's client sends requests for which the hook has no method."""
    with RetellHook() as hook:
        assert hook.get_conn().send(endpoints.get_api_key_info())["org_id"] == "org_simulated"
        assert hook.get_conn().run(read_calls([])) == {}


def test_a_call_is_changed_analysed_again_and_deleted(connect: Connect, time: ManualClock) -> None:
    """The data that Retell keeps of a call that is over can be changed and deleted."""
    with RetellHook() as hook:
        call_id = hook.create_phone_call(CREATE).call_id
        time.advance(600)
        changed = hook.update_call(call_id, metadata={"seen": True}, custom_attributes={"undefined": 3})
        assert (changed.metadata, changed.custom_attributes) == ({"seen": True}, None)
        stored = hook.update_call(call_id, data_storage_setting="basic_attributes_only")
        assert stored.data_storage_setting == "basic_attributes_only"
        assert hook.rerun_call_analysis(call_id).call_id == call_id
        hook.delete_call(call_id)
        with pytest.raises(RetellNotFoundError, match=call_id):
            hook.get_call(call_id)


def test_contacts_are_listed_and_found_by_their_number(
    connect: Connect, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who must not be called are a filter away; no log line holds a number."""
    numbers = [f"+1415555010{digit}" for digit in range(5)]
    for number in numbers:
        simulator.put_contact(number, do_not_call=number.endswith(("1", "3")))
    with RetellHook() as hook, caplog.at_level(logging.DEBUG):
        assert {contact["phone_number"] for contact in hook.list_contacts(page_size=2)} == set(numbers)
        blocked = hook.list_contacts(do_not_call=True, sort_order="asc")
        assert {contact["phone_number"] for contact in blocked} == {numbers[1], numbers[3]}
        assert hook.get_contact_by_phone(numbers[3])["do_not_call"]
        with pytest.raises(RetellNotFoundError, match="GET /get-contact-by-phone/…0199: ") as unknown:
            hook.get_contact_by_phone("+14155550199")
    assert "4155550" not in caplog.text + str(unknown.value)


def test_retells_own_filters_are_taken_as_they_are(connect: Connect, simulator: Simulator) -> None:
    """Retell's own filters are sent together with the named ones."""
    own = {"duration_ms": {"type": "number", "op": "gt", "value": 60_000}}
    with RetellHook() as hook:
        assert list(hook.list_calls(agent_id="agent_1", filter_criteria=own)) == []
    (request,) = simulator.requests
    assert request.json["filter_criteria"] == {"agent": [{"agent_id": "agent_1"}], **own}


@pytest.mark.parametrize(
    "use",
    [
        lambda hook: hook.register_phone_call({"to_number": TO}),
        lambda hook: hook.register_phone_call(REGISTER | {"direction": "up"}),
        lambda hook: hook.create_phone_call({"to_number": TO}),
        lambda hook: hook.create_phone_call(CREATE, idempotency_key=""),
        lambda hook: hook.get_call("a/b"),
        lambda hook: hook.stop_call(""),
        lambda hook: hook.read_calls(["..", "call_1"]),
        lambda hook: hook.list_calls(call_ids=["a?b"]),
        lambda hook: hook.list_calls(page_size=0),
        lambda hook: hook.list_calls(agent_id=""),
        lambda hook: hook.list_calls(call_ids=[]),
        lambda hook: hook.list_calls(metadata={}),
        lambda hook: hook.list_calls(call_status=()),
        lambda hook: hook.list_calls(filter_criteria={}),
        lambda hook: hook.list_calls(agent_id="agent_1", filter_criteria={"agent": [{"agent_id": "agent_2"}]}),
        lambda hook: hook.list_contacts(do_not_call="no"),
        lambda hook: hook.list_contacts(search_query=""),
        lambda hook: hook.list_contacts(page_size=1001),
        lambda hook: hook.list_contacts(
            do_not_call=True,
            filter_criteria={"do_not_call": {"type": "boolean", "op": "eq", "value": False}},
        ),
        lambda hook: hook.get_contact_by_phone("4155550100"),
        lambda hook: hook.get_contact_by_phone(".."),
        lambda hook: hook.get_contact_by_phone("+14155550100/.."),
        lambda hook: hook.update_call("call_1"),
        lambda hook: hook.update_call("..", metadata={"a": 1}),
        lambda hook: hook.update_call("call_1", metadata={"a": object()}),
        lambda hook: hook.update_call("call_1", data_storage_setting="nothing"),
        lambda hook: hook.update_call("call_1", custom_attributes={"a": ["list"]}),
        lambda hook: hook.delete_call("a/b"),
        lambda hook: hook.rerun_call_analysis(""),
    ],
)
def test_what_cannot_be_sent_is_not(
    connect: Connect, simulator: Simulator, use: Callable[[RetellHook], Any]
) -> None:
    """A wrong argument is an error before anything is sent, for a list too, and not when it is first used."""
    with RetellHook() as hook, pytest.raises(RetellInputError):
        use(hook)
    assert not simulator.requests


# -- the client ----------------------------------------------------------------------------------------------


class Vault(BaseSecretsBackend):
    """A secrets backend that counts who asks it."""

    connections: ClassVar[dict[str, str]] = {}
    asked: ClassVar[list[str]] = []
    asked_by: ClassVar[set[str]] = set()

    def get_conn_value(self, conn_id: str, **_: Any) -> str | None:
        self.asked.append(conn_id)
        self.asked_by.add(TASK.get())
        return self.connections.get(conn_id)

    def get_variable(self, key: str, **_: Any) -> None:
        return None

    def get_config(self, key: str) -> None:
        return None


TASK: ContextVar[str] = ContextVar("TASK", default="no task")


def forget_backends() -> None:
    """Make Airflow read its configuration of secrets backends again."""
    with suppress(ImportError):  # before Airflow 3.3 it always does
        from airflow.sdk.configuration import clear_secrets_backends_cache  # noqa: PLC0415

        clear_secrets_backends_cache()


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Vault]]:
    """Two connections in a secrets backend."""
    connection = json.dumps({"conn_type": "retell", "password": "key_1"})
    Vault.connections.update(dict.fromkeys(["retell_default", "retell_team"], connection))
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", f"{__name__}.Vault")
    forget_backends()
    yield Vault
    for kept in (Vault.connections, Vault.asked, Vault.asked_by):
        kept.clear()
    forget_backends()


def test_a_hook_is_made_without_a_look_up(vault: type[Vault]) -> None:
    """Nothing is looked up or sent before it is needed: DAG files make hooks and operators at parse time."""
    hook = RetellHook("retell_team")
    assert vault.asked == []
    hook.get_conn()
    hook.get_conn()
    assert vault.asked == ["retell_team"]


def test_the_reading_that_gives_the_key_also_says_whether_calls_may_be_placed(
    vault: type[Vault], clock: SteppingClock
) -> None:
    """A call is placed after one look-up; half a minute later the pause is looked up again."""
    hook = RetellHook()
    hook.get_conn()
    assert not hook.pause.is_on()
    assert vault.asked == ["retell_default"]
    vault.connections["retell_default"] = json.dumps(
        {"conn_type": "retell", "password": "key_1", "extra": {"paused": True}}
    )
    clock.sleep(MAX_AGE)
    assert hook.pause.is_on()


def keyed(url: str, key: str) -> str:
    """Return a connection to a server with a key."""
    return json.dumps({"conn_type": "retell", "host": url, "password": key, "extra": {"max_retry_delay": 0}})


@pytest.mark.parametrize("status", [401, 403])
def test_a_rotated_key_is_taken_from_the_connection(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A task that waits on its worker goes on, as the triggerer does; later requests carry the new key at once."""
    with simulator.serve() as url, RetellHook() as hook:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", keyed(url, "key_old"))
        client = hook.get_conn()
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", keyed(url, simulator.api_key))
        if status == 403:
            simulator.fail(Fault(endpoint="get-concurrency", answer=403))
        assert hook.get_concurrency()["current_concurrency"] == 0
        assert hook.get_concurrency()["current_concurrency"] == 0
    assert len(simulator.requests) == 3
    assert client.settings.api_key == simulator.api_key


@pytest.mark.parametrize(
    ("by_then", "requests"),
    [
        pytest.param(lambda url: keyed(url, "key_old"), 1, id="unchanged"),
        pytest.param(lambda _: keyed("http://127.0.0.1:9", "key_simulator"), 1, id="another server"),
        pytest.param(lambda url: keyed(url, ""), 1, id="without a key"),
        pytest.param(lambda url: keyed(url, "key_new"), 2, id="refused too"),
    ],
)
def test_a_refused_key_is_an_error_unless_the_connection_has_another(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, by_then: Callable[[str], str], requests: int
) -> None:
    """The calls of a task are at one server; the error is that of the key, whatever it says by then."""
    with simulator.serve() as url, RetellHook() as hook:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", keyed(url, "key_old"))
        hook.get_conn()
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", by_then(url))
        with pytest.raises(RetellAuthenticationError):
            hook.get_concurrency()
    assert len(simulator.requests) == requests


class Rotated(httpx.BaseTransport):
    """A Retell with a new key; requests with the old one are refused once all threads have sent one."""

    def __init__(self, threads: int) -> None:
        self._all_sent = Barrier(threads)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] == "Bearer key_new":
            return httpx.Response(200, json={"current_concurrency": 0, "concurrency_limit": 1})
        self._all_sent.wait(timeout=30)
        return httpx.Response(401, json={"message": "refused"})


def test_many_threads_look_a_rotated_key_up_once() -> None:
    """An export reads the details of many calls at a time, and all of its requests are refused at once."""
    asked = []

    def look_up() -> ConnectionSettings:
        asked.append("connection")
        return ConnectionSettings(api_key="key_new")

    old = ConnectionSettings(api_key="key_old")
    with RotatingKeyClient(old, look_up=look_up, transport=Rotated(4)) as client, ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda _: client.send(endpoints.get_concurrency())["current_concurrency"], range(4)))
    assert (read, asked) == ([0] * 4, ["connection"])


@pytest.mark.parametrize("look", ["is_on", "check"])
def test_a_connection_made_invalid_is_an_error_of_this_package(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, clock: SteppingClock, look: str
) -> None:
    """The pause comes from a new look-up of the connection, whose error names it and is a RetellError."""
    with RetellHook() as hook:
        hook.get_conn()
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", keyed("http://127.0.0.1:9", ""))
        clock.sleep(MAX_AGE)
        with pytest.raises(RetellInputError, match=r"'retell_default'.*API key.*empty"):
            getattr(hook.pause, look)()


def test_a_remark_on_a_connection_is_logged_once(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """The connection is looked up again every half minute while calls are placed."""
    connect(paused="true")
    with RetellHook() as hook:
        hook.get_conn()
        assert [hook.is_paused(), hook.is_paused()] == [True, True]
    assert caplog.text.count("is paused (Extra)") == 1


def test_a_hook_keeps_one_client(vault: type[Vault]) -> None:
    """Connections are reused from request to request, until the hook is closed; then it makes a new one."""
    with RetellHook() as hook:
        first = hook.get_conn()
        assert hook.get_conn() is first
        hook.close()
        assert hook.get_conn() is not first
    with pytest.raises(RuntimeError, match="closed"):
        first.send(endpoints.get_concurrency())


def test_a_closed_hook_can_be_used_again(connect: Connect) -> None:
    """Closing twice, or before the first use, does no harm."""
    hook = RetellHook()
    hook.close()
    hook.get_concurrency()
    hook.close()
    hook.close()
    assert hook.get_concurrency()
    hook.close()


def test_a_hook_without_references_is_closed(vault: type[Vault]) -> None:
    """A task that never says ``close`` leaves no connection open."""
    client = RetellHook().get_conn()
    gc.collect()
    with pytest.raises(RuntimeError, match="closed"):
        client.send(endpoints.get_concurrency())


def test_an_asynchronous_client_is_the_callers(connect: Connect, simulator: Simulator) -> None:
    """Each is a new one, made and used without blocking the event loop."""

    async def use() -> Any:
        hook = RetellHook()
        async with await hook.aget_conn() as one, await hook.aget_conn() as another:
            assert one is not another
            return await one.send(endpoints.register_phone_call(REGISTER))

    assert run(use).call_id in simulator.calls


@pytest.mark.parametrize("blocking", [True, False])
def test_an_unknown_connection_is_airflows_error(blocking: bool) -> None:
    """Airflow's own not-found error comes through untouched, so that it means what it means elsewhere."""
    hook = RetellHook("retell_nowhere")
    with pytest.raises(AirflowNotFoundException, match="retell_nowhere") as unknown:
        hook.get_call("call_1") if blocking else run(hook.aget_conn)
    assert not isinstance(unknown.value, RetellError)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_connection_that_cannot_be_used_is_an_input_error(vault: type[Vault], blocking: bool) -> None:
    """The blocking and the asynchronous client are refused with the same message."""
    vault.connections["retell_team"] = json.dumps({"conn_type": "retell", "password": "a b"})
    hook = RetellHook("retell_team")
    with pytest.raises(
        RetellInputError, match=r"^Connection 'retell_team': the field Password .* Nothing was sent"
    ):
        hook.get_call("call_1") if blocking else run(hook.aget_conn)


# -- the Test button -----------------------------------------------------------------------------------------


def test_the_button_asks_with_the_connection(connect: Connect, simulator: Simulator) -> None:
    """The button shows Retell's answer for this key; test_key_check has the messages of each error."""
    assert RetellHook().test_connection() == (
        True,
        "Key accepted, workspace Simulated organisation, 0 of 20 concurrent calls in use.",
    )
    simulator.fail(Fault(endpoint="get-api-key-info", answer=401))
    assert RetellHook().test_connection() == (
        False,
        "Key refused: API key is missing or invalid. Check the field Password (API key).",
    )


def test_the_button_tries_once(connect: Connect, simulator: Simulator) -> None:
    """A person waits for the result: a request that a task would repeat is sent once."""
    connect(max_attempts=4)
    simulator.fail(Fault(endpoint="get-api-key-info", answer=503, times=None))
    assert not RetellHook().test_connection()[0]
    assert len(simulator.requests) == 1


def test_the_button_reaches_no_server(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the host that was tried, over a real socket."""
    with simulator.serve() as url:
        pass
    fields = {"conn_type": "retell", "password": "key_1", "host": url}
    monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields))
    good, message = RetellHook().test_connection()
    assert not good
    assert message.startswith(f"Host unreachable: {url} (ConnectError: ")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "The field Password (API key) is empty."),
        (
            {"password": "key_1", "extra": {"timeout": "soon"}},
            "The field timeout of Extra (Time-out) must be a number of at least 0.1, not 'soon'.",
        ),
        (
            {"password": "key_1", "host": "https://api.retellai.com/v2"},
            (
                "The field Host (Base URL) must be a base URL such as https://api.retellai.com, without a path, "
                "not 'https://api.retellai.com/v2'."
            ),
        ),
    ],
)
def test_the_button_names_the_field_that_is_wrong(
    vault: type[Vault], fields: dict[str, Any], sentence: str
) -> None:
    """A half-filled form gives a message and no crash; its random id is left out."""
    vault.connections["x7Kq"] = json.dumps({"conn_type": "retell", **fields})
    assert RetellHook("x7Kq").test_connection() == (False, sentence)


def test_the_button_names_a_variable_that_is_wrong(vault: type[Vault], monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that httpx cannot use gives a message and no traceback."""
    vault.connections["retell_team"] = json.dumps({"conn_type": "retell", "password": "key_1"})
    monkeypatch.setenv("NO_PROXY", "fe80::/10")
    good, message = RetellHook("retell_team").test_connection()
    assert not good
    assert "the environment variable NO_PROXY cannot be used" in message


def test_the_button_says_that_a_connection_is_paused(connect: Connect) -> None:
    """The button says that the connection is paused, which explains why no call is placed."""
    connect(paused="true")
    good, message = RetellHook().test_connection()
    assert good
    assert message.endswith("calls in use. The connection is paused (Extra): no call is placed.")


@pytest.mark.parametrize("method", ["create_phone_call", "register_phone_call"])
def test_the_hook_places_no_call_while_the_connection_is_paused(
    connect: Connect, simulator: Simulator, clock: SteppingClock, method: str
) -> None:
    """The pause holds for all that uses the connection; it is read again after half a minute."""
    request = {"create_phone_call": CREATE, "register_phone_call": REGISTER}[method]
    connect(paused="true")
    with RetellHook() as hook:
        with pytest.raises(RetellCallError, match="'retell_default' is paused"):
            getattr(hook, method)(request)
        assert not simulator.calls
        connect()
        clock.sleep(MAX_AGE)
        assert getattr(hook, method)(request).call_id in simulator.calls


def test_the_hook_leaves_the_tag_of_another_call_out(connect: Connect, simulator: Simulator) -> None:
    """A row's metadata that is handed on must not make the new call a call of the old task."""
    metadata = {
        "kind": 1,
        TAG: numbered(person_prefix("0123456789abcdef.01234567.000000."), generation=0, ordinal=0),
    }
    with RetellHook() as hook:
        hook.create_phone_call({**CREATE, "metadata": metadata})
    assert simulator.requests[-1].json["metadata"] == {"kind": 1}


def test_new_metadata_keeps_the_tag_of_a_call(connect: Connect, simulator: Simulator, time: ManualClock) -> None:
    """By its tag a later try or another run finds the call, so that it is not placed a second time."""
    metadata = {"kind": 1, TAG: "0123456789abcdef0123456789abcdef.0000.0000"}
    with RetellHook() as hook:
        call_id = hook.get_conn().send(endpoints.create_phone_call({**CREATE, "metadata": metadata})).call_id
        time.advance(1000)
        changed = hook.update_call(call_id, metadata={"booked": True})
        assert changed.metadata == {"booked": True, TAG: metadata[TAG]}


def test_the_button_tells_a_host_that_httpx_cannot_read(vault: type[Vault]) -> None:
    """A value that passes the first check but is no URL ends in a clear message too."""
    vault.connections["retell_team"] = json.dumps(
        {"conn_type": "retell", "password": "key_1", "host": "https://1.2.3.999"}
    )
    good, message = RetellHook("retell_team").test_connection()
    assert not good
    assert "the field Host (Base URL) is not a URL" in message


def test_a_connection_that_should_be_mended_is_warned_about(
    connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that works all the same is used with a warning, which the button shows too."""
    connect(time_out=5)
    fields = json.loads(os.environ["AIRFLOW_CONN_RETELL_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields | {"password": " key_simulator\n"}))
    remarks = [
        "The field Password (API key) has white space around the key, which is left out.",
        (
            "The field Extra has names that mean nothing here: 'time_out'. "
            "Known: timeout, max_attempts, max_retry_delay, paused, simulator."
        ),
    ]
    accepted = "Key accepted, workspace Simulated organisation, 0 of 20 concurrent calls in use."
    assert RetellHook().test_connection() == (True, " ".join([accepted, *remarks]))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    with RetellHook() as hook:
        hook.get_concurrency()
        hook.get_concurrency()
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [f"Connection 'retell_default': {remark}" for remark in remarks], "once for each client"


# -- one poller for all who wait on an event loop --------------------------------------------------------------


def join(retell_conn_id: str) -> AbstractAsyncContextManager[Poller]:
    """Share the poller of a connection as a trigger does."""
    return shared_poller(retell_conn_id, RetellHook(retell_conn_id).aget_settings)


def read(shared: Poller, *call_ids: str) -> Awaitable[Any]:
    """Read calls as a trigger does, at once."""
    return shared.read(call_ids, due=0)


def test_a_hundred_users_share_one_poller_and_one_look_up(vault: type[Vault]) -> None:
    """A hundred triggers cost what one costs, and the last one to leave closes what they shared."""

    async def main() -> None:
        all_users = asyncio.Barrier(100)

        async def use() -> Poller:
            async with join("retell_default") as shared:
                await all_users.wait()
                with suppress(RetellError):
                    await read(shared, "call_1")
                return shared

        (shared,) = set(await asyncio.gather(*(use() for _ in range(100))))
        with pytest.raises(RuntimeError, match="closed"):
            await shared.run(stop("call_1", leave_registered=False))

    run(main)
    assert set(vault.asked) == {"retell_default"}
    assert len(vault.asked) <= 2  # a refused key has it looked up once more


def test_a_poller_stays_until_the_last_one_leaves(connect: Connect) -> None:
    """Users that are left can still read; the next user gets a new poller."""

    async def main() -> None:
        async with join("retell_default") as shared:
            async with join("retell_default") as same:
                assert same is shared
            assert await read(shared, "call_unknown") == {}
        async with join("retell_default") as another:
            assert another is not shared

    run(main)


def test_each_connection_and_each_event_loop_has_a_poller_of_its_own(connect: Connect) -> None:
    """Two accounts are not mixed up; the connections of a client belong to the loop that made them."""

    async def use() -> Poller:
        async with join("retell_default") as shared:
            return shared

    async def main() -> None:
        async with join("retell_default") as shared, join("retell_team") as team:
            assert team is not shared
            assert await asyncio.to_thread(asyncio.run, use()) is not shared

    run(main)


def test_a_failed_look_up_is_not_remembered(vault: type[Vault], clock: SteppingClock) -> None:
    """Callers who waited for a failed look-up get its error; later ones get another look-up."""
    kept = vault.connections.pop("retell_default")

    async def main() -> None:
        async with join("retell_default") as shared:
            with pytest.raises(AirflowNotFoundException):
                await read(shared, "call_1")
            vault.connections["retell_default"] = kept
            assert isinstance((await read(shared, "call_1"))["call_1"], RetellError)  # no server is at that host

    run(main)


def test_a_look_up_belongs_to_no_task(vault: type[Vault]) -> None:
    """It does not run in the context of the first user, whose task's name would stand in the log lines of all."""

    async def main() -> None:
        TASK.set("first")
        async with join("retell_default") as shared:
            with suppress(RetellError):
                await read(shared, "call_1")

    run(main)
    assert vault.asked_by == {"no task"}


# -- Airflow's configuration -----------------------------------------------------------------------------------


def test_options_come_from_airflows_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options come from Airflow's configuration, or have their defaults."""
    monkeypatch.delenv("AIRFLOW__RETELL__SHORTEST_POLL_INTERVAL")
    monkeypatch.delenv("AIRFLOW__RETELL__SHORTEST_DEFERRAL")
    assert read_options() == Options(shortest_poll_interval=0.5, shortest_deferral=20)
    monkeypatch.setenv("AIRFLOW__RETELL__SHORTEST_POLL_INTERVAL", "2.5")
    monkeypatch.setenv("AIRFLOW__RETELL__SHORTEST_DEFERRAL", "30")
    assert read_options() == Options(shortest_poll_interval=2.5, shortest_deferral=30)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SHORTEST_POLL_INTERVAL", "0"), ("SHORTEST_POLL_INTERVAL", "soon"), ("SHORTEST_POLL_INTERVAL", "nan")],
)
def test_an_option_that_cannot_be_used_is_explained(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The message names section, option and value, and nothing is sent."""
    monkeypatch.setenv(f"AIRFLOW__RETELL__{name}", value)
    with pytest.raises(
        RetellInputError, match=rf"{name.lower()} in section \[retell\].*'{value}'.*Nothing was sent"
    ):
        read_options()
