from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from another_server import serving

from airflow_provider_retell import __version__
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator

REGISTER = {"agent_id": "agent_1", "to_number": "+12025550100"}


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(clock=ManualClock())


def _key(simulator: Simulator) -> dict[str, str]:
    return {"Authorization": f"Bearer {simulator.api_key}"}


def test_many_connections_at_once(simulator: Simulator) -> None:
    """Three hundred clients that connect at the same time, and stay connected, all get a response."""

    async def call(port: int) -> tuple[asyncio.StreamWriter, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /get-concurrency HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key_simulator\r\n\r\n")
        return writer, await reader.readline()

    async def run() -> set[bytes]:
        with simulator.serve() as url:
            answers = await asyncio.gather(*(call(int(url.rpartition(":")[2])) for _ in range(300)))
            for writer, _ in answers:
                writer.close()
            return {line for _, line in answers}

    assert asyncio.run(run()) == {b"HTTP/1.1 200 OK\r\n"}


@pytest.fixture(params=["simulator", "another server"])
def port(request: pytest.FixtureRequest, simulator: Simulator) -> Iterator[int]:
    """The port of each of the two servers that tests talk to."""
    if request.param == "simulator":
        with simulator.serve() as url:
            yield int(url.rpartition(":")[2])
    else:
        with serving() as server:
            yield server.server_port


def test_answers_are_not_held_back(port: int) -> None:
    """A response arrives in one piece: the second of two would wait up to 40 ms for an acknowledgement."""
    request = b"GET /v2/get-call/call_1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key_simulator\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as caller:
        for _ in range(20):
            caller.sendall(request)
            head, _, body = caller.recv(65536).partition(b"\r\n\r\n")
            assert b"content-length: %d" % len(body) in head.lower()


def test_connection_is_kept_alive(simulator: Simulator) -> None:
    """Responses of all kinds leave the connection open for the next request."""
    with simulator.serve() as url, httpx.Client(base_url=url, headers=_key(simulator)) as client:
        paths = ("/get-concurrency", "/nothing?x=1", "/v2/get-call/a%2Fb")
        sockets = set()
        for path in paths:
            stream = client.get(path).extensions["network_stream"]
            sockets.add(stream.get_extra_info("client_addr"))
        assert len(sockets) == 1
        assert [request.path for request in simulator.requests] == [
            "/get-concurrency",
            "/nothing",
            "/v2/get-call/a%2Fb",
        ]


def test_server_leaves_nothing_behind(simulator: Simulator) -> None:
    """The end of the block closes idle connections and the socket, and ends delayed responses and all threads."""
    before = set(threading.enumerate())
    simulator.fail(Fault(endpoint="get-concurrency", delay=60))
    with httpx.Client(headers=_key(simulator)) as client:
        with simulator.serve() as url:
            client.get(f"{url}/get-api-key-info")
            waiting = socket.create_connection(("127.0.0.1", httpx.URL(url).port))
            waiting.sendall(b"GET /get-concurrency HTTP/1.1\r\nHost: x\r\n\r\n")
            while len(set(threading.enumerate()) - before) < 3:  # the server's, and one for each connection
                time.sleep(0.001)
            start = time.perf_counter()
        assert time.perf_counter() - start < 30  # half of the delay, and more than a busy machine takes
        assert set(threading.enumerate()) <= before
        with pytest.raises(httpx.ConnectError):
            client.get(f"{url}/get-api-key-info")
        assert waiting.recv(100) == b""
        waiting.close()


def test_port_can_be_chosen_and_taken_again(simulator: Simulator) -> None:
    """The simulator can serve again on the port it had, with its calls."""
    with httpx.Client(headers=_key(simulator)) as client:
        with simulator.serve() as url:
            call_id = client.post(f"{url}/v2/register-phone-call", json=REGISTER).json()["call_id"]
        with simulator.serve(port=int(url.rpartition(":")[2])) as again:
            assert again == url
            assert client.get(f"{url}/v2/get-call/{call_id}").status_code == 200


def test_simulator_says_that_it_is_one(simulator: Simulator) -> None:
    """Without a key, a client can ask a server whether it is a simulator; the request is recorded."""
    with simulator.serve() as url:
        answer = httpx.get(url)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
        assert answer.json() == {"simulator": "airflow-provider-retell", "version": __version__}
    assert [(request.endpoint, request.status) for request in simulator.requests] == [("handshake", 200)]


def test_handshake_can_meet_faults(simulator: Simulator) -> None:
    """A server that does not say that it is a simulator, or does not respond, can be simulated."""
    simulator.fail(Fault(endpoint="handshake", answer=404), Fault(endpoint="*", answer="drop"))
    with httpx.Client(transport=simulator, base_url="http://retell:8787") as client:
        assert client.get("/").status_code == 404
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/")


def test_other_machines_reach_it_if_wanted(simulator: Simulator) -> None:
    """With 0.0.0.0 the server responds on all addresses of the machine; by default, on one only."""
    with simulator.serve(host="0.0.0.0") as url:  # noqa: S104 - that is the point
        port = httpx.URL(url).port
        assert url == f"http://127.0.0.1:{port}"
        assert httpx.get(f"http://127.0.0.2:{port}/").status_code == 200
    with simulator.serve() as url, pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.2:{httpx.URL(url).port}/")


@pytest.mark.parametrize(
    ("url", "extra"),
    [
        ("http://127.0.0.1:8787", None),
        ("http://127.8.8.8:8787", None),
        ("http://localhost:8787", None),
        ("http://[::1]:8787", None),
        ("http://retell:8787", {"simulator": True}),
        ("http://127.0.0.1.example.com:8787", {"simulator": True}),
        ("http://10.0.0.5:8787", {"simulator": True}),
    ],
)
def test_connection_says_that_a_simulator_is_there(
    url: str, extra: dict[str, Any] | None, simulator: Simulator
) -> None:
    """The connection to another machine says that a simulator is there; that to this one need not."""
    fields = json.loads(simulator.connection(url))
    assert fields.pop("extra", None) == extra
    assert fields == {"conn_type": "retell", "host": url, "password": simulator.api_key}


def test_caller_that_hangs_up_is_no_error(simulator: Simulator, capfd: pytest.CaptureFixture[str]) -> None:
    """A client that resets its connection causes no traceback, and others still get responses."""
    with simulator.serve() as url:
        port = httpx.URL(url).port
        rude = socket.create_connection(("127.0.0.1", port))
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        rude.sendall(b"GET /get-concurrency HTTP/1.1\r\nHo")
        rude.close()
        assert httpx.get(f"{url}/get-concurrency", headers=_key(simulator)).status_code == 200
    assert capfd.readouterr().err == ""
