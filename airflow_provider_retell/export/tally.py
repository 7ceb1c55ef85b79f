"""The counts of an export. Pure: no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Self

_NUMBERS: Final = (int, float)


@dataclass
class Tally:
    """Counts of the calls written so far.

    Attributes:
        calls: All calls.
        unfinished: Calls that were not over.
        undated: Calls without a start.
        deleted: Calls that were listed, but deleted before they were read.
        unreadable: Items of the list that were not calls.
        recordings: Recordings that were saved.
        outcomes: Calls that were over, by outcome.
        talk_ms: Milliseconds of talk.
        cost_cents: Cents, exactly.
        first: The first start, in milliseconds since the epoch.
        last: The last start.
    """

    calls: int = 0
    unfinished: int = 0
    undated: int = 0
    deleted: int = 0
    unreadable: int = 0
    recordings: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    talk_ms: int = 0
    cost_cents: Decimal = Decimal(0)
    first: int | None = None
    last: int | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row."""
        self.calls += 1
        if row.get("outcome") is None:
            self.unfinished += 1
        else:
            self.outcomes[str(row["outcome"])] += 1
        if _is_number(row.get("duration_ms")):
            self.talk_ms += int(row["duration_ms"])
        cost = row.get("call_cost")
        if isinstance(cost, dict) and _is_number(cost.get("combined_cost")):
            self.cost_cents += Decimal(str(cost["combined_cost"]))
        start = row.get("start_timestamp")
        if start is None:
            self.undated += 1
        elif _is_number(start):
            if self.first is None or start < self.first:
                self.first = start
            if self.last is None or start > self.last:
                self.last = start

    def summary(self) -> dict[str, Any]:
        """Return the counts for the task's result: small, and without personal data."""
        return {
            "calls": self.calls,
            "outcomes": dict(self.outcomes.most_common()),
            "talk_seconds": self.talk_ms / 1000,
            "cost_cents": float(round(self.cost_cents, 4)),
            "first_start": _iso(self.first),
            "last_start": _iso(self.last),
            "unfinished": self.unfinished,
            "undated": self.undated,
            "deleted": self.deleted,
            "unreadable": self.unreadable,
            "recordings": self.recordings,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON that ``from_json`` reads."""
        return {**vars(self), "outcomes": dict(self.outcomes), "cost_cents": str(self.cost_cents)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the counts that ``to_json`` wrote."""
        return cls(
            **{
                **value,
                "outcomes": Counter(value["outcomes"]),
                "cost_cents": Decimal(value["cost_cents"]),
            }
        )


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS  # as JSON has them, without booleans


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
