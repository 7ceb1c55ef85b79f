"""Test calls of the past, recordings and agents, which exports need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_retell.simulator import Fault, ManualClock, Simulator
from airflow_provider_retell.simulator.__main__ import CallReporter, parse

NOW = 1_767_312_000.0  # 2026-01-02, midnight
HEADERS = {"authorization": "Bearer key_simulator"}


@pytest.fixture
def simulator() -> Simulator:
    """A simulator with a thousand calls of the past."""
    simulator = Simulator(clock=ManualClock(NOW), recording_link_seconds=600)
    simulator.seed(1000)
    return simulator


@pytest.fixture
def client(simulator: Simulator) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(transport=simulator, base_url="http://simulator", headers=HEADERS) as client:
        yield client


def pages(client: httpx.Client, **body: Any) -> Iterator[list[dict[str, Any]]]:
    """Return the pages of a list."""
    while True:
        answer = client.post("/v3/list-calls", json=body).raise_for_status().json()
        yield answer["items"]
        if not answer["has_more"]:
            return
        body["pagination_key"] = answer["pagination_key"]


def test_the_same_seed_makes_the_same_calls(simulator: Simulator) -> None:
    """The same count gives the same calls at the same time; another count gives other calls."""
    again, more = Simulator(clock=ManualClock(NOW)), Simulator(clock=ManualClock(NOW))
    again.seed(1000)
    more.seed(1001)
    assert [again.call(i) for i in again.calls] == [
        {**simulator.call(i), "opt_in_signed_url": False} for i in simulator.calls
    ]
    assert not set(more.calls) & set(simulator.calls)


def test_seeded_calls_are_over_and_of_many_kinds(simulator: Simulator) -> None:
    """All calls ended within the given days: inbound and outbound, answered and not, of three agents."""
    calls = [simulator.call(call_id) for call_id in simulator.calls]
    assert {call["call_status"] for call in calls} == {"ended", "error", "not_connected"}
    assert len({call.get("disconnection_reason") for call in calls}) > 20
    assert len({call["agent_id"] for call in calls}) == 3
    assert set(Counter(call["direction"] for call in calls)) == {"inbound", "outbound"}
    starts = [call["start_timestamp"] / 1000 for call in calls if "start_timestamp" in call]
    assert min(starts) >= NOW - 2 * 86400
    assert max(starts) < NOW - 7000
    hours = Counter(int(start % 86400 // 3600) for start in starts)
    assert hours[10] > 20 * hours[3]
    numbers = {call[field] for call in calls for field in ("from_number", "to_number")}
    assert all(number[5:10] == "55501" for number in numbers)


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("criteria", [{}, {"start_timestamp": {"type": "range", "op": "bt", "value": [0, 0]}}])
def test_pages_make_up_the_whole(
    simulator: Simulator, client: httpx.Client, order: str, criteria: dict[str, Any]
) -> None:
    """Each call is on exactly one page, in the requested order, also with a filter of the start."""
    if criteria:
        middle = sorted(call.connected_at for call in simulator.calls.values())[400]
        criteria["start_timestamp"]["value"] = [round(middle * 1000), round(NOW * 1000)]
    listed = [
        call for page in pages(client, limit=70, sort_order=order, filter_criteria=criteria) for call in page
    ]
    wanted = {
        call_id
        for call_id, call in simulator.calls.items()
        if not criteria or middle <= call.connected_at < float("inf")
    }
    assert {call["call_id"] for call in listed} == wanted
    assert len(listed) == len(wanted)
    starts = [call["start_timestamp"] for call in listed if "start_timestamp" in call]
    assert starts == sorted(starts, reverse=order == "descending")


def test_new_calls_join_the_list(simulator: Simulator, client: httpx.Client) -> None:
    """A list shows the calls that were placed, ended or deleted since the last one."""
    assert sum(map(len, pages(client, limit=1000))) == 1000
    body = {"from_number": "+12025550199", "to_number": "+12025550100"}
    call_id = client.post("/v2/create-phone-call", json=body).json()["call_id"]
    simulator.clock.advance(10)  # type: ignore[attr-defined]
    assert [call["call_status"] for call in next(pages(client, limit=1))] == ["ongoing"]
    simulator.clock.advance(100)  # type: ignore[attr-defined]
    (first,) = next(pages(client, limit=1))
    assert (first["call_id"], first["call_status"]) == (call_id, "ended")
    simulator.delete(call_id)
    assert call_id not in {call["call_id"] for page in pages(client, limit=1000) for call in page}
    assert client.get(f"/v2/get-call/{call_id}").status_code == 422


def test_agents_are_those_of_the_calls(client: httpx.Client) -> None:
    """An agent of a call is known, any other is not."""
    assert client.get("/get-agent/agent_surveys").json()["agent_id"] == "agent_surveys"
    assert client.get("/get-agent/agent_mistyped").status_code == 422


def test_links_to_recordings_expire(simulator: Simulator, client: httpx.Client) -> None:
    """A link is valid without a key, for the given time; then another read of the call gives a new one."""
    call_id = next(call["call_id"] for call in next(pages(client, limit=50)) if "recording_url" in call)
    with httpx.Client(transport=simulator) as stranger:
        old = client.get(f"/v2/get-call/{call_id}").json()["recording_url"]
        recording = stranger.get(old)
        assert (recording.status_code, recording.content[:4]) == (200, b"RIFF")
        simulator.clock.advance(601)  # type: ignore[attr-defined]
        assert stranger.get(old).status_code == 403
        new = client.get(f"/v2/get-call/{call_id}").json()["recording_url"]
        assert stranger.get(new).content == recording.content
        simulator.fail(Fault(endpoint="recording", answer=503))
        assert stranger.get(new).status_code == 503


def test_life_of_links_can_be_changed(simulator: Simulator, client: httpx.Client) -> None:
    """Links can be made to expire sooner or to lead nowhere while the simulator is in use."""
    call_id = next(call["call_id"] for call in next(pages(client, limit=50)) if "recording_url" in call)
    simulator.recording_link_seconds = 5
    link = client.get(f"/v2/get-call/{call_id}").json()["recording_url"]
    simulator.clock.advance(6)  # type: ignore[attr-defined]
    assert client.get(link).status_code == 403
    simulator.recording_link_seconds = None
    assert (
        client.get(f"/v2/get-call/{call_id}").json()["recording_url"].startswith("https://files.retell.invalid/")
    )
    with pytest.raises(ValueError, match="recording_link_seconds is -1"):
        simulator.recording_link_seconds = -1


def test_the_command_line_seeds() -> None:
    """The calls are there from the start, go back as far as the option says, and are not reported."""
    _, simulator = parse(["--seed", "50", "--seed-days", "0.5", "--recording-link-seconds", "60"])
    assert len(simulator.calls) == 50
    assert min(call.created_at for call in simulator.calls.values()) > simulator.clock() - 43_300
    assert not list(CallReporter(simulator).lines())
