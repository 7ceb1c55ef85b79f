"""A real Airflow 2 on this machine, with the methods of `AirflowStack`.

Its webserver serves version 1 of the REST API, its scheduler parses the DAGs, and on SQLite it runs one task at a
time.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_api import run_path
from airflow_stack import AirflowStack
from processes import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx


class Airflow2Stack(AirflowStack):
    """Run Airflow 2 from `__enter__` to `__exit__`, whatever happens in between."""

    components: ClassVar[tuple[str, ...]] = ("webserver", "scheduler", "triggerer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._client.event_hooks = {"request": [_to_version_1]}

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, logical_date: datetime | None = None
    ) -> str:
        """Start a run as soon as the DAG is parsed, and return its id."""
        return super().trigger(dag_id, conf, logical_date or datetime.now(UTC))

    def task_log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int = 1) -> str:
        """Return the log of one try, the triggerer's part included."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
        params = {"map_index": map_index, "full_content": True}
        return self.send("GET", path, params=params, headers={"Accept": "text/plain"}).text

    def links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the extra links of a task by name, as the grid shows them."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}/links"
        return dict(self.ask("GET", path, params={"map_index": map_index}))

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark a task as `success`, `failed` or `skipped`."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}"
        mapped = f"/{map_index}" if map_index >= 0 else ""
        self.ask("PATCH", path + mapped, json={"new_state": state, "dry_run": False})

    def _environment(self) -> dict[str, str]:
        # No password, and all permissions for everyone, because it only listens on the loopback interface.
        (self.home / "webserver_config.py").write_text('AUTH_ROLE_PUBLIC = "Admin"\n')
        # Its executor looks for the `airflow` command.
        bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return super()._environment() | {"PATH": bin_first}

    def _serving(self) -> dict[str, str]:
        return {
            "CORE__EXECUTOR": "SequentialExecutor",
            "SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
            "WEBSERVER__BASE_URL": self.url,
            "WEBSERVER__WEB_SERVER_HOST": LOOPBACK,
            "WEBSERVER__WEB_SERVER_PORT": self.url.rpartition(":")[2],
            "WEBSERVER__WORKERS": "1",
        }

    def _healthy(self, name: str) -> bool:
        health = self.ask("GET", "/api/v2/health")
        if name == "webserver":
            return True
        heartbeat = health[name][f"latest_{name}_heartbeat"]
        return bool(heartbeat) and datetime.fromisoformat(heartbeat) >= self._started_at[name]


def _to_version_1(request: httpx.Request) -> None:
    request.url = request.url.copy_with(path=request.url.path.replace("/api/v2/", "/api/v1/", 1))
