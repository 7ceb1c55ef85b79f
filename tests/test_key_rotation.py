"""Test what becomes of a request when the API key of its connection is rotated: the tables, and the client."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from airflow_provider_retell.api.endpoints import create_phone_call, get_call, get_concurrency
from airflow_provider_retell.api.key_rotation import check_same_key, is_rotated, key_digest, may_be_rotated
from airflow_provider_retell.api.rotating_key_client import RotatingKeyClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellCallError,
    RetellError,
    RetellStatusError,
)

OLD = ConnectionSettings(api_key="key_old", max_attempts=2, max_retry_delay=0)
NEW = replace(OLD, api_key="key_new")
CREATE = create_phone_call({"from_number": "+12025550199", "to_number": "+12025550100"}, idempotency_key="call-1")


@pytest.mark.parametrize(("status", "looks"), [(401, True), (402, True), (403, True), (400, False), (500, False)])
def test_the_connection_is_looked_up_when_retell_refuses_the_account(status: int, *, looks: bool) -> None:
    """Any other failure would be the same with another key."""
    error = RetellStatusError.kind(status)("No.", status_code=status, message="no")
    assert may_be_rotated(error) is looks


@pytest.mark.parametrize(
    ("found", "moves", "rotated"),
    [
        (None, False, False),
        (OLD, False, False),
        (replace(OLD, timeout=5, paused=True), True, False),
        (NEW, False, True),
        (NEW, True, True),
        (replace(NEW, base_url="https://other.example"), False, False),
        (replace(NEW, base_url="https://other.example"), True, True),
        (replace(OLD, base_url="https://other.example"), True, True),
    ],
)
def test_a_refused_request_is_sent_once_more(
    found: ConnectionSettings | None, *, moves: bool, rotated: bool
) -> None:
    """Each row of the first table."""
    assert is_rotated(OLD, found, moves=moves) is rotated


@pytest.mark.parametrize("sent_under", [None, "", key_digest(NEW)])
def test_a_request_is_sent_under_the_key_of_a_lost_response(sent_under: str | None) -> None:
    """The second table: or if none was lost."""
    check_same_key(CREATE, sent_under, NEW)
    if sent_under:
        with pytest.raises(RetellCallError, match="'retell_default' holds another API key") as refused:
            check_same_key(CREATE, sent_under, OLD)
        assert refused.value.may_have_arrived
        assert "key_" not in str(refused.value).replace("idempotency_key", "")


def test_a_digest_tells_keys_and_servers_apart_and_nothing_else() -> None:
    """It is on record in Airflow's database, so it does not hold the key."""
    same = replace(OLD, timeout=5, conn_id="other", paused=True)
    others = [NEW, replace(OLD, base_url="https://other.example")]
    assert key_digest(same) == key_digest(OLD)
    assert len({key_digest(OLD), *(key_digest(each) for each in others)}) == 3
    assert key_digest(OLD).isalnum()
    assert "key" not in key_digest(OLD)


class Retell(httpx.BaseTransport):
    """A Retell that answers by key and path, and notes what was sent.

    Args:
        answers: The status of each request with the old key; the new key is always good.
    """

    def __init__(self, *answers: int) -> None:
        self._answers = [*answers]
        self.sent: list[tuple[str, str]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        self.sent.append((key, request.url.path))
        status = self._answers.pop(0) if key == "key_old" else 200
        good: dict[str, Any] = {"call_id": "call_1", "current_concurrency": 0, "concurrency_limit": 1}
        return httpx.Response(status, content=json.dumps(good if status == 200 else {"message": "no"}))


def rotating(retell: Retell) -> RotatingKeyClient:
    """Return a client whose connection holds another key by now."""
    return RotatingKeyClient(OLD, look_up=lambda: NEW, transport=retell, sleep=lambda _: None)


def test_a_refused_call_is_placed_with_the_new_key() -> None:
    """Retell did not carry it out: with whatever account, it is the first."""
    retell = Retell(401)
    with rotating(retell) as client:
        assert client.send(CREATE).call_id == "call_1"
    assert [key for key, _ in retell.sent] == ["key_old", "key_new"]


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(lambda _: None, id="its own refusal"),
        pytest.param(lambda client: client.send(get_concurrency()), id="that of another request"),
    ],
)
def test_a_call_whose_response_was_lost_is_not_placed_with_the_new_key(
    between: Callable[[RotatingKeyClient], object],
) -> None:
    """In another account it would ring a second time."""
    retell = Retell(503, 401)
    with rotating(retell) as client:
        with pytest.raises(RetellError):
            client.send_once(CREATE)
        between(client)
        with pytest.raises(RetellCallError, match="another API key") as refused:
            client.send(CREATE)
    assert refused.value.may_have_arrived
    assert "/v2/create-phone-call" not in [path for key, path in retell.sent if key == "key_new"]


def test_what_the_client_repeats_by_itself_is_not_placed_with_the_new_key() -> None:
    """The attempts at one request are one request."""
    retell = Retell(503, 401)
    with rotating(retell) as client, pytest.raises(RetellCallError, match="another API key"):
        client.send(CREATE)
    assert [key for key, _ in retell.sent] == ["key_old", "key_old"]


def test_a_call_whose_response_another_process_lost_is_not_placed_with_the_new_key() -> None:
    """Its record says under which key it was sent."""
    retell = Retell(401)
    with rotating(retell) as client, pytest.raises(RetellCallError, match="another API key"):
        client.send_once(replace(CREATE, key_digest=key_digest(OLD)))
    assert [key for key, _ in retell.sent] == ["key_old"]


def test_a_lost_reading_is_repeated_with_the_new_key() -> None:
    """Reading twice does no more than reading once."""
    retell = Retell(503, 401)
    with rotating(retell) as client:
        assert client.send(get_call("call_1")).call_id == "call_1"


def test_a_key_that_is_the_same_by_then_is_an_error() -> None:
    """Nothing was rotated: the error is that of the key."""
    retell = Retell(401)
    client = RotatingKeyClient(OLD, look_up=lambda: OLD, transport=retell)
    with client, pytest.raises(RetellAuthenticationError):
        client.send(CREATE)
