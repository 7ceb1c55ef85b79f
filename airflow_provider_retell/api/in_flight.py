"""The requests of a client that are in flight while it is closed."""

from __future__ import annotations

import threading
from typing import Protocol, TypeVar


class Closable(Protocol):
    """Anything that has connections."""

    def close(self) -> None:
        """Close them."""


C = TypeVar("C", bound=Closable)


class InFlight:
    """Count the requests in flight; a context around each of them.

    Connections are closed once ``close`` was called and no request is in flight. httpx alone would close them at
    once: a thread whose request ends later would keep its own open, or open another, and neither is closed again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: list[Closable] = []
        self._count = 0
        self._closed = False

    def add(self, client: C) -> C:
        """Take a client of httpx, to be closed with the others, and return it."""
        self._clients.append(client)
        return client

    def __enter__(self) -> None:
        """Count a request; raise RuntimeError, as httpx does, if no more may begin."""
        with self._lock:
            if self._closed:
                raise RuntimeError("This client has been closed. Nothing was sent.")
            self._count += 1

    def __exit__(self, *_: object) -> None:
        """Count it no more."""
        with self._lock:
            self._count -= 1
        self._close_if_over()

    def close(self) -> None:
        """Let no more requests begin, and close the connections, at once or when the last request has ended."""
        with self._lock:
            self._closed = True
        self._close_if_over()

    def _close_if_over(self) -> None:
        with self._lock:
            over = self._closed and not self._count
        if over:
            for client in self._clients:
                client.close()
