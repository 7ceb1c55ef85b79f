"""Many small Retells behind one port: one for each connection, so that everybody meets faults of their own."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import Any, Final

from processes import LOOPBACK

from airflow_provider_retell.simulator import Simulator
from airflow_provider_retell.simulator.call import SimulatedCall
from airflow_provider_retell.simulator.responses import Patience, Request, Response, error
from airflow_provider_retell.simulator.server import serving

NUMBER: Final = "+12025550100"
"""The number that every DAG calls."""

TALK: Final = 1200.0
"""Seconds of the simulator's clock that a call lasts: for ever, until the matrix makes time pass."""


class Time:
    """Time as it passes, and what the stage skips of it."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def __call__(self) -> float:
        return time.time() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


class Line:
    """The Retell behind one connection: requests with its key go to it, and to no other."""

    def __init__(self, conn_id: str, *, ring_seconds: float = 0, scenario: str = "agent_hangup") -> None:
        self.conn_id = conn_id
        self.time = Time()
        self.simulator = Simulator(
            clock=self.time,
            api_key=f"key_of_{conn_id}",
            numbers={NUMBER: scenario},
            auto_dial=False,  # only ids that were handed on are dialed
            ring_seconds=ring_seconds,
            talk_seconds=TALK,
        )
        self.arrived: list[str] = []
        self._marked = 0

    def handle(self, request: Request, wait: Patience) -> Response | None:
        self.arrived.append(request.path)
        return self.simulator.respond(request, wait)

    def count(self, endpoint: str) -> int:
        """Count the requests of a kind that have arrived, answered or not."""
        return sum(endpoint in path for path in self.arrived)

    def mark(self) -> None:
        """Forget the polls so far."""
        self._marked = len(self.simulator.requests)

    @property
    def polled(self) -> bool:
        """Return whether a live call has been read again and again since the mark."""
        requests = self.simulator.requests[self._marked :]
        last_post = max((i for i, it in enumerate(requests) if "phone-call" in it.path), default=-1)
        read = [it for it in requests[last_post + 1 :] if it.endpoint == "get-call" and it.status == 200]
        sound = [it for it in read if it.fault is None or it.fault.startswith("delay")]
        return len(sound) >= 3 and any(map(self.is_live, self.calls))

    @property
    def calls(self) -> list[SimulatedCall]:
        return list(self.simulator.calls.values())

    def is_live(self, call: SimulatedCall) -> bool:
        """Return whether a phone rings or a person talks."""
        now = self.time()
        return call.dialed_at is not None and not call.is_over(now)

    def at_once(self) -> int:
        """Count the calls that were live at the same time, at the worst."""
        dialed = [call for call in self.calls if call.dialed_at is not None]
        return max((sum(_overlap(call, other) for other in dialed) for call in dialed), default=0)

    def end_calls(self) -> None:
        """Let the calls end by themselves."""
        self.time.skip(TALK + 1)
        self.mark()


def _overlap(call: SimulatedCall, other: SimulatedCall) -> bool:
    """Return whether a call was live when another one began."""
    assert call.dialed_at is not None
    assert other.dialed_at is not None
    return other.dialed_at <= call.dialed_at < other.ended_at


class Switchboard:
    """Many Retells behind one port."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}

    def line(self, conn_id: str, **options: Any) -> Line:
        line = Line(conn_id, **options)
        self.lines[f"Bearer {line.simulator.api_key}"] = line
        return line

    def handle(self, request: Request, wait: Patience) -> Response | None:
        line = self.lines.get(request.headers.get("authorization", ""))
        return line.handle(request, wait) if line else error(401)


class Port:
    """A port that refuses connections until it is opened."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((LOOPBACK, 0))
        self.number: int = self._reserved.getsockname()[1]
        self._serving = ExitStack()

    def open(self) -> None:
        self._reserved.close()
        self._serving.enter_context(serving(self._switchboard.handle, self.number))

    def close(self) -> None:
        self._reserved.close()
        self._serving.close()
