from __future__ import annotations

import asyncio
import math
import re
import threading
from dataclasses import replace
from typing import Any, get_args

import httpx
import pytest
from blockbuster import blockbuster_ctx
from retell.types.phone_call_response import PhoneCallResponse

from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, RealClock, Scenario, Simulator

FROM = "+12025550199"
ANSWERED = SCENARIOS["agent_hangup"].number
TRANSCRIPTS = (
    "transcript",
    "transcript_object",
    "transcript_with_tool_calls",
    "scrubbed_transcript_with_tool_calls",
)


class World:
    """A simulator with its clock, and the requests that a client sends."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.simulator = Simulator(clock=self.clock, **options)
        self.client = httpx.Client(
            transport=self.simulator,
            base_url="https://api.retellai.com",
            headers={"Authorization": f"Bearer {self.simulator.api_key}"},
        )

    def create(self, to_number: str = ANSWERED, **more: Any) -> httpx.Response:
        """Create a phone call."""
        body = {"from_number": FROM, "to_number": to_number, **more}
        return self.client.post("/v2/create-phone-call", json=body)

    def register(self, to_number: str = ANSWERED, **more: Any) -> dict[str, Any]:
        """Register a phone call."""
        body = {"agent_id": "agent_1", "to_number": to_number, **more}
        return self.client.post("/v2/register-phone-call", json=body).json()

    def get(self, call_id: str) -> dict[str, Any]:
        """Read a call."""
        return self.client.get(f"/v2/get-call/{call_id}").json()

    def stop(self, call_id: str) -> httpx.Response:
        """Stop a call."""
        return self.client.post(f"/v2/stop-call/{call_id}")


@pytest.fixture
def world() -> World:
    return World()


# --- the life of a call ---


def test_call_goes_from_registered_to_ongoing_to_ended_to_analyzed(world: World) -> None:
    """A created call rings for 4 seconds, talks for 20 and is analyzed 3 seconds later."""
    answer = world.create()
    call = answer.json()
    assert answer.status_code == 201
    assert (call["call_status"], call["direction"], call["from_number"]) == ("registered", "outbound", FROM)
    world.clock.advance(3.9)
    assert world.get(call["call_id"])["call_status"] == "registered"
    world.clock.advance(0.1)
    assert world.get(call["call_id"])["call_status"] == "ongoing"
    world.clock.advance(20)
    ended = world.get(call["call_id"])
    assert (ended["call_status"], ended["disconnection_reason"]) == ("ended", "agent_hangup")
    assert "call_analysis" not in ended
    world.clock.advance(3)
    assert world.get(call["call_id"])["call_analysis"]["custom_analysis_data"]["satisfaction"] == 4


def test_fields_appear_with_their_stage(world: World) -> None:
    """Each field appears at the stage that Retell documents for it; times are in milliseconds."""
    placed_at = world.clock()
    call_id = world.create().json()["call_id"]
    after_start = {"start_timestamp", "telephony_identifier"}
    after_end = {
        *("end_timestamp", "duration_ms", "disconnection_reason", *TRANSCRIPTS, "recording_url", "latency"),
        *("recording_multi_channel_url", "public_log_url", "knowledge_base_retrieved_contents_url"),
        *("collected_dynamic_variables", "call_cost", "llm_token_usage"),
    }
    registered = world.get(call_id).keys()
    world.clock.advance(4)
    ongoing = world.get(call_id).keys()
    world.clock.advance(20)
    ended = world.get(call_id)
    world.clock.advance(3)
    assert ongoing - registered == after_start
    assert ended.keys() - ongoing == after_end
    assert world.get(call_id).keys() - ended.keys() == {"call_analysis"}
    assert ended["start_timestamp"] == round((placed_at + 4) * 1000)
    assert ended["end_timestamp"] - ended["start_timestamp"] == ended["duration_ms"] == 20_000


def test_content_is_consistent(world: World) -> None:
    """The words fit into the call, the costs add up, and each read shows the same."""
    call_id = world.create().json()["call_id"]
    world.clock.advance(100)
    call = world.get(call_id)
    words = [word for spoken in call["transcript_object"] for word in spoken["words"]]
    assert words == sorted(words, key=lambda word: word["start"])
    assert words[-1]["end"] == pytest.approx(20, abs=0.01)
    assert call["transcript"].startswith("Agent: Hello")
    costs = call["call_cost"]
    assert costs["combined_cost"] == pytest.approx(sum(each["cost"] for each in costs["product_costs"]))
    latency = call["latency"]["e2e"]
    assert latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"]
    assert latency["num"] == len(latency["values"])
    assert world.get(call_id) == call


def test_request_is_echoed(world: World) -> None:
    """The fields that were sent come back, including the agent's tag and version."""
    sent = {"metadata": {"customer": 7}, "retell_llm_dynamic_variables": {"name": "Ada"}}
    created = world.create(
        **sent, custom_sip_headers={"X-A": "b"}, override_agent_id="agent_2", override_agent_version="prod"
    ).json()
    assert sent.items() <= created.items()
    assert created["custom_sip_headers"] == {"X-A": "b"}
    assert (created["agent_id"], created["agent_version"], created["agent_tag"]) == ("agent_2", 1, "prod")
    registered = world.register(agent_version=5, direction="inbound")
    assert (registered["agent_version"], registered["direction"]) == (5, "inbound")
    assert "from_number" not in registered


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_number_chooses_the_scenario(scenario: Scenario, world: World) -> None:
    """A call to a fictional number, in any area code, ends as its line in the table says."""
    call_id = world.create(scenario.number.replace("202", "415")).json()["call_id"]
    world.clock.advance(3600 + 400)
    call = world.get(call_id)
    assert (call["call_status"], call.get("disconnection_reason")) == (scenario.status, scenario.reason)
    assert ("start_timestamp" in call) is ("telephony_identifier" in call) is scenario.connects
    if scenario.name != "talks_forever":
        analysis = call.get("call_analysis")
        assert (analysis is None) is (scenario.analysis == "none")
        assert ("custom_analysis_data" in (analysis or {})) is (scenario.analysis == "full")


