from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest

from airflow_provider_retell.simulator import Fault, ManualClock, Simulator
from airflow_provider_retell.simulator.faults import parse_fault

CREATE = "create-phone-call"


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(clock=ManualClock())


@pytest.fixture(params=["transport", "socket"])
def client(request: pytest.FixtureRequest, simulator: Simulator) -> Iterator[httpx.Client]:
    key = {"Authorization": f"Bearer {simulator.api_key}"}
    if request.param == "transport":
        yield httpx.Client(transport=simulator, base_url="http://retell", headers=key)
        return
    # Setting up TLS takes longer than most of these tests.
    direct = httpx.HTTPTransport(verify=False)
    with (
        simulator.serve() as url,
        httpx.Client(transport=direct, base_url=url, headers=key) as client,
    ):
        yield client


def _create(client: httpx.Client) -> httpx.Response:
    return client.post("/v2/create-phone-call", json={"from_number": "+12025550199", "to_number": "+12025550100"})


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Invalid request format, please check API reference."),
        (401, "API key is missing or invalid."),
        (402, "Trial has ended, please add payment method."),
        (403, "Forbidden"),
        (404, "The requested resource was not found."),
        (422, "Cannot find requested asset under given api key."),
        (429, "Account rate limited, please throttle your requests."),
        (500, "An unexpected server error occurred."),
        (503, "Service Unavailable"),
        (520, "Unknown"),
    ],
)
def test_status_comes_with_its_documented_body(
    status: int, message: str, simulator: Simulator, client: httpx.Client
) -> None:
    """A status is sent with the body that Retell documents; that request places no call, the next one does."""
    simulator.fail(Fault(endpoint=CREATE, answer=status))
    answer = _create(client)
    assert (answer.status_code, answer.json()) == (status, {"status": "error", "message": message})
    assert not simulator.calls
    assert _create(client).status_code == 201


def test_status_without_a_body_leaves_the_connection_usable(simulator: Simulator, client: httpx.Client) -> None:
    """A 204 has no body that could be mistaken for the next response."""
    simulator.fail(Fault(endpoint=CREATE, answer=204))
    assert _create(client).status_code == 204
    assert _create(client).status_code == 201


