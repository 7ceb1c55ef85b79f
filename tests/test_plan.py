"""Test the decisions of a campaign: the table of ``plan``, row by row, and the rules around it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.api.sweeps import SINGLE_READS
from airflow_provider_retell.campaign.people.identity import CampaignIdentity, PersonKey
from airflow_provider_retell.campaign.people.person import Person, Refusal
from airflow_provider_retell.campaign.plan import plan as plan_module
from airflow_provider_retell.campaign.plan.actions import Action, Finish, Get, Look, Place, ReadList, Wait
from airflow_provider_retell.campaign.plan.call_list import LIST_TRUSTED, LONGEST_GAP
from airflow_provider_retell.campaign.plan.calls_in_progress import LONGEST_CALL, LONGEST_UNANSWERED
from airflow_provider_retell.campaign.plan.checks import Checks, NotEligible
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.campaign.plan.pacing import Moment, Pace
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.plan.roster import Fate, Roster, Slot
from airflow_provider_retell.campaign.plan.state import CampaignState
from airflow_provider_retell.campaign.plan.trouble import EQUAL_REFUSALS, REFUSALS, Rejection, is_of_account
from airflow_provider_retell.campaign.plan.unanswered import GIVEN_UP
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.policy import CallingHours, Redial

MONDAY = datetime(2026, 7, 6, 12, tzinfo=UTC).timestamp()
IDENTITY = CampaignIdentity.of(dag_id="dag", run_id="run", task_id="call", map_index=-1)
AGAIN = [Redial("no_answer", after=timedelta(minutes=10), times=2)]


def person(row: int = 0, **fields: Any) -> Person:
    """Return one of the people."""
    number = f"+1415555{100 + row:04d}"
    return Person(**{"row": row, "to_number": number, "person_id": number, **fields})


def key(of: Person) -> PersonKey:
    """Return a person's digests."""
    return IDENTITY.person(to_number=of.to_number, person_id=of.person_id)


class Campaign:
    """A plan with a manual clock and manual answers of Retell."""

    def __init__(
        self,
        people: Sequence[Person] = (person(),),
        *,
        lines: int = 5,
        limit: int | None = None,
        calls_per_second: float = 1000,
        **more: Any,
    ) -> None:
        self.seconds = 0.0
        checks = Checks(**{"began_at": MONDAY, **more.pop("checks", {})})
        roster = Roster(people, IDENTITY)
        self.state = CampaignState(roster, checks=checks, pace=Pace(calls_per_second), **{"redial": AGAIN, **more})
        self.plan = Plan(self.state, lines=lines, limit=limit)
        self.listed: list[KnownCall] = []
        self.calls = 0

    @property
    def now(self) -> Moment:
        return Moment(MONDAY + self.seconds, self.seconds)

    def next(self) -> Action:
        """Return the next action that is not to read the list, which is read whenever it is asked for."""
        while isinstance(action := self.plan.next_action(self.now), ReadList):
            self.state.read(self.listed, began=self.now, now=self.now)
        return action

    def order(self) -> Place:
        action = self.next()
        assert isinstance(action, Place), action
        return action

    def wait(self, seconds: float) -> None:
        """Let the time pass with the process at work: the list is listened to and calls are looked at."""
        end = self.seconds + seconds
        while self.seconds < end:
            action = self.next()
            assert isinstance(action, Wait | Look | Get), action
            self.seconds = min(end, self.seconds + (max(action.seconds, 0.1) if isinstance(action, Wait) else 0))

    def call(self, order: Place, **fields: Any) -> KnownCall:
        """Return a call that an order placed, live."""
        self.calls += 1
        fields = {"call_id": f"call_{self.calls}", "status": "registered", **fields}
        return KnownCall(person=key(order.person), attempt=order.attempt, **fields)

    def place(self) -> tuple[Place, KnownCall]:
        """Place the next call, and list it."""
        order = self.order()
        call = self.call(order, placed_at=self.now.wall)
        self.state.placed(order, call, self.now)
        self.listed.append(call)
        return order, call

    def end(self, call: KnownCall, outcome: Outcome = Outcome.ANSWERED, **fields: Any) -> None:
        """See a call over."""
        ended = over(call, self.now.wall, outcome, **fields)
        self.state.looked([call.call_id], [ended], self.now)
        self.listed = [ended if each is call else each for each in self.listed]

    def slot(self, row: int = 0) -> Slot:
        return self.state.roster.slots[row]

    def fate(self, row: int = 0) -> Fate | Refusal | None:
        slot = self.slot(row)
        return slot.refusal or slot.fate


def over(call: KnownCall, at: float, outcome: Outcome = Outcome.ANSWERED, **fields: Any) -> KnownCall:
    """Return a call as seen over."""
    known = {"call_id": call.call_id, "person": call.person, "attempt": call.attempt, "status": "ended"}
    return KnownCall(**{**known, "outcome": outcome, "complete": True, **fields}).seen_over(at)


# -- the table -----------------------------------------------------------------------------------------------


def never_called() -> None:
    campaign = Campaign([person(0), person(1)])
    assert [campaign.order().person.row for _ in range(2)] == [0, 1]


def answered() -> None:
    campaign = Campaign()
    _, call = campaign.place()
    assert campaign.next() == Look((call.call_id,))
    campaign.end(call)
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE)


def answer_lost() -> None:
    for seconds in 5, 4000:
        campaign = Campaign()
        order = campaign.order()
        campaign.state.lost(order, campaign.now)
        campaign.seconds += seconds
        again = campaign.order()
        assert (again.person, again.attempt) == (order.person, order.attempt)
    listed = Campaign()
    order = listed.order()
    listed.state.lost(order, listed.now)
    listed.seconds += 4000  # its key is old by now, and the list is read before anything is placed
    listed.listed.append(listed.call(order))
    assert isinstance(listed.next(), Look)
    assert listed.slot().live