@pytest.mark.parametrize("name", ["dial_busy", "no_valid_payment", "registered_call_timeout"])
def test_call_that_never_connects_has_no_conversation(name: str, world: World) -> None:
    """Such a call has no times, no cost, no transcript and no recording."""
    call_id = world.create(SCENARIOS[name].number).json()["call_id"]
    world.clock.advance(400)
    absent = {"start_timestamp", "end_timestamp", "duration_ms", "call_cost", "recording_url", "transcript"}
    assert not absent & world.get(call_id).keys()


def test_voicemail_is_said_to_be_one(world: World) -> None:
    """The analysis of a voicemail says so, and its transcript is a voicemail's."""
    call_id = world.create(SCENARIOS["voicemail_reached"].number).json()["call_id"]
    world.clock.advance(100)
    call = world.get(call_id)
    assert call["call_analysis"]["in_voicemail"] is True
    assert "voicemail" in call["transcript"]


def test_transfer_names_its_destination(world: World) -> None:
    """A transferred call shows its destination and when the transfer ended."""
    call_id = world.create(SCENARIOS["call_transfer"].number).json()["call_id"]
    world.clock.advance(100)
    call = world.get(call_id)
    assert call["transfer_destination"]
    assert call["transfer_end_timestamp"] == call["end_timestamp"]


def test_every_reason_is_played() -> None:
    """Every disconnection reason that Retell's SDK knows has a number, and so do the four that it has dropped."""
    hint = PhoneCallResponse.model_fields["disconnection_reason"].annotation
    reasons = next(get_args(each) for each in get_args(hint) if get_args(each))
    dropped = {
        *("machine_detected", "error_twilio"),
        *("error_frontend_corrupted_payload", "error_inbound_webhook"),
    }
    assert {*reasons, *dropped} <= {scenario.reason for scenario in SCENARIOS.values()}
    assert len({scenario.digits for scenario in SCENARIOS.values()}) == len(SCENARIOS)


