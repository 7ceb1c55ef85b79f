"""A campaign against the simulator: each person is called once per attempt, whatever dies and whenever."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from threading import Event, current_thread, main_thread
from typing import Any

import httpx
import pytest
from conftest import FROM, SteppingClock

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.campaign.people.identity import CampaignIdentity
from airflow_provider_retell.campaign.people.person import Person
from airflow_provider_retell.campaign.plan.checks import Checks
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.campaign.plan.pacing import Pace
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.plan.roster import Fate, Roster
from airflow_provider_retell.campaign.plan.state import CampaignState
from airflow_provider_retell.campaign.results.summary import people_rows, summarize
from airflow_provider_retell.campaign.run.background import Moments
from airflow_provider_retell.campaign.run.campaign_run import CampaignRun
from airflow_provider_retell.campaign.run.recorder import Recorder, known_calls
from airflow_provider_retell.campaign.run.requests import CallRequests
from airflow_provider_retell.campaign.run.terms import End, Leave, Terms
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellCallError,
    RetellPermissionError,
)
from airflow_provider_retell.policy import Redial
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator

PLACING = "create-phone-call"
LISTING = "list-calls"
IDENTITY = CampaignIdentity.of(dag_id="dag", run_id="run", task_id="call", map_index=-1)


class Crash(BaseException):
    """The error of a process that dies."""


class Wire(httpx.BaseTransport):
    """A network on which the process dies, before or after the n-th request; it counts the requests."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self.requests = 0
        self._at, self._after = at, after
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        dies = self._at is not None and self.requests >= self._at
        if dies and (not self._after or self.requests > (self._at or 0)):
            raise Crash
        response = self._inner.handle_request(request)
        if dies:
            response.read()
            raise Crash
        return response

    def close(self) -> None:
        self._inner.close()


class MemoryFiles:
    """The campaign's files, kept in memory; the process may die before or after the n-th operation."""

    def __init__(self) -> None:
        self.parts: list[list[dict[str, Any]]] = []
        self.buffer: list[dict[str, Any]] = []
        self.noted: dict[str, dict[str, Any]] = {}
        self.placed: list[dict[str, Any]] = []
        self.operations = 0
        self.dies_at: int | None = None
        self.after = False

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.buffer += [json.loads(json.dumps(row)) for row in rows]

    def note(self, row: Mapping[str, Any]) -> None:
        self.noted[row["call_id"]] = json.loads(json.dumps(row))

    def write_placed(self) -> None:
        self.placed += self.noted.values()
        self.noted.clear()

    def write_part(self) -> int:
        rows, self.buffer = self.buffer, []
        if not rows:
            return 0
        self.operations += 1
        dies = self.dies_at is not None and self.operations >= self.dies_at
        if not dies or (self.after and self.operations == self.dies_at):
            self.parts.append(rows)
        if dies:
            raise Crash
        return len(rows)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for part in self.parts for row in part]

    def known(self) -> Iterator[dict[str, Any]]:
        return (row for row in self.rows if row["call_id"])


