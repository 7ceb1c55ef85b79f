"""Test an account at its limit: a task waits before its try is spent, and calls no person twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from conftest import CREATE, REGISTER, SteppingClock, Store, TaskInstance, place, run_task

from airflow_provider_retell.calls.capacity import FIRST_PAUSE, LONGEST_PAUSE, LineWait
from airflow_provider_retell.errors import RetellCallError, RetellConnectionError, RetellRateLimitError
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by

pytestmark = pytest.mark.usefixtures("connect")

NO_LINE = "concurrency_limit_reached"
NUMBER = "+14155550142"


@pytest.fixture(params=[True, False], ids=["store", "no store"])
def store(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return a state store as in Airflow 3.3 and later, or none as before."""
    return {"task_state_store": Store()} if request.param else {}


def refusals(simulator: Simulator, endpoint: str) -> list[float]:
    """Return when the requests that placed a call were made."""
    return [request.clock for request in simulator.requests if request.endpoint == endpoint]


# -- how long ------------------------------------------------------------------------------------------------


def test_pauses_grow_and_end(time: ManualClock, clock: SteppingClock) -> None:
    """Each pause is about as long as what was waited before, up to two minutes, and none goes beyond the end."""
    limit = LineWait(limit=1000, clock=clock)
    began = clock.now()
    while limit.pause():
        pass
    assert clock.now() <= began + 1000
    assert clock.slept[0] == pytest.approx(5.6, abs=0.7)
    assert all(after >= before for before, after in zip(clock.slept[:4], clock.slept[1:5], strict=True))
    assert LONGEST_PAUSE <= max(clock.slept) <= 1.25 * LONGEST_PAUSE


def test_retell_is_not_asked_before_it_wants_to_be(time: ManualClock, clock: SteppingClock) -> None:
    """Retry-After counts, with a little on top that spreads a hundred tasks; too long a one is not waited for."""
    limit = LineWait(limit=100, clock=clock)
    assert limit.pause(60)
    assert 60 <= clock.slept[0] <= 75
    assert not limit.pause(60)


def test_an_answer_that_asks_for_no_pause_is_not_obeyed(time: ManualClock, clock: SteppingClock) -> None:
    """After Retry-After: 0, or a date in the past, there is still a pause."""
    assert LineWait(limit=100, clock=clock).pause(0)
    assert clock.slept[0] >= FIRST_PAUSE


# -- 429 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
def test_a_429_is_waited_out_in_the_task(
    endpoint: str, simulator: Simulator, clock: SteppingClock, store: dict[str, Any], *, durable: bool
) -> None:
    """No try is spent, and one call is placed, under one key."""
    simulator.fail(Fault(endpoint=endpoint, answer=429, retry_after=30, times=9))
    row = run_task(lambda: place(endpoint, durable=durable), clock=clock, **store)
    assert list(simulator.calls) == [row["call_id"]]
    assert sum(clock.slept) >= 60
    assert len({(request.json or {}).get("idempotency_key") for request in simulator.requests}) == 1


def test_a_429_that_stays_spends_the_try(endpoint: str, simulator: Simulator, clock: SteppingClock) -> None:
    """After limit_timeout Airflow's retries take over; nothing was placed."""
    simulator.fail(Fault(endpoint=endpoint, answer=429, times=None))
    began = clock.now()
    with pytest.raises(RetellRateLimitError):
        run_task(lambda: place(endpoint, limit_timeout=200), clock=clock)
    assert 80 < clock.now() - began <= 200
    assert not simulator.calls


def test_with_a_limit_of_zero_no_task_waits(endpoint: str, simulator: Simulator, clock: SteppingClock) -> None:
    """``limit_timeout=0`` leaves it all to Airflow's retries."""
    simulator.fail(Fault(endpoint=endpoint, answer=429, times=None))
    with pytest.raises(RetellRateLimitError):
        run_task(lambda: place(endpoint, limit_timeout=0), clock=clock)
    assert not clock.slept


def test_a_429_after_a_lost_response_is_waited_out_under_the_same_key(
    simulator: Simulator, clock: SteppingClock, store: dict[str, Any]
) -> None:
    """The call may exist: what is sent again has its key, so that it is the same call."""
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True), Fault(endpoint=CREATE, answer=429, times=3))
    row = run_task(lambda: place(CREATE), clock=clock, **store)
    assert list(simulator.calls) == [row["call_id"]]


def test_a_429_after_a_lost_registration_is_left_to_the_next_try(
    simulator: Simulator, clock: SteppingClock
) -> None:
    """Registering has no key: another request in this try might register a second call."""
    simulator.fail(Fault(endpoint=REGISTER, answer="reset", after=True))
    with pytest.raises(RetellConnectionError):
        run_task(lambda: place(REGISTER), clock=clock)
    assert not clock.slept


