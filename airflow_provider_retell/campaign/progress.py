"""How far a campaign is: the line in the log, the metrics, and the XCom ``progress``. Counts only."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell.campaign.plan import Plan
from airflow_provider_retell.campaign.roster import Turn
from airflow_provider_retell.campaign.summary import reached


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a campaign is.

    Attributes:
        people: All people.
        done: Those with nothing left to do.
        reached: Those who spoke.
        lines_busy: Calls that are live, or being placed.
        lines_allowed: How many of them there may be.
        calls_per_second: Placed since the last time.
        redials_due: People who are to be called again.
        seconds_left: Until the campaign must end; None if there is no such time.
    """

    people: int
    done: int
    reached: int
    lines_busy: int
    lines_allowed: int
    calls_per_second: float
    redials_due: int
    seconds_left: int | None

    @classmethod
    def of(cls, plan: Plan, *, placed: int, seconds: float, now: float) -> Progress:
        """Return how far a plan is.

        Args:
            plan: The plan.
            placed: Calls placed since the last time.
            seconds: How long ago that was.
            now: Seconds since the epoch.
        """
        state = plan.state
        left = state.checks.ends_at - now
        return cls(
            people=len(state.roster.slots),
            done=len(state.roster.slots) - state.roster.open,
            reached=sum(reached(slot.calls) for slot in state.roster.callable if slot.calls),
            lines_busy=state.busy,
            lines_allowed=plan.lines,
            calls_per_second=round(placed / seconds, 2) if seconds > 0 else 0.0,
            redials_due=state.queue.count(Turn.AGAIN),
            seconds_left=None if math.isinf(left) else max(round(left), 0),
        )

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {self.seconds_left} s left"
        return (
            f"{self.done} of {self.people} people done, {self.reached} reached; {self.lines_busy} of "
            f"{self.lines_allowed} lines busy, {self.calls_per_second:g} calls a second, "
            f"{self.redials_due} to be called again{left}."
        )

    def to_xcom(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    def count(self) -> None:
        """Report it as metrics."""
        for name, value in asdict(self).items():
            if value is not None:
                metrics.gauge(f"retell.campaign.{name}", value)
