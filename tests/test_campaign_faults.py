"""A campaign of 120 people meets each fault, on the simulator and on a server that shares nothing with it.

The clock is the servers' own: sleeping moves it. What a process does not survive happens at a reading of its
clock, in the campaign's own thread or in one that is about to send. A killed process leaves its files as they
were.
"""

from __future__ import annotations

import json
import shutil
import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final

import another_server
import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from another_server import Fate, Spoil
from conftest import FROM, SteppingClock, TaskInstance, fire, replaced, resume

from airflow_provider_retell.errors import RetellExportError, RetellExportOvertakenError
from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.policy import Redial
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by

PEOPLE: Final = 120
NUMBERS: Final = [f"+1{206 + n // 100}55501{n % 100:02}" for n in range(PEOPLE)]
SHY: Final = frozenset(NUMBERS[::20])
"""Numbers that do not answer the first call, and are called again."""

EXPECTED: Final = Counter(dict.fromkeys(NUMBERS, 1)) + Counter(dict.fromkeys(SHY, 1))
AFTER: Final = timedelta(minutes=10)
TALK: Final = 20.0
PLACING, LISTING = "create-phone-call", "list-calls"


class Retell(ABC):
    """A server that speaks Retell's API."""

    clock: Any
    connection: dict[str, Any]

    @abstractmethod
    def dials(self) -> Counter[str]:
        """Return how often each number was rung."""

    @abstractmethod
    def all_answer(self, seconds: float) -> None:
        """Let each call be answered, and last for some seconds."""

    @abstractmethod
    def spans(self) -> list[tuple[float, float]]:
        """Return when each call began, and when it was over."""

    @abstractmethod
    def live(self) -> int:
        """Return how many calls are live."""

    @abstractmethod
    def fail(self, name: str, endpoint: str, times: int) -> None:
        """Let the next requests of an endpoint meet a fault."""


LOST: Final = ("500", "502 page", "503", "504", "408", "reset", "truncated")
"""The request takes effect, and its answer is lost in one of these ways."""


class Simulated(Retell):
    """The simulator."""

    def __init__(self, undo: ExitStack) -> None:
        time = ManualClock()
        self.clock = SteppingClock(time)
        self.simulator = Simulator(clock=time, concurrency_limit=1000)
        self.all_answer(TALK)
        for number in SHY:
            self.simulator.play(number, "dial_no_answer", "agent_hangup")
        self.connection = json.loads(self.simulator.connection(undo.enter_context(self.simulator.serve())))

    def dials(self) -> Counter[str]:
        return Counter(str(call.request["to_number"]) for call in self.simulator.calls.values())

    def all_answer(self, seconds: float) -> None:
        for number in NUMBERS:
            self.simulator.play(number, replace(SCENARIOS["agent_hangup"], talk_seconds=seconds))

    def spans(self) -> list[tuple[float, float]]:
        return [(call.created_at, call.ended_at) for call in self.simulator.calls.values()]

    def live(self) -> int:
        return sum(not call.is_over(self.clock.now()) for call in self.simulator.calls.values())

    def fail(self, name: str, endpoint: str, times: int) -> None:
        answers: dict[str, Any] = {"reset": "reset", "truncated": "truncate"}
        status, _, page = name.partition(" ")
        answer = answers.get(name) or int(status)
        wait = {"retry_after": 7} if answer == 429 else {}
        after = name in LOST
        self.simulator.fail(
            Fault(endpoint=endpoint, answer=answer, after=after, html=bool(page), times=times, **wait)
        )


