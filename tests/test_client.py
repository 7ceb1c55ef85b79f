from __future__ import annotations

import asyncio
import inspect
import json
import logging
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from pathlib import Path
from time import time as now
from typing import Any

import certifi
import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from blockbuster import blockbuster_ctx
from trickling import HEADERS, trickling

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.call_rows import row_projection
from airflow_provider_retell.api.call_states import state_of
from airflow_provider_retell.api.client import AsyncRetellClient, RetellClient
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.response_limits import LONGEST_RESPONSE
from airflow_provider_retell.api.responses import retry_after
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellConnectionError,
    RetellError,
    RetellInputError,
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPaymentError,
    RetellPermissionError,
    RetellRateLimitError,
    RetellResponseError,
    RetellServerError,
    RetellStatusError,
)
from airflow_provider_retell.export.listing import complete_call
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator

KEY = "key_simulator"
FROM, TO = "+12025550199", "+12025550100"
NUMBERS = {"from_number": FROM, "to_number": TO}

REGISTER = endpoints.register_phone_call({"agent_id": "agent_1", "to_number": TO})
CREATE = endpoints.create_phone_call(NUMBERS)
CREATE_WITH_A_KEY = endpoints.create_phone_call(NUMBERS, idempotency_key="key-1")
GET = endpoints.get_call("call_1")
LINK = replace(GET, path="the recording", read=lambda _: None, call_id=None)

PLACING = {"register": REGISTER, "create": CREATE}
HARMLESS = {
    "create with a key": CREATE_WITH_A_KEY,
    "get": GET,
    "list": endpoints.list_calls(),
    "stop": endpoints.stop_call("call_1"),
    "concurrency": endpoints.get_concurrency(),
    "key info": endpoints.get_api_key_info(),
}

NEVER_ARRIVED = [
    httpx.ConnectError("[Errno 111] Connection refused"),
    httpx.ConnectTimeout("timed out"),
    httpx.PoolTimeout("timed out"),
    httpx.ProxyError("407 Proxy Authentication Required"),
]
PERHAPS_ARRIVED = [
    httpx.ReadTimeout("timed out"),
    httpx.WriteTimeout("timed out"),
    httpx.ReadError("[Errno 104] Connection reset by peer"),
    httpx.WriteError("[Errno 32] Broken pipe"),
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    *(408, 409, 425, 500, 501, 502, 503, 504, 599),
    302,
]


def each(cases: Mapping[str, Any] | Iterable[Any], name: str = "retell_request") -> pytest.MarkDecorator:
    """Run a test once for each value."""
    if isinstance(cases, Mapping):
        return pytest.mark.parametrize(name, list(cases.values()), ids=list(cases))
    return pytest.mark.parametrize(
        name, cases, ids=lambda case: type(case).__name__ if isinstance(case, Exception) else None
    )


class Script(httpx.MockTransport):
    """A Retell that answers from a script, one request after the other: a status, an error to raise, a response.

    The last answer is given for ever. 200 is an answer that suits every endpoint.
    """

    closed = False

    def __init__(self, *answers: int | Exception | Callable[[], httpx.Response]) -> None:
        super().__init__(self._response)
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def _response(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, int):
            return answer()
        suits = {"call_id": "call_1", "items": []} if answer == 200 else {"message": f"In words: {answer}."}
        return httpx.Response(answer, json=suits)

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.close()


class Wire:
    """One of the two clients, driven alike. Pauses between attempts are noted, and not waited for."""

    def __init__(self, *, blocking: bool) -> None:
        self.pauses: list[float] = []
        self._blocking = blocking

    def send(self, request: Request[Any], transport: Any = None, **settings: Any) -> Any:
        return self._do(lambda client: client.send(request), transport, settings)

    def run(self, flow: Flow[Any], transport: Any = None, **settings: Any) -> Any:
        return self._do(lambda client: client.run(flow), transport, settings)

    def _do(self, work: Callable[[Any], Any], transport: Any, settings: Mapping[str, Any]) -> Any:
        complete = ConnectionSettings(**{"api_key": KEY, **settings})
        if self._blocking:
            with RetellClient(complete, transport=transport, sleep=self.pauses.append) as client:
                return work(client)

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        async def main(made: AsyncRetellClient) -> Any:
            with blockbuster_ctx(scanned_modules=["airflow_provider_retell"]):
                async with made as client:
                    return await work(client)

        # Made off the event loop, as the hook does it: a client reads certificates from disk.
        return asyncio.run(main(AsyncRetellClient(complete, transport=transport, sleep=sleep)))


@pytest.fixture(params=[True, False], ids=["blocking", "asynchronous"])
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(blocking=request.param)


# -- what is sent --------------------------------------------------------------------------------------------