def answer_lost_for_good() -> None:
    for found in True, False:
        campaign = Campaign(checks={"until": MONDAY + 60})
        order = campaign.order()
        campaign.state.lost(order, campaign.now)
        campaign.seconds += 60
        campaign.wait(269)
        assert campaign.slot().await_list
        if found:
            campaign.listed.append(over(campaign.call(order), MONDAY))
        campaign.seconds += 1
        assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE if found else Fate.NOT_CALLED)

    thrice = Campaign()
    for seconds in 5, 10, 20:
        thrice.state.lost(thrice.order(), thrice.now)
        thrice.wait(seconds)
    assert thrice.slot().await_list
    thrice.wait(309)
    assert thrice.slot().await_list
    thrice.wait(1)
    again = thrice.order()
    assert (again.attempt, thrice.slot().await_list) == (1, False)


def never_answered() -> None:
    campaign = Campaign([person(row) for row in range(30)], lines=30)
    campaign.place()
    while campaign.fate(1) is None:
        match campaign.next():
            case Place() as order if order.person.row == 1:
                campaign.state.lost(order, campaign.now)
            case Place() as order:
                call = campaign.call(order, placed_at=campaign.now.wall)
                campaign.state.placed(order, call, campaign.now)
                campaign.listed.append(call)
            case Wait(seconds=seconds):
                campaign.seconds += seconds
            case Look(call_ids):
                campaign.state.looked(call_ids, campaign.listed, campaign.now)
    assert (campaign.fate(1), campaign.slot(1).detail) == (Fate.NOT_CALLED, GIVEN_UP)


def limited_again() -> None:
    campaign = Campaign([person(0), person(1)])
    for pause in 5, 10:
        order = campaign.order()
        assert order.person.row == 0
        campaign.state.turned_away(order, campaign.now)
        campaign.seconds += pause
    assert campaign.order().person.row == 1
    assert isinstance(campaign.next(), Wait)
    campaign.seconds += 20
    assert campaign.order().person.row == 0


def limited() -> None:
    for asked, pause in (None, 5), (60, 60):
        campaign = Campaign()
        order = campaign.order()
        campaign.state.turned_away(order, campaign.now, asked=asked)
        campaign.wait(pause)
        assert campaign.order().attempt == order.attempt == 1


def rejected() -> None:
    campaign = Campaign()
    campaign.state.rejected(campaign.order(), Rejection(status=400, message="no", field="to_number"), campaign.now)
    assert campaign.fate() == Refusal.BAD_NUMBER
    campaign = Campaign([person(0), person(1)])
    campaign.state.rejected(campaign.order(), Rejection(status=400, message="no", field="metadata"), campaign.now)
    assert campaign.fate() == Refusal.BAD_REQUEST
    assert campaign.order().person.row == 1


def not_listed_and_young() -> None:
    campaign = Campaign()
    campaign.place()
    campaign.listed.clear()
    while campaign.seconds < 329:
        action = campaign.next()
        if isinstance(action, Look):
            campaign.state.looked(action.call_ids, [], campaign.now)
        else:
            assert isinstance(action, Wait)
            campaign.seconds += action.seconds
    assert campaign.slot().live
    assert campaign.state.busy == 1


def not_listed_and_old() -> None:
    campaign = Campaign()
    _, call = campaign.place()
    campaign.seconds += 330
    assert campaign.next() == Look((call.call_id,))
    campaign.state.looked([call.call_id], [], campaign.now)
    assert campaign.next() == Get((call.call_id,))
    campaign.state.got(call.call_id, None, campaign.now)
    assert (campaign.fate(), campaign.slot().calls[0].outcome) == (Fate.DONE, Outcome.UNKNOWN)


def does_not_end() -> None:
    campaign = Campaign()
    _, call = campaign.place()
    campaign.seconds += LONGEST_UNANSWERED
    assert campaign.next() == Look((call.call_id,))
    campaign.state.looked([call.call_id], [call], campaign.now)
    assert campaign.next() == Get((call.call_id,))
    campaign.state.got(call.call_id, call, campaign.now)
    assert (campaign.fate(), campaign.slot().calls[0].outcome) == (Fate.DONE, Outcome.UNKNOWN)


def found_no_line() -> None:
    campaign = Campaign(checks={"limit": None})
    _, call = campaign.place()
    campaign.end(call, Outcome.CAPACITY, status="error")
    assert campaign.slot().dialed == ()
    campaign.wait(5)
    assert campaign.order().attempt == 2


def named_by_a_rule() -> None:
    campaign = Campaign()
    for attempt in 1, 2, 3:
        order, call = campaign.place()
        assert order.attempt == attempt
        campaign.seconds += 30
        campaign.end(call, Outcome.NO_ANSWER)
        if attempt < 3:
            campaign.wait(599)
            assert isinstance(campaign.next(), Wait)
            campaign.seconds += 1
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE)


def over_otherwise() -> None:
    for outcome in set(Outcome) - {Outcome.CAPACITY, Outcome.NO_ANSWER}:
        campaign = Campaign()
        _, call = campaign.place()
        campaign.end(call, outcome)
        assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE), outcome


