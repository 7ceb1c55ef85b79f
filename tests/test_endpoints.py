from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_retell.api import contacts, endpoints
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.requests import RegisterPhoneCallRequest
from airflow_provider_retell.errors import RetellInputError

NUMBERS = {"from_number": "+14155550100", "to_number": "+14155550199"}
KEYED = NUMBERS | {"idempotency_key": "key-1"}
EVERYTHING = {"limit": 1000}


@pytest.mark.parametrize(
    ("retell_request", "method", "path", "body"),
    [
        (endpoints.register_phone_call({"agent_id": "a"}), "POST", "/v2/register-phone-call", {"agent_id": "a"}),
        (endpoints.create_phone_call(NUMBERS), "POST", "/v2/create-phone-call", NUMBERS),
        (endpoints.create_phone_call(NUMBERS, idempotency_key="key-1"), "POST", "/v2/create-phone-call", KEYED),
        (endpoints.create_phone_call(KEYED), "POST", "/v2/create-phone-call", KEYED),
        (endpoints.get_call("call_1"), "GET", "/v2/get-call/call_1", None),
        (endpoints.stop_call("call_1"), "POST", "/v2/stop-call/call_1", None),
        (endpoints.list_calls(), "POST", "/v3/list-calls", EVERYTHING),
        (endpoints.get_concurrency(), "GET", "/get-concurrency", None),
        (endpoints.get_api_key_info(), "GET", "/get-api-key-info", None),
        (endpoints.update_call("call_1", {"metadata": {}}), "PATCH", "/v2/update-call/call_1", {"metadata": {}}),
        (endpoints.delete_call("call_1"), "DELETE", "/v2/delete-call/call_1", None),
        (endpoints.rerun_call_analysis("call_1"), "PUT", "/rerun-call-analysis/call_1", None),
        (contacts.list_contacts(), "POST", "/list-contacts", EVERYTHING),
        (contacts.get_contact_by_phone("+14155550100"), "GET", "/get-contact-by-phone/%2B14155550100", None),
    ],
)
def test_each_request_is_what_retell_documents(
    retell_request: Request[Any], method: str, path: str, body: Any
) -> None:
    """Method, path and body."""
    assert (retell_request.method, retell_request.path, retell_request.body) == (method, path, body)


@pytest.mark.parametrize(
    ("retell_request", "idempotent"),
    [
        (endpoints.register_phone_call({"agent_id": "a"}), False),
        (endpoints.create_phone_call(NUMBERS), False),
        (endpoints.create_phone_call(NUMBERS, idempotency_key="key-1"), True),
        (endpoints.create_phone_call(KEYED), True),
        (endpoints.get_call("call_1"), True),
        (endpoints.stop_call("call_1"), True),
        (endpoints.list_calls(), True),
        (endpoints.get_concurrency(), True),
        (endpoints.get_api_key_info(), True),
        (endpoints.update_call("call_1", {"metadata": {}}), True),
        (endpoints.delete_call("call_1"), True),
        (endpoints.rerun_call_analysis("call_1"), False),
        (contacts.list_contacts(), True),
        (contacts.get_contact_by_phone("+14155550100"), True),
    ],
)
def test_what_may_be_sent_twice_says_so(retell_request: Request[Any], idempotent: bool) -> None:
    """A second registration is a second call, a second creation without a key rings twice; the rest is safe."""
    assert retell_request.idempotent is idempotent


def test_a_request_is_built_once() -> None:
    """A key is added to a body that was checked, without looking at it again."""
    plain = endpoints.create_phone_call(NUMBERS | {"metadata": {"own": 1}})
    keyed = plain.with_idempotency_key("key-1")
    assert (keyed.body, keyed.idempotent) == ({**(plain.body or {}), "idempotency_key": "key-1"}, True)
    assert plain == endpoints.create_phone_call(NUMBERS | {"metadata": {"own": 1}})


def test_a_number_in_a_path_is_not_shown() -> None:
    """Messages call a request by its path."""
    assert str(contacts.get_contact_by_phone("+14155550100")) == "GET /get-contact-by-phone/…0100"


