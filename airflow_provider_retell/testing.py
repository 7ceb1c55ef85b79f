"""A pytest plugin to test DAGs with; pytest finds it by itself once this package is installed.

It imports nothing heavy until a test asks for one of its fixtures, because every run of pytest loads it.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_retell._clock import Clock, clock_replaced_by

if TYPE_CHECKING:
    from airflow_provider_retell.simulator import ManualClock, Simulator

__all__ = ["Clock", "SteppingClock", "clock_replaced_by", "retell_clock", "retell_simulator"]

MANY = 10_000
"""Calls that may be live at once: time only passes while a task waits, so the calls of many tasks overlap."""


class SteppingClock:
    """A clock for ``clock_replaced_by``: it stands still, and each sleep moves it ahead at once.

    Args:
        time: The time, which a simulator may share.

    Attributes:
        slept: The seconds of each sleep, in their order.
    """

    def __init__(self, time: ManualClock) -> None:
        self.time = time
        self.slept: list[float] = []

    def now(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self.time()

    def monotonic(self) -> float:
        """Return the same."""
        return self.time()

    def boottime(self) -> float:
        """Return the same."""
        return self.time()

    def sleep(self, seconds: float) -> None:
        """Move the time ahead."""
        self.slept.append(seconds)
        self.time.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        """Move the time ahead, after all that is ready on the event loop, which may make this sleep needless."""
        for _ in range(5):
            await asyncio.sleep(0)
        self.sleep(seconds)


@pytest.fixture
def retell_clock() -> ManualClock:
    """Return the clock of ``retell_simulator``, and of the tasks that wait for its calls.

    It begins at the present. A test that needs a certain day defines a fixture of the same name, which returns
    ``ManualClock(start=...)``.
    """
    from airflow_provider_retell.simulator import ManualClock  # noqa: PLC0415 (see above)

    return ManualClock()


@pytest.fixture
def retell_simulator(retell_clock: ManualClock) -> Iterator[Simulator]:
    """Point the connection ``retell_default`` at a simulator, and let no task of this package wait in real time.

    ``retell_simulator.play(number, "dial_busy")`` chooses how calls to a number go; ``retell_simulator.calls`` are
    the calls placed so far. Whenever a task of this package waits, the simulator's clock jumps ahead instead;
    between waits it does not move.
    """
    from airflow_provider_retell.simulator import Simulator  # noqa: PLC0415 (see above)

    simulator = Simulator(clock=retell_clock, concurrency_limit=MANY)
    # Not the test's own monkeypatch, which it may undo.
    with (
        simulator.serve() as url,
        clock_replaced_by(SteppingClock(retell_clock)),
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        fields = json.loads(simulator.connection(url)) | {"extra": {"max_retry_delay": 0}}
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields))
        _hurry_sensors(retell_clock, monkeypatch)
        yield simulator


def _hurry_sensors(time: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move the time ahead when a sensor waits without deferring, which it does in Airflow's own loop."""
    from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException  # noqa: PLC0415

    from airflow_provider_retell.sensors import RetellCallSensor  # noqa: PLC0415 (see above)

    waited: defaultdict[str, float] = defaultdict(float)

    def poked(sensor: RetellCallSensor, *_: Any) -> float:
        wait = str(sensor.call_id)  # in mode reschedule, each look is a sensor of its own
        time.advance(sensor.poke_interval)
        waited[wait] += sensor.poke_interval
        if waited[wait] >= sensor.timeout:  # which Airflow measures by a clock of its own
            kind = AirflowSkipException if sensor.soft_fail or sensor.never_fail else AirflowSensorTimeout
            raise kind("The simulated calls are not over in time.")
        return 0.0

    monkeypatch.setattr(RetellCallSensor, "_get_next_poke_interval", poked)
