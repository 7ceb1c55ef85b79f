"""Clocks for a simulator: any callable that returns seconds since the epoch will do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]


class ManualClock:
    """Stand still until moved by `advance`, as tests need it.

    Args:
        start: Seconds since the epoch; by default the present, so that timestamps look plausible to code that
            reads the machine's own clock.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._lock = Lock()

    def __call__(self) -> float:
        """Return the time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward by a number of seconds.

        Raises:
            ValueError: The number is negative.
        """
        if seconds < 0:
            raise ValueError("The clock only moves forward: what has happened cannot be undone.")
        with self._lock:
            self._now += seconds


class RealClock:
    """Start at the present and run `speed` times as fast as the machine's clock.

    Args:
        speed: A finite number greater than 0.
    """

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
