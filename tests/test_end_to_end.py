"""The whole way on a real Airflow: api-server, scheduler, dag-processor, triggerer and LocalExecutor."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from airflow_stack import AirflowStack

from airflow_provider_retell.simulator import SCENARIOS, Fault, RealClock, Simulator

API_KEY = "key_5d0c9e7a41b2f638"

DAG = """
from airflow.sdk import DAG, task
from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.sensors import RetellCallSensor

with DAG("calls"):

    @task(show_return_value_in_logs=False)
    def read_people(params):
        return params["people"]

    @task
    def load(rows):
        return [row["call_id"] for row in rows]

    registered = RetellRegisterPhoneCallOperator.partial(
        task_id="register", agent_id="{{ params.agent_id }}"
    ).expand_kwargs(read_people())
    finished = RetellCallSensor(
        task_id="wait", call_id=registered.output, wait_for="analyzed", poke_interval=1, deferrable=True
    )
    load(finished.output)

    one = RetellRegisterPhoneCallOperator(
        task_id="one",
        agent_id="{{ params.agent_id }}",
        to_number="{{ params.people[0].to_number }}",
        wait_for="ended",
        poll_interval=1,
        deferrable=True,
    )
    again = RetellCallSensor(task_id="by_id", call_id=one.output["call_id"], mode="reschedule", poke_interval=10)
    load.override(task_id="load_both")([one.output, again.output])

with DAG("refused"):
    RetellRegisterPhoneCallOperator(task_id="register", agent_id="agent_refused", retries=3)
"""

FAILED, RUN, AWAITED, SECOND, MISSED, MISSED_TOO = (f"+1206555010{n}" for n in range(6))
KILLED, KILLED_RUN, LOST, LOST_RUN = (f"+1206555010{n}" for n in range(6, 10))

ALERTS = f"""
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
    return RetellPhoneCallNotifier(FROM, list(numbers), message, retell_conn_id="retell_alerts", **arguments)


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
    given = {{"from_number": FROM, "to_number": number, "message": message, "retell_conn_id": "retell_alerts"}}
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=2),
        callback=kind(RetellPhoneCallNotifier, given | arguments),
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
    """A Retell where five seconds are one, and a minute's talk takes twelve."""
    return Simulator(clock=RealClock(speed=5), api_key=API_KEY, talk_seconds=60)


