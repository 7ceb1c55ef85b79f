"""Test the metrics, as Airflow's own metrics pass them on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats
from conftest import CREATE, REGISTER, SteppingClock, Store, TaskInstance, fire, place, run_task
from test_placing import Attempts

from airflow_provider_retell._metrics import METRICS
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator
from airflow_provider_retell.triggers import RetellCallTrigger

try:
    from airflow.sdk.observability.stats import initialize
except ImportError:  # before 3.3
    initialize = None

pytestmark = pytest.mark.usefixtures("connect")


class Backend:
    """A metrics backend that keeps what it is handed."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.timed: dict[str, timedelta] = {}

    def incr(self, stat: str, count: int = 1, **_: Any) -> None:
        self.counted[stat] += count

    def timing(self, stat: str, dt: Any, **_: Any) -> None:
        self.timed[stat] = dt


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """Let Airflow report to a backend of the test's; before 3.3 stand in for Airflow's own metrics."""
    kept = Backend()
    if initialize is not None:
        initialize(factory=lambda: kept, export_legacy_names=False)
        yield kept
        initialize(factory=None, export_legacy_names=False)
    else:
        monkeypatch.setattr(Stats, "incr", kept.incr)
        monkeypatch.setattr(Stats, "timing", kept.timing)
        yield kept


@pytest.mark.parametrize(("endpoint", "name"), [(REGISTER, "register"), (CREATE, "create")])
def test_a_call_is_counted_when_it_is_placed_and_when_it_is_over(
    backend: Backend, clock: SteppingClock, endpoint: str, name: str
) -> None:
    """One call is one of each, and the wait is timed from its beginning."""
    began = clock.now()
    run_task(lambda: place(endpoint, wait_for="ended", poll_interval=5), clock=clock)
    assert backend.counted[f"retell.calls.placed.{name}"] == 1
    assert backend.counted["retell.calls.ended.answered"] == 1
    assert backend.counted["retell.polls"] == len(clock.slept)
    assert backend.timed["retell.wait"].total_seconds() == pytest.approx(clock.now() - began)


def test_an_adopted_call_is_not_counted_as_placed(backend: Backend, time: ManualClock) -> None:
    """The counters count calls, not runs of a task."""
    attempts = Attempts(CREATE, time, Store())
    attempts.retry()
    attempts.retry()
    assert (backend.counted["retell.calls.placed.create"], backend.counted["retell.calls.adopted"]) == (1, 1)


def test_every_429_is_counted(backend: Backend, simulator: Simulator, clock: SteppingClock) -> None:
    """Each request that was turned away is counted, in tasks and in triggers."""
    simulator.fail(Fault(endpoint=REGISTER, answer=429, times=3))
    row = run_task(lambda: place(REGISTER), clock=clock)
    assert backend.counted["retell.rate_limited"] == 3
    simulator.fail(Fault(endpoint="get-call", answer=429, times=2))
    waiting = RetellCallTrigger(call_ids=[row["call_id"]], retell_conn_id="retell_default", deadline=1e12)
    fire(waiting, clock)
    assert backend.counted["retell.rate_limited"] == 5
    assert backend.counted["retell.polls"] >= 3


def test_calls_of_a_sensor_are_counted(backend: Backend, clock: SteppingClock) -> None:
    """Many calls are counted by outcome."""
    rows = [run_task(partial(place, REGISTER, name), clock=clock) for name in ("dial_busy", "user_hangup")]
    clock.time.advance(3600)
    RetellCallSensor(task_id="wait", call_id=rows).execute(TaskInstance().context())
    assert backend.counted["retell.calls.ended.busy"] == backend.counted["retell.calls.ended.answered"] == 1


def test_what_is_counted_is_listed(backend: Backend, clock: SteppingClock) -> None:
    """Every name that is reported stands in the list that the docs are made of."""
    run_task(lambda: place(CREATE, wait_for="ended", poll_interval=5), clock=clock)
    listed = set(METRICS) | {f"retell.calls.ended.{outcome}" for outcome in Outcome}
    assert set(backend.counted) | set(backend.timed) <= listed
