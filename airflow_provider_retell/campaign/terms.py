"""What a task brings along to its campaign, and what it gets back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from airflow_provider_retell.campaign.summary import Progress
from airflow_provider_retell.errors import RetellError

WORTH_LEAVING: Final = 120.0
"""Seconds from which on a wait is worth leaving the worker for."""

LONGEST_LEAVE: Final = 6 * 3600.0
"""Seconds after which a task comes back to look, whatever it waits for."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a campaign's task brings along.

    Attributes:
        may_leave: Whether the task may leave its worker for a wait.
        known_until: Until when Retell certainly keeps the calls: a task without files must not leave for longer.
        ends_at: When the task must be over, in seconds since the epoch.
        killed: Returns whether the task was killed.
        paused: Reads whether nothing may be placed (the connection's kill switch).
        refresh: Reads again what may have changed: the list of those not to be called, and the history.
        lines: Returns how many calls may be live, given how many of this campaign are.
        report: Takes in how far the campaign is, every half minute.
    """

    may_leave: bool = False
    known_until: float = math.inf
    ends_at: float = math.inf
    killed: Callable[[], bool] = lambda: False
    paused: Callable[[], bool] = lambda: False
    refresh: Callable[[float], None] = lambda _now: None
    lines: Callable[[int], int] | None = None
    report: Callable[[Progress], None] = lambda _progress: None


@dataclass(frozen=True, kw_only=True)
class Leave:
    """The task may leave its worker.

    Attributes:
        call_ids: Until these calls are over,
        until: or until this time, in seconds since the epoch.
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