# --- registered calls ---


def test_registered_call_is_dialed_by_itself(world: World) -> None:
    """The simulator dials a second after the registration, in place of the user's telephony."""
    call_id = world.register()["call_id"]
    world.clock.advance(4.9)
    assert world.get(call_id)["call_status"] == "registered"
    world.clock.advance(0.1)
    assert world.get(call_id)["call_status"] == "ongoing"


def test_call_that_is_not_dialed_times_out_after_five_minutes() -> None:
    """A call that is not dialed within 300 seconds fails, and cannot be dialed afterwards."""
    world = World(auto_dial=False)
    call_id = world.register()["call_id"]
    world.clock.advance(299.9)
    assert world.get(call_id)["call_status"] == "registered"
    world.clock.advance(0.1)
    call = world.get(call_id)
    assert (call["call_status"], call["disconnection_reason"]) == ("error", "registered_call_timeout")
    with pytest.raises(ValueError, match="error"):
        world.simulator.dial(call_id)
    world.clock.advance(1000)
    assert "call_analysis" not in world.get(call_id)


def test_number_that_is_never_dialed(world: World) -> None:
    """One number is never dialed, though the simulator dials all others."""
    call_id = world.register(SCENARIOS["registered_call_timeout"].number)["call_id"]
    world.clock.advance(299)
    assert world.get(call_id)["call_status"] == "registered"
    world.clock.advance(1)
    assert world.get(call_id)["disconnection_reason"] == "registered_call_timeout"


def test_dial_starts_the_call() -> None:
    """A call dialed by hand rings from that moment, and cannot be dialed twice."""
    world = World(auto_dial=False)
    call_id = world.register()["call_id"]
    world.clock.advance(200)
    world.simulator.dial(call_id)
    world.clock.advance(200)
    assert world.get(call_id)["call_status"] == "ended"
    with pytest.raises(ValueError, match="does not wait"):
        world.simulator.dial(call_id)
    with pytest.raises(KeyError):
        world.simulator.dial("call_unknown")


def test_dialing_after_five_minutes_is_too_late() -> None:
    """A dial delay of more than five minutes leads to the same timeout."""
    world = World(dial_delay=301)
    call_id = world.register()["call_id"]
    world.clock.advance(302)
    assert world.get(call_id)["disconnection_reason"] == "registered_call_timeout"


# --- stopping ---


def test_stop_ends_an_ongoing_call(world: World) -> None:
    """Stopping returns 204 without a body; the call ends at once, as `manual_stopped`, and is analyzed."""
    call_id = world.create(SCENARIOS["talks_forever"].number).json()["call_id"]
    world.clock.advance(1000)
    answer = world.stop(call_id)
    assert (answer.status_code, answer.content) == (204, b"")
    world.clock.advance(3)
    call = world.get(call_id)
    assert (call["call_status"], call["disconnection_reason"]) == ("ended", "manual_stopped")
    assert call["duration_ms"] == 996_000
    assert "call_analysis" in call


def test_stop_refuses_a_call_that_is_not_ongoing(world: World) -> None:
    """Stopping a call that rings or is over returns 400 and changes only the count of stops."""
    call_id = world.create().json()["call_id"]
    assert world.stop(call_id).status_code == 400
    world.clock.advance(100)
    before = world.get(call_id)
    answer = world.stop(call_id)
    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    assert world.get(call_id) == before
    assert world.simulator.calls[call_id].stops == 2


# --- idempotency ---


def test_idempotency_key_stands_for_one_call_for_an_hour(world: World) -> None:
    """For an hour the same key returns the same call, as it is by then; afterwards it makes a new one."""
    first = world.create(idempotency_key="k").json()
    world.clock.advance(3599.9)
    again = world.create(idempotency_key="k")
    assert (again.status_code, again.json()["call_id"]) == (201, first["call_id"])
    assert again.json()["call_status"] == "ended"
    assert world.simulator.calls[first["call_id"]].creates == 2
    world.clock.advance(0.1)
    assert world.create(idempotency_key="k").json()["call_id"] != first["call_id"]
    assert len(world.simulator.placed) == 2


