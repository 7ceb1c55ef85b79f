"""Find the finished calls of an account, poll by poll, for as long as a watcher runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.polling.finished import Announcement, Cursor, calls_to_announce, events
from airflow_provider_retell.polling.finished_list import Listing, Want
from airflow_provider_retell.provider.cursor_store import CursorStore
from airflow_provider_retell.provider.event_triggers import SharedStreamProducer

log = logging.getLogger(__name__)

T = TypeVar("T")

KEY: Final = "retell_finished_calls"
"""The beginning of the keys of cursors."""

LONGEST_BACKOFF: Final = 300.0
"""The longest pause in seconds between two attempts while something is wrong."""

UNCONFIRMED_EVENTS: Final = 10
"""Events that may wait for Airflow to store them before the next poll."""

Poll = tuple[Mapping[str, Any] | None, Cursor | None]
"""The payload to announce, or None; with a poll's last event also the cursor that holds once it is stored."""


class FinishedCallsPoller(Protocol):
    """The part of a ``Poller`` that watchers use."""

    async def list_finished(self, want: Want, *, due: float) -> Listing:
        """Return the calls that the next round lists for a watcher."""


@dataclass
class Watcher:
    """Poll, and yield the calls to announce, continuing at the saved cursor.

    It never ends by itself and never raises, because Airflow would silently start it again once a second. A
    failure is logged once, and tried again after 1, 2, 4 ... times the interval, at most five minutes.

    Attributes:
        name: Its name in the log.
        poller: Opens the poll that all watchers of the connection share.
        store: The store of the cursor.
        filters: Arguments of ``list_calls`` that the calls must match.
        identity: The other things that its cursor depends on: first the connection, then ``wait_for``.
        done: Returns whether a call needs no more waiting, at a time in seconds since the epoch.
        since: Where to begin if there is no cursor yet, in milliseconds since the epoch; None: now.
        poll_interval: Seconds between two polls.
        settle: Seconds between an event and the saving of its cursor, if Airflow does not say when it has stored
            the event.
        clock: The time.
    """

    name: str
    poller: Callable[[], AbstractAsyncContextManager[FinishedCallsPoller]]
    store: CursorStore
    _: KW_ONLY
    filters: Mapping[str, Any]
    identity: Sequence[str]
    done: Callable[[Call, float], bool]
    since: int | None = None
    poll_interval: float = 30
    settle: float = 0
    clock: Clock = CLOCK
    _stored: list[tuple[float, Cursor]] = field(default_factory=list, init=False)
    _trouble: str = field(default="", init=False)

    @property
    def key(self) -> str:
        """The key of its cursor, which depends on the filters, so that two watchers may share an asset."""
        return _key(*self.identity, self.filters)

    @property
    def last_key(self) -> str:
        """The key of the cursor that the last watcher of its connection wrote: other accounts have other calls."""
        return _key(self.identity[0])

    async def polls(self) -> AsyncIterator[Poll]:
        """Poll for ever, and yield the events of each poll: several for more than a thousand calls."""
        cursor = await self._insist("reading its position", self._first)
        async with self.poller() as poller:
            due = self.clock.monotonic()
            while True:
                found, payloads = await self._insist("polling", partial(self._poll, poller, cursor, due))
                if found.too_many:
                    log.error(
                        "%s: more new calls without an end than are read; the others are left out.", self.name
                    )
                for payload in payloads[:-1]:
                    yield payload, None
                if payloads or found.cursor != cursor:
                    yield (payloads[-1] if payloads else None), found.cursor
                cursor = found.cursor
                due = self.clock.monotonic() + (0 if found.behind else self.poll_interval)

    async def _poll(
        self, poller: FinishedCallsPoller, cursor: Cursor, due: float
    ) -> tuple[Announcement, list[dict[str, Any]]]:
        """Return the result of one poll, and the events that announce its calls."""
        listing = await poller.list_finished(self._want(cursor), due=due)
        await self.save()
        # In a thread: a thousand new calls take a tenth of a second.
        decide = partial(calls_to_announce, filters=self.filters, done=self.done, now=self.clock.now())
        found = await asyncio.to_thread(decide, cursor, listing)
        return found, events(found.calls)

    def stored(self, cursor: Cursor) -> None:
        """Note that the events up to a cursor are stored, or will be after ``settle`` seconds."""
        self._stored.append((self.clock.monotonic() + self.settle, cursor))

    async def save(self) -> None:
        """Save the last cursor whose events are stored, if there is one; a failure is left to the next save."""
        settled = [entry for entry in self._stored if entry[0] <= self.clock.monotonic()]
        if not settled:
            return
        try:
            await self._write(settled[-1][1])
        except Exception as error:  # noqa: BLE001 (whatever Airflow raises: the next cursor says all this one does)
            log.warning("%s: the cursor could not be saved; trying again: %s", self.name, error)
        else:
            self._stored = [entry for entry in self._stored if entry not in settled]

    def _want(self, cursor: Cursor) -> Want:
        return Want(ended_from=cursor.ended_from, filters=self.filters, known=cursor.known)

    async def _write(self, cursor: Cursor) -> None:
        await self.store.set(self.key, cursor.to_json())
        await self.store.set(self.last_key, cursor.for_other_filters().to_json())

    async def _first(self) -> Cursor:
        if found := await self._read(self.key):
            return found
        if self.since is not None:
            first = Cursor(ended_from=self.since)
        else:
            first = await self._read(self.last_key) or Cursor(ended_from=round(self.clock.now() * 1000))
        # Saved before anything is announced: after a crash, "now" would be later.
        await self._write(first)
        begin = datetime.fromtimestamp(first.ended_from / 1000, UTC).isoformat(timespec="seconds")
        log.info("%s begins with the calls that ended at %s or later.", self.name, begin)
        return first

    async def _read(self, key: str) -> Cursor | None:
        stored = await self.store.get(key)
        if stored is None:
            return None
        try:
            cursor = Cursor.read(stored)
        except ValueError as error:
            log.error("%s: the value stored as %r cannot be read and is ignored: %s", self.name, key, error)  # noqa: TRY400
            return None
        if stored.get("version") != cursor.to_json()["version"]:
            log.warning(
                "%s: the cursor is of version %r: some calls may come again.", self.name, stored.get("version")
            )
        return cursor

    async def _insist(self, doing: str, act: Callable[[], Awaitable[T]]) -> T:
        """Return the result of an action, however long it takes to succeed."""
        failures = 0
        while True:
            try:
                result = await act()
            except Exception as error:  # noqa: BLE001 (whatever it is, the watcher goes on)
                if (trouble := f"{doing}: {error}") != self._trouble:
                    self._trouble = trouble
                    log.warning("%s failed while %s; trying again: %s", self.name, doing, error)
                await self.clock.asleep(
                    min(max(self.poll_interval, 1) * 2.0 ** min(failures, 10), LONGEST_BACKOFF)
                )
                failures += 1
            else:
                if self._trouble:
                    log.info("%s works again, after %d failed attempts.", self.name, failures)
                    self._trouble = ""
                return result


def _key(*about: Any) -> str:
    return f"{KEY}_{hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]}"


class WatcherProducer(SharedStreamProducer):
    """Pass a watcher's polls to Airflow, and save each cursor once Airflow has stored its event.

    See ``airflow.triggers.shared_stream``, since Airflow 3.3.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._unconfirmed = 0
        self._room = asyncio.Event()
        self._broken = False

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield the payload of each event with the cursor that holds once it is stored."""
        async for payload, cursor in self._watcher.polls():
            while self._unconfirmed >= UNCONFIRMED_EVENTS:
                self._room.clear()
                await self._room.wait()
            self._unconfirmed += 1
            yield payload, cursor

    async def advance(self, batch: Sequence[Any]) -> None:
        """Save the cursor of the last event that Airflow has stored with all events before it."""
        self._unconfirmed -= len(batch)
        self._room.set()
        for item in batch:
            # After an event that was not stored no later cursor holds; the next start announces it again.
            self._broken = self._broken or not item.outcome.is_clean
            if not self._broken and item.broker_payload is not None:
                self._watcher.stored(item.broker_payload)
        await self._watcher.save()
