"""Test a real Airflow of any version: scheduler, triggerer, and people who mark or clear a task.

`make test-matrix` runs it on every version, and writes the results into docs/versions.md.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from airflow_2_stack import Airflow2Stack
from airflow_api import AirflowError
from airflow_stack import AirflowStack
from conftest import AIRFLOW_2
from processes import end_sessions, processes_of

from airflow_provider_retell.api.settings import SETTINGS
from airflow_provider_retell.provider.version_compat import HAS_RETRY_POLICIES
from airflow_provider_retell.simulator import SCENARIOS, RealClock, Simulator

pytestmark = pytest.mark.any_airflow

weaker = partial(pytest.mark.xfail, strict=True, raises=AssertionError)
"""A feature that a version lacks: its test fails by its own assertion, and not by an earlier error."""

DAGS = """
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG
from airflow_provider_retell.notifications import RetellPhoneCallNotifier
from airflow_provider_retell.operators import RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator
from airflow_provider_retell.sensors import RetellCallSensor

def fail_once(context, result):
    if context["ti"].try_number == 1:
        raise RuntimeError("The first try fails after its call was placed.")


with DAG("list", schedule=None):
    registered = RetellRegisterPhoneCallOperator.partial(task_id="register", agent_id="agent_1").expand(
        to_number=["ANSWERED", "BUSY"]
    )
    RetellCallSensor(
        task_id="wait", call_id=registered.output, wait_for="analyzed", poke_interval=1, deferrable=True
    )
    RetellCallSensor(task_id="look", call_id=registered.output, poke_interval=1, mode="reschedule")

with DAG("retried", schedule=None):
    RetellCreatePhoneCallOperator(
        task_id="call",
        to_number="FOR_EVER",
        from_number="+14155550199",
        post_execute=fail_once,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )

with DAG("talk", schedule=None):
    RetellCreatePhoneCallOperator(
        task_id="call",
        to_number="FOR_EVER",
        from_number="+14155550199",
        wait_for="ended",
        poll_interval=1,
        deferrable=True,
    )

with DAG("fails", schedule=None):
    RetellCreatePhoneCallOperator(
        task_id="call",
        to_number="no number",
        from_number="+14155550199",
        on_failure_callback=RetellPhoneCallNotifier("+14155550199", "ALERTED", "{{ ti.task_id }} failed."),
    )
"""
NUMBERS = {"ANSWERED": "user_hangup", "BUSY": "dial_busy", "FOR_EVER": "talks_forever", "ALERTED": "agent_hangup"}


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    """A Retell where five seconds are one."""
    return Simulator(clock=RealClock(speed=5))


@pytest.fixture(scope="module")
def airflow(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """A real Airflow whose connection leads to the simulator."""
    dags: Path = tmp_path_factory.mktemp("dags")
    text = DAGS
    for word, scenario in NUMBERS.items():
        text = text.replace(word, SCENARIOS[scenario].number)
    (dags / "calls.py").write_text(text)
    stack = Airflow2Stack if AIRFLOW_2 else AirflowStack
    with (
        simulator.serve() as url,
        stack(dags, env={"AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url)}) as airflow,
    ):
        yield airflow


@pytest.fixture
def talk(airflow: AirflowStack, simulator: Simulator) -> Iterator[tuple[str, str]]:
    """Start a run whose call is live and watched by a triggerer; yield its id and the call's, and clean up."""
    before = set(simulator.calls)
    run_id = airflow.trigger("talk")
    try:
        wait_for(lambda: state(airflow, run_id) == "deferred")
        (call_id,) = set(simulator.calls) - before
        wait_for(lambda: simulator.call(call_id)["call_status"] == "ongoing")
        wait_until_polled(simulator, call_id)
        yield run_id, call_id
    finally:
        if state(airflow, run_id) != "failed":
            airflow.mark("talk", run_id, "call", "failed")
        wait_for(lambda: airflow.run_state("talk", run_id) == "failed")


