"""Decide which of a campaign's calls in progress to read next. Pure.

Each round lists them all by id in one request. Retell does not document whether it lists a call that is still
ringing, so a young call that is missing from the list counts as ringing; older ones are read one by one, a few in
each round.

A call that does not end must not hold the campaign open:

==================================  ===============================================================================
a call                              is given up as ``unknown``, for good, if it is read by itself and is
==================================  ===============================================================================
not listed, and older than 330 s    not known to Retell
ringing for more than 15 minutes    still ringing
live for more than 3 hours          still live: Retell ends a call after two hours at the latest
==================================  ===============================================================================

``api.sweeps`` does the same for waits, but by other rules:

=====================  =================================================  =========================================
                       a sweep of a wait                                  a round of a campaign
=====================  =================================================  =========================================
a call not listed      is read at once: of a few calls each counts, and   is not read while it may ring: Retell may
                       nothing says how old one is                        list none of its live calls, and reading
                                                                          20 a round would cost more than placing
a call that is listed  is not read by itself                              is, if it should have ended long ago
which are read first   those read longest ago                             the same
a 404 in time          may be "not there yet"                             cannot be: the call is over 330 s old
requests               one after the other, as the caller's flow          side by side in threads; this module
                                                                          only decides
=====================  =================================================  =========================================

They share how a list is read (``list_many`` and ``Sweeps``) and how many calls are read one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.api.sweeps import SINGLE_READS
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.campaign.plan.pacing import Moment

LONGEST_UNANSWERED: Final = 900.0
"""Seconds after which a call that still rings is given up."""

LONGEST_CALL: Final = 3 * 3600.0
"""Seconds after which any call is given up, as an operator does by default (``timeout``).

See https://docs.retellai.com/api-references/create-agent (``max_call_duration_ms``)
"""

READS_PER_ROUND: Final = SINGLE_READS
"""The most missing calls to read one by one in a round."""


@dataclass(slots=True)
class _InProgress:
    call: KnownCall
    since: float


class CallsInProgress:
    """The calls that are live, and those whose analysis is awaited.

    Args:
        poll_interval: Seconds between two rounds.
        analysis_timeout: Seconds to wait for the analysis after the end of a call; 0 to wait for none.

    Attributes:
        live: How many calls are live.
        left: The calls that the task left when it left its worker, until the list is read.
    """

    def __init__(self, *, poll_interval: float, analysis_timeout: float) -> None:
        self.poll_interval = poll_interval
        self.live = 0
        self.left: Sequence[str] = ()
        self._analysis_timeout = analysis_timeout
        self._calls: dict[str, _InProgress] = {}
        self._missing: dict[str, None] = {}
        self._overdue: list[str] = []
        self._listed: set[str] = set()
        self._asked_at = -math.inf

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._calls

    def call(self, call_id: str) -> KnownCall | None:
        """Return a call in progress as last seen."""
        watched = self._calls.get(call_id)
        return None if watched is None else watched.call

    @property
    def may_be_left(self) -> bool:
        """Return whether a trigger may wait for the live calls, and stop them if the task is killed.

        A new process must find them in the list, and none may belong to another map index.
        """
        live = [each.call for each in self._calls.values() if each.call.live]
        return self._listed.issuperset(call.call_id for call in live) and all(call.ours for call in live)

    def found(self, call: KnownCall) -> None:
        """Note that the list shows a call."""
        if call.live:
            self._listed.add(call.call_id)

    def update(self, call: KnownCall, now: Moment) -> None:
        """Take in a call, and watch it as long as more data is expected."""
        known = self._calls.pop(call.call_id, None)
        self._missing.pop(call.call_id, None)
        self.live += call.live - (known is not None and known.call.live)
        if not call.live:
            self._listed.discard(call.call_id)
        if call.live or self._awaits_analysis(call, now.wall):
            self._calls[call.call_id] = _InProgress(call, now.steady if known is None else known.since)

    def _awaits_analysis(self, call: KnownCall, now: float) -> bool:
        end = call.ended_at if call.ended_at is not None else now
        return not call.complete and now < end + self._analysis_timeout

    def missed(self, call_id: str, now: Moment) -> None:
        """Note that a call is not listed."""
        watched = self._calls.get(call_id)
        if watched is None:
            return
        if not watched.call.live:
            self.update(watched.call, now)
        elif now.steady >= watched.since + LONGEST_RINGING:
            self._missing[call_id] = None

    def due(self, now: Moment) -> tuple[str, ...]:
        """Return the calls to list now; none before the next round is due."""
        if now.steady < self._asked_at + self.poll_interval:
            return ()
        for watched in [each for each in self._calls.values() if not each.call.live]:
            self.update(watched.call, now)
        if self._calls:
            self._asked_at = now.steady
        self._overdue = [call_id for call_id, each in self._calls.items() if self.overdue(each.call, now)]
        return tuple(self._calls)

    def overdue(self, call: KnownCall, now: Moment) -> bool:
        """Return whether a call is live, and should have ended long ago."""
        watched = self._calls.get(call.call_id)
        known_for = 0.0 if watched is None else now.steady - watched.since
        age = known_for if call.placed_at is None else max(known_for, now.wall - call.placed_at)
        return call.live and age >= (LONGEST_UNANSWERED if call.ringing else LONGEST_CALL)

    def unlisted(self) -> tuple[str, ...]:
        """Return the calls to read one by one in this round, and forget them until the next one."""
        overdue = [call_id for call_id in self._overdue if call_id in self._calls]
        ids = tuple(dict.fromkeys((*self._missing, *overdue)))[:READS_PER_ROUND]
        self._missing, self._overdue = {}, []
        for call_id in ids:  # move to the end, so that the others are next even if these cannot be read
            self._calls[call_id] = self._calls.pop(call_id)
        return ids

    def next_round_in(self, steady: float) -> float:
        """Return the seconds until the next round."""
        return max(self._asked_at + self.poll_interval - steady, 0.0)

    def calls(self) -> Sequence[KnownCall]:
        """Return the calls in progress."""
        # Iterate over a copy, because after a kill another thread calls this.
        return [watched.call for watched in tuple(self._calls.values())]

    def to_stop(self) -> list[str]:
        """Return the calls to stop after a kill: those of this map index that may be live."""
        return [*(call.call_id for call in self.calls() if call.live and call.ours), *self.left]
