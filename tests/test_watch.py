from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_retell.api.models import Call
from airflow_provider_retell.calls.watch import Goal, Watch, check_wait_for
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.provider.deferral import Wake, WakeEvent

T = 1_800_000_000
"""A moment that a call can have, in seconds since the epoch."""

ANALYSIS = {"call_summary": "Fine."}
ANALYZED = Goal(wait_for="analyzed", analysis_timeout=600)


def call(call_status: str | None, call_id: str = "call_1", **fields: Any) -> Call:
    return Call.model_validate({"call_id": call_id, "call_status": call_status, **fields})


def ended(call_id: str = "call_1", *, at: float | None = None, **fields: Any) -> Call:
    """Return a call that ended at some second, or did not say when."""
    return call("ended", call_id, **({} if at is None else {"end_timestamp": int(at * 1000)}), **fields)


def by_id(*calls: Call) -> dict[str, Call]:
    return {call.call_id: call for call in calls}


# -- one call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call_status", ["registered", "ongoing", "archived", None])
@pytest.mark.parametrize("goal", [Goal(), ANALYZED], ids=["ended", "analyzed"])
def test_a_call_that_is_not_over_is_waited_for(goal: Goal, call_status: str | None) -> None:
    """Neither time nor an analysis ends the wait for a call that is live, or in an unknown status."""
    assert not goal.reached(call(call_status, call_analysis=ANALYSIS), now=1e12, seen_over=0)


@pytest.mark.parametrize("call_status", ["ended", "error", "not_connected"])
def test_a_call_that_is_over_is_over_however_it_went(call_status: str) -> None:
    """Waiting for the end asks for nothing else."""
    assert Goal().reached(call(call_status), now=0, seen_over=0)


@pytest.mark.parametrize("fields", [{"call_status": "ended"}, {"call_status": "error", "start_timestamp": 1}])
def test_a_call_that_connected_is_waited_for_until_it_is_analyzed(fields: dict[str, Any]) -> None:
    """The analysis comes after the end; as soon as it is there the wait is over."""
    assert not ANALYZED.reached(call(**fields), now=1000, seen_over=1000)
    assert ANALYZED.reached(call(**fields, call_analysis=ANALYSIS), now=1000, seen_over=1000)


@pytest.mark.parametrize("call_status", ["not_connected", "error"])
def test_a_call_that_never_connected_is_not_waited_for(call_status: str) -> None:
    """Nothing was said that could be analysed: the end is all there is to wait for."""
    assert ANALYZED.reached(call(call_status), now=1000, seen_over=1000)


@pytest.mark.parametrize(
    ("at", "seen_over", "until"),
    [
        pytest.param(T + 1000, T + 1005, T + 1600, id="counted from its end, not from when the end was seen"),
        pytest.param(None, T + 1005, T + 1605, id="no end_timestamp: counted from when the end was seen"),
        pytest.param(
            T + 9000, T + 1005, T + 1605, id="Retell's clock is ahead: the end cannot be after it was seen"
        ),
        pytest.param(T + 1000, T + 5000, T + 1600, id="found over long after, as by a triggerer that was down"),
    ],
)
def test_an_analysis_is_waited_for_so_long(at: float | None, seen_over: float, until: float) -> None:
    """The bound is ``analysis_timeout`` (600 s) from the end or from when it was seen, whichever is earlier."""
    assert not ANALYZED.reached(ended(at=at), now=until - 0.1, seen_over=seen_over)
    assert ANALYZED.reached(ended(at=at), now=until, seen_over=seen_over)


@pytest.mark.parametrize(
    "end_timestamp",
    [None, "2026-01-01T00:00:00Z", 1.5, 0, T + 1000, (T + 1000) * 10**9, pytest.param(10**400, id="huge")],
)
def test_an_unreadable_end_counts_from_when_it_was_seen(end_timestamp: Any) -> None:
    """A timestamp of another type or in another unit does not break the bound."""
    over = call("ended", end_timestamp=end_timestamp)
    assert not ANALYZED.reached(over, now=T + 1604, seen_over=T + 1005)
    assert ANALYZED.reached(over, now=T + 1605, seen_over=T + 1005)


def test_no_patience_means_no_wait() -> None:
    """With ``analysis_timeout=0`` the end is enough."""
    goal = Goal(wait_for="analyzed", analysis_timeout=0)
    assert goal.reached(ended(at=T + 1000), now=T + 1000, seen_over=T + 1000)


# -- many calls ----------------------------------------------------------------------------------------------


