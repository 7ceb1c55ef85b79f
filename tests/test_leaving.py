"""Test when a campaign leaves its worker: the table of ``leaving``, row by row."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from test_campaign_run import SIBLINGS, Make, campaign
from test_plan import Campaign

from airflow_provider_retell.campaign.plan.actions import Wait
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.campaign.run import leaving
from airflow_provider_retell.campaign.run.leaving import leave
from airflow_provider_retell.campaign.run.terms import LONGEST_LEAVE, End, Leave, Terms
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.policy import Redial
from airflow_provider_retell.provider.deferral import MOST_ID_BYTES

__all__ = ["campaign"]

HOUR = 3600.0


def leaves(made: Campaign, **more: Any) -> Leave | None:
    """Return how the task leaves, after the actions that are due."""
    while not isinstance(wait := made.next(), Wait):
        pass
    terms = Terms(known_until=more.pop("known_until", math.inf))
    wait = more.pop("wait", wait)
    given: dict[str, Any] = {
        "now": made.now.wall,
        "placed_at": -math.inf,
        "recorded": True,
        "has_files": True,
        **more,
    }
    return leave(made.state, wait, terms, **given)


def redialing(*, ours: bool = True, **times: float | None) -> Campaign:
    """Return a campaign whose person did not answer a call, which is seen over now."""
    made = Campaign()
    order = made.order()
    call = made.call(order, ours=ours, placed_at=made.now.wall)
    made.state.placed(order, call, made.now)
    given = {"placed_at": None, "ended_at": None, **times}
    made.seconds = 60.0
    ended = KnownCall(
        call_id=call.call_id,
        person=call.person,
        attempt=1,
        ours=ours,
        status="ended",
        outcome=Outcome.NO_ANSWER,
        complete=True,
        **given,
    )
    made.state.in_progress.update(ended, made.now)
    made.slot().calls = ()
    made.state.load([ended.seen_over(made.now.wall)], made.now)
    return made


def talking(*, listed: bool = True, **fields: Any) -> Campaign:
    """Return a campaign with one live call."""
    made = Campaign()
    order = made.order()
    call = made.call(order, **{"placed_at": made.now.wall, **fields})
    made.state.placed(order, call, made.now)
    if listed:
        made.state.in_progress.found(call)
        made.listed.append(call)
    return made


def short() -> Leave | None:
    return leaves(talking(), wait=Wait(seconds=1, next_call_in=119))


def without_an_end() -> Leave | None:
    return leaves(Campaign(), wait=Wait(seconds=1, next_call_in=None))


def in_trouble() -> Leave | None:
    made = talking()
    made.state.trouble.stop("a reason")
    return leaves(made)


def incomplete() -> Leave | None:
    return leaves(talking(), recorded=False)


def unlisted_or_of_another() -> Leave | None:
    return leaves(talking(listed=False)) or leaves(talking(ours=False))


def of_unknown_age() -> Leave | None:
    return leaves(talking(placed_at=None))


def seen_over_by_this_process_alone() -> Leave | None:
    return leaves(redialing(ours=False))


def without_files() -> Leave | None:
    made = talking()
    made.state.roster.rejected.add(0)
    return leaves(redialing(), has_files=False) or leaves(made, has_files=False)


def too_many() -> Leave | None:
    return leaves(talking(call_id="c" * MOST_ID_BYTES))


def turned_away() -> Leave | None:
    made = Campaign()
    for pause in 5, 10:
        made.state.turned_away(made.order(), made.now)
        made.seconds += pause
    return leaves(made, wait=Wait(seconds=30, next_call_in=300))


def forgotten() -> Leave | None:
    made = talking()
    return leaves(made, has_files=False, known_until=made.now.wall + HOUR)


def none_of_these() -> Leave | None:
    return leaves(talking())


SITUATIONS: dict[str, Callable[[], Leave | None]] = {
    "the wait takes": short,
    "no call is live": without_an_end,
    "there is trouble": in_trouble,
    "rows of calls": incomplete,
    "a live call is not listed": unlisted_or_of_another,
    "it is not known when": of_unknown_age,
    "a person is to be called": seen_over_by_this_process_alone,
    "the same without files": without_files,
    "the ids of the calls": too_many,
    "a person waits behind": turned_away,
    "there are no files": forgotten,
    "none of these": none_of_these,
}


def rows() -> list[tuple[str, str]]:
    table = (leaving.__doc__ or "").split("=\n", 3)[2]
    lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in table.splitlines()[:-1]]
    return [(line[0], line[1]) for line in lines if len(line) == 2]


@pytest.mark.parametrize("begins", SITUATIONS)
def test_the_table_of_leaving(begins: str) -> None:
    """The task does in each situation what the table says."""
    (does,) = [does for situation, does in rows() if situation.startswith(begins)]
    assert (SITUATIONS[begins]() is None) == does.startswith("stays")


def test_each_row_is_tested() -> None:
    """No row of the table lacks a situation."""
    assert all(situation.startswith((*SITUATIONS, "times but")) for situation, _ in rows())


@pytest.mark.parametrize(
    "redialing_after",
    [
        {"ours": True},
        {"ours": False, "placed_at": 1.0, "ended_at": 2.0},
    ],
    ids=["in its own files", "in Retell's record"],
)
def test_a_time_that_a_new_process_finds_holds_up_nothing(redialing_after: dict[str, Any]) -> None:
    """A task leaves for a redial if the files, or Retell, have the time of the call before."""
    made = redialing(**redialing_after)
    assert leaves(made, wait=Wait(seconds=30, next_call_in=600)) == Leave(
        call_ids=(), until=made.now.wall + 600, placed_at=-math.inf
    )


def test_a_task_is_back_when_every_call_is_over() -> None:
    """A task leaves for a little over the longest call, if it waits for nothing else."""
    made = talking()
    left = leaves(made)
    assert left is not None
    assert left.until == made.now.wall + LONGEST_LEAVE


def test_a_redial_after_the_call_of_another_map_index_comes(campaign: Make) -> None:
    """Retell has no end of a call that did not connect, and these files have no row of it."""
    rule = Redial("no_answer", after=timedelta(minutes=10), times=1)
    first, second = (campaign(2, identity=identity, redial=(rule,)) for identity in SIBLINGS)
    for each in first.people:
        first.simulator.play(each.to_number, "dial_no_answer", "agent_hangup")
    assert isinstance(first.run(terms=Terms(may_leave=True)), Leave)
    begun = second.time()
    for _ in range(12):
        if isinstance(done := second.run(terms=Terms(may_leave=True)), End):
            break
        second.time.advance(60 if done.call_ids else done.until - second.time())
    assert done == End(failure=None)
    assert second.dials == {each.to_number: 2 for each in second.people}
    assert second.time() - begun < HOUR