def test_a_request_carries_the_key_and_the_body_as_json(wire: Wire) -> None:
    """The key goes into the one header Retell documents, to the host of the connection."""
    retell = Script(200)
    wire.send(REGISTER, retell, base_url="https://retell.example:8443")
    (request,) = retell.requests
    assert str(request.url) == "https://retell.example:8443/v2/register-phone-call"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("airflow-provider-retell/")
    assert json.loads(request.content) == {"agent_id": "agent_1", "to_number": TO}


def test_a_request_without_a_body_has_none(wire: Wire) -> None:
    """No body is sent if Retell documents none."""
    retell = Script(200)
    wire.send(endpoints.stop_call("call_1"), retell)
    assert retell.requests[0].content == b""
    assert "content-type" not in retell.requests[0].headers


def test_a_request_has_the_time_out_of_the_connection(wire: Wire) -> None:
    """Without it httpx would wait for ever; only for a free connection it waits as long as it takes."""
    retell = Script(200)
    wire.send(GET, retell, timeout=7)
    assert retell.requests[0].extensions["timeout"] == {"connect": 7, "read": 7, "write": 7, "pool": None}


def test_no_cookie_comes_back(wire: Wire) -> None:
    """Retell knows its callers by their key alone."""
    retell = Script(lambda: httpx.Response(503, headers={"Set-Cookie": "a=b"}), 200)
    wire.send(GET, retell)
    assert [request.headers.get("cookie") for request in retell.requests] == [None, None]


def test_retell_understands_every_request(wire: Wire, simulator: Simulator, time: ManualClock) -> None:
    """The simulator, which checks requests against Retell's schemas, takes all seven."""
    placed = wire.send(CREATE_WITH_A_KEY, simulator)
    registered = wire.send(REGISTER, simulator)
    assert {call.call_status for call in (placed, registered)} == {"registered"}
    time.advance(6)
    assert wire.send(endpoints.get_call(placed.call_id), simulator).call_status == "ongoing"
    listed = wire.send(endpoints.list_calls(call_ids=[placed.call_id]), simulator)
    assert [call.call_id for call in listed.calls] == [placed.call_id]
    assert wire.send(endpoints.get_concurrency(), simulator)["current_concurrency"] == 2
    assert wire.send(endpoints.get_api_key_info(), simulator)["org_name"] == "Simulated organisation"
    assert wire.send(endpoints.stop_call(placed.call_id), simulator) is None
    assert wire.send(endpoints.get_call(placed.call_id), simulator).outcome == "stopped"


