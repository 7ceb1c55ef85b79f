"""Who is hung up on, and who is not, when a deferred task loses its trigger: on a real Airflow of any version."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import airflow_stack
import pytest
from airflow_2_stack import Airflow2Stack
from airflow_stack import AirflowStack, end_sessions, processes_of
from conftest import AIRFLOW_2

from airflow_provider_retell.simulator import RealClock, Simulator

Stack = Airflow2Stack if AIRFLOW_2 else AirflowStack

DAG = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_retell.operators import RetellCreatePhoneCallOperator

with DAG("talk", schedule=None):
    RetellCreatePhoneCallOperator(
        task_id="call",
        from_number="+14155550199",
        to_number="+14155550100",
        wait_for="ended",
        poll_interval=1,
        deferrable=True,
    )
"""


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    """A Retell where everybody talks until somebody hangs up."""
    return Simulator(clock=RealClock(speed=5), scenario="talks_forever")


@pytest.fixture(scope="module")
def airflow(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """A real Airflow whose connection leads to the simulator."""
    dags: Path = tmp_path_factory.mktemp("dags")
    (dags / "talk.py").write_text(DAG)
    with (
        simulator.serve() as url,
        Stack(dags, env={"AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url)}) as airflow,
    ):
        yield airflow


@pytest.fixture
def talk(airflow: AirflowStack, simulator: Simulator) -> Iterator[tuple[str, str]]:
    """A run whose call is live, and watched by a triggerer; its id and the call's. Nothing of it stays behind."""
    before = set(simulator.calls)
    run_id = airflow.trigger("talk")
    wait_for(lambda: state(airflow, run_id) == "deferred")
    (call_id,) = set(simulator.calls) - before
    wait_for(lambda: simulator.call(call_id)["call_status"] == "ongoing")
    wait_until_polled(simulator, call_id)
    yield run_id, call_id
    if airflow.run_state("talk", run_id) != "failed":
        airflow.mark("talk", run_id, "call", "failed")
    wait_for(lambda: airflow.run_state("talk", run_id) == "failed")


def wait_for(reached: Callable[[], bool], patience: float = 60) -> None:
    """Wait until something is the case."""
    deadline = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.25)


def wait_until_polled(simulator: Simulator, call_id: str) -> None:
    """Wait until a trigger that lives now has looked at the call."""
    seen = len(polls(simulator, call_id))
    wait_for(lambda: len(polls(simulator, call_id)) > seen + 1)


def polls(simulator: Simulator, call_id: str) -> list[str]:
    """Return the requests that read a call."""
    return [request.path for request in simulator.requests if request.path.endswith(f"get-call/{call_id}")]


def state(airflow: AirflowStack, run_id: str) -> str | None:
    """Return the state of the run's task."""
    (instance,) = airflow.task_instances("talk", run_id)
    return instance["state"]


@pytest.mark.xfail(
    AIRFLOW_2, strict=True, reason="Airflow 2 tells nobody but its database that the task is not deferred any more"
)
def test_a_deferred_task_that_is_marked_failed_hangs_up(
    airflow: AirflowStack, simulator: Simulator, talk: tuple[str, str]
) -> None:
    """Who marks the task as failed wants the call to end."""
    run_id, call_id = talk
    airflow.mark("talk", run_id, "call", "failed")
    wait_for(lambda: simulator.call(call_id)["disconnection_reason"] == "manual_stopped", patience=20)
    assert state(airflow, run_id) == "failed"


def test_a_deferred_task_that_is_cleared_hangs_up_and_calls_anew(
    airflow: AirflowStack, simulator: Simulator, talk: tuple[str, str]
) -> None:
    """A clear is a new intent: one call is over, the other is live, and a third never comes."""
    run_id, call_id = talk
    before = set(simulator.calls)
    airflow.clear("talk", run_id)
    wait_for(lambda: simulator.call(call_id)["disconnection_reason"] == "manual_stopped")
    wait_for(lambda: state(airflow, run_id) == "deferred")
    (new,) = set(simulator.calls) - before
    wait_until_polled(simulator, new)
    assert simulator.call(new)["call_status"] != "ended"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL], ids=lambda sig: sig.name)
def test_a_triggerer_that_ends_hangs_up_on_nobody(
    airflow: AirflowStack,
    simulator: Simulator,
    talk: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    sig: signal.Signals,
) -> None:
    """A restart is no kill: the next triggerer goes on with the wait."""
    run_id, call_id = talk
    monkeypatch.setattr(airflow_stack, "GRACE", 30)
    airflow.kill("triggerer", sig)
    airflow.start("triggerer")
    wait_until_polled(simulator, call_id)
    assert simulator.call(call_id)["call_status"] == "ongoing"
    assert state(airflow, run_id) == "deferred"


def test_a_triggerer_that_loses_its_triggers_to_another_hangs_up_on_nobody(
    airflow: AirflowStack, simulator: Simulator, talk: tuple[str, str]
) -> None:
    """A triggerer that was held up finds another one at its work: it lets go, and nobody notices."""
    run_id, call_id = talk
    held_up = airflow._running["triggerer"]
    tell(held_up, signal.SIGSTOP)
    airflow.start("triggerer")
    wait_until_polled(simulator, call_id)
    tell(held_up, signal.SIGCONT)
    time.sleep(10)  # long enough for it to look, find out, and do whatever it does
    assert simulator.call(call_id)["call_status"] == "ongoing"
    assert state(airflow, run_id) == "deferred"
    end_sessions([held_up], signal.SIGKILL)


def tell(leader: subprocess.Popen[bytes], sig: signal.Signals) -> None:
    """Send a signal to all processes of a component."""
    for process in processes_of({leader.pid}):
        process.send_signal(sig)
