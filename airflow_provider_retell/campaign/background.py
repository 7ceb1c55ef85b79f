"""Requests side by side: work runs in threads, and what came of it is reported in the campaign's own thread."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Runs work in threads. A thread is only begun if all others are busy.

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
