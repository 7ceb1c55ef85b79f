"""Test Airflow as in production: PostgreSQL, CeleryExecutor over Redis, two workers, two triggerers.

`make test-distributed` runs this, and installs PostgreSQL and Redis from Debian's packages if they are missing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import services
from airflow_api import TaskInstance
from airflow_stack import AirflowStack
from fault_matrix.lines import TALK, Time

from airflow_provider_retell.simulator import SCENARIOS, Simulator

pytestmark = pytest.mark.distributed

PATIENCE = 240.0
"""Seconds in which anything must have happened."""

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer", "triggerer-2")

BLOCKING = ("create_blocking", "register_blocking")
DEFERRABLE = ("create_deferrable", "register_deferrable")
NUMBERS = {
    task_id: [f"+1{200 + 10 * i + j}5550100" for j in range(10)]
    for i, task_id in enumerate([*BLOCKING, *DEFERRABLE, "register", "create"])
}
"""The number that each task calls, by map index; no other task calls it."""

PEOPLE = {
    task_id: [f"+1{area + place // 100}55501{place % 100:02}" for place in range(300)]
    for task_id, area in (("campaign_blocking", 500), ("campaign_deferrable", 600))
}
"""The people of each campaign. The calls to the last ten go on until a test skips to their end."""

DAG = f"""
from datetime import timedelta

from airflow.sdk import DAG
from airflow_provider_retell.operators import (
    RetellCampaignOperator,
    RetellCreatePhoneCallOperator,
    RetellRegisterPhoneCallOperator,
)
from airflow_provider_retell.sensors import RetellCallSensor

NUMBERS = {NUMBERS!r}
PEOPLE = {PEOPLE!r}
WAIT = {{"wait_for": "ended", "poll_interval": 2}}


def create(task_id, **arguments):
    operator = RetellCreatePhoneCallOperator.partial(task_id=task_id, from_number="+12025550199", **arguments)
    return operator.expand(to_number=NUMBERS[task_id])


def register(task_id, **arguments):
    operator = RetellRegisterPhoneCallOperator.partial(task_id=task_id, agent_id="agent_1", **arguments)
    return operator.expand(to_number=NUMBERS[task_id])


with DAG("fifty", default_args={{"retries": 2, "retry_delay": timedelta(seconds=1)}}):
    create("create_blocking", **WAIT)
    create("create_deferrable", deferrable=True, **WAIT)
    register("register_blocking", **WAIT)
    register("register_deferrable", deferrable=True, **WAIT)
    RetellCallSensor(task_id="sensor", call_id=register("register").output, deferrable=True, poke_interval=2)

with DAG("ten"):
    create("create", deferrable=True, **WAIT)

with DAG("campaigns", default_args={{"retries": 2, "retry_delay": timedelta(seconds=1)}}):
    for task_id, numbers in PEOPLE.items():
        RetellCampaignOperator(
            task_id=task_id,
            people=[{{"to_number": number}} for number in numbers],
            from_number="+12025550199",
            lines=20,
            calls_per_second=10,
            poll_interval=2,
            deferrable=task_id == "campaign_deferrable",
        )
"""

SETTINGS = {
    "CELERY__WORKER_CONCURRENCY": "24",  # so that one worker alone can hold all the calls
    "CORE__EXECUTOR": "CeleryExecutor",
    "CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
    "CORE__PARALLELISM": "64",
    # An API server that runs out of connections stands still for half a minute, its heartbeats included.
    "DATABASE__SQL_ALCHEMY_POOL_SIZE": "50",
    # How soon a dead worker is noticed: minutes elsewhere.
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "25",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
}


@pytest.fixture(scope="module")
def clock() -> Time:
    """The simulator's time: calls go on until a test skips to their end."""
    return Time()


