"""Test ``redial``: call again in the same task, by the rules, whatever process dies in between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, TaskDeferred
from conftest import CREATE, REGISTER, SteppingClock, Store, TaskInstance, fire, place, run_task

from airflow_provider_retell.calls.redialing import end_of
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellCallTimeoutError,
    RetellInputError,
    RetellServerError,
)
from airflow_provider_retell.policy import CallingHours, Redial
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator

pytestmark = pytest.mark.usefixtures("connect")

TO = "+14155550155"
TWO_HOURS = timedelta(hours=2)
TWICE = [Redial("no_answer", "busy", after=TWO_HOURS, times=2)]
CALLED_AGAIN: dict[str, Any] = {"to_number": TO, "wait_for": "ended", "redial": TWICE, "poll_interval": 60}
DEFERRED = {**CALLED_AGAIN, "deferrable": True}
NO_ANSWER, BUSY, ANSWERED = "dial_no_answer", "dial_busy", "user_hangup"
NOON = datetime(2026, 7, 6, 16, tzinfo=UTC)


class Crash(BaseException):
    """The worker is gone."""


@pytest.fixture
def time() -> ManualClock:
    """The simulator's time."""
    return ManualClock(start=NOON.timestamp())


@pytest.fixture(params=[True, False], ids=["store", "no store"])
def store(request: pytest.FixtureRequest) -> Store | None:
    """Return a state store as in Airflow 3.3 and later, or none as before."""
    return Store() if request.param else None


@pytest.fixture(params=[True, False], ids=["deferrable", "blocking"])
def run(request: pytest.FixtureRequest, clock: SteppingClock, store: Store | None) -> Callable[..., Any]:
    """Run a try of a task that calls TO again, and return its row."""

    def run(ti: TaskInstance | None = None, on: SteppingClock | None = None, **arguments: Any) -> Any:
        given = {**CALLED_AGAIN, **arguments}
        given.setdefault("deferrable", request.param)
        context = {} if store is None else {"task_state_store": store}
        return run_task(lambda: place(CREATE, **given), ti, on or clock, **context)

    return run


def placed(simulator: Simulator) -> list[float]:
    """Return when the calls were placed, each once, in seconds since noon."""
    keys: dict[str, float] = {}
    for request in simulator.requests:
        if request.endpoint == CREATE and request.status == 201:
            keys.setdefault(request.json["idempotency_key"], request.clock - NOON.timestamp())
    return list(keys.values())


# -- the rules -----------------------------------------------------------------------------------------------


def test_the_task_calls_again_and_succeeds(run: Callable[..., Any], simulator: Simulator) -> None:
    """The row is the last call's, with how many there were; the XCom call_id is that one's too."""
    simulator.play(TO, NO_ANSWER, BUSY, ANSWERED)
    ti = TaskInstance()
    row = run(ti)
    assert (row["outcome"], row["attempts"]) == ("answered", 3)
    assert list(simulator.calls)[-1] == row["call_id"] == ti.xcoms["call_id"]
    assert len(placed(simulator)) == len(simulator.calls) == 3


def test_the_pause_runs_from_the_end_of_the_call(run: Callable[..., Any], simulator: Simulator) -> None:
    """Never earlier than the rule says, and later by the time in which the phone may have rung at most."""
    simulator.play(TO, NO_ANSWER, NO_ANSWER, ANSWERED)
    run()
    first, second, third = placed(simulator)
    for before, after in ((first, second), (second, third)):
        assert 2 * 3600 + 4 < after - before <= 2 * 3600 + 400


def test_rules_that_are_used_up_end_the_task_well(run: Callable[..., Any], simulator: Simulator) -> None:
    """The last row is a result like any other: rows are not lost, as they are with fail_on and retries."""
    simulator.play(TO, NO_ANSWER)
    row = run()
    assert (row["outcome"], row["attempts"]) == ("no_answer", 3)
    assert len(simulator.calls) == 3


@pytest.mark.parametrize("scenario", [ANSWERED, "voicemail_reached", "user_declined"])
def test_other_endings_are_final(run: Callable[..., Any], simulator: Simulator, scenario: str) -> None:
    """After an ending that no rule names there is no other call."""
    simulator.play(TO, scenario)
    assert run()["attempts"] == 1
    assert len(simulator.calls) == 1