# -- no free line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("durable", [True, False])
def test_a_call_that_found_no_line_is_placed_again(
    simulator: Simulator, clock: SteppingClock, store: dict[str, Any], *, durable: bool, deferrable: bool
) -> None:
    """If that ending would fail the task, the try waits and places another: no phone has rung."""
    simulator.play(NUMBER, *[NO_LINE] * 3, "user_hangup")
    waiting: dict[str, Any] = {"wait_for": "ended", "deferrable": deferrable, "poll_interval": 5}
    row = run_task(
        lambda: place(CREATE, to_number=NUMBER, fail_on=("capacity",), durable=durable, **waiting),
        clock=clock,
        **store,
    )
    assert row["outcome"] == "answered"
    assert [call["disconnection_reason"] for call in map(simulator.call, simulator.calls)] == [
        *[NO_LINE] * 3,
        "user_hangup",
    ]
    assert sum(clock.slept) >= 5 + 10 + 20


@pytest.mark.parametrize("fail_on", [(), ("busy",)])
def test_what_does_not_fail_the_task_is_its_result(
    endpoint: str, simulator: Simulator, clock: SteppingClock, fail_on: tuple[str, ...]
) -> None:
    """If fail_on does not name it, a call that found no line is an ending like any other."""
    row = run_task(lambda: place(endpoint, NO_LINE, wait_for="ended", fail_on=fail_on), clock=clock)
    assert row["outcome"] == "capacity"
    assert len(simulator.calls) == 1


def test_no_free_line_to_the_end_fails_the_try(simulator: Simulator, clock: SteppingClock) -> None:
    """After limit_timeout the ending counts as fail_on says, and Airflow's retries take over."""
    with pytest.raises(RetellCallError, match="capacity"):
        run_task(
            lambda: place(CREATE, NO_LINE, wait_for="ended", fail_on=("capacity",), limit_timeout=100), clock=clock
        )
    assert 3 <= len(simulator.calls) <= 7


# -- killed meanwhile ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [True, False])
def test_a_task_that_is_killed_while_it_waits_places_no_call(
    endpoint: str, simulator: Simulator, time: ManualClock, *, durable: bool
) -> None:
    """Airflow lets a killed task run for some seconds, in which no call is placed."""
    operator: Any = place(endpoint, durable=durable)

    class KilledMeanwhile(SteppingClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            operator.on_kill()

    simulator.fail(Fault(endpoint=endpoint, answer=429, times=4))
    with clock_replaced_by(KilledMeanwhile(time)), pytest.raises(RetellCallError, match="killed"):
        operator.execute(TaskInstance().context())
    assert not simulator.calls


def test_the_call_has_its_time_from_the_placing(simulator: Simulator, clock: SteppingClock) -> None:
    """``timeout`` runs from the placing: two pauses of a minute take nothing from a call's 100 seconds."""
    simulator.fail(Fault(endpoint=CREATE, answer=429, retry_after=60, times=2))
    row = run_task(
        lambda: place(CREATE, "user_hangup", wait_for="ended", timeout=100, poll_interval=5), clock=clock
    )
    assert row["outcome"] == "answered"
    assert clock.slept[0] >= 60
    assert clock.slept[1] >= 60


def test_no_call_is_placed_that_would_be_stopped_at_once(simulator: Simulator, clock: SteppingClock) -> None:
    """Near the end of execution_timeout the pauses stop, and nothing is placed any more."""
    simulator.fail(Fault(endpoint=CREATE, answer=429, retry_after=50, times=1))
    with pytest.raises(RetellRateLimitError):
        run_task(
            lambda: place(CREATE, wait_for="ended", execution_timeout=timedelta(seconds=50)),
            clock=clock,
        )
    assert not simulator.calls


def test_without_fail_on_a_call_without_a_line_is_the_result(simulator: Simulator, clock: SteppingClock) -> None:
    """No second call is placed, and the operator does not stay for minutes, if that ending does not fail it."""
    row = run_task(lambda: place(CREATE, NO_LINE), clock=clock)
    assert len(simulator.calls) == 1
    assert row["call_id"] == next(iter(simulator.calls))
    assert not clock.slept


def test_a_tag_of_ones_own_is_no_obstacle(simulator: Simulator, clock: SteppingClock) -> None:
    """If the metadata uses the tag's key for something else, a call that found no line is placed again too."""
    arguments = {"wait_for": "ended", "fail_on": ("capacity",), "metadata": {"airflow_call": "mine"}}
    with pytest.raises(RetellCallError, match="capacity"):
        run_task(lambda: place(CREATE, NO_LINE, **arguments), clock=clock)