def test_a_simulator_is_not_looked_for_behind_a_proxy(
    wire: Wire, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's proxy leads to the internet; what is on this machine is reached directly."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with simulator.serve() as url:
        assert wire.send(REGISTER, base_url=url).call_status == "registered"


@pytest.mark.parametrize("host", ["https://1.2.3.999", "https://a\x00b", "https://❤.example"])
def test_a_host_that_httpx_cannot_read_is_refused(wire: Wire, host: str) -> None:
    """A value that passed the first check but is no URL is a final error too, and names the field."""
    with pytest.raises(
        RetellInputError, match=r"Connection 'retell_default': the field Host \(Base URL\) is not a"
    ):
        wire.send(GET, Script(200), base_url=host)


@pytest.mark.parametrize(
    ("environment", "named", "hint"),
    [
        ({"NO_PROXY": "fe80::/10"}, "NO_PROXY", "(InvalidURL)."),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost,[fd00::]/8"}, "no_proxy or HTTPS_PROXY", ""),
        ({"ALL_PROXY": "socks5://127.0.0.1:1"}, "ALL_PROXY", "A SOCKS proxy needs the package httpx[socks]."),
        ({"https_proxy": "foo://user:secret@proxy", "NO_PROXY": "localhost"}, "https_proxy", "(ValueError)"),
        ({"HTTPS_PROXY": "http://user:secret@[::1"}, "HTTPS_PROXY", "(InvalidURL)"),
        pytest.param(
            {"SSL_CERT_FILE": "/nowhere/ca.pem"},
            "SSL_CERT_FILE",
            "(FileNotFoundError)",
            marks=pytest.mark.skipif(
                httpx.__version__.startswith("0.27"), reason="leaves out a file of certificates that is not there"
            ),
        ),
    ],
)
def test_an_environment_that_cannot_be_used_is_named(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str, hint: str
) -> None:
    """A client that cannot be made is a final error that names the variable, and quotes no password of a proxy."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RetellInputError, match=f"the environment variable {named} cannot be used") as refused:
        wire.send(GET)
    assert hint in str(refused.value)
    assert "Nothing was sent." in str(refused.value)
    assert "secret" not in str(refused.value)


def test_certificates_are_read_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read them takes longer than a request, and a task makes several clients; another file is read again."""
    certificates, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    shutil.copy(certifi.where(), certificates)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    settings = ConnectionSettings(api_key=KEY)
    RetellClient(settings).close()
    for path in (certificates, other):
        path.write_text("no certificate")
    RetellClient(settings).close()
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with pytest.raises(RetellInputError, match="the certificates in the environment variable SSL_CERT_FILE"):
        RetellClient(settings)


def test_a_simulator_is_asked_without_reading_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read them takes a task process longer than all it does; only a link from there to https:// needs them."""
    certificates, read, create = tmp_path / "ca.pem", [], httpx.create_ssl_context
    shutil.copy(certifi.where(), certificates)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    monkeypatch.setattr(
        httpx, "create_ssl_context", lambda **options: (read.append(options), create(**options))[1]
    )
    with RetellClient(ConnectionSettings(api_key=KEY, base_url="http://127.0.0.1:1")) as simulator:
        assert read == []
        with pytest.raises(RetellConnectionError), simulator.download(LINK, "https://127.0.0.1:1/recording.wav"):
            pass
        assert read == [{"trust_env": False}]
    RetellClient(ConnectionSettings(api_key=KEY)).close()
    assert read[1:] == [{"trust_env": True}]


@each(
    {
        "headers": HEADERS,
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        "body of an error": b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n",
        "after an interim response": b"HTTP/1.1 102 Processing\r\n\r\n" + HEADERS,
    },
    "beginning",
)
def test_a_response_that_trickles_is_given_up(wire: Wire, beginning: bytes) -> None:
    """Httpx only limits the gap between two chunks; both clients bound the complete response."""
    with trickling(beginning) as url, pytest.raises(RetellConnectionError) as slow:
        wire.send(REGISTER, base_url=url, timeout=0.1)
    assert (slow.value.timed_out, slow.value.may_have_arrived) == (True, True)


@each({"register": {"agent_id": "agent_\ud800"}, "list": {}}, "body")
def test_a_body_that_is_no_json_is_not_sent(wire: Wire, body: dict[str, Any]) -> None:
    """Text that UTF-8 cannot hold raises an error of this package, and nothing is sent."""
    request = endpoints.register_phone_call(body) if body else endpoints.list_calls(agent_id="\ud800")
    retell = Script(200)
    with pytest.raises(RetellInputError, match="cannot be written as JSON"):
        wire.send(request, retell)
    assert not retell.requests


# -- what is repeated ----------------------------------------------------------------------------------------


@each(PLACING | HARMLESS)
@each(NEVER_ARRIVED, "refused")
def test_what_never_arrived_is_repeated(wire: Wire, retell_request: Request[Any], refused: Exception) -> None:
    """A refused connection, or none within the time, has placed no call: any request is sent again."""
    retell = Script(refused, refused, 200)
    wire.send(retell_request, retell)
    assert len(retell.requests) == 3


@each(PLACING | HARMLESS)
def test_what_was_turned_away_is_repeated(wire: Wire, retell_request: Request[Any]) -> None:
    """429 says that nothing was done: any request is sent again."""
    retell = Script(429, 429, 200)
    wire.send(retell_request, retell)
    assert len(retell.requests) == 3


@each(HARMLESS)
@each(PERHAPS_ARRIVED, "trouble")
def test_what_perhaps_arrived_is_repeated_if_that_is_harmless(
    wire: Wire, retell_request: Request[Any], trouble: Any
) -> None:
    """Reading, hanging up and creating under one key do no more twice than once."""
    retell = Script(trouble, trouble, 200)
    wire.send(retell_request, retell)
    assert len(retell.requests) == 3


@each(PLACING)
@each(PERHAPS_ARRIVED, "trouble")
def test_what_perhaps_arrived_is_not_repeated_if_it_would_ring_twice(
    wire: Wire, retell_request: Request[Any], trouble: Any
) -> None:
    """A call that may have been placed is not placed again; the error says that it may have been."""
    retell = Script(trouble, 200)
    with pytest.raises(RetellError) as lost:
        wire.send(retell_request, retell)
    assert lost.value.may_have_arrived
    assert len(retell.requests) == 1


def test_register_is_not_repeated_after_read_timeout(wire: Wire, simulator: Simulator) -> None:
    """Retell registered the call although its answer came too late: one call, not two."""
    simulator.fail(Fault(endpoint="register-phone-call", delay=60, after=True))
    with pytest.raises(RetellConnectionError, match=r"ReadTimeout.*It may have been carried out nevertheless\."):
        wire.send(REGISTER, simulator, timeout=30)
    assert len(simulator.calls) == 1


def test_create_is_repeated_only_with_a_key(wire: Wire, simulator: Simulator) -> None:
    """Without a key a lost answer ends the attempt; with one, Retell answers for the call it has."""
    simulator.fail(Fault(endpoint="create-phone-call", answer=503, after=True, times=2))
    with pytest.raises(RetellServerError):
        wire.send(CREATE, simulator)
    assert len(simulator.placed) == 1
    again = wire.send(CREATE_WITH_A_KEY, simulator)
    assert [call.creates for call in simulator.placed] == [1, 2]
    assert simulator.placed[-1].call_id == again.call_id


@each({"register": REGISTER, "get": GET})
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 422])
def test_an_answer_that_would_be_the_same_is_final(wire: Wire, retell_request: Request[Any], status: int) -> None:
    """Retell's refusals are not asked for twice."""
    retell = Script(status, 200)
    with pytest.raises(RetellStatusError) as refused:
        wire.send(retell_request, retell)
    assert refused.value.status_code == status
    assert (len(retell.requests), wire.pauses) == (1, [])


