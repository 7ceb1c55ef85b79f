"""What a campaign has come to: the small result, and the row of each person. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from airflow_provider_retell.campaign.columns import OBJECTS, OWN_FIELDS
from airflow_provider_retell.campaign.ledger import KnownCall
from airflow_provider_retell.campaign.people import own_columns
from airflow_provider_retell.campaign.roster import Fate, Roster, Slot
from airflow_provider_retell.policy.attempts import CONVERSATIONS

_IN_XCOM: Final = frozenset(OWN_FIELDS) - OBJECTS
"""A person's own columns in an XCom: not the variables, in which anything may stand."""


def last_call(slot: Slot) -> KnownCall | None:
    """Return a person's last attempt."""
    return max(slot.calls, key=lambda call: call.attempt, default=None)


def reached(calls: Sequence[KnownCall]) -> bool:
    """Return whether the person spoke in one of the calls."""
    return any(call.outcome in CONVERSATIONS for call in calls)


def summarize(roster: Roster) -> dict[str, Any]:
    """Return the result without ``paths``: counts, seconds and cents, nothing about a person.

    ``attempts`` are calls that were dialed; ``outcomes`` are those of each person's last call.
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
            "detail": slot.detail or None,
            "not_called": slot.fate is Fate.NOT_CALLED,
        }
