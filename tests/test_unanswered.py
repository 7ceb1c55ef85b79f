"""Test how long a campaign bears requests without answers, and that one person's hold up no other."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_retell.campaign.people.identity import CampaignIdentity
from airflow_provider_retell.campaign.people.person import Person
from airflow_provider_retell.campaign.plan import unanswered as module
from airflow_provider_retell.campaign.plan.actions import Finish, Get, Look, Place, ReadList, Wait
from airflow_provider_retell.campaign.plan.checks import Checks
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.campaign.plan.pacing import Moment, Pace
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.plan.roster import Fate, Roster, Slot
from airflow_provider_retell.campaign.plan.state import CampaignState
from airflow_provider_retell.campaign.plan.trouble import NOT_REACHED
from airflow_provider_retell.campaign.plan.unanswered import (
    A_FEW,
    GIVEN_UP,
    STRIKES,
    UNREACHABLE_FOR,
    Unanswered,
    Verdict,
)
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.policy import Redial

BEGIN: Final = datetime(2026, 7, 6, 12, tzinfo=UTC).timestamp()
IDENTITY: Final = CampaignIdentity.of(dag_id="dag", run_id="run", task_id="call", map_index=-1)
RULES: Final = (Redial("no_answer", after=timedelta(minutes=10), times=1),)
LISTED_AFTER: Final = 100.0
WITHOUT_CALL: Final = ("lost", "429", "unreached")
ANSWERS: Final = ("placed", "no answer", "lost after all", "no line", *WITHOUT_CALL)


# -- the table ------------------------------------------------------------------------------------------------


def no_one(_rows: Collection[int]) -> bool:
    """No other person could be called."""
    return False


def unanswered(
    made: Unanswered, row: int, seconds: float, *, called: bool = True, due: Callable[..., bool] = no_one
) -> Verdict:
    return made.unanswered(row, seconds, others_called=called, others_due=due)


def ten_minutes(made: Unanswered, rows: int, **more: Any) -> Verdict:
    """Return what follows if requests for so many people in turn are not answered for ten minutes."""
    for turn in range(rows * 3):
        assert unanswered(made, turn % rows, turn * UNREACHABLE_FOR / (rows * 3), **more) is Verdict.REPEAT
    return unanswered(made, 0, UNREACHABLE_FOR, **more)


def strikes() -> Verdict:
    made = Unanswered()
    for number in range(STRIKES):
        verdict = unanswered(made, 0, float(number))
        assert (verdict is Verdict.GIVE_UP) == (number == STRIKES - 1)
        made.placed(1)
    return verdict


def alone() -> Verdict:
    assert ten_minutes(Unanswered(), 1, called=False) is Verdict.STOP
    # Others who wait have no line: otherwise they would have been asked for.
    assert ten_minutes(Unanswered(), 1, due=lambda _: True) is Verdict.GIVE_UP
    return ten_minutes(Unanswered(), 1)


def a_few() -> Verdict:
    asked: list[set[int]] = []
    for rows in range(2, A_FEW + 1):
        assert ten_minutes(Unanswered(), rows, due=lambda those: bool(asked.append(set(those)))) is Verdict.GIVE_UP
        assert asked.pop() == set(range(rows))
        assert ten_minutes(Unanswered(), rows, due=lambda _: True) is Verdict.STOP
        assert ten_minutes(Unanswered(), rows, called=False) is Verdict.STOP
    return ten_minutes(Unanswered(), A_FEW)


def more() -> Verdict:
    made = Unanswered()
    for row in range(3):
        unanswered(made, row, 0.0)
    made.placed(99)
    assert ten_minutes(made, A_FEW + 4) is Verdict.STOP
    made.placed(99)
    return ten_minutes(made, A_FEW + 4)


def otherwise() -> Verdict:
    return ten_minutes(Unanswered(), A_FEW + 1)


def fewer() -> Verdict:
    made = Unanswered()
    for number in range(50):  # none of others is placed in between
        verdict = unanswered(made, 0, float(number))
        made.answered()
    return verdict


TABLE = {
    "five for one person": (strikes, Verdict.GIVE_UP, "that person is given up"),
    "for ten minutes all requests, in a campaign": (alone, Verdict.GIVE_UP, "that person is given up"),
    "the same, for up to four people": (a_few, Verdict.GIVE_UP, "they are given up"),
    "the same, for more people": (more, Verdict.GIVE_UP, "they are given up"),
    "for ten minutes all requests otherwise": (otherwise, Verdict.STOP, "the campaign stops"),
    "fewer, or for a shorter time": (fewer, Verdict.REPEAT, "they are repeated"),
}


@pytest.mark.parametrize("row", TABLE)
def test_requests_that_are_not_answered(row: str) -> None:
    """Each row of the table in the module's docstring holds."""
    situation, verdict, follows = TABLE[row]
    assert re.search(rf"^{row}.*  {follows}", module.__doc__ or "", re.MULTILINE)
    assert situation() is verdict