def test_other_key_or_none_makes_another_call(world: World) -> None:
    """Only the same key is recognised; register-phone-call knows no keys."""
    ids = {
        world.create(**more).json()["call_id"] for more in ({"idempotency_key": "a"}, {"idempotency_key": "b"}, {})
    }
    ids |= {world.create().json()["call_id"]}
    ids |= {world.register(idempotency_key="a")["call_id"] for _ in range(2)}
    assert len(ids) == 6


# --- limits ---


def test_create_over_the_limit_is_refused() -> None:
    """With as many calls as the limit, one more is refused with 429, until one of them is over."""
    world = World(concurrency_limit=2)
    for _ in range(2):
        assert world.create().status_code == 201
    assert world.create().status_code == 429
    assert len(world.simulator.placed) == 2
    world.clock.advance(24)
    assert world.create().status_code == 201


def test_create_over_the_limit_can_fail_as_a_call() -> None:
    """With `over_limit="call"` the call is created and fails, without occupying a line."""
    world = World(concurrency_limit=1, over_limit="call")
    world.create()
    call_id = world.create().json()["call_id"]
    assert world.client.get("/get-concurrency").json()["current_concurrency"] == 1
    world.clock.advance(30)
    assert world.get(call_id)["disconnection_reason"] == "concurrency_limit_reached"


def test_concurrency_counts_calls_from_dialing_to_the_end(world: World) -> None:
    """Registered calls count once they are dialed; calls that are over do not count."""
    world.create()
    world.register()

    def count() -> tuple[int, int]:
        answer = world.client.get("/get-concurrency").json()
        return answer["current_concurrency"], answer["concurrency_limit"]

    assert count() == (1, 20)
    world.clock.advance(1)
    assert count() == (2, 20)
    world.clock.advance(24)
    assert count() == (0, 20)


def test_do_not_call_is_honored_on_request(world: World) -> None:
    """A person who asked never to be called again is not called if the request says so."""
    number = SCENARIOS["user_requested_dnc"].number
    for _ in range(2):
        assert world.create(number, honor_internal_dnc=True).status_code == 201
    world.clock.advance(100)
    assert world.create(number, honor_internal_dnc=True).status_code == 400
    assert world.create(number).status_code == 201


# --- refusals ---


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("/v2/register-phone-call", {}, "request/body must have required property 'agent_id'"),
        ("/v2/register-phone-call", [], "request/body must be object"),
        ("/v2/register-phone-call", {"agent_id": 3}, "request/body/agent_id must be string"),
        (
            "/v2/register-phone-call",
            {"agent_id": ""},
            "request/body/agent_id must NOT have fewer than 1 characters",
        ),
        (
            "/v2/register-phone-call",
            {"agent_id": "a", "direction": "up"},
            "request/body/direction must be equal to one of the allowed values: inbound, outbound",
        ),
        (
            "/v2/register-phone-call",
            {"agent_id": "a", "agent_version": "Prod"},
            "request/body/agent_version must match exactly one schema in oneOf",
        ),
        (
            "/v2/register-phone-call",
            {"agent_id": "a", "retell_llm_dynamic_variables": {"age": None}},
            "request/body/retell_llm_dynamic_variables/age must be string",
        ),
        (
            "/v2/create-phone-call",
            {"from_number": 1, "to_number": 2},
            "request/body/from_number must be string, request/body/to_number must be string",
        ),
        (
            "/v2/create-phone-call",
            {"from_number": FROM, "to_number": FROM, "ignore_e164_validation": 1},
            "request/body/ignore_e164_validation must be boolean",
        ),
        ("/v3/list-calls", {"limit": 1001}, "request/body/limit must be <= 1000"),
        ("/v3/list-calls", {"limit": True}, "request/body/limit must be integer"),
        ("/v3/list-calls", {"skip": -1}, "request/body/skip must be >= 0"),
        ("/v3/list-calls", {"skip": 1, "pagination_key": "x"}, "request/body must NOT be valid"),
        (
            "/v3/list-calls",
            {"filter_criteria": {"call_id": ["a"]}},
            "request/body/filter_criteria/call_id must match exactly one schema in oneOf",
        ),
        (
            "/v3/list-calls",
            {"filter_criteria": {"call_status": {"type": "enum", "op": "in", "value": ["registered"]}}},
            "request/body/filter_criteria/call_status/value/0 must be equal to one of the allowed values: "  # noqa: ISC004
            "not_connected, ongoing, ended, error",
        ),
        (
            "/v3/list-calls",
            {"filter_criteria": {"tool_calls": []}},
            "request/body/filter_criteria must NOT have additional properties",
        ),
    ],
)
def test_schema_failure_is_answered_in_retells_words(path: str, body: Any, complaint: str, world: World) -> None:
    """A body that breaks the schema is refused with 400 and `error_message`, and no call is placed."""
    answer = world.client.post(path, json=body)
    assert (answer.status_code, answer.json()) == (400, {"error_message": complaint})
    assert not world.simulator.calls


