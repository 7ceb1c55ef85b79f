from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_provider_retell.api.models import Call, CallAnalysis, Direction, Sentiment
from airflow_provider_retell.api.requests import METADATA_LIMIT, CreatePhoneCallRequest, RegisterPhoneCallRequest
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.outcomes import CallStatus, DisconnectionReason

NUMBER = "+14155550100"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


def register(**fields: Any) -> dict[str, Any]:
    """Return the body that these fields make, with an agent."""
    return RegisterPhoneCallRequest.read({"agent_id": "agent_1", **fields}).body()


def create(**fields: Any) -> dict[str, Any]:
    """Return the body that these fields make, with both numbers."""
    return CreatePhoneCallRequest.read({"from_number": NUMBER, "to_number": NUMBER, **fields}).body()


def refusal(**fields: Any) -> str:
    """Return the message with which a request to register is refused."""
    with pytest.raises(RetellInputError) as refused:
        register(**fields)
    return str(refused.value)


# -- requests --------------------------------------------------------------------------------------------

REGISTER: dict[str, Any] = {
    "agent_id": "agent_1",
    "agent_version": 3,
    "agent_override": {"agent": {"language": "de-DE"}},
    "from_number": NUMBER,
    "to_number": NUMBER,
    "direction": "outbound",
    "metadata": {"order": 7, "tags": ["a", None], "naïve": "ü"},
    "retell_llm_dynamic_variables": {"name": "Ada"},
}
CREATE: dict[str, Any] = {
    "from_number": NUMBER,
    "to_number": NUMBER,
    "override_agent_id": "agent_1",
    "override_agent_version": "prod",
    "agent_override": {"retell_llm": {"model_temperature": 0}},
    "metadata": {"order": 7},
    "retell_llm_dynamic_variables": {"name": "Ada"},
    "custom_sip_headers": {"X-Order": "7"},
    "ignore_e164_validation": True,
    "honor_internal_dnc": False,
    "idempotency_key": "key-1",
}


@pytest.mark.parametrize(
    ("model", "fields"), [(RegisterPhoneCallRequest, REGISTER), (CreatePhoneCallRequest, CREATE)]
)
def test_every_documented_field_is_sent_as_given(model: type[Any], fields: dict[str, Any]) -> None:
    """A request has all of Retell's fields under Retell's names, and sends what it was given."""
    assert model.read(fields).body() == fields
    assert set(model.model_fields) == set(fields)


def test_fields_that_are_none_are_not_sent() -> None:
    """An operator's argument that was left out leaves Retell's default alone."""
    assert register(to_number=None, direction=None, metadata=None) == {"agent_id": "agent_1"}


def test_a_field_of_tomorrow_is_sent() -> None:
    """A field that Retell adds can be used before this package knows it."""
    assert register(field_of_tomorrow={"a": [1]})["field_of_tomorrow"] == {"a": [1]}


def test_a_model_is_a_request_too() -> None:
    """A model passes as it is; one of the other kind of call does not."""
    request: Any = RegisterPhoneCallRequest(agent_id="agent_1")
    assert RegisterPhoneCallRequest.read(request) is request
    with pytest.raises(RetellInputError, match="must be a CreatePhoneCallRequest or a mapping"):
        CreatePhoneCallRequest.read(request)


@pytest.mark.parametrize("given", [None, "", "  ", "None", " None\n"])
@pytest.mark.parametrize("field", ["agent_id", "to_number", "from_number"])
def test_a_required_text_must_be_there(field: str, given: Any) -> None:
    """No agent, no number, or the "None" that Jinja writes for a missing XCom, is final and names the field."""
    model, fields = (
        (RegisterPhoneCallRequest, REGISTER) if field == "agent_id" else (CreatePhoneCallRequest, CREATE)
    )
    with pytest.raises(RetellInputError, match=f"^{field} must be given, got ") as refused:
        model.read(fields | {field: given})
    assert str(refused.value) == f"{field} must be given, got {given!r}. Nothing was sent."
    assert isinstance(refused.value, AirflowFailException)


@pytest.mark.parametrize("field", ["from_number", "to_number"])
def test_an_optional_text_is_not_sent_blank(field: str) -> None:
    """The text "None" is a mistake even if the field may be left out."""
    assert refusal(**{field: "None"}) == f"{field} must be given, got 'None'. Nothing was sent."


