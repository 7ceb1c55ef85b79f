"""Run an example DAG in a real Airflow against the simulator, with a call for every way a call may end.

With RETELL_API_KEY and RETELL_AGENT_ID in the environment it talks to Retell instead.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_api import AirflowError
from airflow_stack import AirflowStack

from airflow_provider_retell.outcomes import outcome_of
from airflow_provider_retell.simulator import SCENARIOS, RealClock, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_api import TaskInstance

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".airflow" / "demo"
SPEED = 10.0  # the five minutes of the call that nobody dials take half a minute


@dataclass(frozen=True, kw_only=True)
class Demo:
    """An example DAG.

    Attributes:
        dag_id: Its id.
        story: What it does, in words.
        tasks: Its tasks, in the order in which they run.
        shown: The task whose result is shown at the end.
        text: Writes that result.
        dials: Whether phones would ring with a real account.
        env: The further environment variables that it needs, given the folder of the demo.
    """

    dag_id: str
    story: str
    tasks: tuple[str, ...]
    shown: str
    text: Callable[[Any], str]
    dials: bool = False
    env: Callable[[Path], dict[str, str]] = lambda _home: {}


def demos() -> dict[str, Demo]:
    """Return the examples that this script runs, by the names of their files."""
    return {
        "call_list": Demo(
            dag_id="retell_call_list",
            story="a call for each way a call may end",
            tasks=("people", "register", "wait", "report"),
            shown="wait",
            text=table,
        ),
        "campaign": Demo(
            dag_id="retell_appointments",
            story="a campaign that calls the first ten people of a table",
            tasks=("read", "people", "call", "write_back"),
            shown="call",
            text=lambda result: json.dumps(result, indent=1),
            dials=True,
            env=lambda home: {
                "AIRFLOW_CONN_SQLITE_DEFAULT": json.dumps({"conn_type": "sqlite", "host": f"{home}/demo.db"}),
                "RETELL_CAMPAIGNS": f"{home}/campaigns",
            },
        ),
    }


@dataclass(frozen=True, kw_only=True)
class Service:
    """The service that answers the requests, and the requests.

    Attributes:
        introduction: The text that is printed before it starts.
        connection: The Airflow connection as JSON, with the key.
        agent_id: The agent of the calls.
        numbers: The numbers to call.
        statuses: Returns the status of each call right now; empty for Retell itself, which is not asked.
        timeout: Seconds that the run may take.
    """

    introduction: str
    connection: str
    agent_id: str
    numbers: Sequence[str]
    statuses: Callable[[], Iterable[str]]
    timeout: float


def retell(api_key: str, agent_id: str) -> Service:
    """Describe a run against Retell itself."""
    numbers = ["+12025550100", "+12025550101", "+12025550110"]
    return Service(
        introduction=(
            f"This uses the real Retell service, because RETELL_API_KEY and RETELL_AGENT_ID are set.\n"
            f"It registers {len(numbers)} calls with the agent {agent_id} and dials none of them:\n"
            f"unless your telephony dials them, they end as registered_call_timeout after five minutes."
        ),
        connection=json.dumps({"conn_type": "retell", "password": api_key}),
        agent_id=agent_id,
        numbers=numbers,
        statuses=tuple,
        timeout=900,
    )


def simulation(demo: Demo, simulator: Simulator, url: str) -> Service:
    """Describe a run against the simulator, with one call for each outcome."""
    endings = {outcome_of(it.status, it.reason): it for it in reversed([*SCENARIOS.values()])}
    numbers = sorted(scenario.number for outcome, scenario in endings.items() if outcome)
    return Service(
        introduction=(
            f"This uses the simulator at {url}, {SPEED:.0f} times as fast as real time: {demo.story}.\n"
            f"No phone rings, and nothing leaves this machine. "
            f"(For the real service, set RETELL_API_KEY and RETELL_AGENT_ID.)"
        ),
        connection=simulator.connection(url),
        agent_id="agent_simulated",
        numbers=numbers,
        statuses=lambda: [call.status(simulator.clock()) for call in simulator.calls.values()],
        timeout=180,
    )


def run(demo: Demo, service: Service) -> bool:
    """Run the DAG, print what happens, and return whether it went well."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {line}", flush=True)

    shutil.rmtree(HOME, ignore_errors=True)
    say("starting Airflow: API server, scheduler, DAG processor, triggerer")
    env = {"AIRFLOW_CONN_RETELL_DEFAULT": service.connection, "RETELL_AGENT_ID": service.agent_id}
    env |= demo.env(HOME)
    with AirflowStack(ROOT / "example_dags", home=HOME, env=env) as airflow:
        say(f"Airflow is up; its UI is at {airflow.url} until this ends")
        people = [{"name": f"Person {place}", "number": it} for place, it in enumerate(service.numbers, 1)]
        run_id = airflow.trigger(demo.dag_id, conf={"people": people})
        last = ""
        for instances in airflow.watch(demo.dag_id, run_id, service.timeout):
            line = progress(demo.tasks, instances, service.statuses(), airflow.busy_workers())
            if line != last:
                say(line)
            last = line
        if airflow.run_state(demo.dag_id, run_id) == "success":
            print("\n" + demo.text(airflow.xcom(demo.dag_id, run_id, demo.shown)) + "\n")
            say("done; stopping Airflow")
            return True
        print(
            f"\nThe run has failed.\n{reasons(airflow, demo.dag_id, run_id)}\nAll logs are in {HOME}.",
            file=sys.stderr,
        )
        return False


