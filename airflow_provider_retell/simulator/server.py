"""The simulator on a real socket."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, TypeAlias

from airflow_provider_retell.simulator.answers import Patience, Reply, Request, phrase

Handle: TypeAlias = Callable[[Request, Patience], Reply | None]
"""Answer a request; `None` when the caller has gone."""

LOOPBACK = "127.0.0.1"
ALL_ADDRESSES = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 (listening there is what a user asks for)
"""The addresses that stand for all of this machine, with the one by which it reaches itself."""

# Linger for no time at all: closing the socket then sends a reset.
_RESET = struct.pack("ii", 1, 0)
# Statuses after which HTTP allows no body.
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
        reply = self.server.handle(request, self._wait)
        if reply is None or reply.cut in ("drop", "reset"):
            self.close_connection = True
            if reply and reply.cut == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # At once and by hand: the server would say a polite goodbye first.
                socket.close(self.connection.detach())
            return
        self._send(reply)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names http.server calls

    def _send(self, reply: Reply) -> None:
        body = b"" if reply.status in _BODILESS else reply.body
        head = [f"HTTP/1.1 {reply.status} {phrase(reply.status)}"]
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        if reply.status not in _BODILESS:
            head.append(f"content-length: {len(body)}")
        if reply.cut == "truncate":
            self.close_connection = True
            body = body[: len(body) // 2]
        # In one write: in two, the second would wait 40 ms until the caller has acknowledged the first.
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1") + body)

    def _wait(self, seconds: float) -> bool:
        if seconds > 0 and self.server.stopping.wait(seconds):
            return False
        # A caller that has given up has closed its end: there is something to read, and it is nothing.
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def log_message(self, *_: Any) -> None:
        """Say nothing: the simulator keeps its own log of requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the threads
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
        if not isinstance(sys.exception(), OSError):  # a caller that hangs up is no error
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End every connection, idle or waiting."""
        self.stopping.set()
        for connection in self._connections.copy():
            with suppress(OSError):  # its caller was faster
                connection.shutdown(socket.SHUT_RD)


def base_url(host: str, port: int) -> str:
    """Return the URL of a server; an IPv6 address stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def serving(handle: Handle, port: int, host: str = LOOPBACK) -> Iterator[str]:
    """Answer requests on a socket of this machine until the block ends.

    Args:
        handle: Answers one request.
        port: 0 for a free one.
        host: The address or name to listen on.

    Yields:
        The base URL by which this machine reaches it.

    Raises:
        OSError: It cannot listen there.
    """
    server = _Server(host, port, handle)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="retell-simulator")
    thread.start()
    try:
        yield base_url(ALL_ADDRESSES.get(host, host), server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()
