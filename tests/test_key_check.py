from __future__ import annotations

from typing import Any

import httpx
import pytest

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import RetellError
from airflow_provider_retell.provider.key_check import check_key, explained
from airflow_provider_retell.simulator import Fault, Simulator

KEY, HOST = "key_simulator", "https://api.retellai.com"
CREATE = {"from_number": "+12025550199", "to_number": "+12025550100"}


def pressed(transport: httpx.BaseTransport, **settings: Any) -> tuple[bool, str]:
    """Press the button: one attempt of each request, and what a person reads then."""
    fields = ConnectionSettings(**{"api_key": KEY, "max_attempts": 1, **settings})
    with RetellClient(fields, transport=transport) as client:
        return client.run(check_key(fields))


# -- the key is accepted -------------------------------------------------------------------------------------


def test_a_good_key_shows_its_workspace(simulator: Simulator) -> None:
    """The answer names the workspace, so that a key of the wrong one is noticed, and the calls going on."""
    simulator.handle_request(_request("POST", "/v2/create-phone-call", json=CREATE))
    assert pressed(simulator) == (
        True,
        "Key accepted, workspace Simulated organisation, 1 of 20 concurrent calls in use.",
    )


def test_the_button_only_reads(simulator: Simulator) -> None:
    """Pressing it places no call and stops none."""
    pressed(simulator)
    assert [(request.method, request.endpoint) for request in simulator.requests] == [
        ("GET", "get-api-key-info"),
        ("GET", "get-concurrency"),
    ]


@pytest.mark.parametrize(
    ("forbidden", "sentence"),
    [
        ("get-concurrency", "Key accepted, workspace Simulated organisation. It may not read the concurrency."),
        (
            "get-api-key-info",
            "Key accepted, although it may not read its workspace, 0 of 20 concurrent calls in use.",
        ),
    ],
)
def test_a_restricted_key_is_a_good_one(simulator: Simulator, forbidden: str, sentence: str) -> None:
    """A key that may place calls need not be allowed to read anything else: 403 is not 401."""
    simulator.fail(Fault(endpoint=forbidden, answer=403))
    assert pressed(simulator) == (True, sentence)


def test_a_workspace_without_a_name_goes_by_its_id() -> None:
    """Any field of the answers may be missing."""
    answers = {"/get-api-key-info": {"org_id": "org_1"}, "/get-concurrency": {}}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answers[request.url.path]))
    assert pressed(transport) == (True, "Key accepted, workspace org_1. Retell does not report the concurrency.")


# -- it is not -----------------------------------------------------------------------------------------------


def test_a_wrong_key_is_refused(simulator: Simulator) -> None:
    """The sentence names the field to mend, and does not quote the key."""
    assert pressed(simulator, api_key="key_of_another") == (
        False,
        "Key refused: API key is missing or invalid. Check the field Password (API key).",
    )


def test_an_unreachable_host_is_pressed() -> None:
    """The message says who did not answer, why, and which field to check; an unknown host is not a refused key."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[Errno -2] Name or service not known", request=request)

    assert pressed(httpx.MockTransport(refuse)) == (
        False,
        (
            f"Host unreachable: {HOST} (ConnectError: [Errno -2] Name or service not known). "
            "Check the field Host (Base URL)."
        ),
    )


@pytest.mark.parametrize("endpoint", ["get-api-key-info", "get-concurrency"])
def test_a_time_out_is_pressed(simulator: Simulator, endpoint: str) -> None:
    """It says how long it waited: the connection's own time-out."""
    simulator.fail(Fault(endpoint=endpoint, delay=60))
    good, message = pressed(simulator, timeout=2.5)
    assert not good
    assert message.endswith(f"Time-out: no answer from {HOST} within 2.5 s.")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault(endpoint="get-api-key-info", answer="drop"), f"No answer: {HOST} closed the connection ("),
        (
            Fault(endpoint="get-api-key-info", answer=500),
            f"{HOST} answered 500: An unexpected server error occurred.",
        ),
        (
            Fault(endpoint="get-api-key-info", answer=429),
            f"{HOST} answered 429: Account rate limited, please throttle your requests.",
        ),
        (
            Fault(endpoint="get-api-key-info", answer=200, html=True),
            f"{HOST} answered 200, but not as Retell does. Check the field Host (Base URL).",
        ),
        (
            Fault(endpoint="get-api-key-info", answer=302),
            f"{HOST} answered 302, but not as Retell does. Check the field Host (Base URL).",
        ),
        (
            Fault(endpoint="get-concurrency", answer=500),
            (
                "Key accepted, workspace Simulated organisation, but its concurrency could not be read. "
                f"{HOST} answered 500: An unexpected server error occurred."
            ),
        ),
    ],
)
def test_other_trouble_is_pressed(simulator: Simulator, fault: Fault, sentence: str) -> None:
    """Whatever happens, the form shows a sentence and no traceback."""
    simulator.fail(fault)
    good, message = pressed(simulator)
    assert not good
    assert message.startswith(sentence)
    assert KEY not in message


def test_an_error_without_a_sentence_speaks_for_itself() -> None:
    """A new class of error has a sentence too."""
    assert explained(RetellError("It is broken."), ConnectionSettings(api_key=KEY)) == "It is broken."


def _request(method: str, path: str, **body: Any) -> httpx.Request:
    return httpx.Request(method, f"{HOST}{path}", headers={"Authorization": f"Bearer {KEY}"}, **body)
