"""Test contacts, and that calls can be updated, analyzed again and deleted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_retell.simulator import SCENARIOS, ManualClock, Simulator

NOW = 1_767_312_000.0
FROM = "+12025550199"
ANSWERED = SCENARIOS["agent_hangup"].number
ASKING = SCENARIOS["user_requested_dnc"].number
UNKNOWN = "Cannot find requested asset under given api key."


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def simulator(clock: ManualClock) -> Simulator:
    return Simulator(clock=clock)


@pytest.fixture
def client(simulator: Simulator) -> httpx.Client:
    headers = {"authorization": f"Bearer {simulator.api_key}"}
    return httpx.Client(transport=simulator, base_url="http://retell", headers=headers)


def _create(client: httpx.Client, to_number: str = ANSWERED, **more: Any) -> httpx.Response:
    return client.post("/v2/create-phone-call", json={"from_number": FROM, "to_number": to_number, **more})


def _contacts(client: httpx.Client, **body: Any) -> list[str]:
    return [each["phone_number"] for each in client.post("/list-contacts", json=body).json()["items"]]


# --- contacts ---


def test_contact_that_must_not_be_called_is_not_if_the_request_says_so(
    simulator: Simulator, client: httpx.Client
) -> None:
    """`honor_internal_dnc` refuses with 400 and places nothing; without it, or for others, the call is placed."""
    simulator.put_contact(ANSWERED, do_not_call=True)
    simulator.put_contact("+14155550100")
    refused = _create(client, honor_internal_dnc=True)
    assert (refused.status_code, refused.json()["status"]) == (400, "error")
    assert not simulator.calls
    assert _create(client).status_code == 201
    assert _create(client, "+14155550100", honor_internal_dnc=True).status_code == 201
    simulator.put_contact(ANSWERED)
    assert _create(client, honor_internal_dnc=True).status_code == 201


def test_person_who_asks_not_to_be_called_becomes_such_a_contact(
    simulator: Simulator, client: httpx.Client, clock: ManualClock
) -> None:
    """The wish counts once the call is over, in both directions; names stay, and the contact can be reset."""
    simulator.put_contact(ASKING, first_name="Ada")
    _create(client, ASKING)
    caller = ASKING.replace("202", "415")
    simulator.ring_in(caller)
    assert client.get(f"/get-contact-by-phone/{caller}").status_code == 422
    clock.advance(100)
    ada, other = (client.get(f"/get-contact-by-phone/{number}").json() for number in (ASKING, caller))
    assert (ada["first_name"], ada["do_not_call"], other["do_not_call"]) == ("Ada", True, True)
    assert other["created_timestamp"] == round((NOW + 20) * 1000)
    assert _create(client, ASKING, honor_internal_dnc=True).status_code == 400
    simulator.put_contact(ASKING)
    assert _create(client, ASKING, honor_internal_dnc=True).status_code == 201


def test_contact_that_is_put_later_counts(simulator: Simulator, client: httpx.Client, clock: ManualClock) -> None:
    """A contact that is put after the call replaces the wish, even if no request has read it in between."""
    _create(client, ASKING)
    clock.advance(100)
    simulator.put_contact(ASKING)
    assert _create(client, ASKING, honor_internal_dnc=True).status_code == 201


def test_call_that_was_stopped_or_deleted_makes_no_contact(
    simulator: Simulator, client: httpx.Client, clock: ManualClock
) -> None:
    """The person could not ask any more, or the call and its data are gone."""
    stopped, deleted = (_create(client, ASKING).json()["call_id"] for _ in range(2))
    clock.advance(10)
    client.post(f"/v2/stop-call/{stopped}")
    client.delete(f"/v2/delete-call/{deleted}")
    clock.advance(100)
    assert client.get(f"/get-contact-by-phone/{ASKING}").status_code == 422


def test_contact_is_found_by_its_number_in_every_spelling_of_a_path(
    simulator: Simulator, client: httpx.Client
) -> None:
    """The plus may be percent-encoded; for an unknown number the status is 422."""
    simulator.put_contact(ANSWERED, first_name="Ada", last_name="Byron", custom_fields={"plan": "gold"})
    plain = client.get(f"/get-contact-by-phone/{ANSWERED}").json()
    assert client.get(f"/get-contact-by-phone/{ANSWERED.replace('+', '%2B')}").json() == plain
    assert plain == {
        "contact_id": plain["contact_id"],
        "org_id": "org_simulated",
        "created_timestamp": round(NOW * 1000),
        "phone_number": ANSWERED,
        "do_not_call": False,
        "custom_fields": {"plan": "gold"},
        "first_name": "Ada",
        "last_name": "Byron",
    }
    unknown = client.get("/get-contact-by-phone/+14155550100")
    assert (unknown.status_code, unknown.json()["message"]) == (422, UNKNOWN)
    with pytest.raises(ValueError, match=r"not a phone number in E\.164 form"):
        simulator.put_contact("12025550101")


def test_contacts_are_listed_page_by_page(simulator: Simulator, client: httpx.Client, clock: ManualClock) -> None:
    """Each contact is listed once, the newest first by default, with the number of all that match."""
    numbers = [f"+1{area}5550100" for area in range(201, 208)]
    for number in numbers:
        simulator.put_contact(number)
        clock.advance(1)
    pages = [client.post("/list-contacts", json={"limit": 3}).json()]
    while pages[-1]["has_more"]:
        body = {"limit": 3, "pagination_key": pages[-1]["pagination_key"]}
        pages.append(client.post("/list-contacts", json=body).json())
    shown = [each["phone_number"] for page in pages for each in page["items"]]
    assert shown == numbers[::-1]
    assert [page["total"] for page in pages] == [7, 7, 7]
    assert "pagination_key" not in pages[-1]
    assert _contacts(client, sort_order="asc", skip=5) == numbers[5:]
    first = client.post("/list-contacts", json={"limit": 5, "sort_order": "asc"}).json()
    assert _contacts(client, sort_order="asc", pagination_key=first["pagination_key"]) == numbers[5:]
    assert client.post("/list-contacts").json()["total"] == 7


def test_contacts_are_filtered_and_searched(simulator: Simulator, client: httpx.Client) -> None:
    """Each simulated filter works; one that is not simulated is refused with 400 and not ignored."""
    simulator.put_contact("+12015550100", do_not_call=True, first_name="Ada")
    simulator.put_contact("+12025550100", custom_fields={"plan": "gold"})
    ada, grace = "+12015550100", "+12025550100"
    contact_id = client.get(f"/get-contact-by-phone/{ada}").json()["contact_id"]
    criteria: list[tuple[dict[str, Any], list[str]]] = [
        ({"do_not_call": {"type": "boolean", "op": "eq", "value": True}}, [ada]),
        ({"do_not_call": {"type": "boolean", "op": "eq", "value": False}}, [grace]),
        ({"phone_number": {"type": "string", "op": "sw", "value": "+1202"}}, [grace]),
        ({"contact_id": {"type": "string", "op": "eq", "value": contact_id}}, [ada]),
        ({"custom_fields": [{"key": "plan", "type": "string", "op": "eq", "value": "gold"}]}, [grace]),
    ]
    for wanted, found in criteria:
        assert _contacts(client, filter_criteria=wanted) == found, wanted
    for text, found in (("ADA", [ada]), ("gold", [grace]), ("1201", [ada]), ("nobody", [])):
        assert _contacts(client, search_query=text) == found
    assert _contacts(client, excluded_contact_ids=[contact_id]) == [grace]
    tags = {"contact_tag_ids": {"type": "enum", "op": "in", "value": ["t"]}}
    for body in ({"filter_criteria": tags}, {"limit": 0}, {"pagination_key": "abc"}, {"sort_order": "up"}):
        assert client.post("/list-contacts", json=body).status_code == 400, body


# --- calls that are over ---


def test_update_replaces_fields_of_a_call_that_is_over(
    simulator: Simulator, client: httpx.Client, clock: ManualClock
) -> None:
    """The new metadata replaces the old, filters match it, and attributes that are not defined are ignored."""
    call_id = _create(client, metadata={"a": "1"}).json()["call_id"]
    assert client.patch(f"/v2/update-call/{call_id}", json={"metadata": {"b": "2"}}).status_code == 400
    clock.advance(100)
    body = {"metadata": {"b": "2"}, "custom_attributes": {"x": 1}, "data_storage_setting": "everything_except_pii"}
    answer = client.patch(f"/v2/update-call/{call_id}", json=body)
    assert answer.status_code == 200
    assert answer.json() == client.get(f"/v2/get-call/{call_id}").json()
    assert answer.json()["metadata"] == {"b": "2"}
    assert answer.json()["data_storage_setting"] == "everything_except_pii"
    assert "custom_attributes" not in answer.json()
    wanted = {"metadata": [{"key": "b", "type": "string", "op": "eq", "value": "2"}]}
    (item,) = client.post("/v3/list-calls", json={"filter_criteria": wanted}).json()["items"]
    assert item["call_id"] == call_id
    assert simulator.calls[call_id].request["metadata"] == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"metadata": {"k": "x" * 50_000}}, "metadata must not be larger than 50kB."),
        ({"data_storage_setting": "everything"}, "data_storage_setting cannot be downgraded"),
        ({"data_storage_setting": "nothing"}, "request/body/data_storage_setting must be equal to one of"),
        ({"metadata": "text"}, "request/body/metadata must be object"),
        ({"custom_attributes": {"x": []}}, "request/body/custom_attributes/x must match exactly one schema"),
        ({"override_dynamic_variables": {}}, "request/body must NOT have additional properties"),
    ],
)
def test_update_that_is_not_allowed_changes_nothing(
    body: dict[str, Any], complaint: str, client: httpx.Client, clock: ManualClock
) -> None:
    """The status is 400, with the reason."""
    call_id = _create(client, metadata={"a": 1}).json()["call_id"]
    clock.advance(100)
    restricted = {"data_storage_setting": "basic_attributes_only"}
    before = client.patch(f"/v2/update-call/{call_id}", json=restricted).json()
    answer = client.patch(f"/v2/update-call/{call_id}", json=body)
    assert answer.status_code == 400
    assert (answer.json().get("message") or answer.json()["error_message"]).startswith(complaint)
    assert client.get(f"/v2/get-call/{call_id}").json() == before


def test_analysis_can_be_made_again(simulator: Simulator, client: httpx.Client, clock: ManualClock) -> None:
    """A late analysis is there at once; before the end of a call there is nothing to analyze."""
    late, never = (
        _create(client, SCENARIOS[name].number).json()["call_id"] for name in ("analyzed_late", "never_analyzed")
    )
    assert client.put(f"/rerun-call-analysis/{late}").status_code == 400
    clock.advance(100)
    assert "call_analysis" not in client.get(f"/v2/get-call/{late}").json()
    answer = client.put(f"/rerun-call-analysis/{late}")
    assert (answer.status_code, answer.json()["call_analysis"]["call_successful"]) == (200, True)
    assert client.get(f"/v2/get-call/{late}").json() == answer.json()
    assert simulator.calls[late].reruns == 1
    assert "call_analysis" not in client.put(f"/rerun-call-analysis/{never}").json()


def test_deleted_call_is_gone(simulator: Simulator, client: httpx.Client, clock: ManualClock) -> None:
    """The status is 204, without a body; the call is in no list any more."""
    call_id, other = (_create(client).json()["call_id"] for _ in range(2))
    clock.advance(100)
    answer = client.delete(f"/v2/delete-call/{call_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert list(simulator.calls) == [other]
    assert [each["call_id"] for each in client.post("/v3/list-calls").json()["items"]] == [other]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/get-call/"),
        ("PATCH", "/v2/update-call/"),
        ("DELETE", "/v2/delete-call/"),
        ("PUT", "/rerun-call-analysis/"),
    ],
)
def test_call_that_does_not_exist(method: str, path: str, client: httpx.Client) -> None:
    """The status is 422, whatever is to be done with the call."""
    answer = client.request(method, f"{path}call_unknown")
    assert (answer.status_code, answer.json()["message"]) == (422, UNKNOWN)
