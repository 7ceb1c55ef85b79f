"""The time of a campaign, for all its threads."""

from __future__ import annotations

from threading import Lock

from airflow_provider_retell._clock import Clock
from airflow_provider_retell.campaign.pacing import Moment, SteadyTime


class Moments:
    """Reads the clocks.

    Args:
        clock: The clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._time = SteadyTime(wall=clock.now(), boot=clock.boottime())

    def now(self) -> Moment:
        """Return the present moment."""
        with self._lock:
            return self._time.read(wall=self._clock.now(), boot=self._clock.boottime())
