"""Test that people are called again after the endings that a rule names, when and as often as it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.policy import Attempt, Redial, next_redial

TEN = datetime(2026, 7, 6, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUIET = Redial("no_answer", "busy", after=2 * HOUR, times=2)
MACHINE = Redial("voicemail", after=24 * HOUR, times=1)
STATUS = Redial("not_connected", "ended", after=HOUR, times=1)
REASON = Redial("dial_busy", after=timedelta(0), times=3)


def calls(*outcomes: str | None, **fields: Any) -> list[Attempt]:
    """Return calls, one a day, each of five minutes."""
    days = [TEN + timedelta(days=n) for n in range(len(outcomes))]
    fields.setdefault("call_status", "ended")
    minutes = timedelta(minutes=5)
    return [
        Attempt(placed_at=day, ended_at=day + minutes, outcome=word, **fields)
        for day, word in zip(days, outcomes, strict=True)
    ]


@pytest.mark.parametrize(
    ("rules", "attempts", "after"),
    [
        # nothing to repeat
        ([QUIET], [], None),
        ([], calls("no_answer"), None),
        ([QUIET], calls("answered"), None),
        # one is not over
        ([QUIET], calls(None), None),
        ([QUIET], calls(None, "no_answer"), None),
        # one is do_not_call, whatever the rules say
        ([STATUS], calls("do_not_call"), None),
        ([STATUS], calls("unknown", disconnection_reason="user_requested_dnc"), None),
        ([QUIET], calls("do_not_call", "no_answer"), None),
        # as many times as the rule says, and no more
        ([QUIET], calls("no_answer"), 2 * HOUR),
        ([QUIET], calls("no_answer", "busy"), 2 * HOUR),
        ([QUIET], calls("no_answer", "busy", "no_answer"), None),
        # each rule counts its own calls
        ([QUIET, MACHINE], calls("no_answer", "busy", "voicemail"), 24 * HOUR),
        ([QUIET, MACHINE], calls("voicemail", "no_answer"), 2 * HOUR),
        ([QUIET, MACHINE], calls("voicemail", "no_answer", "voicemail"), None),
        # the first rule that names the ending decides, even if it is used up
        ([MACHINE, STATUS], calls("voicemail"), 24 * HOUR),
        ([STATUS, MACHINE], calls("voicemail"), HOUR),
        ([MACHINE, STATUS], calls("voicemail", "voicemail"), None),
        # statuses and reasons
        ([STATUS], calls("busy", call_status="not_connected"), HOUR),
        ([REASON], calls("busy", disconnection_reason="dial_busy"), timedelta(0)),
        # stopped only by name
        ([STATUS], calls("stopped", disconnection_reason="manual_stopped"), None),
        ([Redial("stopped", after=HOUR, times=1)], calls("stopped"), HOUR),
        (
            [Redial("manual_stopped", after=HOUR, times=1)],
            calls("stopped", disconnection_reason="manual_stopped"),
            HOUR,
        ),
    ],
)
def test_what_follows_a_call(rules: list[Redial], attempts: list[Attempt], after: timedelta | None) -> None:
    """The table of the module, case by case; the time runs from the end of the last call."""
    expected = None if after is None else attempts[-1].over_at + after
    assert next_redial(rules, attempts) == expected
    assert next_redial(rules, reversed(attempts)) == expected


def test_a_call_without_a_known_end_counts_from_its_placing() -> None:
    """If the end of a call is unknown, the pause runs from its placing."""
    assert next_redial([QUIET], [Attempt(placed_at=TEN, outcome="busy")]) == TEN + 2 * HOUR


WORDS = ["no_answer", "busy", "voicemail", "answered"]
RULES = st.lists(
    st.builds(
        lambda words, hours, times: Redial(*words, after=hours * HOUR, times=times),
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=2),
        st.integers(0, 48),
        st.integers(1, 3),
    ),
    max_size=3,
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(rules=RULES, outcomes=st.lists(st.sampled_from(WORDS), max_size=8))
def test_rules_are_used_up_one_call_at_a_time(rules: list[Redial], outcomes: list[str]) -> None:
    """A reference that takes from each rule what is left of it agrees."""
    left = {n: rule.times for n, rule in enumerate(rules)}
    expected = None
    for attempt in calls(*outcomes):
        expected = None
        for n, rule in enumerate(rules):
            if attempt.outcome in rule.endings:
                left[n] -= 1
                expected = attempt.over_at + rule.after if left[n] >= 0 else None
                break
    assert next_redial(rules, calls(*outcomes)) == expected


@pytest.mark.parametrize(
    ("endings", "arguments", "message"),
    [
        ([], {}, "takes endings one by one"),
        ([["no_answer"]], {}, "takes endings one by one"),
        (["no-answer"], {}, "Redial takes statuses .* not 'no-answer'"),
        (["dry_run"], {}, "not 'dry_run'"),
        (["do_not_call"], {}, "does not take do_not_call.*Leave it out"),
        (["busy", "user_requested_dnc"], {}, "does not take do_not_call"),
        (
            ["busy"],
            {"after": -HOUR},
            r"after of Redial must be a time of zero or more, such as timedelta\(hours=2\)",
        ),
        (["busy"], {"after": 7200}, "after of Redial must be a time"),
        (["busy"], {"times": 0}, "times of Redial must be a whole number of 1 or more, not 0"),
        (["busy"], {"times": "2"}, "times of Redial"),
    ],
)
def test_bad_input_is_refused_when_the_dag_is_parsed(
    endings: list[Any], arguments: dict[str, Any], message: str
) -> None:
    """Each message says what to write instead."""
    with pytest.raises(RetellInputError, match=message):
        Redial(*endings, **({"after": HOUR, "times": 1} | arguments))
