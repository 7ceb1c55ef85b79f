"""Test finished calls on a real Airflow: none is lost whatever happens to triggerers; duplicates are counted.

`make test-events` runs this. On Airflow 3.0 to 3.2 it measures what those versions do.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest
from airflow_stack import AirflowStack
from conftest import AIRFLOW_2

from airflow_provider_retell.provider.event_triggers import HAS_ASSET_STATE
from airflow_provider_retell.simulator import SCENARIOS, Fault, RealClock, Simulator

pytestmark = [pytest.mark.events, pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 has no asset watchers")]

DAG_ID = "retell_inbound_analysis"
EXAMPLE = Path(__file__).parent.parent / "example_dags" / "inbound_analysis.py"
SOAK_SECONDS = 60 * float(os.environ.get("EVENTS_MINUTES", "10"))
PATIENCE = 240.0
"""Seconds in which everything must have been announced and loaded after the last call."""

ENDINGS = ["user_hangup"] * 12 + ["agent_hangup"] * 5 + ["call_transfer", "voicemail_reached", "error_retell"]
FAULTS: list[dict[str, Any]] = [
    {"answer": 503, "times": 3},
    {"answer": 429, "retry_after": 3, "times": 2},
    {"answer": 500, "html": True},
    {"answer": "drop"},
    {"answer": "reset", "times": 2},
    {"answer": "truncate"},
    {"answer": "empty"},
    {"delay": 4.0},
]


class Office:
    """An account that people call, and an Airflow that watches it."""

    def __init__(self, simulator: Simulator, airflow: AirflowStack, table: Path) -> None:
        self.simulator = simulator
        self.airflow = airflow
        self.table = table
        self.chance = random.Random(1)  # noqa: S311 (not for secrets)
        self.deleted: set[str] = set()

    def ring(self) -> str:
        """Let one person call, for a second to a minute."""
        scenario = SCENARIOS[self.chance.choice(ENDINGS)]
        talk = self.chance.choice([1.0, 3.0, 10.0, 60.0]) * self.chance.random()
        return self.simulator.ring_in("+12025550100", scenario=replace(scenario, talk_seconds=1 + talk))

    def announced(self) -> Counter[str]:
        """Count the announcements of each call."""
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=30)) as database:
            extras = [json.loads(extra) for (extra,) in database.execute("SELECT extra FROM asset_event")]
        return Counter(call["call_id"] for extra in extras for call in extra["payload"]["calls"])

    def loaded(self) -> list[str]:
        """Return the ids in the table of the DAG."""
        with closing(sqlite3.connect(self.table, timeout=30)) as database, suppress(sqlite3.OperationalError):
            return [call_id for (call_id,) in database.execute("SELECT call_id FROM inbound")]
        return []

    def holder(self, names: tuple[str, ...]) -> str | None:
        """Return which triggerer runs the watcher."""
        with closing(sqlite3.connect(self.airflow.home / "airflow.db", timeout=30)) as database:
            held = {job for (job,) in database.execute("SELECT triggerer_id FROM trigger")}
        return next((name for name in names if self.airflow.job_of(name) in held), None)

    def freeze(self, name: str) -> list[psutil.Process]:
        """Freeze all processes of a triggerer, as a suspended machine does."""
        frozen = self.airflow.processes(name)
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        return frozen

    def wait(self, reached: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Return whether a condition came true in time."""
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                return False
            time.sleep(1)
        return True

    def settle(self, what: str) -> set[str]:
        """Wait until every call is announced and loaded, print the figures, and return the calls that are lost."""
        calls = set(self.simulator.calls)
        self.wait(lambda: calls <= set(self.announced()) and calls <= set(self.loaded()))
        counts = self.announced()
        times = Counter(counts[call_id] for call_id in calls)
        print(  # noqa: T201 (the figures are what the test is for)
            f"{what}: {len(calls)} calls; announced so many times: {dict(sorted(times.items()))}; "
            f"{sum(counts.values()) - len(counts)} announcements too many; lost: {len(calls - set(counts))}; "
            f"in the table: {len(self.loaded())}"
        )
        loaded = self.loaded()
        assert len(loaded) == len(set(loaded))
        assert calls <= set(loaded) | (calls - set(counts))
        return calls - set(counts)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """The example DAG, looking every two seconds, and running."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / EXAMPLE.name).write_text(EXAMPLE.read_text().replace("poll_interval=15", "poll_interval=2"))
    simulator, table = Simulator(clock=RealClock()), tmp_path / "calls.db"
    with simulator.serve() as url:
        env = {
            "AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url),
            "AIRFLOW_CONN_SQLITE_DEFAULT": json.dumps({"conn_type": "sqlite", "host": str(table)}),
        }
        with AirflowStack(dags, env=env) as airflow:
            office = Office(simulator, airflow, table)
            airflow.unpause(DAG_ID)
            assert office.wait(lambda: any(it.path.endswith("list-calls") for it in simulator.requests))
            time.sleep(5)  # the first look is over, and its cursor saved
            yield office


@pytest.fixture
def ringing(office: Office) -> Iterator[Callable[[int, float], Thread]]:
    """Let people call inside the block."""
    stop = Event()
    threads = []

    def ring(count: int, seconds: float) -> Thread:
        def run() -> None:
            for _ in range(count):
                office.ring()
                if stop.wait(2 * seconds / count * office.chance.random()):
                    return

        threads.append(Thread(target=run))
        threads[-1].start()
        return threads[-1]

    yield ring
    stop.set()
    for thread in threads:
        thread.join()


def test_five_killed_triggerers_lose_no_call(office: Office, ringing: Callable[[int, float], Thread]) -> None:
    """500 people call while the triggerer is killed five times, at any moment, and started again."""
    calls = ringing(500, 150)
    for _ in range(5):
        time.sleep(5 + 10 * office.chance.random())
        office.airflow.kill("triggerer")
        time.sleep(5 * office.chance.random())
        office.airflow.start("triggerer")
    calls.join()
    assert office.settle("five kills") == set()


def test_a_frozen_triggerer_loses_no_call(office: Office, ringing: Callable[[int, float], Thread]) -> None:
    """The other one takes the watcher over; the first one goes on where it was when it wakes up."""
    both = ("triggerer", "triggerer-2")
    office.airflow.start("triggerer-2", "triggerer")
    calls = ringing(150, 90)
    time.sleep(10)
    first = office.holder(both)
    assert first is not None
    frozen = office.freeze(first)
    assert office.wait(lambda: office.holder(both) not in {None, first}, 60)
    time.sleep(15)
    for process in frozen:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
    calls.join()
    assert office.settle("one of two frozen") == set()


def test_ten_minutes_of_faults_lose_no_call(office: Office, ringing: Callable[[int, float], Thread]) -> None:
    """Kills, pauses, trouble of Retell and deleted calls at random."""
    calls = ringing(round(SOAK_SECONDS), SOAK_SECONDS)
    deadline = time.monotonic() + SOAK_SECONDS
    done: Counter[str] = Counter()
    while time.monotonic() < deadline:
        time.sleep(8 * office.chance.random())
        what = office.chance.choices(["kill", "freeze", "fault", "delete"], [1, 1, 4, 2])[0]
        done[what] += 1
        match what:
            case "kill":
                office.airflow.kill("triggerer")
                office.airflow.start("triggerer")
            case "freeze":
                frozen = office.freeze("triggerer")
                time.sleep(5 * office.chance.random())
                for process in frozen:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGCONT)
            case "fault":
                office.simulator.fail(Fault(endpoint="list-calls", **office.chance.choice(FAULTS)))
            case "delete":
                announced = [it for it in office.announced() if it in office.simulator.calls]
                over = [it for it in announced if it in set(office.loaded())]
                if over:
                    office.simulator.delete(office.chance.choice(over))
    calls.join()
    office.simulator.recover()
    assert office.settle(f"{SOAK_SECONDS / 60:g} minutes, {dict(done)}") == set()


def test_people_call_as_often_as_the_command_line_says(tmp_path: Path) -> None:
    """As the page has it: a simulator with `--ring-in`, and the example as it stands."""
    dags, table = tmp_path / "dags", tmp_path / "calls.db"
    dags.mkdir()
    shutil.copy(EXAMPLE, dags)
    options = ["--port", "0", "--ring-in", "10", "--speed", "10"]
    command = [sys.executable, "-m", "airflow_provider_retell.simulator", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:  # noqa: S603 (our own words)
        assert simulator.stdout is not None
        name, _, connection = simulator.stdout.readline().removeprefix("export ").partition("=")
        reader = Thread(target=simulator.stdout.read)  # it reports each call, and must not wait for a reader
        reader.start()
        try:
            env = {
                name: shlex.split(connection)[0],
                "AIRFLOW_CONN_SQLITE_DEFAULT": json.dumps({"conn_type": "sqlite", "host": str(table)}),
            }
            with AirflowStack(dags, env=env) as airflow:
                office = Office(Simulator(), airflow, table)
                airflow.unpause(DAG_ID)
                assert office.wait(lambda: len(office.loaded()) >= 5)
        finally:
            simulator.terminate()
            reader.join()


ASSETS = """
from airflow.sdk import DAG, Asset, AssetWatcher, task
from airflow_provider_retell.events import finished_calls
from airflow_provider_retell.triggers import RetellFinishedCallsTrigger


