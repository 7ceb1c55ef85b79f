"""Ask a policy from when a person may be called, in seconds since the epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime


def next_time(now: float, find: Callable[[datetime], datetime | None]) -> float:
    """Return the first time from ``now`` on that a policy finds; infinite if it finds none.

    A datetime has whole microseconds, and often is a fraction of one later than ``now``. So the times are compared
    as datetimes: if the policy returns the time that it was asked about, that is ``now`` itself.

    Args:
        now: Seconds since the epoch.
        find: Returns the first time from a datetime on, such as ``next_opening`` or ``next_allowed``.
    """
    at = datetime.fromtimestamp(now, UTC)
    found = find(at)
    if found is None:
        return math.inf
    return found.timestamp() if found > at else now