def test_errors_have_the_documented_shape(world: World) -> None:
    """All errors but those of a schema have `status` and `message`."""

    def error(response: httpx.Response) -> tuple[int, str]:
        assert response.json()["status"] == "error"
        return response.status_code, response.json()["message"]

    missing = "Cannot find requested asset under given api key."
    assert error(world.client.get("/v2/get-call/call_unknown")) == (422, missing)
    assert error(world.client.get("/v2/get-call/a%2Fb")) == (422, missing)
    assert error(world.stop("call_unknown")) == (422, missing)
    assert error(world.client.get("/v2/nothing"))[0] == 404
    assert error(world.client.get("/v2/create-phone-call"))[0] == 404
    assert error(world.client.get("/get-concurrency", headers={"Authorization": "Bearer other"}))[0] == 401
    assert error(world.client.post("/v3/list-calls", content=b"{"))[0] == 400
    assert error(world.client.post("/v3/list-calls", json={"pagination_key": "abc"}))[0] == 400
    assert error(world.client.post("/v3/list-calls", json={"pagination_key": "MTI="}))[0] == 400
    assert error(world.create("555-0100")) == (400, "to_number must be in E.164 format.")
    assert error(world.create(from_number="100")) == (400, "from_number must be in E.164 format.")
    assert world.create(from_number="100", ignore_e164_validation=True).status_code == 201


# --- options ---


def test_durations_are_options() -> None:
    """Each duration moves its own stage."""
    world = World(dial_delay=10, ring_seconds=100, talk_seconds=1000, analysis_delay=10_000)
    call_id = world.register()["call_id"]
    call, start = world.simulator.calls[call_id], world.clock()
    times = [at - start for at in (call.dialed_at or math.nan, call.connected_at, call.ended_at, call.analyzed_at)]
    assert times == pytest.approx([10, 110, 1110, 11_110])


