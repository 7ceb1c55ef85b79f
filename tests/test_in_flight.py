"""A client that is closed while other threads send requests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import httpx
import pytest

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.simulator.responses import Patience, Request, Response
from airflow_provider_retell.simulator.server import serving

ASK = replace(endpoints.get_concurrency(), read=lambda body: body)


class Held:
    """A server that begins to answer when the test lets it."""

    def __init__(self) -> None:
        self.asked, self.let = Event(), Event()
        self.requests = 0

    def handle(self, _request: Request, _wait: Patience) -> Response:
        """Answer, late."""
        self.requests += 1
        self.asked.set()
        self.let.wait(60)
        return Response(status=200, body=b"{}")


@pytest.fixture
def held() -> Iterator[tuple[Held, str]]:
    """Serve on a real socket."""
    server = Held()
    with serving(server.handle, 0) as url:
        try:
            yield server, url
        finally:
            server.let.set()


class Counted(httpx.HTTPTransport):
    """A network that knows whether it is closed."""

    closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True
        super().close()


def test_a_request_in_flight_ends_by_itself_and_its_connection_is_closed(held: tuple[Held, str]) -> None:
    """A client that is closed meanwhile leaves the connection to it, and the last request closes all."""
    (server, url), network = held, Counted()
    client = RetellClient(ConnectionSettings(api_key="key", base_url=url), transport=network)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.send_once, ASK)
        assert server.asked.wait(60)
        client.close()
        assert not network.closed
        server.let.set()
        assert answer.result(60) == {}
    assert network.closed


def test_a_closed_client_opens_nothing_while_a_request_is_in_flight(held: tuple[Held, str]) -> None:
    """Whatever a thread wants to send after the client was closed does not go out."""
    server, url = held
    client = RetellClient(ConnectionSettings(api_key="key", base_url=url))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.send_once, ASK)
        assert server.asked.wait(60)
        client.close()
        with pytest.raises(RuntimeError, match="has been closed"):
            client.send(ASK)
        server.let.set()
        assert answer.result(60) == {}
    assert server.requests == 1