class Campaign:
    """The tries of one campaign."""

    def __init__(self, url: str, simulator: Simulator, time: ManualClock, count: int = 6, **options: Any) -> None:
        self.simulator, self.time = simulator, time
        self.identity: CampaignIdentity = options.pop("identity", IDENTITY)
        self.settings = ConnectionSettings(api_key=simulator.api_key, base_url=url, max_retry_delay=0)
        self.people = [person(row) for row in range(count)]
        for each in self.people:
            simulator.play(each.to_number, "agent_hangup")
        self.files = MemoryFiles()
        self.clock = SteppingClock(time)
        self.options: dict[str, Any] = {"lines": 3, "calls_per_second": 5, "redial": (), **options}
        self.tries = 0
        self.plan: Plan

    def run(self, wire: Wire | None = None, terms: Terms | None = None, **more: Any) -> End | Leave:
        options = {**self.options, **more}
        self.tries += 1
        self.files.buffer = []
        self.files.noted = {}
        roster = Roster(self.people, self.identity)
        checks = Checks(**{"began_at": self.time(), **options.get("checks", {})})
        analysis_timeout = options.get("analysis_timeout", 0)
        state = CampaignState(
            roster,
            checks=checks,
            pace=Pace(options["calls_per_second"]),
            redial=options["redial"],
            analysis_timeout=analysis_timeout,
            continued=self.tries > 1,
        )
        self.plan = Plan(state, lines=options["lines"], limit=options.get("limit"))
        moments = Moments(self.clock)
        with RetellClient(self.settings, transport=wire, sleep=self.clock.sleep) as client:
            recorder = Recorder(
                roster,
                self.identity,
                client,
                include=options.get("include", ()),
                analysis_timeout=analysis_timeout,
                files=self.files,
            )
            rows = [*self.files.placed, *self.files.rows]
            state.load(recorder.known(rows, (now := moments.now()).wall), now)
            return CampaignRun(
                client=client,
                plan=self.plan,
                requests=CallRequests(self.identity, {"from_number": FROM}),
                recorder=recorder,
                terms=terms or Terms(),
                files=self.files,
                clock=self.clock,
                moments=moments,
                last_placed_at=options.get("last_placed_at", -math.inf),
            ).run()

    @property
    def dials(self) -> Counter[str]:
        """The number of calls to each phone number."""
        placed = [call for call in self.simulator.placed if call.scenario.name != "concurrency_limit_reached"]
        return Counter(str(call.request["to_number"]) for call in placed)

    @property
    def result(self) -> dict[str, Any]:
        return summarize(self.plan.state.roster)

    def assert_each_called_once(self) -> None:
        assert self.dials == {each.to_number: 1 for each in self.people}
        assert {slot.fate for slot in self.plan.state.roster.slots} == {Fate.DONE}
        assert {row["to_number"] for row in self.files.known()} == set(self.dials)


def person(row: int, **fields: Any) -> Person:
    number = f"+1206555{100 + row:04d}"
    given = {"to_number": number, **fields}
    return Person(row=row, to_number=number, person_id=number, given=json.dumps(given).encode())


@pytest.fixture
def campaign(simulator: Simulator, time: ManualClock) -> Iterator[Callable[..., Campaign]]:
    """Make a campaign on a simulator over a real socket."""
    with simulator.serve() as url:
        yield lambda count=6, **options: Campaign(url, simulator, time, count, **options)


Make = Callable[..., Campaign]


def test_each_person_is_called_once_and_recorded(campaign: Make) -> None:
    """Everybody is called, in the order given, and has one row; the result counts them."""
    made = campaign(calls_per_second=1)
    assert made.run() == End(failure=None)
    made.assert_each_called_once()
    assert [call.request["to_number"] for call in made.simulator.placed] == [p.to_number for p in made.people]
    assert made.result["outcomes"] == {"answered": 6}
    assert (made.result["people"], made.result["reached"], made.result["attempts"]) == (6, 6, 6)
    assert made.result["talk_seconds"] == 6 * 20
    (row, *_) = people_rows(made.plan.state.roster)
    assert (row["outcome"], row["attempts"], row["refused"]) == ("answered", 1, None)
    recorded = next(iter(made.files.known()))
    assert recorded["placed_at"] < recorded["seen_over_at"]
    assert recorded["attempt"] == 1


# -- whatever dies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 12))
def test_a_crash_at_any_request_calls_no_person_twice(campaign: Make, at: int, *, after: bool) -> None:
    """The process dies before or after each request in turn; the next one goes on, and finds every call."""
    made = campaign(count=4, calls_per_second=1, lines=2)
    with pytest.raises(Crash):
        made.run(Wire(at, after=after))
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_at_any_write_calls_no_person_twice(campaign: Make, at: int, *, after: bool) -> None:
    """The process dies at each write of a part; who is in the part, or not, is called once."""
    made = campaign(count=12, calls_per_second=1, lines=2)
    made.files.dies_at, made.files.after = at, after
    with pytest.raises(Crash):
        made.run()
    made.files.dies_at = None
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


