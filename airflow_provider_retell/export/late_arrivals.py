"""Find the calls of an interval that are not finished, so that the export can wait for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing

from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.concurrency import RequestRate
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.pages import Fields, Page
from airflow_provider_retell.calls.watch import Goal
from airflow_provider_retell.export.listing import Selection, pages

log = logging.getLogger(__name__)

ANALYSIS_TIMEOUT = 600.0
"""Seconds after the end of a call in which its analysis may come."""


def find_late_arrivals(
    send: Callable[[Request[Page[Fields]]], Page[Fields]],
    selection: Selection,
    *,
    goal: Goal,
    now: float,
    window: float,
    rate: RequestRate | None = None,
) -> list[str]:
    """Return the ids of the calls at the end of an interval that are not over, or not analyzed yet.

    For example, the interval ends at midnight and the window is two hours. A call that began at 23:50 and is still
    live at 00:10 is returned. At 00:40 it is over and analyzed, so it is not. At 02:00 nothing is returned and no
    request is sent, even if calls are still live.

    A call that cannot be read, because a value is of another type, is left out with a warning.

    Args:
        send: Sends a request.
        selection: The calls of the export.
        goal: How far each call must have come.
        now: Seconds since the epoch.
        window: How long to wait for calls after the end of the interval, in seconds. Only calls that started
            within as many seconds before the end are read, because a call is not expected to last longer.
        rate: When the next request may begin.
    """
    # Imported here: models are not needed to parse a DAG.
    from airflow_provider_retell.api.call_rows import CallRow  # noqa: PLC0415

    if now >= selection.end / 1000 + window:
        return []
    first = selection.dated(since=selection.end - round(window * 1000))
    found = []
    with closing(pages(send, first, rate=rate)) as stream:
        for page in stream:
            for fields in page.calls:
                try:
                    call = CallRow.read(fields)
                except ValueError as error:  # the export writes it as Retell sent it
                    log.warning("%s is not waited for: it is %s.", shown(fields["call_id"]), error)
                    continue
                if not goal.reached(call, now=now, seen_over=now):
                    found.append(call.call_id)
    return found
