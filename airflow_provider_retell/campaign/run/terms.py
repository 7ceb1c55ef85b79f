"""The limits and callbacks that an operator gives a campaign, and how the campaign ends or leaves its worker."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from airflow_provider_retell.campaign.plan.calls_in_progress import LONGEST_CALL
from airflow_provider_retell.campaign.results.summary import Progress
from airflow_provider_retell.errors import RetellError

WORTH_LEAVING: Final = 120.0
"""The shortest wait in seconds for which a task leaves its worker."""

LONGEST_LEAVE: Final = LONGEST_CALL + 60
"""Seconds after which a task returns to its worker in any case: the calls that it left are over, or given up."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The terms that a task passes to its campaign.

    Attributes:
        may_leave: Whether the task may leave its worker during a wait.
        known_until: The time until which Retell certainly keeps the calls; a task without files is back by then.
        ends_at: When the task must be over, in seconds since the epoch.
        killed: Returns whether the task was killed.
        calls_after_kill: Returns what becomes of the live calls after a kill, in words, once it is known.
        connection_paused: Looks up whether the connection is paused, so that nothing may be placed.
        campaign_paused: Looks up whether the campaign is paused; None if that is not known. Raises an error if it
            has not been known for too long.
        refresh: Reads again what may have changed: the list of those not to be called, and the history.
        lines: Returns how many calls may be live, given how many of this campaign's are.
        report: Receives the progress every half minute.
    """

    may_leave: bool = False
    known_until: float = math.inf
    ends_at: float = math.inf
    killed: Callable[[], bool] = lambda: False
    calls_after_kill: Callable[[], str] = lambda: "Its live calls go on"
    connection_paused: Callable[[], bool] = lambda: False
    campaign_paused: Callable[[], bool | None] = lambda: False
    refresh: Callable[[float], None] = lambda _now: None
    lines: Callable[[int], int] | None = None
    report: Callable[[Progress], None] = lambda _progress: None


@dataclass(frozen=True, kw_only=True)
class Leave:
    """The task may leave its worker.

    Attributes:
        call_ids: The calls to wait for.
        until: When to return at the latest, in seconds since the epoch.
        placed_at: When the last call was placed.
    """

    call_ids: tuple[str, ...]
    until: float
    placed_at: float


@dataclass(frozen=True, kw_only=True)
class End:
    """Each person has a fate.

    Attributes:
        failure: Why the task fails, None if it does not.
        error: The error behind it, if there is one.
    """

    failure: str | None
    error: RetellError | None = None