def test_a_thread_of_a_process_that_is_over_places_nothing(campaign: Make) -> None:
    """A request that still waits for its connection when the campaign ends with an error does not go out."""
    made = campaign(count=1)
    waits, over, left = Event(), Event(), Event()

    class Busy(Wire):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if not request.url.path.endswith(PLACING):
                return super().handle_request(request)
            waits.set()
            over.wait(60)
            try:
                return super().handle_request(request)
            finally:
                left.set()

    def dies() -> bool:
        if waits.is_set() and current_thread() is main_thread():
            raise Crash
        return False

    with pytest.raises(Crash):
        made.run(Busy(), terms=Terms(killed=dies))
    over.set()
    assert left.wait(60)
    assert not made.simulator.placed
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


def test_three_crashes_in_a_row_lose_no_person(campaign: Make) -> None:
    """Each process is killed soon after the one before; the campaign ends with each person called once."""
    made = campaign(count=10, calls_per_second=1)
    for at in (4, 5, 6):
        with pytest.raises(Crash):
            made.run(Wire(at, after=True))
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


def test_a_list_that_lags_by_five_minutes_stops_no_campaign(time: ManualClock) -> None:
    """A call may be listed so late, and the first one to end may be known as over long before."""
    simulator = Simulator(clock=time, list_lag=300.0, ring_seconds=1.0)
    with simulator.serve() as url:
        again = Redial("no_answer", after=timedelta(minutes=10), times=1)
        made = Campaign(url, simulator, time, count=1, redial=(again,))
        simulator.play(made.people[0].to_number, "dial_no_answer")
        simulator.fail(Fault(endpoint=PLACING, answer="drop", after=True))
        assert made.run() == End(failure=None)
    assert made.dials == {made.people[0].to_number: 2}


def test_a_call_that_is_over_when_its_request_is_answered_has_a_row(time: ManualClock) -> None:
    """The first answer is lost; when the request is sent again, the call is over, and not listed yet."""
    simulator = Simulator(clock=time, list_lag=100.0, ring_seconds=1.0)
    with simulator.serve() as url:
        made = Campaign(url, simulator, time, count=1)
        simulator.play(made.people[0].to_number, "dial_no_answer")
        simulator.fail(Fault(endpoint=PLACING, answer="drop", after=True))
        assert made.run() == End(failure=None)
    made.assert_each_called_once()
    assert [row["outcome"] for row in made.files.known()] == ["no_answer"]


def test_calls_that_retell_no_longer_keeps_count(campaign: Make) -> None:
    """A call in a file counts although the account has deleted it, so the person is not called again."""
    made = campaign(count=4)
    made.run()
    for call_id in made.simulator.calls:
        made.simulator.delete(call_id)
    assert made.run() == End(failure=None)
    assert not made.simulator.placed
    assert made.result["outcomes"] == {"answered": 4}


def test_calls_in_progress_at_a_kill_count_although_the_account_has_forgotten_them(campaign: Make) -> None:
    """Their rows without an ending are in the files; no person is called again, however late the next try is."""
    made = campaign(count=3)
    with pytest.raises(RetellCallError, match="killed"):
        made.run(terms=Terms(killed=lambda: made.plan.state.in_progress.live == 3))
    assert [row["outcome"] for row in made.files.placed] == [None] * 3
    made.time.advance(26 * 3600)
    for call_id in made.simulator.calls:
        made.simulator.delete(call_id)
    assert made.run() == End(failure=None)
    assert not made.simulator.placed
    assert made.result["outcomes"] == {"unknown": 3}
    assert [row["outcome"] for row in made.files.known()] == ["unknown"] * 3


def test_calls_that_go_on_after_a_kill_have_one_row_in_the_end(campaign: Make) -> None:
    """The next try finds them in the files and in the list, and counts each of them once."""
    made = campaign(count=3, analysis_timeout=600)
    with pytest.raises(RetellCallError, match="killed"):
        made.run(terms=Terms(killed=lambda: made.plan.state.in_progress.live == 3))
    assert made.run() == End(failure=None)
    made.assert_each_called_once()
    assert [(row["outcome"], "call_analysis" in row) for row in made.files.known()] == [("answered", True)] * 3


