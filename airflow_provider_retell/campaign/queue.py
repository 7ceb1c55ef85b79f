"""Decide who is called next. Pure.

The people who are due are taken in this order: first those whose response was lost (they already hold a line),
then those who are called again, the longest due first, then first calls in the order given. A redial goes before a
first call because it has an appointed time: a person who asked to be called back in ten minutes must not wait for
others.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from airflow_provider_retell.campaign.roster import Slot, Turn


class Queue:
    """A queue by due time, in which entries are replaced in O(log n)."""

    def __init__(self) -> None:
        self._ready: list[tuple[int, float, int, int, Slot]] = []
        self._later: list[tuple[float, int, int, Slot]] = []
        self._count = dict.fromkeys(Turn, 0)

    def __len__(self) -> int:
        return sum(self._count.values())

    def count(self, turn: Turn) -> int:
        """Return how many are in the queue for one reason."""
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

    def head(self, now: float) -> Slot | None:
        """Return the next person who is due, None if nobody is."""
        while (due := self.next_due()) is not None and due <= now:
            _, row, ticket, slot = heapq.heappop(self._later)
            turn = Turn.FIRST if slot.turn is None else slot.turn
            heapq.heappush(self._ready, (turn, 0 if turn is Turn.FIRST else due, row, ticket, slot))
        while self._ready and self._ready[0][4].ticket != self._ready[0][3]:
            heapq.heappop(self._ready)
        return self._ready[0][4] if self._ready else None

    def next_due(self) -> float | None:
        """Return when the next person who is not yet due will be."""
        while self._later and self._later[0][3].ticket != self._later[0][2]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def drain(self) -> Iterator[Slot]:
        """Take everybody out of the queue."""
        entries = [(entry[4], entry[3]) for entry in self._ready] + [(entry[3], entry[2]) for entry in self._later]
        self._ready, self._later = [], []
        for slot, ticket in entries:
            if slot.ticket == ticket:
                self.discard(slot)
                yield slot
