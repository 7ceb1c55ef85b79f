"""A cache of the calls of one list, which is read once for all viewers.

A reading runs in a thread. A viewer waits for it only a moment and then sees the calls known so far, so a list of
ten pages appears page by page. The calls are kept as ``Entry``, a few hundred bytes each.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.pages import Fields, Page, PageWalk, as_sent
from airflow_provider_retell.errors import RetellError, RetellStatusError
from airflow_provider_retell.page.entries import Entry, merge
from airflow_provider_retell.page.figures import newest_first
from airflow_provider_retell.page.reading import MOST_PAGES, Reach, Readings

if TYPE_CHECKING:
    from airflow_provider_retell.api.endpoints import Request
    from airflow_provider_retell.api.models import Call

log = logging.getLogger(__name__)

LONGEST_LOOK: Final = 1.5
"""The most seconds that a viewer waits for a reading."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The calls as known at one moment.

    Attributes:
        entries: The calls, as ``newest_first`` orders them.
        as_of: When the last successful reading began, in seconds since the epoch; None if there was none yet.
        complete: Whether all calls are known, and not only the first pages.
        cut: Whether there are more calls than a walk reads.
        problem: The reason why the last reading failed, None if it succeeded.
    """

    entries: tuple[Entry, ...] = ()
    as_of: float | None = None
    complete: bool = False
    cut: bool = False
    problem: str | None = None


class CallCache:
    """The cached calls of one list.

    Args:
        first: The request for the first page of the list.
        send: Sends a request once, and returns its result or raises ``RetellError``.
        executor: Runs the readings.
        clock: The clocks.
    """

    def __init__(
        self,
        first: Request[Page[Call]],
        send: Callable[[Request[Page[Fields]]], Page[Fields]],
        executor: Executor,
        *,
        clock: Clock = CLOCK,
    ) -> None:
        self._first = as_sent(first)
        self._send = send
        self._executor = executor
        self._clock = clock
        self._changed = threading.Condition()
        self._reading = False
        self._queued: Future[None] | None = None
        self._readings = Readings()
        self._entries: dict[str, Entry] = {}
        self._snapshot = Snapshot()

    def look(self, *, wait: float = LONGEST_LOOK) -> Snapshot:
        """Return the calls as known; first wait a moment for a reading that is due.

        Args:
            wait: The most seconds to wait.
        """
        with self._changed:
            live = any(entry.live for entry in self._snapshot.entries)
            reach = None if self._reading else self._readings.next(self._clock.monotonic(), live=live)
            if reach is not None:
                self._reading = True
                self._queued = self._executor.submit(self._read, reach)
            if self._reading:
                before = self._snapshot
                self._changed.wait_for(lambda: not self._reading or self._grew(before), timeout=wait)
            return self._snapshot

    def _grew(self, before: Snapshot) -> bool:
        return not before.complete and self._snapshot is not before

    def find(self, call_id: str) -> Entry | None:
        """Return a call by its id, None if it is not known."""
        with self._changed:
            return self._entries.get(call_id)

    def read_soon(self) -> None:
        """Read the list again at the next look, because something has just changed."""
        with self._changed:
            self._readings = self._readings.outdated()

    def drop(self) -> None:
        """Take a reading that has not begun out of the queue, because the cache is no longer kept."""
        if self._queued is not None:
            self._queued.cancel()

    # -- in the executor -----------------------------------------------------------------------------------

    def _read(self, reach: Reach) -> None:
        began, as_of = self._clock.monotonic(), self._clock.now()
        readings, problem = self._readings, None
        try:
            readings = self._walk(reach, began, as_of)
        except RetellError as error:
            log.warning("The page could not read the calls: %s", error)
            asked = error.retry_after if isinstance(error, RetellStatusError) else None
            readings, problem = readings.failed_at(began, asked=asked), str(error)
        except Exception:
            log.exception("The page could not read the calls.")
            readings, problem = (
                readings.failed_at(began, asked=None),
                "An error of this package; see the server's log.",
            )
        finally:
            with self._changed:
                self._readings, self._reading = readings, False
                if problem is not None:
                    self._show(self._snapshot.as_of, complete=self._snapshot.complete, problem=problem)
                self._changed.notify_all()

    def _walk(self, reach: Reach, began: float, as_of: float) -> Readings:
        walk = PageWalk(self._first)
        pages, listed = 0, set[str]()
        while (request := walk.request) is not None and pages < MOST_PAGES:
            calls = walk.take(self._send(request))
            pages += 1
            entries = [Entry.read(call) for call in calls]
            listed.update(entry.call_id for entry in entries)
            with self._changed:
                for entry in entries:
                    self._entries[entry.call_id] = merge(self._entries.get(entry.call_id), entry)
                if reach is Reach.GLANCE:
                    self._show(as_of, complete=self._snapshot.complete)
                    return self._readings.glanced(began)
                if not self._snapshot.complete and walk.request is not None:
                    self._show(as_of, complete=False)
        with self._changed:
            # A call that is not listed was deleted at Retell, or is older than the pages that were read.
            self._entries = {call_id: entry for call_id, entry in self._entries.items() if call_id in listed}
            self._show(as_of, complete=True, cut=walk.request is not None)
        return self._readings.walked(began, pages)

    def _show(
        self, as_of: float | None, *, complete: bool, cut: bool | None = None, problem: str | None = None
    ) -> None:
        """Show viewers the calls known so far; the caller holds the lock."""
        self._snapshot = Snapshot(
            entries=tuple(newest_first(self._entries.values())),
            as_of=as_of,
            complete=complete,
            cut=self._snapshot.cut if cut is None else cut,
            problem=problem,
        )
        self._changed.notify_all()
