"""A cell of the fault matrix: a DAG run, its faults and its result."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psutil
from airflow_api import FINISHED, TaskInstance, run_path
from processes import GRACE, LOOPBACK

from fault_matrix.columns import MAX_ATTEMPTS, Column
from fault_matrix.lines import Line, Port
from fault_matrix.stage import Stage, wait_for


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The result of one intended call.

    Attributes:
        placed: How many calls Retell was made to place, or to register.
        handed_on: How many ids Airflow got: the calls that are dialed or waited for.
        at_once: How many calls were live at the same time, at the worst.
        live: How many still are, when all is over.
        state: What Airflow says of the task.
        tries: How many it took.
        stopped: How many calls were hung up on.
        note: What went differently from the row's intention.
    """

    placed: int
    handed_on: int
    at_once: int
    live: int
    state: str
    tries: int
    stopped: int = 0
    note: str = ""

    def shown(self) -> str:
        """Return the figures as the page shows them if the goal was missed."""
        calls = f"{self.placed} call" + "s" * (self.placed > 1)
        if self.at_once > 1:
            calls = f"{self.at_once} at once"
        elif self.live:
            calls = f"{self.live} still live"
        state = "" if self.at_once > 1 and self.state == "success" else f", {self.state}"
        return calls + state + (f" ({self.note})" if self.note else "")

    def in_vain(self, column: Column) -> int:
        """Return how many registered calls have an id that Airflow was not given."""
        return self.placed - self.handed_on if column.registers else 0


