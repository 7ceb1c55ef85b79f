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


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    """A Retell where five seconds are one, and a minute's talk takes twelve."""
    return Simulator(clock=RealClock(speed=5), api_key=API_KEY, talk_seconds=60)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database that a DAG loads."""
    return tmp_path_factory.mktemp("table") / "calls.db"


@pytest.fixture(scope="module")
def airflow(simulator: Simulator, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """A real Airflow whose connection leads to the simulator."""
    dags: Path = tmp_path_factory.mktemp("dags")
    examples = Path(__file__).parent.parent / "example_dags"
    shutil.copy(examples / "calls_then_analysis.py", dags)
    inbound = (examples / "inbound_analysis.py").read_text()
    (dags / "inbound_analysis.py").write_text(inbound.replace("poll_interval=15", "poll_interval=1"))
    (dags / "calls.py").write_text(
        DAG.replace('DAG("calls")', 'DAG("calls", params={"people": [], "agent_id": ""})')
    )
    with (
        simulator.serve() as url,
        AirflowStack(
            dags,
            env={
                "AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url),
                "AIRFLOW_CONN_SQLITE_DEFAULT": json.dumps({"conn_type": "sqlite", "host": str(table)}),
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
    """Another triggerer continues the wait of a dead one; nobody is called again or hung up on."""
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
    """Nobody triggers the second DAG: it starts when the calls of the first are over, with each one's outcome."""
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
