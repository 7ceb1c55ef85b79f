"""When to read the list of this task's calls, and for how long to believe it. Pure.

The list is read

- at the beginning;
- before a call is placed, if the list is half an hour old, or the process may have been frozen for over a
  minute, or connected again;
- once a request whose answer was lost, and which is not sent again, would be listed;
- after the first call to end, until it is listed;
- before the results are written, if another process may have placed a call that was not listed yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from airflow_provider_retell.campaign.watching import LONGEST_RINGING

LIST_TRUSTED: Final = 1800.0
"""Seconds for which a list is good to place calls on: with the longest ringing, well within the life of a key."""

LONGEST_GAP: Final = 60.0
"""Seconds between two actions after which the process may have been frozen."""

LISTED_WITHIN: Final = 120.0
"""Seconds after its end within which the first call must be listed under its tag."""


class Listing:
    """What the list was good for when it was read last. Times are steady ones.

    Args:
        poll_interval: Seconds between two readings while the first call to end is not listed.
        continued: Whether an earlier process may have placed calls that are not listed yet.
    """

    def __init__(self, *, poll_interval: float, continued: bool) -> None:
        self._poll_interval = poll_interval
        self._continued = continued
        self._settles_at = -math.inf
        self._known = self._works = False
        self._began_at = self._seen = self._first_over_at = -math.inf

    def notice(self, now: float) -> None:
        """Take note that the process is at work. While it was not, another one may have placed calls."""
        first = self._seen == -math.inf
        if now - self._seen > LONGEST_GAP:
            self.distrust()
            self._settles_at = -math.inf if first and not self._continued else now + LONGEST_RINGING
        self._seen = now

    def distrust(self) -> None:
        """Have the list read again before anything is placed."""
        self._began_at = -math.inf

    def read(self, *, began: float, now: float, found: bool) -> bool:
        """Take note of a reading; return whether the first call to end should be in it by now, and none is.

        Args:
            began: When the first request of the reading was sent.
            now: When the last answer was there: reading is no pause, however long it takes.
            found: Whether any call was listed.
        """
        self._known, self._works = True, self._works or found
        self._began_at = began
        self._seen = now
        return self._unconfirmed and now >= self._first_over_at + LISTED_WITHIN

    def call_over(self, now: float) -> None:
        """Take note that a call of this process is over."""
        if self._first_over_at == -math.inf:
            self._first_over_at = now

    @property
    def _unconfirmed(self) -> bool:
        return self._first_over_at > -math.inf and not self._works

    def fresh(self, now: float) -> bool:
        """Return whether calls may be placed on what is known."""
        return now - self._began_at < LIST_TRUSTED and now - self._seen <= LONGEST_GAP

    def shows(self, asked_at: float) -> bool:
        """Return whether a call that was asked for at a time would be in the list as it was read last."""
        return self._began_at >= asked_at + LONGEST_RINGING

    def settled(self) -> bool:
        """Return whether all calls of other processes would be in the list as it was read last."""
        return self._began_at >= self._settles_at

    def due_in(self, now: float, awaited: Iterable[float], *, at_rest: bool) -> float:
        """Return in how many seconds the list is to be read for other reasons than to place calls; 0 for now.

        Args:
            now: The time.
            awaited: When the requests were sent of which only the list can say what became of them.
            at_rest: Whether nothing else is left to do.
        """
        if not self._known:
            return 0
        times = [at + LONGEST_RINGING for at in awaited if not self.shows(at)]
        times += [self._began_at + self._poll_interval] if self._unconfirmed else []
        times += [self._settles_at] if at_rest and not self.settled() else []
        return max(min(times, default=math.inf) - now, 0)
