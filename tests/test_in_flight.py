"""A client that is closed while other threads, or other tasks of the event loop, send requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Semaphore, Thread
from typing import Any, Protocol

import httpx
import pytest

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.client import AsyncRetellClient, RetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.api.wire import MAX_CONNECTIONS
from airflow_provider_retell.simulator.responses import Patience, Request, Response
from airflow_provider_retell.simulator.server import serving

ASK = replace(endpoints.get_concurrency(), read=lambda body: body)
MORE = MAX_CONNECTIONS + 1


class Held:
    """A server that begins to answer when the test lets it."""

    def __init__(self) -> None:
        self._asked, self._let = Semaphore(0), Semaphore(0)
        self.requests = 0
        self.response = Response(status=200, body=b"{}")

    def handle(self, _request: Request, _wait: Patience) -> Response:
        """Answer, late."""
        self.requests += 1
        self._asked.release()
        self._let.acquire(timeout=60)
        return self.response

    def asked(self, times: int = 1) -> bool:
        """Wait until it has been asked some more times."""
        return all(self._asked.acquire(timeout=60) for _ in range(times))

    def let(self) -> None:
        """Answer all requests, also those to come."""
        self._let.release(1000)


class Client(Protocol):
    """A client, blocking or asynchronous."""

    def begin(self) -> Future[Any]:
        """Send a request from another thread or task."""

    def close(self) -> None:
        """Close the client."""

    def is_closed(self) -> bool:
        """Return whether its connections are closed."""


class Blocking:
    """A client whose requests are sent by threads."""

    def __init__(self, settings: ConnectionSettings, pool: ThreadPoolExecutor) -> None:
        self._network, self._pool = Network(), pool
        self._client = RetellClient(settings, transport=self._network, sleep=lambda _: None)

    def begin(self) -> Future[Any]:
        return self._pool.submit(self._client.send, ASK)

    def close(self) -> None:
        self._client.close()

    def is_closed(self) -> bool:
        return self._network.closed


class Asynchronous:
    """A client whose requests are sent by the tasks of an event loop."""

    def __init__(self, settings: ConnectionSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._network, self._loop = AsyncNetwork(), loop
        self._client = AsyncRetellClient(settings, transport=self._network, sleep=no_pause)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def begin(self) -> Future[Any]:
        return self._run(self._client.send(ASK))

    def close(self) -> None:
        self._run(self._client.aclose()).result(60)

    def is_closed(self) -> bool:
        return self._network.closed

    def cancel(self) -> None:
        """Cancel all tasks of the loop, as asyncio does at its end."""
        self._run(cancel_others()).result(60)


async def cancel_others() -> None:
    """Cancel all tasks but this, and wait for them."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def no_pause(_seconds: float) -> None:
    """Send a request again at once."""


class Network(httpx.HTTPTransport):
    """A network that knows whether it is closed."""

    closed = False

    def __init__(self) -> None:
        super().__init__(limits=httpx.Limits(max_connections=MAX_CONNECTIONS))

    def close(self) -> None:
        """Note it."""
        self.closed = True
        super().close()


class AsyncNetwork(httpx.AsyncHTTPTransport):
    """The same, for an event loop."""

    closed = False

    def __init__(self) -> None:
        super().__init__(limits=httpx.Limits(max_connections=MAX_CONNECTIONS))

    async def aclose(self) -> None:
        """Note it."""
        self.closed = True
        await super().aclose()


@contextmanager
def blocking(settings: ConnectionSettings) -> Iterator[Blocking]:
    """Yield a blocking client, and threads for it."""
    with ThreadPoolExecutor(MORE) as pool:
        yield Blocking(settings, pool)


@contextmanager
def asynchronous(settings: ConnectionSettings) -> Iterator[Asynchronous]:
    """Yield an asynchronous client, and an event loop for it."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = Thread(target=loop.run_forever)
        thread.start()
        try:
            yield Asynchronous(settings, loop)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


@pytest.fixture
def server() -> Iterator[tuple[Held, ConnectionSettings]]:
    """Serve on a real socket."""
    held = Held()
    with serving(held.handle, 0) as url:
        try:
            yield held, ConnectionSettings(api_key="key", base_url=url)
        finally:
            held.let()


@pytest.fixture
def held(server: tuple[Held, ConnectionSettings]) -> Held:
    """The server."""
    return server[0]


@pytest.fixture(params=[blocking, asynchronous])
def client(request: pytest.FixtureRequest, server: tuple[Held, ConnectionSettings]) -> Iterator[Client]:
    """Each of the two clients."""
    make: Callable[..., Any] = request.param
    held, settings = server
    with make(settings) as client:
        try:
            yield client
        finally:
            held.let()


def test_a_client_without_a_request_in_flight_is_closed_at_once(client: Client, held: Held) -> None:
    """Its connections are kept for the next request until then, and are closed once ``close`` returns."""
    held.let()
    assert client.begin().result(60) == {}
    assert not client.is_closed()
    client.close()
    assert client.is_closed()


def test_a_request_in_flight_ends_by_itself_and_its_connection_is_closed(client: Client, held: Held) -> None:
    """A client that is closed meanwhile leaves the connection to it, and the last request closes all."""
    answer = client.begin()
    assert held.asked()
    client.close()
    assert not client.is_closed()
    held.let()
    assert answer.result(60) == {}
    assert client.is_closed()


def test_a_request_in_flight_that_fails_closes_the_connections(client: Client, held: Held) -> None:
    """The last request closes all when it ends with an error as well, and is not sent again."""
    held.response = Response(status=200, body=b"{}", cut="drop")
    answer = client.begin()
    assert held.asked()
    client.close()
    held.let()
    with pytest.raises(RuntimeError, match=r"has been closed\. Nothing was sent\."):
        answer.result(60)
    assert client.is_closed()
    assert held.requests == 1


def test_a_closed_client_opens_nothing_while_a_request_is_in_flight(client: Client, held: Held) -> None:
    """Whatever is to be sent after the client was closed does not go out."""
    answer = client.begin()
    assert held.asked()
    client.close()
    refused = client.begin()
    held.let()
    with pytest.raises(RuntimeError, match=r"has been closed\. Nothing was sent\."):
        refused.result(60)
    assert answer.result(60) == {}
    assert held.requests == 1


def test_a_request_that_waits_for_a_connection_ends_too(client: Client, held: Held) -> None:
    """One more than there are connections had begun when the client was closed: all are answered, none is lost."""
    answers = [client.begin() for _ in range(MORE)]
    assert held.asked(MAX_CONNECTIONS)
    client.close()
    held.let()
    assert [answer.result(60) for answer in answers] == [{}] * MORE
    assert client.is_closed()


def test_a_request_in_flight_that_is_cancelled_closes_the_connections(
    server: tuple[Held, ConnectionSettings],
) -> None:
    """An event loop that ends cancels its tasks, after the client was closed: no connection stays open."""
    held, settings = server
    with asynchronous(settings) as client:
        answer = client.begin()
        assert held.asked()
        client.close()
        assert not client.is_closed()
        client.cancel()
        with pytest.raises(CancelledError):
            answer.result(60)
        assert client.is_closed()