def test_each_rule_counts_its_own_calls(run: Callable[..., Any], simulator: Simulator) -> None:
    """The first rule that names an ending decides."""
    simulator.play(TO, NO_ANSWER, "voicemail_reached", NO_ANSWER, "voicemail_reached", ANSWERED)
    rules = [
        Redial("no_answer", after=TWO_HOURS, times=2),
        Redial("voicemail", after=timedelta(minutes=10), times=1),
    ]
    row = run(redial=rules)
    assert (row["outcome"], row["attempts"]) == ("voicemail", 4)


@pytest.mark.parametrize("endings", [("ended",), ("ended", "error", "not_connected")])
def test_who_asked_never_to_be_called_again_is_not(
    run: Callable[..., Any], simulator: Simulator, endings: tuple[str, ...]
) -> None:
    """No rule calls a person again who asked never to be called again."""
    simulator.play(TO, NO_ANSWER, "user_requested_dnc", ANSWERED)
    rules = [*TWICE, Redial(*endings, after=TWO_HOURS, times=5)]
    row = run(redial=rules)
    assert (row["outcome"], row["attempts"]) == ("do_not_call", 2)


def test_a_call_that_found_no_line_is_no_attempt(run: Callable[..., Any], simulator: Simulator) -> None:
    """It never rang; with fail_on it is replaced at once, and without counting."""
    simulator.play(TO, "concurrency_limit_reached", NO_ANSWER, ANSWERED)
    row = run(fail_on=["capacity"])
    assert (row["outcome"], row["attempts"]) == ("answered", 2)
    assert len(simulator.calls) == 3


@pytest.mark.parametrize("outside_hours", ["wait", "skip", "fail"])
def test_the_next_call_waits_for_the_hours(
    run: Callable[..., Any], simulator: Simulator, outside_hours: str
) -> None:
    """Whatever outside_hours says about the first call: the row of a call that was placed is not lost."""
    simulator.play(TO, NO_ANSWER, ANSWERED)
    hours = CallingHours("09:00", "10:00", time_zone="America/Los_Angeles")
    row = run(calling_hours=hours, outside_hours=outside_hours)
    assert (row["outcome"], row["attempts"]) == ("answered", 2)
    assert placed(simulator) == [0, 24 * 3600]


@pytest.mark.parametrize("outside_hours", ["skip", "fail"])
def test_a_redial_that_finds_the_hours_shut_waits_too(
    run: Callable[..., Any], simulator: Simulator, outside_hours: str
) -> None:
    """They shut while it waited for a line: the call of before has a row, which would be lost."""
    simulator.play(TO, NO_ANSWER, ANSWERED)
    simulator.fail(Fault(endpoint=CREATE, answer=429, retry_after=300, skip=1))
    hours = CallingHours("09:00", "11:02", time_zone="America/Los_Angeles")
    row = run(calling_hours=hours, outside_hours=outside_hours)
    assert (row["outcome"], row["attempts"]) == ("answered", 2)
    assert placed(simulator) == [0, 24 * 3600]


class Slow(SteppingClock):
    """A clock on which each pause takes more than a minute."""

    def sleep(self, seconds: float) -> None:
        super().sleep(max(seconds, 75))


def test_a_redial_whose_response_is_lost_is_looked_for_in_the_morning(
    run: Callable[..., Any], simulator: Simulator, time: ManualClock
) -> None:
    """The hours shut between two attempts, and the key is spent when they open: the call is not placed again."""
    simulator.play(TO, NO_ANSWER)
    simulator.fail(Fault(endpoint=CREATE, answer=503, after=True, skip=1, times=1))
    hours = CallingHours("09:00", "11:02", time_zone="America/Los_Angeles")
    row = run(on=Slow(time), calling_hours=hours, redial=Redial("no_answer", after=TWO_HOURS, times=1))
    assert (row["outcome"], row["attempts"]) == ("no_answer", 2)
    assert len(simulator.calls) == 2


def test_a_redial_that_waits_for_a_line_keeps_the_age_of_its_key(
    run: Callable[..., Any], simulator: Simulator
) -> None:
    """Its response is lost, and then the account is at its limit for longer than the key lives."""
    simulator.play(TO, NO_ANSWER)
    simulator.fail(
        Fault(endpoint=CREATE, answer=503, after=True, skip=1, times=1),
        Fault(endpoint=CREATE, answer=429, retry_after=200, skip=1, times=26),
    )
    row = run(limit_timeout=7200, redial=Redial("no_answer", after=TWO_HOURS, times=1))
    assert (row["outcome"], row["attempts"]) == ("no_answer", 2)
    assert len(simulator.calls) == 2


