"""Test calling hours on the operators: no request that places a call is sent while they are shut."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from conftest import AIRFLOW_2, CREATE, SteppingClock, Store, TaskInstance, fire, place, run_task

from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.calls.gate import Hours
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellCallTimeoutError,
    RetellConnectionError,
    RetellInputError,
    RetellTimeZoneError,
)
from airflow_provider_retell.policy import CallingHours
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by
from airflow_provider_retell.triggers import RetellTimeTrigger

pytestmark = pytest.mark.usefixtures("connect")

HOURS = CallingHours("09:00", "20:00", time_zone="America/New_York")
NEW_YORK = ZoneInfo("America/New_York")
NIGHT = datetime(2026, 7, 6, 3, tzinfo=NEW_YORK)
OPENS = datetime(2026, 7, 6, 9, tzinfo=NEW_YORK)
EVENING = datetime(2026, 7, 6, 19, 59, tzinfo=NEW_YORK)
NEXT_DAY = datetime(2026, 7, 7, 9, tzinfo=NEW_YORK)


@pytest.fixture
def now() -> datetime:
    """The moment at which a test begins."""
    return NIGHT


@pytest.fixture
def time(now: datetime) -> ManualClock:
    """The simulator's time, which begins there."""
    return ManualClock(start=now.timestamp())


@pytest.fixture
def run(clock: SteppingClock) -> Callable[..., Any]:
    """Run a task to its end, with New York's hours unless others are given."""

    def run(endpoint: str = CREATE, ti: TaskInstance | None = None, store: Any = None, **arguments: Any) -> Any:
        given = {"calling_hours": HOURS, **arguments}
        context = {} if store is None else {"task_state_store": store}
        return run_task(lambda: place(endpoint, **given), ti, clock, **context)

    return run


def sent(simulator: Simulator, endpoint: str = CREATE) -> list[datetime]:
    """Return when the requests were made that place a call, in New York."""
    times = [request.clock for request in simulator.requests if request.endpoint == endpoint]
    return [datetime.fromtimestamp(at, NEW_YORK) for at in times]


# -- wait ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_task_waits_until_the_hours_open(
    endpoint: str, run: Callable[..., Any], simulator: Simulator, deferrable: bool
) -> None:
    """The call is placed at the first second of the hours, once, in either mode."""
    row = run(endpoint, deferrable=deferrable)
    assert sent(simulator, endpoint) == [OPENS]
    assert list(simulator.calls) == [row["call_id"]]


@pytest.mark.parametrize("now", [OPENS])
def test_a_task_does_not_wait_while_the_hours_are_open(
    endpoint: str, run: Callable[..., Any], clock: SteppingClock, simulator: Simulator
) -> None:
    """Nothing is deferred, and no task sleeps."""
    run(endpoint, deferrable=True)
    assert sent(simulator, endpoint) == [OPENS]
    assert not clock.slept