def test_a_call_whose_analysis_is_awaited_counts_as_it_ended(time: ManualClock) -> None:
    """A kill between the end and the analysis loses no ending; the next try adds the complete row."""
    simulator = Simulator(clock=time, analysis_delay=60.0)
    with simulator.serve() as url:
        made = Campaign(url, simulator, time, 1, analysis_timeout=600)

        def ended() -> bool:
            return any(call.outcome is not None for call in made.plan.state.in_progress.calls())

        with pytest.raises(RetellCallError, match="killed"):
            made.run(terms=Terms(killed=ended))
        assert not made.files.rows
        assert made.files.placed[-1]["outcome"] == "answered"
        assert made.run() == End(failure=None)
    made.assert_each_called_once()
    (row,) = made.files.known()
    assert row["call_analysis"]


def test_a_person_who_left_the_list_is_known_by_a_row_without_a_number(campaign: Make) -> None:
    """The row of a call that is given up then has the tag: a later try reads it, and does not call the person."""
    made = campaign(count=2)
    roster = Roster([], IDENTITY)
    gone = IDENTITY.person(to_number=made.people[0].to_number, person_id=made.people[0].person_id)
    call = KnownCall(call_id="call_gone", person=gone, attempt=1).vanished(made.time())
    roster.record(None, call)
    with RetellClient(made.settings) as client:
        Recorder(roster, IDENTITY, client, files=made.files).given_up(call, known=False)
    made.files.write_part()
    (row,) = made.files.known()
    assert row.get("to_number") is None
    (known,) = known_calls(made.files.known(), IDENTITY, now=made.time())
    assert (known.person, known.attempt, known.ours) == (gone, 1, True)
    assert made.run() == End(failure=None)
    assert made.dials == {made.people[1].to_number: 1}


def test_a_clear_after_the_end_places_no_call(campaign: Make) -> None:
    """A clear of a campaign that is over finds all calls, and sends no request that places one."""
    made = campaign()
    made.run()
    before = len(made.simulator.placed)
    made.time.advance(7200)
    made.run()
    assert len(made.simulator.placed) == before
    assert len(list(made.files.known())) == len(made.people)


# -- two map indexes ---------------------------------------------------------------------------------------


SIBLINGS = [CampaignIdentity.of(dag_id="dag", run_id="run", task_id="call", map_index=n) for n in (0, 1)]


@pytest.fixture
def siblings(campaign: Make) -> tuple[Campaign, Campaign]:
    """Make two map indexes with the same people, of which the first is killed while all its calls ring."""
    first, second = (campaign(3, identity=identity) for identity in SIBLINGS)
    with pytest.raises(RetellCallError, match="killed"):
        first.run(terms=Terms(killed=lambda: len(first.simulator.placed) == 3))
    return first, second


def test_people_whose_phones_ring_for_one_map_index_are_not_called_by_another(
    siblings: tuple[Campaign, Campaign],
) -> None:
    """Ringing calls are not listed yet, so the key has to be the same; each index still knows its own calls."""
    first, second = siblings
    assert second.run() == End(failure=None)
    assert second.dials == {each.to_number: 1 for each in second.people}
    assert second.result["outcomes"] == {"answered": 3}
    assert not list(second.files.known())
    assert first.run() == End(failure=None)
    first.assert_each_called_once()


def test_a_lost_request_is_not_repeated_once_the_call_of_another_map_index_is_listed(
    siblings: tuple[Campaign, Campaign],
) -> None:
    """Both have the same key, so the listed call is the answer, and a key that is forgotten does no harm."""
    first, second = siblings
    first.simulator.fail(Fault(endpoint=PLACING, answer=503, times=None))
    assert second.run() == End(failure=None)
    assert second.result["outcomes"] == {"answered": 3}
    assert [call.creates for call in first.simulator.placed] == [1, 1, 1]