def test_a_redial_calls_the_person_whom_the_task_has_called(
    clock: SteppingClock, simulator: Simulator, store: Store | None
) -> None:
    """The fields of a mapped task may be rendered from another list after the wait: then people decide."""
    simulator.play(TO, NO_ANSWER)
    context = {} if store is None else {"task_state_store": store}
    numbers = [TO, TO, "+14155550156"]  # when it begins, when the call is over, when the next one is due

    def make() -> Any:
        return place(CREATE, **DEFERRED | {"to_number": numbers.pop(0)})

    with pytest.raises(RetellCallFinalError, match=r"to …0155, but the task asks for a call to …0156"):
        run_task(make, clock=clock, **context)
    assert not numbers
    assert len(simulator.calls) == 1


def test_a_retry_after_a_redial_whose_response_is_lost_waits_as_long(
    run: Callable[..., Any], simulator: Simulator, time: ManualClock
) -> None:
    """The retry finds the lost call by its tag, and the earlier ones by their ids: the rules count them all."""
    simulator.play(TO, NO_ANSWER)
    simulator.fail(Fault(endpoint=CREATE, answer=503, after=True, skip=1, times=9))
    with pytest.raises(RetellServerError):
        run(fail_on=["no_answer"])
    simulator.recover()
    time.advance(3700)
    with pytest.raises(RetellCallError, match="no_answer"):
        run(TaskInstance(try_number=2), fail_on=["no_answer"])
    times = [call.created_at for call in simulator.placed]
    assert len(times) == 3
    assert all(after - before >= 2 * 3600 for before, after in pairwise(times))


# -- fail_on and retries -------------------------------------------------------------------------------------


def test_fail_on_is_judged_on_the_last_call(run: Callable[..., Any], simulator: Simulator) -> None:
    """An ending after which the rules called again does not fail the task."""
    simulator.play(TO, NO_ANSWER, ANSWERED)
    assert run(fail_on=["no_answer"])["attempts"] == 2


def test_a_retry_adds_one_call(run: Callable[..., Any], simulator: Simulator) -> None:
    """The rules are used up; each retry then places one call more, as it does without them."""
    simulator.play(TO, NO_ANSWER, NO_ANSWER, NO_ANSWER, NO_ANSWER, ANSWERED)
    with pytest.raises(RetellCallError, match="no_answer"):
        run(fail_on=["no_answer"])
    assert len(simulator.calls) == 3
    with pytest.raises(RetellCallError, match="no_answer"):
        run(TaskInstance(try_number=2), fail_on=["no_answer"])
    assert len(simulator.calls) == 4
    row = run(TaskInstance(try_number=3), fail_on=["no_answer"])
    assert (row["outcome"], row["attempts"]) == ("answered", 5)


def test_a_clear_begins_again(run: Callable[..., Any], simulator: Simulator) -> None:
    """A new intent has all its calls before it."""
    simulator.play(TO, NO_ANSWER)
    run()
    row = run(TaskInstance(try_number=2, max_tries=1))
    assert row["attempts"] == 3
    assert len(simulator.calls) == 6


# -- what dies in between ------------------------------------------------------------------------------------


class Dying(SteppingClock):
    """A clock in whose n-th sleep the worker dies."""

    def __init__(self, time: ManualClock, sleeps: int) -> None:
        super().__init__(time)
        self.sleeps = sleeps

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.sleeps -= 1
        if self.sleeps < 0:
            raise Crash


@pytest.mark.parametrize("sleeps", [0, 1, 2, 60, 118, 119, 120, 121, 122, 123, 124, 200, 240, 241, 242, 243, 244])
def test_a_worker_that_dies_changes_nothing(
    run: Callable[..., Any], simulator: Simulator, time: ManualClock, sleeps: int
) -> None:
    """While a phone rings, between two calls, anywhere: the next try goes on with the same plan."""
    simulator.play(TO, NO_ANSWER, BUSY, ANSWERED)
    try_number = 1
    try:
        row = run(on=Dying(time, sleeps), deferrable=False)
    except Crash:
        time.advance(300)
        try_number += 1
        row = run(TaskInstance(try_number=try_number))
    assert (row["outcome"], row["attempts"]) == ("answered", 3)
    times = placed(simulator)
    assert len(times) == len(simulator.calls) == 3
    assert all(after - before >= 2 * 3600 for before, after in pairwise(times))


