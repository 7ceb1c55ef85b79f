"""Test that over plain http:// the key goes only to a server that has identified itself as a simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.client import AsyncRetellClient, RetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import Concerns, RetellConnectionError, RetellError, RetellInputError
from airflow_provider_retell.simulator import Simulator

ELSEWHERE = "http://retell:8787"
IS_SIMULATOR = {"simulator": "airflow-provider-retell", "version": "0.1.0"}
REGISTER = endpoints.register_phone_call({"agent_id": "agent_1"})

Send = Callable[..., None]


class Server(httpx.MockTransport):
    """A server that answers a handshake as it is made to, and everything else with a call."""

    def __init__(self, *handshakes: httpx.Response | Exception) -> None:
        super().__init__(self._answer)
        self.requests: list[httpx.Request] = []
        self._handshakes = list(handshakes)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path != "/":
            return httpx.Response(200, json={"call_id": "call_1"})
        answer = self._handshakes.pop(0) if len(self._handshakes) > 1 else self._handshakes[0]
        if isinstance(answer, Exception):
            raise answer
        # A response can be sent once only.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]


@pytest.fixture(params=["blocking", "asynchronous"])
def send(request: pytest.FixtureRequest) -> Send:
    """Send a registration some times, one after the other or at once, with one of the two clients."""

    def blocking(transport: Any, *, times: int = 1, **settings: Any) -> None:
        given = ConnectionSettings(**{"api_key": "key_simulator", "base_url": ELSEWHERE, **settings})
        with RetellClient(given, transport=transport, sleep=lambda _: None) as client:
            for _ in range(times):
                client.send(REGISTER)

    def asynchronous(transport: Any, *, times: int = 1, **settings: Any) -> None:
        given = ConnectionSettings(**{"api_key": "key_simulator", "base_url": ELSEWHERE, **settings})

        async def no_sleep(_: float) -> None: ...

        async def main() -> None:
            async with AsyncRetellClient(given, transport=transport, sleep=no_sleep) as client:
                await asyncio.gather(*(client.send(REGISTER) for _ in range(times)))

        asyncio.run(main())

    return {"blocking": blocking, "asynchronous": asynchronous}[request.param]


def test_a_simulator_on_another_machine_is_used(send: Send, simulator: Simulator) -> None:
    """The simulator itself answers as the client expects; it is asked once for each client."""
    send(simulator, times=3)
    assert [request.endpoint for request in simulator.requests] == ["handshake", *["register-phone-call"] * 3]


def test_the_key_is_not_sent_before_the_answer(send: Send) -> None:
    """The handshake has no key and no body; the request after it has the key."""
    server = Server(httpx.Response(200, json=IS_SIMULATOR))
    send(server)
    handshake, request = server.requests
    assert "authorization" not in handshake.headers
    assert (handshake.method, str(handshake.url), handshake.content) == ("GET", f"{ELSEWHERE}/", b"")
    assert request.headers["authorization"] == "Bearer key_simulator"


@pytest.mark.parametrize(
    "base_url", ["https://api.retellai.com", "https://retell:8787", "http://127.0.0.1:8787", "http://localhost"]
)
def test_https_and_this_machine_need_no_handshake(send: Send, base_url: str) -> None:
    """A key that cannot be overheard is sent at once."""
    server = Server(httpx.Response(200, json=IS_SIMULATOR))
    send(server, base_url=base_url)
    assert server.paths == ["/v2/register-phone-call"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json={"status": "error", "message": "Not found"}),
        httpx.Response(401, json={"status": "error"}),
        httpx.Response(429),
        httpx.Response(302, headers={"location": "https://evil.example/"}),
        httpx.Response(201, json=IS_SIMULATOR),
        httpx.Response(200, html="<h1>Welcome</h1>"),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"simulator": True}),
        httpx.Response(200, json={"simulator": "another"}),
        httpx.Response(200, json=[IS_SIMULATOR]),
        httpx.Response(200, text="airflow-provider-retell"),
        httpx.Response(200, text="[" * 100_000),
        httpx.Response(200),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.text[:30]}",
)
def test_another_server_does_not_get_the_key(send: Send, answer: httpx.Response) -> None:
    """It is a final error, which names the URL; neither key nor request has left this machine."""
    server = Server(answer)
    with pytest.raises(RetellInputError, match=f"{ELSEWHERE} did not identify itself") as refused:
        send(server)
    assert isinstance(refused.value, AirflowFailException)
    assert "The API key was not sent" in str(refused.value)
    assert server.paths == ["/"]
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ReadTimeout("timed out"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.Response(500, json={"status": "error", "message": "Broken."}),
        httpx.Response(503, html="<h1>Busy</h1>"),
    ],
    ids=lambda trouble: type(trouble).__name__ + str(getattr(trouble, "status_code", "")),
)
def test_no_answer_is_trouble_on_the_way(send: Send, trouble: httpx.Response | Exception) -> None:
    """It is tried again, for a registration too: nothing was sent that could have placed a call."""
    with pytest.raises(RetellConnectionError, match=r"GET /: no answer from .* Nothing was sent\.") as lost:
        send(Server(trouble), max_attempts=2)
    assert (lost.value.may_have_arrived, lost.value.concerns) == (False, Concerns.NOTHING)
    assert not isinstance(lost.value, AirflowFailException)
    server = Server(trouble, httpx.Response(200, json=IS_SIMULATOR))
    send(server)
    assert server.paths == ["/", "/", "/v2/register-phone-call"]


def test_a_refused_handshake_is_not_remembered(send: Send) -> None:
    """Once the simulator is started there, the next request goes through."""
    server = Server(httpx.Response(404), httpx.Response(200, json=IS_SIMULATOR))
    with pytest.raises(RetellError):
        send(server)
    send(server)
    assert server.paths == ["/", "/", "/v2/register-phone-call"]
