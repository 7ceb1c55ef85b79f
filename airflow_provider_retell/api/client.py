"""The only sender of requests, blocking and asynchronous.

All decisions are pure and shared (``endpoints``, ``retries``, ``responses``, ``handshake``), and ``wire`` hides
httpx; each client adds only how to send, how to sleep and how to close.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, contextmanager
from functools import partial
from typing import Any, Final, Self, TypeVar, cast

import httpx
from tenacity import AsyncRetrying, Retrying

from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.handshake import HANDSHAKE, check_is_simulator, unanswered
from airflow_provider_retell.api.in_flight import AsyncInFlight, InFlight
from airflow_provider_retell.api.response_limits import DOWNLOAD_SECONDS, Body, limiting, limiting_async
from airflow_provider_retell.api.responses import Response, read, status_error
from airflow_provider_retell.api.retries import after_failure, retrying
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.api.wire import (
    certificates,
    make_client,
    quiet,
    to_httpx,
    translated,
)
from airflow_provider_retell.errors import RetellConnectionError, RetellError, RetellInputError

T = TypeVar("T")

_LONG_RESPONSE: Final = 512_000
"""Longer responses, in bytes, are read in a thread. A page of live calls is shorter, and takes 1 ms to read."""
_STORAGE: Final = "the storage to which Retell's link leads"


class RetellClient:
    """Send requests and wait for the responses.

    Args:
        settings: The server, the key, and how often and how long to try.
        transport: The httpx transport that carries the requests; a simulator in tests.
        sleep: Waits between two attempts, in seconds.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], Any] = CLOCK.sleep,
    ) -> None:
        self.settings = settings
        self._sleep = sleep
        self._transport = transport
        self._in_flight = InFlight()
        self._http = self._in_flight.add(make_client(httpx.Client, settings, transport))
        self._trace = limiting(settings.complete_response)
        self._links: httpx.Client | None = None
        self._lock = threading.Lock()
        self._may_send_key = not settings.needs_handshake

    def send(self, request: Request[T]) -> T:
        """Send one request, again if that is harmless, and return its result.

        Raises:
            RetellConnectionError: No response.
            RetellStatusError: A response with an error status.
            RetellResponseError: An unreadable response.
        """
        try:
            return self.send_once(request)
        except RetellError as error:
            send = after_failure(error, self.send_once)
        return cast("T", self.attempts(request)(send, request))

    def attempts(self, request: Request[Any], *, retry_rate_limits: bool = True) -> Retrying:
        """Return the attempts at a request: another one after a failure, if that is harmless.

        >>> for attempt in client.attempts(request):
        ...     with attempt:
        ...         call = client.send_once(request)

        See https://tenacity.readthedocs.io/en/latest/#retrying-code-block

        Args:
            request: The request.
            retry_rate_limits: Whether a 429 is retried too; False if the caller itself waits after a 429.
        """
        return Retrying(sleep=self._sleep, **retrying(request, self.settings, retry_rate_limits=retry_rate_limits))

    def send_once(self, request: Request[T], *, check: Callable[[], None] | None = None) -> T:
        """Send one request without retries, and return its result.

        Args:
            request: The request.
            check: Called once, with the connection open, right before the request goes out. If it raises, nothing
                is sent and its error is raised. A transport without a network does not call it.
        """
        self._shake_hands()
        return read(request, self._exchange(request, check=check), self.settings)

    def _exchange(
        self, request: Request[Any], *, key: bool = True, check: Callable[[], None] | None = None
    ) -> Response:
        trace = self._trace if check is None else limiting(self.settings.complete_response, check=check)
        made = to_httpx(self._http, request, trace=trace, key=key)
        with self._in_flight, translated(request, self.settings):
            response = self._http.send(made, stream=True)
            body = Body()
            with closing(response):
                for chunk in response.iter_bytes():
                    body.add(chunk)
        return body.response(response)

    def _shake_hands(self) -> None:
        if self._may_send_key:
            return
        with self._lock:
            if not self._may_send_key:
                try:
                    response = self._exchange(HANDSHAKE, key=False)
                except RetellConnectionError as error:
                    raise unanswered(error.reason, self.settings, timed_out=error.timed_out) from None
                check_is_simulator(response, self.settings)
                self._may_send_key = True

    @contextmanager
    def download(self, request: Request[None], link: str) -> Iterator[Iterator[bytes]]:
        """Open a link that Retell gave out, as a stream of bytes: without the API key, the link is the permission.

        Args:
            request: The name that messages use, since a link is a secret.
            link: ``https://``, or ``http://`` at the server of the API itself (a simulator).
        """
        if not self.settings.may_follow(link):
            raise RetellInputError(
                f"{request}: the link that Retell gives is not an https:// link, and was not followed."
            )
        stored = translated(request, self.settings, server=_STORAGE)
        extensions = {"trace": limiting(DOWNLOAD_SECONDS)}
        with self._in_flight, stored, self._follower().stream("GET", link, extensions=extensions) as response:
            if not response.is_success:
                body = Body()
                body.add(response.read())
                raise status_error(request, body.response(response), self.settings)
            yield self._chunks(request, response)

    def _chunks(self, request: Request[None], response: httpx.Response) -> Iterator[bytes]:
        # Translated here: further out, a network error could not be distinguished from an error of the caller's.
        with translated(request, self.settings, server=_STORAGE):
            yield from response.iter_bytes()

    def _follower(self) -> httpx.Client:
        """Return the client that follows links, the same in all threads."""
        with self._lock:
            if self._links is None:
                options: Any = {"headers": {}, "follow_redirects": True, "verify": certificates(self.settings)}
                options["event_hooks"] = {"request": [quiet]}  # also for hosts to which a link redirects
                client = make_client(httpx.Client, self.settings, self._transport, **options)
                self._links = self._in_flight.add(client)
            return self._links

    def run(self, flow: Flow[T]) -> T:
        """Send the requests of a flow, one after the other, and return its result."""
        step: Callable[[], Request[Any]] = partial(next, flow)
        while True:
            try:
                request = step()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                step = partial(flow.send, self.send(request))
            except RetellError as error:
                step = partial(flow.throw, error)

    def close(self) -> None:
        """Send no more requests, and close the connections; one in use is closed when its request ends."""
        self._in_flight.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRetellClient:
    """Send requests without blocking the event loop. Arguments and errors as in ``RetellClient``."""

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[Any]] = CLOCK.asleep,
    ) -> None:
        self.settings = settings
        self._sleep = sleep
        self._http = make_client(httpx.AsyncClient, settings, transport)
        self._in_flight = AsyncInFlight(self._http)
        self._trace = limiting_async(settings.complete_response)
        self._lock = asyncio.Lock()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="retell-reader")  # ends with this object
        self._may_send_key = not settings.needs_handshake

    async def send(self, request: Request[T]) -> T:
        """Send one request, again if that is harmless, and return its result."""
        try:
            return await self.send_once(request)
        except RetellError as error:
            send = after_failure(error, self.send_once)

        async def send_again() -> T:
            return await send(request)

        return await AsyncRetrying(sleep=self._sleep, **retrying(request, self.settings))(send_again)

    async def send_once(self, request: Request[T]) -> T:
        """Send one request without retries, and return its result."""
        await self._shake_hands()
        response = await self._exchange(request)
        if len(response.content) < _LONG_RESPONSE:
            return read(request, response, self.settings)
        # In a thread, so as not to block the loop; in a single one, since Python's collector goes through all that
        # is being read, and the C library keeps freed memory for the thread that had it.
        return await asyncio.get_running_loop().run_in_executor(
            self._reader, read, request, response, self.settings
        )

    async def _exchange(self, request: Request[Any], *, key: bool = True) -> Response:
        made = to_httpx(self._http, request, trace=self._trace, key=key)
        async with self._in_flight:
            with translated(request, self.settings):
                response = await self._http.send(made, stream=True)
                body = Body()
                async with aclosing(response):
                    async for chunk in response.aiter_bytes():
                        body.add(chunk)
        return body.response(response)

    async def _shake_hands(self) -> None:
        if self._may_send_key:
            return
        async with self._lock:
            if not self._may_send_key:
                try:
                    response = await self._exchange(HANDSHAKE, key=False)
                except RetellConnectionError as error:
                    raise unanswered(error.reason, self.settings, timed_out=error.timed_out) from None
                check_is_simulator(response, self.settings)
                self._may_send_key = True

    async def run(self, flow: Flow[T], *, once: bool = False) -> T:
        """Send the requests of a flow, one after the other, and return its result.

        Args:
            flow: The requests.
            once: Send each request without retries.
        """
        # The loop of ``RetellClient.run`` with an ``await``: a driver for both would be longer than both.
        send = self.send_once if once else self.send
        step: Callable[[], Request[Any]] = partial(next, flow)
        while True:
            try:
                request = step()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                step = partial(flow.send, await send(request))
            except RetellError as error:
                step = partial(flow.throw, error)

    async def aclose(self) -> None:
        """Send no more requests, and close the connections, at once or when the last request has ended."""
        await self._in_flight.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