@each(HARMLESS)
def test_an_unreadable_answer_is_asked_for_again_if_that_is_harmless(
    wire: Wire, retell_request: Request[Any]
) -> None:
    """A gateway's page in place of JSON may be gone a moment later."""
    retell = Script(partial(httpx.Response, 200, html="<h1>Welcome</h1>"), 200)
    wire.send(retell_request, retell)
    assert len(retell.requests) == (1 if retell_request.empty else 2)


@pytest.mark.parametrize("max_attempts", [1, 2, 4])
@each([503, 429, httpx.ConnectError("refused")], "trouble")
def test_attempts_are_bounded(wire: Wire, trouble: Any, max_attempts: int) -> None:
    """After the last attempt its error is raised as it is."""
    retell = Script(trouble)
    with pytest.raises((RetellServerError, RetellRateLimitError, RetellConnectionError)):
        wire.send(GET, retell, max_attempts=max_attempts)
    assert (len(retell.requests), len(wire.pauses)) == (max_attempts, max_attempts - 1)


def test_each_repetition_is_announced(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    """The log of a task that seems to hang says why, and for how long."""
    wire.send(GET, Script(503, 429, 200), max_attempts=3, max_retry_delay=0)
    assert [record.getMessage() for record in caplog.records] == [
        "GET /v2/get-call/call_1: 503 In words: 503. Trying again in 0.0 s (attempt 2 of 3).",
        "GET /v2/get-call/call_1: 429 In words: 429. Trying again in 0.0 s (attempt 3 of 3).",
    ]


# -- how long it pauses --------------------------------------------------------------------------------------


def slow_down(header: str) -> Callable[[], httpx.Response]:
    return partial(httpx.Response, 429, headers={"Retry-After": header}, json={"message": "Slower."})


def test_pauses_grow(wire: Wire) -> None:
    """Each pause is up to twice the one before, and at least half of that: 0.5 s, 1 s, 2 s, 4 s."""
    with pytest.raises(RetellServerError):
        wire.send(GET, Script(503), max_attempts=5)
    for longest, pause in zip([0.5, 1, 2, 4], wire.pauses, strict=True):
        assert longest / 2 <= pause <= longest


def test_pauses_differ(wire: Wire) -> None:
    """A hundred tasks that failed together do not come back together."""
    for _ in range(10):
        wire.send(GET, Script(503, 200))
    assert len(set(wire.pauses)) > 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("0.25", 0.25, 0.25),
        ("0", 0, 0),
        ("-5", 0, 0),
        ("3600", 60, 60),
        pytest.param(formatdate(now() + 7200, usegmt=True), 60, 60, id="in two hours"),
        (formatdate(0, usegmt=True), 0, 0),
        ("soon", 0.25, 0.5),
    ],
)
def test_retell_says_how_long(wire: Wire, header: str, least: float, most: float) -> None:
    """Retry-After in seconds or as a date is kept to, up to ``max_retry_delay``; rubbish is not there at all."""
    wire.send(GET, Script(slow_down(header), 200), max_retry_delay=60)
    (pause,) = wire.pauses
    assert least <= pause <= most


def test_retell_says_until_when(wire: Wire, simulator: Simulator) -> None:
    """A date is compared with this machine's clock."""
    simulator.fail(Fault(endpoint="get-concurrency", answer=429, retry_after=40, as_date=True))
    wire.send(endpoints.get_concurrency(), simulator)
    (pause,) = wire.pauses
    assert 30 < pause <= 40


def test_no_pause_is_longer_than_the_longest(wire: Wire) -> None:
    """``max_retry_delay`` caps the back-off as well."""
    with pytest.raises(RetellServerError):
        wire.send(GET, Script(503), max_attempts=6, max_retry_delay=0.1)
    assert wire.pauses == [0.1] * 5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("rubbish", None),
        ("nan", None),
        ("inf", None),
        ("2.5", 2.5),
        ("-1", 0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20),
        ("Thu, 01 Jan 1970 00:02:00", 20),
        ("Thu, 01 Jan 1970 01:02:00 +0100", 20),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 0),
        ("Thu, 01 Jan 99999 00:02:00 GMT", None),
        ("Thu, 01 Jan 1970 00:02:00 +99999999999999", None),
    ],
)
def test_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    """100 s after the epoch: seconds, or a date with or without a time zone; None if it cannot be read."""
    assert retry_after(header, now=100.0) == seconds