class Another(Retell):
    """The server of the tests."""

    def __init__(self, undo: ExitStack) -> None:
        self.server = undo.enter_context(another_server.serving())
        self.clock = self.server.clock
        self.all_answer(TALK)
        rings = {"call_status": "registered"}
        missed = {"call_status": "not_connected", "disconnection_reason": "dial_no_answer"}
        unanswered: Fate = ((0, rings), (30, missed))
        self.server.fates_of = {number: [unanswered] for number in SHY}
        self.connection = {
            "conn_type": "retell",
            "password": "key_1",
            "host": f"http://127.0.0.1:{self.server.server_port}",
        }

    def dials(self) -> Counter[str]:
        return Counter(call["to_number"] for call in self.server.calls.values())

    def all_answer(self, seconds: float) -> None:
        self.server.fates_of = {}
        rings, talks = {"call_status": "registered"}, {"call_status": "ongoing"}
        over = {"call_status": "ended", "disconnection_reason": "agent_hangup"}
        self.server.fate = ((0, rings), (4, talks), (4 + seconds, over))

    def spans(self) -> list[tuple[float, float]]:
        return [self.server.span(call_id) for call_id in self.server.calls]

    def live(self) -> int:
        shown = [self.server.shown(call_id) for call_id in list(self.server.calls)]
        return sum(call["call_status"] in another_server.LIVE for call in shown)

    def fail(self, name: str, endpoint: str, times: int) -> None:
        spoils: dict[str, Spoil] = {"reset": another_server.reset, "truncated": another_server.truncate}
        status, _, page = name.partition(" ")
        spoil = spoils.get(name) or (
            another_server.page(int(status)) if page else another_server.status(int(status), Retry_After="7")
        )
        self.server.takes_effect = name in LOST
        self.server.spoils["place" if endpoint == PLACING else endpoint] = [spoil] * times


@pytest.fixture(params=[Simulated, Another], ids=["simulator", "another server"])
def retell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Retell]:
    """Each of the two, as the connection ``retell_default``."""
    with ExitStack() as undo:
        made: Retell = request.param(undo)
        fields = made.connection | {"extra": {"max_attempts": 2, "max_retry_delay": 0}}
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields))
        yield made


class Killed(BaseException):
    """The error of a process that dies."""


class ProcessClock:
    """The clock of one process, which runs an action at its n-th reading, or at its n-th sleep.

    Args:
        clock: The time.
        at: Which one; 0 for none.
        where: ``own``: a reading in the campaign's own thread; ``sending``: one in a thread that is about to send;
            ``asleep``: a sleep, while no request is under way.
        happens: What.
    """

    def __init__(
        self, clock: Any, at: int = 0, where: str = "own", happens: Callable[[], None] = lambda: None
    ) -> None:
        self._clock, self._at, self._where, self._happens = clock, at, where, happens
        self._count: Counter[str] = Counter()

    def _passed(self, where: str) -> None:
        self._count[where] += 1
        if where == self._where and self._count[where] == self._at:
            self._happens()

    def now(self) -> float:
        sends = threading.current_thread().name.startswith("retell-campaign")
        self._passed("sending" if sends else "own")
        return float(self._clock.now())

    def monotonic(self) -> float:
        return float(self._clock.monotonic())

    def boottime(self) -> float:
        return float(self._clock.boottime())

    def sleep(self, seconds: float) -> None:
        self._passed("asleep")
        self._clock.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        await self._clock.asleep(seconds)


