"""Test the promises of a campaign whatever dies, is lost, comes late or freezes, on a Retell made for it.

Two processes may be at work on one campaign, each with its own plan. They stop between any two actions, for any
time, and for good; requests and answers are lost; calls are listed late; lines are short. A process knows nothing
but what Retell lists and what was written to files.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.campaign.people.identity import CampaignIdentity, PersonKey
from airflow_provider_retell.campaign.people.person import Person
from airflow_provider_retell.campaign.plan.actions import Finish, Get, Look, Place, ReadList, Wait
from airflow_provider_retell.campaign.plan.checks import Checks
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.campaign.plan.pacing import Moment, Pace
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.plan.roster import Fate, Roster
from airflow_provider_retell.campaign.plan.state import CampaignState
from airflow_provider_retell.campaign.plan.trouble import NO_LINE, NOT_REACHED
from airflow_provider_retell.campaign.plan.unanswered import GIVEN_UP
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.policy import CallingHours, Redial

BEGIN = datetime(2026, 7, 6, 12, tzinfo=UTC).timestamp()
IDENTITY = CampaignIdentity.of(dag_id="dag", run_id="run", task_id="call", map_index=-1)
PEOPLE = [Person(row=row, to_number=f"+1415555010{row}", person_id=f"person-{row}") for row in range(6)]
AFTER, TIMES = 600.0, 2
RULES = [Redial("no_answer", after=timedelta(seconds=AFTER), times=TIMES)]
HOURS = CallingHours("09:00", "20:00", time_zone="UTC")
LINES, CALLS_PER_SECOND = 4, 2
REPLICA_LAG = 20.0
KEY_LIFETIME = 3600.0
DETAILS = {Outcome.ANSWERED: "ended", Outcome.NO_ANSWER: "not_connected", Outcome.CAPACITY: "error"}


@dataclass
class Ring:
    """A call as Retell has it."""

    call_id: str
    key: str
    person: PersonKey
    attempt: int
    created: float
    ends: float
    listed: float
    outcome: Outcome
    placed_by: object

    def over(self, now: float) -> bool:
        return now >= self.ends


@dataclass
class Retell:
    """A Retell that keeps its promises, and does nothing beyond them."""

    rng: random.Random
    now: float = BEGIN
    lines: int = 10
    rings: list[Ring] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)

    def live(self) -> list[Ring]:
        return [ring for ring in self.rings if not ring.over(self.now)]

    def create(self, key: str, person: PersonKey, attempt: int, placed_by: object) -> Ring | None:
        """Return the call of a key; None for a 429."""
        for ring in self.rings:
            if ring.key == key and self.now < ring.created + KEY_LIFETIME:
                return ring
        outcome = self.rng.choice([Outcome.ANSWERED, Outcome.NO_ANSWER, Outcome.NO_ANSWER])
        duration = self.rng.choice([0.1, 20.0, 90.0, 290.0, 2000.0])
        if len(self.live()) >= self.lines:
            if self.rng.random() < 0.5:
                return None
            outcome, duration = Outcome.CAPACITY, self.rng.choice([0.0, 3.0])
        ends = self.now + duration
        listed = min(self.now + self.rng.choice([0.0, 60.0, 300.0]), ends + self.rng.choice([0.0, 5.0, 60.0]))
        call_id = f"call_{len(self.rings)}"
        self.rings.append(Ring(call_id, key, person, attempt, self.now, ends, listed, outcome, placed_by))
        return self.rings[-1]

    def known(self, ring: Ring, at: float) -> KnownCall:
        """Return a call as it was at a time: one that never connected has no times of its own."""
        fields: dict[str, Any] = {"call_id": ring.call_id, "person": ring.person, "attempt": ring.attempt}
        if not ring.over(at):
            return KnownCall(**fields, status="registered" if at < ring.created + LONGEST_RINGING else "ongoing")
        times = {"placed_at": ring.created, "ended_at": ring.ends} if ring.outcome == Outcome.ANSWERED else {}
        call = KnownCall(**fields, **times, status=DETAILS[ring.outcome], outcome=ring.outcome, complete=True)
        return call.seen_over(self.now)

    def list(self, *, lag: float = 0) -> list[KnownCall]:
        """Return what a replica lists that is behind by some seconds."""
        at = self.now - lag
        shown = [ring for ring in self.rings if ring.listed <= at and ring.call_id not in self.forgotten]
        return [self.known(ring, at) for ring in shown]

    def get(self, call_id: str) -> KnownCall | None:
        known = [self.known(ring, self.now) for ring in self.rings if ring.call_id == call_id]
        return None if call_id in self.forgotten else known[0]


class Process:
    """The simplest possible driver of a plan."""

    def __init__(self, retell: Retell, *, until: float, continued: bool, files: dict[str, KnownCall]) -> None:
        self.retell = retell
        self.born = retell.now
        checks = Checks(began_at=BEGIN, until=until, hours=HOURS)
        self.state = CampaignState(
            Roster(PEOPLE, IDENTITY),
            checks=checks,
            pace=Pace(CALLS_PER_SECOND),
            redial=RULES,
            continued=continued,
        )
        self.plan = Plan(self.state, lines=LINES)
        self.state.load(files.values(), self.now)
        self.unsent: list[Place] = []
        self.unanswered: list[tuple[Place, Ring | None]] = []
        self.sent: list[float] = []
        self.finished = False

    @property
    def now(self) -> Moment:
        return Moment(self.retell.now, self.retell.now - self.born)

    def act(self, fault: str) -> Wait | None:
        """Carry out one action; return a wait."""
        action = self.plan.next_action(self.now)
        match action:
            case Wait():
                return action
            case Finish():
                assert action.failure in (None, NOT_REACHED, NO_LINE)
                self.finished = True
            case Place():
                self.unsent.append(action)
                if fault != "frozen before sending":
                    self.send(fault)
            case ReadList() if fault != "unreadable":
                lag = REPLICA_LAG if fault == "old list" else 0
                self.state.read(self.retell.list(lag=lag), began=self.now, now=self.now)
            case Look(call_ids) if fault != "unreadable":
                lag = REPLICA_LAG if fault == "old list" else 0
                found = [call for call in self.retell.list(lag=lag) if call.call_id in call_ids]
                self.state.looked(call_ids, found, self.now)
            case Get(call_ids) if fault != "unreadable":
                for call_id in call_ids:
                    self.state.got(call_id, self.retell.get(call_id), self.now)
            case _:
                return Wait(seconds=1, next_call_in=0)
        return None

    def send(self, fault: str) -> None:
        """Send what is to be sent; the answer comes, comes later, or never."""
        order = self.unsent.pop()
        if not self.plan.may_send(order, self.now):
            self.state.not_sent(order, self.now)
            return
        self.sent.append(self.retell.now)
        if fault == "request lost":
            self.state.lost(order, self.now)
            return
        person = IDENTITY.person(to_number=order.person.to_number, person_id=order.person.person_id)
        ring = self.retell.create(IDENTITY.key(person, order.attempt), person, order.attempt, self)
        self.unanswered.append((order, ring))
        if fault == "answer lost":
            self.answer(lost=True)
        elif fault != "answer late":
            self.answer()

    def answer(self, *, lost: bool = False) -> None:
        order, ring = self.unanswered.pop()
        if lost:
            self.state.lost(order, self.now)
        elif ring is None:
            self.state.turned_away(order, self.now)
        else:
            self.state.placed(
                order,
                KnownCall(
                    call_id=ring.call_id,
                    person=ring.person,
                    attempt=ring.attempt,
                    status="registered",
                    placed_at=self.now.wall,
                ),
                self.now,
            )

    def written(self) -> dict[str, KnownCall]:
        """Return what the process would write to its files: calls seen over."""
        calls = [call for slot in self.state.roster.slots for call in slot.calls]
        return {call.call_id: call for call in calls if not call.live}


FAULTS = st.sampled_from(
    ["none"] * 4
    + ["request lost", "answer lost", "answer late", "frozen before sending", "unreadable", "old list"]
)
WHO = st.integers(0, 1)


class CampaignPromises(RuleBasedStateMachine):
    """Try any order of work, faults, deaths and freezes."""

    @initialize(seed=st.integers(0, 10_000), until=st.sampled_from([math.inf, math.inf, 400.0, 4000.0]))
    def begin(self, seed: int, until: float) -> None:
        self.until = BEGIN + until
        self.retell = Retell(random.Random(seed))  # noqa: S311 (no secret)
        self.files: dict[str, KnownCall] = {}
        self.processes: list[Process | None] = [None, None]
        self.dead: list[Process] = []
        self.started = False
        self.start(0)

    def start(self, who: int) -> Process:
        process = Process(self.retell, until=self.until, continued=self.started, files=self.files)
        self.processes[who] = process
        self.started = True
        return process

    def kill(self, who: int) -> None:
        process = self.processes[who]
        if process is not None:
            self.dead.append(process)
            self.processes[who] = None

    @rule(
        who=WHO,
        faults=st.lists(FAULTS, min_size=1, max_size=6),
        seconds=st.sampled_from([0, 0, 3, 30, 120, 700, 4000]),
    )
    def work(self, who: int, faults: list[str], seconds: float) -> None:
        """A process works for some time, with these faults in its first actions."""
        process = self.processes[who]
        if process is None:
            process = self.start(who)
        self.run(process, faults, seconds)
        self.bury(who)

    def run(self, process: Process, faults: list[str], seconds: float) -> None:
        end = self.retell.now + seconds
        waiting = list(reversed(faults))
        for _ in range(400):
            wait = process.act(waiting.pop() if waiting else "none")
            if process.finished:
                self.check_end(process)
                return
            if wait is not None:
                if self.retell.now >= end and not waiting:
                    return
                self.retell.now += wait.seconds

    def bury(self, who: int) -> None:
        process = self.processes[who]
        if process is not None and process.finished:
            self.dead.append(process)
            self.processes[who] = None

    @rule(turns=st.lists(st.tuples(WHO, FAULTS), min_size=2, max_size=12))
    def work_in_turns(self, turns: list[tuple[int, str]]) -> None:
        """Both processes are at work, with a second between two actions."""
        for who, fault in turns:
            process = self.processes[who]
            self.run(self.start(who) if process is None else process, [fault], 0)
            self.bury(who)
            self.retell.now += 1

    @rule(seconds=st.sampled_from([0.3, 10.0, 70.0, 331.0, 1790.0, 3400.0, 7300.0, 40_000.0]))
    def stand_still(self, seconds: float) -> None:
        """Let time pass while all processes are frozen."""
        self.retell.now += seconds

    @rule(lines=st.sampled_from([0, 1, 3, 10]))
    def others_call(self, lines: int) -> None:
        """Others on the account leave so many lines."""
        self.retell.lines = lines

    @rule(who=WHO)
    def go_on_sending(self, who: int) -> None:
        """A process that froze before it sent something goes on."""
        process = self.processes[who]
        while process is not None and process.unsent:
            process.send("none")

    @rule(who=WHO, lost=st.booleans())
    def answers_come(self, who: int, *, lost: bool) -> None:
        """Answers that are late come, or turn out to be lost."""
        process = self.processes[who]
        while process is not None and process.unanswered:
            process.answer(lost=lost)

    @rule(who=WHO)
    def die(self, who: int) -> None:
        """Kill a process."""
        self.kill(who)

    @rule(who=WHO)
    def write(self, who: int) -> None:
        """Let a process write the calls that it saw over to its files."""
        process = self.processes[who]
        if process is not None:
            self.files |= process.written()

    @precondition(lambda self: all(process is None for process in self.processes))
    @rule()
    def forget(self) -> None:
        """The account keeps calls for a short time only; what is in a file is known all the same."""
        self.retell.forgotten |= self.files.keys()

    # -- the promises --------------------------------------------------------------------------------------

    @invariant()
    def one_call_per_attempt_and_person(self) -> None:
        keys = [ring.key for ring in self.retell.rings]
        assert len(keys) == len(set(keys)), "rung twice for one attempt"

    @invariant()
    def no_phone_rings_during_a_call_or_beyond_what_redial_allows(self) -> None:
        for person in {ring.person for ring in self.retell.rings}:
            rings = [ring for ring in self.retell.rings if ring.person == person]
            dialed = [ring for ring in rings if ring.outcome != Outcome.CAPACITY]
            for earlier, later in pairwise(rings):
                assert later.created >= earlier.ends, "rung during a call"
            for earlier, later in pairwise(dialed):
                assert earlier.outcome == Outcome.NO_ANSWER, "called again after a conversation"
                assert later.created > earlier.ends + AFTER - 0.001, "called again too early"
            assert len(dialed) <= 1 + TIMES, "called again too often"

    @invariant()
    def no_phone_rings_outside_the_hours(self) -> None:
        for ring in self.retell.rings[-LINES:]:
            assert HOURS.is_open(None, datetime.fromtimestamp(ring.created, UTC)), "rung outside the hours"
            assert ring.created < self.until, "rung after until"

    @invariant()
    def lines_and_pace_are_kept(self) -> None:
        for process in [*self.processes, *self.dead]:
            if process is None:
                continue
            placed = [ring for ring in self.retell.rings if ring.placed_by is process]
            for ring in placed:
                live = [other for other in placed if other.created <= ring.created < other.ends]
                assert len(live) <= LINES, "more live calls than lines"
            for first, later in zip(process.sent, process.sent[CALLS_PER_SECOND:], strict=False):
                assert later - first > 1, "faster than calls_per_second"

    def check_end(self, process: Process) -> None:
        """Each person has a fate, and it is the right one: nothing else was left to do in time."""
        alone = all(other in (None, process) for other in self.processes)
        for slot in process.state.roster.slots:
            person = IDENTITY.person(to_number=slot.person.to_number, person_id=slot.person.person_id)
            rings = [ring for ring in self.retell.rings if ring.person == person]
            assert slot.fate in {Fate.DONE, Fate.NOT_CALLED}, "a person is lost"
            if alone:
                assert {ring.call_id for ring in rings} == {call.call_id for call in slot.calls}, (
                    "a call is not known"
                )
                assert all(ring.over(self.retell.now) for ring in rings), "a call is live"
            if slot.fate is Fate.NOT_CALLED:
                unanswered = slot.detail == GIVEN_UP or process.state.trouble.found
                assert unanswered or self.retell.now >= self.until - AFTER, "left too early"
                continue
            last = slot.dialed[-1]
            assert last.outcome == Outcome.ANSWERED or len(slot.dialed) == 1 + TIMES, "a redial was left out"

    def teardown(self) -> None:
        """Whatever happened, one process that is let work brings it to an end."""
        if not hasattr(self, "retell"):
            return
        self.kill(1)
        self.retell.lines = 10
        process = self.processes[0] or self.start(0)
        self.go_on_sending(0)
        self.answers_come(0, lost=False)
        for _ in range(20_000):
            wait = process.act("none")
            if process.finished:
                break
            if wait is not None:
                self.retell.now += max(wait.seconds, 0.001)
        assert process.finished, "it goes on for ever"
        self.check_end(process)
        for promise in (
            self.one_call_per_attempt_and_person,
            self.no_phone_rings_during_a_call_or_beyond_what_redial_allows,
            self.lines_and_pace_are_kept,
        ):
            promise()


TestCampaignPromises = CampaignPromises.TestCase
TestCampaignPromises.settings = settings(
    max_examples=100,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