# -- what an error says --------------------------------------------------------------------------------------

STATUSES = {
    400: RetellInvalidRequestError,
    401: RetellAuthenticationError,
    402: RetellPaymentError,
    403: RetellPermissionError,
    404: RetellNotFoundError,
    422: RetellNotFoundError,
    429: RetellRateLimitError,
    500: RetellServerError,
    502: RetellServerError,
}


@pytest.mark.parametrize(
    "form",
    [
        lambda status: httpx.Response(status, json={"status": "error", "message": "In Retell's words."}),
        lambda status: httpx.Response(status, json={"error_message": "In Retell's words."}),
        lambda status: httpx.Response(status, text="In Retell's words."),
    ],
    ids=["message", "error_message", "text"],
)
@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_a_refused_registration_is_a_typed_error(
    wire: Wire, status: int, kind: type[RetellStatusError], form: Callable[[int], httpx.Response]
) -> None:
    """Class by status, Retell's own words in whichever form they come, and no retry if it would not help."""
    with pytest.raises(kind) as refused:
        wire.send(REGISTER, Script(partial(form, status)), max_attempts=1)
    assert type(refused.value) is kind
    assert (refused.value.status_code, refused.value.message) == (status, "In Retell's words.")
    assert str(refused.value).startswith(f"POST /v2/register-phone-call: {status} In Retell's words.")
    assert isinstance(refused.value, AirflowFailException) is (status < 429)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "Check the API key (Password) of connection 'retell_team'."),
        (402, "Check the payment method and the credit of the Retell account."),
        (403, "Give the API key of connection 'retell_team' this permission in the dashboard."),
        (404, "Check the id, and that it belongs to the account of connection 'retell_team'."),
        (422, "Check the id, and that it belongs to the account of connection 'retell_team'."),
    ],
)
def test_an_error_says_what_to_do(wire: Wire, status: int, advice: str) -> None:
    """After Retell's words stands where to look, with the connection's id."""
    with pytest.raises(RetellStatusError) as refused:
        wire.send(GET, Script(status), conn_id="retell_team")
    assert str(refused.value) == f"GET /v2/get-call/call_1: {status} In words: {status}. {advice}"


@pytest.mark.parametrize("body", [{}, [], {"message": ""}, {"message": {"code": 5}}, {"message": None}])
def test_an_error_without_words_shows_its_body(wire: Wire, body: Any) -> None:
    """If there are no words of Retell's, the message shows the body."""
    with pytest.raises(RetellInvalidRequestError) as refused:
        wire.send(REGISTER, Script(partial(httpx.Response, 400, text=json.dumps(body))))
    assert refused.value.message == json.dumps(body)


def test_an_error_is_no_longer_than_a_line(wire: Wire) -> None:
    """A gateway's page does not fill the log: its first 200 characters, in one line."""
    page = partial(httpx.Response, 500, html="<html>\n  <body>\n" + "x" * 10_000)
    with pytest.raises(RetellServerError) as failed:
        wire.send(GET, Script(page))
    assert failed.value.message.startswith("<html> <body> xxx")
    assert len(failed.value.message) == 200


def test_an_error_knows_how_long_to_wait(wire: Wire) -> None:
    """``retry_after`` is what Retell asks for, also when this package waits no more."""
    with pytest.raises(RetellRateLimitError) as slower:
        wire.send(GET, Script(slow_down("3600")), max_attempts=1)
    assert slower.value.retry_after == 3600


PAGES = ["<!DOCTYPE html><title>Access denied</title>", "\ufeff\n<html>", "<?xml version='1.0'?><Error/>"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 410, 422])
def test_a_gateways_page_is_not_retells_refusal(wire: Wire, status: int, page: str) -> None:
    """A page says nothing about key, permission or call: it is unreadable, and its request may have arrived."""
    retell = Script(partial(httpx.Response, status, text=page), 200)
    assert wire.send(GET, retell).call_id == "call_1"
    with pytest.raises(RetellResponseError, match=rf"\({status}\) is a page, and not Retell's JSON") as unreadable:
        wire.send(REGISTER, Script(partial(httpx.Response, status, text=page)))
    assert (unreadable.value.status_code, unreadable.value.may_have_arrived) == (status, True)


@pytest.mark.parametrize(("status", "kind"), [(429, RetellRateLimitError), (503, RetellServerError)])
def test_a_page_does_not_hide_a_status_that_says_enough(
    wire: Wire, status: int, kind: type[RetellStatusError]
) -> None:
    """A gateway's 429 and 503 mean what Retell's do, and their Retry-After is kept."""
    page = partial(httpx.Response, status, html=PAGES[0], headers={"Retry-After": "7"})
    with pytest.raises(kind) as error:
        wire.send(GET, Script(page), max_attempts=1)
    assert error.value.retry_after == 7


