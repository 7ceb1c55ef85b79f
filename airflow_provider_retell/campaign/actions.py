"""What a campaign's plan asks its driver to do next, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_retell.campaign.pacing import Moment
from airflow_provider_retell.campaign.people import Person, Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place a call; ask ``Plan.may_send`` right before the request, with the connection open.

    Report with ``placed``, ``lost``, ``rejected``, ``not_sent`` or ``refused``, exactly one of them.

    Attributes:
        person: Whom to call.
        attempt: The number of the attempt, for its key and its tag.
        decided: When this was decided.
    """

    person: Person
    attempt: int
    decided: Moment


@dataclass(frozen=True, slots=True)
class ReadList:
    """List all calls of this task by the beginning of their tag, whatever the map index; then report ``read``."""


@dataclass(frozen=True, slots=True)
class Look:
    """List calls by their ids, at most a thousand in a request; report ``looked``, or nothing if that fails."""

    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Get:
    """Read calls one by one, because they are not listed; report ``got`` for each, or nothing if that fails."""

    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Wait, or do what else is to be done; any report may end it earlier.

    Attributes:
        seconds: At most so long.
        next_call_in: Seconds until somebody may have to be called; 0 while a call waits for a line or its pace,
            None if there is no call to come. A task that waits for longer may leave its worker.
    """

    seconds: float
    next_call_in: float | None


@dataclass(frozen=True, slots=True)
class Finish:
    """Write the results: each person has a fate.

    Attributes:
        failure: Why the task fails; None if it succeeds.
    """

    failure: str | None = None


Action: TypeAlias = Place | ReadList | Look | Get | Wait | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refusal, for the audit trail.

    Attributes:
        person: Who is not called.
        reason: In one word.
        detail: In words.
        at: Seconds since the epoch; None if the row itself said so, before anything began.
    """

    person: Person
    reason: Refusal
    detail: str
    at: float | None