def progress(
    tasks: Sequence[str], instances: Iterable[TaskInstance], statuses: Iterable[str], busy_workers: int
) -> str:
    """Put the states of the tasks and calls on one line."""
    states = {task_id: Counter[str]() for task_id in tasks}
    for each in instances:
        states[each["task_id"]][each["state"] or "-"] += 1
    counts_by_task = ", ".join(f"{task_id} {counted(counts)}" for task_id, counts in states.items())
    calls = Counter(statuses)
    return f"{counts_by_task} | {f'calls: {counted(calls)} | ' if calls else ''}busy workers: {busy_workers}"


def counted(counts: Counter[str]) -> str:
    """Write `1 ongoing 2 ended`; if all are the same, only the word."""
    if counts.total() == 1:
        return next(iter(counts))
    return " ".join(f"{count} {word}" for word, count in sorted(counts.items()))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the calls as a table, with the last four digits of the numbers."""
    lines: list[tuple[str, ...]] = [("number", "status", "reason", "outcome", "seconds")]
    for row in rows:
        duration = row.get("duration_ms")
        lines.append(
            (
                f"...{str(row.get('to_number', ''))[-4:]}",
                str(row.get("call_status")),
                str(row.get("disconnection_reason") or "-"),
                str(row.get("outcome")),
                "-" if duration is None else f"{duration / 1000:.0f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def reasons(airflow: AirflowStack, dag_id: str, run_id: str) -> str:
    """Return the error lines of every failed task's log."""
    found = []
    for it in airflow.task_instances(dag_id, run_id):
        if it["state"] != "failed":
            continue
        log = airflow.task_log(dag_id, run_id, it["task_id"], it["map_index"], it["try_number"])
        for line in map(json.loads, log.splitlines()):
            if line.get("level") in {"error", "critical"}:
                details = [detail["exc_value"] for detail in line.get("error_detail") or ()]
                found.append(f"  {it['task_id']}: {line['event']} {' '.join(details)}".rstrip())
    return "\n".join(found) or "  No task's log holds an error."


def main() -> int:
    """Return the exit code."""
    # These signals must end Airflow too, as Ctrl-C does.
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, _: sys.exit(128 + number))
    api_key, agent_id = os.environ.get("RETELL_API_KEY"), os.environ.get("RETELL_AGENT_ID")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("example", nargs="?", default="call_list", choices=demos(), help="the example DAG")
    demo = demos()[parser.parse_args().example]
    if demo.dials and api_key and agent_id:
        parser.error("This example makes phones ring: unset RETELL_API_KEY and RETELL_AGENT_ID to simulate it.")
    with ExitStack() as serving:
        if api_key and agent_id:
            service = retell(api_key, agent_id)
        else:
            simulator = Simulator(clock=RealClock(speed=SPEED), concurrency_limit=100)
            service = simulation(demo, simulator, serving.enter_context(simulator.serve()))
        print(service.introduction, flush=True)
        try:
            return 0 if run(demo, service) else 1
        except AirflowError as error:
            print(f"\n{error}\nAll logs are in {HOME}.", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nInterrupted; Airflow is stopped.", file=sys.stderr)
            return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