def test_a_conflict_after_a_lost_answer_may_be_the_call(wire: Wire) -> None:
    """409: the first request with the key is still being carried out, so the call may come to be."""
    with pytest.raises(RetellServerError) as conflict:
        wire.send(CREATE_WITH_A_KEY, Script(httpx.ReadTimeout("timed out"), 409))
    assert conflict.value.may_have_arrived
    assert not isinstance(conflict.value, AirflowFailException)
    assert wire.send(CREATE_WITH_A_KEY, Script(httpx.ReadTimeout("timed out"), 409, 200)).call_id == "call_1"


UNREADABLE: dict[str, tuple[Callable[[], httpx.Response], str]] = {
    "html": (partial(httpx.Response, 200, html="<h1>Welcome</h1>"), "not JSON. It begins: '<h1>Welcome</h1>'"),
    "truncated": (
        partial(httpx.Response, 201, text='{"call_id": "ca'),
        'not JSON. It begins: \'{"call_id": "ca\'',
    ),
    "empty": (partial(httpx.Response, 204), "not JSON. It begins: ''"),
    "no text": (partial(httpx.Response, 200, content=b'{"call_id": "\xff"}'), "not JSON. It begins: '{"),
    "endless": (partial(httpx.Response, 200, text="[" * 100_000), "not JSON. It begins: '[[["),
    "no object": (partial(httpx.Response, 200, json=["call_1"]), "not a JSON object. It begins: '[\"call_1\"]'"),
    "no id": (partial(httpx.Response, 201, json={}), "a call whose call_id is missing or of another type."),
    "no text for an id": (partial(httpx.Response, 200, json={"call_id": 5}), "a call whose call_id is missing"),
    "redirect": (
        partial(httpx.Response, 302, headers={"location": "https://evil.example/"}, text="Moved"),
        "a redirect, which is not followed. It begins: 'Moved'",
    ),
    "not modified": (partial(httpx.Response, 304), "a redirect, which is not followed."),
}


