"""The result of a campaign: counts, while it runs and at its end, and the row of each person."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell.campaign.people.columns import OBJECTS, OWN_FIELDS
from airflow_provider_retell.campaign.people.person import own_columns
from airflow_provider_retell.campaign.plan.ledger import GIVEN_UP, KnownCall
from airflow_provider_retell.campaign.plan.roster import Fate, Roster, Slot, Turn
from airflow_provider_retell.policy.attempts import CONVERSATIONS

if TYPE_CHECKING:
    from airflow_provider_retell.campaign.plan.plan import Plan

_IN_XCOM: Final = frozenset(OWN_FIELDS) - OBJECTS
"""A person's own columns in an XCom, without the variables, which may hold anything."""


def last_call(slot: Slot) -> KnownCall | None:
    """Return a person's last attempt."""
    return max(slot.calls, key=lambda call: call.attempt, default=None)


def reached(calls: Sequence[KnownCall]) -> bool:
    """Return whether the person spoke in one of the calls."""
    return any(call.outcome in CONVERSATIONS for call in calls)


def summarize(roster: Roster) -> dict[str, Any]:
    """Return the result without ``paths``: counts, seconds and cents, nothing about a single person.

    ``attempts`` counts calls that were dialed; ``outcomes`` counts the outcome of each person's last call.
    """
    outcomes: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    calls: list[KnownCall] = [*roster.unowned.values()]
    spoken = not_called = 0
    for slot in roster.slots:
        calls += slot.calls
        spoken += reached(slot.calls)
        not_called += slot.fate is Fate.NOT_CALLED
        if (last := last_call(slot)) is not None and last.outcome is not None:
            outcomes[last.outcome.value] += 1
        if slot.refusal is not None:
            refused[slot.refusal.value] += 1
    ours = [call for call in calls if call.ours]
    return {
        "people": len(roster.slots),
        "reached": spoken,
        "outcomes": dict(outcomes),
        "attempts": sum(call.dialed for call in ours),
        "refused": dict(refused),
        "not_called": not_called,
        "talk_seconds": round(sum(call.talk_seconds for call in ours), 1),
        "cost_cents": round(sum(call.cost_cents for call in ours), 2),
    }


def people_rows(roster: Roster, *, for_xcom: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the row of each person, in the order given.

    Args:
        roster: The people.
        for_xcom: Whether to leave out the variables.
    """
    for slot in roster.slots:
        given = own_columns(slot.person)
        if for_xcom:
            given = {name: value for name, value in given.items() if name in _IN_XCOM}
        last = last_call(slot)
        yield {
            **given,
            "person_id": slot.person.person_id,
            "to_number": slot.person.to_number,
            "outcome": None if last is None or last.outcome is None else last.outcome.value,
            "attempts": len(slot.dialed),
            "call_id": None if last is None else last.call_id,
            "refused": None if slot.refusal is None else slot.refusal.value,
            "detail": slot.detail or (GIVEN_UP if last is not None and last.unreadable else None),
            "not_called": slot.fate is Fate.NOT_CALLED,
        }


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a campaign.

    Attributes:
        people: All people.
        done: Those with nothing left to do.
        reached: Those who spoke.
        lines_busy: Calls that are live, or being placed.
        lines_allowed: How many calls may be live at most.
        calls_per_second: Calls placed per second since the last report.
        redials_due: People who are to be called again.
        seconds_left: Seconds until the campaign must end; None if it has no end.
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
        """Return the progress of a plan.

        Args:
            plan: The plan.
            placed: Calls placed since the last report.
            seconds: Seconds since the last report.
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
        """Return the progress as a JSON-able dict."""
        return asdict(self)

    def count(self) -> None:
        """Report the progress as metrics."""
        for name, value in asdict(self).items():
            if value is not None:
                metrics.gauge(f"retell.campaign.{name}", value)
