"""Measure what a call costs all of Airflow: API server, scheduler, DAG processor, triggerer, workers."""

from __future__ import annotations

import json
import statistics
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

from benchmarks.campaign_process import numbers, people_file
from benchmarks.dags.campaign import LINES
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
    # Airflow's own defaults, unlike in the tests: what an idle stack takes is deducted, and should be little.
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
}
PATIENCE: Final = 240.0
"""Seconds that a run may take."""
SETTLE: Final = 3.0
"""Seconds after which the processes of what is over have ended."""
IDLE: Final = 20.0
"""Seconds for which the stack is watched with nothing to do."""
SHORT_CALL: Final = 5.0
"""Seconds of a call of a campaign: 10,000 of two minutes would take a day."""
SUPERVISORS, TASKS = "supervisors", "tasks"
"""The parts of the executor: the processes that watch over tasks, and those that run them."""
_SMALL: Final = 0.1
"""Goals below this are shown with four digits."""


ROUNDS: Final = 3
"""Times that each way and Airflow alone run, in turns; the medians count. Once before, they warm the stack up."""
PEOPLE: Final = 1_000
"""The people of the campaign: for thirty, one task would be too cheap to be measured."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to place calls and to wait for them.

    Attributes:
        title: Its name on the page.
        floor: The DAG that has Airflow do as many tasks, which do nothing.
        of_http: The most it may cost, as a share of what HttpOperator and HttpSensor cost.
        of_sdk: The same, of a task that polls with retell-sdk.
        of_floor: The same, of Airflow alone; None if it is not compared with that.
    """

    title: str
    floor: str
    of_http: float | None = None
    of_sdk: float | None = None
    of_floor: float | None = 1.05


