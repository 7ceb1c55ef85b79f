"""The notifier as the callback of a deadline: from the DAG file through Airflow's database to the phone."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec

import pytest
from conftest import AIRFLOW_2, DAGS

if AIRFLOW_2 or not find_spec("airflow.sdk.execution_time.callback_supervisor"):
    pytest.skip("Airflow before 3.3 keeps deadlines in another way", allow_module_level=True)

import structlog
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.callback import ExecutorCallback
from airflow.models.dagbag import DBDagBag
from airflow.models.deadline import Deadline
from airflow.models.trigger import Trigger
from airflow.sdk.execution_time.callback_supervisor import execute_callback
from airflow.triggers.callback import CallbackTrigger
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select

from airflow_provider_retell.simulator import Simulator

IN_TRIGGERER, ON_EXECUTOR = "+12065550104", "+12065550105"
DAG_FILE = f"""
from datetime import timedelta

from airflow.sdk import DAG, task
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback
from airflow_provider_retell.notifications import RetellPhoneCallNotifier


def late(kind, number, **arguments):
    message = "{{{{ dag_run.dag_id }}}} is late."
    given = {{"from_number": "+14155550199", "to_number": number, "message": message, **arguments}}
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=2),
        callback=kind(RetellPhoneCallNotifier, given),
    )


always = {{"start": "00:00", "end": "24:00", "time_zone": "UTC"}}
alerts = [late(AsyncCallback, "{IN_TRIGGERER}", calling_hours=always), late(SyncCallback, "{ON_EXECUTOR}")]
with DAG("late", schedule=None, deadline=alerts):

    @task
    def load():
        pass

    load()
"""


@pytest.fixture
def run(database: None) -> Iterator[None]:
    """Make a run of the DAG, as the scheduler does, and let its deadlines be missed."""
    (path := DAGS / "late.py").write_text(DAG_FILE)
    try:
        bag = BundleDagBag(DAGS, bundle_name="dags-folder", bundle_path=DAGS)
        DagBundlesManager().sync_bundles_to_db()
        with create_session() as session:
            sync_bag_to_db(bag, "dags-folder", None, session=session)
        with create_session() as session:
            dag = DBDagBag().get_latest_version_of_dag("late", session=session)
            now = datetime.now(UTC)
            dag.create_dagrun(
                run_id="run",
                logical_date=now,
                data_interval=(now, now),
                run_after=now,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.QUEUED,
                session=session,
            )
        yield
    finally:
        path.unlink()


@pytest.mark.usefixtures("run")
def test_missed_deadlines_ring(retell_simulator: Simulator) -> None:
    """In the triggerer and on an executor, each once, though the trigger runs again."""
    for number in (IN_TRIGGERER, ON_EXECUTOR):
        retell_simulator.play(number, "agent_hangup")
    with create_session() as session:
        for deadline in session.scalars(select(Deadline)):
            deadline.handle_miss(session)
    with create_session() as session:
        (stored,) = session.scalars(select(Trigger).where(Trigger.classpath.endswith("CallbackTrigger")))
        kwargs = stored.kwargs
        callbacks = [deadline.callback for deadline in session.scalars(select(Deadline))]
        (ours,) = (callback.data for callback in callbacks if isinstance(callback, ExecutorCallback))
        given = json.loads(json.dumps(ours["kwargs"], default=str))  # as a workload of the executor

    async def states() -> list[str]:
        return [event.payload["state"].value async for event in CallbackTrigger(**copy.deepcopy(kwargs)).run()]

    for _ in range(2):
        assert asyncio.run(states()) == ["running", "success"]
        assert execute_callback(ours["path"], given, "", None, structlog.get_logger()) == (True, None)
    spoken = [(call.to_number, call.request["retell_llm_dynamic_variables"]) for call in retell_simulator.placed]
    assert spoken == [(number, {"message": "late is late."}) for number in (IN_TRIGGERER, ON_EXECUTOR)]
