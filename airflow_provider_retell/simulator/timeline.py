"""Keep calls in the order of list-calls, so that a page is found without going through all of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from airflow_provider_retell.simulator.call import SimulatedCall

Position: TypeAlias = tuple[int, str]
"""Milliseconds since the epoch, and the call id for calls of the same moment."""

_BEHIND_ALL_IDS = "\U0010ffff"


def position(call: SimulatedCall, now: float) -> Position:
    """Return the position of a call in the list: by its start, or before that by when it was made."""
    return round(1000 * (call.connected_at if now >= call.connected_at else call.created_at)), call.call_id


class Timeline:
    """Keep the positions of calls. Those of calls that are over no longer change.

    Args:
        calls: Every call by its id; other code keeps it up to date.
    """

    def __init__(self, calls: Mapping[str, SimulatedCall]) -> None:
        self._calls = calls
        self._over: list[Position] = []
        self._open: dict[str, None] = {}
        self._seen = 0

    def positions(self, now: float) -> list[Position]:
        """Return the positions of all calls, the earliest first."""
        if len(self._calls) != self._seen:
            self._open |= dict.fromkeys(list(self._calls)[self._seen :])
            self._seen = len(self._calls)
        over = [call_id for call_id in self._open if self._calls[call_id].is_over(now)]
        if over:
            self._over += [position(self._calls[call_id], now) for call_id in over]
            self._over.sort()
            for call_id in over:
                del self._open[call_id]
        if not self._open:
            return self._over
        return sorted([*self._over, *self.of(self._open, now)])

    def of(self, call_ids: Iterable[str], now: float) -> list[Position]:
        """Return the positions of some calls, the earliest first."""
        return sorted(position(self._calls[call_id], now) for call_id in call_ids)


def walk(
    positions: list[Position], *, descending: bool, last: Position | None, started: Mapping[str, Any] | None
) -> Iterator[Position]:
    """Iterate over the positions of a page and those after it that a filter on the start may match.

    Args:
        positions: All positions, the earliest first.
        descending: True: the latest come first.
        last: The position at which the previous page ended; `None`: there is none.
        started: The filter `start_timestamp`, if there is one.
    """
    earliest, latest = _bounds(started)
    low = 0 if earliest is None else bisect_left(positions, (earliest, ""))
    high = len(positions) if latest is None else bisect_right(positions, (latest, _BEHIND_ALL_IDS))
    if last is not None and descending:
        high = min(high, bisect_left(positions, last))
    elif last is not None:
        low = max(low, bisect_right(positions, last))
    steps = range(low, high)
    return (positions[i] for i in (reversed(steps) if descending else steps))


def _bounds(started: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    match started:
        case {"op": "bt", "value": [low, high]}:
            return int(low), int(high) + 1
        case {"op": "ge" | "gt", "value": low}:
            return int(low), None
        case {"op": "le" | "lt", "value": high}:
            return None, int(high) + 1
    return None, None