def placed_by_another() -> None:
    earlier = Campaign()
    call = earlier.call(earlier.order())
    live = Campaign(continued=True)
    live.listed.append(call)
    assert live.next() == Look((call.call_id,))
    done = Campaign(continued=True)
    done.listed.append(over(call, MONDAY - 60))
    assert (done.next(), done.fate()) == (Finish(), Fate.DONE)
    again = Campaign(continued=True)
    again.listed.append(over(call, MONDAY - 599, Outcome.NO_ANSWER))
    again.next()
    again.seconds = 1
    assert again.order().attempt == 2


def another_id() -> None:
    earlier = Campaign([person(person_id="appointment-1")])
    call = earlier.call(earlier.order())
    campaign = Campaign([person(person_id="appointment-2")])
    campaign.listed.append(over(call, MONDAY - 60))
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE)


def another_number() -> None:
    earlier = Campaign([person(person_id="ada")])
    call = earlier.call(earlier.order())
    campaign = Campaign([person(7, person_id="ada")])
    campaign.listed.append(over(call, MONDAY - 60))
    assert (campaign.next(), campaign.fate()) == (Finish(), Refusal.CHANGED)

    campaign = Campaign([person(7, person_id="ada")])
    campaign.listed.append(over(call, MONDAY - 60, Outcome.CAPACITY))  # it rang nowhere
    assert campaign.order().attempt == 1


def duplicates() -> None:
    number = person().to_number
    rows = [person(0, person_id="a"), person(1, person_id="b", to_number=number), person(2, person_id="a")]
    campaign = Campaign(rows)
    assert campaign.order().person.row == 0
    assert [campaign.fate(row) for row in range(3)] == [None, Refusal.DUPLICATE, Refusal.DUPLICATE]


def checked() -> None:
    later = Campaign([person(not_before=MONDAY + 60)])
    later.wait(60)
    assert later.order()
    left = Campaign([person(not_after=MONDAY)])
    assert (left.next(), left.fate()) == (Finish(), Fate.NOT_CALLED)
    refused = Campaign(checks={"listed": lambda number: number == person().to_number})
    assert (refused.next(), refused.fate()) == (Finish(), Refusal.DO_NOT_CALL)


def still_to_be_called() -> None:
    people = [person(row) for row in range(3)]
    until = Campaign(people, lines=1, checks={"until": MONDAY + 60})
    _, call = until.place()
    until.seconds += 60
    until.end(call)
    assert until.next() == Finish()
    assert [until.fate(row) for row in range(3)] == [Fate.DONE, Fate.NOT_CALLED, Fate.NOT_CALLED]
    limit = Campaign(people, limit=2)
    for call in [limit.place()[1] for _ in range(2)]:
        limit.end(call)
    assert limit.next() == Finish()
    assert [limit.fate(row) for row in range(3)] == [Fate.DONE, Fate.DONE, Fate.NOT_CALLED]
    trouble = Campaign(people)
    _, call = trouble.place()
    trouble.state.rejected(trouble.order(), Rejection(status=402, message="Trial has ended"), trouble.now)
    assert isinstance(trouble.next(), Look)
    trouble.end(call)
    finish = trouble.next()
    assert isinstance(finish, Finish)
    assert finish.failure == "Retell refuses to place calls (402: Trial has ended)."
    assert [trouble.fate(row) for row in range(3)] == [Fate.DONE, Fate.NOT_CALLED, Fate.NOT_CALLED]


TABLE: dict[str, tuple[str, Callable[[], None]]] = {
    "was never called": ("is called, in the order given, if the checks allow it", never_called),
    "is called, and the answer comes": ("is watched until the call is over", answered),
    "is called, and the answer is lost": (
        "is called again with the same key: Retell places it once",
        answer_lost,
    ),
    "has lost three answers, or may not be called any more": (
        "waits for a list read 330 s after the last request: if the call is in it, it was placed, else it was not",
        answer_lost_for_good,
    ),
    "is never answered, while others are called": (
        "not called (see ``unanswered`` for when it is Retell)",
        never_answered,
    ),
    "meets a 429, or an unreachable Retell": (
        "is called again later, as the same attempt; the pace slows",
        limited,
    ),
    "is turned away again": ("is called after the others (see ``queue``)", limited_again),
    "is refused by Retell, for a field of its own": (
        "refused (see ``trouble`` for when it is the account)",
        rejected,
    ),
    "has a call that is not listed, younger than 330 s": ("it rings", not_listed_and_young),
    "has a call that is not listed, and is older": (
        "it is read by itself; unknown there, it is over, for good",
        not_listed_and_old,
    ),
    "has a call that does not end": ("it is given up after 15 minutes of ringing, or three hours", does_not_end),
    "has a call seen over that found no line": (
        "is called again later, as the next attempt; the pace slows",
        found_no_line,
    ),
    "has a call seen over that a rule of redial names": (
        "is called again ``after`` its end, as the next attempt",
        named_by_a_rule,
    ),
    "has a call seen over otherwise": ("done", over_otherwise),
    "has a call that another process placed": ("goes on as if this process had placed it", placed_by_another),
    "was called under another id": ("counts as called: the number is the person", another_id),
    "whose id was called at another number": ("refused as ``changed``", another_number),
    "whose number or id an earlier row has": ("refused as ``duplicate``", duplicates),
    "is due, and the checks do not let it be called": ("waits, is not called, or is refused", checked),
    "is still to be called at ``until``, at ``limit``, on trouble of the account": (
        "not called",
        still_to_be_called,
    ),
}


