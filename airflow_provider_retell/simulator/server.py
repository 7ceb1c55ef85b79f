"""Serve requests on a real socket."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, TypeAlias

from airflow_provider_retell.simulator.responses import Patience, Request, Response, phrase

Handle: TypeAlias = Callable[[Request, Patience], Response | None]
"""Answers a request; `None` if the caller has gone."""

LOOPBACK = "127.0.0.1"
ALL_ADDRESSES = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 (listening there is what a user asks for)
"""The addresses that mean all addresses of this machine, each with one by which the machine reaches itself."""

# Linger for 0 seconds: closing the socket then sends a reset.
_RESET = struct.pack("ii", 1, 0)
# The statuses with which HTTP allows no body.
_BODILESS = (204, 304)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", 0))
        request = Request(
            method=self.command,
            path=self.path.partition("?")[0],
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
        )
        response = self.server.handle(request, self._wait)
        if response is None or response.cut in ("drop", "reset"):
            self.close_connection = True
            if response and response.cut == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # Close it here: the server would first shut the connection down in good order.
                socket.close(self.connection.detach())
            return
        self._send(response)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names http.server calls

    def _send(self, response: Response) -> None:
        body = b"" if response.status in _BODILESS else response.body
        head = [f"HTTP/1.1 {response.status} {phrase(response.status)}"]
        head += [f"{name}: {value}" for name, value in response.headers.items()]
        if response.status not in _BODILESS:
            head.append(f"content-length: {len(body)}")
        if response.cut == "truncate":
            self.close_connection = True
            body = body[: len(body) // 2]
        # In one write: the second of two would wait up to 40 ms for the acknowledgement of the first.
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)

    def _wait(self, seconds: float) -> bool:
        if seconds > 0 and self.server.stopping.wait(seconds):
            return False
        # If the caller has closed its end, reading returns no data at once. If it waits, reading would block.
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def log_message(self, *_: Any) -> None:
        """Log nothing: the simulator keeps its own record of requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for the threads
    request_queue_size = 1024

    def __init__(self, host: str, port: int, handle: Handle) -> None:
        (self.address_family, *_), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        super().__init__((host, port), _Handler)
        self.handle = handle
        self.stopping = Event()
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a caller may close its connection
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End all connections, whether idle or waiting for a response."""
        self.stopping.set()
        for connection in self._connections.copy():
            with suppress(OSError):  # the caller closed it first
                connection.shutdown(socket.SHUT_RD)


def base_url(host: str, port: int) -> str:
    """Return the URL of a server, with an IPv6 address in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def serving(handle: Handle, port: int, host: str = LOOPBACK) -> Iterator[str]:
    """Serve requests on a socket of this machine until the block ends.

    Args:
        handle: Answers one request.
        port: The port; 0: a free one.
        host: The address or name to listen on.

    Yields:
        The base URL by which this machine reaches the server.

    Raises:
        OSError: The server cannot listen there.
    """
    server = _Server(host, port, handle)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="retell-simulator")
    thread.start()
    try:
        yield base_url(ALL_ADDRESSES.get(host, host), server.server_port)
    finally:
        # Wake the loop, which would otherwise notice only after its interval that it should end.
        with suppress(OSError):  # some systems shut down connections only
            server.socket.shutdown(socket.SHUT_RD)
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()