def test_scenario_is_chosen_by_mapping_then_digits_then_default() -> None:
    """A scripted number plays its script, a fictional one what its digits say, any other the default."""
    survey = replace(SCENARIOS["user_hangup"], talk_seconds=90, custom_analysis_data={"score": 7})
    world = World(scenario="dial_busy", numbers={"+4930123456": survey, ANSWERED: "user_declined"})

    def end_of(number: str) -> dict[str, Any]:
        call_id = world.create(number).json()["call_id"]
        world.clock.advance(100)
        return world.get(call_id)

    assert end_of("+4930123456")["call_analysis"]["custom_analysis_data"] == {"score": 7}
    assert end_of("+4930123456")["duration_ms"] == 90_000
    assert end_of(ANSWERED)["disconnection_reason"] == "user_declined"
    assert end_of(SCENARIOS["inactivity"].number)["disconnection_reason"] == "inactivity"
    assert end_of("+12025550189")["disconnection_reason"] == "dial_busy"
    assert end_of("+12025551100")["disconnection_reason"] == "dial_busy"
    with pytest.raises(ValueError, match="No scenario is called 'busy'"):
        Simulator(scenario="busy")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("12025550177", "*******0177"),
        ("2025550177", "******0177"),
        ("0012025550177", "*********0177"),
        ("+1 202 555 0177", "+* *** *** 0177"),
        ("+1-202-555-0177", "+*-***-***-0177"),
        (" +12025550177", " +*******0177"),
        ("+12025550177\n", "+*******0177\\n"),
        ("tel:+12025550177", "tel:+*******0177"),
        ("sip:+12025550177@example.com", "sip:+*******0177@example.com"),
        ("+02025550177", "+*******0177"),
        ("+1202555017712345", "+************2345"),
        ("+1\uff12\uff10\uff125550177", "+*******0177"),
        ("", ""),
    ],
)
def test_number_that_no_call_can_have_is_refused(number: str, shown: str) -> None:
    """A number in another form would never match a call: the error says how to write it, and masks it."""
    message = re.escape(f"'{shown}' is not a phone number in E.164 form. Write a plus, the country code and")
    simulator = Simulator()
    with pytest.raises(ValueError, match=message):
        simulator.play(number, "dial_busy")
    with pytest.raises(ValueError, match=message):
        Simulator(numbers={number: "dial_busy"})


def test_number_of_another_type_is_refused() -> None:
    """A number that was read from a table as an integer has lost its plus."""
    with pytest.raises(ValueError, match=r"'\*{7}0177' is not a phone number"):
        Simulator().play(12025550177, "dial_busy")  # type: ignore[arg-type]


def test_calls_to_a_number_play_its_scenarios_in_turn(world: World) -> None:
    """The first call is not answered, the second finds the line busy, the third and all others are answered."""
    scripted = ("dial_no_answer", SCENARIOS["dial_busy"], "user_hangup")
    options = World(numbers={"+4930123456": scripted})
    world.simulator.play("+4930123456", *scripted)
    for each in (world, options):
        ids = [each.create("+4930123456").json()["call_id"] for _ in range(4)]
        each.clock.advance(100)
        reasons = [each.get(call_id)["disconnection_reason"] for call_id in ids]
        assert reasons == ["dial_no_answer", "dial_busy", "user_hangup", "user_hangup"]
    with pytest.raises(ValueError, match="at least one scenario"):
        world.simulator.play("+4930123456")
    with pytest.raises(ValueError, match="Did you mean dial_busy"):
        world.simulator.play("+4930123456", "busy")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"over_limit": 429}, "over_limit is '429' or 'call', not 429"),
        ({"over_limit": "Call"}, "over_limit is '429' or 'call', not 'Call'"),
        ({"recording_link_seconds": -1}, "recording_link_seconds is -1"),
        ({"dial_delay": -0.1}, "dial_delay is -0.1"),
        ({"analysis_delay": math.nan}, "analysis_delay is nan"),
        ({"api_key": ""}, "api_key is empty"),
    ],
)
def test_option_that_makes_no_sense_is_refused(options: dict[str, Any], complaint: str) -> None:
    """An option that would be ignored, or would do something other than it says, is an error."""
    with pytest.raises(ValueError, match=complaint):
        Simulator(**options)


def test_clocks() -> None:
    """A manual clock moves only forward and only when advanced, a real one at its speed; any callable will do."""
    clock = ManualClock(100)
    clock.advance(5)
    assert clock() == 105
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
    real, fast = RealClock(), RealClock(speed=1_000_000)
    threading.Event().wait(0.001)
    assert real() <= fast() - 900
    with pytest.raises(ValueError, match="greater than 0"):
        RealClock(speed=0)
    assert Simulator(clock=lambda: 7.0).clock() == 7.0


