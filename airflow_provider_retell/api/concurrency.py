"""Read many calls one by one: several at a time, at a bounded pace, in the order given."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Lock
from typing import Final, TypeVar

from airflow_provider_retell._clock import CLOCK, Clock

T = TypeVar("T")

CONCURRENCY: Final = 8
"""Requests at the same time by default; Retell publishes no limit."""


class RequestRate:
    """Let requests begin at even intervals, across all threads.

    Args:
        per_second: Requests a second at most, None for no limit.
        clock: The time.
    """

    def __init__(self, per_second: float | None = None, *, clock: Clock = CLOCK) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._clock = clock
        self._next = 0.0
        self._lock = Lock()

    def wait(self) -> None:
        """Block until the next request may begin."""
        if not self._interval:
            return
        with self._lock:
            now = self._clock.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        if turn > now:
            self._clock.sleep(turn - now)


def read_details(
    read: Callable[[str], T],
    call_ids: Iterable[str],
    *,
    concurrency: int = CONCURRENCY,
    rate: RequestRate | None = None,
) -> Iterator[tuple[str, T]]:
    """Yield each call id with what ``read`` returns for it, in the order given.

    At most twice ``concurrency`` results are in memory. The first error in the order given is raised once the
    reads in progress have ended; no further one begins.

    >>> dict(read_details(str.upper, ["call_1", "call_2"]))
    {'call_1': 'CALL_1', 'call_2': 'CALL_2'}

    Args:
        read: Reads one call; it is called in threads. A hook's ``get_call`` is fit for this once the hook's client
            is open (``hook.get_conn()``).
        call_ids: The calls.
        concurrency: How many are read at the same time.
        rate: The rate of the requests, which several callers may share. Retries of failed requests do not count.
    """
    ids = iter(call_ids)
    begun: deque[tuple[str, Future[T]]] = deque()

    def at_rate(call_id: str) -> T:
        if rate is not None:
            rate.wait()
        return read(call_id)

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="retell-details")
    try:
        while True:
            for call_id in islice(ids, 2 * concurrency - len(begun)):
                begun.append((call_id, pool.submit(at_rate, call_id)))
            if not begun:
                return
            call_id, reading = begun.popleft()
            yield call_id, reading.result()
    finally:
        pool.shutdown(cancel_futures=True)