def test_a_request_is_a_value() -> None:
    """A request can be kept, compared and sent later, and cannot be changed in between."""
    request = endpoints.get_call("call_1")
    assert request == endpoints.get_call("call_1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.path = "/v2/elsewhere"


def test_a_request_is_a_model_or_a_mapping() -> None:
    """Both give the same body."""
    model = RegisterPhoneCallRequest(agent_id="a", metadata={"order": 7})
    assert endpoints.register_phone_call(model).body == {"agent_id": "a", "metadata": {"order": 7}}


@pytest.mark.parametrize("key", ["", " ", "None"])
def test_a_key_that_protects_nothing_is_refused(key: str) -> None:
    """A blank key would make a creation look safe to repeat."""
    with pytest.raises(RetellInputError, match="idempotency_key must be given"):
        endpoints.create_phone_call(NUMBERS, idempotency_key=key)
    with pytest.raises(RetellInputError, match="idempotency_key must be given"):
        endpoints.create_phone_call(NUMBERS).with_idempotency_key(key)


@pytest.mark.parametrize(
    "arguments",
    [
        *({name: empty} for name in ("agent_id", "direction", "batch_call_id") for empty in ("", [])),
        *({name: empty} for name in ("call_ids", "call_status") for empty in ((), [])),
        {"call_status": ""},
        {"metadata": {}},
        {"filter_criteria": {}},
    ],
    ids=str,
)
def test_an_empty_filter_is_refused(arguments: dict[str, Any]) -> None:
    """It comes from a template that rendered to nothing, and would list what was not asked for."""
    with pytest.raises(RetellInputError, match=f"{next(iter(arguments))} is empty and would filter nothing"):
        endpoints.list_calls(**arguments)


def test_a_filter_is_given_in_one_way() -> None:
    """Two filters for the same thing are refused, because one would be lost."""
    own = {"call_id": {"type": "enum", "op": "in", "value": ["call_2"]}}
    with pytest.raises(RetellInputError, match="filter_criteria has call_id, which another argument gives too"):
        endpoints.list_calls(call_ids=["call_1"], filter_criteria=own)


@pytest.mark.parametrize(
    "make",
    [endpoints.get_call, endpoints.stop_call, lambda call_id: endpoints.list_calls(call_ids=["call_1", call_id])],
)
@pytest.mark.parametrize("call_id", ["", None, "a/b", "a?b", "..", "call_1\n"])
def test_a_bad_call_id_makes_no_request(make: Callable[[Any], Request[Any]], call_id: Any) -> None:
    """With an invalid id no request is made."""
    with pytest.raises(RetellInputError, match="call_id must be the id of a call"):
        make(call_id)


# -- answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "retell_request",
    [
        endpoints.register_phone_call({"agent_id": "a"}),
        endpoints.create_phone_call(NUMBERS),
        endpoints.get_call("a"),
    ],
)
def test_a_call_is_read(retell_request: Request[Call]) -> None:
    """Three answers are a call object, unknown fields and all."""
    call = retell_request.read({"call_id": "call_1", "call_status": "registered", "tomorrow": 1})
    assert call.json_dict() == {"call_id": "call_1", "call_status": "registered", "tomorrow": 1}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({}, "a call whose call_id is missing or of another type"),
        ({"call_id": 5}, "a call whose call_id is missing or of another type"),
        ({"call_id": "call_1", "call_status": []}, "a call whose call_status is missing or of another type"),
        ([], "not a JSON object"),
        (None, "not a JSON object"),
    ],
)
def test_what_is_no_call_is_not_read(answer: Any, problem: str) -> None:
    """The complaint names the field, without the value."""
    with pytest.raises(ValueError, match=f"^{problem}$"):
        endpoints.get_call("call_1").read(answer)


@pytest.mark.parametrize("retell_request", [endpoints.get_concurrency(), endpoints.get_api_key_info()])
def test_facts_about_the_account_are_read_as_they_are(retell_request: Request[dict[str, Any]]) -> None:
    """Two answers are objects handed on as they came."""
    assert retell_request.read({"org_name": "Example"}) == {"org_name": "Example"}
    with pytest.raises(ValueError, match="not a JSON object"):
        retell_request.read("busy")


