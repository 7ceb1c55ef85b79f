"""The state of a campaign's calls, and how two sources about one call are merged.

Retell's list is the ledger: each call is in it under its tag. The campaign's own ``attempts-*`` files also hold
the calls that the account no longer keeps, and the times when they were placed. Calls are merged by ``call_id``:

==============  ===========  ====================================================================
known           seen now     becomes
==============  ===========  ====================================================================
live            live         live
live            over         over, first seen over now
over            over         over, with the newer data (analysis, cost), first seen over as before
over            live         over: the response is outdated, no call comes back to life
not readable    anything     what was seen
live            not known    over without an ending, so that no rule replaces it
over            not known    over as before: a call that is over does not come to be unknown
==============  ===========  ====================================================================

The times are the earliest ones known. An attempt without times counts as happening when it was first seen over,
by this process or in a file. A redial may then be late, but never early.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from airflow_provider_retell.campaign.people.identity import PersonKey
from airflow_provider_retell.outcomes import RINGING, TALKING, Outcome
from airflow_provider_retell.policy import Attempt, Redial, next_redial
from airflow_provider_retell.rows import cents, in_seconds, moment

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.campaign.people.identity import TaggedAttempt


GIVEN_UP: Final = "Retell does not know the call, or it did not end: look at it in Retell's dashboard"
"""The detail in the row of a call about which no more can be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCall:
    """A call of this campaign, kept small because there may be 100,000 of them.

    Attributes:
        call_id: Retell's id of the call.
        person: The person called.
        attempt: The number of the attempt, counted from 1.
        ours: Whether this mapped instance of the task placed it, and not another one.
        status: ``call_status``; None if Retell does not know the call (any more).
        reason: ``disconnection_reason``.
        outcome: None while it is live.
        placed_at: When it was placed or started, in seconds since the epoch; None if that is not known.
        seen_over_at: When it was first seen over, in seconds since the epoch; None while it is live.
        ended_at: When it ended according to Retell, else ``seen_over_at``.
        complete: Whether no more data is expected: it has its analysis, or never connected.
        talk_seconds: How long it was connected.
        cost_cents: Its cost so far.
    """

    call_id: str
    person: PersonKey
    attempt: int
    ours: bool = True
    status: str | None = None
    reason: str | None = None
    outcome: Outcome | None = None
    placed_at: float | None = None
    seen_over_at: float | None = None
    ended_at: float | None = None
    complete: bool = False
    talk_seconds: float = 0
    cost_cents: float = 0

    @property
    def live(self) -> bool:
        """True if the call may ring or be in progress."""
        return self.outcome is None

    @property
    def ringing(self) -> bool:
        """True if it may ring: it is not answered yet."""
        return self.status in RINGING

    @property
    def talking(self) -> bool:
        """True if it is in progress."""
        return self.status in TALKING

    @property
    def unreadable(self) -> bool:
        """True if Retell does not know this call."""
        return self.status is None and not self.live

    @property
    def dialed(self) -> bool:
        """True if it counts as an attempt: a call that found no line rang no phone."""
        return self.outcome is not Outcome.CAPACITY

    @property
    def happened_at(self) -> float | None:
        """The time at which it counts as placed."""
        return self.placed_at if self.placed_at is not None else self.seen_over_at

    @property
    def timed_here(self) -> bool:
        """True if it counts as placed, or as over, when it was first seen over, as no other time is known."""
        return not self.live and self.seen_over_at in (self.happened_at, self.ended_at)

    def vanished(self, now: float) -> KnownCall:
        """Return the call after Retell no longer knows its id."""
        return replace(self, status=None, reason=None, outcome=Outcome.UNKNOWN, complete=True).seen_over(now)

    def seen_over(self, now: float) -> KnownCall:
        """Return the call as over, with times taken from this moment if there are none."""
        over_at = now if self.seen_over_at is None else self.seen_over_at
        end = over_at if self.ended_at is None else min(self.ended_at, over_at)
        return replace(self, seen_over_at=over_at, ended_at=end)


