"""Test runs for past dates: a backfill places no call, and a late run says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException
from airflow.utils.types import DagRunType
from conftest import TaskInstance, place

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.provider.backfills import check_run
from airflow_provider_retell.simulator import Simulator

DUE = datetime(2026, 7, 6, 9, tzinfo=UTC)


def run(kind: Any = DagRunType.SCHEDULED, *, start: datetime = DUE, end: datetime = DUE) -> SimpleNamespace:
    """Return a DAG run as Airflow 3 shows it."""
    return SimpleNamespace(run_type=kind, run_after=end, data_interval_start=start, data_interval_end=end)


@pytest.mark.parametrize("kind", [*DagRunType, "backfill", None])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_backfill_places_nothing(
    endpoint: str, connect: object, simulator: Simulator, kind: Any, dry_run: bool
) -> None:
    """It is skipped, and says why; every other run calls. A dry run shows the same."""
    context = TaskInstance().context(dag_run=run(kind))
    task = place(endpoint, dry_run=dry_run)
    if kind == "backfill":
        with pytest.raises(AirflowSkipException, match=r"belongs to a backfill.*backfill=True"):
            task.execute(context)
    else:
        task.execute(context)
    assert len(simulator.calls) == (kind != "backfill" and not dry_run)


def test_a_backfill_may_be_wanted(endpoint: str, connect: object, simulator: Simulator) -> None:
    """``backfill=True`` calls."""
    place(endpoint, backfill=True).execute(TaskInstance().context(dag_run=run(DagRunType.BACKFILL_JOB)))
    assert len(simulator.calls) == 1


@pytest.mark.parametrize("value", ["True", None, 1])
def test_a_switch_is_no_text(endpoint: str, value: Any) -> None:
    """Text would count as true whatever it says."""
    with pytest.raises(RetellInputError, match="backfill must be True or False"):
        place(endpoint, backfill=value)


@pytest.mark.parametrize(
    ("schedule", "interval", "late", "intervals"),
    [
        ("@daily", timedelta(days=1), timedelta(hours=23), 0),
        ("@daily", timedelta(days=1), timedelta(hours=24), 1),
        ("@daily", timedelta(days=1), timedelta(days=3, hours=5), 3),
        ("0 9 * * *", timedelta(0), timedelta(hours=23), 0),
        ("0 9 * * *", timedelta(0), timedelta(days=7), 7),
        ("@hourly", timedelta(0), timedelta(hours=5), 5),
        ("0 9 * * mon", timedelta(0), timedelta(days=8), 1),
        (timedelta(hours=2), timedelta(0), timedelta(hours=5), 2),
        (None, timedelta(0), timedelta(days=2), 2),  # by an unknown timetable: days
    ],
)
def test_a_late_run_says_how_late(
    caplog: pytest.LogCaptureFixture, schedule: Any, interval: timedelta, late: timedelta, intervals: int
) -> None:
    """The warning counts intervals of the schedule, whether the run has an interval or only one time."""
    with DAG("late", schedule=schedule, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        pass
    context = {"dag": dag, "dag_run": run(start=DUE - interval)}
    check_run(context, backfill=False, now=(DUE + late).timestamp())
    warning = f"This run is {intervals} intervals of its schedule late: it was due at 2026-07-06 09:00 UTC"
    assert (warning in caplog.text) == bool(intervals)


@pytest.mark.parametrize("kind", [DagRunType.MANUAL, DagRunType.BACKFILL_JOB])
def test_only_a_run_of_the_schedule_can_be_late(caplog: pytest.LogCaptureFixture, kind: Any) -> None:
    """A run that a person starts is meant to run now."""
    check_run({"dag_run": run(kind)}, backfill=True, now=DUE.timestamp() + 1e7)
    assert not caplog.text


def test_a_run_without_a_time_is_not_late(caplog: pytest.LogCaptureFixture) -> None:
    """A run started by an asset or a test may have neither a time nor an interval."""
    check_run({"dag_run": SimpleNamespace(run_type="scheduled")}, backfill=False, now=DUE.timestamp())
    check_run({}, backfill=False, now=DUE.timestamp())
    assert not caplog.text