# -- what Retell does -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(endpoint=PLACING, answer=503, after=True, times=2),
        Fault(endpoint=PLACING, answer=503, times=2),
        Fault(endpoint=PLACING, answer="drop", after=True, times=2),
        Fault(endpoint=PLACING, answer="drop", times=2),
        Fault(endpoint=PLACING, answer="truncate", times=2),
        Fault(endpoint=PLACING, answer="empty", times=2),
        Fault(endpoint=PLACING, answer=429, times=5),
        Fault(endpoint=PLACING, answer=429, times=3, retry_after=7),
        Fault(endpoint=LISTING, answer=500, times=4),
        Fault(endpoint=LISTING, answer=429, times=4, skip=1),
        Fault(endpoint="*", answer="drop", after=True, times=6, skip=2),
    ],
    ids=lambda fault: f"{fault.endpoint} {fault.name}{' after' * fault.after}",
)
def test_trouble_on_the_way_neither_loses_nor_repeats_a_call(campaign: Make, fault: Fault) -> None:
    """Lost answers, 429 and 5xx cost time: each person is called once."""
    made = campaign()
    made.simulator.fail(fault)
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


@pytest.mark.parametrize("over_limit", ["429", "call"])
def test_too_few_lines_lose_no_person(time: ManualClock, over_limit: Any) -> None:
    """The account has fewer lines than the campaign was promised: calls without a line spend no attempt."""
    simulator = Simulator(clock=time, concurrency_limit=2, over_limit=over_limit)
    with simulator.serve() as url:
        made = Campaign(url, simulator, time, count=6, lines=6)
        assert made.run() == End(failure=None)
        made.assert_each_called_once()
    assert made.result["attempts"] == 6


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_trouble_of_the_account_refuses_no_person(campaign: Make, status: int) -> None:
    """After such an answer nothing more is placed, and a clear goes on with everybody."""
    made = campaign(calls_per_second=1)
    made.simulator.fail(Fault(endpoint=PLACING, answer=status, skip=2, times=None))
    done = made.run()
    assert isinstance(done, End)
    assert str(status) in (done.failure or "")
    assert made.result["refused"] == {}
    assert made.result["not_called"] == 4
    made.simulator.recover()
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


def test_trouble_of_the_account_is_not_forgotten_by_leaving(time: ManualClock) -> None:
    """A task that has found trouble stays for its live calls, places nothing more, and fails."""
    simulator = Simulator(clock=time, talk_seconds=900.0)
    with simulator.serve() as url:
        made = Campaign(url, simulator, time, count=40, lines=12)
        for each in made.people[1:]:
            simulator.play(each.to_number, "dial_failed")
        done = made.run(terms=Terms(may_leave=True))
    assert isinstance(done, End)
    assert "10 calls in a row" in (done.failure or "")
    assert len(simulator.placed) < 40


def test_one_bad_number_refuses_that_person(campaign: Make) -> None:
    """A 400 that names the person's number refuses the person, and the campaign goes on."""
    made = campaign(calls_per_second=1)
    message = "to_number must be in E.164 format."
    made.simulator.fail(Fault(endpoint=PLACING, answer=400, message=message, skip=1))
    assert made.run() == End(failure=None)
    assert made.result["refused"] == {"bad_number": 1}
    assert made.result["outcomes"] == {"answered": 5}
    refusal = next(row for row in made.files.rows if row["call_id"] is None)
    assert (refusal["refused"], refusal["to_number"]) == ("bad_number", made.people[1].to_number)


def test_numbers_refused_in_an_earlier_try_are_not_counted_again(campaign: Make) -> None:
    """They are the first in the queue of a later try, where they would look like trouble of the account."""
    made = campaign(count=20, lines=1)
    bad = {each.to_number for each in made.people[1:14:2]}

    class Picky(Wire):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith(PLACING) and json.loads(request.content)["to_number"] in bad:
                return httpx.Response(400, json={"status": "error", "message": "to_number is not valid"})
            return super().handle_request(request)

    with pytest.raises(RetellCallError, match="killed"):
        made.run(Picky(), terms=Terms(killed=lambda: len(made.simulator.placed) == 8))
    assert made.run(Picky()) == End(failure=None)
    assert made.result["refused"] == {"bad_number": 7}
    assert made.dials == {each.to_number: 1 for each in made.people if each.to_number not in bad}


