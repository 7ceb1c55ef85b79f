"""Read who was called how often from the results of this and other campaigns under one folder.

=========================================  ===================================================================
a file below the folder                    is
=========================================  ===================================================================
``attempts-*``, JSON Lines or Parquet      read, including the parts of running campaigns
other results of campaigns and exports     ignored
anything else                              ignored, with one warning
``attempts-*`` that cannot be read         an error, because the calls in it would not count
=========================================  ===================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from operator import attrgetter
from typing import Final

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell._masking import mask_numbers, shown
from airflow_provider_retell.campaign.people.person import Person
from airflow_provider_retell.campaign.results.parts import PARTS
from airflow_provider_retell.campaign.results.past_calls import FIELDS, PastCall, merge, read_attempt
from airflow_provider_retell.errors import RetellError, RetellInputError
from airflow_provider_retell.files.claim import UNFINISHED
from airflow_provider_retell.files.manifest import MANIFEST
from airflow_provider_retell.files.reading import SUFFIXES, read_rows
from airflow_provider_retell.files.storage import Storage, Version
from airflow_provider_retell.policy import Attempt

log = logging.getLogger(__name__)

READ_EVERY: Final = 10.0
"""Seconds between two readings of the folder; between them, two campaigns may miss each other's latest calls."""

READ_EVERY_AT_MOST: Final = 60.0
"""The most seconds between two readings; up to this, slow readings take a twentieth of the time."""

_FILES_AT_ONCE: Final = 8
_LISTINGS: Final = 5
_OURS: Final = ("people-", "calls-", MANIFEST)


class History:
    """The attempts under a folder.

    Args:
        url: The folder, as Airflow's ``ObjectStoragePath`` takes it.
        memory: For how long a call counts (``AttemptLimit.memory``); people who asked never to be called again are
            always remembered.
        region: The country of numbers in a national form, for files of other systems.
        clock: Measures how long a reading takes.

    Raises:
        RetellInputError: The name of the folder is empty or None.
        RetellError: The storage is not known.
    """

    def __init__(self, url: object, *, memory: timedelta, region: str | None = None, clock: Clock = CLOCK) -> None:
        self._name = f"history={shown(str(url))}"
        if str(url or "None") == "None":  # what a template, or a task that returned nothing, leaves behind
            raise RetellInputError(f"{self._name} is not a folder. Give history=False if there is none.")
        self._memory = memory.total_seconds()
        self._region = region
        self._files: dict[str, tuple[Version, list[PastCall]]] = {}
        self._by_number: dict[str, list[PastCall]] = {}
        self._by_id: dict[str, list[PastCall]] = {}
        self._read_at: float | None = None
        self._read_every = READ_EVERY
        self._clock = clock
        self._warned: set[str] = set()
        try:
            self._storage = Storage(str(url).rstrip("/"))
        except Exception as error:
            raise RetellError(f"{self._name} cannot be opened ({type(error).__name__}: {error}).") from error

    def of(self, person: Person) -> Mapping[str, Attempt]:
        """Return the calls to a person, by id or by number, as a mapping from their call ids."""
        calls = (*self._by_number.get(person.to_number, ()), *self._by_id.get(person.person_id, ()))
        return {call.call_id: call.attempt() for call in calls}

    def refresh(self, now: float) -> None:
        """Read the files that are new or have changed, unless the folder was read a moment ago.

        Args:
            now: Seconds since the epoch.

        Raises:
            RetellInputError: A file is damaged.
            RetellError: The storage fails.
        """
        if self._read_at is not None and 0 <= now - self._read_at < self._read_every:
            return
        began = self._clock.monotonic()
        for left in reversed(range(_LISTINGS)):
            try:
                self._read(now)
                break
            except FileNotFoundError as error:  # a campaign has replaced its parts by its results meanwhile
                if not left:
                    raise RetellError(
                        f"{self._name}: files disappear while they are read ({error}). A retry reads them again."
                    ) from error
        self._read_at = now
        took = self._clock.monotonic() - began
        self._read_every = min(max(READ_EVERY, 20 * took), READ_EVERY_AT_MOST)

    def _read(self, now: float) -> None:
        with _storage_errors(self._name):
            versions = {n: v for n, v in self._storage.versions(self._storage.root).items() if self._wanted(n)}
        if not versions:
            self._warn("nothing", "%s holds no attempts-* file yet, so nobody counts as called before.")
        known = {name: version for name, (version, _) in self._files.items()}
        changed = [name for name, version in versions.items() if not version.is_certainly(known.get(name))]
        since = now - self._memory
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            found = dict(
                zip(changed, threads.map(lambda name: self._calls(name, since, now), changed), strict=True)
            )
        kept = {name: self._files[name] for name in versions if name not in found}
        self._files = kept | {name: (versions[name], calls) for name, calls in found.items()}
        self._index(since)

    def _index(self, since: float) -> None:
        calls: dict[str, PastCall] = {}
        for _, some in self._files.values():
            for call in some:
                if call.asked_never_again or call.last_at >= since:
                    known = calls.get(call.call_id)
                    calls[call.call_id] = call if known is None else merge(known, call)
        self._by_number, self._by_id = {}, {}
        for call in filter(attrgetter("rang"), calls.values()):
            if call.to_number is not None:
                self._by_number.setdefault(call.to_number, []).append(call)
            if call.person_id is not None and call.person_id != call.to_number:
                self._by_id.setdefault(call.person_id, []).append(call)

    # -- files -------------------------------------------------------------------------------------------------

    def _wanted(self, name: str) -> bool:
        *folders, base = name.split("/")
        if UNFINISHED in folders:
            return False
        if base.startswith("attempts-") and base.endswith(SUFFIXES):
            return True
        if not base.startswith(_OURS) and PARTS not in folders:
            self._warn(
                "foreign", "%s: %s is not an attempts-* file. It is ignored, as are others like it.", shown(name)
            )
        return False

    def _warn(self, what: str, message: str, *values: object) -> None:
        if what not in self._warned:
            self._warned.add(what)
            log.warning(message, self._name, *values)

    def _calls(self, name: str, since: float, now: float) -> list[PastCall]:
        """Return the calls in a file that count. Called in a thread."""
        calls = []
        try:
            with _storage_errors(self._name), self._storage.reading(f"{self._storage.root}/{name}") as file:
                for number, row in read_rows(file, name, columns=FIELDS):
                    try:
                        call = read_attempt(row, now=now, region=self._region)
                    except ValueError as error:
                        raise ValueError(f"row {number}: {error}") from None
                    if call is not None and (call.asked_never_again or call.last_at >= since):
                        calls.append(call)
        except ValueError as error:
            raise RetellInputError(
                f"{self._name}: {name} cannot be read: {mask_numbers(str(error))}. Without the calls in "
                "it people might be called too often, so nobody is called. Repair the file, or move it out of "
                "this folder."
            ) from None
        return calls


@contextmanager
def _storage_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (RetellError, ValueError, FileNotFoundError):
        raise
    except Exception as error:
        raise RetellError(
            f"{name} cannot be read ({type(error).__name__}: {mask_numbers(str(error))})."
        ) from error