def test_request_takes_effect_before_a_fault_after(simulator: Simulator, client: httpx.Client) -> None:
    """With `after` the call is placed, but the caller gets an error."""
    simulator.fail(Fault(endpoint=CREATE, answer=503, after=True))
    assert _create(client).status_code == 503
    assert len(simulator.placed) == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("answer", "error"), [("drop", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
def test_connection_is_closed_without_an_answer(
    answer: str, error: type[Exception], after: bool, simulator: Simulator, client: httpx.Client
) -> None:
    """A connection ends by `drop` or by `reset`; the call is placed only with `after`."""
    simulator.fail(parse_fault(f"{CREATE}:{answer}{',after' if after else ''}"))
    with pytest.raises(error):
        _create(client)
    assert len(simulator.placed) == after
    assert _create(client).status_code == 201


def test_answer_breaks_off_half_way(simulator: Simulator, client: httpx.Client) -> None:
    """`truncate` sends half of the right response: the call is placed, but its id cannot be read."""
    simulator.fail(Fault(endpoint=CREATE, answer="truncate"))
    with pytest.raises(
        httpx.RemoteProtocolError, match="peer closed connection without sending complete message body"
    ):
        _create(client)
    assert len(simulator.placed) == 1


def test_answer_is_empty(simulator: Simulator, client: httpx.Client) -> None:
    """`empty` sends the right status and JSON without a call id."""
    simulator.fail(Fault(endpoint=CREATE, answer="empty"))
    answer = _create(client)
    assert (answer.status_code, answer.json()) == (201, {})
    assert len(simulator.placed) == 1


@pytest.mark.parametrize("status", [200, 502])
def test_answer_is_a_page(status: int, simulator: Simulator, client: httpx.Client) -> None:
    """With `html` a gateway's page is sent instead of JSON, with a status of an error or of success."""
    simulator.fail(Fault(endpoint=CREATE, answer=status, html=True))
    answer = _create(client)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.text.startswith("<html>")


def test_redirect_leads_to_another_host(simulator: Simulator, client: httpx.Client) -> None:
    """A 3xx names a host that must not be given the API key."""
    simulator.fail(Fault(endpoint=CREATE, answer=307))
    answer = _create(client)
    assert (answer.status_code, answer.headers["location"]) == (
        307,
        "https://elsewhere.invalid/v2/create-phone-call",
    )


def test_message_replaces_the_documented_one(simulator: Simulator, client: httpx.Client) -> None:
    """An error can have a message that Retell does not document."""
    simulator.fail(Fault(endpoint=CREATE, answer=404, message="Item not found"))
    assert _create(client).json() == {"status": "error", "message": "Item not found"}


def test_retry_after_is_seconds_or_a_date(simulator: Simulator, client: httpx.Client) -> None:
    """`Retry-After` has one of the two forms of HTTP; the date follows the caller's clock."""
    simulator.fail(
        Fault(endpoint=CREATE, answer=429, retry_after=7),
        Fault(endpoint=CREATE, answer=429, retry_after=60, as_date=True),
    )
    assert _create(client).headers["retry-after"] == "7"
    date = parsedate_to_datetime(_create(client).headers["retry-after"])
    assert timedelta(seconds=50) < date - datetime.now(UTC) <= timedelta(seconds=60)


@pytest.mark.parametrize("after", [False, True])
def test_delay_beyond_patience_is_a_timeout(after: bool, simulator: Simulator, client: httpx.Client) -> None:
    """A caller that gives up gets a read timeout; its call is placed only with `after`."""
    simulator.fail(Fault(endpoint=CREATE, delay=0.3, after=after))
    client.timeout = httpx.Timeout(5, read=0.2)
    with pytest.raises(httpx.ReadTimeout):
        _create(client)
    _wait_for_requests(simulator, 1)
    assert len(simulator.placed) == after
    assert (simulator.requests[0].status, simulator.requests[0].fault) == (None, "delay 0.3")


def _wait_for_requests(simulator: Simulator, count: int) -> None:
    # The server notices that a caller has gone only when it sends the response.
    deadline = datetime.now(UTC) + timedelta(seconds=5)
    while len(simulator.requests) < count:
        assert datetime.now(UTC) < deadline


@pytest.mark.parametrize("answer", [None, 503])
def test_delay_within_patience_is_waited_out(
    answer: int | None, simulator: Simulator, client: httpx.Client
) -> None:
    """After a shorter delay the response is sent: the right one, or that of the fault."""
    simulator.fail(Fault(endpoint=CREATE, delay=0.02, answer=answer))
    assert _create(client).status_code == (answer or 201)
    assert len(simulator.placed) == (answer is None)


def test_slow_answer_does_not_hold_up_others(simulator: Simulator) -> None:
    """While one request is delayed, another one is answered."""
    simulator.fail(Fault(endpoint=CREATE, delay=60))
    key = {"Authorization": f"Bearer {simulator.api_key}"}

    async def both() -> None:
        with simulator.serve() as url:
            async with httpx.AsyncClient(base_url=url, headers=key) as client:
                slow = asyncio.create_task(client.post("/v2/create-phone-call", json={}))
                await asyncio.sleep(0.05)
                assert (await client.get("/get-concurrency")).status_code == 200
                slow.cancel()

    asyncio.run(both())


def test_times_and_skip_choose_the_requests(simulator: Simulator, client: httpx.Client) -> None:
    """`skip` requests pass, then `times` fail, then all pass."""
    simulator.fail(Fault(endpoint=CREATE, answer=503, skip=1, times=2))
    assert [_create(client).status_code for _ in range(4)] == [201, 503, 503, 201]


def test_fault_lasts_until_recovery(simulator: Simulator, client: httpx.Client) -> None:
    """With `times=None`, a fault lasts until the simulator recovers."""
    simulator.fail(Fault(endpoint="*", answer=500, times=None))
    assert {_create(client).status_code for _ in range(3)} == {500}
    simulator.recover()
    assert _create(client).status_code == 201


def test_first_fault_strikes_first(simulator: Simulator, client: httpx.Client) -> None:
    """Of several faults that match, the one added first applies, then the next."""
    simulator.fail(Fault(endpoint=CREATE, answer=500), Fault(endpoint="*", answer=429, times=2))
    assert [_create(client).status_code for _ in range(4)] == [500, 429, 429, 201]


@pytest.mark.parametrize(
    ("endpoint", "struck"),
    [
        ("get-concurrency", {"/get-concurrency"}),
        ("get-*", {"/get-concurrency", "/get-api-key-info", "/v2/get-call/call_1"}),
        ("/v2/get-call/call_1", {"/v2/get-call/call_1"}),
        ("GET /v2/*", {"/v2/get-call/call_1"}),
        ("POST *", set()),
    ],
)
def test_endpoint_is_a_name_or_a_pattern(
    endpoint: str, struck: set[str], simulator: Simulator, client: httpx.Client
) -> None:
    """A fault matches requests by endpoint name, by path, or by method and path."""
    simulator.fail(Fault(endpoint=endpoint, answer=418, times=None))
    paths = ["/get-concurrency", "/get-api-key-info", "/v2/get-call/call_1", "/nothing"]
    assert {path for path in paths if client.get(path).status_code == 418} == struck


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("create-phone-call:503", Fault(endpoint=CREATE, answer=503)),
        (
            "create-phone-call:drop,after,times=2,skip=1",
            Fault(endpoint=CREATE, answer="drop", after=True, times=2, skip=1),
        ),
        (
            "list-calls:429,retry-after=1.5,as-date",
            Fault(endpoint="list-calls", answer=429, retry_after=1.5, as_date=True),
        ),
        ("*:200,html,times=all", Fault(endpoint="*", answer=200, html=True, times=None)),
        ("GET *:400,delay=40,message=a b", Fault(endpoint="GET *", answer=400, delay=40, message="a b")),
    ],
)
def test_fault_on_the_command_line(text: str, fault: Fault) -> None:
    """The form of the command line means the same as the arguments."""
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("create-call:503", "No endpoint is called 'create-call'"),
        ("get-call", "does nothing"),
        ("get-call:times=2", "does nothing"),
        ("get-call:explode", "'explode' is not part of a fault"),
        ("get-call:503,delay=soon", "could not convert"),
        ("get-call:503,times=0", "does nothing: times is 1 or more"),
        ("get-call:503,times=-1", "does nothing: times is 1 or more"),
        ("get-call:503,skip=-1", "skip is 0 or more, not -1"),
        ("get-call:99", "99 is not an HTTP status"),
        ("get-call:1000", "1000 is not an HTTP status"),
        ("get-call:delay=-1", "A delay is 0 seconds or more, not -1"),
        ("get-call:delay=nan", "A delay is 0 seconds or more, not nan"),
        ("get-call:503,delay=inf", "A delay is 0 seconds or more, not inf"),
        ("get-call:drop,retry-after=3", "belong to an answer with an HTTP status"),
        ("get-call:empty,message=No", "belong to an answer with an HTTP status"),
        ("get-call:delay=1,html", "belong to an answer with an HTTP status"),
        ("get-call:503,as-date", "retry-after, which is missing"),
    ],
)
def test_unreadable_fault_is_refused(text: str, complaint: str) -> None:
    """A fault that would never be met, do nothing, or ignore one of its options is an error."""
    with pytest.raises(ValueError, match=complaint):
        parse_fault(text)


def test_unknown_answer_is_refused() -> None:
    """In Python, too, an unknown answer is an error and not a fault that does nothing."""
    with pytest.raises(ValueError, match=r"one of drop, reset, truncate, empty, not 'explode'"):
        Fault(endpoint="get-call", answer="explode")  # type: ignore[arg-type]


def test_async_client_meets_the_same_faults(simulator: Simulator) -> None:
    """Each way to lose a response is the same exception for an asynchronous client."""
    lost = {
        "drop": httpx.RemoteProtocolError,
        "reset": httpx.ReadError,
        "truncate": httpx.RemoteProtocolError,
        "delay=9": httpx.ReadTimeout,
    }

    async def lose(fault: str, error: type[Exception]) -> None:
        simulator.fail(parse_fault(f"get-concurrency:{fault}"))
        async with httpx.AsyncClient(transport=simulator, base_url="http://retell", timeout=5) as client:
            with pytest.raises(error):
                await client.get("/get-concurrency")

    for fault, error in lost.items():
        asyncio.run(lose(fault, error))
