"""Kills of a campaign that is deferred: which calls are stopped, and what the next try does."""

from __future__ import annotations

import asyncio
import importlib
import math
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from conftest import FROM, InTheMiddle, SteppingClock, Store, TaskInstance, fire
from test_campaign import operator, people
from test_campaign_tries import dials, once, rows
from test_plan import Campaign, person

from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.errors import RetellCallError, RetellCallTimeoutError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.operators.last_seconds import LAST_SECONDS
from airflow_provider_retell.operators.stop_calls_on_kill import StopCallsOnKill
from airflow_provider_retell.policy import Redial
from airflow_provider_retell.simulator import SCENARIOS, Fault, Simulator

pytestmark = pytest.mark.usefixtures("connect")


@pytest.fixture(autouse=True)
def _plain_calls(simulator: Simulator) -> None:
    """Let every number answer and talk until it is stopped."""
    for each in people(20):
        simulator.play(each["to_number"], "talks_forever")


def defer(task: RetellCampaignOperator, ti: TaskInstance) -> Any:
    """Run a task until it is deferred, and return its trigger as the triggerer makes it."""
    with pytest.raises(TaskDeferred) as deferral:
        task.execute(ti.context(task_state_store=Store()))
    path, kwargs = deferral.value.trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**kwargs)


def stopped(simulator: Simulator) -> Sequence[str]:
    """Return the numbers whose calls were stopped."""
    return sorted(call.request["to_number"] for call in simulator.placed if call.stops)


def numbers(count: int) -> list[str]:
    """Return the numbers of the first so many people."""
    return [each["to_number"] for each in people(count)]


AT_ONCE = replace(SCENARIOS["talks_forever"], ring_seconds=0.0)


class TestRequestsInFlight:
    """Requests that wait for their answers at the kill."""

    @pytest.fixture
    def time(self) -> InTheMiddle:
        """Something can happen while the simulator answers."""
        return InTheMiddle()

    @pytest.mark.parametrize("stops", [False, True])
    def test_their_calls_are_stopped_if_wanted(
        self, simulator: Simulator, clock: SteppingClock, time: InTheMiddle, tmp_path: Path, *, stops: bool
    ) -> None:
        """They would ring after the kill, and nothing would stop them; the message says what became of them."""
        for number in numbers(4):
            simulator.play(number, AT_ONCE)
        simulator.fail(Fault(endpoint="create-phone-call", delay=0.3, times=None))
        task = operator(path=str(tmp_path), lines=4, cancel_on_kill=stops)
        # By a signal, as from Airflow: it interrupts the thread of the task.
        time.after(4, simulator, partial(os.kill, os.getpid(), signal.SIGUSR1))
        before = signal.signal(signal.SIGUSR1, lambda *_: task.on_kill())
        says = "Its 4 live calls were stopped; a clear" if stops else "Its live calls go on; a clear"
        try:
            with pytest.raises(RetellCallError, match=says):
                task.execute(TaskInstance().context(task_state_store=Store()))
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert stopped(simulator) == (sorted(numbers(4)) if stops else [])
        if stops:
            noted = "".join(path.read_text() for path in tmp_path.rglob("attempts-placed-*"))
            assert all(call.call_id in noted for call in simulator.placed)


class Requests:
    """Calls and requests in flight: at each wait one more is answered, with a call."""

    def __init__(self, live: Sequence[str], to_come: Sequence[str], *, unanswered: int = 0) -> None:
        self._live, self._to_come, self._unanswered = list(live), list(to_come), unanswered

    @property
    def in_flight(self) -> int:
        return len(self._to_come) + self._unanswered

    def wait(self, seconds: float) -> None:
        self._live += self._to_come[:1]
        del self._to_come[:1]

    def live(self) -> Sequence[str]:
        return self._live


@pytest.mark.parametrize(
    ("live", "to_come", "unanswered", "refused", "says"),
    [
        (0, 0, 0, 0, "It had no live calls"),
        (1, 0, 0, 0, "Its 1 live call was stopped"),
        (2, 2, 0, 0, "Its 4 live calls were stopped"),
        (0, 2, 0, 3, "Its 2 live calls were stopped"),
        (1, 1, 2, 0, "Its 2 live calls were stopped, and 2 requests to place calls were not answered in time"),
        (0, 0, 1, 0, "It had no live calls, and 1 request to place a call was not answered in time"),
        (7, 0, 0, None, r"7 of its 7 live calls may go on \((\w+, ){5}\.\.\.\)"),
    ],
)
def test_what_a_kill_does_to_the_calls_and_says_of_them(
    simulator: Simulator,
    clock: SteppingClock,
    *,
    live: int,
    to_come: int,
    unanswered: int,
    refused: int | None,
    says: str,
) -> None:
    """Calls are stopped as they are answered, and again while Retell refuses, in the few seconds that are left."""
    with RetellHook() as hook:
        placed = []
        for number in numbers(live + to_come):
            simulator.play(number, AT_ONCE)
            placed.append(hook.create_phone_call({"from_number": FROM, "to_number": number}).call_id)
        settings = hook.get_conn().settings
    simulator.fail(*(() if refused == 0 else [Fault(endpoint="stop-call", answer=400, times=refused)]))
    kill = StopCallsOnKill(TaskInstance().context(task_state_store=Store()), settings=settings, wanted=True)
    kill.calls = Requests(placed[:live], placed[live:], unanswered=unanswered)
    began = clock.now()
    kill.stop()
    assert re.fullmatch(says, kill.outcome())
    assert clock.now() - began <= LAST_SECONDS
    if refused is not None:
        assert stopped(simulator) == numbers(live + to_come)


