"""Connect clients of httpx to the simulator without a socket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator

import httpx

from airflow_provider_retell.simulator.responses import Patience, Request, Response


class Transport(ABC, httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answer the requests of a client with `respond`.

    https://www.python-httpx.org/advanced/transports/
    """

    @abstractmethod
    def respond(self, request: Request, wait: Patience) -> Response | None:
        """Answer one request; `None` if the caller gave up during a delay."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of a synchronous client."""
        return self._answer(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request of an asynchronous client."""
        return self._answer(request, await request.aread())

    def _answer(self, sent: httpx.Request, body: bytes) -> httpx.Response:
        read_timeout = sent.extensions.get("timeout", {}).get("read")
        request = Request(
            method=sent.method,
            path=sent.url.raw_path.decode("ascii").partition("?")[0],
            headers=dict(sent.headers),
            body=body,
        )
        # Nothing sleeps here: the delay is compared with the caller's own timeout.
        response = self.respond(request, lambda seconds: read_timeout is None or seconds <= read_timeout)
        if response is None:
            raise httpx.ReadTimeout("The read operation timed out", request=sent)
        match response.cut:
            case "drop":
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=sent)
            case "reset":
                raise httpx.ReadError("Connection reset by peer", request=sent)
            case "truncate":
                return httpx.Response(response.status, headers=response.headers, stream=_HalfStream(response.body))
            case None:
                return httpx.Response(response.status, headers=response.headers, content=response.body)


class _HalfStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Break off in the middle of a body."""

    def __init__(self, body: bytes) -> None:
        self._half = body[: len(body) // 2]

    def __iter__(self) -> Iterator[bytes]:
        yield self._half
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for half in self:
            yield half