def test_ten_minutes_begin_again_after_an_answer_and_after_ten_minutes_without_a_request() -> None:
    """Only requests that were sent, and not answered, count."""
    made = Unanswered()
    assert unanswered(made, 0, 0.0) is Verdict.REPEAT
    assert unanswered(made, 0, UNREACHABLE_FOR + 1) is Verdict.REPEAT
    made.answered()
    assert unanswered(made, 0, 2 * UNREACHABLE_FOR) is Verdict.REPEAT


# -- on a Retell ----------------------------------------------------------------------------------------------


class Day:
    """A campaign in a time of its own, on a Retell that gives the answers it is given."""

    def __init__(self, people: int, *, lines: int, troubled: dict[int, list[str]], seed: int = 0) -> None:
        given_people = [
            Person(row=row, to_number=f"+1206555{row:04d}", person_id=str(row)) for row in range(people)
        ]
        self.state = CampaignState(
            Roster(given_people, IDENTITY), checks=Checks(began_at=BEGIN), pace=Pace(1), redial=RULES
        )
        self.plan = Plan(self.state, lines=lines)
        self.troubled = troubled
        self.asked: Counter[int] = Counter()
        self.rng = random.Random(seed)  # noqa: S311 (no secret)
        self.seconds = 0.0
        self.calls: dict[str, tuple[KnownCall, float, Outcome]] = {}
        self.keys: dict[str, str] = {}
        self.failure: str | None = None

    @property
    def now(self) -> Moment:
        return Moment(BEGIN + self.seconds, self.seconds)

    def answer(self, order: Place) -> str:
        """Return the answer to a request: the last one given for a person is given for ever."""
        answers = self.troubled.get(order.person.row, ["placed"])
        self.asked[order.person.row] += 1
        return answers[min(self.asked[order.person.row], len(answers)) - 1]

    def create(self, order: Place, outcome: Outcome) -> KnownCall:
        """Return the call of a key."""
        person = IDENTITY.person(to_number=order.person.to_number, person_id=order.person.person_id)
        key = IDENTITY.key(person, order.attempt)
        if key not in self.keys:
            self.keys[key] = call_id = f"call_{len(self.calls)}"
            lasts = 0.0 if outcome is Outcome.CAPACITY else self.rng.choice([20.0, 120.0, 280.0])
            call = KnownCall(
                call_id=call_id,
                person=person,
                attempt=order.attempt,
                status="registered",
                placed_at=self.now.wall,
            )
            self.calls[call_id] = call, self.seconds + lasts, outcome
        return self.calls[self.keys[key]][0]

    def place(self, order: Place) -> None:
        state, now = self.state, self.now
        if not self.plan.may_send(order, now):
            state.not_sent(order, now)
            return
        match self.answer(order):
            case "lost":
                state.lost(order, now)
            case "lost after all":
                self.create(order, Outcome.ANSWERED)
                state.lost(order, now)
            case "429":
                state.turned_away(order, now)
            case "unreached":
                state.unreached(order, now)
            case "no line":
                state.placed(order, self.create(order, Outcome.CAPACITY), now)
            case "no answer":
                state.placed(order, self.create(order, Outcome.NO_ANSWER), now)
            case _:
                state.placed(order, self.create(order, Outcome.ANSWERED), now)

    def known(self, call_id: str) -> KnownCall:
        call, ends, outcome = self.calls[call_id]
        if self.seconds < ends:
            return call
        fields = {"call_id": call_id, "person": call.person, "attempt": call.attempt, "placed_at": call.placed_at}
        over = KnownCall(**fields, status="ended", outcome=outcome, ended_at=BEGIN + ends, complete=True)
        return over.seen_over(self.now.wall)

    def run(self, hours: float = 24) -> None:
        while self.seconds < hours * 3600:
            match self.plan.next_action(self.now):
                case Place() as order:
                    self.place(order)
                    self.seconds += 0.3
                case ReadList():
                    old = [each for each, (call, _, _) in self.calls.items() if self.is_listed(call)]
                    self.state.read(map(self.known, old), began=self.now, now=self.now)
                case Look(call_ids) | Get(call_ids):
                    self.state.looked(call_ids, [self.known(each) for each in call_ids], self.now)
                case Wait(seconds=seconds):
                    self.seconds += max(seconds, 0.05)
                case Finish(failure):
                    self.failure = failure
                    return
        raise AssertionError("it goes on for ever")

    def is_listed(self, call: KnownCall) -> bool:
        return call.placed_at is not None and self.now.wall >= call.placed_at + LISTED_AFTER

    def slot(self, row: int) -> Slot:
        return self.state.roster.slots[row]

    def dialed(self) -> Counter[object]:
        return Counter(call.person for call, _, outcome in self.calls.values() if outcome is not Outcome.CAPACITY)


