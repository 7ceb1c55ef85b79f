"""Close a client while other threads still send: its connections close when the last request has ended."""

from __future__ import annotations

import threading
from typing import Protocol, TypeVar


class Closable(Protocol):
    """Anything that has connections."""

    def close(self) -> None:
        """Close them."""


class AsyncClosable(Protocol):
    """Anything that has connections, on an event loop."""

    async def aclose(self) -> None:
        """Close them."""


C = TypeVar("C", bound=Closable)


class _Count:
    """Count the requests in flight.

    Connections are closed once the client has been closed and no request is in flight. httpx alone would close
    them at once: a request that ends later would break, and one that waits for a connection would open another,
    which is never closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._closed = False

    def _begin(self) -> None:
        """Count a request; raise RuntimeError, as httpx does, if no more may begin."""
        with self._lock:
            if self._closed:
                raise RuntimeError("This client has been closed. Nothing was sent.")
            self._count += 1

    def _end(self) -> bool:
        """Count a request as over; return whether to close the connections now."""
        with self._lock:
            self._count -= 1
            return self._closed and not self._count

    def _let_none_begin(self) -> bool:
        """Let no more requests begin; return whether to close the connections now."""
        with self._lock:
            self._closed = True
            return not self._count


class InFlight(_Count):
    """A context around each request of a blocking client; any thread may close it."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: list[Closable] = []

    def add(self, client: C) -> C:
        """Take a client of httpx, to be closed with the others, and return it."""
        self._clients.append(client)
        return client

    def __enter__(self) -> None:
        self._begin()

    def __exit__(self, *_: object) -> None:
        if self._end():
            self._close_all()

    def close(self) -> None:
        """Let no more requests begin, and close the connections, at once or when the last request has ended."""
        if self._let_none_begin():
            self._close_all()

    def _close_all(self) -> None:
        for client in self._clients:
            client.close()


class AsyncInFlight(_Count):
    """A context around each request of an asynchronous client.

    Args:
        client: The client of httpx.
    """

    def __init__(self, client: AsyncClosable) -> None:
        super().__init__()
        self._client = client

    async def __aenter__(self) -> None:
        self._begin()

    async def __aexit__(self, *_: object) -> None:
        if self._end():
            await self._client.aclose()

    async def aclose(self) -> None:
        """Let no more requests begin, and close the connections, at once or when the last request has ended."""
        if self._let_none_begin():
            await self._client.aclose()