def test_a_task_that_holds_a_worker_says_until_when(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warning names the hours, the number by its last digits, and the moment at which they open."""
    run(to_number="+14155550100")
    warning = capsys.readouterr().out if not AIRFLOW_2 else caplog.text
    assert "the calling hours of …0100 are shut, and open next at 2026-07-06 13:00 UTC" in warning
    assert "on the worker" in warning
    assert "4155550100" not in warning


def test_the_wait_takes_nothing_from_the_timeout(run: Callable[..., Any], simulator: Simulator) -> None:
    """``timeout`` runs from the placing: a call of two minutes is waited for after a night of six hours."""
    row = run(wait_for="ended", timeout=600, poll_interval=10, deferrable=True)
    assert row["outcome"] == "answered"


def test_the_wait_takes_nothing_from_the_wait_for_a_line(run: Callable[..., Any], simulator: Simulator) -> None:
    """``limit_timeout`` counts the pauses after a 429 alone."""
    simulator.fail(Fault(endpoint=CREATE, answer=429, retry_after=60))
    run(limit_timeout=120)
    assert len(sent(simulator)) == 2


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("now", [EVENING])
def test_a_wait_for_a_line_does_not_last_into_the_night(
    endpoint: str, run: Callable[..., Any], simulator: Simulator, deferrable: bool
) -> None:
    """A 429 whose pauses end after the hours is followed by no request before they open again."""
    simulator.fail(Fault(endpoint=endpoint, answer=429, retry_after=120))
    row = run(endpoint, deferrable=deferrable)
    assert sent(simulator, endpoint) == [EVENING, NEXT_DAY]
    assert list(simulator.calls) == [row["call_id"]]


@pytest.mark.parametrize("now", [EVENING + timedelta(seconds=55)])
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_lost_response_is_not_repeated_in_the_morning(
    simulator: Simulator, time: ManualClock, deferrable: bool
) -> None:
    """Its key is spent when the hours open: a request that may have arrived is looked for, and not sent again."""
    simulator.fail(Fault(endpoint=CREATE, answer=503))
    with pytest.raises(RetellCallFinalError, match="lost the response, and no call with its tag is listed"):
        run_task(
            lambda: place(CREATE, calling_hours=HOURS, deferrable=deferrable),
            clock=Slow(time),
            task_state_store=Store(),
        )
    assert time() >= NEXT_DAY.timestamp()
    assert all(HOURS.is_open(None, at) for at in sent(simulator))
    assert not simulator.calls


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        # Clocks go forward in the night: nine o'clock comes an hour earlier.
        (datetime(2026, 3, 8, 0, tzinfo=NEW_YORK), datetime(2026, 3, 8, 13, tzinfo=UTC)),
        # And back.
        (datetime(2026, 11, 1, 0, tzinfo=NEW_YORK), datetime(2026, 11, 1, 14, tzinfo=UTC)),
    ],
)
def test_the_day_on_which_clocks_change(run: Callable[..., Any], simulator: Simulator, opens: datetime) -> None:
    """The person's wall clock counts."""
    run(deferrable=True)
    assert sent(simulator) == [opens]


@pytest.mark.parametrize("fraction", [0.1234567, 0.7300014, 0.9999996])
def test_open_hours_are_open_at_any_fraction_of_a_second(fraction: float) -> None:
    """A clock is finer than a datetime: what rounding adds is no time to wait for."""
    now = OPENS.timestamp() + 60 + fraction
    assert Hours(hours=HOURS, number=None, time_zone=None).opens_at(now) == now


# -- whose clock ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [datetime(2026, 7, 6, 13, tzinfo=UTC)])
@pytest.mark.parametrize(
    ("to_number", "time_zone", "opens"),
    [
        ("+12125550100", None, 13),  # New York
        ("+14155550100", None, 16),  # San Francisco
        ("+18505550100", None, 14),  # Florida, in two zones: as soon as both are open
        ("+14155550100", "America/New_York", 13),  # who has moved there
        ("+18005550100", "America/Denver", 15),  # toll-free, with a zone
    ],
)
def test_the_clock_is_the_person_s(
    run: Callable[..., Any], simulator: Simulator, to_number: str, time_zone: str | None, opens: int
) -> None:
    """The zone given for the person wins; else all zones of the number count."""
    run(to_number=to_number, time_zone=time_zone, calling_hours=CallingHours("09:00", "20:00"), deferrable=True)
    assert sent(simulator) == [datetime(2026, 7, 6, opens, tzinfo=UTC)]


@pytest.mark.parametrize("to_number", ["+18005550100", None])
def test_a_number_without_a_zone_is_refused(
    run: Callable[..., Any], simulator: Simulator, to_number: str | None
) -> None:
    """No zone is guessed: the task fails for good, and nothing is sent."""
    with pytest.raises(RetellTimeZoneError):
        run("register-phone-call", to_number=to_number, calling_hours=CallingHours())
    assert not simulator.requests


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("calling_hours", [HOURS, None])
@pytest.mark.parametrize("time_zone", ["Europe/Atlantis", "", "None", "EST", 7])
def test_a_bad_time_zone_is_refused(
    endpoint: str, run: Callable[..., Any], simulator: Simulator, time_zone: Any, calling_hours: Any, dry_run: bool
) -> None:
    """A rendered value is checked before anything is sent, and no retry helps."""
    with pytest.raises(RetellTimeZoneError) as raised:
        run(endpoint, time_zone=time_zone, calling_hours=calling_hours, dry_run=dry_run)
    assert isinstance(raised.value, AirflowFailException)
    assert not simulator.requests


# -- skip and fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(("action", "kind"), [("skip", AirflowSkipException), ("fail", RetellCallFinalError)])
def test_a_task_may_be_skipped_or_fail_instead(
    endpoint: str,
    run: Callable[..., Any],
    simulator: Simulator,
    action: str,
    kind: type[Exception],
    deferrable: bool,
) -> None:
    """Both say why, and when the hours open next; neither sends anything."""
    with pytest.raises(kind, match=r"calling hours of …\d{4} are shut, and open next at 2026-07-06 13:00 UTC"):
        run(endpoint, outside_hours=action, deferrable=deferrable)
    assert not simulator.requests


@pytest.mark.parametrize("now", [EVENING])
@pytest.mark.parametrize(("action", "kind"), [("skip", AirflowSkipException), ("fail", RetellCallFinalError)])
def test_the_end_of_a_wait_for_a_line_is_checked_too(
    run: Callable[..., Any], simulator: Simulator, action: str, kind: type[Exception]
) -> None:
    """The hours may have shut while the account was at its limit."""
    simulator.fail(Fault(endpoint=CREATE, answer=429, retry_after=120))
    with pytest.raises(kind):
        run(outside_hours=action)
    assert sent(simulator) == [EVENING]
    assert not simulator.calls


@pytest.mark.parametrize("now", [EVENING + timedelta(seconds=55)])
@pytest.mark.parametrize("action", ["wait", "skip", "fail"])
@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_phone_that_rings_already_is_waited_for_when_the_hours_have_shut(
    simulator: Simulator, time: ManualClock, action: str, store: bool
) -> None:
    """The response was lost, and the hours shut before the next attempt: the call is found, its row kept."""
    simulator.fail(Fault(endpoint=CREATE, answer=503, after=True))
    given = {"calling_hours": HOURS, "outside_hours": action, "wait_for": "ended", "deferrable": True}
    context = {"task_state_store": Store()} if store else {}
    row = run_task(lambda: place(CREATE, **given), clock=Slow(time), **context)
    assert (list(simulator.calls), row["outcome"]) == ([row["call_id"]], "answered")
    assert len(sent(simulator)) == 1
    assert time() < EVENING.timestamp() + LONGEST_RINGING + 120


@pytest.mark.parametrize("now", [EVENING + timedelta(seconds=59)])
@pytest.mark.parametrize("action", ["skip", "fail"])
@pytest.mark.parametrize("kept", [True, False], ids=["store", "no store"])
def test_a_retry_in_the_night_looks_for_a_call_that_may_ring(
    run: Callable[..., Any], simulator: Simulator, time: ManualClock, action: str, kept: bool
) -> None:
    """The first try has lost the response, so the retry may not say that nobody was called."""
    store = Store() if kept else None
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True, times=9))
    with pytest.raises(RetellConnectionError):
        run(scenario="dial_no_answer", outside_hours=action, store=store)
    simulator.recover()
    time.advance(2)
    given = {"scenario": "dial_no_answer", "outside_hours": action, "wait_for": "ended"}
    row = run(ti=TaskInstance(try_number=2), store=store, **given)
    assert (list(simulator.calls), row["outcome"]) == ([row["call_id"]], "no_answer")


