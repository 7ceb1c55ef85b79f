"""The metrics of this package, reported through Airflow's own.

See https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/logging-monitoring/metrics.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

METRICS: Final = {
    "retell.calls.placed.register": "Counter. Calls that Retell has registered.",
    "retell.calls.placed.create": "Counter. Calls that Retell was asked to dial.",
    "retell.calls.found": "Counter. Calls that a request found, placed earlier under the same key or tag.",
    "retell.calls.adopted": "Counter. Calls of an earlier try that a retry continued with.",
    "retell.calls.ended.<outcome>": "Counter. Calls that a task has waited for, by their outcome.",
    "retell.wait": "Timer. How long a task waited for its calls.",
    "retell.polls": "Counter. Polls of calls that are waited for or watched; one poll may take several requests.",
    "retell.rate_limited": "Counter. Requests that Retell turned away with 429.",
    "retell.campaign.people": "Gauge. People of a campaign.",
    "retell.campaign.done": "Gauge. People with nothing left to do.",
    "retell.campaign.reached": "Gauge. People who spoke in a call.",
    "retell.campaign.lines_busy": "Gauge. Calls of a campaign that are live or being placed.",
    "retell.campaign.lines_allowed": "Gauge. The most calls that may be live at once.",
    "retell.campaign.calls_per_second": "Gauge. Calls placed per second, over the last half minute.",
    "retell.campaign.redials_due": "Gauge. People who are to be called again.",
    "retell.campaign.seconds_left": "Gauge. Seconds until the campaign must end, if it has an end.",
}
"""The metrics by name."""


def count(name: str, number: int = 1) -> None:
    """Count something."""
    _stats().incr(name, number)


def time(name: str, seconds: float) -> None:
    """Report how long something took."""
    _stats().timing(name, timedelta(seconds=seconds))


def gauge(name: str, value: float) -> None:
    """Report how much of something there is at the moment."""
    _stats().gauge(name, value)


def _stats() -> Any:
    # Imported here: a process that only parses DAGs counts nothing.
    from airflow.providers.common.compat.sdk import Stats  # noqa: PLC0415

    return Stats
