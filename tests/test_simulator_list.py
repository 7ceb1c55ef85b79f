from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_retell.simulator import SCENARIOS, ManualClock, Simulator

ANSWERED = SCENARIOS["agent_hangup"].number
TRANSCRIPTS = {
    "transcript",
    "transcript_object",
    "transcript_with_tool_calls",
    "scrubbed_transcript_with_tool_calls",
}


@pytest.fixture
def client(simulator: Simulator) -> httpx.Client:
    return _client(simulator)


def _client(simulator: Simulator) -> httpx.Client:
    key = {"Authorization": f"Bearer {simulator.api_key}"}
    return httpx.Client(transport=simulator, base_url="https://api.retellai.com", headers=key)


def _register(client: httpx.Client, to_number: str = ANSWERED, **more: Any) -> str:
    body = {"agent_id": "agent_1", "to_number": to_number, **more}
    return client.post("/v2/register-phone-call", json=body).json()["call_id"]


def _registered(client: httpx.Client, time: ManualClock, count: int) -> list[str]:
    """Register calls a second apart, let them end, and return their ids."""
    ids = []
    for _ in range(count):
        ids.append(_register(client))
        time.advance(1)
    time.advance(100)
    return ids


def _list(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v3/list-calls", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _found(client: httpx.Client, **criteria: Any) -> list[str]:
    return [call["call_id"] for call in _list(client, filter_criteria=criteria)["items"]]


def _enum(*values: str) -> dict[str, Any]:
    return {"type": "enum", "op": "in", "value": values}


def _string(op: str, value: str) -> dict[str, Any]:
    return {"type": "string", "op": op, "value": value}


def _number(op: str, value: float) -> dict[str, Any]:
    return {"type": "number", "op": op, "value": value}


def _range(low: float, high: float) -> dict[str, Any]:
    return {"type": "range", "op": "bt", "value": [low, high]}


def _true() -> dict[str, Any]:
    return {"type": "boolean", "op": "eq", "value": True}


def _present(op: str) -> dict[str, Any]:
    return {"type": "present", "op": op}


def test_pages_show_each_call_once(client: httpx.Client, time: ManualClock) -> None:
    """Following `pagination_key` shows each call once, the latest start first; the last page has no key."""
    ids = _registered(client, time, 7)
    pages = [_list(client, limit=3, include_total=True)]
    while pages[-1]["has_more"]:
        pages.append(_list(client, limit=3, include_total=True, pagination_key=pages[-1]["pagination_key"]))
    shown = [[call["call_id"] for call in page["items"]] for page in pages]
    assert shown == [ids[:3:-1], ids[3:0:-1], ids[:1]]
    assert [page["total"] for page in pages] == [7, 7, 7]
    assert "pagination_key" not in pages[-1]


def test_pages_do_not_shift_when_calls_are_added(client: httpx.Client, time: ManualClock) -> None:
    """A call that starts between two pages neither repeats nor hides another."""
    ids = _registered(client, time, 4)
    first = _list(client, limit=2)
    _register(client)
    time.advance(100)
    second = _list(client, limit=2, pagination_key=first["pagination_key"])
    assert [call["call_id"] for call in first["items"] + second["items"]] == ids[::-1]


def test_order_and_skip(client: httpx.Client, time: ManualClock) -> None:
    """In ascending order the pages begin with the earliest start; `skip` leaves out the first calls."""
    ids = _registered(client, time, 7)
    first = _list(client, limit=3, sort_order="ascending")
    rest = _list(client, sort_order="ascending", pagination_key=first["pagination_key"])
    assert [call["call_id"] for call in first["items"] + rest["items"]] == ids
    assert [call["call_id"] for call in _list(client, skip=5)["items"]] == ids[1::-1]
    assert "total" not in rest


def test_fifty_by_default(client: httpx.Client, time: ManualClock) -> None:
    """The default limit is 50, even if a filter names more ids."""
    ids = [_register(client) for _ in range(51)]
    time.advance(100)
    assert len(_found(client, call_id=_enum(*ids))) == 50
    assert len(_list(client, filter_criteria={"call_id": _enum(*ids)}, limit=51)["items"]) == 51


def test_body_is_optional(client: httpx.Client) -> None:
    """A request without a body lists the first page of all calls."""
    assert client.post("/v3/list-calls").json() == {"items": [], "has_more": False}


def test_items_are_calls_without_transcripts(client: httpx.Client, time: ManualClock) -> None:
    """An item is what get-call returns, without the transcripts."""
    call_id = _register(client)
    time.advance(100)
    (item,) = _list(client)["items"]
    call = client.get(f"/v2/get-call/{call_id}").json()
    assert item == {field: call[field] for field in call if field not in TRANSCRIPTS}
    assert call.keys() - item.keys() == TRANSCRIPTS


@pytest.mark.parametrize("list_registered", [False, True])
def test_registered_calls_are_listed_only_on_request(list_registered: bool, time: ManualClock) -> None:
    """Retell does not say whether it lists registered calls, so an option decides."""
    client = _client(Simulator(clock=time, list_registered=list_registered))
    call_id = _register(client)
    named = _enum(call_id, "call_unknown", call_id)
    assert _found(client, call_id=named) == ([call_id] if list_registered else [])
    time.advance(5)
    assert _found(client, call_id=named) == [call_id]


def test_registered_calls_are_not_listed_by_default(client: httpx.Client) -> None:
    """By default, as the harder case, registered calls are not listed."""
    _register(client)
    assert _found(client) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (_string("eq", "abc"), ["text"]),
        (_string("ne", "abd"), ["text"]),
        (_string("ne", "abc"), []),
        (_string("sw", "ab"), ["text"]),
        (_string("ew", "bc"), ["text"]),
        (_string("co", "b"), ["text"]),
        (_enum("x", "abc"), ["text"]),
        (_number("eq", 3), ["number"]),
        (_number("ne", 3), []),
        (_number("gt", 3), []),
        (_number("ge", 3), ["number"]),
        (_number("lt", 4), ["number"]),
        (_number("le", 2), []),
        (_number("le", 3), ["number"]),
        (_range(1, 3), ["number"]),
        (_range(4, 5), []),
        (_true(), ["flag"]),
        (_present("pr"), ["flag", "number", "text"]),
        (_present("np"), ["none"]),
    ],
)
def test_metadata_filter(
    wanted: dict[str, Any], found: list[str], client: httpx.Client, time: ManualClock
) -> None:
    """A metadata filter looks at one top-level key, and only at values of its own type."""
    names = {
        _register(client): "none",
        _register(client, metadata={"k": "abc"}): "text",
        _register(client, metadata={"k": 3}): "number",
        _register(client, metadata={"k": True}): "flag",
    }
    time.advance(100)
    assert sorted(names[call_id] for call_id in _found(client, metadata=[{"key": "k", **wanted}])) == found


