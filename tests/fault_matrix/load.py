"""Defer many tasks on a machine that is busy, while their calls end within seconds.

Airflow fails a deferred task if it has queued it again before it learns that the process that deferred has ended.
Here the scheduler is late and the events come early, which is the worst case for both.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from airflow_api import FINISHED
from airflow_stack import AirflowStack

from airflow_provider_retell.provider.options import OPTIONS
from benchmarks.retell import RetellProcess, conversations, ends
from fault_matrix.stage import HERE

DAG: Final = "deferred"
TASKS: Final = 20
"""Mapped tasks in a run of the DAG."""

RUNS: Final = 10
BUSY_LOOPS: Final = 4
TALK_SECONDS: Final = (0.0, 5.0)
PATIENCE: Final = 900.0
"""Seconds after which the measurement ends, and every busy loop with it."""

SETTINGS: Final = {
    "AIRFLOW__CORE__PARALLELISM": "32",
    "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "2",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "100",
}
_REPORT: Final = re.compile(
    r"^(?P<at>\S+).*Received executor event with state success for task instance "
    r".*run_id='(?P<run>[^']+)'.*map_index=(?P<place>\d+)"
)


@dataclass(frozen=True, kw_only=True)
class Load:
    """The results of the tasks.

    Attributes:
        tasks: How many there were.
        states: How many ended in each of Airflow's states.
        blamed: How many times Airflow said that a task's state did not fit the report of its process.
        lags: Seconds from the placing of each call until the scheduler read that its first process had ended.
        delays: Seconds from the end of each call to the end of its task.
    """

    tasks: int
    states: Mapping[str, int]
    blamed: int
    lags: tuple[float, ...]
    delays: tuple[float, ...]


def measure(folder: Path, *, shortest_deferral: float | None = None, runs: int = RUNS) -> Load:
    """Run the DAG on a busy machine, and return what became of its tasks.

    Args:
        folder: Where Airflow's logs are kept.
        shortest_deferral: The option of that name; its default unless given.
        runs: How many runs of the DAG.
    """
    option = OPTIONS["shortest_deferral"].default if shortest_deferral is None else shortest_deferral
    calls = conversations(runs * TASKS, ring_seconds=0, talk_seconds=TALK_SECONDS)
    numbers = list(calls)
    with RetellProcess(numbers=calls, concurrency_limit=len(calls)) as process:
        env = SETTINGS | {
            "AIRFLOW_CONN_RETELL_DEFAULT": process.connection,
            "AIRFLOW__RETELL__SHORTEST_DEFERRAL": f"{option:g}",
        }
        with AirflowStack(HERE / "load_dags", home=folder, env=env) as airflow, busy():
            airflow.unpause(DAG)
            started = {
                airflow.trigger(DAG, {"numbers": numbers[first : first + TASKS]}): numbers[first : first + TASKS]
                for first in range(0, len(numbers), TASKS)
            }
            _wait(airflow, started)
            found = {run_id: airflow.task_instances(DAG, run_id) for run_id in started}
        over = process.ask(placed_and_ended)
        log = airflow.log_of("scheduler").read_text(errors="replace")
    return _load(started, found, over, log)


def describe(load: Load) -> str:
    """Return what the page says of a measurement."""
    failed = load.tasks - load.states.get("success", 0)
    known, over = _middle_and_worst(load.lags), _middle_and_worst(load.delays)
    lines = (
        f"Beside {BUSY_LOOPS} busy loops, {load.tasks} deferrable operators, {TASKS} in each run of their DAG,",
        f"wait for calls that end within {TALK_SECONDS[1]:.0f} seconds (`retries=0`, `poll_interval=1`).",
        "",
        "| measured | goal | result |",
        "| --- | --- | --- |",
        f"| tasks that Airflow failed although their call was over | 0 | {failed} of {load.tasks} |",
        f"| from placing a call until the scheduler knew that the deferring process had ended | | {known} |",
        f"| from the end of a call to the end of its task | | {over} |",
    )
    return "\n".join(lines)


def _middle_and_worst(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.0f} s, at worst {max(seconds):.0f} s" if seconds else "not known"


def placed_and_ended(simulator: Any) -> dict[str, tuple[float, float]]:
    """Return when the call to each number was placed, and when it ended."""
    over = ends(simulator)
    return {
        simulator.call(call_id)["to_number"]: (call.created_at, over[call_id][0])
        for call_id, call in simulator.calls.items()
    }


@contextmanager
def busy() -> Iterator[None]:
    """Keep the machine busy until the block ends, and not longer than `PATIENCE`."""
    code = f"import time; end = time.monotonic() + {PATIENCE}\nwhile time.monotonic() < end: pass"
    loops = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(BUSY_LOOPS)]  # noqa: S603 (our own code)
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _wait(airflow: AirflowStack, run_ids: Mapping[str, Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    left = set(run_ids)
    while left and time.monotonic() < deadline:
        time.sleep(3)  # looking costs the API server
        left = {run_id for run_id in left if airflow.run_state(DAG, run_id) not in FINISHED}


def _load(
    started: Mapping[str, list[str]],
    found: Mapping[str, list[dict[str, Any]]],
    over: Mapping[str, tuple[float, float]],
    log: str,
) -> Load:
    reports: dict[tuple[str, int], float] = {}
    for line in log.splitlines():
        if report := _REPORT.search(line):
            at = datetime.fromisoformat(report["at"]).timestamp()
            reports.setdefault((report["run"], int(report["place"])), at)
    lags, delays = [], []
    for run_id, instances in found.items():
        for instance in instances:
            place = instance["map_index"]
            if place < 0 or (number := started[run_id][place]) not in over:
                continue
            placed_at, ended_at = over[number]
            if (run_id, place) in reports:
                lags.append(reports[run_id, place] - placed_at)
            if instance["state"] == "success":
                delays.append(datetime.fromisoformat(instance["end_date"]).timestamp() - ended_at)
    states = Counter(str(instance["state"]) for instances in found.values() for instance in instances)
    return Load(
        tasks=states.total(),
        states=dict(states),
        blamed=len(re.findall(r"state mismatch|but the task instance's state attribute is", log)),
        lags=tuple(sorted(lags)),
        delays=tuple(sorted(delays)),
    )
