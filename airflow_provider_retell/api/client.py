"""The only sender of requests, blocking and asynchronous.

What decides is pure and shared (``endpoints``, ``repeating``, ``answers``); each client adds only how to send, how
to sleep and how to close.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Self, TypeVar, cast

import httpx
from tenacity import AsyncRetrying, Retrying

from airflow_provider_retell import __version__
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.responses import Response, clean, read, status_error
from airflow_provider_retell.api.retries import FirstFailure, retrying
from airflow_provider_retell.api.settings import BASE_URL_FIELD, ConnectionSettings
from airflow_provider_retell.errors import (
    RetellConnectionError,
    RetellError,
    RetellInputError,
    RetellResponseError,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_CONNECTIONS: Final = 20
"""Network connections that one client keeps open at most; a request beyond them waits for one."""

_LONG_ANSWER: Final = 64_000
"""Bytes from which on an answer is read in a thread of its own."""

_TOO_SLOW: Final = "the whole answer took too long"

_HTTP_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)
_NEVER_ARRIVED: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class RetellClient:
    """Send requests and wait for the answers.

    Args:
        settings: Where to, with which key, and how patiently.
        transport: What carries the requests; a simulator in tests.
        sleep: What waits between two attempts, seconds.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        self.settings = settings
        self._sleep = sleep
        self._http = httpx.Client(**_http_options(settings), transport=transport)
        self._transport = transport
        self._followed: httpx.Client | None = None
        self._one_at_a_time = threading.Lock()

    def _links(self) -> httpx.Client:
        """Return the client that follows links, the same in all threads."""
        with self._one_at_a_time:
            if self._followed is None:
                self._followed = self._follow()
            return self._followed

    def _follow(self) -> httpx.Client:
        # A link is a secret: no line of httpx's about one gets into the log, wherever it redirects to.
        hooks = {"request": [lambda request: _QUIET_HOSTS.add(request.url.netloc)]}
        options = {
            **_http_options(self.settings),
            "headers": {},
            "follow_redirects": True,
            "event_hooks": hooks,
        }
        return httpx.Client(**options, transport=self._transport)

    def send(self, endpoint: Request[T]) -> T:
        """Send one request, again where that is harmless, and return its answer.

        Raises:
            RetellConnectionError: No answer.
            RetellStatusError: An answer with an error status.
            RetellResponseError: An answer nobody can read.
        """
        return self.repeat(endpoint, partial(self.send_once, endpoint))

    def repeat(self, endpoint: Request[Any], attempt: Callable[[], T], *, retry_rate_limits: bool = True) -> T:
        """Make an attempt at a request, again if that is harmless, and return what it returns.

        Args:
            endpoint: The request.
            attempt: Sends it once.
            retry_rate_limits: Whether a 429 is retried too; not if the caller waits for it by itself.
        """
        try:
            return attempt()
        except RetellError as error:
            first = FirstFailure(error)

        def again() -> T:
            first.tell()
            return attempt()

        options = retrying(endpoint, self.settings, retry_rate_limits=retry_rate_limits)
        repeat = Retrying(sleep=self._sleep, **options)
        return repeat(again)

    def send_once(self, endpoint: Request[T]) -> T:
        """Send one request, whatever becomes of it, and return its answer."""
        with (
            _translated(endpoint, self.settings),
            self._http.stream(endpoint.method, endpoint.path, json=endpoint.body) as response,
        ):
            # From here on: whoever waits for a free connection is not waiting for Retell.
            deadline = time.monotonic() + self.settings.whole_answer
            pieces = []
            for piece in response.iter_bytes():
                pieces.append(piece)
                # An answer that drips in for ever keeps to every time-out of the HTTP library.
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(_TOO_SLOW)
        return read(endpoint, _response(response, b"".join(pieces)), self.settings)

    @contextmanager
    def download(self, endpoint: Request[None], link: str) -> Iterator[Iterator[bytes]]:
        """Open a link that Retell gave out, as a stream of bytes: without the API key, the link is the permission.

        Args:
            endpoint: What messages call it, since a link is a secret.
            link: ``https://``, or ``http://`` where Retell's API itself is (a simulator on this machine).
        """
        if not link.startswith(("https://", f"{self.settings.base_url}/")):
            raise RetellInputError(
                f"{endpoint}: the link that Retell gives is not an https:// link. It is not followed."
            )
        with _translated(endpoint, self.settings), self._links().stream("GET", link) as response:
            if not response.is_success:
                raise status_error(endpoint, _response(response, response.read()), self.settings)
            yield self._pieces(endpoint, response)

    def _pieces(self, endpoint: Request[None], response: httpx.Response) -> Iterator[bytes]:
        # Translated here: further out, an error of the network would pass for one of what is done with them.
        with _translated(endpoint, self.settings):
            yield from response.iter_bytes()

    def run(self, flow: Flow[T]) -> T:
        """Send the requests of a flow, one after the other, and return its result."""
        step: Callable[[], Request[Any]] = partial(next, flow)
        while True:
            try:
                endpoint = step()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                step = partial(flow.send, self.send(endpoint))
            except RetellError as error:
                step = partial(flow.throw, error)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        if self._followed is not None:
            self._followed.close()

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
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self._sleep = sleep
        self._http = httpx.AsyncClient(**_http_options(settings), transport=transport)

    async def send(self, endpoint: Request[T]) -> T:
        """Send one request, again where that is harmless, and return its answer."""
        try:
            return await self.send_once(endpoint)
        except RetellError as error:
            first = FirstFailure(error)

        async def again() -> T:
            first.tell()
            return await self.send_once(endpoint)

        repeat = AsyncRetrying(sleep=self._sleep, **retrying(endpoint, self.settings))
        return await repeat(again)

    async def send_once(self, endpoint: Request[T]) -> T:
        """Send one request, whatever becomes of it, and return its answer."""
        with _translated(endpoint, self.settings):
            response = await self._http.request(endpoint.method, endpoint.path, json=endpoint.body)
        answer = _response(response, response.content)
        if len(answer.content) < _LONG_ANSWER:
            return read(endpoint, answer, self.settings)
        # A thousand calls take longer to read than an event loop has to spare.
        return await asyncio.to_thread(read, endpoint, answer, self.settings)

    async def _send_in_time(self, endpoint: Request[T]) -> T:
        # For who sends one request after the other, and so waits for no free connection.
        with _translated(endpoint, self.settings):
            try:
                async with asyncio.timeout(self.settings.whole_answer):
                    return await self.send_once(endpoint)
            except TimeoutError:
                raise httpx.ReadTimeout(_TOO_SLOW) from None

    async def run(self, flow: Flow[T], *, once: bool = False) -> T:
        """Send the requests of a flow, one after the other, and return its result.

        Args:
            flow: The requests.
            once: Send each of them once, whatever becomes of it, and give up one whose answer drips in for ever.
        """
        send = self._send_in_time if once else self.send
        step: Callable[[], Request[Any]] = partial(next, flow)
        while True:
            try:
                endpoint = step()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                step = partial(flow.send, await send(endpoint))
            except RetellError as error:
                step = partial(flow.throw, error)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _http_options(settings: ConnectionSettings) -> dict[str, Any]:
    try:
        _QUIET_HOSTS.add(httpx.URL(settings.base_url).netloc)
    except httpx.InvalidURL as error:
        raise RetellInputError(
            f"Connection {settings.conn_id!r}: the field {BASE_URL_FIELD} is not a URL ({error}). "
            "Nothing was sent."
        ) from None
    return {
        "base_url": settings.base_url,
        "headers": {
            "Authorization": f"Bearer {settings.api_key}",
            "User-Agent": f"airflow-provider-retell/{__version__}",
        },
        # Whoever waits for a free connection is not waiting for Retell.
        "timeout": httpx.Timeout(settings.timeout, pool=None),
        "limits": httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        "follow_redirects": False,
        # A proxy of the environment is for the internet: a simulator on this machine is not behind it.
        "trust_env": not settings.base_url.lower().startswith("http://"),
    }


