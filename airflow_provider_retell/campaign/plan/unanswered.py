"""Decide how often to repeat requests that place calls and are not answered. Pure.

===================================================================  ==============================================
requests that are not answered (a time-out, a 5xx, no connection)    what follows
===================================================================  ==============================================
five for one person, with a call to another placed in between each   that person is given up
for ten minutes all requests, in a campaign that has called others   that person is given up: the trouble is of
before, for one person alone                                         that row
the same, for up to four people, and nobody else could be called     they are given up, likewise
the same, for more people; those do not count for whom a request     they are given up: Retell placed a call
before was not answered either, while a call to another was placed   between two failures of each
for ten minutes all requests otherwise                               the campaign stops, and a retry goes on: it is
                                                                     an outage
fewer, or for a shorter time                                         they are repeated, behind those for others
===================================================================  ==============================================

The list is read between two such requests, so reading it detects an outage of all of Retell. If only the requests
that place calls fail, the campaign tries other people too, as long as there are any: if it fails for all of them,
it is an outage. At the end of the campaign no others are left to try, and a few people must not fail the task for
all others; as with refusals, five are not a few.

A person who is *given up* is not called in this try: the request may fail because of that person's row, and others
must not wait for it. A refusal or a 429 is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import Final

UNREACHABLE_FOR: Final = 600.0
"""Seconds for which Retell may be in trouble before a campaign stops."""

STRIKES: Final = 5
"""Unanswered requests for one person, with calls to others in between, after which that person is given up."""

A_FEW: Final = 4
"""The most unanswered people at the end of a campaign whose rows, rather than Retell, count as the reason."""

GIVEN_UP: Final = "Retell did not answer the requests to call this person, while it placed calls to others"


class Verdict(Enum):
    """The consequence of a request that was not answered."""

    REPEAT = "repeat"
    GIVE_UP = "give up"
    STOP = "stop"


class Unanswered:
    """The requests that were not answered. All times are steady ones."""

    def __init__(self) -> None:
        self._placed = 0
        self._strikes: dict[int, tuple[int, int]] = {}
        self._rows: set[int] = set()
        self._since = self._last = 0.0

    def answered(self) -> None:
        """Note a request that was answered, even by a refusal."""
        self._rows.clear()

    def placed(self, row: int) -> None:
        """Note a call that was placed, by the person's row."""
        self.answered()
        self._placed += 1
        self._strikes.pop(row, None)

    def unanswered(
        self, row: int, now: float, *, others_called: bool, others_due: Callable[[Collection[int]], bool]
    ) -> Verdict:
        """Note a request that was not answered, and return what follows, by the table above.

        Args:
            row: The person's row.
            now: The time.
            others_called: Whether anyone else was called in this campaign.
            others_due: Returns whether anyone is due now besides the people with these rows.
        """
        if not self._rows or now - self._last > UNREACHABLE_FOR:  # none was sent since
            self._rows.clear()
            self._since = now
        self._rows.add(row)
        self._last = now
        strikes, placed = self._strikes.get(row, (0, -1))
        strikes += placed != self._placed
        self._strikes[row] = strikes, self._placed
        if strikes >= STRIKES:
            return Verdict.GIVE_UP
        if now - self._since < UNREACHABLE_FOR:
            return Verdict.REPEAT
        if not others_called:
            return Verdict.STOP
        if self._rows == {row}:
            return Verdict.GIVE_UP
        unproven = sum(self._strikes[each][0] == 1 for each in self._rows)
        return Verdict.STOP if unproven > A_FEW or others_due(self._strikes) else Verdict.GIVE_UP