def test_a_key_that_may_not_list_places_no_call(campaign: Make) -> None:
    """Without the list it is not known who was called: that fails before the first call."""
    made = campaign()
    made.simulator.fail(Fault(endpoint=LISTING, answer=403, times=None))
    with pytest.raises(RetellPermissionError):
        made.run()
    assert not made.simulator.placed


def test_a_retell_that_stays_unreachable_fails_the_task_in_time(campaign: Make) -> None:
    """A campaign does not hang: after ten minutes of nothing but errors the task fails, and a retry goes on."""
    made = campaign()
    made.simulator.fail(Fault(endpoint="*", answer=503, skip=6, times=None))
    begun = made.time()
    with pytest.raises(Exception, match="503"):
        made.run()
    assert 600 <= made.time() - begun < 1800
    made.simulator.recover()
    made.run()
    made.assert_each_called_once()


def test_a_retell_that_places_no_call_fails_the_task_in_time_although_it_lists_calls(campaign: Make) -> None:
    """Each request that places a call meets a 503: the lists read in between do not keep the task waiting."""
    made = campaign()
    made.simulator.fail(Fault(endpoint=PLACING, answer=503, times=None))
    begun = made.time()
    done = made.run(terms=Terms(ends_at=begun + 7200))
    assert isinstance(done, End)
    assert "503" in str(done.error)
    assert made.result["not_called"] == 6
    assert 600 <= made.time() - begun < 1800
    made.simulator.recover()
    made.run()
    made.assert_each_called_once()


def test_calls_are_looked_at_in_one_request_a_round(time: ManualClock) -> None:
    """Requests per call: one that places it, and a share of a list; registered calls are listed here."""
    simulator, wire = Simulator(clock=time, list_registered=True), Wire()
    with simulator.serve() as url:
        made = Campaign(url, simulator, time, count=20, lines=20, calls_per_second=20)
        made.run(wire)
    polls = sum(r.endpoint == LISTING and "call_id" in str(r.json) for r in made.simulator.requests)
    assert wire.requests - polls <= 1.1 * 20
    assert polls <= 4


# -- how often, and until when ---------------------------------------------------------------------------------


def test_who_does_not_answer_is_called_again_when_it_is_due(campaign: Make) -> None:
    """Redials come after their pause, as attempts of their own, and not more often than the rule says."""
    made = campaign(redial=(Redial("no_answer", after=timedelta(minutes=10), times=2),))
    shy = made.people[2].to_number
    made.simulator.play(shy, "dial_no_answer", "dial_no_answer", "agent_hangup")
    assert made.run() == End(failure=None)
    assert made.dials[shy] == 3
    assert made.result["attempts"] == 8
    times = [call.created_at for call in made.simulator.placed if call.request["to_number"] == shy]
    assert all(later - earlier >= 600 for earlier, later in itertools.pairwise(times))


def test_limit_calls_some_and_a_clear_the_rest(campaign: Make) -> None:
    """``limit`` counts people over all tries; without it a clear goes on."""
    made = campaign(limit=2)
    assert made.run() == End(failure=None)
    assert (len(made.simulator.placed), made.result["not_called"]) == (2, 4)
    made.run()
    assert len(made.simulator.placed) == 2
    made.run(limit=None)
    made.assert_each_called_once()


def test_until_leaves_the_rest_and_waits_for_live_calls(campaign: Make, time: ManualClock) -> None:
    """At ``until`` nothing more is placed; who was not called is reported, and live calls are seen over."""
    made = campaign(calls_per_second=1, lines=1)
    made.run(checks={"until": time() + 30})
    placed = len(made.simulator.placed)
    assert 0 < placed < 6
    assert made.result["not_called"] == 6 - placed
    assert made.result["outcomes"] == {"answered": placed}


def test_live_calls_are_stopped_at_the_timeout(campaign: Make, time: ManualClock) -> None:
    """``timeout`` stops calls that are live: a campaign has an end even if a person talks for ever."""
    made = campaign(count=2)
    for each in made.people:
        made.simulator.play(each.to_number, "talks_forever")
    done = made.run(checks={"timeout": 60.0})
    assert done == End(failure=None)
    assert made.result["outcomes"] == {"stopped": 2}