def test_a_text_is_a_string() -> None:
    """An id that came as a number is refused."""
    assert refusal(agent_id=5) == "agent_id must be a string, not int, got 5. Nothing was sent."


@pytest.mark.parametrize(
    "given",
    [
        4155550100,
        14155550100,
        14155550100.0,
        Decimal(14155550100),
        Fraction(14155550100),
        float("inf"),
        True,
        b"+14155550100",
        ["+14155550100"],
    ],
)
@pytest.mark.parametrize("field", ["from_number", "to_number"])
@pytest.mark.parametrize("request_of", [register, create])
def test_a_phone_number_is_text(request_of: Any, field: str, given: Any) -> None:
    """A number of a BIGINT column has no plus: with one before it, a stranger abroad would be called."""
    with pytest.raises(RetellInputError) as refused:
        request_of(**{field: given})
    assert str(refused.value).startswith(
        f"{field} must be text such as '+14155550100', not {type(given).__name__}: a number has no plus. "
        "Read the column as text (dtype=str in pandas, a VARCHAR in SQL)"
    )
    assert "415555" not in str(refused.value).replace("'+14155550100'", "")


@pytest.mark.parametrize("field", ["from_number", "to_number"])
def test_an_empty_cell_is_no_phone_number(field: str) -> None:
    """Pandas reads an empty cell as NaN, and the message says so."""
    assert refusal(**{field: float("nan")}).startswith(f"{field} must be given: NaN is how pandas reads an empty")


@pytest.mark.parametrize("flag", ["ignore_e164_validation", "honor_internal_dnc"])
@pytest.mark.parametrize(
    ("given", "sent"), [(True, True), (False, False), ("True", True), ("false", False), ("0", False), (1, True)]
)
def test_a_flag_may_have_gone_through_a_template(flag: str, given: Any, sent: bool) -> None:
    """Text is read as Airflow reads its own booleans."""
    assert create(**{flag: given})[flag] is sent


@pytest.mark.parametrize("flag", ["ignore_e164_validation", "honor_internal_dnc"])
@pytest.mark.parametrize("given", ["", "None", "maybe", 2, 0.0, []])
def test_what_is_no_flag_is_refused(flag: str, given: Any) -> None:
    """A flag that a template left empty is neither on nor off."""
    with pytest.raises(RetellInputError, match=f"^{flag} must be True or False, or a template"):
        create(**{flag: given})


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_direction_is_inbound_or_outbound(direction: str) -> None:
    """Both of Retell's words go through."""
    assert register(direction=direction)["direction"] == direction


def test_any_other_direction_is_refused() -> None:
    """The message names the field, what it may be, and what was given."""
    assert refusal(direction="up") == (
        "direction input should be 'inbound' or 'outbound', got 'up'. Nothing was sent."
    )


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        (0, 0),
        (3, 3),
        ("3", 3),
        ("latest", "latest"),
        ("latest_published", "latest_published"),
        ("prod-2_a", "prod-2_a"),
    ],
)
def test_a_version_is_a_number_or_a_tag(version: Any, sent: Any) -> None:
    """A number that went through a template is a number again; Retell's words and tags pass."""
    assert register(agent_version=version)["agent_version"] == sent


@pytest.mark.parametrize("version", [-1, True, 1.5, "", "v3", "Prod", "a" * 21, "1.5"])
def test_what_is_neither_number_nor_tag_is_no_version(version: Any) -> None:
    """A version that Retell would refuse is refused before the call is registered."""
    assert refusal(agent_version=version).startswith("agent_version must be a version number, latest, ")