def rows_of(doc: str) -> list[tuple[str, str]]:
    """Return the rows of the table in a docstring; a row may go on in the next line."""
    width = doc.index("  =", doc.index("===")) - doc.index("===") + 2
    body = re.split(r"^=.*$", doc, flags=re.MULTILINE)[2]
    lines = [(line[:width].strip(), line[width:].strip()) for line in body.strip("\n").splitlines()]
    rows: list[tuple[str, str]] = []
    for left, right in lines:
        starts = left and right and not left.startswith("trouble of")
        if starts or not rows:
            rows.append((left, right))
        else:
            rows[-1] = (f"{rows[-1][0]} {left}".strip(), f"{rows[-1][1]} {right}".strip())
    return rows


def test_the_table_is_the_docstring() -> None:
    """The table in the module's docstring is the table of this test."""
    assert rows_of(plan_module.__doc__ or "") == [(left, right) for left, (right, _) in TABLE.items()]


@pytest.mark.parametrize("situation", TABLE)
def test_a_person_who(situation: str) -> None:
    """Each row of the table holds."""
    TABLE[situation][1]()


# -- around it -----------------------------------------------------------------------------------------------


def test_lines_are_never_exceeded_by_what_is_known() -> None:
    """A request under way, and one whose answer was lost, take a line as a live call does."""
    campaign = Campaign([person(row) for row in range(5)], lines=2)
    first, _ = campaign.order(), campaign.place()
    assert isinstance(campaign.next(), Look)
    campaign.state.lost(first, campaign.now)
    assert isinstance(campaign.next(), Wait)
    campaign.wait(5)
    assert campaign.order().person.row == 0
    assert isinstance(campaign.next(), Wait | Look)


def test_the_pace_is_kept_and_a_quiet_minute_is_not_banked() -> None:
    """No second has more calls than the rate, also after a quiet minute."""
    campaign = Campaign([person(row) for row in range(9)], lines=9, calls_per_second=2, checks={})
    campaign.seconds = 60
    times = []
    while len(times) < 9:
        action = campaign.next()
        if isinstance(action, Place):
            times.append(campaign.seconds)
        elif isinstance(action, Wait):
            campaign.seconds += action.seconds
    assert all(later - earlier > 1 for earlier, later in zip(times, times[2:], strict=False))
    assert times[-1] - times[0] < 4.2


def test_redials_that_are_due_go_before_first_calls() -> None:
    """Redials that are due go before first calls, because they have an appointed time."""
    campaign = Campaign([person(row) for row in range(3)], lines=1)
    _, call = campaign.place()
    campaign.end(call, Outcome.NO_ANSWER)
    _, call = campaign.place()
    campaign.seconds += 600
    campaign.end(call)
    assert campaign.order().person.row == 0


def test_the_list_is_read_before_anything_is_placed() -> None:
    """A new process reads the list before it places a call."""
    campaign = Campaign()
    assert campaign.plan.next_action(campaign.now) == ReadList()


@pytest.mark.parametrize(
    ("pause", "again"), [(59.0, False), (61.0, True), pytest.param(1800.0, True, id="the list is old")]
)
def test_the_list_is_read_again_after_a_pause(pause: float, again: bool) -> None:
    """A process that may have been frozen does not know what another one did meanwhile."""
    campaign = Campaign([person(0), person(1)])
    campaign.place()
    campaign.seconds += pause
    assert (campaign.plan.next_action(campaign.now) == ReadList()) is again


def test_the_list_is_read_again_after_a_reconnect_or_half_an_hour() -> None:
    """The key of what another process placed in the meantime must still be good."""
    campaign = Campaign([person(0), person(1, not_before=MONDAY + 2000)])
    _, call = campaign.place()
    campaign.end(call)
    campaign.state.call_list.distrust()
    campaign.wait(2000)
    assert campaign.plan.next_action(campaign.now) == ReadList()


def test_a_list_is_trusted_well_within_the_life_of_a_key() -> None:
    """A call that the list could not show yet is found by its key, whenever it is asked for."""
    assert LIST_TRUSTED + LONGEST_RINGING + LONGEST_GAP < 3600 - 300


def test_an_order_is_void_after_a_pause_a_stop_or_the_end_of_the_hours() -> None:
    """Each decision is checked again right before the request."""
    hours = CallingHours("09:00", "12:01", time_zone="UTC")
    campaign = Campaign(checks={"hours": hours})
    order = campaign.order()
    assert campaign.plan.may_send(order, campaign.now)
    campaign.plan.paused = True
    assert not campaign.plan.may_send(order, campaign.now)
    campaign.plan.paused = False
    campaign.plan.pause_known_until = campaign.now.steady - 1
    assert not campaign.plan.may_send(order, campaign.now)
    campaign.plan.pause_known_until = campaign.now.steady
    assert campaign.plan.may_send(order, campaign.now)
    campaign.plan.pause_known_until = math.inf
    campaign.seconds = 59
    assert campaign.plan.may_send(order, campaign.now)
    campaign.seconds = 60
    assert not campaign.plan.may_send(order, campaign.now)
    campaign.state.not_sent(order, campaign.now)
    assert isinstance(campaign.next(), Wait)
    for at_work in True, False:  # the thread that sends may be frozen alone, and the list be read meanwhile
        frozen = Campaign()
        order = frozen.order()
        if at_work:
            frozen.wait(61)
        else:
            frozen.seconds += 61
        assert not frozen.plan.may_send(order, frozen.now)


def test_paused_places_nothing_and_goes_on_looking() -> None:
    """The pause of the connection stops new calls only."""
    campaign = Campaign([person(0), person(1)])
    _, call = campaign.place()
    campaign.plan.paused = True
    assert campaign.next() == Look((call.call_id,))
    assert isinstance(campaign.next(), Wait)
    campaign.plan.paused = False
    assert campaign.order().person.row == 1


