"""The threads that run a campaign's requests concurrently, and the time that they share."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from airflow_provider_retell._clock import Clock
from airflow_provider_retell.campaign.plan.pacing import Moment, SteadyTime

T = TypeVar("T")


class Background:
    """Run work in threads, and report its results in the campaign's own thread.

    A new thread starts only if all others are busy. Work with large responses has one thread to itself, because
    the C library keeps memory that a thread has freed for that thread: if 16 threads read a list of 2,000 calls in
    turn, its memory would be held 16 times.

    Args:
        threads: The most threads for work with small responses.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="retell-campaign")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="retell-campaign-large")
        self._reports: dict[Future[Any], Callable[[Any], None]] = {}
        self._done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def __len__(self) -> int:
        return len(self._reports)

    def begin(self, work: Callable[[], T], report: Callable[[T], None]) -> None:
        """Begin some work; ``collect`` later calls ``report`` with its result."""
        self._report(self._pool.submit(work), report)

    def begin_large(self, work: Callable[[], T], report: Callable[[T], None]) -> None:
        """Begin some work that reads a large response; ``collect`` later calls ``report`` with its result."""
        self._report(self._large.submit(work), report)

    def _report(self, future: Future[T], report: Callable[[T], None]) -> None:
        self._reports[future] = report
        future.add_done_callback(self._done.put)

    def collect(self, *, wait: float = 0.0) -> bool:
        """Report the finished work; return whether there was any. Raises the error that the work raised.

        Args:
            wait: Seconds to wait for the first result.
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
        """Begin nothing more. Work in progress runs to its end, but is not reported."""
        self._reports.clear()
        for pool in (self._pool, self._large):
            pool.shutdown(wait=False, cancel_futures=True)


class Moments:
    """The current moment, by two clocks.

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