@pytest.mark.parametrize("given", ["text", '{"a": 1}', [1], 5])
@pytest.mark.parametrize("field", ["metadata", "agent_override"])
def test_an_object_is_an_object(field: str, given: Any) -> None:
    """JSON as text, a list or a number is not what Retell calls an object."""
    assert refusal(**{field: given}) == f"{field} must be an object, got {given!r}. Nothing was sent."


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (object(), "is of type object"),
        ({1, 2}, "is of type set"),
        (b"x", "is of type bytes"),
        (Decimal(1), "is of type Decimal"),
        (float("nan"), "is NaN, as pandas reads an empty cell"),
        (float("-inf"), "is infinite"),
        ("\ud800", "is not valid Unicode text"),
        ({"a": [{1}]}, "holds something else (Object of type set is not JSON serializable)"),
        ([{"a": float("nan")}], "holds something else (Out of range float values are not JSON compliant)"),
        ({(1, 2): 3}, "holds something else (keys must be str, int, float, bool or None, not tuple)"),
    ],
)
@pytest.mark.parametrize("field", ["metadata", "agent_override"])
def test_an_object_is_json(field: str, value: Any, problem: str) -> None:
    """A value that JSON cannot hold is refused by key and type, but not shown, because it may be personal."""
    assert refusal(**{field: {"fine": 1, "bad": value}}) == (
        f"{field} must be JSON, but 'bad' {problem}. Nothing was sent."
    )


@pytest.mark.parametrize(
    "field", ["metadata", "agent_override", "retell_llm_dynamic_variables", "custom_sip_headers"]
)
def test_the_keys_of_an_object_are_strings(field: str) -> None:
    """A key that is none is named as the key, not as a value."""
    with pytest.raises(RetellInputError) as refused:
        create(**{field: {"name": "Ada", 1: "x"}})
    assert str(refused.value) == f"{field} must have strings as keys, but 1 is of type int. Nothing was sent."


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": {1}}])
def test_a_field_of_tomorrow_is_json(value: Any) -> None:
    """A field this package does not know is refused like any other if it is no JSON."""
    assert refusal(tomorrow=value).startswith("A request must be JSON, but 'tomorrow' ")


def test_metadata_ends_at_50_kb() -> None:
    """Retell keeps 50,000 bytes of metadata, counted as JSON in UTF-8; one more is refused, with the size."""
    frame = len('{"a":""}')
    most = "x" * (METADATA_LIMIT - frame)
    assert register(metadata={"a": most})["metadata"] == {"a": most}
    assert refusal(metadata={"a": most + "x"}) == (
        "metadata must be at most 50000 bytes of JSON, not 50001. Nothing was sent."
    )
    assert "not 50002" in refusal(metadata={"a": most[2:] + "üü"})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (5, "of type int"),
        (["a"], "of type list"),
        (True, "of type bool"),
        (None, "None: leave it out, or give a text"),
        (float("nan"), "NaN, as pandas reads an empty cell: leave it out, or give a text"),
    ],
)
@pytest.mark.parametrize("field", ["retell_llm_dynamic_variables", "custom_sip_headers"])
def test_variables_and_headers_are_strings(field: str, value: Any, problem: str) -> None:
    """Retell refuses the whole call for one number among the variables: the message names its key and type."""
    with pytest.raises(RetellInputError) as refused:
        create(**{field: {"name": "Ada", "age": value}})
    assert str(refused.value) == f"{field} must hold strings only, but 'age' is {problem}. Nothing was sent."


def test_variables_are_an_object() -> None:
    """A list of variables is refused with what was given."""
    assert refusal(retell_llm_dynamic_variables=["name"]) == (
        "retell_llm_dynamic_variables must be an object of strings, got ['name']. Nothing was sent."
    )


def test_all_mistakes_are_named_at_once() -> None:
    """One failed task shows both of two mistakes."""
    message = refusal(agent_id="", direction="up")
    assert "agent_id must be given" in message
    assert "direction input should be" in message


@pytest.mark.parametrize(
    "fields",
    [
        {"agent_id": [NUMBER]},
        {"direction": NUMBER},
        {"metadata": f"call {NUMBER}"},
        {"retell_llm_dynamic_variables": {NUMBER: 5}},
        {"metadata": {NUMBER: object()}},
    ],
)
def test_a_refusal_shows_no_phone_number(fields: dict[str, Any]) -> None:
    """Wherever a number was given by mistake, the message ends up in logs with its last four digits only."""
    assert NUMBER[:-4] not in refusal(**fields)
    assert "…0100" in refusal(**fields)


# -- answers -----------------------------------------------------------------------------------------------

