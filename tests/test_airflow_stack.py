"""Test the harness of the real-Airflow tests: the promises that those tests rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from airflow_api import AirflowError
from airflow_stack import AirflowStack
from processes import end_sessions, processes_of

if TYPE_CHECKING:
    from pathlib import Path

DAG = """
from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, task

with DAG("tiny"):

    @task
    def numbers():
        return [{"n": 1}, {"n": 2}]

    numbers() >> TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=8), deferrable=True)
"""
# Ignores SIGTERM, and its child leaves the process group, as the tasks of Airflow's workers do.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
os.write(1, b"ready\\n")
time.sleep(60)
"""


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "tiny.py").write_text(DAG)
    return folder


def test_a_stack_survives_a_killed_triggerer_names_who_died_and_leaves_nothing_behind(dags: Path) -> None:
    """A deferred task has no worker, another triggerer takes it up, and no process outlives the block."""
    with AirflowStack(dags) as airflow:
        sessions = {process.pid for process in airflow.running.values()}
        run_id = airflow.trigger("tiny")
        for instances in airflow.watch("tiny", run_id, timeout=60):
            if any(it["state"] == "deferred" for it in instances):
                break
        assert airflow.xcom("tiny", run_id, "numbers") == [{"n": 1}, {"n": 2}]
        assert airflow.busy_workers() == 0
        airflow.kill("triggerer", signal.SIGKILL)
        airflow.start("triggerer")
        sessions |= {process.pid for process in airflow.running.values()}
        assert airflow.wait_for_run("tiny", run_id, timeout=60) == "success"
        assert "Trigger fired event" in airflow.task_log("tiny", run_id, "wait")
        os.kill(airflow.running["dag-processor"].pid, signal.SIGKILL)
        with pytest.raises(AirflowError, match=r"(?s)dag-processor has ended with exit code -9.*the end of"):
            airflow.wait_for_run("tiny", airflow.trigger("tiny"), timeout=60)
    assert processes_of(sessions) == []
    assert not airflow.home.exists()


def test_a_start_that_fails_says_why_and_leaves_nothing_behind(dags: Path) -> None:
    """The end of the log is in the error, so that it need not be searched for."""
    stack = AirflowStack(dags, env={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/airflow.db"})
    with pytest.raises(
        AirflowError, match=r"(?s)airflow db migrate has ended.*the end of .*db.log.*unable to open database file"
    ):
        stack.__enter__()
    assert stack.running == {}
    assert not stack.home.exists()


def test_no_process_of_a_session_outlives_it() -> None:
    """A process that ignores SIGTERM is killed, and so is a child with a process group of its own."""
    leader = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True
    )
    assert leader.stdout is not None
    with leader.stdout:
        assert [leader.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2
    groups = {os.getpgid(process.pid) for process in processes_of({leader.pid})}
    end_sessions([leader], signal.SIGTERM, grace=0.5)
    assert len(groups) == 2
    assert processes_of({leader.pid}) == []
    assert leader.returncode == -signal.SIGKILL