@dataclass(kw_only=True)
class Cell:
    """One column meets one fault: a DAG run with Retells of its own."""

    row: str
    column: Column
    lines: Sequence[Line]
    suffix: str = ""
    port: Port | None = None
    timeout: float = 30
    held_at: str = ""
    stage: Stage = field(init=False)
    _acted_at: float = field(init=False, default=0.0)

    @cached_property
    def run_id(self) -> str:
        return f"{self.row}.{self.column.dag}"

    @property
    def dag_id(self) -> str:
        return self.column.dag + self.suffix

    @property
    def line(self) -> Line:
        return self.lines[0]

    def connections(self, url: str) -> Iterator[tuple[str, str]]:
        """Yield the environment variables with this cell's connections."""
        for line in self.lines:
            fields = json.loads(line.simulator.connection(url))
            if self.port:
                fields["host"] = f"http://{LOOPBACK}:{self.port.number}"
            if self.column.dag == "http":
                key = fields.pop("password")
                fields |= {"conn_type": "http"}
                fields["extra"] = {"Authorization": f"Bearer {key}", "timeout": self.timeout}
            else:
                fields["extra"] = {
                    "timeout": self.timeout,
                    "max_attempts": MAX_ATTEMPTS,
                    "max_retry_delay": 1,
                }
            yield f"AIRFLOW_CONN_{line.conn_id.upper()}", json.dumps(fields)

    # -- what is done to it -----------------------------------------------------------------------------------

    def queue(self, stage: Stage) -> None:
        """Create the run; Airflow starts it when it is its turn."""
        self.stage = stage
        stage.telephony[self.run_id] = self.dial
        if self.held_at:
            self.hold(self.held_at)
        conf = {"conns": [line.conn_id for line in self.lines]}
        run = {"dag_run_id": self.run_id, "logical_date": None, "conf": conf}
        stage.order("POST", f"/api/v2/dags/{self.dag_id}/dagRuns", json=run)

    def wait_until_begun(self, patience: float) -> None:
        """Wait until the first worker has taken up the run."""
        wait_for(lambda: self._notes("started"), "it does not begin", patience)

    def dial(self, call_id: str) -> None:
        """Be the telephony that dials a registered call."""
        for line in self.lines:
            if self.column.registers and call_id in line.simulator.calls:
                with suppress(ValueError):  # dialed already: a task hands its id on twice
                    line.simulator.dial(call_id)

    def wait_until_waiting(self) -> None:
        """Wait until the task does nothing but wait for a live call."""
        wait_for(
            lambda: (
                all(line.polled for line in self.lines)
                and (not self.column.deferrable or self.states == {"deferred"})
            ),
            f"{self.run_id} does not wait",
        )

    @property
    def states(self) -> set[str]:
        return {instance["state"] for instance in self.stage.instances(self.run_id)}

    @property
    def tries(self) -> int:
        return max((instance["try_number"] for instance in self.stage.instances(self.run_id)), default=0)

    @property
    def is_live(self) -> bool:
        return any(line.is_live(call) for line in self.lines for call in line.calls)

    def hold(self, point: str) -> None:
        """Make the task stand still when it comes to that point."""
        (self.stage.folder / f"{self.run_id}.{point}").touch()

    def release(self, point: str) -> None:
        (self.stage.folder / f"{self.run_id}.{point}").unlink()

    def wait_until_held(self) -> None:
        wait_for(lambda: self._notes("held"), f"{self.run_id} does not come to where it is to be held")

    def _notes(self, kind: str) -> list[dict[str, Any]]:
        return [note for note in self.stage.notes[self.run_id] if note["kind"] == kind]

    def kill_worker(self) -> None:
        """End the process that runs the task, and the one that supervises it, as a power cut does."""
        for process in self._worker():
            process.kill()
        self.line.mark()

    def evict_worker(self) -> None:
        """Ask the worker to end, and kill it when it does not, as Kubernetes does with a pod."""
        supervisor, task = self._worker()
        supervisor.terminate()
        _, alive = psutil.wait_procs([task], timeout=GRACE)
        if alive:
            supervisor.kill()
            task.kill()
        self.line.mark()

    @contextmanager
    def frozen_worker(self) -> Iterator[None]:
        """Have the worker stand still inside the block, as a paused machine does; then wake it and end it."""
        processes = self._worker()
        for process in processes:
            process.suspend()
        self.line.mark()
        try:
            yield
        finally:
            processes[1].terminate()
            for process in processes:
                process.resume()
        psutil.wait_procs(processes[1:], timeout=GRACE)
        self.line.mark()

    def _worker(self) -> tuple[psutil.Process, psutil.Process]:
        task = psutil.Process(self._notes("started")[-1]["pid"])
        supervisor = task.parent()
        assert supervisor is not None
        assert "LocalExecutor" in " ".join(supervisor.cmdline()), supervisor.cmdline()
        return supervisor, task

    def clear(self) -> None:
        """Clear the run, as a person does who wants new calls."""
        body = {"dag_run_id": self.run_id, "dry_run": False, "only_failed": False}
        self.stage.order("POST", f"/api/v2/dags/{self.dag_id}/clearTaskInstances", json=body)
        self._acted_at = time.monotonic()
        for line in self.lines:
            line.mark()

    def forget(self) -> None:
        """Empty the state store of the task, as Airflow may do itself after a success (`clear_on_success`)."""
        path = f"{run_path(self.dag_id, self.run_id)}/taskInstances/call/state-store"
        self.stage.order("DELETE", path)

    def wait_for_requests(self, endpoint: str, count: int) -> None:
        """Wait until Retell has had so many requests of a kind, or the run is over."""
        wait_for(lambda: self.line.count(endpoint) >= count or self.is_over, f"no {count} times {endpoint}")
        self.line.mark()

    def mark_failed(self) -> None:
        """Mark the task that waits as failed."""
        waits = "wait" if self.column.dag == "http" else "call"
        path = f"{run_path(self.dag_id, self.run_id)}/taskInstances/{waits}/-1"
        self.stage.order("PATCH", path, json={"new_state": "failed"})

    def abandon(self) -> None:
        """Let go of a run that hangs, and of the workers it has."""
        self.stage.order("PATCH", run_path(self.dag_id, self.run_id), json={"state": "failed"})

    @property
    def _run_state(self) -> str | None:
        return self.stage.run_state(self.run_id, since=self._acted_at)

    @property
    def is_over(self) -> bool:
        return self._run_state in FINISHED

    def let_it_end(self) -> None:
        """End the calls that are waited for, until the run is over."""

        def over() -> bool:
            for line in self.lines:
                if line.polled:
                    line.end_calls()
            return self.is_over

        wait_for(over, "it hangs")

    # -- what became of it ------------------------------------------------------------------------------------

    def figures(self, note: str = "") -> Figures:
        """Return the figures of this cell."""
        calls = [(line, call) for line in self.lines for call in line.calls]
        instances = self.stage.airflow.task_instances(self.dag_id, self.run_id)
        ids = {note["call_id"] for note in self._notes("handed-on")}
        return Figures(
            placed=len(calls),
            handed_on=len(ids),
            at_once=max(line.at_once() for line in self.lines),
            live=sum(line.is_live(call) for line, call in calls),
            state=self._state(instances),
            tries=max(instance["try_number"] for instance in instances),
            stopped=sum(call.ending[1] == "manual_stopped" for _, call in calls),
            note=note,
        )

    def _state(self, instances: Sequence[TaskInstance]) -> str:
        states = {str(instance["state"]) for instance in instances}
        run = self.stage.airflow.run_state(self.dag_id, self.run_id)
        state = states.pop() if len(states) == 1 else run
        return state if state in FINISHED else f"{state}, run {run}"