# --- what can be observed ---


def test_requests_are_recorded_without_the_key(world: World) -> None:
    """Each request leaves a record in which the key is masked."""
    world.simulator.fail(Fault(endpoint="get-call", answer="drop"))
    call_id = world.create(metadata={"a": 1}).json()["call_id"]
    with pytest.raises(httpx.RemoteProtocolError):
        world.get(call_id)
    world.client.get("/nothing?x=1")
    created, got, unknown = world.simulator.requests
    assert (created.method, created.path, created.status) == ("POST", "/v2/create-phone-call", 201)
    assert created.json["metadata"] == {"a": 1}
    assert created.clock == world.clock()
    assert (got.endpoint, got.status, got.fault, got.json) == ("get-call", None, "drop", None)
    assert (unknown.endpoint, unknown.path, unknown.status, unknown.fault) == ("", "/nothing", 404, None)
    assert created.headers["authorization"] == "Bearer ***"
    assert world.simulator.api_key not in repr(world.simulator.requests)


def test_calls_show_what_happened(world: World) -> None:
    """`calls` has all of them in order, `placed` those that were created, `call` the object as it is now."""
    registered, created = world.register()["call_id"], world.create().json()["call_id"]
    assert list(world.simulator.calls) == [registered, created]
    assert [call.call_id for call in world.simulator.placed] == [created]
    assert world.simulator.calls[created].created_at == world.clock()
    assert world.simulator.call(created) == world.get(created)
    with pytest.raises(KeyError):
        world.simulator.call("call_unknown")


def test_call_can_be_registered_without_a_request(world: World) -> None:
    """A call that the test itself registers is like one that a request registered, but no request is recorded."""
    asked_for = world.register()
    by_hand = world.get(world.simulator.register({"agent_id": "agent_1", "to_number": ANSWERED}))
    assert {**by_hand, "call_id": ""} == {**asked_for, "call_id": ""}
    assert len(world.simulator.requests) == 2  # the other registration, and one get-call


def test_call_can_be_created_without_a_request(world: World) -> None:
    """A call that the test itself creates is like one that a request created, under the same key the same one."""
    asked_for = world.get(world.create(metadata={"n": 1}).json()["call_id"])
    body = {"from_number": FROM, "to_number": ANSWERED, "metadata": {"n": 1}}
    by_hand = world.get(world.simulator.create(body))
    assert {**by_hand, "call_id": ""} == {**asked_for, "call_id": ""}
    assert len({world.simulator.create({**body, "idempotency_key": "a"}) for _ in range(2)}) == 1
    assert len(world.simulator.placed) == 3
    assert len(world.simulator.requests) == 3  # the other creation, and two get-calls


def test_call_over_the_limit_cannot_be_created_without_a_request() -> None:
    """A test is refused the call that a request would be refused."""
    world = World(concurrency_limit=1)
    world.create()
    with pytest.raises(ValueError, match="429"):
        world.simulator.create({"from_number": FROM, "to_number": ANSWERED})
    assert len(world.simulator.placed) == 1


def test_threads_share_a_simulator() -> None:
    """Calls placed at the same time from many threads are all there, each with its own id."""
    world = World(concurrency_limit=1000)
    threads = [threading.Thread(target=lambda: [world.create() for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.simulator.placed) == len(world.simulator.requests) == 160


def test_async_transport_never_blocks_the_loop() -> None:
    """An asynchronous client gets the same responses, and the event loop is never blocked."""

    async def run() -> dict[str, Any]:
        simulator = Simulator(clock=ManualClock())
        key = {"Authorization": f"Bearer {simulator.api_key}"}
        async with httpx.AsyncClient(transport=simulator, base_url="http://retell", headers=key) as client:
            answer = await client.post("/v2/register-phone-call", json={"agent_id": "a"})
            return answer.json()

    with blockbuster_ctx():
        assert asyncio.run(run())["call_status"] == "registered"
