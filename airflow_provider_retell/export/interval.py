"""The interval of an export. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError


def read_interval(start: Any, end: Any, context: Mapping[str, Any], *, now: float) -> tuple[int, int]:
    """Return the given start and end, or those of the run's data interval.

    Both are milliseconds since the epoch: the first moment of the interval, and the first one after it.

    Args:
        start: A datetime, or text in ISO 8601; UTC if it has no time zone.
        end: The same.
        context: Airflow's context of the running task.
        now: Seconds since the epoch.

    Raises:
        RetellInputError: There is no interval, it is empty, or it is not over yet.
    """
    first = _moment("start", context.get("data_interval_start") if start is None else start)
    after = _moment("end", context.get("data_interval_end") if end is None else end)
    if first == after and start is None and end is None:
        raise RetellInputError(
            f"The data interval of this run is empty (it begins and ends at {first.isoformat()}), as with the "
            "cron schedules of Airflow 3. Give start and end, or give the DAG a CronDataIntervalTimetable. "
            "Nothing was sent."
        )
    if first >= after:
        raise RetellInputError(
            f"end must be later than start, got start {first.isoformat()} and end {after.isoformat()}. "
            "Nothing was sent."
        )
    if after.timestamp() > now:
        raise RetellInputError(
            f"end must not be in the future, got {after.isoformat()}: calls until then are still to come. "
            "Nothing was sent."
        )
    return round(first.timestamp() * 1000), round(after.timestamp() * 1000)


def _moment(argument: str, value: Any) -> datetime:
    if value is None:
        raise RetellInputError(
            f"{argument} must be given: this run has no data interval. Nothing was sent.",
        )
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise RetellInputError(
            f"{argument} must be a datetime, or one as text such as 2026-01-31T00:00+00:00, got {shown(value)}. "
            "Nothing was sent."
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