def test_calls_are_registered_waited_for_and_handed_on(airflow: AirflowStack, simulator: Simulator) -> None:
    """Mapped calls are placed once each, waited for without a worker and by reschedules, and handed on as rows."""
    before = len(simulator.calls)
    run_id = run(airflow, "list")
    for task_id in ("wait", "look"):
        rows = airflow.xcom("list", run_id, task_id)
        assert [row["outcome"] for row in rows] == ["answered", "busy"]
    assert len(simulator.calls) == before + 2


def test_a_retry_goes_on_with_the_call_of_the_try_before(airflow: AirflowStack, simulator: Simulator) -> None:
    """A retry continues with the live call of the try before, so no person is called twice."""
    before = set(simulator.calls)
    run_id = run(airflow, "retried")
    (call_id,) = set(simulator.calls) - before
    assert airflow.xcom("retried", run_id, "call")["call_id"] == call_id
    assert f"Adopted {call_id}" in airflow.task_log("retried", run_id, "call", try_number=2)


@weaker(not HAS_RETRY_POLICIES, reason="no task state store either")
def test_a_retry_knows_what_was_written_down(airflow: AirflowStack, simulator: Simulator) -> None:
    """The request of a try is in Airflow's task state store, so the retry need not look for the call."""
    before = len(simulator.requests)
    run(airflow, "retried")
    assert "list-calls" not in {request.endpoint for request in simulator.requests[before:]}


def test_a_failed_task_rings_a_phone(airflow: AirflowStack, simulator: Simulator) -> None:
    """The notifier as the task's callback calls once, with the message about this task."""
    run_id = airflow.trigger("fails")
    assert airflow.wait_for_run("fails", run_id, timeout=120) == "failed"
    number = SCENARIOS["agent_hangup"].number

    def messages() -> list[str]:
        requests = [call.request for call in simulator.placed if call.request.get("to_number") == number]
        return [request["retell_llm_dynamic_variables"]["message"] for request in requests]

    airflow.wait_until(lambda: bool(messages()), "The phone did not ring")
    assert messages() == ["call failed."]


@weaker(
    version("apache-airflow").startswith("3.0.") and not find_spec("flask_appbuilder"),
    reason="Airflow 3.0 shows no package's own fields without apache-airflow-providers-fab",
)
def test_the_connection_form_has_our_fields(airflow: AirflowStack) -> None:
    """Airflow draws the form with the labels of the settings, by either of its two ways to get them."""
    if AIRFLOW_2:
        shown = airflow.send("GET", "/connection/add").text
    else:
        forms = airflow.ask("GET", "/ui/connections/hook_meta")
        (form,) = [form for form in forms if form["connection_type"] == "retell"]
        shown = str(form["extra_fields"])
    assert [setting.label for setting in SETTINGS.values() if setting.label not in shown] == []


def test_the_link_to_the_call_is_there_while_the_task_waits(airflow: AirflowStack, talk: tuple[str, str]) -> None:
    """The grid leads to the call as soon as there is one."""
    run_id, call_id = talk
    assert str(airflow.links("talk", run_id, "call")["Retell call"]).endswith(call_id)


@weaker(AIRFLOW_2, reason="Airflow 2 only writes into its database that the task is not deferred any more")
def test_a_deferred_task_that_is_marked_failed_hangs_up(
    airflow: AirflowStack, simulator: Simulator, talk: tuple[str, str]
) -> None:
    """A user who marks the task as failed wants the call to end."""
    run_id, call_id = talk
    airflow.mark("talk", run_id, "call", "failed")
    assert comes_true(lambda: was_hung_up_on(simulator, call_id), patience=20)
    assert state(airflow, run_id) == "failed"


