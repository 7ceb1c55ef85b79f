"""Describe calls in log lines and error messages: bounded in length, without complete phone numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from airflow_provider_retell._masking import last_digits
from airflow_provider_retell.rows import cents, in_seconds

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow

MAX_IDS_IN_MESSAGE: Final = 5
"""Calls that an error message names; it counts the others."""

MAX_CALLS_IN_LOG: Final = 100
"""Calls that get a line of their own in a task's log."""


def report(calls: Sequence[CallRow]) -> Iterator[str]:
    """Yield the lines of a task's log: one for each call, then one that counts the outcomes of several calls."""
    yield from map(describe_call, calls[:MAX_CALLS_IN_LOG])
    if len(calls) != 1:
        outcomes = Counter(str(call.outcome or call.call_status) for call in calls)
        counts = ", ".join(f"{count} {word}" for word, count in outcomes.most_common()) or "none"
        yield f"{len(calls)} calls: {counts}"


def describe_call(call: CallRow) -> str:
    """Return a call in one line: id, last four digits of the number, outcome, duration and cost if known."""
    whom = f" to {digits}" if (digits := last_digits(call.to_number)) else ""
    notes = [str(note) for note in (call.outcome and call.call_status, call.disconnection_reason) if note]
    how = f"{call.outcome or call.call_status}" + f" ({', '.join(notes)})" * bool(notes)
    parts = [f"{call.call_id}{whom}: {how}"]
    if (duration := in_seconds(call.duration_ms)) is not None:
        parts.append(f"{duration:.0f} s")
    if (cost := cents(call.call_cost)) is not None:
        parts.append(f"{cost:.2f} cents")
    return ", ".join(parts)


def describe_calls(calls: Sequence[CallRow]) -> str:
    """Return the first calls as an error message names them, and the number of the others."""
    return _bounded([describe_call(call) for call in calls[:MAX_IDS_IN_MESSAGE]], len(calls), "; ")


def list_ids(call_ids: Sequence[str]) -> str:
    """Return the first call ids, and the number of the others."""
    return _bounded(call_ids[:MAX_IDS_IN_MESSAGE], len(call_ids), ", ")


def count_calls(some: int, total: int) -> str:
    """Return "2 of 3 calls"."""
    return f"{some} of {total} call{'s' * (total != 1)}"


def _bounded(named: Sequence[str], total: int, separator: str) -> str:
    left = total - len(named)
    return separator.join([*named, f"and {left} more"] if left else named)