LATENCY = {"p50": 600, "p90": 700, "p95": 700, "p99": 700, "max": 700, "min": 500, "num": 2, "values": [500, 700]}
SHARED: dict[str, Any] = {
    "call_type": "phone_call",
    "from_number": NUMBER,
    "to_number": NUMBER,
    "direction": "outbound",
    "call_id": "call_1",
    "agent_id": "agent_1",
    "call_status": "ended",
    "metadata": {"order": 7},
    "retell_llm_dynamic_variables": {"name": "Ada"},
    "start_timestamp": 1_700_000_000_000,
    "end_timestamp": 1_700_000_060_000,
    "transcript": "Agent: Hello",
    "transcript_object": [{"role": "agent", "content": "Hello"}],
    "transcript_with_tool_calls": [{"role": "agent", "content": "Hello"}],
    "recording_url": "https://files.example/recording.wav",
    "public_log_url": "https://files.example/log.txt",
}
ORIGINAL = SHARED | {
    "opt_out_sensitive_data_storage": False,
    "e2e_latency": LATENCY,
    "llm_latency": LATENCY,
    "llm_websocket_network_rtt_latency": LATENCY,
    "disconnection_reason": "machine_detected",
    "call_analysis": {
        "call_summary": "A machine answered.",
        "in_voicemail": True,
        "user_sentiment": "Neutral",
        "call_successful": False,
        "custom_analysis_data": {"mood": "calm"},
    },
}
TODAY = SHARED | {
    "agent_name": "Reminder",
    "agent_version": 3,
    "agent_tag": None,
    "telephony_identifier": {"twilio_call_sid": "CA1"},
    "custom_sip_headers": {"X-Order": "7"},
    "custom_attributes": {"region": "north"},
    "collected_dynamic_variables": {"current_node": "Goodbye"},
    "duration_ms": 60_000,
    "transfer_end_timestamp": 1_700_000_070_000,
    "transfer_destination": None,
    "disconnection_reason": "call_take_over",
    "data_storage_setting": "everything",
    "opt_in_signed_url": False,
    "scrubbed_transcript_with_tool_calls": [],
    "pre_session_transcript_with_tool_calls": [],
    "post_session_transcript_with_tool_calls": [],
    "scrubbed_pre_session_transcript_with_tool_calls": [],
    "scrubbed_post_session_transcript_with_tool_calls": [],
    "recording_multi_channel_url": "https://files.example/channels.wav",
    "scrubbed_recording_url": "https://files.example/scrubbed.wav",
    "scrubbed_recording_multi_channel_url": "https://files.example/scrubbed-channels.wav",
    "knowledge_base_retrieved_contents_url": "https://files.example/kb.txt",
    "latency": {"e2e": LATENCY, "s2s": LATENCY},
    "call_cost": {
        "product_costs": [{"product": "elevenlabs_tts", "unit_price": 0.12, "cost": 7.2}],
        "total_duration_seconds": 60.0,
        "total_duration_unit_price": 0.12,
        "combined_cost": 7.2,
    },
    "llm_token_usage": {"values": [1200], "average": 1200, "num_requests": 1},
    "call_analysis": {"call_summary": "Fine.", "user_sentiment": "Positive", "call_successful": True},
}


@pytest.mark.parametrize("document", [ORIGINAL, TODAY], ids=["the original document", "today"])
def test_calls_of_both_times_are_read_and_given_back(document: dict[str, Any]) -> None:
    """Fields that Retell documented at first and those of today are known by name, and come out as they came."""
    call = Call.model_validate(document)
    assert call.json_dict() == document
    assert not call.model_extra


def test_every_field_of_a_call_is_in_one_of_the_documents() -> None:
    """The model has only fields that Retell documents."""
    assert set(Call.model_fields) == {*ORIGINAL, *TODAY}


def test_known_values_are_members_of_their_enums() -> None:
    """Users compare with names; the text of a member is Retell's."""
    call = Call.model_validate(TODAY)
    assert call.call_status is CallStatus.ENDED
    assert call.direction is Direction.OUTBOUND
    assert call.disconnection_reason is DisconnectionReason.CALL_TAKE_OVER
    assert isinstance(call.call_analysis, CallAnalysis)
    assert call.call_analysis.user_sentiment is Sentiment.POSITIVE
    assert call.outcome == "transferred"


