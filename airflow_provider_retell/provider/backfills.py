"""Guard runs for past dates: a backfill places no calls unless the task allows it, and a late run logs a warning.

See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/backfill.html
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.providers.common.compat.sdk import AirflowSkipException

log = logging.getLogger(__name__)

_DAY: Final = timedelta(days=1)


def check_run(context: Mapping[str, Any], *, backfill: bool, now: float) -> None:
    """Skip the task in a backfill unless it may call there, and warn if a scheduled run is late.

    Args:
        context: Airflow's context.
        backfill: Whether the task places calls in a backfill too.
        now: Seconds since the epoch.

    Raises:
        AirflowSkipException: This is a run of a backfill, and it must not place calls.
    """
    run = context.get("dag_run")
    if is_backfill(run) and not backfill:
        raise AirflowSkipException(
            "Not called: this run belongs to a backfill, and people would be called today about the past. "
            "With backfill=True the task calls in backfills too."
        )
    if _run_type(run) == "scheduled":
        _warn_if_late(run, context.get("dag"), now)


def is_backfill(run: Any, *, run_id: str = "") -> bool:
    """Return whether a run is one of a backfill.

    Args:
        run: Airflow's, as an object or as JSON; None if only its id is known.
        run_id: Its id, which begins with the type of the run.
    """
    return _run_type(run) == "backfill" or (run is None and run_id.startswith("backfill__"))


def _run_type(run: Any) -> str:
    kind = run.get("run_type") if isinstance(run, Mapping) else getattr(run, "run_type", None)
    return str(getattr(kind, "value", kind))


def _warn_if_late(run: Any, dag: Any, now: float) -> None:
    due = getattr(run, "run_after", None) or getattr(run, "data_interval_end", None)
    if due is None:
        return
    late = datetime.fromtimestamp(now, UTC) - due
    period = _period(run, dag, due) or _DAY
    if late >= period:
        log.warning(
            "This run is %d intervals of its schedule late: it was due at %s. Either the DAG was paused, or it "
            "catches up; with catchup=False only the latest run is made. People are called about that time now.",
            late // period,
            f"{due:%Y-%m-%d %H:%M %Z}".strip(),
        )


def _period(run: Any, dag: Any, due: datetime) -> timedelta | None:
    """Return how long after this run the next one is due, None if that cannot be found out."""
    start, end = (getattr(run, f"data_interval_{name}", None) for name in ("start", "end"))
    if start is not None and end is not None and end > start:
        return timedelta(seconds=(end - start).total_seconds())
    schedule = getattr(dag, "schedule", getattr(dag, "schedule_interval", None))  # so called on Airflow 2
    if isinstance(schedule, timedelta):
        return schedule or None
    timetable = getattr(dag, "timetable", None)
    expression = schedule if isinstance(schedule, str) else getattr(timetable, "expression", None)
    if isinstance(expression, str):
        with suppress(ImportError, ValueError):
            # Airflow uses it too.
            from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415 (few runs are late)

            after: datetime = croniter(expression, due).get_next(datetime)
            return timedelta(seconds=(after - due).total_seconds())
    return None
