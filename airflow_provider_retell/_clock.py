"""The time, as something a test can replace."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol


class Clock(Protocol):
    """Three clocks, and two ways to sleep.

    ``monotonic`` measures how long something takes in this process. ``now`` is for points in time that another
    process or Retell knows too, such as deadlines; it may be set back or forward while a process runs.
    ``boottime`` keeps counting while the machine is suspended, when ``monotonic`` stops on Linux.
    """

    def now(self) -> float:
        """Return seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds since some point in time, never fewer than before."""

    def boottime(self) -> float:
        """Return the same, plus the time the machine was suspended, on systems that count it."""

    def sleep(self, seconds: float) -> None:
        """Block for some seconds."""

    async def asleep(self, seconds: float) -> None:
        """Wait for some seconds without blocking the event loop."""


_BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)
"""Only Linux has it."""


class _SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK: Final[Clock] = _SystemClock()
