"""Test what differs between the versions of Airflow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

from conftest import TaskInstance

from airflow_provider_retell.provider.version_compat import first_look, is_deferred


def test_without_an_answer_nothing_is_known() -> None:
    """Outside a triggerer, in one that ends, and in Airflow 2, a task is neither deferred nor killed."""
    assert asyncio.run(is_deferred(TaskInstance())) is None


def test_a_rescheduled_sensor_learns_when_it_looked_first() -> None:
    """Airflow 3 says it, Airflow 2 by the start of the task; without a reschedule there was no look before."""
    ti = TaskInstance()
    assert first_look(ti.context()) is None
    ti.rescheduled = datetime(2026, 11, 22, tzinfo=UTC)
    assert first_look(ti.context()) == ti.rescheduled.timestamp()
    assert first_look({"ti": SimpleNamespace(start_date=ti.rescheduled)}) == ti.rescheduled.timestamp()
    assert first_look({"ti": SimpleNamespace(start_date=None)}) is None