def dag(name, asset, uri=None):
    trigger = RetellFinishedCallsTrigger(asset, poll_interval=2)
    watched = Asset(name=name, uri=uri, watchers=[AssetWatcher(name=name, trigger=trigger)])
    with DAG(name, schedule=[watched]) as dag:

        @task
        def read(triggering_asset_events=None):
            return finished_calls(triggering_asset_events)

        read()
    return dag


one = dag("one", "retell://retell_default/one", "retell://retell_default/one")
two = dag("two", "retell://retell_default/two", "retell://retell_default/two")
plain = dag("plain", "plain")
wrong = dag("wrong", "retell://retell_default/worng", "retell://retell_default/wrong")
source = dag("source", "retell://retell_default/source", "retell://retell_default/source")
copy = dag("copy", "retell://retell_default/source", "retell://retell_default/copy")
"""
NAMES = ("one", "two", "plain", "wrong", "source", "copy")


def test_odd_assets_are_watched_or_said_to_be_wrong(tmp_path: Path) -> None:
    """Equal filters, an asset without a URI, an argument copied from another asset, and one that is misspelt."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "assets.py").write_text(ASSETS)
    simulator = Simulator(clock=RealClock())
    with simulator.serve() as url:
        env = {"AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url)}
        with AirflowStack(dags, env=env) as airflow:
            office = Office(simulator, airflow, tmp_path / "none.db")
            for name in NAMES:
                airflow.unpause(name)

            def announced() -> dict[str, set[str]]:
                with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as database:
                    found = database.execute(
                        "SELECT name, asset_event.extra FROM asset_event JOIN asset ON asset_id = asset.id"
                    )
                    events = [(name, json.loads(extra)["payload"]["calls"]) for name, extra in found]
                calls: dict[str, set[str]] = {name: set() for name in NAMES}
                for name, some in events:
                    calls[name] |= {call["call_id"] for call in some}
                return calls

            # Until every watcher has begun: people call now and then.
            right = [name for name in NAMES if name != "wrong" or not HAS_ASSET_STATE]
            last = ""

            def all_hear_of_a_call() -> bool:
                nonlocal last
                last = last or office.ring()
                if all(last in announced()[name] for name in right):
                    return True
                if len(simulator.calls) < 30 and simulator.calls[last].is_over(time.time() - 20):
                    last = ""
                return False

            assert office.wait(all_hear_of_a_call), announced()
            if HAS_ASSET_STATE:
                assert announced()["wrong"] == set()
                log = airflow.log_of("triggerer").read_text(errors="replace")
                assert "The watcher of retell://retell_default/worng failed while" in log
                print(next(line for line in log.splitlines() if "worng failed" in line))  # noqa: T201 (as above)