@pytest.mark.parametrize("dies", range(1, 8))
def test_a_worker_that_dies_as_it_writes_changes_nothing(
    clock: SteppingClock, simulator: Simulator, time: ManualClock, dies: int
) -> None:
    """Before a request, or between the response and the note of it."""

    class Fragile(Store):
        left = dies

        def set(self, key: str, value: Any) -> None:
            type(self).left -= 1
            if not self.left:
                raise Crash
            super().set(key, value)

    simulator.play(TO, NO_ANSWER, BUSY, ANSWERED)
    fragile = Fragile()
    try:
        run_task(lambda: place(CREATE, **CALLED_AGAIN), clock=clock, task_state_store=fragile)
    except Crash:
        time.advance(300)
        ti = TaskInstance(try_number=2)
        row = run_task(lambda: place(CREATE, **CALLED_AGAIN), ti, clock, task_state_store=fragile)
        assert (row["outcome"], row["attempts"]) == ("answered", 3)
    assert len(placed(simulator)) == len(simulator.calls) == 3


class Deleting(SteppingClock):
    """A clock in whose first sleep after the second call the first call is deleted."""

    def __init__(self, simulator: Simulator, *, dies: bool = False) -> None:
        super().__init__(simulator.clock)
        self.simulator, self.dies = simulator, dies

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.simulator.placed) == 2 and self.simulator.placed[0].call_id in self.simulator.calls:
            self.simulator.delete(self.simulator.placed[0].call_id)
            if self.dies:
                raise Crash


@pytest.mark.parametrize(("ending", "outcome"), [(ANSWERED, "answered"), (NO_ANSWER, "no_answer")])
@pytest.mark.parametrize("dies", [False, True])
def test_a_deleted_earlier_call_ends_the_plan_and_loses_no_row(
    run: Callable[..., Any], simulator: Simulator, store: Store | None, ending: str, outcome: str, dies: bool
) -> None:
    """It counts as a call whose ending is unknown, after which no rule asks for another one."""
    simulator.play(TO, NO_ANSWER, ending)
    try:
        row = run(on=Deleting(simulator, dies=dies), deferrable=False)
    except Crash:
        row = run(TaskInstance(try_number=2))
    if store is not None or not dies:  # without a store and after a death, no trace of that call is left
        assert (row["outcome"], row["attempts"]) == (outcome, 2)
        assert len(placed(simulator)) == 2
    else:
        assert row["outcome"] == outcome


def test_a_retry_after_a_deleted_earlier_call_adds_one_call(run: Callable[..., Any], simulator: Simulator) -> None:
    """The plan is over, so ``fail_on`` decides, as it does after a plan that is used up."""
    simulator.play(TO, NO_ANSWER, NO_ANSWER, ANSWERED)
    with pytest.raises(RetellCallError, match="no_answer"):
        run(on=Deleting(simulator), deferrable=False, fail_on=["no_answer"])
    assert run(TaskInstance(try_number=2), fail_on=["no_answer"])["outcome"] == "answered"
    assert len(placed(simulator)) == 3


def test_neither_a_store_nor_a_list_is_needed_after_a_deferral(clock: SteppingClock, simulator: Simulator) -> None:
    """The trigger hands back which calls there were."""
    simulator.play(TO, NO_ANSWER, BUSY, ANSWERED)
    simulator.fail(Fault(endpoint="list-calls", answer=403, times=None))
    row = run_task(lambda: place(CREATE, **DEFERRED), clock=clock)
    assert (row["outcome"], row["attempts"]) == ("answered", 3)


def test_a_wait_that_no_triggerer_ended_goes_on(
    clock: SteppingClock, time: ManualClock, simulator: Simulator
) -> None:
    """Airflow's own event brings nothing: the last call is read, and the next one is placed, later if need be."""
    simulator.play(TO, NO_ANSWER, ANSWERED)
    ti = TaskInstance()
    first = place(CREATE, **{**DEFERRED, "deferrable": False, "execution_timeout": timedelta(hours=1)})
    with pytest.raises(RetellCallTimeoutError, match="too late for execution_timeout"):
        first.execute(ti.context())
    time.advance(3 * 3600)
    resumed = place(CREATE, **DEFERRED)
    with pytest.raises(TaskDeferred):
        resumed.resume_execution("__fail__", {"error": "Trigger timeout"}, ti.context())
    assert len(simulator.calls) == 1


