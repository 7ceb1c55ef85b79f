"""A call of a history, and the row of ``attempts-*`` that it is read from. Pure.

=========================================  ===================================================================
a row                                      counts
=========================================  ===================================================================
without ``call_id``, or of a dry run       never: nobody was called
of a call that found no line               never: no phone rang
of a call that is in another file too      once, by the row that saw it over
of a person who asked never again          for ever
of any other call                          for as long as the rule looks back
=========================================  ===================================================================

=========================================  ===================================================================
a time of a row                            is
=========================================  ===================================================================
text in ISO 8601, or a datetime            read, in UTC if it has no offset
a number in a column of Retell's           read as milliseconds since 1970
before 2000, or more than a day from now   an error: seconds or nanoseconds, or no time of a call
the same in ``end_timestamp``, beside      left out: Retell's own time may be odd
``seen_over_at``
anything else                              an error
=========================================  ===================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from airflow_provider_retell._masking import shown
from airflow_provider_retell.campaign.people.columns import absent, as_variable
from airflow_provider_retell.outcomes import Outcome, outcome_of
from airflow_provider_retell.policy import Attempt
from airflow_provider_retell.policy.attempts import NEVER_AGAIN
from airflow_provider_retell.policy.numbers import e164
from airflow_provider_retell.rows import DRY_RUN

_TIMES: Final = ("placed_at", "start_timestamp", "seen_over_at", "end_timestamp")
"""A call counts as placed at the first of these times that its row has."""
FIELDS: Final = ("call_id", "to_number", "person_id", "outcome", "call_status", "disconnection_reason", *_TIMES)
"""The columns that are read."""

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
LONGEST_AHEAD: Final = 24 * 3600.0
"""A call's times lie between ``EARLIEST``, in seconds since the epoch, and this many seconds from now."""


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

    @property
    def rang(self) -> bool:
        """True unless it found no line."""
        return self.outcome != Outcome.CAPACITY

    @property
    def last_at(self) -> float:
        """The end of the call if it is known, else the time of placing, in seconds since the epoch."""
        return self.placed_at if self.ended_at is None else self.ended_at

    def attempt(self) -> Attempt:
        """Return the call as an attempt for ``policy.attempts``."""
        return Attempt(
            placed_at=datetime.fromtimestamp(self.placed_at, UTC),
            ended_at=None if self.ended_at is None else datetime.fromtimestamp(self.ended_at, UTC),
            outcome=self.outcome,
            disconnection_reason=self.reason,
        )


def read_attempt(row: Mapping[str, Any], *, now: float, region: str | None = None) -> PastCall | None:
    """Return the call in a row of an ``attempts-*`` file, None if there is none.

    Args:
        row: The row. Times are ISO 8601 (UTC without an offset) or datetimes; Retell's own are milliseconds.
        now: Seconds since the epoch.
        region: The country of numbers in a national form.

    Raises:
        ValueError: The row does not say who was called, when, or with which outcome.
    """
    call_id, outcome, reason = (_word(row.get(name)) for name in ("call_id", "outcome", "disconnection_reason"))
    if outcome is None:
        outcome = outcome_of(_word(row.get("call_status")), reason)
    if call_id is None or outcome == DRY_RUN:
        return None
    if outcome is not None and outcome not in set(Outcome):
        raise ValueError(f"outcome takes {', '.join(Outcome)}, not {shown(outcome)}")
    if not {"to_number", "person_id"} & row.keys():
        raise ValueError("it has neither to_number nor person_id")
    number, person_id = row.get("to_number"), _word(row.get("person_id"))
    placed_by = next((name for name in _TIMES if not absent(row.get(name))), None)
    if placed_by is None:
        raise ValueError(f"it has no time: none of {', '.join(_TIMES)}")
    return PastCall(
        call_id=call_id,
        to_number=None if absent(number) else e164(number, region),
        person_id=person_id,
        placed_at=_seconds(placed_by, row[placed_by], now),
        ended_at=_ended_at(row, now),
        outcome=None if outcome is None else sys.intern(str(outcome)),
        reason=None if reason is None else sys.intern(reason),
    )


def merge(one: PastCall, other: PastCall) -> PastCall:
    """Return one call from two rows about it: the row that saw it over, with the earlier ``placed_at``."""
    first, second = sorted((one, other), key=lambda call: (not call.asked_never_again, call.outcome is None))
    return replace(
        first,
        to_number=first.to_number or second.to_number,
        person_id=first.person_id or second.person_id,
        placed_at=min(first.placed_at, second.placed_at),
        ended_at=second.ended_at if first.ended_at is None else first.ended_at,
    )


def _word(value: Any) -> str | None:
    return None if absent(value) else as_variable(value).strip()


def _ended_at(row: Mapping[str, Any], now: float) -> float | None:
    end, seen = row.get("end_timestamp"), row.get("seen_over_at")
    seen_over_at = None if absent(seen) else _seconds("seen_over_at", seen, now)
    if absent(end):
        return seen_over_at
    try:
        return _seconds("end_timestamp", end, now)
    except ValueError:
        if seen_over_at is None:
            raise
        return seen_over_at


def _seconds(name: str, value: Any, now: float) -> float:
    at, unit, per_second = value, " (it is read in milliseconds since 1970)", 1000
    if not (isinstance(value, int | float) and name.endswith("_timestamp")):
        try:
            moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        except ValueError:
            moment = None
        if not isinstance(moment, datetime):
            raise ValueError(f"{name} must be a time in ISO 8601, such as 2026-07-06T10:00:00+00:00")
        at, unit, per_second = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), "", 1
    if not EARLIEST * per_second <= at <= (now + LONGEST_AHEAD) * per_second:
        raise ValueError(f"{name} is {value}, when no call was placed: before 2000, or in the future{unit}")
    return float(at / per_second)
