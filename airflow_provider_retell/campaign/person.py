"""A person of a campaign, and why one may not be called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """Why a person is not called, whatever time it is."""

    DO_NOT_CALL = "do_not_call"
    OUTSIDE_HOURS = "outside_hours"
    """The hours never opened before ``until``, or the person's ``not_after``."""
    ATTEMPT_LIMIT = "attempt_limit"
    NOT_ELIGIBLE = "not_eligible"
    NO_TIME_ZONE = "no_time_zone"
    BAD_NUMBER = "bad_number"
    BAD_REQUEST = "bad_request"
    """One of the person's own fields cannot be sent, or Retell refuses it."""
    DUPLICATE = "duplicate"
    """An earlier row has the same number, or the same id."""
    CHANGED = "changed"
    """This id was called at another number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One row of the people.

    Attributes:
        row: Where it stands, from 0 on.
        to_number: In E.164 form; what was given if ``refused``.
        person_id: The number if none was given.
        time_zone: The person's own, None to take those of the number.
        not_before: Seconds since the epoch.
        not_after: Seconds since the epoch.
        given: The row as JSON, for the request and for the results: compact, because there may be 100,000.
        refused: Why this row cannot be called, as far as the row itself tells.
        detail: The reason in words.
    """

    row: int
    to_number: str
    person_id: str
    time_zone: str | None = None
    not_before: float | None = None
    not_after: float | None = None
    given: bytes = b"{}"
    refused: Refusal | None = None
    detail: str = ""