def test_only_calls_that_have_not_reached_the_goal_are_read_again() -> None:
    """A call that is over is not read any more; the wait ends with the last one."""
    watch = Watch(["call_1", "call_2"], Goal())
    assert watch.waiting == ("call_1", "call_2")
    watch.update(by_id(call("ended", "call_1"), call("ongoing", "call_2")), now=0)
    assert (watch.waiting, watch.reached) == (("call_2",), False)
    watch.update(by_id(call("not_connected", "call_2")), now=1)
    assert (watch.waiting, watch.reached) == ((), True)


def test_a_call_named_twice_is_one_call() -> None:
    """Duplicates are read once, in the order in which they came first."""
    assert Watch(["call_2", "call_1", "call_2"], Goal()).waiting == ("call_2", "call_1")


def test_no_calls_are_over_at_once() -> None:
    """An empty sequence has nothing to wait for."""
    assert Watch([], Goal()).reached


def test_each_call_has_a_bound_of_its_own() -> None:
    """The analysis of a call that ended late is waited for when that of an early one is given up."""
    early, late = ended("call_1", at=T + 1000), ended("call_2", at=T + 1300)
    watch = Watch(["call_1", "call_2"], ANALYZED)
    for now, waiting in [(1300, ("call_1", "call_2")), (1600, ("call_2",)), (1899, ("call_2",)), (1900, ())]:
        watch.update(by_id(early, late), now=T + now)
        assert watch.waiting == waiting


def test_when_an_end_was_seen_first_is_remembered() -> None:
    """Looking again does not prolong the wait for the analysis of a call without an ``end_timestamp``."""
    watch = Watch(["call_1"], ANALYZED)
    for now in (1005, 1300, 1604):
        watch.update(by_id(ended()), now=T + now)
        assert not watch.reached
    watch.update(by_id(ended()), now=T + 1605)
    assert watch.reached


def test_a_first_look_in_another_process_counts() -> None:
    """A rescheduled sensor does not restart its wait with each look at a call without an ``end_timestamp``."""
    watch = Watch(["call_1"], ANALYZED, since=T + 1005)
    watch.update(by_id(ended()), now=T + 1604)
    assert not watch.reached
    watch.update(by_id(ended()), now=T + 1605)
    assert watch.reached


@pytest.mark.parametrize("skew", [0, 2], ids=["clocks agree", "Retell's clock is 2 s ahead"])
def test_a_first_look_before_the_end_does_not_count(skew: float) -> None:
    """A call that says when it ended is waited for from then on, however long it had been watched before."""
    for now, reached in [(5000, False), (5599, False), (5600 + skew, True)]:
        watch = Watch(["call_1"], ANALYZED, since=T + 1005)
        watch.update(by_id(ended(at=T + 5000 + skew)), now=T + now)
        assert watch.reached is reached


def test_an_end_far_ahead_is_not_believed() -> None:
    """If Retell's clock is ahead by more than the bound, all that is known is the first look."""
    watch = Watch(["call_1"], ANALYZED, since=T + 1005)
    watch.update(by_id(ended(at=T + 90_000)), now=T + 1605)
    assert watch.reached


@pytest.mark.parametrize(
    ("wake", "unanalyzed", "reached"),
    [
        (Wake.OVER, ["call_1"], True),
        (Wake.OVER, [], False),
        (Wake.OVER, ["call_2"], False),
        (Wake.TIMEOUT, ["call_1"], True),
        (Wake.FAILED, [], False),
        # Events of an earlier version, which note none.
        (Wake.OVER, None, True),
        (Wake.TIMEOUT, None, False),
    ],
)
def test_only_an_analysis_that_a_trigger_gave_up_is_not_waited_for(
    wake: Wake, unanalyzed: list[str] | None, *, reached: bool
) -> None:
    """An answer that lacks the analysis is either older than what the trigger saw, or there is none to come."""
    event = WakeEvent(wake=wake, deadline=9e9, calls={"call_1": "ended"}, unanalyzed=unanalyzed)
    watch = Watch(["call_1"], ANALYZED.left_after(event))
    watch.update(by_id(ended(at=T + 1000)), now=T + 1001)
    assert watch.reached is reached


def test_calls_whose_analysis_was_given_up_are_noted() -> None:
    """One with its analysis, one that is still waited for and one that nobody answered are no such calls."""
    analyzed = ended("call_1", at=T + 1000, call_analysis=ANALYSIS)
    missed = Call(call_id="call_4", call_status="not_connected")
    watch = Watch(["call_1", "call_2", "call_3", "call_4"], ANALYZED)
    watch.update(by_id(analyzed, ended("call_2", at=T + 1000), ended("call_3", at=T + 1599), missed), now=T + 1600)
    assert (watch.waiting, watch.unanalyzed) == (("call_3",), ["call_2"])
    watch = Watch(["call_2"], Goal())
    watch.update(by_id(ended("call_2", at=T + 1000)), now=T + 1600)
    assert watch.unanalyzed == []


