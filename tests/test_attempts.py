"""A person is not called more often than the limit allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.policy import Attempt, AttemptLimit

MONDAY = datetime(2026, 7, 6, 10, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
DEBT = AttemptLimit(7, per=7 * DAY, silence_after_conversation=7 * DAY)


def call(after: timedelta, outcome: str | None = "no_answer", lasts: timedelta | None = None) -> Attempt:
    """Return a call so long after Monday at ten."""
    placed = MONDAY + after
    return Attempt(placed_at=placed, outcome=outcome, ended_at=None if lasts is None else placed + lasts)


@pytest.mark.parametrize(
    ("limit", "attempts", "at", "allowed"),
    [
        (AttemptLimit(1, per=DAY), [], 0 * DAY, 0 * DAY),
        (AttemptLimit(1, per=DAY), [call(0 * DAY)], HOUR, DAY),
        (AttemptLimit(1, per=DAY), [call(0 * DAY)], DAY, DAY),
        (AttemptLimit(1, per=DAY), [call(0 * DAY)], 2 * DAY, 2 * DAY),
        (AttemptLimit(3, per=DAY), [call(0 * DAY), call(HOUR)], 2 * HOUR, 2 * HOUR),
        (AttemptLimit(3, per=DAY), [call(0 * DAY), call(HOUR), call(2 * HOUR)], 3 * HOUR, DAY),
        (AttemptLimit(3, per=DAY), [call(2 * HOUR), call(0 * DAY), call(HOUR)], DAY, DAY),
        (AttemptLimit(2, per=DAY), [call(n * HOUR) for n in range(4)], 5 * HOUR, DAY + 2 * HOUR),
        (AttemptLimit(1, per=DAY), [call(0 * DAY, "capacity")], HOUR, HOUR),
        (AttemptLimit(1, per=DAY), [call(0 * DAY, None)], HOUR, DAY),
        (AttemptLimit(9, per=DAY, gap=4 * HOUR), [call(0 * DAY)], HOUR, 4 * HOUR),
        (AttemptLimit(9, per=DAY, gap=4 * HOUR), [call(0 * DAY, lasts=HOUR)], 2 * HOUR, 5 * HOUR),
        (AttemptLimit(9, per=DAY, gap=4 * HOUR), [call(0 * DAY, "capacity")], HOUR, HOUR),
        (DEBT, [call(0 * DAY)], HOUR, HOUR),
        (DEBT, [call(0 * DAY, "answered", lasts=10 * MINUTE)], 6 * DAY, 7 * DAY + 10 * MINUTE),
        (DEBT, [call(0 * DAY, "transferred")], DAY, 7 * DAY),
        (DEBT, [call(0 * DAY, "voicemail")], DAY, DAY),
        (DEBT, [call(n * HOUR) for n in range(7)], 8 * HOUR, 7 * DAY),
    ],
)
def test_when_the_next_call_is_allowed(
    limit: AttemptLimit, attempts: list[Attempt], at: timedelta, allowed: timedelta
) -> None:
    """A rolling window from each dial, a gap and a silence from the end of a call."""
    assert limit.next_allowed(attempts, MONDAY + at) == MONDAY + allowed
    assert limit.allows(attempts, MONDAY + at) == (at == allowed)


def test_a_conversation_is_a_call_in_which_a_person_spoke() -> None:
    """Four outcomes begin a silence, and no other does."""
    silent = {outcome for outcome in Outcome if not DEBT.allows([call(0 * DAY, outcome)], MONDAY + DAY)}
    assert silent == {"answered", "transferred", "callback_requested", "do_not_call"}


MINUTES = st.integers(1, 60).map(lambda n: n * MINUTE)
LIMITS = st.builds(
    AttemptLimit,
    st.integers(1, 4),
    per=MINUTES,
    gap=st.none() | MINUTES,
    silence_after_conversation=st.none() | MINUTES,
)
ATTEMPTS = st.lists(
    st.builds(
        call,
        st.integers(-120, 0).map(lambda n: n * MINUTE),
        st.sampled_from(["no_answer", "answered", "capacity", None]),
        st.none() | MINUTES,
    ),
    max_size=8,
)


def reads_allowed(limit: AttemptLimit, attempts: list[Attempt], at: datetime) -> bool:
    """Return whether a limit allows a call, by looking at each earlier call."""
    dials = [each for each in attempts if each.outcome != "capacity"]
    for each in dials:
        over = each.ended_at or each.placed_at
        if limit.gap is not None and at - over < limit.gap:
            return False
        silence = limit.silence_after_conversation
        if each.outcome == "answered" and silence is not None and at - over < silence:
            return False
    return sum(at - each.placed_at < limit.per for each in dials) < limit.most


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(limit=LIMITS, attempts=ATTEMPTS)
def test_the_next_call_is_in_the_first_minute_that_is_allowed(
    limit: AttemptLimit, attempts: list[Attempt]
) -> None:
    """Minute by minute, against a reference that looks at each call."""
    minutes = (MONDAY + n * MINUTE for n in range(500))
    first = next(each for each in minutes if reads_allowed(limit, attempts, each))
    assert limit.next_allowed(attempts, MONDAY) == first


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(limit=LIMITS, attempts=ATTEMPTS)
@example(AttemptLimit(1, per=MINUTE, gap=HOUR), [call(-30 * MINUTE)])
@example(AttemptLimit(1, per=MINUTE, silence_after_conversation=HOUR), [call(-30 * MINUTE, "answered")])
@example(AttemptLimit(1, per=HOUR), [call(-30 * MINUTE)])
def test_what_is_older_than_the_memory_changes_nothing(limit: AttemptLimit, attempts: list[Attempt]) -> None:
    """History need not be read further back."""
    recent = [each for each in attempts if each.over_at > MONDAY - limit.memory]
    assert limit.next_allowed(recent, MONDAY) == limit.next_allowed(attempts, MONDAY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"most": 0, "per": DAY}, "most of AttemptLimit must be a whole number of 1 or more, not 0"),
        ({"most": True, "per": DAY}, "whole number"),
        ({"most": 2.5, "per": DAY}, "whole number"),
        (
            {"most": 3, "per": timedelta(0)},
            r"per of AttemptLimit must be a time over zero, such as timedelta\(hours=2\)",
        ),
        ({"most": 3, "per": -DAY}, "per of AttemptLimit"),
        ({"most": 3, "per": 7}, "per of AttemptLimit"),
        ({"most": 3, "per": "7 days"}, "per of AttemptLimit"),
        ({"most": 3, "per": DAY, "gap": timedelta(0)}, "gap of AttemptLimit"),
        ({"most": 3, "per": DAY, "gap": 3600}, "gap of AttemptLimit"),
        ({"most": 3, "per": DAY, "silence_after_conversation": 7}, "silence_after_conversation of AttemptLimit"),
    ],
)
def test_bad_input_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    """Each message says what to write instead."""
    with pytest.raises(RetellInputError, match=message):
        AttemptLimit(**arguments)


def test_moments_without_a_zone_are_refused() -> None:
    """A time without a time zone is not a point in time."""
    naive = MONDAY.replace(tzinfo=None)
    with pytest.raises(RetellInputError, match=r"placed_at .* time zone"):
        Attempt(placed_at=naive)
    with pytest.raises(RetellInputError, match=r"ended_at .* time zone"):
        Attempt(placed_at=MONDAY, ended_at=naive)
    with pytest.raises(RetellInputError, match=r"at must be a datetime with a time zone"):
        AttemptLimit(1, per=DAY).allows([], naive)
