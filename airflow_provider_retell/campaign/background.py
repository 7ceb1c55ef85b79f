"""The threads of a campaign: requests run side by side in them, and all of them have one time."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from airflow_provider_retell._clock import Clock
from airflow_provider_retell.campaign.pacing import Moment, SteadyTime

T = TypeVar("T")


class Background:
    """Run work in threads, and report what came of it in the campaign's own thread.

    A thread is only begun if all others are busy.

    Args:
        threads: How many at most.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="retell-campaign")
        self._reports: dict[Future[Any], Callable[[Any], None]] = {}
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def __len__(self) -> int:
        return len(self._reports)

    def begin(self, work: Callable[[], T], report: Callable[[T], None]) -> None:
        """Begin some work; ``report`` is called with what it returns, by ``collect``."""
        future = self._pool.submit(work)
        self._reports[future] = report
        future.add_done_callback(self._done.put)

    def collect(self, *, wait: float = 0.0) -> bool:
        """Report what is done by now; return whether there was anything. Raises what the work raised.

        Args:
            wait: Seconds to wait for the first of it.
        """
        found = False
        while self._reports:
            try:
                future = self._done.get(timeout=wait) if wait > 0 and not found else self._done.get_nowait()
            except queue.Empty:
                break
            found = True
            self._reports.pop(future)(future.result())
        return found

    def close(self) -> None:
        """Begin nothing more. What is under way ends by itself, and is not reported."""
        self._reports.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)


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
