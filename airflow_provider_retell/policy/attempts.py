"""Limits per person: calls in a rolling window, a gap between calls, a silence after a conversation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Self

from airflow_provider_retell.outcomes import DisconnectionReason, Outcome
from airflow_provider_retell.policy.durations import check_count, check_duration, code
from airflow_provider_retell.policy.refusals import input_error

CONVERSATIONS: Final = frozenset(
    {Outcome.ANSWERED, Outcome.TRANSFERRED, Outcome.CALLBACK_REQUESTED, Outcome.DO_NOT_CALL}
)
"""The outcomes of calls in which a person spoke."""


NEVER_AGAIN: Final = frozenset({Outcome.DO_NOT_CALL, DisconnectionReason.USER_REQUESTED_DNC})
"""Endings in which the person asked not to be called again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A call that was placed to a person, with the fields that policies need.

    Attributes:
        placed_at: When it was placed, with a time zone.
        ended_at: When it was over; None if that is not known, or it is not over.
        outcome: How it went, in the words of ``Outcome``; None if it is not over.
        call_status: Retell's status of it.
        disconnection_reason: Retell's reason for its end.
    """

    placed_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    call_status: str | None = None
    disconnection_reason: str | None = None

    def __post_init__(self) -> None:
        for name, moment in {"placed_at": self.placed_at, "ended_at": self.ended_at}.items():
            if moment is not None and moment.utcoffset() is None:
                raise input_error(
                    f"{name} of an Attempt must have a time zone, such as datetime.now(UTC), not {moment!r}."
                )

    @property
    def over_at(self) -> datetime:
        """The time of its end, or of its placing if the end is not known."""
        return self.ended_at or self.placed_at

    @property
    def found_a_line(self) -> bool:
        """False if the account had no free line: then no phone rang."""
        return self.outcome != Outcome.CAPACITY

    @property
    def asked_never_again(self) -> bool:
        """True if the person asked not to be called again."""
        return self.outcome in NEVER_AGAIN or self.disconnection_reason in NEVER_AGAIN


@dataclass(frozen=True, init=False, repr=False)
class AttemptLimit:
    """Limit how often a person may be called, whatever the outcomes.

    Three calls in any seven days, four hours between two, and none for a week after a conversation:

    >>> limit = AttemptLimit(
    ...     3, per=timedelta(days=7), gap=timedelta(hours=4), silence_after_conversation=timedelta(days=7)
    ... )
    >>> monday = datetime(2026, 7, 6, 10, tzinfo=UTC)
    >>> limit.next_allowed([Attempt(placed_at=monday, outcome="no_answer")], at=monday + timedelta(hours=1))
    datetime.datetime(2026, 7, 6, 14, 0, tzinfo=datetime.timezone.utc)

    The window is rolling: a call placed on Monday at 10:00 stops counting on the next Monday at 10:00. Each call
    counts from the moment it is placed, answered or not, unless it found no free line and so never rang.
    ``gap`` and ``silence_after_conversation`` run from the end of a call. A conversation is a call with the
    outcome ``answered``, ``transferred``, ``callback_requested`` or ``do_not_call``.

    The US rule on collecting debts counts the day of the conversation as the first of seven without a call.
    ``timedelta(days=7)`` keeps it: after a conversation on Monday the next call is possible a week later, on the
    eighth day, at the same hour.

    Args:
        most: Calls in any window, at least 1.
        per: How long the window is.
        gap: The shortest time between the end of a call and the next one; None for no such rule.
        silence_after_conversation: The shortest time between the end of a conversation and the next call; None for
            no such rule.

    Raises:
        RetellInputError: A number is below 1, or a time is not a positive ``timedelta``.
    """

    __version__: ClassVar[int] = 1
    """Stored by Airflow beside a serialised value.

    See https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/serializers.html
    """

    most: int
    per: timedelta
    gap: timedelta | None
    silence_after_conversation: timedelta | None

    def __init__(
        self,
        most: int,
        *,
        per: timedelta,
        gap: timedelta | None = None,
        silence_after_conversation: timedelta | None = None,
    ) -> None:
        name = type(self).__name__
        vars(self).update(
            most=check_count(f"most of {name}", most),
            per=check_duration(f"per of {name}", per),
            gap=None if gap is None else check_duration(f"gap of {name}", gap),
            silence_after_conversation=(
                None
                if silence_after_conversation is None
                else check_duration(f"silence_after_conversation of {name}", silence_after_conversation)
            ),
        )

    @property
    def memory(self) -> timedelta:
        """The time for which an attempt matters, counted from its end; older ones change nothing."""
        return max(self.per, self.gap or self.per, self.silence_after_conversation or self.per)

    def allows(self, attempts: Iterable[Attempt], at: datetime) -> bool:
        """Return whether a person with these attempts may be called at a given time."""
        return self.next_allowed(attempts, at) == at

    def next_allowed(self, attempts: Iterable[Attempt], at: datetime) -> datetime:
        """Return when a person with these attempts may be called, ``at`` at the earliest.

        Args:
            attempts: All known attempts to call the person, in any order.
            at: A datetime with a time zone.

        Raises:
            RetellInputError: ``at`` has no time zone.
        """
        if at.utcoffset() is None:
            raise input_error(f"at must be a datetime with a time zone, such as datetime.now(UTC), not {at!r}.")
        counted = sorted((each for each in attempts if each.found_a_line), key=lambda each: each.placed_at)
        moments = [at]
        if len(counted) >= self.most:
            moments.append(counted[-self.most].placed_at + self.per)
        if self.gap is not None:
            moments += [each.over_at + self.gap for each in counted]
        if self.silence_after_conversation is not None:
            talked = [each for each in counted if each.outcome in CONVERSATIONS]
            moments += [each.over_at + self.silence_after_conversation for each in talked]
        return max(moments)

    def __repr__(self) -> str:
        given = [f"{self.most}", f"per={code(self.per)}"]
        given += [] if self.gap is None else [f"gap={code(self.gap)}"]
        silence = self.silence_after_conversation
        given += [] if silence is None else [f"silence_after_conversation={code(silence)}"]
        return f"AttemptLimit({', '.join(given)})"

    def serialize(self) -> dict[str, Any]:
        """Return the arguments as JSON, times in seconds, for Airflow."""
        times = {"per": self.per, "gap": self.gap, "silence_after_conversation": self.silence_after_conversation}
        return {"most": self.most} | {name: time and time.total_seconds() for name, time in times.items()}

    @classmethod
    def deserialize(cls, data: dict[str, Any], version: int) -> Self:
        """Return the value that ``serialize`` returned, for Airflow."""
        _ = version  # there is one so far
        times = {name: value and timedelta(seconds=value) for name, value in data.items() if name != "most"}
        return cls(data["most"], **times)