def test_a_person_is_not_rung_while_a_call_of_theirs_may_be_live() -> None:
    """Whichever process placed it, and under whichever number of the attempt."""
    campaign = Campaign()
    order = campaign.order()
    campaign.state.placed(order, campaign.call(order), campaign.now)
    other = campaign.call(order)
    campaign.listed.append(over(other, MONDAY, Outcome.NO_ANSWER))
    campaign.seconds += 1300
    assert isinstance(campaign.next(), Look)
    assert campaign.slot().live


def test_a_redial_waits_for_hours_and_is_not_called_after_until() -> None:
    """A redial that is not due in time is left at once: nothing is gained by waiting for the end."""
    campaign = Campaign(checks={"until": MONDAY + 600})
    _, call = campaign.place()
    campaign.end(call, Outcome.NO_ANSWER)
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.NOT_CALLED)


def test_an_attempt_known_without_times_happened_when_it_was_first_seen_over() -> None:
    """That delays a redial, and never hastens it; a file that knows better is believed."""
    earlier = Campaign()
    call = earlier.call(earlier.order())
    for loaded, wait in ([], 600), ([over(call, MONDAY - 500, Outcome.NO_ANSWER)], 100):
        campaign = Campaign()
        campaign.state.load(loaded, campaign.now)
        campaign.listed.append(over(call, MONDAY, Outcome.NO_ANSWER))
        action = campaign.next()
        assert isinstance(action, Wait)
        assert action.next_call_in == wait


def test_what_a_file_knows_counts_though_the_account_forgot_it() -> None:
    """An account may keep calls for a day only."""
    earlier = Campaign()
    call = earlier.call(earlier.order())
    campaign = Campaign()
    campaign.state.load([over(call, MONDAY - 90_000)], campaign.now)
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE)


def test_a_new_process_waits_for_calls_that_are_not_listed_yet() -> None:
    """Before a person is reported as not called, each call that the dead process placed would be listed."""
    earlier = Campaign()
    call = earlier.call(earlier.order())
    campaign = Campaign(checks={"until": MONDAY}, continued=True)
    action = campaign.next()
    assert isinstance(action, Wait)
    campaign.wait(329)
    campaign.listed.append(call)
    campaign.seconds += 1
    assert campaign.next() == Look((call.call_id,))
    campaign.end(call)
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE)


def test_a_process_that_was_frozen_waits_for_them_too() -> None:
    """While it stood still, the next try may have been at work."""
    campaign = Campaign(checks={"until": MONDAY + 60})
    campaign.plan.paused = True
    campaign.next()
    campaign.seconds = 100
    campaign.wait(329)
    campaign.seconds += 1
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.NOT_CALLED)


def test_people_who_are_gone_are_not_called_and_their_calls_are_watched() -> None:
    """The list may change between two tries."""
    earlier = Campaign()
    call = earlier.call(earlier.order())
    campaign = Campaign([person(1)], lines=1)
    campaign.listed.append(call)
    assert campaign.next() == Look((call.call_id,))
    campaign.end(call)
    assert campaign.order().person.row == 1
    assert campaign.state.roster.unowned[call.call_id].outcome == Outcome.ANSWERED


def test_calls_of_a_sibling_count_and_take_no_line_of_this_task() -> None:
    """A person who moved to another map index was called; who is of no concern here is left to the sibling."""
    first = Campaign([person(0), person(1)])
    calls = [first.call(first.order(), ours=False) for _ in range(2)]
    campaign = Campaign([person(0)])
    campaign.listed = [over(calls[0], MONDAY), calls[1]]
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE)


def test_a_lost_answer_is_settled_by_the_call_of_a_sibling() -> None:
    """Both have the same key, so the request of this task placed no other call."""
    campaign = Campaign()
    order = campaign.order()
    campaign.state.lost(order, campaign.now)
    campaign.listed.append(over(campaign.call(order), MONDAY, ours=False))
    campaign.wait(5)
    campaign.state.call_list.distrust()
    assert (campaign.next(), campaign.fate()) == (Finish(), Fate.DONE)


def test_a_resend_that_meets_a_429_or_a_refusal_is_still_unsure() -> None:
    """The first request may have arrived all the same: the number of the attempt stays, and the list decides."""
    campaign = Campaign()
    campaign.state.lost(campaign.order(), campaign.now)
    campaign.wait(5)
    campaign.state.turned_away(campaign.order(), campaign.now)
    campaign.wait(10)
    order = campaign.order()
    campaign.state.rejected(order, Rejection(status=400, message="no", field="to_number"), campaign.now)
    assert (order.attempt, campaign.fate()) == (1, None)
    campaign.seconds += 330
    campaign.listed.append(campaign.call(order))
    assert isinstance(campaign.next(), Look)


def test_an_answer_is_awaited_before_the_list_is_believed() -> None:
    """A list that shows the call of a request under way changes nothing until its answer is there."""
    campaign = Campaign([person(0), person(1)], lines=2)
    order = campaign.order()
    call = campaign.call(order)
    campaign.listed.append(over(call, MONDAY, Outcome.NO_ANSWER))
    campaign.state.call_list.distrust()
    assert campaign.order().person.row == 1
    campaign.state.placed(order, call, campaign.now)
    assert not campaign.slot().live
    campaign.wait(59)


