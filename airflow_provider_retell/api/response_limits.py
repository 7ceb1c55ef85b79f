"""Read responses within limits of time and size, which httpx lacks: it only limits the gap between two chunks.

A response that trickles in, its headers included, would keep a worker busy for as long as it goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import httpx

from airflow_provider_retell.api.responses import Response

LONGEST_RESPONSE: Final = 100_000_000
"""Maximum bytes of an unpacked response: a gateway may send one that never ends."""

DOWNLOAD_SECONDS: Final = 3600.0
"""Seconds that a download may take: a call of two hours has a recording of some 250 MB."""

Trace: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""A function that httpx calls at each step of a request; see https://www.python-httpx.org/advanced/extensions/."""

_OPENED: Final = (".connect_tcp.complete", ".start_tls.complete")
_REQUEST: Final = ".send_request_headers.started"


class TooLongError(Exception):
    """A response is longer than any of Retell's can be."""


class Body:
    """The body of a response, collected up to ``LONGEST_RESPONSE``."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._bytes = 0

    def add(self, chunk: bytes) -> None:
        """Add a chunk; raise ``TooLongError`` if the body gets too long."""
        self._bytes += len(chunk)
        if self._bytes > LONGEST_RESPONSE:
            raise TooLongError
        self._chunks.append(chunk)

    def response(self, response: httpx.Response) -> Response:
        """Return the response with the chunks so far as its body."""
        return Response(
            status_code=response.status_code,
            content=b"".join(self._chunks),
            retry_after=response.headers.get("Retry-After"),
        )


def limiting(
    seconds: float, *, check: Callable[[], None] | None = None, now: Callable[[], float] = time.monotonic
) -> Trace:
    """Return a trace that limits the time of each response, from the request to the last byte.

    Args:
        seconds: The limit. Waiting for a free connection, and opening one, does not count.
        check: Called once the connection is open, before the first byte of the request goes out.
        now: The time in seconds; the machine's, because a response comes in real time.
    """

    def trace(event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(_OPENED):
            _limit(info["return_value"], seconds, now)
        # With a proxy, the first request opens a tunnel and is not yet one to Retell.
        elif check is not None and event.endswith(_REQUEST) and info["request"].method != b"CONNECT":
            check()

    return trace


def limiting_async(seconds: float) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """Return the same for an asynchronous client."""
    limit = limiting(seconds)

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        limit(event, info)

    return trace


def _limit(stream: Any, seconds: float, now: Callable[[], float]) -> None:
    """Limit the time that a network stream of httpcore, blocking or asynchronous, may read after each write."""
    read, write, ends_at = stream.read, stream.write, math.inf

    def write_and_begin(buffer: bytes, timeout: float | None = None) -> Any:
        nonlocal ends_at
        ends_at = now() + seconds
        return write(buffer, timeout)

    def read_in_time(max_bytes: int, timeout: float | None = None) -> Any:
        left = ends_at - now()
        if left <= 0:
            raise httpx.ReadTimeout("the complete response took too long")
        return read(max_bytes, left if timeout is None else min(timeout, left))

    stream.read, stream.write = read_in_time, write_and_begin