@pytest.mark.parametrize("stops", [False, True])
def test_a_kill_of_a_deferred_campaign_stops_its_calls_if_wanted(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, *, stops: bool
) -> None:
    """The next try waits for the calls that go on, calls no person again, and writes how each call ended."""
    waiting = defer(operator(path=str(tmp_path), lines=4, deferrable=True, cancel_on_kill=stops), TaskInstance())
    asyncio.run(waiting.on_kill())
    assert stopped(simulator) == (numbers(4) if stops else [])
    with RetellHook() as hook:
        for call in simulator.placed if not stops else ():
            hook.stop_call(call.call_id)
    result = operator(path=str(tmp_path), lines=4).execute(TaskInstance(try_number=2).context())
    assert dials(simulator) == once(4)
    assert result["outcomes"] == {"stopped": 4}
    assert len(rows(tmp_path, "attempts")) == len(rows(tmp_path, "people")) == 4


def test_a_kill_leaves_the_call_of_another_map_index_alone(simulator: Simulator, clock: SteppingClock) -> None:
    """A person who moved there is waited for on the worker, since that call is not this task's to stop."""
    ada, grace, alan = people(3)
    simulator.play(grace["to_number"], "user_hangup")
    defer(operator(people=[ada, grace], deferrable=True), TaskInstance(map_index=0))
    moved = operator(people=[grace, alan], deferrable=True, cancel_on_kill=True)
    waiting = defer(moved, TaskInstance(map_index=1))
    assert [simulator.calls[it].request["to_number"] for it in waiting.call_ids] == [alan["to_number"]]
    asyncio.run(waiting.on_kill())
    assert stopped(simulator) == [alan["to_number"]]


def test_a_call_that_cannot_be_stopped_holds_up_no_other(
    simulator: Simulator, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone may ring for minutes before its call can be stopped; meanwhile the others are stopped."""
    waiting = defer(operator(lines=4, deferrable=True, cancel_on_kill=True), TaskInstance())
    stubborn, *others = waiting.call_ids
    simulator.fail(Fault(endpoint=f"*/stop-call/{stubborn}", answer=400, times=None))
    began = clock.now()
    step, looks = clock.asleep, repeat(0.01, 500)

    async def answers_first(seconds: float) -> None:
        # Requests take real time, of which the clock knows nothing. Those that come later are not waited for.
        for look in looks:
            if all(simulator.calls[it].stops for it in others):
                break
            await asyncio.sleep(look)
        await step(seconds)

    monkeypatch.setattr(clock, "asleep", answers_first)
    asyncio.run(waiting.on_kill())
    assert clock.now() >= began + LONGEST_RINGING
    assert all((simulator.calls[it].stopped_at or math.inf) == began for it in others)


def test_execution_timeout_of_a_deferred_campaign_stops_its_calls(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """The task comes back in time, and stops the calls that it left."""

    def task() -> RetellCampaignOperator:
        return operator(
            path=str(tmp_path),
            lines=4,
            deferrable=True,
            cancel_on_kill=True,
            execution_timeout=timedelta(minutes=10),
        )

    ti = TaskInstance(max_tries=1)
    event = fire(defer(task(), ti), clock)
    with pytest.raises(RetellCallTimeoutError, match="execution_timeout"):
        task().execute_complete(ti.context(task_state_store=Store()), event)
    assert stopped(simulator) == numbers(4)


def test_the_processes_of_a_deferred_try_are_counted(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """The newer of two rows about one call is known without the random part of the names of their files."""
    (ada,) = people(1)
    simulator.play(ada["to_number"], "dial_no_answer")
    rule = Redial("no_answer", after=timedelta(hours=1), times=3)

    def task() -> RetellCampaignOperator:
        return operator(people=[ada], path=str(tmp_path), redial=[rule], deferrable=True)

    ti = TaskInstance(try_number=2)
    waiting = defer(task(), ti)
    for _ in range(2):
        event = fire(waiting, clock)
        with pytest.raises(TaskDeferred) as deferral:
            task().execute_complete(ti.context(task_state_store=Store()), event)
        waiting = deferral.value.trigger
    parts = sorted(path.name.partition("-placed-")[2] or path.name for path in tmp_path.rglob("attempts-*"))
    assert {name.removeprefix("attempts-").partition("-")[0] for name in parts} == {"2.0", "2.1", "2.2"}


def test_the_calls_that_a_kill_stops() -> None:
    """A kill stops what may be live and is this task's own.

    ===========================================  =======
    a call                                       stopped
    ===========================================  =======
    of this task and map index, live             yes
    of another map index, live                   no
    over                                         no
    left for a trigger, the list not read since  yes
    left for a trigger, the list read since      no
    ===========================================  =======
    """
    campaign = Campaign([person(0), person(1), person(2)])
    in_progress = campaign.state.in_progress
    in_progress.left = ("call_left",)
    assert in_progress.to_stop() == ["call_left"]
    _, ours = campaign.place()
    order = campaign.order()
    campaign.state.placed(order, campaign.call(order, ours=False), campaign.now)
    _, ended = campaign.place()
    campaign.end(ended)
    assert in_progress.live == 2
    assert in_progress.to_stop() == [ours.call_id]
