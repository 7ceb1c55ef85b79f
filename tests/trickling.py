"""A server whose responses never end: a byte comes now and then, so no pause is ever long."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

HEADERS = b"HTTP/1.1 200 OK\r\nX-Slow: "
"""The beginning of a response that does not come to the end of its headers."""


@contextmanager
def trickling(beginning: bytes = HEADERS) -> Iterator[str]:
    """Serve responses with this beginning, and yield the URL."""
    stopped = Event()

    def respond(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(beginning)
            while not stopped.wait(0.01):
                connection.sendall(b"a")

    def accept() -> None:
        responses: list[Thread] = []
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                responses.append(Thread(target=respond, args=(connection,)))
                responses[-1].start()
        for each in responses:
            each.join()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Thread(target=accept)
        server.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            stopped.set()
            listening.shutdown(socket.SHUT_RDWR)
            server.join()