def test_filters_are_connected_by_and(client: httpx.Client, time: ManualClock) -> None:
    """A call is listed if all filters match, including those of its metadata."""
    one = _register(client, metadata={"a": "1", "b": "1"})
    _register(client, metadata={"a": "1"})
    time.advance(100)
    both = [{"key": "a", **_string("eq", "1")}, {"key": "b", **_string("eq", "1")}]
    assert _found(client, metadata=both) == [one]
    assert _found(client, metadata=both, call_status=_enum("error")) == []


def test_every_filter_finds_its_call(client: httpx.Client, time: ManualClock) -> None:
    """Each filter picks the calls it describes."""
    busy = _register(client, SCENARIOS["dial_busy"].number, agent_id="agent_2", direction="outbound")
    time.advance(100)
    voicemail = _register(
        client,
        SCENARIOS["voicemail_reached"].number,
        agent_version=7,
        from_number="+4930",
        direction="inbound",
        retell_llm_dynamic_variables={"who": "Ada"},
    )
    time.advance(100)
    answered = _register(client, agent_version="prod")
    time.advance(100)
    talking = _register(client)
    time.advance(6)
    call = client.get(f"/v2/get-call/{answered}").json()
    start, end = call["start_timestamp"], call["end_timestamp"]
    everyone = [talking, answered, voicemail, busy]
    expectations: list[tuple[dict[str, Any], list[str]]] = [
        ({"call_id": _string("ew", busy[-12:])}, [busy]),
        ({"call_id": _enum(busy, answered)}, [answered, busy]),
        ({"call_status": _enum("ongoing", "not_connected")}, [talking, busy]),
        ({"disconnection_reason": _enum("dial_busy", "dial_failed")}, [busy]),
        ({"agent": [{"agent_id": "agent_2"}, {"agent_id": "agent_3"}]}, [busy]),
        ({"agent": [{"agent_id": "agent_1", "version": [6, 7]}]}, [voicemail]),
        ({"agent_tag": _enum("prod")}, [answered]),
        ({"batch_call_id": _string("eq", "batch_1")}, []),
        ({"from_number": _string("eq", "+4930")}, [voicemail]),
        ({"to_number": _string("eq", SCENARIOS["dial_busy"].number)}, [busy]),
        ({"direction": _enum("inbound")}, [voicemail]),
        ({"call_type": _enum("phone_call"), "data_storage_setting": _enum("everything")}, everyone),
        ({"call_type": _enum("web_call")}, []),
        ({"data_storage_setting": _enum("basic_attributes_only")}, []),
        ({"start_timestamp": _number("eq", start)}, [answered]),
        ({"start_timestamp": _range(start - 5, start + 5)}, [answered]),
        ({"end_timestamp": _number("ge", end)}, [answered]),
        ({"duration_ms": _number("gt", 0)}, [answered, voicemail]),
        ({"combined_cost": _number("gt", 0)}, [answered, voicemail]),
        ({"e2e_latency_p50": _number("gt", 0)}, [answered, voicemail]),
        ({"in_voicemail": _true()}, [voicemail]),
        ({"call_successful": _true()}, [answered]),
        ({"user_sentiment": _enum("Positive")}, [answered]),
        ({"dynamic_variables": [{"key": "who", **_string("eq", "Ada")}]}, [voicemail]),
        ({"custom_analysis_data": [{"key": "satisfaction", **_number("ge", 4)}]}, [answered]),
    ]
    for criteria, found in expectations:
        assert _found(client, **criteria) == found, criteria


