"""Call again in the same task, by the rules of ``redial``. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.outcomes import UNANSWERED
from airflow_provider_retell.rows import moment

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.policy import Redial


def next_call_at(
    rules: Sequence[Redial], calls: Sequence[Call | CallRow | None], *, over_at: float
) -> float | None:
    """Return when the rules ask for another call, in seconds since the epoch; None if they do not.

    After a call that Retell no longer knows, no other call follows: without its ending, the rules cannot count.

    Args:
        rules: ``redial`` of the task.
        calls: The calls placed under these rules so far, oldest first; None for one that Retell no longer knows.
        over_at: When the last one was over, in seconds since the epoch.
    """
    known = [call for call in calls if call is not None]
    if not rules or len(known) < len(calls):
        return None
    from airflow_provider_retell.policy import Attempt, next_redial  # noqa: PLC0415 (few tasks need policies)

    # A call that was not connected has no timestamps. Only the order counts, and the end of the last one.
    end = datetime.fromtimestamp(over_at, UTC)
    attempts = [
        Attempt(
            placed_at=end,
            outcome=call.outcome,
            call_status=call.call_status,
            disconnection_reason=call.disconnection_reason,
        )
        for call in known
    ]
    moment = next_redial(rules, attempts)
    return None if moment is None else moment.timestamp()


def end_of(call: CallRow, *, placed_at: float, now: float) -> float:
    """Return when a call was over, in seconds since the epoch; if that is not known, a time that is not earlier.

    Args:
        call: A call that is over.
        placed_at: When it was placed; when it was adopted, if that is not known.
        now: Seconds since the epoch.
    """
    if (end := moment(call.end_timestamp)) is not None:
        return min(end, now)
    return min(now, placed_at + LONGEST_RINGING) if call.call_status in UNANSWERED else now
