"""A pytest plugin to test DAGs with; pytest finds it by itself once this package is installed.

It imports nothing but pytest until a test asks for its fixture, because every run of pytest loads it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_retell.simulator import Simulator

MANY = 10_000
"""Calls that may be live at once: time only passes while a task waits, so the calls of many tasks overlap."""


@pytest.fixture
def retell_simulator() -> Iterator[Simulator]:
    """Point the connection ``retell_default`` at a simulator, and let no task really wait.

    ``retell_simulator.play(number, "dial_busy")`` chooses how calls to a number go; ``retell_simulator.calls`` are
    the calls placed so far. Whenever a task of this package waits, the simulator's clock jumps ahead instead;
    between waits it does not move.
    """
    from airflow_provider_retell.simulator import ManualClock, Simulator  # noqa: PLC0415 (see above)

    clock = ManualClock()
    simulator = Simulator(clock=clock, concurrency_limit=MANY)
    # Not the test's own monkeypatch, which it may undo.
    with simulator.serve() as url, pytest.MonkeyPatch.context() as monkeypatch:
        fields = json.loads(simulator.connection(url)) | {"extra": {"max_retry_delay": 0}}
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields))
        _hurry(clock, monkeypatch)
        yield simulator


def _hurry(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the clock the one that tasks in this process wait by."""
    from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException  # noqa: PLC0415

    from airflow_provider_retell._clock import SYSTEM_CLOCK  # noqa: PLC0415 (see above)
    from airflow_provider_retell.sensors import RetellCallSensor  # noqa: PLC0415

    waited: defaultdict[str, float] = defaultdict(float)

    async def asleep(_: Any, seconds: float) -> None:
        clock.advance(seconds)

    def poked(sensor: RetellCallSensor, *_: Any) -> float:
        wait = str(sensor.call_id)  # in mode reschedule, each look is a sensor of its own
        clock.advance(sensor.poke_interval)
        waited[wait] += sensor.poke_interval
        if waited[wait] >= sensor.timeout:  # which Airflow measures by a clock of its own
            kind = AirflowSkipException if sensor.soft_fail or sensor.never_fail else AirflowSensorTimeout
            raise kind("The simulated calls are not over in time.")
        return 0.0

    # The class, because Airflow 3.0 runs copies of the tasks, and of their clocks.
    system_clock = type(SYSTEM_CLOCK)
    monkeypatch.setattr(system_clock, "now", lambda _: clock())
    monkeypatch.setattr(system_clock, "monotonic", lambda _: clock())
    monkeypatch.setattr(system_clock, "boottime", lambda _: clock())
    monkeypatch.setattr(system_clock, "sleep", lambda _, seconds: clock.advance(seconds))
    monkeypatch.setattr(system_clock, "asleep", asleep)
    # A sensor that is not deferred sleeps in Airflow's own loop.
    monkeypatch.setattr(RetellCallSensor, "_get_next_poke_interval", poked)
