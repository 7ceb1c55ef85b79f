"""Measure what a call costs all of Airflow: API server, scheduler, DAG processor, triggerer, workers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
from airflow_api import FINISHED
from airflow_stack import AirflowStack
from processes import processes_of

from benchmarks.dags.people import CALLS, TALK_SECONDS
from benchmarks.figures import Figure
from benchmarks.retell import RetellProcess, conversations, requests_between

DAGS: Final = Path(__file__).parent / "dags"
SETTINGS: Final = {
    # All calls at once, so that no task queues for a worker.
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
    "AIRFLOW__CORE__PARALLELISM": "64",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "100",
    # Each file is read once: what reading it again costs is a matter of settings.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
}
PATIENCE: Final = 240.0
"""Seconds that a run may take."""
SETTLE: Final = 3.0
"""Seconds after which the processes of what is over have ended."""
IDLE: Final = 10.0
"""Seconds for which the stack is watched with nothing to do."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to place calls and to wait for them.

    Attributes:
        title: Its name on the page.
        floor: The DAG that has Airflow do as many tasks, which do nothing.
        of_http: The most it may cost, as a share of what HttpOperator and HttpSensor cost.
        of_sdk: The same, of a task that polls with retell-sdk.
        of_floor: The same, of Airflow alone.
    """

    title: str
    floor: str
    of_http: float | None = None
    of_sdk: float | None = None
    of_floor: float = 1.05


HTTP: Final = "http"
SDK: Final = "sdk"
WAYS: Final = {
    "register_and_sensor": Way(
        title="register operator, one sensor for all",
        floor="airflow_a_task_each_and_one_wait",
        of_http=0.25,
        of_sdk=0.15,
    ),
    "one_task_and_sensor": Way(
        title="one task that registers all through the hook, one sensor for all",
        floor="airflow_one_task_and_one_wait",
        of_http=0.25,
        of_sdk=0.15,
    ),
    "operator_that_waits": Way(
        title="operator with `wait_for`, deferrable",
        floor="airflow_a_wait_each",
        of_http=0.35,
        of_floor=1.15,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The resources that a run took.

    Attributes:
        busy: CPU seconds for each call, beyond what the stack takes when it has nothing to do.
        seconds: From the start of the run to its end.
        requests: The number of requests to Retell.
    """

    busy: float
    seconds: float
    requests: int


def figures() -> Iterator[Figure]:
    """Measure one run after the other on one stack."""
    costs, idle = _costs()
    for dag, way in WAYS.items():
        ours, floor = costs[dag].busy, costs[way.floor].busy
        yield Figure(
            what=f"CPU of the whole stack per call: {way.title}, against Airflow alone",
            measured=f"{ours / floor:.2f}",
            goal=f"at most {way.of_floor}",
            met=ours / floor <= way.of_floor,
            beside=f"as many tasks that do nothing: {floor:.2f} s",
        )
        for other, goal in ((HTTP, way.of_http), (SDK, way.of_sdk)):
            if goal is None:
                continue
            theirs = costs[other].busy
            name = "`HttpOperator` and `HttpSensor`" if other == HTTP else "a task that polls with `retell-sdk`"
            yield Figure(
                what=f"CPU of the whole stack per call: {way.title}, against {name}",
                measured=f"{ours / theirs:.2f}",
                goal=f"at most {goal}",
                met=ours / theirs <= goal,
                beside=f"Airflow with as many tasks that do nothing: {floor / theirs:.2f}",
            )
    for dag, cost in costs.items():
        yield Figure(
            what=f"the same in CPU seconds: {WAYS[dag].title if dag in WAYS else f'`{dag}`'}",
            measured=f"{cost.busy:.2f} s",
            beside=f"{cost.seconds:.0f} s for {CALLS} calls of {TALK_SECONDS} s, {cost.requests} requests",
        )
    yield Figure(what="the same for a stack with nothing to do", measured=f"{idle:.2f} s a second")


def _costs() -> tuple[dict[str, Cost], float]:
    calls = conversations(CALLS, ring_seconds=0, talk_seconds=(TALK_SECONDS, TALK_SECONDS))
    with RetellProcess(numbers=calls, dial_delay=0) as process:
        dags = [way.floor for way in WAYS.values()] + [*WAYS, HTTP, SDK]
        with AirflowStack(DAGS, env=SETTINGS | connections(process)) as airflow:
            wait_for_dags(airflow, dags)
            idle = _idle(airflow)
            return {dag: run(airflow, process, dag, idle) for dag in dags}, idle


def connections(process: RetellProcess) -> dict[str, str]:
    """Return the environment variables with the connections to a Retell, for all ways."""
    http = {"conn_type": "http", "host": process.url, "extra": {"Authorization": "Bearer key_simulator"}}
    return {
        "AIRFLOW_CONN_RETELL_DEFAULT": process.connection,
        "AIRFLOW_CONN_RETELL_HTTP": json.dumps(http),
    }


def wait_for_dags(airflow: AirflowStack, dags: Sequence[str]) -> None:
    """Wait until Airflow knows all of them."""
    for dag in dags:
        airflow.wait_until(partial(_is_known, airflow, dag), f"There is no DAG {dag}")


def _is_known(airflow: AirflowStack, dag: str) -> bool:
    return any(known["dag_id"] == dag for known in airflow.ask("GET", "/api/v2/dags")["dags"])


def _idle(airflow: AirflowStack) -> float:
    """Return the CPU seconds that the stack takes in a second when it has nothing to do."""
    time.sleep(SETTLE)
    before = _busy(airflow)
    time.sleep(IDLE)
    return (_busy(airflow) - before) / IDLE


def run(
    airflow: AirflowStack,
    process: RetellProcess,
    dag: str,
    idle: float,
    *,
    calls: int = CALLS,
    conf: Mapping[str, Any] | None = None,
    patience: float = PATIENCE,
) -> Cost:
    """Run a DAG, and return what each of its calls cost."""
    before, began, clock = _busy(airflow), time.time(), time.monotonic()
    run_id = airflow.trigger(dag, conf)
    # Looking costs the API server: seldom, and only as long as it takes.
    while (state := airflow.run_state(dag, run_id)) not in FINISHED:
        if time.monotonic() > clock + patience:
            raise RuntimeError(f"{dag} is not over after {patience:.0f} s.")
        time.sleep(1)
    seconds = time.monotonic() - clock
    if state != "success":
        raise RuntimeError(f"{dag} has failed.")
    time.sleep(SETTLE)
    busy = _busy(airflow) - before - idle * (time.monotonic() - clock)
    requests = process.ask(requests_between, began, time.time())
    return Cost(busy=busy / calls, seconds=seconds, requests=sum(requests.values()))


def _busy(airflow: AirflowStack) -> float:
    """Return the CPU seconds of all processes of the stack, those that have ended included."""
    total = 0.0
    for it in processes_of({leader.pid for leader in airflow.running.values()}):
        with suppress(psutil.NoSuchProcess):
            times = it.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
