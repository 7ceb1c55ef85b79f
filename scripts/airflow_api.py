"""Do through Airflow's REST API what a person does in its UI."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

TaskInstance = dict[str, Any]  # as the REST API writes it: task_id, map_index, state, try_number, ...

FINISHED = frozenset({"success", "failed"})
LOOK_EVERY = 0.25  # seconds


class AirflowError(RuntimeError):
    """Airflow refused, failed, or took too long."""


class AirflowTimeoutError(AirflowError):
    """An event has not happened in time."""


class AirflowApi:
    """Start runs, watch them, clear them and mark them.

    Args:
        client: Speaks to the API server, logged in.
        patience: Seconds to wait for a DAG to be parsed.
    """

    def __init__(self, client: httpx.Client, patience: float = 60) -> None:
        self._client = client
        self._patience = patience

    def check_alive(self) -> None:
        """Raise if waiting is useless; called between two checks."""

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, logical_date: datetime | None = None
    ) -> str:
        """Start a run as soon as the DAG is parsed, and return its id."""
        self.unpause(dag_id)
        body = {"conf": dict(conf or {}), "logical_date": logical_date and logical_date.isoformat()}
        return str(self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run by itself, as soon as it is parsed."""

        def parsed() -> bool:
            if broken := self.ask("GET", "/api/v2/importErrors")["import_errors"]:
                raise AirflowError(f"{broken[0]['filename']} does not load:\n{broken[0]['stack_trace']}")
            return self._client.get(f"/api/v2/dags/{dag_id}").is_success

        self.wait_until(parsed, f"There is no DAG {dag_id!r}")
        self.ask("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def first_run(self, dag_id: str) -> str:
        """Return the id of a DAG's first run, as soon as there is one."""
        runs: list[str] = []

        def started() -> bool:
            found = self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
            runs.extend(str(run["dag_run_id"]) for run in found)
            return bool(runs)

        self.wait_until(started, f"No run of {dag_id!r}")
        return runs[0]

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return `queued`, `running`, `success` or `failed`."""
        return str(self.ask("GET", run_path(dag_id, run_id))["state"])

    def watch(self, dag_id: str, run_id: str, timeout: float) -> Iterator[list[TaskInstance]]:
        """Yield the task instances four times a second until the run is over, and once more then."""
        deadline = time.monotonic() + timeout
        while True:
            over = self.run_state(dag_id, run_id) in FINISHED
            yield (instances := self.task_instances(dag_id, run_id))
            if over:
                return
            self.check_alive()
            if time.monotonic() > deadline:
                states = ", ".join(f"{it['task_id']}[{it['map_index']}] {it['state']}" for it in instances)
                raise AirflowTimeoutError(f"{dag_id} is not over after {timeout:.0f} s: {states}")
            time.sleep(LOOK_EVERY)

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float) -> str:
        """Return the state of a run when it is over."""
        for _ in self.watch(dag_id, run_id, timeout):
            pass
        return self.run_state(dag_id, run_id)

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return all task instances of a run."""
        path = f"{run_path(dag_id, run_id)}/taskInstances"
        return list(self.ask("GET", path, params={"limit": 10000})["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        """Return what a task has pushed."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.ask("GET", path, params={"map_index": map_index, "stringify": False})["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        """Return the log of one try, the triggerer's part included: a JSON object a line."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
        params = {"map_index": map_index, "full_content": True}
        return self.send("GET", path, params=params, headers={"Accept": "application/x-ndjson"}).text

    def links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the extra links of a task by name, as the grid shows them."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}/links"
        return dict(self.ask("GET", path, params={"map_index": map_index})["extra_links"])

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks, by default all."""
        body = {"dag_run_id": run_id, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
        if task_ids:
            body["task_ids"] = task_ids
        self.ask("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark a task as `success`, `failed` or `skipped`."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}/{map_index}"
        self.ask("PATCH", path, json={"new_state": state})

    def wait_until(self, reached: Callable[[], bool], complaint: str) -> None:
        """Wait until a condition holds.

        Raises:
            AirflowTimeoutError: It takes longer than the patience; the message begins with the complaint.
        """
        deadline = time.monotonic() + self._patience
        while True:
            with suppress(httpx.TransportError):  # an API server on its way up
                if reached():
                    return
            self.check_alive()
            if time.monotonic() > deadline:
                raise AirflowTimeoutError(f"{complaint} after {self._patience:.0f} s")
            time.sleep(LOOK_EVERY)

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """Send a request, and return the JSON of the response."""
        return self.send(method, path, **request).json()

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request; raise ``AirflowError`` for an error status."""
        response = self._client.request(method, path, **request)
        if response.is_error:
            raise AirflowError(f"{method} {path}: Airflow answered {response.status_code} {response.text}")
        return response


def run_path(dag_id: str, run_id: str) -> str:
    """Return the path of a run in the REST API."""
    return f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
