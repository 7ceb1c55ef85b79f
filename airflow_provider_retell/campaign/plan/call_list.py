"""Decide when to read the list of this task's calls, and for how long to trust it. Pure.

The list is read

- at the beginning;
- before a call is placed, if the list is half an hour old, or the process may have been frozen for over a
  minute, or had lost its connection;
- as soon as the call of a lost response must be listed, if its request is not sent again;
- after the first call has ended, until a call is listed;
- before the results are written, if another process may have placed a call that was not listed yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from airflow_provider_retell.api.patience import LONGEST_RINGING

LIST_TRUSTED: Final = 1800.0
"""Seconds for which calls may be placed on one reading: with the longest ringing, well within a key's lifetime."""

LONGEST_GAP: Final = 60.0
"""Seconds between two actions after which the process may have been frozen."""

LISTED_WITHIN: Final = LONGEST_RINGING
"""Seconds after its end within which the first call must be listed under its tag."""


class CallList:
    """The state of the list as it was last read. All times are steady ones.

    Args:
        poll_interval: Seconds between two readings while a call has ended and none is listed.
        continued: Whether an earlier process may have placed calls that are not listed yet.
    """

    def __init__(self, *, poll_interval: float, continued: bool) -> None:
        self._poll_interval = poll_interval
        self._continued = continued
        self._settles_at = -math.inf
        self._known = self._works = False
        self._began_at = self._seen = self._first_over_at = -math.inf

    def notice(self, now: float) -> None:
        """Note that the process is at work. After a gap, another process may have placed calls."""
        first = self._seen == -math.inf
        if now - self._seen > LONGEST_GAP:
            self.distrust()
            self._settles_at = -math.inf if first and not self._continued else now + LONGEST_RINGING
        self._seen = now

    def distrust(self) -> None:
        """Require the list to be read again before the next call is placed."""
        self._began_at = -math.inf

    def read(self, *, began: float, now: float, found: bool) -> bool:
        """Note a reading; return whether it is empty although the first call that ended should be in it by now.

        Args:
            began: When the first request of the reading was sent.
            now: When the last response arrived: a long reading does not count as a gap.
            found: Whether any call was listed.
        """
        self._known, self._works = True, self._works or found
        self._began_at = began
        self._seen = now
        return self._unconfirmed and now >= self._first_over_at + LISTED_WITHIN

    def call_over(self, now: float) -> None:
        """Note that a call of this process is over."""
        if self._first_over_at == -math.inf:
            self._first_over_at = now

    @property
    def _unconfirmed(self) -> bool:
        return self._first_over_at > -math.inf and not self._works

    def fresh(self, now: float) -> bool:
        """Return whether the list is recent enough to place calls."""
        return now - self._began_at < LIST_TRUSTED and now - self._seen <= LONGEST_GAP

    def shows(self, asked_at: float) -> bool:
        """Return whether the last reading must show a call whose request was sent at a given time."""
        return self._began_at >= asked_at + LONGEST_RINGING

    def settled(self) -> bool:
        """Return whether the last reading must show all calls of earlier processes."""
        return self._began_at >= self._settles_at

    def due_in(self, now: float, awaited: Iterable[float], *, at_rest: bool) -> float:
        """Return in how many seconds the list must be read for reasons other than placing calls; 0 means now.

        Args:
            now: The time.
            awaited: When those requests were sent whose result only the list can show.
            at_rest: Whether nothing else is left to do.
        """
        if not self._known:
            return 0
        times = [at + LONGEST_RINGING for at in awaited if not self.shows(at)]
        times += [self._began_at + self._poll_interval] if self._unconfirmed else []
        times += [self._settles_at] if at_rest and not self.settled() else []
        return max(min(times, default=math.inf) - now, 0)
