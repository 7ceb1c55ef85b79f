"""Decide which of a campaign's calls in progress to read next. Pure.

Each round lists them all by id in one request. Retell does not document whether it lists a call that is still
ringing, so a young call that is missing from the list counts as ringing; older ones are read one by one, a few in
each round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from airflow_provider_retell.campaign.ledger import KnownCall
from airflow_provider_retell.campaign.pacing import Moment

LONGEST_RINGING: Final = 330.0
"""Seconds after which a call that was placed is listed: it rings for five minutes at most."""

READS_PER_ROUND: Final = 20
"""The most missing calls to read one by one in a round."""


@dataclass(slots=True)
class _Watched:
    call: KnownCall
    since: float


class Watch:
    """The calls that are live, and those whose analysis is awaited.

    Args:
        poll_interval: Seconds between two rounds.
        analysis_timeout: Seconds to wait for the analysis after the end of a call; 0 to wait for none.
    """

    def __init__(self, *, poll_interval: float, analysis_timeout: float) -> None:
        self.poll_interval = poll_interval
        self.live = 0
        self._analysis_timeout = analysis_timeout
        self._calls: dict[str, _Watched] = {}
        self._missing: dict[str, None] = {}
        self._asked_at = -math.inf

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._calls

    def call(self, call_id: str) -> KnownCall | None:
        """Return a call in progress as last seen."""
        watched = self._calls.get(call_id)
        return None if watched is None else watched.call

    def update(self, call: KnownCall, now: Moment) -> None:
        """Take in a call, and watch it as long as more data is expected."""
        known = self._calls.pop(call.call_id, None)
        self._missing.pop(call.call_id, None)
        self.live += call.live - (known is not None and known.call.live)
        if call.live or self._awaits_analysis(call, now.wall):
            self._calls[call.call_id] = _Watched(call, now.steady if known is None else known.since)

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
        return tuple(self._calls)

    def unlisted(self) -> tuple[str, ...]:
        """Return the calls to read one by one in this round, and forget them until they are missing again."""
        ids, self._missing = tuple(self._missing)[:READS_PER_ROUND], {}
        return ids

    def next_round_in(self, steady: float) -> float:
        """Return the seconds until the next round."""
        return max(self._asked_at + self.poll_interval - steady, 0.0)

    def calls(self) -> Iterable[KnownCall]:
        """Return the calls in progress."""
        return (watched.call for watched in self._calls.values())