# -- kills and deferrals ----------------------------------------------------------------------------------------


def test_a_kill_places_nothing_more_and_leaves_live_calls(campaign: Make) -> None:
    """After a kill no request places a call; what was done is in the files; the next try goes on."""
    made = campaign(count=8, calls_per_second=1, lines=2)
    killed = {"at": made.time() + 70}
    with pytest.raises(RetellCallError, match="killed"):
        made.run(terms=Terms(killed=lambda: made.time() >= killed["at"]))
    placed = len(made.simulator.placed)
    assert 0 < placed < 8
    assert all(call.stops == 0 for call in made.simulator.placed)
    assert made.files.rows
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


def test_a_task_leaves_its_worker_for_long_waits_only(campaign: Make) -> None:
    """It stays while a person is to be called, leaves for a redial in ten minutes, and for the last calls."""
    made = campaign(redial=(Redial("no_answer", after=timedelta(minutes=10), times=1),), count=3)
    made.simulator.play(made.people[0].to_number, "dial_no_answer")
    terms = Terms(may_leave=True)
    leave = made.run(terms=terms)
    assert isinstance(leave, Leave)
    assert len(made.simulator.placed) == 3
    while isinstance(leave, Leave):
        assert leave.until - made.time() >= 120
        made.time.advance(leave.until - made.time() if leave.call_ids == () else 60)
        leave = made.run(terms=terms)
    assert leave == End(failure=None)
    assert made.dials[made.people[0].to_number] == 2
    assert sum(made.dials.values()) == 4


def test_a_bad_key_in_the_middle_fails_and_a_retry_goes_on(campaign: Make) -> None:
    """A key that is revoked while calls are live fails the task; with a good one the next try goes on."""
    made = campaign(calls_per_second=1)
    made.simulator.fail(Fault(endpoint=LISTING, answer=401, skip=2, times=None))
    with pytest.raises(RetellAuthenticationError):
        made.run()
    made.simulator.recover()
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


@pytest.mark.parametrize(
    "name", ["dial_busy", "dial_no_answer", "voicemail_reached", "user_declined", "error_asr"]
)
def test_however_a_call_went_there_is_no_second_without_a_rule(campaign: Make, name: str) -> None:
    """Without ``redial`` each person is called once, reached or not."""
    made = campaign(count=3)
    for each in made.people:
        made.simulator.play(each.to_number, name)
    assert made.run() == End(failure=None)
    made.assert_each_called_once()


@pytest.mark.parametrize("may_leave", [False, True])
@pytest.mark.parametrize("listed", [True, False])
def test_calls_that_do_not_end_do_not_hold_the_campaign_open(
    time: ManualClock, caplog: pytest.LogCaptureFixture, *, may_leave: bool, listed: bool
) -> None:
    """They are given up as unknown, with what to do, after fifteen minutes of ringing or three hours."""
    simulator = Simulator(clock=time, list_registered=listed)
    with simulator.serve() as url:
        made = Campaign(url, simulator, time, count=3, lines=3)
        simulator.play(made.people[0].to_number, "rings_forever")
        simulator.play(made.people[1].to_number, "talks_forever")
        begun, placed_at = time(), -math.inf
        for _ in range(4):
            left = made.run(terms=Terms(may_leave=may_leave), last_placed_at=placed_at)
            if isinstance(left, End):
                break
            placed_at = left.placed_at
            time.advance(left.until - time())
    assert left == End(failure=None)
    assert time() - begun < 4 * 3600
    assert made.result["outcomes"] == {"unknown": 2, "answered": 1}
    assert sum(made.dials.values()) == 3
    assert set(re.findall(r"call_\w+(?= does not end.*dashboard)", caplog.text)) == {
        call.call_id for call in simulator.placed if call.scenario.name.endswith("forever")
    }
    rows = {row["to_number"]: row for row in made.files.known()}
    assert rows[made.people[0].to_number]["outcome"] == "unknown"
    assert "dashboard" in rows[made.people[0].to_number]["detail"]
