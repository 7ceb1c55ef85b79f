"""Decide when and how far the page reads Retell's list, which limits its requests. Pure.

A list is only read on demand: while no page is open, no request is sent. A *walk* reads the list to its end, a
*glance* reads only its first page, which holds the newest calls. ``pages`` is the number of pages of the last
walk.

=================================================  =============================================================
what is known                                      what is read next
=================================================  =============================================================
nothing yet, or no walk has come to its end        a walk, at once
the last reading failed                            a walk, ``AFTER_FAILURE`` after it, or what Retell asks for,
                                                   but at most ``LONGEST_PAUSE``
one page, a call is live                           a walk, ``WHILE_LIVE`` after the last reading began
one page, all calls are over                       a walk, ``WHILE_QUIET`` after it
several pages, the last walk is old enough         a walk: ``pages`` times ``WALK_PER_PAGE`` after the last began
several pages otherwise                            a glance, as often as one page is read
=================================================  =============================================================

So a minute costs at most 12 requests for a list of one page, and 18 for a longer one after its first walk;
failures cost fewer. The number of viewers does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

WHILE_LIVE: Final = 5.0
WHILE_QUIET: Final = 15.0
AFTER_FAILURE: Final = 15.0
LONGEST_PAUSE: Final = 300.0
WALK_PER_PAGE: Final = 10.0
"""Seconds between the beginnings of two readings."""

MOST_PAGES: Final = 50
"""The most pages of a walk: 50,000 calls. The page says so if there are more."""


class Reach(Enum):
    """The extent of a reading."""

    WALK = auto()
    GLANCE = auto()


@dataclass(frozen=True, kw_only=True)
class Readings:
    """The times of the last readings, in seconds of a clock that never goes back.

    Attributes:
        pages: The number of pages of the last complete walk, 0 before there was one.
        walked_at: When that walk began.
        read_at: When the last reading began.
        failed: Whether it failed.
        pause: Seconds to wait after a failure.
    """

    pages: int = 0
    walked_at: float = 0.0
    read_at: float | None = None
    failed: bool = False
    pause: float = AFTER_FAILURE

    def next(self, now: float, *, live: bool) -> Reach | None:
        """Return the next reading, None if it is too early for one."""
        if self.read_at is None:
            return Reach.WALK
        since = now - self.read_at
        if self.failed:
            return Reach.WALK if since >= self.pause else None
        if not self.pages:
            return Reach.WALK
        if since < (WHILE_LIVE if live else WHILE_QUIET):
            return None
        long_ago = now - self.walked_at >= self.pages * WALK_PER_PAGE
        return Reach.WALK if self.pages == 1 or long_ago else Reach.GLANCE

    def walked(self, began: float, pages: int) -> Readings:
        """Return the state after a complete walk."""
        return Readings(pages=pages, walked_at=began, read_at=began)

    def glanced(self, began: float) -> Readings:
        """Return the state after a glance."""
        return replace(self, read_at=began, failed=False)

    def outdated(self) -> Readings:
        """Return the state with the last reading outdated, unless it failed."""
        return self if self.failed or self.read_at is None else replace(self, read_at=self.read_at - WHILE_QUIET)

    def failed_at(self, began: float, *, asked: float | None) -> Readings:
        """Return the state after a failed reading.

        Args:
            began: When it began.
            asked: Seconds that Retell asks to wait.
        """
        pause = min(max(AFTER_FAILURE, asked or 0.0), LONGEST_PAUSE)
        return replace(self, read_at=began, failed=True, pause=pause)
