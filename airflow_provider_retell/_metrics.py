"""What this package counts, through Airflow's own metrics.

See https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/logging-monitoring/metrics.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

METRICS: Final = {
    "retell.calls.placed.register": "Counter. Calls that Retell has registered.",
    "retell.calls.placed.create": "Counter. Calls that Retell was asked to dial.",
    "retell.calls.adopted": "Counter. Calls of an earlier try that a retry continued with.",
    "retell.calls.ended.<outcome>": "Counter. Calls that a task has waited for, by their outcome.",
    "retell.wait": "Timer. How long a task waited for its calls.",
    "retell.polls": "Counter. Polls of the calls that are waited for; one poll may take several requests.",
    "retell.rate_limited": "Counter. Requests that Retell turned away with 429.",
}
"""The metrics by name."""


def count(name: str, number: int = 1) -> None:
    """Count something."""
    _stats().incr(name, number)


def time(name: str, seconds: float) -> None:
    """Report how long something took."""
    _stats().timing(name, timedelta(seconds=seconds))


def _stats() -> Any:
    # Here, not above: what a process that only parses DAGs never counts, it need not import.
    from airflow.providers.common.compat.sdk import Stats  # noqa: PLC0415

    return Stats
