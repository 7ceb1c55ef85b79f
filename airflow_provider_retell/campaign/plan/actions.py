"""The actions that a campaign's plan asks its driver for, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_retell.campaign.people.person import Person, Refusal
from airflow_provider_retell.campaign.plan.pacing import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place a call; ask ``Plan.may_send`` right before the request, with the connection open.

    Report exactly one result, with the methods of ``CampaignState`` that ``Sender.report`` calls.

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
    """List calls by their ids, at most a thousand in one request; report ``looked``, or nothing if that fails."""

    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Get:
    """Read calls one by one, because they are not listed; report ``got`` for each, or nothing if that fails."""

    call_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Wait, or do other work; any report may end the wait earlier.

    Attributes:
        seconds: The longest wait.
        next_call_in: Seconds until the next person may have to be called; 0 while a call waits for a line or its
            pace, None if no more calls are to come. A task that waits for longer may leave its worker.
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
        reason: The reason in one word.
        detail: The reason in a sentence.
        at: Seconds since the epoch; None if the row itself was refused, before the campaign began.
    """

    person: Person
    reason: Refusal
    detail: str
    at: float | None
