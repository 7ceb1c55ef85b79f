"""Test calls that come in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from airflow_provider_retell.simulator import SCENARIOS, ManualClock, Simulator
from airflow_provider_retell.simulator.__main__ import CallReporter, parse
from airflow_provider_retell.simulator.callers import Callers

PERSON = SCENARIOS["user_hangup"].number


def _listed(simulator: Simulator, **criteria: Any) -> list[str]:
    headers = {"authorization": f"Bearer {simulator.api_key}"}
    with httpx.Client(transport=simulator, base_url="http://retell", headers=headers) as client:
        answer = client.post("/v3/list-calls", json={"filter_criteria": criteria}).raise_for_status()
        return [call["call_id"] for call in answer.json()["items"]]


def test_inbound_call_is_answered_at_once(simulator: Simulator, time: ManualClock) -> None:
    """The call is ongoing from the first moment, inbound, and plays what calls to the person's number play."""
    call_id = simulator.ring_in(PERSON, metadata={"k": "v"})
    call = simulator.call(call_id)
    assert (call["call_status"], call["direction"]) == ("ongoing", "inbound")
    assert (call["from_number"], call["to_number"]) == (PERSON, "+12025550199")
    assert (call["agent_id"], call["metadata"]) == ("agent_reception", {"k": "v"})
    assert call["start_timestamp"] == round(time() * 1000)
    time.advance(20)
    assert simulator.call(call_id)["disconnection_reason"] == "user_hangup"
    assert not simulator.placed
    assert _listed(simulator, direction={"type": "enum", "op": "in", "value": ["inbound"]}) == [call_id]


def test_inbound_call_can_be_scripted(simulator: Simulator, time: ManualClock) -> None:
    """The call plays the script of the person's number, or a scenario of its own, with its own length."""
    simulator.play(PERSON, "inactivity")
    by_script = simulator.ring_in(PERSON, to_number="+14155550100", agent_id="agent_2")
    own = simulator.ring_in(PERSON, scenario=replace(SCENARIOS["call_transfer"], talk_seconds=7))
    named = simulator.ring_in(PERSON, scenario="user_requested_callback")
    time.advance(100)
    calls = [simulator.call(call_id) for call_id in (by_script, own, named)]
    assert [call["disconnection_reason"] for call in calls] == [
        *("inactivity", "call_transfer", "user_requested_callback"),
    ]
    assert (calls[0]["to_number"], calls[0]["agent_id"]) == ("+14155550100", "agent_2")
    assert calls[1]["duration_ms"] == 7000


@pytest.mark.parametrize(
    ("from_number", "to_number"), [("12025550101", PERSON), ("anonymous", PERSON), (PERSON, "2025550199")]
)
def test_inbound_call_needs_numbers_that_calls_have(
    from_number: str, to_number: str, simulator: Simulator
) -> None:
    """A number without its plus is refused, because no filter would match it; so is an unknown scenario."""
    with pytest.raises(ValueError, match=r"not a phone number in E\.164 form"):
        simulator.ring_in(from_number, to_number=to_number)
    with pytest.raises(ValueError, match="No scenario is called 'hello'"):
        simulator.ring_in(PERSON, scenario="hello")
    assert not simulator.calls


def test_callers_ring_in_at_intervals(simulator: Simulator, time: ManualClock) -> None:
    """One call comes in for each interval that has passed; the callers are the same each time."""
    callers = Callers(simulator, seconds=10)
    callers.ring()
    assert not simulator.calls
    time.advance(10)
    callers.ring()
    callers.ring()
    assert len(simulator.calls) == 1
    time.advance(35)
    callers.ring()
    assert len(simulator.calls) == 4
    again = Simulator(clock=time)
    more = Callers(again, seconds=10)
    time.advance(40)
    more.ring()
    assert [call.person for call in again.calls.values()] == [call.person for call in simulator.calls.values()]
    time.advance(100)
    assert {simulator.call(call_id)["call_status"] for call_id in simulator.calls} == {"ended"}


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_callers_need_an_interval(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The interval is finite and greater than 0: otherwise calls would never, or without end, come in."""
    with pytest.raises(SystemExit):
        parse(["--ring-in", seconds])
    assert "intervals longer than 0 seconds" in capsys.readouterr().err


def test_the_command_line_lets_people_ring_in() -> None:
    """`--ring-in` lets calls come in, and the program reports them with the last digits of the person's number."""
    chosen, simulator = parse(["--ring-in", "1", "--speed", "1000"])
    reporter = CallReporter(simulator)
    assert chosen.callers
    while not simulator.calls:
        chosen.callers.ring()
    begun, *_ = reporter.lines()
    person = next(iter(simulator.calls.values())).person
    assert person
    assert begun.endswith(f" from ...{person[-4:]}: inbound")
    assert parse([])[0].callers is None
