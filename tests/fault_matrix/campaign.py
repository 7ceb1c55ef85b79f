"""A campaign in the fault matrix: a DAG run with a Retell of its own, its faults and its result."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from airflow_api import FINISHED, AirflowError
from airflow_stack import AirflowStack

from airflow_provider_retell.simulator import SCENARIOS, Fault, Simulator
from fault_matrix.lines import TALK, Time
from fault_matrix.stage import MissedError

LAST: Final = 10
"""The calls to the last people go on until the matrix makes time pass; the others are over in seconds."""

TALK_SECONDS: Final = 4.0
PATIENCE: Final = 900.0
"""Seconds in which anything must have happened, on a machine that runs a dozen campaigns at once."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a campaign.

    Attributes:
        once: How many people were called once.
        twice: How many were called more often.
        never: How many were not.
        in_file: How many are in the file of the people, with their outcome.
        state: The state of the run.
        tries: How many tries it took.
        note: What went differently from the row's intention.
    """

    once: int
    twice: int
    never: int
    in_file: int
    state: str
    tries: int
    note: str = ""

    def __str__(self) -> str:
        return f"{self.twice} called twice, {self.never} not called, {self.in_file} in the file, {self.state}" + (
            f" ({self.note})" if self.note else ""
        )


class Campaign:
    """One campaign with a Retell of its own."""

    def __init__(self, name: str, dag: str, folder: Path, *, faults: Sequence[Fault], people: int) -> None:
        self.dag_id = dag
        self.conn_id = f"{name}_{dag}"
        self.numbers = [f"+1{300 + place // 100}55501{place % 100:02}" for place in range(people)]
        self.time = Time()
        lasting = self.numbers[-LAST:]
        self.simulator = Simulator(
            clock=self.time,
            api_key=f"key_of_{self.conn_id}",
            numbers=dict.fromkeys(self.numbers, "agent_hangup"),
            ring_seconds=0,
            talk_seconds=TALK_SECONDS,
            concurrency_limit=1000,
        )
        for number in lasting:
            self.simulator.play(number, replace(SCENARIOS["agent_hangup"], talk_seconds=TALK))
        self.simulator.fail(*faults)
        self.folder = folder / self.conn_id
        self.folder.mkdir()
        self.people = self.folder / "people.csv"
        self.people.write_text("to_number,name\n" + "".join(f"{number},Ada\n" for number in self.numbers))
        self.run_id = ""

    def connection(self, url: str) -> tuple[str, str]:
        fields = json.loads(self.simulator.connection(url))
        fields["extra"] = {"timeout": 2, "max_attempts": 2, "max_retry_delay": 1}
        return f"AIRFLOW_CONN_{self.conn_id.upper()}", json.dumps(fields)

    def start(self, airflow: AirflowStack) -> None:
        self.airflow = airflow
        conf = {"conn": self.conn_id, "people": str(self.people), "path": str(self.folder / "results")}
        self.run_id = airflow.trigger(self.dag_id, conf)

    # -- what is done to it ---------------------------------------------------------------------------------

    @property
    def dials(self) -> Counter[str]:
        return Counter(str(call.request["to_number"]) for call in list(self.simulator.calls.values()))

    @property
    def task(self) -> dict[str, Any]:
        with suppress(AirflowError, httpx.TransportError):
            return self.airflow.task_instances(self.dag_id, self.run_id)[0]
        return {"state": None, "pid": None, "try_number": 0}

    @cached_property
    def deferrable(self) -> bool:
        return "deferrable" in self.dag_id

    def wait_for(self, reached: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            if time.monotonic() > deadline:
                raise MissedError(what)
            time.sleep(0.5)

    def wait_for_calls(self, count: int) -> None:
        self.wait_for(lambda: len(self.simulator.calls) >= count, f"no {count} calls")

    def wait_until_all_wait(self) -> None:
        """Wait until everybody is called and the task waits for the last calls alone."""
        self.wait_for(lambda: len(self.dials) == len(self.numbers), "not everybody is called")
        state = "deferred" if self.deferrable else "running"
        self.wait_for(lambda: self.task["state"] == state, f"the task is not {state}")

    def wait_for_try(self, number: int) -> None:
        self.wait_for(lambda: self.task["try_number"] >= number, f"there is no try {number}")

    def kill_worker(self) -> None:
        """End the process that runs the task, and the one that supervises it, as a power cut does."""
        self.wait_for(lambda: self.task["state"] == "running" and self._processes(), "no worker runs the task")
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _processes(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            process = psutil.Process(self.task["pid"])
            parent = process.parent()
            # The executor's worker, which supervises, has the task as its child.
            family = [process, *process.children()] if process.children() else [parent, process]
            return [each for each in family if each is not None and each.pid not in self._leaders]
        return []

    @property
    def _leaders(self) -> set[int]:
        return {leader.pid for leader in self.airflow.running.values()}

    def let_it_end(self) -> None:
        self.wait_until_all_wait()
        self.time.skip(TALK + 1)
        self.wait_for_end()

    def wait_for_end(self) -> None:
        def over() -> bool:
            with suppress(AirflowError, httpx.TransportError):
                return self.airflow.run_state(self.dag_id, self.run_id) in FINISHED
            return False

        self.wait_for(over, "it hangs")

    def clear(self) -> None:
        self.airflow.clear(self.dag_id, self.run_id)

    # -- what became of it ------------------------------------------------------------------------------------

    def outcome(self, note: str) -> Outcome:
        dials = self.dials
        rows: list[dict[str, Any]] = []
        for path in (self.folder / "results").glob("people-*.jsonl"):
            rows += map(json.loads, path.read_text().splitlines())
        return Outcome(
            once=sum(count == 1 for count in dials.values()),
            twice=sum(count > 1 for count in dials.values()),
            never=len(self.numbers) - len(dials),
            in_file=sum(row["outcome"] == "answered" and row["attempts"] == 1 for row in rows),
            state=self.airflow.run_state(self.dag_id, self.run_id),
            tries=self.task["try_number"],
            note=note,
        )
