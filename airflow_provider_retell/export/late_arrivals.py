"""Which calls of an interval have yet to settle: an export waits for them, so that it need not be repeated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from airflow_provider_retell.api.concurrency import RequestRate
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.calls.watch import Goal
from airflow_provider_retell.export.listing import RawPage, Selection, pages

ANALYSIS_TIMEOUT = 600.0
"""Seconds after its end in which a call may get its analysis."""


def unsettled(
    send: Callable[[Request[RawPage]], RawPage],
    selection: Selection,
    *,
    now: float,
    late_arrivals: float,
    pace: RequestRate | None = None,
) -> list[str]:
    """Return the ids of the calls that are not over, or not analyzed yet, at the edge of an interval.

    Worked example: the interval ends at midnight, and calls may arrive two hours late. A call of 23:50 is still
    going on at 00:10: it is returned. At 00:40 it is over and analyzed: it is not. At 02:00 nothing is returned,
    and nothing is sent, whatever still goes on.

    Args:
        send: Sends a request.
        selection: Which calls.
        now: Seconds since the epoch.
        late_arrivals: How long after the end of the interval a call is waited for, in seconds: so long a call may
            last, and only calls that began in so many seconds before the end are looked at.
        pace: When the next request may begin.
    """
    # Here, not above: a DAG that is parsed needs no model.
    from airflow_provider_retell.api.models import Call  # noqa: PLC0415

    if now >= selection.end / 1000 + late_arrivals:
        return []
    goal = Goal(wait_for="analyzed", analysis_timeout=ANALYSIS_TIMEOUT)
    first = selection.dated(since=selection.end - round(late_arrivals * 1000))
    found = []
    with closing(pages(send, first, pace=pace)) as stream:
        for page in stream:
            calls = [Call.model_validate(call) for call in page.calls]
            found += [call.call_id for call in calls if not goal.reached(call, now=now, seen_over=now)]
    return found