@pytest.fixture(scope="module")
def phones() -> Simulator:
    """A Retell that keeps real time, on which all answer, and one never hangs up."""
    phones = Simulator(clock=RealClock())
    for number in (FAILED, RUN, SECOND, MISSED, MISSED_TOO, KILLED, KILLED_RUN, LOST, LOST_RUN):
        phones.play(number, "agent_hangup")
    phones.play(AWAITED, "talks_forever")
    return phones


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database that a DAG loads."""
    return tmp_path_factory.mktemp("table") / "calls.db"


@pytest.fixture(scope="module")
def airflow(
    simulator: Simulator, phones: Simulator, table: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowStack]:
    """A real Airflow for all tests of this file: its start takes longer than any of them."""
    dags: Path = tmp_path_factory.mktemp("dags")
    examples = Path(__file__).parent.parent / "example_dags"
    shutil.copy(examples / "calls_then_analysis.py", dags)
    inbound = (examples / "inbound_analysis.py").read_text()
    (dags / "inbound_analysis.py").write_text(inbound.replace("poll_interval=15", "poll_interval=1"))
    (dags / "calls.py").write_text(
        DAG.replace('DAG("calls")', 'DAG("calls", params={"people": [], "agent_id": ""})')
    )
    (dags / "alerts.py").write_text(ALERTS)
    with (
        simulator.serve() as url,
        phones.serve() as url_of_phones,
        AirflowStack(
            dags,
            env={
                "AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url),
                "AIRFLOW_CONN_RETELL_ALERTS": phones.connection(url_of_phones),
                "AIRFLOW_CONN_SQLITE_DEFAULT": json.dumps({"conn_type": "sqlite", "host": str(table)}),
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            },
        ) as airflow,
    ):
        yield airflow


def people(*scenarios: str) -> dict[str, Any]:
    return {
        "agent_id": "agent_1",
        "people": [
            {"to_number": SCENARIOS[name].number, "retell_llm_dynamic_variables": {"name": "Ada"}}
            for name in scenarios
        ],
    }


def test_calls_are_registered_waited_for_and_handed_on(airflow: AirflowStack, simulator: Simulator) -> None:
    """A DAG registers each call once, waits without a worker, and returns the rows."""
    scenarios = ["user_hangup", "dial_busy", "error_retell", "voicemail_reached"]
    run_id = airflow.trigger("calls", conf=people(*scenarios))
    idle_while_waiting = 0
    for instances in airflow.watch("calls", run_id, timeout=120):
        states = Counter(it["state"] for it in instances if it["task_id"] in {"wait", "one"})
        others_over = all(
            it["state"] == "success" for it in instances if it["task_id"] in {"read_people", "register"}
        )
        if states == {"deferred": 2} and others_over:
            idle_while_waiting += airflow.busy_workers() == 0
            links = airflow.links("calls", run_id, "one")

    assert airflow.run_state("calls", run_id) == "success"
    rows = airflow.xcom("calls", run_id, "wait")
    assert [row["disconnection_reason"] for row in rows] == scenarios
    assert airflow.xcom("calls", run_id, "load") == [row["call_id"] for row in rows]
    both = airflow.xcom("calls", run_id, "load_both")
    assert both == [airflow.xcom("calls", run_id, "one", key="call_id")] * 2

    sent = Counter(request.endpoint for request in simulator.requests)
    assert sent["register-phone-call"] == len(simulator.calls) == len(scenarios) + 1
    assert set(sent) <= {"register-phone-call", "list-calls", "get-call"}
    assert idle_while_waiting, "while both waits were deferred, no process ran a task"
    assert links["Retell call"].endswith(f"?history={both[0]}"), "the link is there while the task still waits"
    assert re.search(r"\d of 4 calls over", airflow.task_log("calls", run_id, "wait"))


def test_a_wait_survives_a_triggerer_that_dies(airflow: AirflowStack, simulator: Simulator) -> None:
    """Another triggerer continues the wait of a dead one; no call is placed again or stopped."""
    before = len(simulator.calls)
    run_id = airflow.trigger("calls", conf=people("user_hangup", "dial_busy"))
    for instances in airflow.watch("calls", run_id, timeout=120):
        if any(it["task_id"] == "wait" and it["state"] == "deferred" for it in instances):
            break
    airflow.kill("triggerer", signal.SIGKILL)
    airflow.start("triggerer")
    assert airflow.wait_for_run("calls", run_id, timeout=120) == "success"
    assert len(simulator.calls) == before + 3
    assert not [request for request in simulator.requests if request.endpoint == "stop-call"]


def test_calls_that_are_over_start_the_dag_that_analyses_them(airflow: AirflowStack) -> None:
    """The second DAG needs no trigger: it starts when the calls of the first are over, with each one's outcome."""
    airflow.unpause("retell_analysis")
    run_id = airflow.trigger("retell_campaign")
    assert airflow.wait_for_run("retell_campaign", run_id, timeout=120) == "success"
    rows = airflow.xcom("retell_campaign", run_id, "wait")
    started = airflow.first_run("retell_analysis")
    assert airflow.wait_for_run("retell_analysis", started, timeout=60) == "success"
    assert airflow.xcom("retell_analysis", started, "analyse") == Counter(row["outcome"] for row in rows)


def test_a_refusal_is_final_and_tells_no_secret(airflow: AirflowStack, simulator: Simulator) -> None:
    """A permanent error costs one try of four; Retell's words are in the log, an echoed key and number are not."""
    simulator.fail(
        Fault(endpoint="register-phone-call", answer=401, message=f"Bad key {API_KEY} for +14155550123.")
    )
    run_id = airflow.trigger("refused")
    assert airflow.wait_for_run("refused", run_id, timeout=60) == "failed"
    (instance,) = airflow.task_instances("refused", run_id)
    log = airflow.task_log("refused", run_id, "register")
    assert instance["try_number"] == 1
    assert "RetellAuthenticationError" in log
    assert "Bad key *** for …0123." in log


def test_nothing_that_airflow_keeps_holds_the_key(airflow: AirflowStack) -> None:
    """Logs, XComs, rendered fields, trigger rows and events hold no API key; tasks' logs hold no full number."""
    numbers = [scenario.number.encode() for scenario in SCENARIOS.values()]
    kept = [path for path in airflow.home.rglob("*") if path.is_file()]
    assert {path.suffix for path in kept} >= {".db", ".log"}
    for path in kept:
        content = path.read_bytes()
        assert API_KEY.encode() not in content, path
        # The scheduler logs the conf of a run by itself; the logs of the tasks are ours to keep clean.
        if path.is_relative_to(airflow.home / "logs"):
            assert not [number for number in numbers if number in content], path


