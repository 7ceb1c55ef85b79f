"""The only sender of requests, blocking and asynchronous.

Everything that decides is a pure function that both clients share; each of them adds only how to send, how to
sleep and how to close.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, Self, TypeVar, cast

import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from airflow_provider_retell import __version__
from airflow_provider_retell.connection import ConnectionSettings
from airflow_provider_retell.endpoints import Endpoint
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellConnectionError,
    RetellError,
    RetellInputError,
    RetellNotFoundError,
    RetellPaymentError,
    RetellPermissionError,
    RetellRateLimitError,
    RetellResponseError,
    RetellStatusError,
    mask_numbers,
)
from airflow_provider_retell.flows import Flow

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_CHARACTERS: Final = 200
_FIRST_PAUSE: Final = 0.5  # seconds; doubles from attempt to attempt, with jitter
_GATEWAY_TROUBLE: Final = frozenset({502, 503, 504})
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

    def send(self, endpoint: Endpoint[T]) -> T:
        """Send one request, again where that is harmless, and return its answer.

        Raises:
            RetellConnectionError: No answer.
            RetellStatusError: An answer with an error status.
            RetellResponseError: An answer nobody can read.
        """
        retrying = Retrying(sleep=self._sleep, **_retries(endpoint, self.settings))
        return cast("T", retrying(self._send_once, endpoint))

    def _send_once(self, endpoint: Endpoint[T]) -> T:
        with _translated(endpoint, self.settings):
            response = self._http.request(endpoint.method, endpoint.path, json=endpoint.body)
        return _read(endpoint, response, self.settings)

    def run(self, flow: Flow[T]) -> T:
        """Send the requests of a flow, one after the other, and return its result."""
        step: Callable[[], Endpoint[Any]] = partial(next, flow)
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

    async def send(self, endpoint: Endpoint[T]) -> T:
        """Send one request, again where that is harmless, and return its answer."""
        retrying = AsyncRetrying(sleep=self._sleep, **_retries(endpoint, self.settings))
        return await retrying(self._send_once, endpoint)

    async def _send_once(self, endpoint: Endpoint[T]) -> T:
        with _translated(endpoint, self.settings):
            response = await self._http.request(endpoint.method, endpoint.path, json=endpoint.body)
        return _read(endpoint, response, self.settings)

    async def run(self, flow: Flow[T]) -> T:
        """Send the requests of a flow, one after the other, and return its result."""
        step: Callable[[], Endpoint[Any]] = partial(next, flow)
        while True:
            try:
                endpoint = step()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                step = partial(flow.send, await self.send(endpoint))
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
            f"Connection {settings.conn_id!r}: the field Host is not a URL ({error}). Nothing was sent."
        ) from None
    return {
        "base_url": settings.base_url,
        "headers": {
            "Authorization": f"Bearer {settings.api_key}",
            "User-Agent": f"airflow-provider-retell/{__version__}",
        },
        "timeout": settings.timeout,
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


def _retries(endpoint: Endpoint[Any], settings: ConnectionSettings) -> dict[str, Any]:
    """Return the options of tenacity that repeat a request where that is harmless."""
    arrived = False

    def again(error: BaseException) -> bool:
        nonlocal arrived
        repeat = may_be_repeated(error, endpoint)
        if isinstance(error, RetellError):
            # A lost answer stays lost, whatever the next attempt is told.
            arrived = error.may_have_arrived = arrived or error.may_have_arrived
        return repeat

    def pause(state: RetryCallState) -> float:
        error = _error(state)
        asked = error.retry_after if isinstance(error, RetellStatusError) else None
        backoff = _FIRST_PAUSE * 2 ** (state.attempt_number - 1) * random.uniform(0.5, 1)  # noqa: S311 (jitter)
        return min(backoff if asked is None else asked, settings.max_retry_delay)

    def announce(state: RetryCallState) -> None:
        log.warning(
            "%s Trying again in %.1f s (attempt %d of %d).",
            _error(state),
            state.upcoming_sleep,
            state.attempt_number + 1,
            settings.max_attempts,
        )

    return {
        "retry": retry_if_exception(again),
        "stop": stop_after_attempt(settings.max_attempts),
        "wait": pause,
        "before_sleep": announce,
        "reraise": True,
    }


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def may_be_repeated(error: BaseException, endpoint: Endpoint[Any]) -> bool:
    """Say whether a failed request is sent again in place.

    A request that never arrived, or that Retell turned away with 429, may always be repeated. One that may
    have been carried out (no answer, an unreadable one, a gateway's 502, 503 or 504) only if twice is no
    more than once. Everything else is an answer that would be the same again.
    """
    match error:
        case RetellRateLimitError() | RetellConnectionError(may_have_arrived=False):
            return True
        case RetellConnectionError():
            return endpoint.repeatable
        case RetellResponseError(status_code=status_code):
            return endpoint.repeatable and not _is_redirect(status_code)
        case RetellStatusError(status_code=status_code):
            return endpoint.repeatable and status_code in _GATEWAY_TROUBLE
    return False


def _is_redirect(status_code: int) -> bool:
    return 300 <= status_code < 400  # noqa: PLR2004


@contextmanager
def _translated(endpoint: Endpoint[Any], settings: ConnectionSettings) -> Iterator[None]:
    """Turn the HTTP library's errors into this package's, not chained: theirs may quote what must not be shown."""
    try:
        yield
    except httpx.DecodingError as error:
        raise RetellResponseError(
            f"{_request(endpoint)}: the answer is not encoded as it says ({_clean(error, settings)}).",
            status_code=200,
        ) from None
    except _HTTP_ERRORS as error:
        arrived = not isinstance(error, _NEVER_ARRIVED)
        meaning = "It may have been carried out all the same." if arrived else "It was not carried out."
        raise RetellConnectionError(
            f"{_request(endpoint)}: no answer from {settings.base_url} "
            f"({type(error).__name__}: {_clean(error, settings) or 'no details'}). {meaning}",
            may_have_arrived=arrived,
        ) from None


def _read(endpoint: Endpoint[T], response: httpx.Response, settings: ConnectionSettings) -> T:
    """Return what an answer says, or raise what it means."""
    if response.is_success:
        try:
            answer = None if endpoint.empty else json.loads(response.content)
            return endpoint.read(answer)
        except (ValueError, RecursionError) as error:
            broken = isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError)
            problem = "not JSON" if broken else str(error)
            raise _unreadable(endpoint, response, settings, problem) from None
    if not response.is_error:
        raise _unreadable(endpoint, response, settings, "a redirect, which is not followed")
    kind = RetellStatusError.kind(response.status_code)
    message = _clean(_message(response), settings)
    raise kind(
        f"{_request(endpoint)}: {response.status_code} {message.rstrip('.')}. {_advice(kind, settings)}".rstrip(),
        status_code=response.status_code,
        message=message,
        retry_after=retry_after(response.headers.get("Retry-After"), now=time.time()),
    )


def _unreadable(
    endpoint: Endpoint[Any], response: httpx.Response, settings: ConnectionSettings, problem: str
) -> RetellResponseError:
    return RetellResponseError(
        f"{_request(endpoint)}: Retell's answer ({response.status_code}) is {problem}. "
        f"It begins: {_clean(response.text, settings)!r}. "
        f"Check that the Host of connection {settings.conn_id!r} is Retell's API.",
        status_code=response.status_code,
    )


def _request(endpoint: Endpoint[Any]) -> str:
    return f"{endpoint.method} {endpoint.path}"


def _message(response: httpx.Response) -> str:
    """Return Retell's own words, in either of the two forms it uses."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        for name in ("message", "error_message"):
            if isinstance(body.get(name), str) and body[name]:
                return str(body[name])
    return response.text


def _clean(text: object, settings: ConnectionSettings) -> str:
    """Return what somebody else wrote as it may stand in a message: short, without key and phone numbers."""
    line = " ".join(str(text).replace(settings.api_key, "***").split())
    return mask_numbers(line)[:_FIRST_CHARACTERS]


def _advice(kind: type[RetellStatusError], settings: ConnectionSettings) -> str:
    return _ADVICE.get(kind, "").format(conn_id=settings.conn_id)


_ADVICE: Final[dict[type[RetellStatusError], str]] = {
    RetellAuthenticationError: "Check the API key (Password) of connection {conn_id!r}.",
    RetellPaymentError: "Check the payment method and the credit of the Retell account.",
    RetellPermissionError: "Give the API key of connection {conn_id!r} this permission in the dashboard.",
    RetellNotFoundError: "Check the id, and that it belongs to the account of connection {conn_id!r}.",
}


def retry_after(header: str | None, *, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for, None if it says nothing one can read.

    >>> retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=50.0)
    10.0
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return max(0.0, seconds) if math.isfinite(seconds) else None