def test_naming_ids_does_not_go_through_all_calls(time: ManualClock, functions_run: Any) -> None:
    """A poll that names its ids costs the same however many other calls there are."""

    def cost(calls: int) -> int:
        simulator = Simulator(clock=time)
        ids = [simulator.register({"agent_id": "agent_1", "to_number": ANSWERED}) for _ in range(calls)]
        time.advance(100)
        client = _client(simulator)
        return functions_run(lambda: _found(client, call_id=_enum(*ids[:5])))

    assert cost(1000) == pytest.approx(cost(10), rel=0.05)


@pytest.mark.parametrize("list_registered", [False, True])
def test_list_can_lag_behind(list_registered: bool, time: ManualClock) -> None:
    """With a lag, the list shows calls as they were, and no later ones; get-call shows them as they are."""
    simulator = Simulator(clock=time, list_lag=5, list_registered=list_registered)
    client = _client(simulator)
    call_id = simulator.ring_in(ANSWERED)
    named = {"call_id": _enum(call_id)}

    def statuses() -> list[str]:
        return [call["call_status"] for call in _list(client, filter_criteria=named)["items"]]

    assert (simulator.call(call_id)["call_status"], statuses(), _found(client)) == ("ongoing", [], [])
    time.advance(5)
    assert (statuses(), _found(client)) == (["ongoing"], [call_id])
    client.post(f"/v2/stop-call/{call_id}")
    time.advance(4.9)
    assert (simulator.call(call_id)["call_status"], statuses()) == ("ended", ["ongoing"])
    time.advance(0.1)
    assert statuses() == ["ended"]


def test_looking_for_few_of_many_calls_costs_little(time: ManualClock, functions_run: Any) -> None:
    """A filter of the metadata is applied before the call object is made, which costs ten times as much."""
    simulator = Simulator(clock=time)
    for number in range(1000):
        simulator.register({"agent_id": "agent_1", "metadata": {"airflow_call": f"run1person{number:04}"}})
    time.advance(100)
    client = _client(simulator)

    def cost(prefix: str, found: int) -> int:
        wanted = [{"key": "airflow_call", **_string("sw", prefix)}]

        def look() -> None:
            assert len(_list(client, filter_criteria={"metadata": wanted}, limit=1000)["items"]) == found

        return functions_run(look)

    assert 5 * cost("run1person0123", 1) < cost("run1", 1000)
