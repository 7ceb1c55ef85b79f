"""Test the limits of a response's time, without a network: the stream of a connection is an object of the test."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from airflow_provider_retell.api.response_limits import limiting, limiting_async


class Stream:
    """A network stream that notes the time-outs with which it is read."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.timeouts.append(timeout)
        return b"a" * max_bytes

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Take the bytes."""


class Time:
    """A time that only moves when it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.mark.parametrize("opened", ["connection.connect_tcp.complete", "connection.start_tls.complete"])
def test_a_response_has_so_much_time_in_all(opened: str, time: Time) -> None:
    """However often a chunk comes, none is read later; and no chunk is waited for beyond that time."""
    stream = Stream()
    limiting(10, now=time)(opened, {"return_value": stream})
    stream.write(b"GET /")
    for time.now in (0, 4, 9.5):
        assert stream.read(1, timeout=5) == b"a"
    assert stream.timeouts == [5, 5, 0.5]
    time.now = 10
    with pytest.raises(httpx.ReadTimeout, match="the complete response took too long"):
        stream.read(1, timeout=5)


def test_each_response_on_a_connection_has_the_whole_time(time: Time) -> None:
    """The time begins with each request, not with the connection that carries many."""
    stream = Stream()
    limiting(10, now=time)("connection.connect_tcp.complete", {"return_value": stream})
    assert stream.read(1, timeout=5)  # before any request: what a proxy says
    for time.now in (0, 8, 16, 24):
        stream.write(b"GET /")
        stream.read(1)
    assert stream.timeouts == [5, 10, 10, 10, 10]


def test_an_asynchronous_stream_is_limited_in_the_same_way() -> None:
    """Its reading is a coroutine of the same arguments, and httpx awaits its trace."""

    async def read(max_bytes: int, timeout: float | None) -> tuple[int, float | None]:  # noqa: ASYNC109 (httpcore's)
        return max_bytes, timeout

    stream = SimpleNamespace(read=read, write=None)
    trace = limiting_async(10)("connection.connect_tcp.complete", {"return_value": stream})
    assert inspect.iscoroutine(trace)
    asyncio.run(trace)
    assert asyncio.run(stream.read(1, timeout=50)) == (1, 50)


@pytest.mark.parametrize(
    ("event", "method", "checked"),
    [
        ("http11.send_request_headers.started", b"POST", 1),
        ("http11.send_request_headers.started", b"CONNECT", 0),
        ("http11.send_request_headers.complete", b"POST", 0),
        ("connection.connect_tcp.started", b"POST", 0),
    ],
)
def test_the_check_comes_right_before_the_request(event: str, method: bytes, checked: int) -> None:
    """Not before the tunnel that a proxy opens for it, and once."""
    checks: list[str] = []
    check: Callable[[], Any] = lambda: checks.append("checked")  # noqa: E731
    limiting(10, check=check)(event, {"request": SimpleNamespace(method=method)})
    assert len(checks) == checked
