"""Read several accounts at the same time, so that one that hangs delays neither the others nor a viewer.

===============================  ==================================================================================
bound                            by
===============================  ==================================================================================
threads of the API server        a viewer waits once for all readings together (``within``)
threads that read                a fixed number, of which one account holds at most ``InTurn.at_once``
===============================  ==================================================================================
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from airflow_provider_retell._clock import CLOCK

T = TypeVar("T")


def within(longest: float, looks: Sequence[Callable[[float], T]]) -> list[T]:
    """Return the results of several looks. All begin at once, and together they take no longer than one.

    Args:
        longest: The most seconds for all of them.
        looks: Each begins a reading if one is due, waits for it at most the given seconds, and returns what is
            known then.
    """
    for look in looks:
        look(0.0)
    ends = CLOCK.monotonic() + longest
    return [look(max(ends - CLOCK.monotonic(), 0.0)) for look in looks]


class InTurn(Executor):
    """Run work in the threads of another executor, but only in a few of them at a time.

    Args:
        threads: The executor.
        at_once: The most threads to hold.
    """

    def __init__(self, threads: Executor, *, at_once: int) -> None:
        self._threads = threads
        self._free = at_once
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a function when its turn comes."""
        future = Future[T]()
        self._waiting.append((future, partial(function, *args, **kwargs)))
        self._go_on()
        return future

    def _go_on(self) -> None:
        with self._lock:
            if not (self._free and self._waiting):
                return
            self._free -= 1
            future, work = self._waiting.popleft()
        with suppress(RuntimeError):  # the server is shutting down
            self._threads.submit(self._run, future, work)

    def _run(self, future: Future[T], work: Callable[[], T]) -> None:
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(work())
        except Exception as error:  # noqa: BLE001 (it belongs to the code that waits for the future)
            future.set_exception(error)
        finally:
            with self._lock:
                self._free += 1
            self._go_on()
