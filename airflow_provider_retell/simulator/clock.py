"""Clocks the simulator can live by: any callable that returns seconds since the epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]


class ManualClock:
    """Stand still until told to move: the clock for tests.

    Args:
        start: Seconds since the epoch; the present by default, so that code under test which reads the
            machine's own clock sees plausible timestamps.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._lock = Lock()

    def __call__(self) -> float:
        """Return the time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        if seconds < 0:
            raise ValueError("A call cannot be un-placed: the clock only moves forward.")
        with self._lock:
            self._now += seconds


class RealClock:
    """Run from the present, `speed` times as fast as time itself."""

    def __init__(self, speed: float = 1.0) -> None:
        if not 0 < speed < math.inf:
            raise ValueError("The speed of a clock is a finite number greater than 0.")
        self._speed = speed
        self._epoch = time.time()
        # Monotonic, because a correction of the machine's clock must not undo the end of a call.
        self._started = time.monotonic()

    def __call__(self) -> float:
        """Return the time."""
        return self._epoch + (time.monotonic() - self._started) * self._speed
