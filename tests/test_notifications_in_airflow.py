"""The notifier in a real Airflow: on a worker, in the DAG processor, in the triggerer and in the executor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_stack import AirflowStack

from airflow_provider_retell.simulator import RealClock, Simulator

FAILED, RUN, AWAITED, SECOND, MISSED, MISSED_TOO = (f"+1206555010{n}" for n in range(6))
KILLED, KILLED_RUN, LOST, LOST_RUN = (f"+1206555010{n}" for n in range(6, 10))

DAGS = f"""
import os
import signal
import time
from datetime import timedelta

from airflow.sdk import DAG, task
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference, SyncCallback
from airflow_provider_retell.notifications import RetellPhoneCallNotifier

FROM = "+14155550199"


def notify(*numbers, **arguments):
    message = "{{{{ ti.task_id }}}} of {{{{ ti.dag_id }}}} failed."
    return RetellPhoneCallNotifier(FROM, list(numbers), message, **arguments)


with DAG("fails", on_failure_callback=notify("{RUN}")):

    @task(on_failure_callback=notify("{FAILED}"), retries=1, retry_delay=0)
    def load():
        raise ValueError("no rows")

    load()

with DAG("asks"):

    @task(on_failure_callback=notify("{AWAITED}", "{SECOND}", mode="until_answered"))
    def ask():
        raise ValueError("no rows")

    ask()

with DAG("dies", on_failure_callback=notify("{KILLED_RUN}")):

    @task(on_failure_callback=notify("{KILLED}"))
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    die()

with DAG("is_lost", on_failure_callback=notify("{LOST_RUN}")):

    @task(on_failure_callback=notify("{LOST}"))
    def lose():
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)

    lose()


def late(kind, number, **arguments):
    message = "{{{{ dag_run.dag_id }}}} is late."
    given = {{"from_number": FROM, "to_number": number, "message": message, **arguments}}
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=2),
        callback=kind(RetellPhoneCallNotifier, given),
    )


always = {{"start": "00:00", "end": "24:00", "time_zone": "UTC"}}
with DAG(
    "late",
    deadline=[late(AsyncCallback, "{MISSED}", calling_hours=always), late(SyncCallback, "{MISSED_TOO}")],
):

    @task
    def sleep():
        time.sleep(20)

    sleep()
"""


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    """A Retell on which all answer, and one never hangs up."""
    simulator = Simulator(clock=RealClock())
    for number in (FAILED, RUN, SECOND, MISSED, MISSED_TOO, KILLED, KILLED_RUN, LOST, LOST_RUN):
        simulator.play(number, "agent_hangup")
    simulator.play(AWAITED, "talks_forever")
    return simulator


@pytest.fixture(scope="module")
def airflow(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """A real Airflow whose connection leads to the simulator."""
    dags: Path = tmp_path_factory.mktemp("dags")
    (dags / "notifies.py").write_text(DAGS)
    with simulator.serve() as url:
        env = {
            "AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
        }
        with AirflowStack(dags, env=env) as airflow:
            yield airflow


def rung(simulator: Simulator) -> Counter[str]:
    """Return how often each number was rung."""
    return Counter(str(call.request["to_number"]) for call in simulator.placed)


def spoken(simulator: Simulator, number: str) -> list[str]:
    """Return the messages that were for a number."""
    return [
        call.request["retell_llm_dynamic_variables"]["message"]
        for call in simulator.placed
        if call.request["to_number"] == number
    ]


def test_a_failed_task_and_a_failed_run_ring(airflow: AirflowStack, simulator: Simulator) -> None:
    """The task's callback once, after the last try; the DAG's once, in the DAG processor."""
    run_id = airflow.trigger("fails")
    assert airflow.wait_for_run("fails", run_id, timeout=120) == "failed"
    airflow.wait_until(lambda: {FAILED, RUN} <= set(rung(simulator)), "The phones did not ring")
    assert spoken(simulator, FAILED) == spoken(simulator, RUN) == ["load of fails failed."]


def test_all_are_rung_before_airflow_ends_the_process(airflow: AirflowStack, simulator: Simulator) -> None:
    """The first number does not end its call: the second is called within the time that a callback has."""
    run_id = airflow.trigger("asks")
    assert airflow.wait_for_run("asks", run_id, timeout=120) == "failed"
    airflow.wait_until(lambda: SECOND in rung(simulator), "The second phone did not ring")
    first, second = (next(c for c in simulator.placed if c.request["to_number"] == n) for n in (AWAITED, SECOND))
    assert 10 <= second.created_at - first.created_at <= 20
    assert "set [core] task_success_overtime to 305" in airflow.task_log("asks", run_id, "ask")


def test_missed_deadlines_ring(airflow: AirflowStack, simulator: Simulator) -> None:
    """In the triggerer, with calling hours, and on the executor; each once."""
    run_id = airflow.trigger("late")
    airflow.wait_until(lambda: {MISSED, MISSED_TOO} <= set(rung(simulator)), "The phones did not ring")
    assert airflow.wait_for_run("late", run_id, timeout=120) == "success"
    assert spoken(simulator, MISSED) == spoken(simulator, MISSED_TOO) == ["late is late."]


def test_a_killed_task_rings_by_the_callback_of_its_dag_alone(airflow: AirflowStack, simulator: Simulator) -> None:
    """The worker reports its failure, and Airflow runs no callback of the task, whose process is gone."""
    run_id = airflow.trigger("dies")
    assert airflow.wait_for_run("dies", run_id, timeout=120) == "failed"
    airflow.wait_until(lambda: KILLED_RUN in rung(simulator), "The phone did not ring")
    assert spoken(simulator, KILLED_RUN) == ["die of dies failed."]
    assert KILLED not in rung(simulator)


def test_a_task_whose_worker_was_killed_rings(airflow: AirflowStack, simulator: Simulator) -> None:
    """The scheduler misses its heartbeats, and the DAG processor runs the callback, once."""
    run_id = airflow.trigger("is_lost")
    assert airflow.wait_for_run("is_lost", run_id, timeout=120) == "failed"
    airflow.wait_until(lambda: {LOST, LOST_RUN} <= set(rung(simulator)), "The phones did not ring")
    assert spoken(simulator, LOST) == spoken(simulator, LOST_RUN) == ["lose of is_lost failed."]