def test_inbound_calls_are_analysed_by_themselves(
    airflow: AirflowStack, simulator: Simulator, table: Path
) -> None:
    """The watcher announces the calls, which starts the DAG: each is in its table once, with what was said."""
    airflow.unpause("retell_inbound_analysis")
    deadline = time.monotonic() + 120
    while not any("end_timestamp" in str(request.json) for request in simulator.requests):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    names = ("user_hangup", "call_transfer", "error_retell")
    calls = {simulator.ring_in(SCENARIOS[name].number): name for name in names}
    airflow.first_run("retell_inbound_analysis")
    rows: list[tuple[str, str, str]] = []
    while len(rows) < len(calls):
        assert time.monotonic() < deadline
        time.sleep(0.5)
        with closing(sqlite3.connect(table)) as database, suppress(sqlite3.OperationalError):  # not loaded yet
            rows = database.execute("SELECT call_id, outcome, said FROM inbound").fetchall()
    assert {call_id: outcome for call_id, outcome, _ in rows} == dict(
        zip(calls, ["answered", "transferred", "technical"], strict=True)
    )
    assert all(said.startswith("Oh yes") for call_id, _, said in rows if calls[call_id] != "error_retell")


# -- the notifier: on a worker, in the DAG processor, in the triggerer and in the executor ----------------------


def rung(phones: Simulator) -> Counter[str]:
    """Return how often each number was rung."""
    return Counter(str(call.request["to_number"]) for call in phones.placed)


def spoken(phones: Simulator, number: str) -> list[str]:
    """Return the messages that were for a number."""
    return [
        call.request["retell_llm_dynamic_variables"]["message"]
        for call in phones.placed
        if call.request["to_number"] == number
    ]


def test_a_failed_task_and_a_failed_run_ring(airflow: AirflowStack, phones: Simulator) -> None:
    """The task's callback once, after the last try; the DAG's once, in the DAG processor."""
    run_id = airflow.trigger("fails")
    assert airflow.wait_for_run("fails", run_id, timeout=120) == "failed"
    airflow.wait_until(lambda: {FAILED, RUN} <= set(rung(phones)), "The phones did not ring")
    assert spoken(phones, FAILED) == spoken(phones, RUN) == ["load of fails failed."]


def test_all_are_rung_before_airflow_ends_the_process(airflow: AirflowStack, phones: Simulator) -> None:
    """The first number does not end its call: the second is called within the time that a callback has."""
    run_id = airflow.trigger("asks")
    assert airflow.wait_for_run("asks", run_id, timeout=120) == "failed"
    airflow.wait_until(lambda: SECOND in rung(phones), "The second phone did not ring")
    first, second = (next(c for c in phones.placed if c.request["to_number"] == n) for n in (AWAITED, SECOND))
    assert 10 <= second.created_at - first.created_at <= 20
    assert "set [core] task_success_overtime to 305" in airflow.task_log("asks", run_id, "ask")


def test_missed_deadlines_ring(airflow: AirflowStack, phones: Simulator) -> None:
    """In the triggerer, with calling hours, and on the executor; each once."""
    run_id = airflow.trigger("late")
    airflow.wait_until(lambda: {MISSED, MISSED_TOO} <= set(rung(phones)), "The phones did not ring")
    assert airflow.wait_for_run("late", run_id, timeout=120) == "success"
    assert spoken(phones, MISSED) == spoken(phones, MISSED_TOO) == ["late is late."]


def test_a_killed_task_rings_by_the_callback_of_its_dag_alone(airflow: AirflowStack, phones: Simulator) -> None:
    """The worker reports its failure, and Airflow runs no callback of the task, whose process is gone."""
    run_id = airflow.trigger("dies")
    assert airflow.wait_for_run("dies", run_id, timeout=120) == "failed"
    airflow.wait_until(lambda: KILLED_RUN in rung(phones), "The phone did not ring")
    assert spoken(phones, KILLED_RUN) == ["die of dies failed."]
    assert KILLED not in rung(phones)


def test_a_task_whose_worker_was_killed_rings(airflow: AirflowStack, phones: Simulator) -> None:
    """The scheduler misses its heartbeats, and the DAG processor runs the callback, once."""
    run_id = airflow.trigger("is_lost")
    assert airflow.wait_for_run("is_lost", run_id, timeout=120) == "failed"
    airflow.wait_until(lambda: {LOST, LOST_RUN} <= set(rung(phones)), "The phones did not ring")
    assert spoken(phones, LOST) == spoken(phones, LOST_RUN) == ["lose of is_lost failed."]
