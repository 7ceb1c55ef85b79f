"""A real Airflow 3 on this machine for as long as a `with` block lasts.

API server, scheduler, DAG processor and triggerer are processes of their own, on SQLite with LocalExecutor:
a test may kill one of them and see what a deployment would see.

    with AirflowStack(Path("example_dags"), env={"AIRFLOW_CONN_RETELL_DEFAULT": "..."}) as airflow:
        run_id = airflow.trigger("my_dag")
        assert airflow.wait_for_run("my_dag", run_id, timeout=60) == "success"
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import httpx
from airflow_api import AirflowApi, AirflowError, AirflowTimeoutError
from processes import GRACE, LOOPBACK, end_sessions, free_ports, processes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psutil

JOBS = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}

SETTINGS = {
    "API__HOST": LOOPBACK,
    "API__MAXIMUM_PAGE_LIMIT": "10000",
    "CORE__EXECUTOR": "LocalExecutor",
    "CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks DNS, which may take seconds
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__PARALLELISM": "8",
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "DATABASE__CHECK_MIGRATIONS": "False",  # the API server starts while the tables are being made
    "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    # How long a killed triggerer keeps its triggers: short for a test, longer than a busy machine's hiccup.
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "USAGE_DATA_COLLECTION__ENABLED": "False",
}


class AirflowStack(AirflowApi):
    """Run Airflow from `__enter__` to `__exit__`, whatever happens in between.

    Args:
        dags: The folder of the DAGs; all files in it must load.
        home: The folder of the database and all logs, kept at the end; by default a temporary one.
        env: More environment variables for every process, such as `AIRFLOW_CONN_...`.
        patience: Seconds to wait for the components to come up and for a DAG to be parsed.
        python: The interpreter of the environment that Airflow is installed in, by default this one.
    """

    components: ClassVar[tuple[str, ...]] = ("api-server", "scheduler", "dag-processor", "triggerer")

    def __init__(
        self,
        dags: Path,
        *,
        home: Path | None = None,
        env: Mapping[str, str] | None = None,
        patience: float = 120,
        python: Path | str = sys.executable,
    ) -> None:
        api_port, *self._log_ports = free_ports(3)
        self.url = f"http://{LOOPBACK}:{api_port}"
        super().__init__(httpx.Client(base_url=self.url, timeout=30, trust_env=False), patience)
        self._dags = dags.resolve()
        self._home = home
        self._more_env = dict(env or {})
        self._commands: dict[str, tuple[str, ...]] = {name: (name,) for name in self.components}
        self._python = str(python)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at: dict[str, datetime] = {}
        self._logged: dict[str, int] = {}

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(self._client)
            self.home = (self._home or Path(undo.enter_context(tempfile.TemporaryDirectory()))).resolve()
            self.home.mkdir(parents=True, exist_ok=True)
            self._env = self._environment()
            undo.callback(self._end_all)
            self._spawn(self.components[0])
            self.command("db", "migrate")
            for name in self.components[1:]:
                self._spawn(name)
            for name in self.components:
                self._wait_until_healthy(name)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def start(self, name: str, *command: str) -> None:
        """Start one more component, or one that was killed, and wait until it is healthy.

        Args:
            name: Its name here: `triggerer`, or `triggerer-2`.
            command: Airflow's command, such as `triggerer`; by default the one that this component ran before.
        """
        self._spawn(name, *command)
        self._wait_until_healthy(name)

    def command(self, name: str, *arguments: str) -> None:
        """Run an `airflow` command to its end."""
        code = self._spawn(name, name, *arguments).wait(self._patience)
        del self.running[name]
        if code != 0:
            raise self._error(f"airflow {name} {' '.join(arguments)} has ended with exit code {code}", name)

    def kill(self, name: str, sig: signal.Signals = signal.SIGKILL, *, grace: float = GRACE) -> None:
        """End a component and wait until none of its processes is left.

        SIGKILL hits all of them at once, like a power cut. Another signal goes to the main process alone, as
        a supervisor sends it; after `grace` seconds the rest is killed.
        """
        end_sessions([self.running.pop(name)], sig, grace=grace)

    def is_running(self, name: str) -> bool:
        """Return whether a component should be running: it was started, and was not killed."""
        return name in self.running

    def log_of(self, name: str) -> Path:
        """Return the file with everything that a component has printed."""
        return self.home / f"{name}.log"

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the live processes of a component, the tasks that it runs included."""
        return processes_of({self.running[name].pid})

    def busy_workers(self, name: str = "scheduler") -> int:
        """Count the processes that run a task of this executor at this moment; a deferred task has none."""
        leader = self.running[name].pid
        busy = 0
        for process in self.processes(name):
            with suppress(ProcessLookupError):
                # In the session of a scheduler, or of a worker, only tasks have process groups of their own.
                busy += os.getpgid(process.pid) != leader
        return busy

    def job_of(self, name: str) -> int | None:
        """Return the id under which Airflow knows a component that was started alone, None if not yet."""
        asked = {
            "job_type": JOBS[self._commands[name][0]],
            "start_date_gte": self._started_at[name].isoformat(),
            "order_by": "start_date",
        }
        jobs: list[dict[str, Any]] = self.ask("GET", "/api/v2/jobs", params=asked)["jobs"]
        return jobs[0]["id"] if jobs else None

    def check_alive(self) -> None:
        """Raise, with the end of the log, if a component has ended without being killed."""
        for name, process in self.running.items():
            if (code := process.poll()) is not None:
                raise self._error(f"{name} has ended with exit code {code}", name)

    def _environment(self) -> dict[str, str]:
        # An empty configuration file keeps the processes from writing the default one all at once.
        (self.home / "airflow.cfg").touch()
        triggerer_log_port, worker_log_port = self._log_ports
        settings = {
            **SETTINGS,
            **self._serving(),
            "API__SECRET_KEY": secrets.token_hex(),
            "API_AUTH__JWT_SECRET": secrets.token_hex(),
            "CORE__DAGS_FOLDER": str(self._dags),
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(triggerer_log_port),
            "LOGGING__WORKER_LOG_SERVER_PORT": str(worker_log_port),
        }
        # Separate from the user's own Airflow. Without bytecode each process would compile Airflow again,
        # and a dependency's warning must not end a process.
        unwanted = ("AIRFLOW", "_AIRFLOW", "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
        direct = f"{LOOPBACK},localhost,{inherited.get('no_proxy') or inherited.get('NO_PROXY', '')}"
        ours = {"AIRFLOW_HOME": str(self.home), "NO_PROXY": direct, "no_proxy": direct}
        configured = {f"AIRFLOW__{key}": value for key, value in settings.items()}
        return inherited | ours | configured | self._more_env

    def _serving(self) -> dict[str, str]:
        return {
            "API__BASE_URL": self.url,
            "API__PORT": self.url.rpartition(":")[2],
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
        }

    def _spawn(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        if command:
            self._commands[name] = command
        self._started_at[name] = datetime.now(UTC)
        with self.log_of(name).open("ab") as log:
            self._logged[name] = log.tell()
            self.running[name] = subprocess.Popen(  # noqa: S603 - the command has only words of ours
                [self._python, "-m", "airflow", *self._commands[name]],
                env=self._env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that everything a component forks is found by its session
            )
        return self.running[name]

    def _wait_until_healthy(self, name: str) -> None:
        try:
            self.wait_until(lambda: self._healthy(name), f"{name} is not ready")
        except AirflowTimeoutError as error:
            raise self._error(str(error), name) from None

    def _healthy(self, name: str) -> bool:
        match self._commands[name][0]:
            case "api-server":
                # The execution API takes seconds for its first answer: better now than during the first task.
                self.ask("GET", "/execution/health")
                token = self.ask("GET", "/auth/token")["access_token"]
                self._client.headers["Authorization"] = f"Bearer {token}"
                return True
            case "celery":
                return b" ready." in self.log_of(name).read_bytes()[self._logged[name] :]
        return self.job_of(name) is not None

    def _error(self, complaint: str, name: str) -> AirflowError:
        log = self.log_of(name)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        return AirflowError(f"{complaint}\n--- the end of {log} ---\n{tail}")

    def _end_all(self) -> None:
        end_sessions(self.running.values(), signal.SIGTERM)
        self.running.clear()