def test_a_deferred_task_that_is_cleared_hangs_up_and_calls_again(
    airflow: AirflowStack, simulator: Simulator, talk: tuple[str, str]
) -> None:
    """A clear is a new intent: one call is over, the other is live, and a third never comes."""
    run_id, call_id = talk
    before = set(simulator.calls)
    airflow.clear("talk", run_id)
    wait_for(lambda: was_hung_up_on(simulator, call_id))
    wait_for(lambda: state(airflow, run_id) == "deferred")
    (new,) = set(simulator.calls) - before
    wait_until_polled(simulator, new)
    assert simulator.call(new)["call_status"] != "ended"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL], ids=lambda sig: sig.name)
def test_a_triggerer_that_ends_stops_no_call(
    airflow: AirflowStack,
    simulator: Simulator,
    talk: tuple[str, str],
    sig: signal.Signals,
) -> None:
    """A restart is no kill: the next triggerer goes on with the wait."""
    run_id, call_id = talk
    airflow.kill("triggerer", sig, grace=30)
    airflow.start("triggerer")
    wait_until_polled(simulator, call_id)
    assert simulator.call(call_id)["call_status"] == "ongoing"
    assert state(airflow, run_id) == "deferred"


def test_a_triggerer_that_loses_its_triggers_to_another_stops_no_call(
    airflow: AirflowStack, simulator: Simulator, talk: tuple[str, str]
) -> None:
    """A triggerer that was frozen finds its triggers taken over: it lets go, and the task goes on."""
    run_id, call_id = talk
    held_up = airflow.running["triggerer"]
    signal_session(held_up, signal.SIGSTOP)
    airflow.start("triggerer")
    wait_until_polled(simulator, call_id)
    signal_session(held_up, signal.SIGCONT)
    time.sleep(10)  # long enough for it to look, find out, and do whatever it does
    assert simulator.call(call_id)["call_status"] == "ongoing"
    assert state(airflow, run_id) == "deferred"
    end_sessions([held_up], signal.SIGKILL)


def run(airflow: AirflowStack, dag_id: str) -> str:
    """Run a DAG, expect success, and return the run's id."""
    run_id = airflow.trigger(dag_id)
    if (became := airflow.wait_for_run(dag_id, run_id, timeout=180)) != "success":
        bad = [it for it in airflow.task_instances(dag_id, run_id) if it["state"] == "failed"]
        names = [(it["task_id"], it["map_index"], it["try_number"]) for it in bad]
        logs = [airflow.task_log(dag_id, run_id, *name) for name in names]
        raise AirflowError("\n".join([f"{dag_id}: {became}, {names}", *logs]))
    return run_id


def comes_true(holds: Callable[[], bool], patience: float) -> bool:
    """Wait until a condition holds, and return whether it does."""
    deadline = time.monotonic() + patience
    while not (true := holds()) and time.monotonic() < deadline:
        time.sleep(0.25)
    return true


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait for a precondition of a test; fail if it does not come true."""
    if not comes_true(holds, patience=60):
        raise TimeoutError


def wait_until_polled(simulator: Simulator, call_id: str) -> None:
    """Wait until a trigger that runs now has read the call."""
    seen = len(polls(simulator, call_id))
    wait_for(lambda: len(polls(simulator, call_id)) > seen + 1)


def was_hung_up_on(simulator: Simulator, call_id: str) -> bool:
    """Return whether this side has ended the call."""
    return simulator.call(call_id).get("disconnection_reason") == "manual_stopped"


def polls(simulator: Simulator, call_id: str) -> list[str]:
    """Return the requests that read a call."""
    return [request.path for request in simulator.requests if request.path.endswith(f"get-call/{call_id}")]


def state(airflow: AirflowStack, run_id: str) -> str | None:
    """Return the state of the run's task."""
    (instance,) = airflow.task_instances("talk", run_id)
    return instance["state"]


def signal_session(leader: subprocess.Popen[bytes], sig: signal.Signals) -> None:
    """Send a signal to all processes of a component."""
    for process in processes_of({leader.pid}):
        process.send_signal(sig)
