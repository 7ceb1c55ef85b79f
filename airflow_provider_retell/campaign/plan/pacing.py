"""Decide how fast a campaign places calls. Pure: the time is passed in.

Two times are needed. The wall clock says what hour it is where a person lives, but it may be set back. Ages (of a
key, of a list, of a pause) must never come out too small, so they are measured in steady time, which advances by
the larger of the steps of the wall clock and the boot-time clock. The monotonic clock would not do, because it
stops while the machine is suspended.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

FIRST_PAUSE: Final = 5.0
"""Seconds of the first pause after a sign of too many calls; each further pause is twice as long."""

LONGEST_PAUSE: Final = 120.0
"""Seconds of the longest pause, unless Retell asks for a longer one."""

MARGIN: Final = 0.02
"""Seconds added to the window, because evenly spaced requests may arrive closer together."""


LONGEST_BACKOFF: Final = 300.0
"""The most seconds before a person who was turned away is called again."""


def backoff(times: int) -> float:
    """Return how many seconds a person waits after being turned away several times in a row.

    After the first time it is 0, because the pace pauses for all.

    >>> [backoff(times) for times in (1, 2, 3, 7)]
    [0.0, 20.0, 40.0, 300.0]
    """
    return 0.0 if times <= 1 else min(10.0 * 2 ** min(times - 1, 10), LONGEST_BACKOFF)


class Moment(NamedTuple):
    """An instant, on both times.

    Attributes:
        wall: Seconds since the epoch: for hours, dates and due times.
        steady: Seconds that only grow: for ages and paces.
    """

    wall: float
    steady: float


class SteadyTime:
    """Turn readings of two clocks into moments."""

    def __init__(self, *, wall: float, boot: float) -> None:
        self._wall, self._boot, self._steady = wall, boot, 0.0

    def read(self, *, wall: float, boot: float) -> Moment:
        """Return the moment of a reading.

        Args:
            wall: ``time.time()``.
            boot: ``time.clock_gettime(time.CLOCK_BOOTTIME)`` if the system has it, else ``time.monotonic()``.
        """
        self._steady += max(wall - self._wall, boot - self._boot, 0.0)
        self._wall, self._boot = wall, boot
        return Moment(wall, self._steady)


class Pace:
    """Let through at most ``calls_per_second``, and fewer for a while after a sign that there were too many.

    This is a sliding window: no second has more calls than the rate, however quiet the minute before was. A rate
    with a fraction lets one call through every ``1 / rate`` seconds.

    >>> pace = Pace(1)
    >>> pace.take(0)
    >>> pace.wait(0.5)
    0.52
    """

    def __init__(self, calls_per_second: float) -> None:
        size = int(calls_per_second) if float(calls_per_second).is_integer() else 1
        self._window = (1 + MARGIN) * size / calls_per_second
        self._taken: deque[float] = deque(maxlen=size)
        self._blocked_until = 0.0
        self._pause = FIRST_PAUSE
        self._spacing = 0.0
        self._probing = False
        self._without_line = 0.0
        self._looked_at: float | None = None

    def wait(self, steady: float) -> float:
        """Return the seconds until the next call may be placed, 0 if one may be now."""
        full = len(self._taken) == self._taken.maxlen
        free_at = self._taken[0] + self._window if full else steady
        if self._probing and self._taken:
            free_at = max(free_at, self._taken[-1] + self._spacing)
        return max(free_at - steady, self._blocked_until - steady, 0.0)

    def take(self, steady: float) -> None:
        """Count a call as placed now."""
        self._taken.append(steady)

    def move(self, taken: float, steady: float) -> bool:
        """Move a call that was counted earlier to now; return whether the pace allows it.

        Otherwise a delayed request could arrive together with those that were let through after it.
        """
        if taken in self._taken:
            self._taken.remove(taken)
        if self.wait(steady) > 0:
            return False
        self.take(steady)
        return True

    def slow_down(self, steady: float, asked: float | None = None) -> None:
        """Pause after a 429, or an unreachable Retell.

        Concurrent requests fail together, so another failure during a pause does not lengthen it, unless Retell
        asks for more.

        Args:
            steady: The time.
            asked: Seconds that Retell asks for.
        """
        if steady >= self._blocked_until:
            self._blocked_until, self._spacing = steady + self._pause, self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if asked is not None:
            self._blocked_until = max(self._blocked_until, steady + asked)

    def no_line(self, steady: float) -> None:
        """Pause after a call that found no line, then let one call through in each pause until one gets a line.

        A missing line shows only when the call is read: until then, more calls would be placed for nothing.
        """
        self.slow_down(steady)
        self._probing = True

    def recover(self, steady: float) -> None:
        """Forget the pauses: a call got a line, and is over."""
        self.got_line(steady)
        if steady >= self._blocked_until:
            self._pause, self._probing = FIRST_PAUSE, False

    def got_line(self, steady: float) -> None:
        """Note a call that has a line."""
        self._without_line, self._looked_at = 0.0, steady

    def no_line_for(self, steady: float, *, waiting: bool) -> float:
        """Return for how many seconds people have waited and no call has got a line.

        At most five minutes count between two uses of this method: the process was frozen for the rest.

        Args:
            steady: The time.
            waiting: Whether people could be called now if there were a line.
        """
        passed = 0.0 if self._looked_at is None else min(steady - self._looked_at, LONGEST_BACKOFF)
        self._without_line = self._without_line + passed if waiting else 0.0
        self._looked_at = steady
        return self._without_line

    def blocked(self, steady: float) -> float:
        """Return the seconds left of a pause."""
        return max(self._blocked_until - steady, 0.0)


def free_lines(*, limit: int, reserved: int, in_use: int, own: int) -> int:
    """Return how many live calls a campaign may have at once, by the response of ``get-concurrency``.

    Args:
        limit: The account's ``concurrency_limit``.
        reserved: Lines to leave free for others.
        in_use: The account's ``current_concurrency``.
        own: How many of those are this campaign's.

    >>> free_lines(limit=20, reserved=5, in_use=9, own=6)
    12
    """
    return max(limit - reserved - max(in_use - own, 0), 0)