def test_nothing_is_read_of_a_hang_up() -> None:
    """Retell answers 204 without a body; any body it may send is ignored."""
    request = endpoints.stop_call("call_1")
    assert request.empty
    assert request.read(None) is None


# -- lists -------------------------------------------------------------------------------------------------


def enum(*values: str) -> dict[str, Any]:
    return {"type": "enum", "op": "in", "value": list(values)}


@pytest.mark.parametrize(
    ("arguments", "criteria"),
    [
        ({"call_ids": ["call_1", "call_2"]}, {"call_id": enum("call_1", "call_2")}),
        ({"call_ids": ("call_1",)}, {"call_id": enum("call_1")}),
        ({"call_ids": "call_1"}, {"call_id": enum("call_1")}),
        ({"agent_id": "agent_1"}, {"agent": [{"agent_id": "agent_1"}]}),
        ({"call_status": ["ended", "error"]}, {"call_status": enum("ended", "error")}),
        ({"call_status": "ended"}, {"call_status": enum("ended")}),
        ({"direction": "inbound"}, {"direction": enum("inbound")}),
        ({"batch_call_id": "batch_1"}, {"batch_call_id": {"type": "string", "op": "eq", "value": "batch_1"}}),
        ({"started_from": 5}, {"start_timestamp": {"type": "number", "op": "ge", "value": 5}}),
        ({"started_from": 0}, {"start_timestamp": {"type": "number", "op": "ge", "value": 0}}),
        ({"started_before": 9}, {"start_timestamp": {"type": "number", "op": "lt", "value": 9}}),
        (
            {"started_from": 5, "started_before": 9},
            {"start_timestamp": {"type": "range", "op": "bt", "value": [5, 8]}},
        ),
        (
            {"metadata": {"order": "7", "retry": 2, "rate": 0.5, "vip": True}},
            {
                "metadata": [
                    {"key": "order", "type": "string", "op": "eq", "value": "7"},
                    {"key": "retry", "type": "number", "op": "eq", "value": 2},
                    {"key": "rate", "type": "number", "op": "eq", "value": 0.5},
                    {"key": "vip", "type": "boolean", "op": "eq", "value": True},
                ]
            },
        ),
        (
            {"agent_id": "agent_1", "direction": "inbound"},
            {"agent": [{"agent_id": "agent_1"}], "direction": enum("inbound")},
        ),
    ],
)
def test_each_filter_reaches_the_request(arguments: dict[str, Any], criteria: dict[str, Any]) -> None:
    """Plain arguments become Retell's typed filters."""
    assert endpoints.list_calls(**arguments).body == EVERYTHING | {"filter_criteria": criteria}


def test_order_and_page_size_reach_the_request() -> None:
    """Retell's default is 50 calls, so the page size is always sent."""
    assert endpoints.list_calls(sort_order="ascending", page_size=2).body == {
        "limit": 2,
        "sort_order": "ascending",
    }


@pytest.mark.parametrize("page_size", [0, 1001])
def test_a_page_has_1_to_1000_calls(page_size: int) -> None:
    """Anything else is refused before Retell does."""
    with pytest.raises(RetellInputError, match=f"page_size must be 1 to 1000, got {page_size}"):
        endpoints.list_calls(page_size=page_size)


@pytest.mark.parametrize(("value", "kind"), [(None, "NoneType"), (["a"], "list"), ({}, "dict")])
def test_metadata_is_compared_with_plain_values(value: Any, kind: str) -> None:
    """Retell's filters know strings, numbers and booleans."""
    with pytest.raises(RetellInputError, match=f"but 'order' is of type {kind}"):
        endpoints.list_calls(metadata={"order": value})


@pytest.mark.parametrize("op", ["eq", "sw"])
def test_tagged_calls_are_found_by_the_tag_or_its_beginning(op: Any) -> None:
    """An earlier try's call is looked up by what it left in the metadata."""
    criterion = {"key": "airflow", "type": "string", "op": op, "value": "tag"}
    body = EVERYTHING | {"filter_criteria": {"metadata": [criterion]}}
    assert endpoints.list_tagged_calls("airflow", "tag", op=op).body == body
