"""A server that speaks Retell's API, written from the API's description: it shares no line with the simulator.

It knows nothing but ids, statuses and keys, and the worse of two worlds: a phone that rings cannot be stopped, and
its call is not listed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

LIVE = {"registered", "ongoing"}
KEY_SECONDS = 3600.0
"""Seconds for which a key leads to the call that it placed."""
Fate: TypeAlias = tuple[tuple[float, dict[str, Any]], ...]
"""The story of a call: seconds since it was placed, and the fields that it shows from then on."""

TALKS: Fate = ((0, {"call_status": "ongoing"}),)


class Clock:
    """The time of the server and of the tasks: sleeping moves it."""

    def __init__(self) -> None:
        self._now = time.time()
        self._moving = threading.Lock()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self.now()

    def boottime(self) -> float:
        return self.now()

    def sleep(self, seconds: float) -> None:
        with self._moving:
            self._now += seconds

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.sleep(seconds)


class Server(ThreadingHTTPServer):
    """A server that keeps calls in a dict, and can spoil its answers.

    Attributes:
        calls: The calls by their ids, as they were when they were placed.
        fates: What becomes of the next calls, one after the other.
        fates_of: The same for the next calls to a number.
        fate: What becomes of all others: unless that is changed, they talk on and on.
        lists: Whether it lists calls at all.
        spoils: What answers the next requests of a kind instead: `place`, or the name of an endpoint.
        takes_effect: Whether a call is made all the same.
        at_once: How many calls were live at the same time, at the worst.
        requests: How many requests of each endpoint there were.
    """

    daemon_threads = True
    request_queue_size = 1024  # with the default of 5, a caller of a busy server connects a second later

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clock = Clock()
        self.calls: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, str] = {}
        self.fates: list[Fate] = []
        self.fates_of: dict[str, list[Fate]] = {}
        self.fate: Fate = TALKS
        self.requests: Counter[str] = Counter()
        self.lists = True
        self.spoils: dict[str, list[Spoil]] = {}
        self.takes_effect = True
        self.at_once = 0
        self._fate: dict[str, Fate] = {}
        self._placed_at: dict[str, float] = {}
        self._stopped: set[str] = set()
        self._placing = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about connections that break: some are meant to."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def place(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._placing:
            return self._place(body, body.get("idempotency_key"))

    def _place(self, body: dict[str, Any], key: str | None) -> dict[str, Any]:
        if key in self.keys and self.clock.now() < self._placed_at[self.keys[key]] + KEY_SECONDS:
            return self.shown(self.keys[key])
        call_id = f"call_{len(self.calls)}"
        self.calls[call_id] = {name: body[name] for name in ("to_number", "metadata") if name in body}
        fates = self.fates_of.get(body.get("to_number", "")) or self.fates
        self._fate[call_id] = fates.pop(0) if fates else self.fate
        self._placed_at[call_id] = self.clock.now()
        if key:
            self.keys[key] = call_id
        self.at_once = max(self.at_once, sum(self.shown(it)["call_status"] in LIVE for it in self.calls))
        return self.shown(call_id)

    def shown(self, call_id: str) -> dict[str, Any]:
        call = {"call_id": call_id, **self.calls[call_id]}
        for after, fields in self._fate[call_id]:
            if self.clock.now() >= self._placed_at[call_id] + after:
                call |= fields
        return call | (
            {"call_status": "ended", "disconnection_reason": "manual_stopped"} if self.was_stopped(call_id) else {}
        )

    def placed_at(self) -> list[float]:
        """Return when each call was placed."""
        return list(self._placed_at.values())

    def was_stopped(self, call_id: str) -> bool:
        return call_id in self._stopped

    def stop(self, call_id: str) -> bool:
        """Stop a call, if it is one that can be stopped."""
        if self.shown(call_id)["call_status"] != "ongoing":
            return False
        self._stopped.add(call_id)
        return True

    def span(self, call_id: str) -> tuple[float, float]:
        """Return when a call was placed, and from when on it shows its last state."""
        placed_at = self._placed_at[call_id]
        return placed_at, placed_at + self._fate[call_id][-1][0]

    def seconds_between(self, call_id: str, later: str) -> float:
        return self._placed_at[later] - self._placed_at[call_id]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write: the second of two would wait up to 40 ms for an acknowledgement

    def answer(self, status: int, body: Any, **headers: str) -> None:
        self.write(status, b"" if body is None else json.dumps(body).encode(), **headers)

    def write(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"status": "error", "message": message})

    def do_GET(self) -> None:
        call_id = self.path.rpartition("/")[2]
        self.server.requests["get-call"] += 1
        if spoils := self.server.spoils.get("get-call"):
            spoils.pop()(self, None)
        elif call_id in self.server.calls:
            self.answer(200, self.server.shown(call_id))
        else:
            self.refuse(422, "Cannot find requested asset.")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        if len(content) < length:  # who sent it is gone
            self.close_connection = True
            return
        body = json.loads(content or "{}")
        endpoint, _, call_id = self.path.removeprefix("/v2/").removeprefix("/v3/").partition("/")
        self.server.requests[endpoint] += 1
        if endpoint == "list-calls":
            self.list(body)
        elif endpoint == "stop-call":
            self.answer(204, None) if self.server.stop(call_id) else self.refuse(400, "Call is not ongoing.")
        elif spoils := self.server.spoils.get("place"):
            spoils.pop()(self, self.server.place(body) if self.server.takes_effect else {})
        else:
            self.answer(201, self.server.place(body))

    def list(self, body: dict[str, Any]) -> None:
        if not self.server.lists:
            self.refuse(404, "The requested resource was not found.")
            return
        if spoils := self.server.spoils.get("list-calls"):
            spoils.pop()(self, {"items": [], "has_more": False})
            return
        wanted = body["filter_criteria"]
        ids = wanted["call_id"]["value"] if "call_id" in wanted else list(self.server.calls)
        calls = [self.server.shown(call_id) for call_id in ids if call_id in self.server.calls]
        found = [
            call
            for call in calls
            if call["call_status"] != "registered" and all(_has(call, it) for it in wanted.get("metadata", ()))
        ]
        # Pages by number: what one is asked for goes on behind the one before.
        begin = int(body.get("pagination_key", 0))
        end = begin + body.get("limit", 50)
        more = {"has_more": True, "pagination_key": str(end)} if end < len(found) else {"has_more": False}
        self.answer(200, {"items": found[begin:end], **more})

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def _has(call: dict[str, Any], wanted: dict[str, Any]) -> bool:
    matches = str.__eq__ if wanted["op"] == "eq" else str.startswith
    return matches(str((call.get("metadata") or {}).get(wanted["key"], "")), wanted["value"])


Spoil: TypeAlias = Callable[[Handler, Any], None]


@contextmanager
def serving() -> Iterator[Server]:
    """Serve as long as the block lasts."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


# -- answers that are none ---------------------------------------------------------------------------------------


def status(code: int, **headers: str) -> Spoil:
    return lambda handler, _: handler.answer(code, {"status": "error", "message": "Not now."}, **headers)


def page(code: int) -> Spoil:
    return lambda handler, _: handler.write(code, b"<html><body>Blocked</body></html>", Content_Type="text/html")


def reset(handler: Handler, _: Any) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def truncate(handler: Handler, call: Any) -> None:
    content = json.dumps(call).encode()
    handler.send_response(201)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])
    handler.close_connection = True