@pytest.mark.parametrize("ended_by_airflow", range(5))
def test_a_wait_that_airflow_ends_places_no_call_beyond_the_plan(
    clock: SteppingClock, time: ManualClock, simulator: Simulator, store: Store | None, ended_by_airflow: int
) -> None:
    """Airflow's own event brings no memory, whichever deferral it ends: the calls are counted again."""
    simulator.play(TO, NO_ANSWER)
    ti = TaskInstance()
    context = ti.context() if store is None else ti.context(task_state_store=store)
    method, kwargs, deferrals = "", {}, 0
    while True:
        task = place(CREATE, **DEFERRED)
        try:
            row = task.resume_execution(method, kwargs, context) if method else task.execute(context)
        except TaskDeferred as deferral:
            if deferrals == ended_by_airflow:
                time.advance((deferral.timeout or timedelta(0)).total_seconds())
                method, kwargs = "__fail__", {"error": "Trigger timeout"}
            else:
                method, kwargs = deferral.method_name, {"event": fire(deferral.trigger, clock)}
            deferrals += 1
        else:
            break
    assert deferrals > ended_by_airflow
    assert (row["outcome"], row["attempts"]) == ("no_answer", 3)
    assert len(placed(simulator)) == len(simulator.calls) == 3
    assert all(after - before >= 2 * 3600 for before, after in pairwise(placed(simulator)))


def test_a_wait_for_the_next_call_that_cannot_begin_fails_the_try(
    clock: SteppingClock, time: ManualClock, simulator: Simulator, store: Store | None
) -> None:
    """A trigger that cannot be run ends each further wait at once: a retry goes on with the plan."""
    simulator.play(TO, NO_ANSWER, ANSWERED)
    ti = TaskInstance()
    context = {} if store is None else {"task_state_store": store}
    with pytest.raises(TaskDeferred) as deferral:
        place(CREATE, deferrable=True, **CALLED_AGAIN).execute(ti.context(**context))
    event = fire(deferral.value.trigger, clock)
    with pytest.raises(TaskDeferred) as deferral:
        place(CREATE, deferrable=True, **CALLED_AGAIN).execute_complete(ti.context(**context), event)
    time.advance(60)
    with pytest.raises(RetellCallError, match=r"could not wait \(Trigger failure\)") as raised:
        place(CREATE, deferrable=True, **CALLED_AGAIN).resume_execution(
            "__fail__", {"error": "Trigger failure"}, ti.context(**context)
        )
    assert not isinstance(raised.value, AirflowFailException)
    row = run_task(lambda: place(CREATE, **CALLED_AGAIN), TaskInstance(try_number=2), clock, **context)
    assert (row["outcome"], row["attempts"]) == ("answered", 2)


def test_a_wait_that_airflow_ends_is_over_if_the_plan_is(clock: SteppingClock, simulator: Simulator) -> None:
    """Nothing is left to wait for, so a trigger that could not be run changes nothing."""
    simulator.play(TO, ANSWERED)
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as deferral:
        place(CREATE, **DEFERRED).execute(ti.context())
    fire(deferral.value.trigger, clock)
    row = place(CREATE, **DEFERRED).resume_execution("__fail__", {"error": "Trigger failure"}, ti.context())
    assert (row["outcome"], row["attempts"]) == ("answered", 1)


def test_a_wait_that_airflow_ends_does_not_begin_execution_timeout_again(
    clock: SteppingClock, time: ManualClock, simulator: Simulator
) -> None:
    """Airflow keeps the beginning of a try through its deferrals, so the limit counts from there."""
    simulator.play(TO, NO_ANSWER, ANSWERED)
    ti: Any = TaskInstance()
    ti.start_date = datetime.fromtimestamp(time(), UTC)
    with pytest.raises(TaskDeferred):
        place(CREATE, **DEFERRED).execute(ti.context())
    time.advance(3600)
    task = place(CREATE, execution_timeout=timedelta(hours=2), **DEFERRED)
    with pytest.raises(RetellCallTimeoutError, match="too late for execution_timeout"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, ti.context())


def test_an_account_that_lists_no_calls_ends_a_plan_that_airflow_has_interrupted(
    clock: SteppingClock, time: ManualClock, simulator: Simulator
) -> None:
    """Without a record and a list it is unknown how many calls there were: another one may be one too many."""
    simulator.play(TO, NO_ANSWER)
    simulator.fail(Fault(endpoint="list-calls", answer=403, times=None))
    ti = TaskInstance()
    with pytest.raises(TaskDeferred):
        place(CREATE, **DEFERRED).execute(ti.context())
    time.advance(3600)
    with pytest.raises(RetellCallError, match="unknown how many calls there were"):
        place(CREATE, **DEFERRED).resume_execution("__fail__", {"error": "Trigger timeout"}, ti.context())
    assert len(simulator.calls) == 1