@given(
    fields=st.dictionaries(
        st.sampled_from([*TODAY.keys() - {"call_status"}, "new"]), JSON | st.sampled_from([*TODAY.values()])
    ),
    status=st.sampled_from([*CallStatus, "paused", None]),
)
def test_a_call_comes_out_as_pydantic_would_write_it(fields: dict[str, Any], status: str | None) -> None:
    """Whatever Retell sends: the same values in the same order, of the types that JSON knows."""
    call = Call.model_validate({**fields, "call_id": "call_1", "call_status": status})
    written, expected = call.json_dict(), call.model_dump(mode="json", exclude_unset=True, warnings=False)
    assert json.dumps(written) == json.dumps(expected)
    assert all(type(value) in {str, int, float, bool, dict, list, type(None)} for value in written.values())


def test_only_the_id_is_required() -> None:
    """Retell's schema requires more than its answers always hold."""
    assert Call.model_validate({"call_id": "call_1"}).json_dict() == {"call_id": "call_1"}


@pytest.mark.parametrize(
    "fields",
    [
        {"field_of_tomorrow": {"deep": [1, None]}},
        {"call_status": "archived"},
        {"disconnection_reason": "abducted_by_aliens"},
        {"direction": "sideways"},
        {"call_analysis": {"user_sentiment": "Puzzled", "mood": 5}},
        {"call_cost": {"combined_cost": None, "currency": "EUR"}},
    ],
)
def test_what_retell_adds_is_kept(fields: dict[str, Any]) -> None:
    """An unknown field, or an unknown value of an enum, stays as it is."""
    assert Call.model_validate({"call_id": "call_1", **fields}).json_dict() == {"call_id": "call_1", **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"duration_ms": 1.5},
        {"start_timestamp": "2026-01-01T00:00:00Z"},
        {"metadata": ["a"]},
        {"transcript": {"text": "Hello"}},
        {"transcript_object": "Hello"},
        {"latency": 5},
        {"direction": 7},
        {"disconnection_reason": {"code": 5}},
        {"call_analysis": "pending"},
        {"call_analysis": {"call_successful": "perhaps", "custom_analysis_data": []}},
        {"call_cost": {"combined_cost": "n/a"}},
    ],
)
def test_a_field_that_does_not_fit_is_kept(fields: dict[str, Any]) -> None:
    """A wait must not fail over a field that it does not need: a value of another type stays as it came."""
    assert Call.model_validate({"call_id": "call_1", **fields}).json_dict() == {"call_id": "call_1", **fields}


@pytest.mark.parametrize(
    "fields", [{}, {"call_id": ""}, {"call_id": None}, {"call_id": 5}, {"call_id": "call_1", "call_status": 5}]
)
def test_a_call_without_an_id_or_with_no_word_for_its_status_is_none(fields: dict[str, Any]) -> None:
    """The two fields a wait stands on must be readable."""
    with pytest.raises(ValidationError):
        Call.model_validate(fields)


@pytest.mark.parametrize(
    ("call_status", "terminal"),
    [
        ("registered", False),
        ("ongoing", False),
        ("ended", True),
        ("error", True),
        ("not_connected", True),
        ("archived", False),
        (None, False),
    ],
)
def test_three_statuses_mean_over(call_status: str | None, terminal: bool) -> None:
    """An unknown status is not over: the wait goes on."""
    assert Call(call_id="call_1", call_status=call_status).is_terminal is terminal


@pytest.mark.parametrize(
    ("fields", "connected"),
    [
        ({"call_status": "ended"}, True),
        ({"call_status": "ongoing", "start_timestamp": 1}, True),
        ({"call_status": "error", "start_timestamp": 1}, True),
        ({"call_status": "error"}, False),
        ({"call_status": "not_connected"}, False),
        ({"call_status": "not_connected", "start_timestamp": 1}, False),
        ({"call_status": "registered"}, False),
    ],
)
def test_a_call_connected_if_it_began(fields: dict[str, Any], connected: bool) -> None:
    """A call that broke had been answered if it has a beginning; one that was not connected never was."""
    assert Call.model_validate({"call_id": "call_1", **fields}).connected is connected


def test_a_call_in_json_is_what_retell_sent() -> None:
    """The dict holds plain values, ready for any XCom backend."""
    call = Call.model_validate(TODAY)
    assert json.loads(json.dumps(call.json_dict())) == TODAY
