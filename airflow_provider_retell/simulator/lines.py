"""Count the busy lines of the account, and the calls placed in the last second."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from heapq import heappop, heappush

from airflow_provider_retell.simulator.call import SimulatedCall


class Lines:
    """Count the calls that occupy a line, from dialing to the end, without going through all of them.

    Args:
        calls: Every call by its id; other code keeps it up to date.
        limit: The number of lines.
    """

    def __init__(self, calls: Mapping[str, SimulatedCall], *, limit: int) -> None:
        self.limit = limit
        self._calls = calls
        self._dials: list[tuple[float, str]] = []
        self._ends: list[tuple[float, str]] = []
        self._busy: set[str] = set()

    def add(self, call: SimulatedCall) -> None:
        """Let a call occupy a line from the moment it is dialed, if it ever is."""
        if call.dialed_at is not None:
            heappush(self._dials, (call.dialed_at, call.call_id))

    def end(self, call: SimulatedCall) -> None:
        """Free the line of a call at its end, which may have changed."""
        heappush(self._ends, (call.ended_at, call.call_id))

    def busy(self, now: float) -> int:
        """Return the number of busy lines."""
        while self._dials and self._dials[0][0] <= now:
            call = self._calls.get(heappop(self._dials)[1])
            if call is not None and not call.is_over(now):
                self._busy.add(call.call_id)
                self.end(call)
        while self._ends and self._ends[0][0] <= now:
            _, call_id = heappop(self._ends)
            if call_id not in self._calls or self._calls[call_id].is_over(now):
                self._busy.discard(call_id)
        return len(self._busy)

    def forget(self, call_id: str) -> None:
        """Free the line of a deleted call."""
        self._busy.discard(call_id)


class Pace:
    """Remember the calls of the last second.

    Args:
        limit: The number of calls that may be placed within any second; `None`: no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._placed: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Return whether one more call may be placed."""
        while self._placed and self._placed[0] <= now - 1:
            self._placed.popleft()
        return self._limit is None or len(self._placed) < self._limit

    def add(self, now: float) -> None:
        """Count a call that is placed."""
        if self._limit is not None:
            self._placed.append(now)
