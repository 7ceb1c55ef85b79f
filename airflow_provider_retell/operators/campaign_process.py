"""The processes in which a campaign runs, one after the other, and when the first one began."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from airflow_provider_retell.operators.campaign_bounds import due_at
from airflow_provider_retell.operators.this_try import try_began

if TYPE_CHECKING:
    from airflow_provider_retell.campaign.run.terms import Leave
    from airflow_provider_retell.provider.deferral import WakeEvent

_STORE_KEY: Final = "retell_campaign"


@dataclass(frozen=True, slots=True)
class Process:
    """One of the processes in which a campaign runs: a try has several if it is deferred.

    They are counted and not dated, because the clocks of two workers may differ by more than a deferral lasts. But
    an event of Airflow's own brings no memo, and so no count: it goes on with the time, more than any count.

    ==================================  ==========  ============  ==========
    the process                         number      began         placed_at
    ==================================  ==========  ============  ==========
    begins a try                        0           as Airflow    never
                                                    says
    follows an event with a memo        as noted    as noted      as noted
    follows an event without one        the time    as Airflow    now
                                        in seconds  says
    ==================================  ==========  ============  ==========

    Attributes:
        try_number: The number of the try.
        number: The number of the process in the try; each deferral passes it on to the next.
        word: Something random, because a frozen process may be at work beside another one with the same numbers.
        began: When the try began, in seconds since the epoch.
        placed_at: When the last call of the try may have been placed; ``-inf`` if none was.
        resumes: Whether it continues a deferred try.
        campaign_began: When the first try of the campaign began, if the memo says so.
    """

    try_number: int
    number: int
    word: str = field(default_factory=lambda: secrets.token_hex(4))
    began: float = 0.0
    placed_at: float = -math.inf
    resumes: bool = False
    campaign_began: Beginning | None = None

    @classmethod
    def of(cls, context: Mapping[str, Any], event: WakeEvent | None, *, now: float) -> Self:
        """Return this process, by the event that woke it; None for the first of a try."""
        memo: Mapping[str, Any] = {} if event is None else event.memo
        forgotten = event is not None and not memo
        return cls(
            try_number=context["ti"].try_number,
            number=int(memo.get("process", now if forgotten else 0)),
            began=float(memo["began"]) if "began" in memo else try_began(context, now=now),
            placed_at=float(memo.get("placed_at", now if forgotten else -math.inf)),
            resumes=event is not None,
            campaign_began=_noted(memo, "campaign_began", "campaign_began_at_earliest"),
        )

    @property
    def token(self) -> str:
        """A word that identifies it in the names of its files, which are sorted by its numbers."""
        return f"{self.try_number}.{self.number}-{self.word}"

    @property
    def continues(self) -> bool:
        """True if an earlier process may have placed calls."""
        return self.resumes or self.try_number > 1

    def memo(self, placed_at: float) -> dict[str, float]:
        """Return what the process after a deferral needs to know of it, with the time of the last call."""
        return {"process": self.number + 1, "began": self.began, "placed_at": placed_at}


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


def first_began(context: Mapping[str, Any], process: Process, *, now: float) -> Beginning:
    """Return when the first try of this campaign began.

    =============================================  ============  =========================
    the first of these that is there               at            at the earliest
    =============================================  ============  =========================
    the task state store (Airflow 3.3 and later)   as stored     as stored
    the memo of a deferral                         as noted      as noted
    none, and the process is the first of all      now           now
    none, in the first try after an event of       when the try  when the run was due
    Airflow's own, which brings no memo            began
    none, and it is a later try                    now           when the run was due
    =============================================  ============  =========================
    """
    if (began := process.campaign_began) is None:
        at = process.began if process.try_number == 1 and process.resumes else now
        began = Beginning(at, min(at, due_at(context, now)) if process.continues else at)
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