@pytest.mark.parametrize(("answer", "problem"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_answer_is_shown(wire: Wire, answer: Callable[[], httpx.Response], problem: str) -> None:
    """Status, what is wrong, the first characters, and where to look; placing a call is not tried again."""
    retell = Script(answer)
    with pytest.raises(RetellResponseError) as unreadable:
        wire.send(REGISTER, retell)
    status = answer().status_code
    assert f"POST /v2/register-phone-call: Retell's answer ({status}) is {problem}" in str(unreadable.value)
    assert "Check that the Host of connection 'retell_default' is Retell's API." in str(unreadable.value)
    assert (unreadable.value.status_code, unreadable.value.may_have_arrived) == (status, True)
    assert len(retell.requests) == 1


@each(
    {
        "model": GET,
        "row": row_projection().one(GET),
        "state": state_of(GET),
        "as sent": complete_call("call_1"),
        "update": endpoints.update_call("call_1", {"metadata": {}}),
        "analysis": endpoints.rerun_call_analysis("call_1"),
    }
)
def test_an_answer_about_another_call_is_unreadable(wire: Wire, retell_request: Request[Any]) -> None:
    """A cache that mixes answers up ends no wait: a harmless request is sent again, and others raise."""
    other = partial(httpx.Response, 200, json={"call_id": "call_2", "call_status": "ended"})
    with pytest.raises(RetellResponseError, match="another call than the one that was asked for") as unreadable:
        wire.send(retell_request, Script(other))
    assert unreadable.value.may_have_arrived
    retell = Script(other, 200)
    if retell_request.idempotent:
        wire.send(retell_request, retell)
    else:
        with pytest.raises(RetellResponseError):
            wire.send(retell_request, retell)
    assert len(retell.requests) == 1 + retell_request.idempotent


def test_an_answer_that_is_not_encoded_as_it_says_is_unreadable(wire: Wire) -> None:
    """A body that cannot be unpacked has arrived nevertheless."""
    headers = {"content-encoding": "gzip"}
    with pytest.raises(RetellResponseError, match="the response is not encoded as it says"):
        wire.send(REGISTER, Script(partial(httpx.Response, 200, headers=headers, stream=httpx.ByteStream(b"no"))))


@each({"register": REGISTER, "get": GET})
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(wire: Wire, retell_request: Request[Any], status: int) -> None:
    """The key goes to the host of the connection and nowhere else."""
    retell = Script(partial(httpx.Response, status, headers={"location": "https://evil.example/v2"}))
    with pytest.raises(RetellResponseError, match="a redirect, which is not followed"):
        wire.send(retell_request, retell)
    assert {request.url.host for request in retell.requests} == {"api.retellai.com"}


def every_error_of_httpx() -> Iterable[Exception]:
    for kind in vars(httpx).values():
        if not inspect.isclass(kind) or not issubclass(kind, Exception):
            continue
        if kind is httpx.HTTPStatusError:
            request = httpx.Request("GET", "https://api.retellai.com")
            yield kind("refused", request=request, response=httpx.Response(400))
        elif "message" in inspect.signature(kind).parameters:
            yield kind("lost")
        else:
            yield kind()


@each(list(every_error_of_httpx()), "error")
def test_no_error_of_httpx_leaks(wire: Wire, error: Exception) -> None:
    """Users catch this package's errors, which name the library's own."""
    with pytest.raises((RetellConnectionError, RetellResponseError)) as translated:
        wire.send(REGISTER, Script(error), max_attempts=1)
    named = f"({type(error).__name__}: " in str(translated.value)
    assert named is not isinstance(error, httpx.DecodingError)


@pytest.mark.parametrize(
    ("attempts", "may_have_arrived"),
    [
        ([httpx.ConnectError("refused")], False),
        ([429], False),
        ([400], False),
        ([500], True),
        ([httpx.ReadTimeout("timed out"), httpx.ConnectError("refused")], True),
        ([503, 429], True),
        ([429, httpx.ConnectError("refused")], False),
        ([httpx.ConnectError("refused"), 503, httpx.ConnectError("refused")], True),
        ([502, 401], True),
    ],
)
def test_a_lost_answer_stays_lost(wire: Wire, attempts: list[Any], may_have_arrived: bool) -> None:
    """Once an attempt may have placed the call, a later refusal does not say that it has not."""
    with pytest.raises(RetellError) as lost:
        wire.send(CREATE_WITH_A_KEY, Script(*attempts), max_attempts=len(attempts))
    assert lost.value.may_have_arrived is may_have_arrived


def test_one_request_does_not_remember_another(wire: Wire) -> None:
    """The result of an earlier request says nothing about this one."""

    def twice() -> Flow[list[bool]]:
        flags = []
        for _ in range(2):
            try:
                yield CREATE
            except RetellError as error:
                flags.append(error.may_have_arrived)
        return flags

    assert wire.run(twice(), Script(503, 400)) == [True, False]


# -- what must not be read ------------------------------------------------------------------------------------

ECHO = f"Bearer {KEY} called {TO}"
ECHOES: dict[str, Exception | Callable[[], httpx.Response]] = {
    "message": partial(httpx.Response, 401, json={"message": ECHO}),
    "error_message": partial(httpx.Response, 400, json={"error_message": ECHO}),
    "slower": partial(httpx.Response, 429, json={"message": ECHO}),
    "body": partial(httpx.Response, 422, json={"echo": ECHO}),
    "page": partial(httpx.Response, 503, html=f"<h1>{ECHO}</h1>"),
    "unreadable": partial(httpx.Response, 200, text=ECHO),
    "no call": partial(httpx.Response, 200, json={"echo": ECHO}),
    "redirect": partial(httpx.Response, 302, headers={"location": f"/?{ECHO}"}, text=ECHO),
    "header": httpx.LocalProtocolError(f"Illegal header value b'{ECHO}'"),
    "line": httpx.RemoteProtocolError(f"illegal header line: bytearray(b'{ECHO}')"),
    "encoding": httpx.DecodingError(ECHO),
    "refused": httpx.ConnectError(ECHO),
}


@each(ECHOES, "echo")
def test_neither_key_nor_number_gets_into_errors_or_logs(
    wire: Wire, echo: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Parts of the request that Retell or a gateway repeats do not get into a task's log."""
    with caplog.at_level(logging.DEBUG), pytest.raises(RetellError) as failed:
        wire.send(GET, Script(echo), max_attempts=2)
    error = failed.value
    texts = [str(error), repr(error), *traceback.format_exception(error), caplog.text, str(vars(error))]
    for secret in (KEY, TO[:-4]):
        assert secret not in "\n".join(texts)
    assert "…0100" in str(error)


def test_an_error_about_a_request_knows_its_numbers(wire: Wire) -> None:
    """The call's own number is masked in Retell's message in every notation; the rest of the message is kept."""
    said = f"national form {TO[2:5]}_{TO[5:]}, order 41555501, at 2026-01-31, from 10.0.0.1"
    with pytest.raises(RetellError) as failed:
        wire.send(REGISTER, Script(lambda: httpx.Response(400, json={"message": said})))
    assert f"national form …{TO[-4:]}, order 41555501, at 2026-01-31, from 10.0.0.1" in str(failed.value)


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_requests_to_retell_are_not_logged_one_by_one(
    wire: Wire, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    """A line of httpx per request would fill the log of a task that polls for hours; other hosts keep theirs."""
    with caplog.at_level(level, logger="httpx"):
        wire.send(GET, Script(200))
        wire.send(GET, Script(200), base_url="http://127.0.0.1:8787")
        assert not caplog.records
        with httpx.Client(transport=Script(200)) as other:
            other.get("https://other.example/")
            other.get("http://127.0.0.1:9999/")
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert "https://other.example/" in caplog.text


# -- over a socket -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["drop", "reset", "truncate"])
def test_a_connection_that_breaks_is_repeated_if_that_is_harmless(
    wire: Wire, simulator: Simulator, answer: Any
) -> None:
    """A real socket breaks as the transports above do."""
    simulator.fail(Fault(endpoint="*", answer=answer, times=2))
    with simulator.serve() as url:
        with pytest.raises(RetellConnectionError, match=f"no answer from {url}") as lost:
            wire.send(REGISTER, base_url=url)
        wire.send(endpoints.get_concurrency(), base_url=url)
    assert lost.value.may_have_arrived
    assert [request.endpoint for request in simulator.requests] == ["register-phone-call"] + [
        "get-concurrency"
    ] * 2


def test_a_closed_port_is_a_refused_connection(wire: Wire, simulator: Simulator) -> None:
    """A refused connection is tried again, because it has certainly placed no call."""
    with simulator.serve() as url:
        pass
    with pytest.raises(RetellConnectionError, match=r"It was not carried out\.$") as refused:
        wire.send(REGISTER, base_url=url, max_attempts=3)
    assert not refused.value.may_have_arrived
    assert len(wire.pauses) == 2


def test_leaving_the_block_closes_the_connections(wire: Wire) -> None:
    """A client is a context manager and leaves nothing open."""
    retell = Script(200)
    wire.send(GET, retell)
    assert retell.closed


# -- flows -----------------------------------------------------------------------------------------------------


def test_a_flow_gets_answers_and_errors(wire: Wire) -> None:
    """A flow is sent each answer, is thrown each error, and its result is returned."""

    def flow() -> Flow[list[str]]:
        call: Call = yield GET
        try:
            yield REGISTER
        except RetellInvalidRequestError as error:
            again: Call = yield GET
            return [call.call_id, error.message, again.call_id]
        return []

    assert wire.run(flow(), Script(200, 400, 200)) == ["call_1", "In words: 400.", "call_1"]


def test_an_error_a_flow_does_not_expect_is_raised(wire: Wire) -> None:
    """It ends the flow, and its clean-up runs."""
    cleaned = []

    def flow() -> Flow[None]:
        try:
            yield GET
        finally:
            cleaned.append(True)

    with pytest.raises(RetellNotFoundError):
        wire.run(flow(), Script(404))
    assert cleaned == [True]


def test_a_flow_may_have_nothing_to_send(wire: Wire) -> None:
    """No request, only a result."""

    def flow() -> Flow[str]:
        return "done"
        yield GET

    assert wire.run(flow(), Script(200)) == "done"


@pytest.fixture
def restless() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_threads_share_one_client_for_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings are fetched by several threads: a client that is made twice leaves its sockets open."""
    together, made = threading.Barrier(8), []

    class CountedClient(httpx.Client):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    def follow(client: RetellClient) -> None:
        together.wait()
        with client.download(LINK, "https://files.example/1.wav") as chunks:
            assert not [*chunks]

    monkeypatch.setattr(httpx, "Client", CountedClient)
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    for number in range(1, 21):
        with (
            RetellClient(ConnectionSettings(api_key=KEY), transport=transport) as client,
            ThreadPoolExecutor(8) as pool,
        ):
            assert [*pool.map(follow, [client] * 8)] == [None] * 8
        assert len(made) == 2 * number, "one for the API, one for the links"


class Endless(httpx.BaseTransport):
    """A gateway that never stops sending, and counts how much was read of it."""

    read = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=self._content())

    def _content(self) -> Iterator[bytes]:
        while self.read < 3 * LONGEST_RESPONSE:
            self.read += 10_000_000
            yield bytes(10_000_000)


def test_a_response_without_an_end_fills_no_memory() -> None:
    """It is an unreadable response, before it takes the process with all its waits down."""
    gateway = Endless()
    settings = ConnectionSettings(api_key=KEY, max_attempts=1)
    with (
        RetellClient(settings, transport=gateway) as client,
        pytest.raises(RetellResponseError, match="get-concurrency: the response is longer than 100 MB"),
    ):
        client.send(endpoints.get_concurrency())
    assert gateway.read <= LONGEST_RESPONSE + 10_000_000


def test_long_responses_are_read_in_one_thread() -> None:
    """The loop goes on, and those that wait stay bytes: the garbage collector goes through what is read."""
    page = {"items": [{"call_id": f"call_{number}", "to_number": TO} for number in range(20_000)]}
    threads = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def read(_: Any) -> None:
            threads.append(threading.get_ident())
            for _turn in range(50):  # of the loop, in which the other responses come
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()

        settings, transport = ConnectionSettings(api_key=KEY), Script(lambda: httpx.Response(200, json=page))
        async with AsyncRetellClient(settings, transport=transport) as client:
            await asyncio.gather(*(client.send(replace(endpoints.list_calls(), read=read)) for _ in range(3)))

    asyncio.run(main())
    assert len(threads) == 3
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads
