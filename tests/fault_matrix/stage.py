"""The Airflow of the fault matrix, and two who watch it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import httpx
from airflow_api import AirflowError, TaskInstance
from airflow_stack import AirflowStack
from processes import LOOPBACK, free_ports

HERE: Final = Path(__file__).parent
PATIENCE: Final = 150.0
"""Seconds in which anything must have happened."""

SETTINGS: Final[Mapping[str, str]] = {
    # What two cores can do without being late everywhere.
    "CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "14",
    "CORE__MAX_ACTIVE_RUNS_PER_DAG": "3",
    "CORE__PARALLELISM": "32",
    "CORE__PLUGINS_FOLDER": str(HERE / "plugins"),
    "CORE__XCOM_BACKEND": "witness.WitnessXCom",
    # SQLite has one writer at a time: components wait for as long as it takes, with enough connections.
    "DATABASE__SQL_ALCHEMY_POOL_SIZE": "100",
    # How soon a dead worker, and a dead scheduler, are noticed: minutes elsewhere.
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "25",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
}


def environment(connections: Mapping[str, str], folder: Path, home: Path) -> dict[str, str]:
    """Return the settings of an Airflow that lives in `home` and notes what tasks do in `folder`."""
    database = {"DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60"}
    settings = {f"AIRFLOW__{name}": value for name, value in {**SETTINGS, **database}.items()}
    paths = [str(HERE / "plugins"), os.environ.get("PYTHONPATH", "")]
    more = {"FAULT_MATRIX_WITNESS": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return {**settings, **connections, **more}


class Airflow(AirflowStack):
    """A stack with an API server of its own for people, as large deployments have.

    On SQLite one API server that writes for a person and for a worker at once stands still until one of the two
    gives up waiting for the other.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._serve_people()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _serve_people(self) -> None:
        (port,) = free_ports(1)
        self._spawn("api-server for people", "api-server", "--port", str(port), "--apps", "core")
        self._client.base_url = f"http://{LOOPBACK}:{port}"
        self.wait_until(lambda: self._client.get("/api/v2/version").is_success, "No API server for people")

    def wait_for_dags(self, count: int) -> None:
        """Wait until so many DAGs are known."""
        known = lambda: self.ask("GET", "/api/v2/dags")["total_entries"] == count  # noqa: E731
        self.wait_until(known, f"There are not {count} DAGs")


class Stage:
    """Airflow, the switchboard, and two who watch: one Airflow's states, one what tasks do.

    The latter has the telephony of a run dial each call whose id the run hands on.
    """

    def __init__(self, airflow: AirflowStack, folder: Path) -> None:
        self.airflow = airflow
        self.folder = folder
        self.notes: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.telephony: dict[str, Callable[[str], None]] = {}
        self._hands = threading.Lock()
        self._lines_read = 0
        self._looked_at = 0.0
        self._look_from = datetime.now(UTC)
        self._runs: dict[str, str] = {}
        self._instances: dict[str, dict[tuple[str, int], TaskInstance]] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch as long as the block lasts."""
        over = threading.Event()
        watchers = [
            threading.Thread(target=self._repeat, args=(look, pause, over))
            for look, pause in ((self._read_notes, 0.1), (self._look, 0.7))
        ]
        for watcher in watchers:
            watcher.start()
        try:
            yield
        finally:
            over.set()
            for watcher in watchers:
                watcher.join()

    @staticmethod
    def _repeat(look: Callable[[], None], pause: float, over: threading.Event) -> None:
        while not over.wait(pause):
            # An API server that is busy has not answered; the next look may be luckier.
            with suppress(httpx.TransportError, AirflowError):
                look()

    def _read_notes(self) -> None:
        path = self.folder / "notes"
        if not path.exists():
            return
        lines = path.read_text().split("\n")[:-1]
        for line in lines[self._lines_read :]:
            note = json.loads(line)
            self.notes[note["run_id"]].append(note)
            if note["kind"] == "handed-on":
                self.telephony[note["run_id"]](note["call_id"])
        self._lines_read = len(lines)

    def _look(self) -> None:
        """See what has changed since the last look."""
        began, now = time.monotonic(), datetime.now(UTC)
        changed = {"limit": 10000, "updated_at_gte": (self._look_from - timedelta(seconds=3)).isoformat()}
        runs = self.airflow.ask("GET", "/api/v2/dags/~/dagRuns", params=changed)["dag_runs"]
        found = self.airflow.ask("GET", "/api/v2/dags/~/dagRuns/~/taskInstances", params=changed)
        for it in found["task_instances"]:
            self._instances.setdefault(it["dag_run_id"], {})[it["task_id"], it["map_index"]] = it
        self._runs |= {run["dag_run_id"]: run["state"] for run in runs}
        self._look_from, self._looked_at = now, began

    def run_state(self, run_id: str, *, since: float) -> str | None:
        """Return the state of a run, None as long as it has not been read later than that."""
        return self._runs.get(run_id) if self._looked_at > since else None

    def instances(self, run_id: str) -> list[TaskInstance]:
        """Return the task instances of a run."""
        return list(self._instances.get(run_id, {}).values())

    def order(self, method: str, path: str, **request: Any) -> None:
        """Send commands to Airflow, one after the other."""
        with self._hands:
            self.airflow.send(method, path, **request)


class MissedError(Exception):
    """An expected event did not happen in time."""


def wait_for(reached: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + patience
    while not reached():
        if time.monotonic() > deadline:
            raise MissedError(what)
        time.sleep(0.2)