@pytest.mark.parametrize("row", [0, 3, 11])
@pytest.mark.parametrize("answers", [*([each] for each in WITHOUT_CALL), ["placed-no", "429"]], ids=str)
@pytest.mark.parametrize("lines", [1, 20])
def test_a_person_whom_retell_never_calls_holds_up_no_other(row: int, answers: list[str], lines: int) -> None:
    """Wherever that person is on the list: all others are called, and soon."""
    answers = ["no answer", answers[1]] if answers[0] == "placed-no" else answers
    day = Day(12, lines=lines, troubled={row: answers})
    called: list[float] = []
    while len(called) < 11 and day.seconds < 3 * 3600:
        match day.plan.next_action(day.now):
            case Place() as order:
                day.place(order)
                if order.person.row != row and day.slot(order.person.row).calls:
                    called.append(day.seconds)
            case ReadList():
                day.state.read(map(day.known, day.calls), began=day.now, now=day.now)
            case Look(call_ids) | Get(call_ids):
                day.state.looked(call_ids, [day.known(each) for each in call_ids], day.now)
            case Wait(seconds=seconds):
                day.seconds += max(seconds, 0.05)
            case Finish():
                break
    assert len(called) == 11
    # Alone on one line, eleven calls of up to 280 s take 51 minutes.
    assert called[-1] < (3700 if lines == 1 else 700)


def test_a_person_whose_requests_are_never_answered_is_given_up_with_the_reason() -> None:
    """The campaign ends well: that person is not called, and the row says why."""
    day = Day(12, lines=20, troubled={3: ["lost"]})
    day.run()
    assert day.failure is None
    assert [(slot.fate, slot.detail) for slot in day.state.roster.slots if slot.fate is not Fate.DONE] == [
        (Fate.NOT_CALLED, GIVEN_UP)
    ]


@pytest.mark.parametrize("lines", [2, 20])
@pytest.mark.parametrize("rows", [(10, 11), (2, 11), (0, 1, 6, 11), (1, 3, 4, 6, 8, 9)], ids=str)
def test_several_people_whose_requests_are_not_answered_are_given_up(rows: tuple[int, ...], lines: int) -> None:
    """All others are called, and the campaign ends well, even if these are the last ones."""
    day = Day(12, lines=lines, troubled={row: ["lost"] for row in rows})
    day.run()
    assert day.failure is None
    fates = [(slot.fate, slot.detail) for slot in day.state.roster.slots]
    assert fates == [(Fate.NOT_CALLED, GIVEN_UP) if row in rows else (Fate.DONE, "") for row in range(12)]


@pytest.mark.parametrize("answer", ["lost", "unreached"])
@pytest.mark.parametrize("lines", [1, 2, 4, 20])
@pytest.mark.parametrize(("called", "left"), [(0, 1), (0, 3), (1, 7), (3, 9), (20, 40), (20, A_FEW + 1)])
def test_an_outage_stops_the_campaign(called: int, left: int, lines: int, answer: str) -> None:
    """Requests fail from some moment on, for all who are left: a retry goes on with all of them."""
    day = Day(called + left, lines=lines, troubled={row: [answer] for row in range(called, called + left)})
    day.run()
    assert day.failure == NOT_REACHED
    fates = [(slot.fate, slot.detail) for slot in day.state.roster.slots]
    assert fates == [(Fate.DONE, "")] * called + [(Fate.NOT_CALLED, "")] * left


@settings(deadline=None, max_examples=150)
@given(
    troubled=st.dictionaries(
        st.integers(0, 7), st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=8), max_size=4
    ),
    lines=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 99),
)
def test_whatever_the_requests_of_some_meet_all_others_are_called(
    troubled: dict[int, list[str]], lines: int, seed: int
) -> None:
    """And no person is called more often than allowed, whatever the answers."""
    recovers = {row: [*answers, "placed"] for row, answers in troubled.items()}
    day = Day(8, lines=lines, troubled=recovers, seed=seed)
    day.run()
    assert all(count <= 1 + RULES[0].times for count in day.dialed().values())
    given_up = {slot.person.row for slot in day.state.roster.slots if slot.detail == GIVEN_UP}
    assert given_up <= troubled.keys()
    assert day.failure in (None, NOT_REACHED)
    if day.failure is None:
        for slot in day.state.roster.slots:
            assert slot.person.row in given_up or slot.fate is Fate.DONE
    for slot in day.state.roster.slots:
        called = {call.call_id for call, _, _ in day.calls.values() if call.person.number == number_of(slot)}
        assert called == {call.call_id for call in slot.calls}, "a call that is not known"


def number_of(slot: Slot) -> int:
    return IDENTITY.person(to_number=slot.person.to_number, person_id=slot.person.person_id).number
