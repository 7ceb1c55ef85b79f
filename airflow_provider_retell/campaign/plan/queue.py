"""Decide who is called next. Pure.

The people who are due are taken in this order:

=============================================================  ====================================================
who                                                            in which order
=============================================================  ====================================================
is called again                                                the longest due first
is called for the first time                                   as given
was called, and the response is lost                           the longest due first; needs no line, having one
was turned away more than once (a 429, a call without a line)  the longest due first
lost a response, and was not called by it                      the same
=============================================================  ====================================================

A redial goes before a first call because it has an appointed time: a person who asked to be called back in ten
minutes must not wait for others. The last three rows go last, because whatever keeps one person from being called
may last. After five requests for the others, one of them goes first, so that they do not wait for ever.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterator
from typing import Final

from airflow_provider_retell.campaign.plan.roster import Lane, Slot, Turn

OTHERS_BETWEEN: Final = 5
"""Requests for others before one for a person whose response was lost, or who was turned away more than once."""


class Queue:
    """A queue by due time, in which entries are replaced in O(log n)."""

    def __init__(self) -> None:
        self._ready: dict[Lane, list[tuple[int, float, int, int, Slot]]] = {lane: [] for lane in Lane}
        self._later: list[tuple[float, int, int, Slot]] = []
        self._count = dict.fromkeys(Turn, 0)
        self._others = 0

    def __len__(self) -> int:
        return sum(self._count.values())

    def count(self, turn: Turn) -> int:
        """Return how many people are in the queue for one reason."""
        return self._count[turn]

    def add(self, slot: Slot, turn: Turn, due: float = -math.inf) -> None:
        """Put a person in the queue; this replaces an earlier entry."""
        self.discard(slot)
        slot.turn = turn
        self._count[turn] += 1
        heapq.heappush(self._later, (due, slot.person.row, slot.ticket, slot))

    def discard(self, slot: Slot) -> None:
        """Take a person out of the queue."""
        slot.ticket += 1
        if slot.turn is not None:
            self._count[slot.turn] -= 1
            slot.turn = None

    def heads(self, now: float) -> Iterator[Slot]:
        """Yield the first due person of each lane, in the order in which to call them."""
        while (due := self.next_due()) is not None and due <= now:
            _, row, ticket, slot = heapq.heappop(self._later)
            regular = slot.lane is Lane.REGULAR
            rank = slot.turn if regular and slot.turn is not None else Turn.AGAIN
            place = (rank, 0.0 if rank is Turn.FIRST else due, row, ticket, slot)
            heapq.heappush(self._ready[slot.lane], place)
        regular_first = self._others < OTHERS_BETWEEN
        for lane in sorted(Lane, key=lambda lane: (lane is Lane.REGULAR) is not regular_first):
            ready = self._ready[lane]
            while ready and ready[0][4].ticket != ready[0][3]:
                heapq.heappop(ready)
            if ready:
                yield ready[0][4]

    def sent(self, lane: Lane) -> None:
        """Note a request for a person of a lane."""
        self._others = self._others + 1 if lane is Lane.REGULAR else 0

    def next_due(self) -> float | None:
        """Return when the next person who is not due yet will be due."""
        while self._later and self._later[0][3].ticket != self._later[0][2]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def others_due(self, now: float, rows: Collection[int]) -> bool:
        """Return whether anyone is due besides the people with these rows."""
        return any(due <= now and slot.person.row not in rows for due, slot in self._entries())

    def drain(self) -> Iterator[Slot]:
        """Take everybody out of the queue."""
        slots = [slot for _, slot in self._entries()]
        self._ready, self._later = {lane: [] for lane in Lane}, []
        for slot in slots:
            self.discard(slot)
            yield slot

    def _entries(self) -> Iterator[tuple[float, Slot]]:
        """Yield all people in the queue, each with the time when they are due, or ``-inf`` if they are already."""
        for ready in self._ready.values():
            yield from ((-math.inf, slot) for *_, ticket, slot in ready if slot.ticket == ticket)
        yield from ((due, slot) for due, _, ticket, slot in self._later if slot.ticket == ticket)