@pytest.mark.parametrize("now", [EVENING + timedelta(seconds=55)])
def test_a_call_that_was_not_placed_is_looked_for_and_then_skipped(
    simulator: Simulator, time: ManualClock
) -> None:
    """The request may have arrived, and had not: nothing rings after the longest ringing, so the hours decide."""
    simulator.fail(Fault(endpoint=CREATE, answer=503))
    given = {"calling_hours": HOURS, "outside_hours": "skip"}
    with pytest.raises(AirflowSkipException):
        run_task(lambda: place(CREATE, **given), clock=Slow(time), task_state_store=Store())
    assert not simulator.calls
    assert time() >= EVENING.timestamp() + LONGEST_RINGING


class Slow(SteppingClock):
    """A clock on which each pause takes at least ten seconds."""

    def sleep(self, seconds: float) -> None:
        super().sleep(max(seconds, 10))


# -- what bounds the wait ------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_hours_that_open_after_execution_timeout_fail_at_once(
    run: Callable[..., Any], simulator: Simulator, clock: SteppingClock, deferrable: bool
) -> None:
    """A task that cannot live to see them open does not wait; a retry, which begins later, may."""
    with pytest.raises(RetellCallTimeoutError, match="too late for execution_timeout") as raised:
        run(execution_timeout=timedelta(hours=2), deferrable=deferrable)
    assert not isinstance(raised.value, AirflowFailException)
    assert not clock.slept
    assert not simulator.requests