def read_call(
    call: CallRow,
    tagged: TaggedAttempt,
    *,
    now: float,
    placed_at: float | None = None,
    seen_over_at: float | None = None,
) -> KnownCall:
    """Return the data that a campaign keeps of a call.

    Args:
        call: As listed, read, answered, or written to a file.
        tagged: The contents of its tag.
        now: When it was seen, in seconds since the epoch.
        placed_at: When it was placed, if that is known.
        seen_over_at: When it was first seen over, according to a file.
    """
    known = KnownCall(
        call_id=call.call_id,
        person=tagged.person,
        attempt=tagged.attempt,
        ours=tagged.same_map_index,
        status=None if call.call_status is None else sys.intern(str(call.call_status)),
        reason=None if call.disconnection_reason is None else sys.intern(str(call.disconnection_reason)),
        outcome=call.outcome,
        placed_at=moment(call.start_timestamp) if placed_at is None else placed_at,
        seen_over_at=seen_over_at,
        ended_at=moment(call.end_timestamp),
        complete=call.is_terminal and (call.analyzed or not call.connected),
        talk_seconds=in_seconds(call.duration_ms) or 0,
        cost_cents=cents(call.call_cost) or 0,
    )
    return known if known.live else known.seen_over(now)


def merge(known: KnownCall | None, seen: KnownCall) -> KnownCall:
    """Merge what two sources show of one call, by the table above."""
    if known is None:
        return seen
    placed_at = _earliest(known.placed_at, seen.placed_at)
    if known.live or known.unreadable:
        return replace(seen, placed_at=placed_at)
    if seen.live or seen.unreadable:
        return replace(known, placed_at=placed_at)
    return replace(
        seen,
        placed_at=placed_at,
        seen_over_at=_earliest(known.seen_over_at, seen.seen_over_at),
        ended_at=_earliest(known.ended_at, seen.ended_at),
        complete=known.complete or seen.complete,
        talk_seconds=max(known.talk_seconds, seen.talk_seconds),
        cost_cents=max(known.cost_cents, seen.cost_cents),
    )


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)


def dialed(calls: Iterable[KnownCall]) -> tuple[KnownCall, ...]:
    """Return the calls that count as attempts, by their number."""
    return tuple(sorted((call for call in calls if call.dialed), key=lambda call: call.attempt))


def attempts_of(calls: Sequence[KnownCall]) -> list[Attempt]:
    """Return calls as attempts for the policies.

    Args:
        calls: All dialed calls of one person, by the number of the attempt. A later one never counts as placed
            before an earlier one.
    """
    placed = itertools.accumulate((call.happened_at or 0.0 for call in calls), max)
    return [
        Attempt(
            placed_at=datetime.fromtimestamp(placed_at, UTC),
            ended_at=None if call.ended_at is None else datetime.fromtimestamp(call.ended_at, UTC),
            outcome=call.outcome,
            call_status=call.status,
            disconnection_reason=call.reason,
        )
        for call, placed_at in zip(calls, placed, strict=True)
    ]


def without_a_line(calls: Sequence[KnownCall]) -> int:
    """Return how many of a person's calls found no line since the last one that did."""
    newest_first = sorted(calls, key=lambda call: -call.attempt)
    return sum(1 for _ in itertools.takewhile(lambda call: not call.dialed, newest_first))


def redial_at(calls: Sequence[KnownCall], rules: Sequence[Redial]) -> float | None:
    """Return when the rules allow a person to be called again, None if never.

    After a call that Retell no longer knows there is no redial, because how it ended is unknown.

    Args:
        calls: As for ``attempts_of``.
        rules: The campaign's ``redial``.
    """
    if not rules or calls[-1].unreadable:
        return None
    due = next_redial(rules, attempts_of(calls))
    return None if due is None else due.timestamp()