@pytest.fixture(scope="module")
def simulator(clock: Time) -> Simulator:
    """A Retell on which all calls go on until a test skips to their end."""
    numbers: dict[str, Any] = dict.fromkeys(chain.from_iterable(NUMBERS.values()), "agent_hangup")
    for people in PEOPLE.values():
        numbers |= dict.fromkeys(people[:-10], replace(SCENARIOS["agent_hangup"], talk_seconds=4))
        numbers |= dict.fromkeys(people[-10:], "agent_hangup")
    return Simulator(clock=clock, numbers=numbers, ring_seconds=0, talk_seconds=TALK, concurrency_limit=100)


@pytest.fixture(scope="module")
def deployment(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """A real Airflow with two workers and two triggerers."""
    dags: Path = tmp_path_factory.mktemp("dags")
    (dags / "calls.py").write_text(DAG)
    with services.postgresql() as database, services.redis() as broker, simulator.serve() as url:
        more = {
            "CELERY__BROKER_URL": broker,
            "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg://{database}",
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg://{database}",
        }
        env = {f"AIRFLOW__{name}": value for name, value in {**SETTINGS, **more}.items()}
        env["AIRFLOW_CONN_RETELL_DEFAULT"] = simulator.connection(url)
        with AirflowStack(dags, home=tmp_path_factory.mktemp("airflow"), env=env) as airflow:
            airflow.start("triggerer-2", "triggerer", "--skip-serve-logs")
            for name in WORKERS:
                airflow.start(name, "celery", "worker", "--celery-hostname", name, "--skip-serve-logs")
            yield airflow


@pytest.fixture
def airflow(deployment: AirflowStack) -> AirflowStack:
    """Return that Airflow, with every component running again that another test has killed."""
    for name in (*WORKERS, *TRIGGERERS):
        if not deployment.is_running(name):
            deployment.start(name)
    return deployment


Task = tuple[str, int]


class Run:
    """A run, and the calls of its tasks."""

    def __init__(self, airflow: AirflowStack, simulator: Simulator, dag_id: str) -> None:
        self.airflow = airflow
        self.simulator = simulator
        self.dag_id = dag_id
        self.run_id = airflow.trigger(dag_id)
        self.tasks: dict[Task, TaskInstance] = {}
        self._marked = 0

    def wait_until(self, reached: Callable[[], bool]) -> float:
        """Wait until a condition holds; return how long that took."""
        began = time.monotonic()
        for instances in self.airflow.watch(self.dag_id, self.run_id, timeout=PATIENCE):
            self.tasks = {(it["task_id"], it["map_index"]): it for it in instances}
            self.check_no_harm()
            if reached():
                return time.monotonic() - began
        raise AssertionError(f"{self.dag_id} is over already: {self.states()}")

    def wait_for_end(self) -> None:
        assert self.airflow.wait_for_run(self.dag_id, self.run_id, timeout=PATIENCE) == "success"
        instances = self.airflow.task_instances(self.dag_id, self.run_id)
        self.tasks = {(it["task_id"], it["map_index"]): it for it in instances}

    def states(self) -> Counter[str]:
        return Counter(f"{task_id} {it['state']}" for (task_id, _), it in self.tasks.items())

    def all_wait(self) -> bool:
        """Return whether every task waits where it should."""
        wanted = dict.fromkeys(BLOCKING, "running") | {"register": "success"}
        states = {it["state"] == wanted.get(task_id, "deferred") for (task_id, _), it in self.tasks.items()}
        return states == {True} and all(self.tasks[task]["triggerer_job"] for task in self.deferred())

    def deferred(self) -> set[Task]:
        return {task for task, it in self.tasks.items() if it["state"] == "deferred"}

    def triggers_of(self, triggerer: str) -> set[Task]:
        """Return the deferred tasks whose triggers a triggerer has."""
        job = self.airflow.job_of(triggerer)
        return {task for task in self.deferred() if (self.tasks[task]["triggerer_job"] or {}).get("id") == job}

    def on(self, worker: str) -> set[Task]:
        """Return the tasks that a worker runs."""
        pids = {process.pid for process in self.airflow.processes(worker)}
        return {task for task, it in self.tasks.items() if it["state"] == "running" and it["pid"] in pids}

    def mark(self) -> None:
        """Forget the polls so far."""
        self._marked = len(self.simulator.requests)

    def all_polled(self) -> bool:
        """Return whether every call has been read again and again since the mark."""
        reads: Counter[str] = Counter()
        for request in self.simulator.requests[self._marked :]:
            if request.endpoint == "get-call":
                reads[request.path.rpartition("/")[2]] += 1
            elif request.endpoint == "list-calls":
                reads.update(request.json["filter_criteria"]["call_id"]["value"])
        return all(reads[call_id] >= 2 for ids in self.calls().values() for call_id in ids)

    def calls(self) -> dict[Task, list[str]]:
        """Return the ids of the calls that Retell was made to place, for each task that is to place one."""
        placed: dict[str, list[str]] = {}
        for call in self.simulator.calls.values():
            placed.setdefault(call.request["to_number"], []).append(call.call_id)
        return {
            (task_id, map_index): placed.get(NUMBERS[task_id][map_index], [])
            for task_id, map_index in self.tasks
            if task_id in NUMBERS
        }

    def check_no_harm(self) -> None:
        """Check that no person was called twice and no call was requested twice or stopped."""
        assert {task: ids for task, ids in self.calls().items() if len(ids) > 1} == {}
        calls = [self.simulator.calls[call_id] for call_id in chain.from_iterable(self.calls().values())]
        assert {(call.creates, call.stops) for call in calls} <= {(1, 0)}

    def check_rows(self) -> None:
        """Check that each task has one call, which has come to its own end, and that its row is that call."""
        self.check_no_harm()
        calls = self.calls()
        endings = {task: self.simulator.calls[call_id].ending for task, (call_id,) in calls.items()}
        assert endings == dict.fromkeys(calls, ("ended", "agent_hangup"))
        rows = {task: self.airflow.xcom(self.dag_id, self.run_id, *task) for task in calls}
        assert {task: [row["call_id"]] for task, row in rows.items()} == calls
        waited_for = [row for (task_id, _), row in rows.items() if task_id != "register"]
        assert {row["call_status"] for row in waited_for} == {"ended"}

    def logs(self, tasks: Iterable[Task], try_number: int = 1) -> dict[Task, str]:
        return {
            task: self.airflow.task_log(self.dag_id, self.run_id, *task, try_number=try_number) for task in tasks
        }


def test_of_fifty_calls_none_is_placed_twice_hung_up_on_or_lost_when_a_worker_and_a_triggerer_die(
    airflow: AirflowStack, simulator: Simulator, clock: Time
) -> None:
    """The other worker adopts the calls of the dead one, and the other triggerer waits for those that it had."""
    run = Run(airflow, simulator, "fifty")
    run.wait_until(lambda: run.all_wait() and run.all_polled())
    assert sum(map(len, run.calls().values())) == 50

    _, worker = sorted(WORKERS, key=airflow.busy_workers)
    held = run.on(worker)
    survivor, triggerer = sorted(TRIGGERERS, key=lambda name: len(run.triggers_of(name)))
    triggers = run.triggers_of(triggerer)
    assert held
    assert triggers
    airflow.kill(worker)
    airflow.kill(triggerer)

    moved = run.wait_until(lambda: run.triggers_of(survivor) == run.deferred())
    run.mark()
    adopted = moved + run.wait_until(
        lambda: run.all_wait() and all(run.tasks[task]["try_number"] == 2 for task in held) and run.all_polled()
    )
    clock.skip(TALK)
    run.wait_for_end()

    run.check_rows()
    registered = [call_id for (task_id, _), (call_id,) in sorted(run.calls().items()) if task_id == "register"]
    assert [row["call_id"] for row in airflow.xcom("fifty", run.run_id, "sensor")] == registered
    assert {task for task, it in run.tasks.items() if it["try_number"] > 1} == held
    for task, log in run.logs(held, try_number=2).items():
        assert f"Adopted {run.calls()[task][0]} placed by try 1 (ongoing): not called again" in log
    print(  # noqa: T201 (the figures are for people)
        f"50 calls, each placed once, none hung up on or lost. {worker} was killed with {len(held)} of 20 waiting "
        f"tasks: tried again, the call adopted and polled, after {adopted:.0f} s. {triggerer} was killed with "
        f"{len(triggers)} of 21 triggers: the other had them after {moved:.0f} s."
    )


def test_a_triggerer_that_stood_still_stops_no_call_when_it_goes_on(
    airflow: AirflowStack, simulator: Simulator, clock: Time
) -> None:
    """Airflow has given its triggers to another and has it kill the ones that it still has: the calls go on."""
    run = Run(airflow, simulator, "ten")
    run.wait_until(lambda: run.all_wait() and run.all_polled())
    survivor, triggerer = sorted(TRIGGERERS, key=lambda name: len(run.triggers_of(name)))
    triggers = run.triggers_of(triggerer)
    assert triggers

    processes = airflow.processes(triggerer)
    for process in processes:
        process.suspend()
    run.wait_until(lambda: run.triggers_of(survivor) == run.deferred())
    for process in processes:
        process.resume()
    killed = "Trigger cancelled by user action, invoking on_kill"
    run.wait_until(lambda: all(killed in log for log in run.logs(triggers).values()))
    run.mark()
    run.wait_until(lambda: run.all_wait() and run.all_polled())
    clock.skip(TALK)
    run.wait_for_end()

    run.check_rows()
    print(f"{triggerer} stood still with {len(triggers)} of 10 triggers.")  # noqa: T201 (the same)


def test_two_campaigns_of_300_call_each_person_once_when_a_worker_and_a_triggerer_die(
    airflow: AirflowStack, simulator: Simulator, clock: Time
) -> None:
    """The worker dies while both place calls, and the triggerer of the deferred one while its last calls go on."""
    run = Run(airflow, simulator, "campaigns")
    blocking, deferrable = ("campaign_blocking", -1), ("campaign_deferrable", -1)
    dials = lambda task_id: Counter(  # noqa: E731
        number
        for call in list(simulator.calls.values())
        if (number := call.request["to_number"]) in PEOPLE[task_id]
    )
    run.wait_until(lambda: dials(blocking[0]).total() >= 100)
    (worker,) = [name for name in WORKERS if blocking in run.on(name)]
    died = run.on(worker)
    airflow.kill(worker)

    again = run.wait_until(
        lambda: (
            all(run.tasks[task]["try_number"] == 2 for task in died)
            and all(len(dials(task_id)) == 300 for task_id in PEOPLE)
            and (run.tasks[blocking]["state"], run.tasks[deferrable]["state"]) == ("running", "deferred")
            and bool(run.tasks[deferrable]["triggerer_job"])
        )
    )
    (triggerer,) = [name for name in TRIGGERERS if deferrable in run.triggers_of(name)]
    airflow.kill(triggerer)
    (survivor,) = [name for name in TRIGGERERS if name != triggerer]
    moved = run.wait_until(lambda: deferrable in run.triggers_of(survivor))
    clock.skip(TALK)
    run.wait_for_end()

    for task_id, numbers in PEOPLE.items():
        assert dials(task_id) == Counter(numbers)
        result = airflow.xcom("campaigns", run.run_id, task_id)
        assert (result["people"], result["outcomes"], result["attempts"]) == (300, {"answered": 300}, 300)
        assert [row["to_number"] for row in result["rows"]] == numbers
    print(  # noqa: T201 (the same)
        f"Two campaigns of 300 people, each called once. {worker} was killed with {len(died)} of them: all were "
        f"called {again:.0f} s later. {triggerer} was killed: the other had the trigger after {moved:.0f} s."
    )