def test_calls_that_are_not_listed_are_read_in_turn_although_reading_them_fails() -> None:
    """Twenty of them in a round: those that fail do not keep the others from being read."""
    campaign = Campaign([person(row) for row in range(45)], lines=45)
    ids = {campaign.place()[1].call_id for _ in range(45)}
    campaign.seconds += 330
    read: list[str] = []
    for _ in range(3):
        action = campaign.next()
        assert isinstance(action, Look)
        campaign.state.looked(action.call_ids, [], campaign.now)
        action = campaign.next()
        assert isinstance(action, Get)
        read += action.call_ids
        campaign.seconds += 10
    assert len(read) == 3 * SINGLE_READS
    assert set(read) == ids


@pytest.mark.parametrize("analysis_timeout", [0, 600])
def test_an_analysis_is_awaited_for_so_long(analysis_timeout: float) -> None:
    """The line is free meanwhile."""
    campaign = Campaign(analysis_timeout=analysis_timeout)
    _, call = campaign.place()
    campaign.end(call, complete=False)
    assert campaign.state.busy == 0
    if analysis_timeout:
        campaign.wait(analysis_timeout)
        assert campaign.seconds == analysis_timeout
    assert campaign.next() == Finish()


# -- trouble of the account ----------------------------------------------------------------------------------


def failure(campaign: Campaign) -> str | None:
    """Return what a campaign that is at its end says."""
    action = campaign.next()
    assert isinstance(action, Finish), action
    return action.failure


@pytest.mark.parametrize("status", [401, 402, 403, 404, 400, 422])
def test_a_refusal_that_is_not_about_the_person_stops_the_campaign(status: int) -> None:
    """401 to 404 whatever they say, and a 400 that names no field of the person."""
    field = "to_number" if status in {401, 402, 403, 404} else None
    campaign = Campaign([person(0), person(1)])
    campaign.state.rejected(campaign.order(), Rejection(status=status, message="no", field=field), campaign.now)
    assert str(status) in str(failure(campaign))
    assert [campaign.fate(row) for row in (0, 1)] == [Fate.NOT_CALLED] * 2
    assert campaign.state.roster.take_refusals() == []


@pytest.mark.parametrize("broken_by", [None, "a success", "other words"])
def test_five_equal_refusals_in_a_row_stop_the_campaign(broken_by: str | None) -> None:
    """No person is marked as refused then; without five in a row, each of them is."""
    campaign = Campaign([person(row) for row in range(7)], lines=9)
    for row in range(5):
        if row == 4 and broken_by == "a success":
            _, call = campaign.place()
            campaign.end(call)
        message = "other" if row == 4 and broken_by == "other words" else "no"
        rejection = Rejection(status=400, message=message, field="to_number")
        campaign.state.rejected(campaign.order(), rejection, campaign.now)
    fates = [campaign.fate(row) for row in range(6)]
    if broken_by is None:
        assert fates == [Fate.NOT_CALLED] * 4 + [None, None]
        assert "5 people in a row" in str(failure(campaign))
        assert campaign.state.roster.take_refusals() == []
    else:
        assert campaign.state.trouble.found is None
        campaign.end(campaign.place()[1])
        assert fates.count(Refusal.BAD_NUMBER) == len(campaign.state.roster.take_refusals()) >= 4


def test_refusals_that_differ_by_the_number_they_quote_are_equal() -> None:
    """Retell's words count, without the digits that masking leaves."""
    campaign = Campaign([person(row) for row in range(6)], lines=9)
    for row in range(5):
        message = f"Calls to to_number …{1100 + row} are not enabled."
        rejection = Rejection(status=400, message=message, field="to_number")
        campaign.state.rejected(campaign.order(), rejection, campaign.now)
    assert "5 people in a row" in str(failure(campaign))
    assert campaign.state.roster.take_refusals() == []


def refuse(campaign: Campaign, count: int) -> None:
    """Let Retell refuse people in words that quote something else each time."""
    for _ in range(count):
        order = campaign.order()
        words = f"request {'abcdefghijklmnopqrstuvw'[order.person.row]}: to_number"
        campaign.state.rejected(order, Rejection(status=400, message=words, field="to_number"), campaign.now)


def test_twenty_refusals_in_a_row_stop_the_campaign_whatever_their_words() -> None:
    """Words that quote a name, or the id of a request, are never equal; no person is marked as refused."""
    campaign = Campaign([person(row) for row in range(REFUSALS + 5)])
    refuse(campaign, REFUSALS)
    assert f"{REFUSALS} people in a row" in str(failure(campaign))
    assert [campaign.fate(row) for row in range(REFUSALS + 5)] == [Fate.NOT_CALLED] * (REFUSALS + 5)
    assert campaign.state.roster.take_refusals() == []


@pytest.mark.parametrize(
    ("placed", "refused", "of_account"), [(0, 5, True), (0, 4, False), (1, 5, False), (1, REFUSALS, True)]
)
def test_refusals_in_other_words_at_the_end_are_the_account_s_if_no_person_was_called(
    placed: int, refused: int, *, of_account: bool
) -> None:
    """An account that lacks something is no list of bad numbers, though each is refused in words of its own."""
    bad = Person(row=0, to_number="1", person_id="1", refused=Refusal.DUPLICATE)
    campaign = Campaign([bad, *(person(row) for row in range(1, 1 + placed + refused))])
    for _ in range(placed):
        campaign.end(campaign.place()[1])
    refuse(campaign, refused)
    assert (failure(campaign) is not None) == of_account
    fates = [campaign.fate(1 + placed + row) for row in range(refused)]
    assert fates == [Fate.NOT_CALLED if of_account else Refusal.BAD_NUMBER] * refused


YES, NO = True, False