def test_a_call_whose_metadata_is_gone_still_counts(
    clock: SteppingClock, time: ManualClock, simulator: Simulator
) -> None:
    """The record knows its number and the calls before it: tries that end early place no call beyond the plan."""
    simulator.play(TO, NO_ANSWER)
    store, row = Store(), None
    given = {**CALLED_AGAIN, "retries": 9}
    for try_number in range(1, 10):
        ti = TaskInstance(try_number=try_number, max_tries=9)
        task = place(CREATE, execution_timeout=timedelta(hours=3), **given)
        with suppress(RetellCallTimeoutError):
            row = task.execute(ti.context(task_state_store=store))
            break
        for call in simulator.calls.values():
            call.request.pop("metadata", None)
        time.advance(3 * 3600)
    assert row is not None
    assert (row["outcome"], row["attempts"]) == ("no_answer", 3)
    assert len(simulator.calls) == 3


def test_a_call_that_is_due_after_execution_timeout_fails_the_try(
    run: Callable[..., Any], simulator: Simulator, time: ManualClock
) -> None:
    """At once; a retry, with a time of its own, goes on with the plan."""
    simulator.play(TO, NO_ANSWER, ANSWERED)
    with pytest.raises(RetellCallTimeoutError, match="too late for execution_timeout") as raised:
        run(execution_timeout=timedelta(hours=1))
    assert not isinstance(raised.value, AirflowFailException)
    time.advance(2 * 3600)
    row = run(TaskInstance(try_number=2))
    assert (row["outcome"], row["attempts"]) == ("answered", 2)


# -- when a call was over ------------------------------------------------------------------------------------


def test_the_end_of_a_call_is_never_taken_for_earlier() -> None:
    """Retell's time if it has one; else now, or when a phone that was not picked up had stopped ringing."""
    call: Any = SimpleNamespace(end_timestamp=None, call_status="not_connected")
    at = NOON.timestamp()
    assert end_of(call, placed_at=at, now=at + 10) == at + 10
    assert end_of(call, placed_at=at, now=at + 9999) == at + 330
    call.call_status = "ended"
    assert end_of(call, placed_at=at, now=at + 9999) == at + 9999
    call.end_timestamp = int(at + 5) * 1000
    assert end_of(call, placed_at=at, now=at + 10) == at + 5
    for odd in (0, -1, int(at + 5), int(at + 5) * 10**9, 253_402_300_799_000, 10**400, (at + 20) * 1000):
        call.end_timestamp = odd
        assert end_of(call, placed_at=at, now=at + 10) == at + 10


# -- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"redial": TWICE}, "redial needs wait_for"),
        ({"redial": TWICE, "wait_for": "ended", "durable": False}, "redial needs durable=True"),
        ({"redial": "no_answer", "wait_for": "ended"}, "redial takes rules"),
        ({"redial": ["no_answer"], "wait_for": "ended"}, "redial takes rules"),
        ({"redial": None, "wait_for": "ended"}, "redial takes rules"),
        ({"redial": 2, "wait_for": "ended"}, "redial takes rules"),
    ],
)
def test_bad_rules_fail_when_the_dag_is_parsed(arguments: Any, message: str) -> None:
    """Wrong rules fail when the DAG is parsed, before any phone rings."""
    with pytest.raises(RetellInputError, match=message):
        place(CREATE, **arguments)


def test_one_rule_needs_no_list(simulator: Simulator) -> None:
    """``redial`` takes one rule or a sequence of rules."""
    assert place(CREATE, redial=TWICE[0], wait_for="ended").redial == tuple(TWICE)


def test_a_registered_call_is_not_redialed() -> None:
    """The user's own telephony dials it: the argument is the create operator's alone."""
    with pytest.raises((TypeError, AirflowException), match="redial"):  # Airflow 2 and 3
        place(REGISTER, redial=TWICE, wait_for="ended")


def test_without_rules_a_row_is_as_ever(clock: SteppingClock) -> None:
    """``attempts`` is there with ``redial`` alone."""
    number = SCENARIOS[ANSWERED].number
    row = run_task(lambda: place(CREATE, to_number=number, wait_for="ended", poll_interval=9), clock=clock)
    assert "attempts" not in row