def test_hours_that_never_open_fail_at_once(run: Callable[..., Any], simulator: Simulator) -> None:
    """A number whose zones are never open together is not waited for."""
    never = CallingHours("09:00", "09:30")
    with pytest.raises(RetellCallFinalError, match="do not open in the year to come"):
        run(to_number="+18505550100", calling_hours=never)
    assert not simulator.requests


def test_a_kill_ends_the_wait_on_a_worker(simulator: Simulator, time: ManualClock) -> None:
    """Airflow goes on with a killed task for some seconds, in which no call is placed."""

    class Signalled(SteppingClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            operator.on_kill()

    operator = place(CREATE, calling_hours=HOURS)
    with clock_replaced_by(Signalled(time)), pytest.raises(RetellCallError, match="killed"):
        operator.execute(TaskInstance().context())
    assert not simulator.requests


# -- what needs no hours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [EVENING])
@pytest.mark.parametrize("store", [Store(), None], ids=["store", "no store"])
def test_a_retry_in_the_night_adopts_the_call_of_the_day(
    run: Callable[..., Any], simulator: Simulator, time: ManualClock, store: Store | None
) -> None:
    """A retry adopts the call at any hour, because no phone rings for that."""
    first = run(store=store)
    time.advance(3600)
    second = run(ti=TaskInstance(try_number=2), outside_hours="fail", store=store)
    assert second["call_id"] == first["call_id"]


@pytest.mark.parametrize("now", [EVENING])
def test_a_clear_in_the_night_stops_the_call_of_the_day(
    run: Callable[..., Any], simulator: Simulator, time: ManualClock
) -> None:
    """The live call is stopped at once, and the new one waits for the morning."""
    store = Store()
    first = run(store=store, scenario="talks_forever")
    time.advance(3600)
    run(ti=TaskInstance(try_number=2, max_tries=1), store=store, deferrable=True)
    assert simulator.call(first["call_id"])["disconnection_reason"] == "manual_stopped"
    assert sent(simulator) == [EVENING, NEXT_DAY]


@pytest.mark.parametrize("now", [EVENING])
def test_an_earlier_call_is_looked_for_in_the_night(
    run: Callable[..., Any], simulator: Simulator, time: ManualClock
) -> None:
    """A look at the list rings no phone: what may still ring after a clear is found and stopped at any hour."""
    first = run(scenario="talks_forever")
    time.advance(120)
    begins = datetime.fromtimestamp(time(), NEW_YORK)
    simulator.fail(Fault(endpoint="list-calls", answer=500))
    run(ti=TaskInstance(try_number=2, max_tries=1), deferrable=True)
    stopped = next(request.clock for request in simulator.requests if request.endpoint == "stop-call")
    assert stopped - begins.timestamp() < LONGEST_RINGING
    assert simulator.call(first["call_id"])["disconnection_reason"] == "manual_stopped"
    assert sent(simulator) == [EVENING, NEXT_DAY]


def test_a_dry_run_says_when_it_would_call(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A dry run does not wait, and logs when it would call."""
    assert run(dry_run=True)["outcome"] == "dry_run"
    assert "open next at 2026-07-06 13:00 UTC" in (capsys.readouterr().out if not AIRFLOW_2 else caplog.text)


# -- the trigger ---------------------------------------------------------------------------------------------


def test_what_is_stored_of_the_trigger_makes_it_again() -> None:
    """A triggerer restart loses nothing; numbers, transcripts and keys are not in it."""
    trigger = RetellTimeTrigger(deadline=5.0, not_before=2.0, memo={"began": 1.0})
    path, kwargs = json.loads(json.dumps(trigger.serialize()))
    assert path == "airflow_provider_retell.triggers.RetellTimeTrigger"
    assert RetellTimeTrigger(**kwargs).serialize() == trigger.serialize()


@pytest.mark.parametrize(("deadline", "not_before", "fires"), [(900, 0, 900), (0, 10, 10), (0, 0, 0)])
def test_the_trigger_fires_when_it_is_time(
    time: ManualClock, clock: SteppingClock, deadline: float, not_before: float, fires: float
) -> None:
    """Not before the hours open, and not before Airflow can take the event."""
    began = time()
    trigger = RetellTimeTrigger(deadline=began + deadline, not_before=began + not_before, memo={"began": 3})
    event = fire(trigger, clock)
    assert time() == began + fires
    assert (event["wake"], event["calls"], event["memo"]) == ("over", {}, {"began": 3})


def test_a_wait_that_no_triggerer_ended_goes_on_in_time(
    simulator: Simulator, time: ManualClock, clock: SteppingClock
) -> None:
    """Airflow gives up on the trigger ten minutes after the opening: then it is time to call."""
    ti = TaskInstance()
    operator = place(CREATE, calling_hours=HOURS, deferrable=True)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(ti.context())
    assert deferral.value.timeout
    time.advance(deferral.value.timeout.total_seconds())
    operator = place(CREATE, calling_hours=HOURS, deferrable=True)
    row = operator.resume_execution("__fail__", {"error": "Trigger timeout"}, ti.context())
    assert list(simulator.calls) == [row["call_id"]]


@pytest.mark.parametrize("now", [EVENING])
def test_a_wait_that_airflow_ended_forgets_no_request_that_was_sent(
    simulator: Simulator, time: ManualClock, clock: SteppingClock
) -> None:
    """The first request may have arrived, then the hours shut: in the morning its call is looked for first."""
    simulator.fail(Fault(endpoint=CREATE, answer=503, times=None))

    class Slow(SteppingClock):
        """A clock by which each pause between two attempts takes a minute."""

        def sleep(self, seconds: float) -> None:
            super().sleep(max(seconds, 60))

    ti = TaskInstance()
    with clock_replaced_by(Slow(time)), pytest.raises(TaskDeferred) as deferral:
        place(CREATE, calling_hours=HOURS, deferrable=True).execute(ti.context())
    simulator.recover()
    assert deferral.value.timeout
    time.advance(deferral.value.timeout.total_seconds())
    morning = time()
    operator = place(CREATE, calling_hours=HOURS, deferrable=True)
    row = operator.resume_execution("__fail__", {"error": "Trigger timeout"}, ti.context())
    assert list(simulator.calls) == [row["call_id"]]
    asked = [request.endpoint for request in simulator.requests if request.clock >= morning]
    assert asked == ["list-calls", CREATE]


def test_a_trigger_that_could_not_be_run_fails_the_try(simulator: Simulator, clock: SteppingClock) -> None:
    """A triggerer without this package is no reason to call at night, nor to defer for ever."""
    operator = place(CREATE, calling_hours=HOURS, deferrable=True)
    with pytest.raises(RetellCallError, match=r"could not wait \(Trigger failure\)") as raised:
        operator.resume_execution("__fail__", {"error": "Trigger failure"}, TaskInstance().context())
    assert not isinstance(raised.value, AirflowFailException)
    assert not simulator.requests


# -- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"calling_hours": "9-20"}, "calling_hours takes CallingHours"),
        ({"calling_hours": ("09:00", "20:00")}, "calling_hours takes CallingHours"),
        ({"outside_hours": "later"}, "outside_hours takes 'wait', 'skip', 'fail'"),
        ({"outside_hours": None}, "outside_hours takes"),
        ({"outside_hours": ["wait"]}, "outside_hours takes"),
    ],
)
def test_bad_arguments_fail_when_the_dag_is_parsed(endpoint: str, arguments: Any, message: str) -> None:
    """Wrong arguments are found when the DAG is parsed, and not in the night."""
    with pytest.raises(RetellInputError, match=message):
        place(endpoint, **arguments)
