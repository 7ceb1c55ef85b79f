"""A call as the page shows it: small, and without a complete number. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from airflow_provider_retell._masking import last_digits, mask_numbers
from airflow_provider_retell.api.pages import Fields
from airflow_provider_retell.calls.intent import PERSON_DIGITS, TAG, digest
from airflow_provider_retell.outcomes import Outcome, outcome_of
from airflow_provider_retell.rows import cents, in_seconds

_TAG: Final = re.compile(
    rf"[0-9a-f]{{16}}\.([0-9a-f]{{8}})\.([0-9a-f]{{6}})\.([0-9a-f]{{{PERSON_DIGITS}}})\.(\d{{4,}})\.(\d{{4,}})"
)
"""Run, task, map index, person, generation, ordinal."""

_NO_PERSON: Final = "0" * PERSON_DIGITS
_NUMBER_DIGITS: Final = PERSON_DIGITS // 2
"""The digits of a person that stand for the number; the id may change, so it does not count."""

_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call, kept small because there may be 50,000 of them.

    Attributes:
        call_id: Retell's id of the call.
        task: The digest of the task's id in the tag; empty for a call without a tag of a task.
        map_index: -1 for a task that is not mapped.
        person: The digest of the number that a campaign calls; empty if the task places one call. It does not
            leave the server: phone numbers are so short that one can be recovered from its digest.
        attempt: The number of the attempt, counted from 1.
        status: ``call_status``.
        reason: ``disconnection_reason``.
        outcome: None while the call is live.
        number: The last digits of the other side's number, such as "…0100"; empty if there is no number.
        agent: The agent's name, or its id.
        started_at: Seconds since the epoch; None if the call was not answered, or Retell does not say.
        ended_at: The same for the end of the call.
        talk_seconds: How long it was connected.
        cost_cents: Its cost so far.
    """

    call_id: str
    task: str = ""
    map_index: int = -1
    person: str = ""
    attempt: int = 1
    status: str = ""
    reason: str = ""
    outcome: Outcome | None = None
    number: str = ""
    agent: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    talk_seconds: float = 0.0
    cost_cents: float = 0.0

    @property
    def live(self) -> bool:
        """True if the call may ring or be in progress."""
        return self.outcome is None

    @property
    def word(self) -> str:
        """The outcome, or ``live``."""
        return "live" if self.outcome is None else self.outcome.value

    @property
    def person_key(self) -> tuple[str, int, str]:
        """The person called, as far as tags distinguish people."""
        return self.task, -1 if self.person else self.map_index, self.person

    @property
    def at(self) -> float:
        """The time of the call as far as it is known, otherwise 0."""
        return self.started_at or self.ended_at or 0.0

    @classmethod
    def read(cls, call: Fields) -> Entry:
        """Return the entry of a call as Retell lists it."""
        metadata, status, reason = (call.get(name) for name in ("metadata", "call_status", "disconnection_reason"))
        status, reason = (given if isinstance(given, str) else None for given in (status, reason))
        tag = _TAG.fullmatch(str(metadata.get(TAG, ""))) if isinstance(metadata, Mapping) else None
        task, index, person, _, number = tag.groups() if tag else ("", "0", _NO_PERSON, "0", "0")
        return cls(
            call_id=str(call["call_id"]),
            task=sys.intern(task),
            map_index=int(index, 16) - 1,
            person="" if person == _NO_PERSON else sys.intern(person[:_NUMBER_DIGITS]),
            # A campaign counts from 1, a task that places one call from 0.
            attempt=int(number) + (person == _NO_PERSON),
            status=sys.intern(status or ""),
            reason=sys.intern(reason or ""),
            outcome=outcome_of(status, reason),
            number=_last_digits(call),
            agent=sys.intern(
                mask_numbers(str(call.get("agent_name") or call.get("agent_id") or ""))[:_LONGEST_NAME]
            ),
            started_at=in_seconds(call.get("start_timestamp")),
            ended_at=in_seconds(call.get("end_timestamp")),
            talk_seconds=in_seconds(call.get("duration_ms")) or 0.0,
            cost_cents=cents(call.get("call_cost")) or 0.0,
        )


def merge(known: Entry | None, seen: Entry) -> Entry:
    """Return the newer of two entries of a call, unless it would bring an ended call back to life."""
    return known if known is not None and seen.live and not known.live else seen


def task_digest(task_id: str) -> str:
    """Return the digest of a task's id in tags.

    >>> task_digest("call")
    '26d25f5a'
    """
    return digest(task_id, length=8)


def _last_digits(call: Fields) -> str:
    number = call.get("from_number" if call.get("direction") == "inbound" else "to_number")
    return last_digits(number) if isinstance(number, str) else ""
