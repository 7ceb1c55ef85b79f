"""Test the benchmarks' page, and the judge of the soak; the measurements themselves are no tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import page
from benchmarks.soak import CLOCKS, LATE, Ended, complaint
from benchmarks.soak_plan import Wait

END = 1_700_000_000.0
WAIT = Wait(
    call_ids=("call_1",),
    ending="over",
    due=END,
    statuses={"call_1": "ended"},
    wait_for="ended",
    poll_interval=2,
    deadline=END + 600,
)
RIGHT = Ended(ending="over", at=END + 3, event={"wake": "over", "calls": {"call_1": "ended"}})


@pytest.mark.parametrize("part", page.PARTS)
def test_the_page_has_a_place_for_each_part(part: str) -> None:
    """A part that is measured is shown, with the machine and the versions it was measured on."""
    text = page.PAGE.read_text()
    begin, end = page.marks(part)
    shown = text[text.index(begin) + len(begin) : text.index(end)].strip()
    if shown:  # a checkout in which it was not measured yet has the place alone
        assert shown.startswith((page.HEAD, page.HEAD_WITH_FLOOR))
        assert "cores" in shown
        assert "apache-airflow" in shown


def test_a_wait_that_ended_as_it_should_is_right() -> None:
    """Nothing is wrong with an event of the right kind, with the right statuses, at the right time."""
    assert complaint(WAIT, RIGHT) is None
    assert complaint(replace(WAIT, due=None), replace(RIGHT, at=END + 1000)) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ending": "timeout"}, "ended as timeout, not over"),
        ({"ending": "never"}, "ended as never, not over"),
        ({"event": {"calls": {"call_1": "error"}}}, "says {'call_1': 'error'}, not {'call_1': 'ended'}"),
        ({"event": {"calls": {}}}, "says {}, not {'call_1': 'ended'}"),
        ({"at": END - CLOCKS - 1}, "ended 1.05 s early"),
        ({"at": END + LATE + 1}, "ended 46.0 s late"),
    ],
)
def test_a_wait_that_ended_otherwise_is_wrong(change: dict[str, Any], problem: str) -> None:
    """Another kind of event, another status, too early and too late are each recognised."""
    assert complaint(WAIT, replace(RIGHT, **change)) == problem
