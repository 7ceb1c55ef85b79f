"""Decide after which calls a person is called again, when, and how many times.

The first rule of a list that names the ending of a call decides for that call, and the call counts only for this
rule.

===========================  =================================  ===========================================
the calls so far             calls that its rule decided for    then
===========================  =================================  ===========================================
one is not over              any                                no other call
one is ``do_not_call``       any                                no other call
no rule names the last one   any                                no other call
a rule names the last one    ``times`` or fewer                 another, ``after`` the end of the last one
a rule names the last one    more than ``times``                no other call
===========================  =================================  ===========================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from airflow_provider_retell.outcomes import allow_another, check_endings
from airflow_provider_retell.policy.attempts import NEVER_AGAIN, Attempt
from airflow_provider_retell.policy.durations import check_count, check_duration, code
from airflow_provider_retell.policy.refusals import input_error


@dataclass(frozen=True, init=False, repr=False)
class Redial:
    """Call again after a call that ended in a certain way.

    Two more calls if nobody picks up, each two hours after the end of the last one:

    >>> rules = [Redial("no_answer", "busy", after=timedelta(hours=2), times=2)]
    >>> noon = datetime(2026, 7, 6, 12, tzinfo=UTC)
    >>> next_redial(rules, [Attempt(placed_at=noon, outcome="no_answer")])
    datetime.datetime(2026, 7, 6, 14, 0, tzinfo=datetime.timezone.utc)

    The broad status ``ended`` never covers two endings. After ``do_not_call`` no rule calls again. After a call
    that was hung up through the API or the dashboard, only a rule that names ``stopped`` or ``manual_stopped``
    does.

    Args:
        *endings: Outcomes, statuses and disconnection reasons, one or more.
        after: The shortest time between the end of the call and the next one; zero for at once.
        times: The number of further calls, at least 1.

    Raises:
        RetellInputError: An ending is unknown or ``do_not_call``, or none is given; ``after`` is negative or not a
            ``timedelta``; ``times`` is below 1.
    """

    __version__: ClassVar[int] = 1
    """Stored by Airflow beside a serialised value.

    See https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/serializers.html
    """

    endings: tuple[str, ...]
    after: timedelta
    times: int

    def __init__(self, *endings: str, after: timedelta, times: int) -> None:
        if not endings or not all(isinstance(each, str) for each in endings):
            raise input_error(
                f'Redial takes endings one by one, as in Redial("no_answer", "busy", ...), not {endings!r}.'
            )
        if NEVER_AGAIN.intersection(endings):
            raise input_error(
                "Redial does not take do_not_call: a person who asked not to be called again is not called again. "
                "Leave it out."
            )
        vars(self).update(
            endings=check_endings("Redial", endings),
            after=check_duration("after of Redial", after, zero=True),
            times=check_count("times of Redial", times),
        )

    def names(self, attempt: Attempt) -> bool:
        """Return whether this rule decides about a call with this ending."""
        return allow_another(attempt, self.endings)

    def __repr__(self) -> str:
        after = code(self.after) if self.after else "timedelta(0)"
        return f"Redial({', '.join(map(repr, self.endings))}, after={after}, times={self.times})"

    def serialize(self) -> dict[str, Any]:
        """Return the arguments as JSON, ``after`` in seconds, for Airflow."""
        return {"endings": list(self.endings), "after": self.after.total_seconds(), "times": self.times}

    @classmethod
    def deserialize(cls, data: dict[str, Any], version: int) -> Self:
        """Return the value that ``serialize`` returned, for Airflow."""
        _ = version  # there is one so far
        return cls(*data["endings"], after=timedelta(seconds=data["after"]), times=data["times"])


def next_redial(rules: Sequence[Redial], attempts: Iterable[Attempt]) -> datetime | None:
    """Return when the rules allow a person to be called again; None if no other call follows.

    Args:
        rules: The rules, in the order in which they are tried.
        attempts: All calls to the person under these rules, in any order. If a call that found no line is among
            them, it counts like any other.
    """
    ordered = sorted(attempts, key=lambda each: each.placed_at)
    if any(each.outcome is None or each.asked_never_again for each in ordered):
        return None
    decided = [next((n for n, rule in enumerate(rules) if rule.names(each)), None) for each in ordered]
    if not decided or decided[-1] is None:
        return None
    rule = rules[decided[-1]]
    return ordered[-1].over_at + rule.after if decided.count(decided[-1]) <= rule.times else None
