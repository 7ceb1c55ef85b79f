"""Read who was called how often from the results of this and other campaigns under one folder.

=========================================  ===================================================================
a file below the folder                    is
=========================================  ===================================================================
``attempts-*``, JSON Lines or Parquet      read, including the parts of running campaigns
other results of campaigns and exports     ignored
anything else                              ignored, with one warning
``attempts-*`` that cannot be read         an error, because the calls in it would not count
=========================================  ===================================================================

=========================================  ===================================================================
a row                                      counts
=========================================  ===================================================================
without ``call_id``, or of a dry run       never: nobody was called
of a call that found no line               never: no phone rang
of a call that is in another file too      once
of a person who asked never again          for ever
of any other call                          for as long as the rule looks back
=========================================  ===================================================================
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow_provider_retell._masking import mask_numbers, shown
from airflow_provider_retell.campaign.columns import absent, as_variable
from airflow_provider_retell.campaign.parts import PARTS
from airflow_provider_retell.campaign.people import Person
from airflow_provider_retell.errors import RetellError, RetellInputError
from airflow_provider_retell.files.claim import UNFINISHED
from airflow_provider_retell.files.manifest import MANIFEST
from airflow_provider_retell.files.reading import SUFFIXES, read_rows
from airflow_provider_retell.files.storage import Storage
from airflow_provider_retell.outcomes import Outcome, outcome_of
from airflow_provider_retell.policy import Attempt
from airflow_provider_retell.policy.attempts import NEVER_AGAIN
from airflow_provider_retell.policy.numbers import e164
from airflow_provider_retell.rows import DRY_RUN

log = logging.getLogger(__name__)

READ_EVERY: Final = 600.0
"""Seconds between two readings of the folder."""

_FILES_AT_ONCE: Final = 8
_LISTINGS: Final = 5
_TIMES: Final = ("placed_at", "start_timestamp", "seen_over_at", "end_timestamp")
"""When a call was placed, by the first of these that a row has."""
_FIELDS: Final = ("call_id", "to_number", "person_id", "outcome", "call_status", "disconnection_reason", *_TIMES)
_OURS: Final = ("people-", "calls-", MANIFEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """A call of the history, kept small because there may be 100,000 of them.

    Attributes:
        call_id: Retell's id, or that of the system it comes from.
        to_number: In E.164 form, None if it is not known.
        person_id: None if it is not known.
        placed_at: In seconds since the epoch.
        ended_at: In seconds since the epoch, None if it is not known.
        outcome: None if it was not over.
        reason: ``disconnection_reason``.
    """

    call_id: str
    to_number: str | None
    person_id: str | None
    placed_at: float
    ended_at: float | None
    outcome: str | None
    reason: str | None

    @property
    def asked_never_again(self) -> bool:
        """True if the person asked not to be called again."""
        return self.outcome in NEVER_AGAIN or self.reason in NEVER_AGAIN

    def attempt(self) -> Attempt:
        """Return the call as an attempt for ``policy.attempts``."""
        return Attempt(
            placed_at=datetime.fromtimestamp(self.placed_at, UTC),
            ended_at=None if self.ended_at is None else datetime.fromtimestamp(self.ended_at, UTC),
            outcome=self.outcome,
            disconnection_reason=self.reason,
        )


class History:
    """The attempts under a folder.

    Args:
        url: The folder, as Airflow's ``ObjectStoragePath`` takes it.
        memory: For how long a call counts (``AttemptLimit.memory``); people who asked never to be called again are
            always remembered.
        region: The country of numbers in a national form, for files of other systems.

    Raises:
        RetellInputError: The folder is empty or None.
        RetellError: The storage is not known.
    """

    def __init__(self, url: object, *, memory: timedelta, region: str | None = None) -> None:
        self._name = f"history={shown(str(url))}"
        if str(url or "None") == "None":  # what a template, or a task that returned nothing, leaves behind
            raise RetellInputError(f"{self._name} is no folder. Say history=False if there is none.")
        self._memory = memory.total_seconds()
        self._region = region
        self._files: dict[str, tuple[str, list[PastCall]]] = {}
        self._by_number: dict[str, list[PastCall]] = {}
        self._by_id: dict[str, list[PastCall]] = {}
        self._read_at: float | None = None
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
        """Read the files that are new or have changed, if ten minutes have passed since the last time.

        Args:
            now: Seconds since the epoch.

        Raises:
            RetellInputError: A file is damaged.
            RetellError: The storage fails.
        """
        if self._read_at is not None and 0 <= now - self._read_at < READ_EVERY:
            return
        for left in reversed(range(_LISTINGS)):
            try:
                self._read(now)
                break
            except FileNotFoundError as error:  # a campaign has replaced its parts by its results meanwhile
                if not left:
                    raise RetellError(f"{self._name}: files disappear while they are read ({error}).") from error
        self._read_at = now

    def _read(self, now: float) -> None:
        with _storage_errors(self._name):
            versions = {n: v for n, v in self._storage.versions(self._storage.root).items() if self._wanted(n)}
        if not versions:
            self._warn("nothing", "%s: no attempts-* file is there yet, so nobody counts as called before.")
        changed = [name for name, version in versions.items() if self._files.get(name, ("",))[0] != version]
        since = now - self._memory
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            found = dict(zip(changed, threads.map(lambda name: self._calls(name, since), changed), strict=True))
        kept = {name: self._files[name] for name in versions if name not in found}
        self._files = kept | {name: (versions[name], calls) for name, calls in found.items()}
        self._index(since)

    def _index(self, since: float) -> None:
        calls: dict[str, PastCall] = {}
        for _, some in self._files.values():
            for call in some:
                if call.asked_never_again or _over_at(call) >= since:
                    known = calls.get(call.call_id)
                    calls[call.call_id] = call if known is None else merge(known, call)
        self._by_number, self._by_id = {}, {}
        for call in calls.values():
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
                "foreign", "%s: %s is no file of attempts, and is not read, as others like it.", shown(name)
            )
        return False

    def _warn(self, what: str, message: str, *values: object) -> None:
        if what not in self._warned:
            self._warned.add(what)
            log.warning(message, self._name, *values)

    def _calls(self, name: str, since: float) -> list[PastCall]:
        """Return the calls in a file that count; runs in a thread."""
        calls = []
        try:
            with _storage_errors(self._name), self._storage.reading(f"{self._storage.root}/{name}") as file:
                for number, row in read_rows(file, name, columns=_FIELDS):
                    try:
                        call = read_attempt(row, region=self._region)
                    except ValueError as error:
                        raise ValueError(f"row {number}: {error}") from None
                    if call is not None and (call.asked_never_again or _over_at(call) >= since):
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


def read_attempt(row: Mapping[str, Any], *, region: str | None = None) -> PastCall | None:
    """Return the call in a row of an ``attempts-*`` file, None if it does not count.

    Args:
        row: Its times are ISO 8601 (UTC if they have no offset) or datetimes; Retell's own are milliseconds.
        region: The country of numbers in a national form.

    Raises:
        ValueError: It does not say who was called, when, or with which outcome.
    """
    call_id, outcome, reason = (_word(row.get(name)) for name in ("call_id", "outcome", "disconnection_reason"))
    if outcome is None:
        outcome = outcome_of(_word(row.get("call_status")), reason)
    if call_id is None or outcome in {DRY_RUN, Outcome.CAPACITY}:
        return None
    if outcome is not None and outcome not in set(Outcome):
        raise ValueError(f"outcome takes {', '.join(Outcome)}, not {shown(outcome)}")
    if not {"to_number", "person_id"} & row.keys():
        raise ValueError("it has neither to_number nor person_id")
    number, person_id = row.get("to_number"), _word(row.get("person_id"))
    times = {name: _seconds(name, row.get(name)) for name in _TIMES}
    placed_at = next((times[name] for name in _TIMES if times[name] is not None), None)
    if placed_at is None:
        raise ValueError(f"it has no time: none of {', '.join(_TIMES)}")
    return PastCall(
        call_id=call_id,
        to_number=None if absent(number) else e164(number, region),
        person_id=person_id,
        placed_at=placed_at,
        ended_at=times["end_timestamp"] if times["end_timestamp"] is not None else times["seen_over_at"],
        outcome=None if outcome is None else sys.intern(str(outcome)),
        reason=None if reason is None else sys.intern(reason),
    )


def merge(one: PastCall, other: PastCall) -> PastCall:
    """Return one call from two rows about it: the row that saw it over counts, with the earlier of the times."""
    first, second = sorted((one, other), key=lambda call: (not call.asked_never_again, call.outcome is None))
    return replace(
        first,
        to_number=first.to_number or second.to_number,
        person_id=first.person_id or second.person_id,
        placed_at=min(first.placed_at, second.placed_at),
    )


def _over_at(call: PastCall) -> float:
    return call.placed_at if call.ended_at is None else call.ended_at


def _word(value: Any) -> str | None:
    return None if absent(value) else as_variable(value).strip()


def _seconds(name: str, value: Any) -> float | None:
    if absent(value):
        return None
    if isinstance(value, int | float) and name.endswith("_timestamp"):
        return value / 1000
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError(f"{name} must be a time in ISO 8601, such as 2026-07-06T10:00:00+00:00")  # noqa: TRY004
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