@pytest.mark.parametrize(
    ("field", "shared", "equal", "last", "placed", "of_account"),
    [
        (None, False, 1, False, True, YES),
        (None, True, 1, False, True, YES),
        ("to_number", False, 5, False, True, YES),
        ("to_number", False, 4, False, True, NO),
        ("to_number", False, 4, True, False, NO),
        ("to_number", True, 5, False, True, YES),
        ("to_number", True, 4, False, False, NO),
        ("to_number", True, 2, True, True, YES),
        ("to_number", True, 1, True, False, YES),
        ("to_number", True, 1, True, True, NO),
    ],
)
def test_whose_a_refusal_is(
    *, field: str | None, shared: bool, equal: int, last: bool, placed: bool, of_account: bool
) -> None:
    """The rows of the table in the docstring."""
    rejection = Rejection(status=400, message="no", field=field, shared=shared)
    assert is_of_account(rejection, equal=equal, last=last, placed=placed) == of_account
    if field is not None:
        assert is_of_account(rejection, equal=1, in_a_row=REFUSALS, last=False, placed=True)
        assert is_of_account(rejection, equal=1, in_a_row=EQUAL_REFUSALS, last=True, placed=False)


@pytest.mark.parametrize(
    ("before", "refused", "people_s"),
    [(0, 1, False), (0, 3, False), (1, 3, False), (1, 1, True)],
    ids=["the only one", "all three", "the last three", "the last one"],
)
def test_a_campaign_that_ends_on_refusals_decides_whose_they_are(
    before: int, refused: int, *, people_s: bool
) -> None:
    """They name the person's number and the task's: only one after a call that was placed is the person's."""
    campaign = Campaign([person(row) for row in range(before + refused)], lines=9)
    for _ in range(before):
        _, call = campaign.place()
        campaign.end(call)
    for row in range(refused):
        message = f"Calls from from_number to to_number …{1100 + row} are not enabled."
        rejection = Rejection(status=400, message=message, field="to_number", shared=True)
        campaign.state.rejected(campaign.order(), rejection, campaign.now)
    assert (failure(campaign) is None) == people_s
    fates = [campaign.fate(before + row) for row in range(refused)]
    assert fates == ([Refusal.BAD_REQUEST] if people_s else [Fate.NOT_CALLED] * refused)
    assert len(campaign.state.roster.take_refusals()) == people_s


def test_refusals_that_name_both_are_the_person_s_if_the_next_call_is_placed() -> None:
    """A number that only some countries cannot be called from does not stop the campaign."""
    campaign = Campaign([person(row) for row in range(6)], lines=9)
    for turn in range(6):
        if turn % 3 == 2:
            campaign.end(campaign.place()[1])
            continue
        rejection = Rejection(status=400, message="from_number, to_number", field="to_number", shared=True)
        campaign.state.rejected(campaign.order(), rejection, campaign.now)
    assert failure(campaign) is None
    assert [campaign.fate(row) for row in range(6)].count(Refusal.BAD_REQUEST) == 4


@pytest.mark.parametrize("outcome", [Outcome.TECHNICAL, Outcome.BLOCKED, Outcome.BILLING])
def test_ten_failed_calls_in_a_row_stop_the_campaign(outcome: Outcome) -> None:
    """A call that found no line in between is no success, and one that nobody answered is."""
    campaign = Campaign([person(row) for row in range(40)], lines=40)
    for number in range(1, 22):
        _, call = campaign.place()
        between = Outcome.NO_ANSWER if number == 10 else outcome
        campaign.end(call, between)
        if number == 15:
            _, call = campaign.place()
            campaign.end(call, Outcome.CAPACITY)
            campaign.wait(5)
        assert (campaign.state.trouble.found is not None) == (number >= 20)
        if number == 20:
            break
    assert "10 calls in a row" in str(campaign.state.trouble.found)


def test_calls_that_fail_before_their_requests_are_answered_count_as_failed() -> None:
    """Ten requests in a row are answered with calls that are over: the account is in trouble as well."""
    campaign = Campaign([person(row) for row in range(40)], lines=40)
    for _ in range(10):
        assert campaign.state.trouble.found is None
        order = campaign.order()
        call = over(campaign.call(order, placed_at=campaign.now.wall), campaign.now.wall, Outcome.TECHNICAL)
        campaign.state.placed(order, call, campaign.now)
        campaign.listed.append(call)
    assert "10 calls in a row" in str(campaign.state.trouble.found)


def test_a_call_without_a_line_by_the_time_its_request_is_answered_slows_the_pace() -> None:
    """It is called again as the next attempt, after a pause."""
    campaign = Campaign()
    order = campaign.order()
    call = over(campaign.call(order, placed_at=campaign.now.wall), campaign.now.wall, Outcome.CAPACITY)
    campaign.state.placed(order, call, campaign.now)
    campaign.listed.append(call)
    campaign.wait(5)
    assert campaign.order().attempt == 2


def test_a_first_call_that_is_never_listed_stops_the_campaign() -> None:
    """Without the list no retry could know who was called."""
    campaign = Campaign([person(row) for row in range(3)], lines=1)
    _, call = campaign.place()
    campaign.listed.clear()
    campaign.end(call)
    campaign.listed.clear()
    _, live = campaign.place()
    campaign.listed.clear()
    reads = 0
    while campaign.seconds < LONGEST_RINGING - 1 or campaign.state.trouble.found is None:
        action = campaign.plan.next_action(campaign.now)
        if isinstance(action, ReadList):
            reads += 1
            campaign.state.read([], began=campaign.now, now=campaign.now)
        elif isinstance(action, Wait):
            campaign.seconds += action.seconds
    assert 33 <= reads <= 35
    assert campaign.seconds == pytest.approx(LONGEST_RINGING, abs=1)
    campaign.end(live)
    assert "retention" in str(failure(campaign))