HTTP: Final = "http"
SDK: Final = "sdk"
CAMPAIGN: Final = "campaign"
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
    CAMPAIGN: Way(
        title=f"a campaign of {PEOPLE:,} people",
        floor="airflow_one_task_and_one_wait",
        of_http=0.01,
        of_floor=None,  # one task in which all of its calls happen
    ),
}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The resources that a run took.

    Attributes:
        parts: CPU seconds for each call by component, beyond what it takes when it has nothing to do. A supervisor
            is the process of the executor that watches over the process of a task.
        seconds: From the start of the run to its end.
        requests: The number of requests to Retell.
    """

    parts: Mapping[str, float]
    seconds: float
    requests: int

    @property
    def busy(self) -> float:
        """CPU seconds for each call."""
        return sum(self.parts.values())

    @property
    def shares(self) -> str:
        """The parts in milliseconds, largest first, without those that take next to nothing."""
        known = sorted(self.parts.items(), key=lambda part: -part[1])
        return ", ".join(f"{name} {1000 * part:.0f}" for name, part in known if abs(part) > self.busy / 100)


def figures() -> Iterator[Figure]:
    """Measure one run after the other on one stack."""
    runs, idle = _costs()
    costs = {dag: _median(each) for dag, each in runs.items()}
    for dag, way in WAYS.items():
        ours, floor = costs[dag].busy, costs[way.floor].busy / (PEOPLE / CALLS if dag == CAMPAIGN else 1)
        if way.of_floor is not None:
            ratio = statistics.median(
                one.busy / alone.busy for one, alone in zip(runs[dag], runs[way.floor], strict=True)
            )
            yield Figure(
                what=f"CPU of the whole stack per call: {way.title}, against Airflow alone",
                measured=f"{ratio:.2f}",
                goal=f"at most {way.of_floor}",
                met=ratio <= way.of_floor,
                beside=f"{1000 * ours:.0f} ms; {ROUNDS} runs, in turns",
                floor=f"{1000 * floor:.0f} ms",
            )
        for other, goal in ((HTTP, way.of_http), (SDK, way.of_sdk)):
            if goal is None:
                continue
            theirs = costs[other].busy
            name = "`HttpOperator` and `HttpSensor`" if other == HTTP else "a task that polls with `retell-sdk`"
            yield Figure(
                what=f"CPU of the whole stack per call: {way.title}, against {name}",
                measured=f"{ours / theirs:.{2 if goal > _SMALL else 4}f}",
                goal=f"at most {goal}",
                met=ours / theirs <= goal,
                beside=f"{1000 * ours:.1f} ms against {1000 * theirs:.0f} ms",
                floor=f"{floor / theirs:.{2 if goal > _SMALL else 4}f}",
            )
    for dag, cost in costs.items():
        known = WAYS.get(dag)
        calls = f"{PEOPLE:,} calls" if dag == CAMPAIGN else f"{CALLS} calls of {TALK_SECONDS} s"
        yield Figure(
            what=f"the same in CPU seconds: {known.title if known else f'`{dag}`'}",
            measured=f"{cost.busy:.4f} s" if dag == CAMPAIGN else f"{cost.busy:.2f} s",
            beside=f"{cost.seconds:.0f} s for {calls}, {cost.requests} requests; in ms: {cost.shares}",
            floor=f"{costs[known.floor].busy:.2f} s" if known and dag != CAMPAIGN else "",
        )
    nothing = sum(idle.values())
    yield Figure(what="the same for a stack with nothing to do", measured=f"{nothing:.3f} s a second", floor="")


def _median(costs: Sequence[Cost]) -> Cost:
    """Return the run that cost as much as the median."""
    return sorted(costs, key=lambda cost: cost.busy)[len(costs) // 2]


def _costs() -> tuple[dict[str, list[Cost]], Mapping[str, float]]:
    talks: Any = conversations(CALLS, ring_seconds=0, talk_seconds=(TALK_SECONDS, TALK_SECONDS))
    people = numbers(PEOPLE)
    short = conversations(1, ring_seconds=0, talk_seconds=(SHORT_CALL, SHORT_CALL))
    talks |= dict.fromkeys(people, next(iter(short.values())))
    in_turns = [dag for way, it in WAYS.items() if it.of_floor is not None for dag in (it.floor, way)]
    once = [HTTP, SDK, CAMPAIGN]
    costs: dict[str, list[Cost]] = {dag: [] for dag in [*in_turns, *once]}
    with (
        people_file(PEOPLE) as (listed, path),
        RetellProcess(numbers=talks, dial_delay=0, concurrency_limit=LINES + CALLS) as process,
        AirflowStack(DAGS, env=SETTINGS | connections(process)) as airflow,
    ):
        wait_for_dags(airflow, [*costs])
        _warm_up(airflow, in_turns)
        idle = idle_seconds(airflow)
        for number in range(ROUNDS):
            for dag in in_turns if number % 2 else reversed(in_turns):
                costs[dag].append(run(airflow, process, dag, idle))
        for dag in once:
            more: Any = {"calls": PEOPLE, "conf": {"people": listed, "path": path}} if dag == CAMPAIGN else {}
            costs[dag].append(run(airflow, process, dag, idle, **more))
    return costs, idle


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


def _warm_up(airflow: AirflowStack, dags: Sequence[str]) -> None:
    """Run all at the same time: a process imports and caches much for the first tasks that it meets."""
    for dag, run_id in [(dag, airflow.trigger(dag)) for dag in dags]:
        airflow.wait_for_run(dag, run_id, timeout=PATIENCE)


def idle_seconds(airflow: AirflowStack) -> Mapping[str, float]:
    """Return the CPU seconds that each component takes in a second when it has nothing to do."""
    time.sleep(SETTLE)
    before = _busy(airflow)
    time.sleep(IDLE)
    after = _busy(airflow)
    return {name: (after[name] - before[name]) / IDLE for name in after}


def run(
    airflow: AirflowStack,
    process: RetellProcess,
    dag: str,
    idle: Mapping[str, float],
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
    after, passed = _busy(airflow), time.monotonic() - clock
    parts = {name: (after[name] - before[name] - idle[name] * passed) / calls for name in after}
    requests = process.ask(requests_between, began, time.time())
    return Cost(parts=parts, seconds=seconds, requests=sum(requests.values()))


def _busy(airflow: AirflowStack) -> dict[str, float]:
    """Return the CPU seconds of all processes of each component, those that have ended included.

    A process of the executor looks at a task that has ended only when it begins the next: its time does not count
    as a child's until then, and would count in a later run.
    """
    busy = dict.fromkeys((*airflow.running, SUPERVISORS, TASKS), 0.0)
    for name, leader in airflow.running.items():
        for it in processes_of({leader.pid}, zombies=True):
            with suppress(psutil.NoSuchProcess):
                times = it.cpu_times()
                of_executor = name == "scheduler" and it.pid != leader.pid
                own = TASKS if it.status() == psutil.STATUS_ZOMBIE else SUPERVISORS
                busy[own if of_executor else name] += times.user + times.system
                busy[TASKS if of_executor else name] += times.children_user + times.children_system
    return busy