def test_what_was_read_last_is_kept() -> None:
    """The rows are made of the latest reading, analysis included."""
    watch = Watch(["call_1"], ANALYZED)
    watch.update(by_id(ended(at=T + 1000)), now=T + 1000)
    watch.update(by_id(ended(at=T + 1000, call_analysis=ANALYSIS)), now=T + 1030)
    assert watch.calls["call_1"].call_analysis is not None


# -- what is logged --------------------------------------------------------------------------------------------


def test_progress_is_one_line_for_all_calls() -> None:
    """It counts what is over, and says of the others in which status they are; a call not yet read is neither."""
    watch = Watch(["call_1", "call_2", "call_3", "call_4", "call_5"], ANALYZED)
    assert watch.progress() == "0 of 5 calls over"
    live = call("ongoing", "call_1"), call("registered", "call_2"), call("ongoing", "call_3")
    assert watch.update(by_id(*live), now=0) == "0 of 5 calls over (2 ongoing, 1 registered)"
    over = ended("call_1", at=0), call("not_connected", "call_4")
    assert watch.update(by_id(*over), now=0) == ("2 of 5 calls over (1 ongoing, 1 registered, 1 not yet analyzed)")


def test_one_call_is_not_calls() -> None:
    """The line reads well for the usual sensor, which waits for one call."""
    assert Watch(["call_1"], Goal()).update(by_id(call("ended")), now=0) == "1 of 1 call over"


def test_a_line_is_logged_when_something_changed() -> None:
    """A poll that brings nothing new says nothing, so that a wait of three hours does not fill the log."""
    watch = Watch(["call_1"], ANALYZED)
    lines = [
        watch.update(by_id(reading), now=now)
        for now, reading in enumerate(
            [
                call("registered"),
                call("registered"),
                call("ongoing"),
                call("ongoing", transcript="Agent: Hello"),
                ended(at=3),
                ended(at=3),
                ended(at=3, call_analysis=ANALYSIS),
            ]
        )
    ]
    assert lines == [
        "0 of 1 call over (1 registered)",
        None,
        "0 of 1 call over (1 ongoing)",
        None,
        "1 of 1 call over (1 not yet analyzed)",
        None,
        "1 of 1 call over",
    ]


def test_an_unknown_status_is_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    """A status Retell invents is worth one line of log for a process, not one for each call and poll."""
    with caplog.at_level(logging.WARNING, logger="airflow_provider_retell"):
        for _ in range(2):
            watch = Watch(["call_1", "call_2", "call_3"], Goal())
            watch.update(by_id(call("parked", "call_1"), call("parked", "call_2"), call(None, "call_3")), now=0)
    assert [record.getMessage() for record in caplog.records] == [
        "Retell shows a call_status this package does not know, 'parked': treated as not over."
    ]


# -- wait_for --------------------------------------------------------------------------------------------------


def test_wait_for_takes_its_words() -> None:
    """An operator may be set not to wait; a sensor is there to wait."""
    for word in ("ended", "analyzed"):
        check_wait_for(word, required=True)
        check_wait_for(word, required=False)
    check_wait_for(None, required=False)


@pytest.mark.parametrize(
    ("word", "required", "allowed"),
    [("analysed", False, "None, 'ended', 'analyzed'"), (None, True, "'ended', 'analyzed'"), ("", True, "'ended'")],
)
def test_any_other_word_is_refused(word: str | None, required: bool, allowed: str) -> None:
    """A misspelt word is found when the DAG is parsed, with those it may be."""
    with pytest.raises(RetellInputError, match=f"^wait_for takes {allowed}.*, not {word!r}"):
        check_wait_for(word, required=required)


@pytest.mark.parametrize("analysis", [None, {}])
def test_an_empty_analysis_is_none_yet(analysis: dict[str, Any] | None) -> None:
    """An empty analysis does not end the wait."""
    ended = Call.model_validate(
        {"call_id": "call_1", "call_status": "ended", "end_timestamp": 0, "call_analysis": analysis}
    )
    goal = Goal(wait_for="analyzed", analysis_timeout=60)
    assert not goal.reached(ended, now=1, seen_over=0)
    assert goal.reached(ended, now=60, seen_over=0)
