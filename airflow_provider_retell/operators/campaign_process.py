"""The processes in which a campaign runs, one after the other, and when the first one began."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from airflow_provider_retell.operators.campaign_bounds import due_at

if TYPE_CHECKING:
    from airflow_provider_retell.campaign.run.terms import Leave

_STORE_KEY: Final = "retell_campaign"


@dataclass(frozen=True, slots=True)
class Process:
    """One of the processes in which a campaign runs: a try has several if it is deferred.

    They are counted and not dated, because the clocks of two workers may differ by more than a deferral lasts.

    Attributes:
        try_number: The number of the try.
        number: The number of the process in the try, counted from 0; each deferral passes it on to the next.
        word: Something random, because a frozen process may be at work beside another one with the same numbers.
    """

    try_number: int
    number: int
    word: str = field(default_factory=lambda: secrets.token_hex(4))

    @classmethod
    def of(cls, context: Mapping[str, Any], memo: Mapping[str, Any]) -> Self:
        """Return this process, by the memo of the deferral before it; an empty one for the first."""
        return cls(context["ti"].try_number, int(memo.get("process", 0)))

    @property
    def token(self) -> str:
        """A word that identifies it in the names of its files, which are sorted by its numbers."""
        return f"{self.try_number}.{self.number}-{self.word}"

    def memo(self) -> dict[str, int]:
        """Return what the process after a deferral needs to know of it."""
        return {"process": self.number + 1}


def trigger_for(operator: Any, leave: Leave, memo: Mapping[str, float]) -> Any:
    """Return the trigger that waits in place of a task."""
    from airflow_provider_retell._call_triggers import RetellCallTrigger, RetellTimeTrigger  # noqa: PLC0415

    kept = {name: value for name, value in memo.items() if math.isfinite(value)}
    if not leave.call_ids:
        return RetellTimeTrigger(deadline=leave.until, memo=kept)
    return RetellCallTrigger(
        call_ids=leave.call_ids,
        retell_conn_id=operator.retell_conn_id,
        deadline=leave.until,
        poll_interval=operator.poll_interval,
        wait_for=operator.wait_for,
        analysis_timeout=operator.analysis_timeout,
        cancel_on_kill=operator.cancel_on_kill,
        memo=kept,
    )


@dataclass(frozen=True, slots=True)
class Beginning:
    """The time at which the first try of a campaign began, in seconds since the epoch.

    Attributes:
        at: The best estimate.
        at_earliest: The lower bound: no call of the campaign is older.
    """

    at: float
    at_earliest: float

    def memo(self) -> dict[str, float]:
        """Return what the process after a deferral needs to know of it."""
        return {"campaign_began": self.at, "campaign_began_at_earliest": self.at_earliest}


def first_began(context: Mapping[str, Any], memo: Mapping[str, Any], *, now: float) -> Beginning:
    """Return when the first try of this campaign began.

    =============================================  ============  =========================
    the first of these that is there               at            at the earliest
    =============================================  ============  =========================
    the task state store (Airflow 3.3 and later)   as stored     as stored
    the memo of a deferral                         as noted      as noted
    none, and it is the first try                  now           now
    none, and it is a later one                    now           when the run was due
    =============================================  ============  =========================
    """
    began = _noted(memo, "campaign_began", "campaign_began_at_earliest")
    if began is None:
        first = context["ti"].try_number == 1
        began = Beginning(now, now if first else min(now, due_at(context, now)))
    if (store := context.get("task_state_store")) is None:
        return began
    if (stored := _noted(store.get(_STORE_KEY), "began", "at_earliest")) is not None:
        return stored
    store.set(_STORE_KEY, {"began": began.at, "at_earliest": began.at_earliest})
    return began


def _noted(notes: Any, at: str, at_earliest: str) -> Beginning | None:
    if not isinstance(notes, Mapping) or not isinstance(notes.get(at), int | float):
        return None
    return Beginning(float(notes[at]), float(notes.get(at_earliest, notes[at])))
