"""Decide right before each dial whether the person may be called, in this order; the first match counts.

====================================================  =========================================================
found                                                 verdict
====================================================  =========================================================
it is past ``until``, or the person's ``not_after``   not called; refused as ``outside_hours`` if the hours never
                                                      opened since the campaign began
it is before ``not_before``                           later, then; not called if that is not in time
no time zone is known, and the hours need one         refused as ``no_time_zone``
the hours are shut                                    later, when they open
they do not open again in time                        not called if they were open, else ``outside_hours``
the person is on the list                             refused as ``do_not_call``
a call of this run or of the history ended so         refused as ``do_not_call``
the attempts are used up, and free again in time      later, then
they are not free again in time, or in a day          refused as ``attempt_limit``
``eligible`` says no, or fails                        refused as ``not_eligible``
none of these                                         dial
====================================================  =========================================================

*In time* is before ``until`` and before the person's ``not_after``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from airflow_provider_retell.campaign.people.person import Person, Refusal
from airflow_provider_retell.campaign.plan.ledger import KnownCall, attempts_of, dialed
from airflow_provider_retell.errors import RetellTimeZoneError
from airflow_provider_retell.policy import Attempt, AttemptLimit, CallingHours
from airflow_provider_retell.policy.next_time import next_time

LONGEST_BUDGET_WAIT: Final = 24 * 3600.0
"""The longest wait in seconds until ``attempts`` allows another call; for a longer one, a person is refused."""


@dataclass(frozen=True, slots=True)
class Dial:
    """The person may be called now."""


@dataclass(frozen=True, slots=True)
class Later:
    """Not yet: ask again at a time, in seconds since the epoch."""

    at: float


@dataclass(frozen=True, slots=True)
class NotCalled:
    """The person is not called in this campaign, because there is not enough time."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The person is not called in this campaign, for a reason that concerns only this person."""

    reason: Refusal
    detail: str
    failed: bool = False
    """True if ``eligible`` failed, rather than said no."""


Verdict: TypeAlias = Dial | Later | NotCalled | Refuse


@dataclass(frozen=True, slots=True)
class NotEligible:
    """The answer that a person is not eligible.

    Attributes:
        reason: The reason in words.
        failed: Whether the function raised, was too slow, or returned something unexpected.
    """

    reason: str
    failed: bool = False


@dataclass(kw_only=True)
class Checks:
    """The checks right before each dial.

    Attributes:
        began_at: When the first try of the campaign began, in seconds since the epoch, as far as that is known.
        until: The time after which no call is placed; infinite if there is none.
        timeout: The same, in seconds after ``began_at``; live calls are then stopped.
        hours: ``calling_hours``.
        listed: Returns whether a number is on the do-not-call list; replaced when the file of the list changes.
        limit: ``attempts``.
        history: Returns the calls to a person, by id or by number, in earlier runs and other campaigns, as a
            mapping from their call ids. Calls of this run may be among them.
        eligible: Returns None for a person who is eligible, given the calls so far.
        is_slow: Returns whether the last call of ``eligible`` took long: live calls are then read before the next.
    """

    began_at: float = 0.0
    until: float = math.inf
    timeout: float = math.inf
    hours: CallingHours | None = None
    listed: Callable[[str], bool] = lambda _number: False
    limit: AttemptLimit | None = None
    history: Callable[[Person], Mapping[str, Attempt]] = lambda _person: {}
    eligible: Callable[[Person, Sequence[KnownCall]], NotEligible | None] = lambda _person, _calls: None
    is_slow: Callable[[], bool] = lambda: False

    @property
    def stops_at(self) -> float:
        """The time at which live calls are stopped."""
        return self.began_at + self.timeout

    @property
    def ends_at(self) -> float:
        """The time after which no call is placed."""
        return min(self.until, self.stops_at)

    def verdict(self, person: Person, calls: Sequence[KnownCall], now: float) -> Verdict:
        """Return what to do with a person who is due.

        Args:
            person: Whom to call.
            calls: The person's calls in this run so far.
            now: Seconds since the epoch.
        """
        time = self.time_verdict(person, now)
        if not isinstance(time, Dial):
            return time
        if self.listed(person.to_number):
            return Refuse(Refusal.DO_NOT_CALL, "on the do_not_call list")
        attempts = dialed(calls)
        known = [*attempts_of(attempts), *self._others(self.history(person), calls)]
        if any(attempt.asked_never_again for attempt in known):
            return Refuse(Refusal.DO_NOT_CALL, "asked in a call never to be called again")
        return self._budget(person, known, now) or self._eligible(person, attempts)

    @staticmethod
    def _others(history: Mapping[str, Attempt], calls: Sequence[KnownCall]) -> list[Attempt]:
        own = {call.call_id for call in calls}  # even if it found no line: the history may not know that yet
        return [attempt for call_id, attempt in history.items() if call_id not in own]

    def time_verdict(self, person: Person, now: float) -> Verdict:
        """Return the verdict by time alone: cheap enough to repeat right before the request."""
        if now >= self.end(person):
            return self.too_late(person)
        if person.not_before is not None and now < person.not_before:
            return Later(person.not_before) if person.not_before < self.end(person) else NotCalled()
        try:
            opening = self._opening(person, now)
        except RetellTimeZoneError as error:
            return Refuse(Refusal.NO_TIME_ZONE, str(error))
        if opening == now:
            return Dial()
        return Later(opening) if opening < self.end(person) else self.too_late(person)

    def end(self, person: Person) -> float:
        """Return the time from which a person is not called any more."""
        return self.ends_at if person.not_after is None else min(self.ends_at, person.not_after)

    def _opening(self, person: Person, at: float) -> float:
        if self.hours is None:
            return at
        hours = self.hours
        return next_time(at, lambda moment: hours.next_opening(person.to_number, moment, person.time_zone))

    def too_late(self, person: Person) -> NotCalled | Refuse:
        """Return the verdict on a person who was not called before the end."""
        begin = max(self.began_at, person.not_before or self.began_at)
        end = self.end(person)
        if begin >= end:
            return NotCalled()
        try:
            opened = self._opening(person, begin) < end
        except RetellTimeZoneError as error:
            return Refuse(Refusal.NO_TIME_ZONE, str(error))
        if opened:
            return NotCalled()
        return Refuse(Refusal.OUTSIDE_HOURS, "the calling hours did not open before the end")

    def _budget(self, person: Person, attempts: Sequence[Attempt], now: float) -> Later | Refuse | None:
        if self.limit is None:
            return None
        free_at = next_time(now, partial(self.limit.next_allowed, attempts))
        if free_at >= min(self.end(person), now + LONGEST_BUDGET_WAIT):
            return Refuse(Refusal.ATTEMPT_LIMIT, "called as often as attempts allows")
        return Later(free_at) if free_at > now else None

    def _eligible(self, person: Person, calls: Sequence[KnownCall]) -> Dial | Refuse:
        problem = self.eligible(person, calls)
        return Dial() if problem is None else Refuse(Refusal.NOT_ELIGIBLE, problem.reason, problem.failed)
