"""Test that a campaign in which no call gets a line ends, and that one that waits for something else goes on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from test_plan import Campaign, person
from test_unanswered import BEGIN, Day

from airflow_provider_retell.campaign.plan.actions import Finish, Place, Wait
from airflow_provider_retell.campaign.plan.pacing import LONGEST_BACKOFF, LONGEST_PAUSE, Pace
from airflow_provider_retell.campaign.plan.plan import NO_LINE_FOR
from airflow_provider_retell.campaign.plan.roster import Fate
from airflow_provider_retell.campaign.plan.trouble import NO_LINE
from airflow_provider_retell.policy import CallingHours

HOUR = 3600.0


@pytest.mark.parametrize("answer", ["429", "no line"])
@pytest.mark.parametrize("people", [1, 10])
def test_a_campaign_that_is_turned_away_for_ever_stops(answer: str, people: int) -> None:
    """It does so after six hours, leaves everybody to a clear, and has not flooded Retell."""
    day = Day(people, lines=20, troubled={row: [answer] for row in range(people)})
    day.run()
    assert day.failure == NO_LINE
    assert {slot.fate for slot in day.state.roster.slots} == {Fate.NOT_CALLED}
    assert NO_LINE_FOR <= day.seconds < NO_LINE_FOR + HOUR / 2
    assert day.asked.total() <= 12 + NO_LINE_FOR / LONGEST_PAUSE


def test_a_campaign_for_which_others_leave_no_line_stops() -> None:
    """The account's lines are all used by others for six hours."""
    day = Day(3, lines=0, troubled={})
    day.run()
    assert (day.failure, day.asked.total()) == (NO_LINE, 0)


@pytest.mark.parametrize("troubled", [{}, {3: ["429"] * 30 + ["placed"]}], ids=["all answer", "one comes late"])
def test_a_long_campaign_goes_on(troubled: dict[int, list[str]]) -> None:
    """Calls get lines, for longer than six hours."""
    day = Day(200, lines=1, troubled=troubled)
    day.run(hours=48)
    assert day.failure is None
    assert day.seconds > NO_LINE_FOR + HOUR
    assert {slot.fate for slot in day.state.roster.slots} == {Fate.DONE}


def test_a_process_that_was_frozen_has_not_waited_for_a_line() -> None:
    """A machine that was suspended for a night ends no campaign in the morning."""
    pace = Pace(1)
    pace.no_line_for(0, waiting=True)
    assert pace.no_line_for(2 * NO_LINE_FOR, waiting=True) <= LONGEST_BACKOFF


@pytest.mark.parametrize("waits_for", ["hours", "a pause", "a talk"])
def test_waiting_for_something_else_is_no_standstill(waits_for: str) -> None:
    """Closed hours, a pause, and conversations that last are not lines that are missing."""
    shut = CallingHours("20:00", "21:00", time_zone="UTC")
    campaign = Campaign([person(0), person(1)], lines=1, checks={"hours": shut} if waits_for == "hours" else {})
    if waits_for == "a talk":
        order = campaign.order()
        call = campaign.call(order, placed_at=campaign.now.wall, status="ongoing")
        campaign.state.placed(order, call, campaign.now)
        campaign.listed.append(call)
    campaign.plan.paused = waits_for == "a pause"
    hours = 2.5 if waits_for == "a talk" else 7.9
    while campaign.seconds < hours * HOUR:
        action = campaign.next()
        assert not isinstance(action, Place | Finish)
        if isinstance(action, Wait):
            campaign.seconds += max(action.seconds, 1)
        else:
            campaign.state.looked(action.call_ids, campaign.listed, campaign.now)
    assert campaign.state.trouble.found is None
    assert datetime.fromtimestamp(BEGIN, UTC).hour == 12


def test_after_a_call_without_a_line_one_is_tried_at_a_time() -> None:
    """It shows when a call is read that it got a line; then the pace is as before."""
    pace = Pace(10)
    pace.take(0)
    pace.no_line(1)
    assert pace.wait(1) == 5
    pace.take(6)
    assert pace.wait(6) == 5
    pace.recover(30)
    pace.take(30)
    assert pace.wait(30) == 0