_QUIET_HOSTS: set[bytes] = set()


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Drop httpx's line per request to Retell: a wait of three hours would fill the task's log with them."""
    urls = [arg for arg in record.args or () if isinstance(arg, httpx.URL)]
    return not any(url.netloc in _QUIET_HOSTS for url in urls)


logging.getLogger("httpx").addFilter(_is_not_ours)


@contextmanager
def _translated(endpoint: Request[Any], settings: ConnectionSettings) -> Iterator[None]:
    """Turn the HTTP library's errors into this package's, not chained: theirs may quote what must not be shown."""
    try:
        yield
    except httpx.DecodingError as error:
        raise RetellResponseError(
            f"{endpoint}: the answer is not encoded as it says ({clean(error, endpoint, settings)}).",
            status_code=200,
        ) from None
    except _HTTP_ERRORS as error:
        arrived = not isinstance(error, _NEVER_ARRIVED)
        meaning = "It may have been carried out nevertheless." if arrived else "It was not carried out."
        reason = f"{type(error).__name__}: {clean(error, endpoint, settings) or 'no details'}"
        raise RetellConnectionError(
            f"{endpoint}: no answer from {settings.base_url} ({reason}). {meaning}",
            may_have_arrived=arrived,
            timed_out=isinstance(error, httpx.TimeoutException),
            reason=reason,
        ) from None


def _response(response: httpx.Response, content: bytes) -> Response:
    return Response(
        status_code=response.status_code,
        content=content,
        retry_after=response.headers.get("Retry-After"),
    )