def test_once_a_call_is_listed_nothing_is_confirmed_any_more() -> None:
    """One call that is listed shows that the others will be."""
    campaign = Campaign([person(row) for row in range(2)], lines=1)
    _, call = campaign.place()
    campaign.end(call)
    campaign.place()
    campaign.wait(20)
    campaign.listed.clear()
    campaign.wait(200)
    assert campaign.state.trouble.found is None


def test_a_campaign_in_which_no_number_is_good_fails() -> None:
    """That is a mistake of the list, and no result."""
    bad = {"refused": Refusal.BAD_NUMBER, "detail": "no"}
    assert "bad_number" in str(failure(Campaign([person(0, **bad), person(1, **bad)])))
    mixed = Campaign([person(0, **bad), person(1)])
    mixed.end(mixed.place()[1])
    assert failure(mixed) is None


@pytest.mark.parametrize("others", [None, "eligible", "not eligible"])
def test_a_campaign_in_which_eligible_fails_for_all_fails(others: str | None) -> None:
    """That is a mistake of the function; one that fails for some refuses those."""
    broken = NotEligible("ZeroDivisionError", failed=True)
    answers = {0: broken, 1: {None: broken, "eligible": None, "not eligible": NotEligible("paid")}[others]}
    campaign = Campaign([person(0), person(1)], checks={"eligible": lambda of, _calls: answers[of.row]})
    if others == "eligible":
        campaign.end(campaign.place()[1])
    assert ("eligible failed" in str(failure(campaign))) == (others is None)
    assert campaign.fate() == Refusal.NOT_ELIGIBLE


def test_people_whose_hours_never_opened_are_refused_at_the_end() -> None:
    """Those whose hours were open, and for whom there was no line, are left."""
    hours = CallingHours("09:00", "20:00")
    awake = person(0, time_zone="UTC", not_before=MONDAY + 7200)
    busy, asleep = person(1, time_zone="UTC"), person(2, time_zone="Asia/Tokyo")
    campaign = Campaign([awake, busy, asleep], lines=0, checks={"until": MONDAY + 3600, "hours": hours})
    campaign.wait(3600)
    assert campaign.next() == Finish()
    assert [campaign.fate(row) for row in range(3)] == [Fate.NOT_CALLED, Fate.NOT_CALLED, Refusal.OUTSIDE_HOURS]


def test_an_empty_campaign_succeeds_without_a_request() -> None:
    """Without people a campaign succeeds without a request."""
    campaign = Campaign([])
    assert campaign.plan.next_action(campaign.now) == Finish()


def test_the_wait_says_when_a_person_may_have_to_be_called() -> None:
    """A task that has nothing to place for long leaves its worker."""
    campaign = Campaign([person(0), person(1, not_before=MONDAY + 7200)], lines=1)
    _, call = campaign.place()
    assert isinstance(campaign.next(), Look)
    waiting = campaign.next()
    assert isinstance(waiting, Wait)
    assert (waiting.seconds, waiting.next_call_in) == (10, 7200)
    campaign.end(call)
    campaign.seconds = 7200
    _, call = campaign.place()
    campaign.next()
    waiting = campaign.next()
    assert isinstance(waiting, Wait)
    assert waiting.next_call_in is None
    busy = Campaign([person(0), person(1)], lines=1)
    busy.place()
    busy.next()
    waiting = busy.next()
    assert isinstance(waiting, Wait)
    assert waiting.next_call_in == 0
    assert not math.isinf(waiting.seconds)


# -- calls that do not end -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "seconds"),
    [("registered", LONGEST_UNANSWERED), ("ongoing", LONGEST_CALL), ("paused", LONGEST_CALL)],
)
@pytest.mark.parametrize("listed", [True, False])
def test_a_call_that_does_not_end_is_given_up(status: str, seconds: float, *, listed: bool) -> None:
    """It is read once more by itself; then its line is free, and no person is called again because of it."""
    campaign = Campaign()
    _, call = campaign.place()
    reads = 0
    while not isinstance(action := campaign.next(), Finish):
        going_on = replace(call, status=status)
        match action:
            case Look(call_ids):
                campaign.state.looked(call_ids, [going_on] if listed else [], campaign.now)
            case Get(call_ids):
                reads += 1
                campaign.state.got(call_ids[0], going_on, campaign.now)
            case Wait(seconds=pause):
                campaign.seconds += pause
    assert action.failure is None
    assert seconds <= campaign.seconds <= seconds + 20
    assert campaign.slot().calls[0].unreadable
    assert campaign.state.busy == 0
    assert (reads == 1) is listed, reads


def test_a_call_that_turns_out_to_be_over_after_all_counts_as_it_ended() -> None:
    """A clear reads it again from the list."""
    earlier = Campaign()
    call = earlier.call(earlier.order(), placed_at=MONDAY)
    campaign = Campaign()
    campaign.state.load([call.vanished(MONDAY + LONGEST_CALL)], campaign.now)
    campaign.listed.append(over(call, MONDAY + LONGEST_CALL + 60, Outcome.NO_ANSWER))
    campaign.next()
    assert campaign.slot().calls[0].outcome is Outcome.NO_ANSWER


def test_the_list_is_read_again_after_a_lost_connection() -> None:
    """Before anything is sent on a new connection: another process may have been at work meanwhile."""
    campaign = Campaign()
    order = campaign.order()
    campaign.state.lost(order, campaign.now)
    campaign.seconds += 5
    assert campaign.plan.next_action(campaign.now) == ReadList()