class Campaign:
    """The tries of one campaign's task."""

    def __init__(self, retell: Retell, folder: Path, **arguments: Any) -> None:
        self.retell = retell
        self.folder = folder
        self.arguments = {"lines": 40, "calls_per_second": 10, **arguments}

    def run(
        self, number: int = 1, clock: ProcessClock | None = None, *, deferrable: bool = True
    ) -> dict[str, Any]:
        """Run a try, through its deferrals."""
        ti = TaskInstance(try_number=number, max_tries=5)
        # Airflow 2 guards ``execute`` in its own thread alone; these processes are in several.
        execute: Any = RetellCampaignOperator.execute
        begin = getattr(execute, "__wrapped__", execute)
        step: Callable[[Any], Any] = lambda task: begin(task, ti.context())  # noqa: E731
        while True:
            task = RetellCampaignOperator(
                task_id="call",
                from_number=FROM,
                people=[{"to_number": number, "person_id": f"person of {number}"} for number in NUMBERS],
                path=str(self.folder),
                redial=[Redial("no_answer", after=AFTER, times=2)],
                deferrable=True,
                **self.arguments,
            )
            try:
                with replaced(clock):
                    result: dict[str, Any] = step(task)
            except TaskDeferred as deferral:
                event = fire(deferral.trigger)
                step = partial(resume, deferral, event, ti.context())
            else:
                return result

    def run_until_killed(self, number: int, at: int, where: str) -> bool:
        """Run a try that is killed at a moment, if it gets so far; return whether it did not."""
        as_it_was = self.folder.with_name("as it was")

        def kill() -> None:
            shutil.rmtree(as_it_was, ignore_errors=True)
            if self.folder.exists():
                shutil.copytree(self.folder, as_it_was)
            raise Killed

        try:
            self.run(number, ProcessClock(self.retell.clock, at, where, kill))
        except Killed:
            shutil.rmtree(self.folder, ignore_errors=True)
            if as_it_was.exists():
                as_it_was.rename(self.folder)
            return False
        return True

    def check(self, result: dict[str, Any]) -> None:
        """Check that each person was called once for each attempt, and is in the file with its outcome."""
        assert self.retell.dials() == EXPECTED
        assert result["outcomes"] == {"answered": PEOPLE}
        assert (result["people"], result["attempts"], result["not_called"]) == (PEOPLE, EXPECTED.total(), 0)
        (path,) = self.folder.glob("people-*.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["to_number"] for row in rows] == NUMBERS
        assert [row["attempts"] for row in rows] == [EXPECTED[number] for number in NUMBERS]
        (path,) = self.folder.glob("attempts-*.jsonl")
        attempts = [json.loads(line) for line in path.read_text().splitlines()]
        assert len({row["call_id"] for row in attempts}) == EXPECTED.total() == len(attempts)


@pytest.fixture
def campaign(retell: Retell, tmp_path: Path) -> Iterator[Campaign]:
    """A campaign that has not begun, by the server's time."""
    with clock_replaced_by(retell.clock):
        yield Campaign(retell, tmp_path / "campaign")


# -- how fast -------------------------------------------------------------------------------------------------


def test_lines_are_busy_while_people_are_left(campaign: Campaign) -> None:
    """With calls of two minutes on six lines, and the defaults, lines stand idle for less than a twentieth."""
    lines = 6
    campaign.retell.all_answer(120)
    campaign.arguments |= {"lines": lines, "calls_per_second": 1}
    campaign.run()
    spans = sorted(campaign.retell.spans())
    assert len(spans) == PEOPLE
    first, last = spans[0][0], spans[-1][0]
    busy = sum(min(end, last) - begin for begin, end in spans if begin < last)
    assert busy / (lines * (last - first)) >= 0.95
    begins = [begin for begin, _ in spans]
    ends = sorted(end for _, end in spans)
    # Calls that began, less those that were over by then; and the pace, in each second.
    live = [place + 1 - bisect_right(ends, begin) for place, begin in enumerate(begins)]
    assert max(live) <= lines
    assert min(later - earlier for earlier, later in pairwise(begins)) >= 1


# -- what is lost on the way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*LOST, "429"])
def test_however_an_answer_is_lost_no_person_is_called_twice_or_never(campaign: Campaign, name: str) -> None:
    """Thirty requests in a row that place calls lose their answers, or are turned away."""
    campaign.retell.fail(name, PLACING, 30)
    campaign.check(campaign.run())


@pytest.mark.parametrize(
    ("name", "at"),
    [("500", 1), ("429", 40), ("truncated", 40)],
    ids=lambda value: {1: "first", 40: "later"}.get(value, value),
)
def test_a_list_that_fails_delays_the_campaign(campaign: Campaign, name: str, at: int) -> None:
    """Eight requests in a row for lists of calls fail: those before the first call, or those for live calls."""
    fail = partial(campaign.retell.fail, name, LISTING, 8)
    campaign.check(campaign.run(clock=ProcessClock(campaign.retell.clock, at, "own", fail)))


def test_bursts_of_429_lose_no_person(campaign: Campaign) -> None:
    """Every few seconds a dozen requests are turned away; they spend no attempt."""
    clock = Bursts(campaign.retell)
    campaign.check(campaign.run(clock=clock))
    assert clock.bursts >= 3


class Bursts(ProcessClock):
    """A clock that lets requests be turned away at each eighth sleep."""

    def __init__(self, retell: Retell) -> None:
        super().__init__(retell.clock)
        self._retell = retell
        self._slept = self.bursts = 0

    def sleep(self, seconds: float) -> None:
        self._slept += 1
        if self._slept % 8 == 0 and self.bursts < 5:
            self.bursts += 1
            self._retell.fail("429", PLACING, 12)
        super().sleep(seconds)


# -- processes that die ---------------------------------------------------------------------------------------


dead_leave_sockets = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""A killed process closes nothing."""


@dead_leave_sockets
@pytest.mark.parametrize("seed", range(2))
def test_a_worker_killed_three_times_at_random_moments(campaign: Campaign, seed: int) -> None:
    """Each next process finds who was called; the answers and the unwritten rows of the dead ones are lost."""
    rng = Random(seed)  # noqa: S311 (no secret)
    for number in (1, 2, 3):
        where, most = rng.choice([("own", 360), ("sending", 36), ("asleep", 12)])
        assert not campaign.run_until_killed(number, rng.randrange(1, most), where)
        campaign.retell.clock.sleep(rng.choice([0, 30, 400]))
    campaign.check(campaign.run(4))


@dead_leave_sockets
def test_a_clear_while_calls_are_live_and_one_after_the_end(campaign: Campaign) -> None:
    """A clear continues: it waits for the live calls, calls the rest, and once all is over it places no call."""
    campaign.run_until_killed(1, 40, "sending")
    assert campaign.retell.live() > 0
    first = campaign.run(2)
    campaign.check(first)
    campaign.retell.clock.sleep(7200)
    again = campaign.run(3)
    campaign.check(again)
    assert again["outcomes"] == first["outcomes"]


# -- processes that stand still, and two at once --------------------------------------------------------------


@dead_leave_sockets
@pytest.mark.parametrize(
    ("where", "at", "seconds"),
    [("sending", 5, 60), ("asleep", 40, 60), ("sending", 40, 4000), ("asleep", 5, 4000)],
)
def test_a_frozen_process_calls_no_person_whom_another_has_called(
    campaign: Campaign, where: str, at: int, seconds: float
) -> None:
    """Meanwhile the retry works, for a minute or for longer than a key lives; then both go on, one by one."""
    campaign.arguments |= {"calls_per_second": 1}  # one request at a time: no other one is on its way
    end: list[float] = []

    def frozen() -> None:
        end.append(campaign.retell.clock.now() + seconds)
        _run_until(campaign, 2, end[0])
        campaign.retell.clock.sleep(max(end[0] - campaign.retell.clock.now(), 0))

    thawed = None
    try:
        thawed = campaign.run(1, ProcessClock(campaign.retell.clock, at, where, frozen))
    except RetellExportOvertakenError:
        assert seconds > 3600  # the other one has written the results
    assert end
    result = thawed or campaign.run(3)
    campaign.check(result)


def _run_until(campaign: Campaign, number: int, end: float) -> None:
    """Run a try until a time, at which it is killed."""
    try:
        campaign.run(number, Mortal(campaign.retell.clock, end))
    except Killed:
        return


class Mortal(ProcessClock):
    """The clock of a process that is killed when it sleeps beyond a time."""

    def __init__(self, clock: Any, end: float) -> None:
        super().__init__(clock)
        self._end = end

    def sleep(self, seconds: float) -> None:
        if self._clock.now() + seconds > self._end:
            raise Killed
        super().sleep(seconds)


def test_two_processes_at_once_call_each_person_once(campaign: Campaign) -> None:
    """Airflow mistakes a worker for dead and starts another one: both work on until all are called."""
    results: list[dict[str, Any]] = []
    overtaken: list[RetellExportError] = []

    def work(number: int) -> None:
        try:
            results.append(campaign.run(number))
        except RetellExportError as error:  # the other one writes the results
            overtaken.append(error)

    threads: Sequence[threading.Thread] = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) + len(overtaken) == 2
    campaign.check(campaign.run(3))
