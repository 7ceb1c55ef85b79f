"""The clock of this process's tasks and triggers: the system's, or one that a test puts in its place.

Only the network always uses real time: how long a response may take, and the date in a ``Retry-After``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


class _CurrentClock:
    """Pass each question on to the clock in use, so that objects made before a replacement follow it too.

    There is one for the process, and not a context variable: threads of a pool begin with an empty context, and
    would read a different clock from the task that waits for them.
    """

    def __init__(self) -> None:
        self.in_use: Clock = _SystemClock()

    def now(self) -> float:
        return self.in_use.now()

    def monotonic(self) -> float:
        return self.in_use.monotonic()

    def boottime(self) -> float:
        return self.in_use.boottime()

    def sleep(self, seconds: float) -> None:
        self.in_use.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        await self.in_use.asleep(seconds)


_current: Final = _CurrentClock()
CLOCK: Final[Clock] = _current
"""The clock of this process."""


@contextmanager
def clock_replaced_by(clock: Clock) -> Iterator[None]:
    """Replace this process's clock inside the block, in all threads and event loops."""
    before, _current.in_use = _current.in_use, clock
    try:
        yield
    finally:
        _current.in_use = before
