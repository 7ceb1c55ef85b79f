"""The fixtures of the tests: an Airflow home of their own, the simulator, a clock that moves by hand."""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

# Airflow reads its home when it is imported first.
HOME = Path(tempfile.mkdtemp(prefix="airflow-provider-retell-"))
DAGS = HOME / "dags"
DAGS.mkdir()
AIRFLOW_2 = version("apache-airflow").startswith("2.")
os.environ.update(
    {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__RETELL__SHORTEST_DEFERRAL": "0",
        "AIRFLOW__RETELL__SHORTEST_POLL_INTERVAL": "0.01",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    }
)
for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AWS_", "RETELL_"))]:
    del os.environ[name]
# A test that names no S3 of its own must reach no real one, with no credentials that lie on this machine.
os.environ.update(
    {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
)

from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred  # noqa: E402 (Airflow's home is set)

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # before 3.2
    from airflow.exceptions import AirflowRescheduleException

from airflow_provider_retell.hooks import RetellHook  # noqa: E402 (as above)
from airflow_provider_retell.operators import (  # noqa: E402
    RetellCreatePhoneCallOperator,
    RetellRegisterPhoneCallOperator,
)
from airflow_provider_retell.simulator import SCENARIOS, ManualClock, Request, Response, Simulator  # noqa: E402
from airflow_provider_retell.testing import Clock, SteppingClock, clock_replaced_by  # noqa: E402

# How long an example takes says how busy the machine is, and nothing about the rule.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

REGISTER, CREATE = "register-phone-call", "create-phone-call"
FROM = "+14155550199"

# What needs more than Airflow: the development tools, or the newest version.
collect_ignore = (
    []
    if find_spec("build")
    else [
        f"test_{name}.py"
        for name in (
            "airflow_stack",
            "benchmarks",
            "distributed",
            "docs",
            "docs_dags",
            "end_to_end",
            "fault_matrix",
            "ui",
            "version_matrix",
            "wheel",
        )
    ]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests on a real Airflow: one worker runs them all, and the others do not wait at the end."""
    first = {"test_airflow_stack", "test_end_to_end"}
    items.sort(key=lambda item: item.path.stem not in first)


class InTheMiddle(ManualClock):
    """The simulator's time, at which something happens in the middle of the request that places the nth call."""

    _simulator: Simulator | None = None
    _act: Callable[[], object]
    _count: int

    def after(self, count: int, simulator: Simulator, act: Callable[[], object]) -> None:
        """Act once so many calls are placed, while the last request waits for its answer."""
        self._simulator, self._count, self._act = simulator, count, act

    def __call__(self) -> float:
        if (simulator := self._simulator) is not None:
            self._simulator = None  # looking at the calls asks for the time
            if len(simulator.calls) < self._count:
                self._simulator = simulator
            else:
                self._act()
        return super().__call__()


class TickingTime(ManualClock):
    """The simulator's time, a second later each time it is asked: calls go on while they are polled."""

    def __call__(self) -> float:
        self.advance(1)
        return super().__call__()


class TaskInstance:
    """The parts of Airflow's task instance that operators use: its names, its numbers, its XComs."""

    def __init__(self, *, try_number: int = 1, max_tries: int = 0, map_index: int = -1) -> None:
        self.dag_id, self.run_id, self.task_id, self.map_index = "dag", "run", "task", map_index
        self.try_number, self.max_tries = try_number, max_tries
        self.xcoms: dict[str, Any] = {}
        self.rescheduled: datetime | None = None
        self.run_began = datetime.now(UTC)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.rescheduled

    def context(self, **more: Any) -> dict[str, Any]:
        return {"ti": self, "dag_run": SimpleNamespace(start_date=self.run_began), **more}


class Store(dict[str, Any]):
    """Airflow's task state store: it keeps JSON, and only ``set`` changes it."""

    def get(self, key: str, default: Any = None) -> Any:
        return copy.deepcopy(super().get(key, default))

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))
        assert self[key] == value, "Airflow refuses what JSON does not know, such as a tuple"


def twins(value: Any) -> list[Any]:
    """Return copies of a value, as Airflow copies operators, pickles tasks and stores arguments."""
    stored = json.loads(json.dumps(value.serialize()))
    return [copy.deepcopy(value), pickle.loads(pickle.dumps(value)), value.deserialize(stored, 1)]  # noqa: S301 (ours)


def offered_tasks() -> list[Any]:
    """Return every operator, sensor and transfer that the package offers."""
    found = []
    for room in ("operators", "sensors", "transfers"):
        module = importlib.import_module(f"airflow_provider_retell.{room}")
        names = getattr(module, "__all__", None) or list(vars(module))
        classes = [each for each in (getattr(module, name) for name in names) if isinstance(each, type)]
        own = [each for each in classes if each.__module__.startswith(module.__name__)]
        found += [each for each in own if issubclass(each, BaseOperator)]
    return found


def place(endpoint: str, scenario: str = "user_hangup", **arguments: Any) -> BaseOperator:
    """Return an operator that places a call of a scenario through one of the two endpoints."""
    given = {"task_id": "call", "to_number": SCENARIOS[scenario].number, "poll_interval": 1, **arguments}
    if endpoint == REGISTER:
        return RetellRegisterPhoneCallOperator(**{"agent_id": "agent_1", **given})
    return RetellCreatePhoneCallOperator(**{"from_number": FROM, **given})


@pytest.fixture(params=[REGISTER, CREATE])
def endpoint(request: pytest.FixtureRequest) -> str:
    """Each of the two ways to place a call."""
    return str(request.param)


@pytest.fixture
def register(connect: object) -> Callable[..., str]:
    """Register a call that plays a scenario; return its id."""

    def register(scenario: str) -> str:
        request = {"agent_id": "agent_1", "to_number": SCENARIOS[scenario].number}
        with RetellHook() as hook:
            return hook.register_phone_call(request).call_id

    return register


@pytest.fixture(scope="session")
def database() -> None:
    """Give Airflow its tables."""
    from airflow.utils.db import initdb  # noqa: PLC0415 (Airflow's home is set above)

    initdb()


@pytest.fixture(autouse=AIRFLOW_2)
def _database(request: pytest.FixtureRequest) -> None:
    """Give Airflow 2 its tables, which it asks when a sensor was rescheduled; Airflow 3 asks its API."""
    if AIRFLOW_2:
        request.getfixturevalue("database")


@pytest.fixture
def time() -> ManualClock:
    """The simulator's time."""
    return ManualClock()


@pytest.fixture
def clock(time: ManualClock) -> Iterator[SteppingClock]:
    """The clock of this process as long as the test lasts, moving with the simulator's."""
    clock = SteppingClock(time)
    with clock_replaced_by(clock):
        yield clock


@pytest.fixture
def simulator(time: ManualClock) -> Simulator:
    """A Retell that shows registered calls only to get-call, as the harder of two possible worlds."""
    return Simulator(clock=time)


@pytest.fixture
def connect(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Make the simulator, over a real socket, the connection ``retell_default``; kwargs go into its extra."""
    with simulator.serve() as url:

        def connect(**extra: Any) -> None:
            fields = json.loads(simulator.connection(url)) | {"extra": {"max_retry_delay": 0} | extra}
            monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields))

        connect()
        yield connect


class CirclingList(Simulator):
    """A Retell each of whose pages of calls leads to the second one.

    A hundred times, so that a reader who notices nothing comes to an end.

    Attributes:
        second_page: The key of that page, once it was given away.
    """

    second_page: str | None = None

    def respond(self, request: Request, wait: Callable[[float], bool]) -> Response | None:
        reply = super().respond(request, wait)
        if reply is None or request.path != "/v3/list-calls":
            return reply
        page = json.loads(reply.body)
        if page["has_more"] and len(self.requests) < 100:
            self.second_page = page["pagination_key"] = self.second_page or page["pagination_key"]
        return replace(reply, body=json.dumps(page).encode())


@pytest.fixture
def circling_list(time: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[CirclingList]:
    """Make a Retell whose list leads round in circles the connection ``retell_default``."""
    simulator = CirclingList(clock=time)
    with simulator.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        yield simulator


def replaced(clock: Clock | None) -> AbstractContextManager[None]:
    """Let a clock, if one is given, be that of this process inside the block."""
    return nullcontext() if clock is None else clock_replaced_by(clock)


def run_task(
    make: Callable[[], BaseOperator],
    ti: TaskInstance | None = None,
    clock: SteppingClock | None = None,
    **context: Any,
) -> Any:
    """Run a task as Airflow does, through deferrals and reschedules, with a new operator for each resumption."""
    ti = ti or TaskInstance()
    step: Callable[[BaseOperator], Any] = lambda task: task.execute(ti.context(**context))  # noqa: E731
    while True:
        try:
            with replaced(clock):
                return step(make())
        except TaskDeferred as deferral:
            event = fire(deferral.trigger, clock)
            step = partial(resume, deferral, event, ti.context(**context))
        except AirflowRescheduleException:
            ti.rescheduled = ti.rescheduled or datetime.now(UTC)


def resume(deferral: TaskDeferred, event: Any, context: Any, task: BaseOperator) -> Any:
    """Continue a deferred task as Airflow does, with what it has kept for the task."""
    kept = json.loads(json.dumps(deferral.kwargs or {}))
    return task.resume_execution(deferral.method_name, {**kept, "event": event}, context)


def fire(trigger: Any, clock: SteppingClock | None = None) -> Any:
    """Run a trigger as a triggerer does, made from its stored form, and return the content of its event."""
    path, kwargs = trigger.serialize()
    assert json.loads(json.dumps(kwargs)) == kwargs
    module, _, name = path.rpartition(".")
    remade = getattr(importlib.import_module(module), name)(**kwargs)

    async def first() -> Any:
        with replaced(clock), blockbuster_ctx(scanned_modules=["airflow_provider_retell"]):
            return [event async for event in remade.run()]

    (event,) = asyncio.run(first())
    return json.loads(json.dumps(event.payload))


@pytest.fixture
def functions_run() -> Callable[[Callable[[], Any]], int]:
    """Count the function calls of an act: a measure of what it costs that is the same each time."""

    def count(act: Callable[[], Any]) -> int:
        counted = 0

        def seen(*_: Any) -> None:
            nonlocal counted
            counted += 1

        act()  # once before, for what is only set up the first time
        sys.setprofile(seen)
        try:
            act()
        finally:
            sys.setprofile(None)
        return counted

    return count


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the pictures that a walk through a browser takes."""
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Return the URL of a local S3: one for all, because Airflow keeps a filesystem for each connection id."""
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://127.0.0.1:{1}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="session")
def s3(s3_endpoint: str) -> Any:
    """Return the filesystem of the local S3: one for all, because a client takes as long as fifty requests."""
    return pytest.importorskip("s3fs").S3FileSystem(**s3_options(s3_endpoint))


@pytest.fixture(scope="session")
def failing_s3(s3_endpoint: str) -> tuple[Any, Any]:
    """Return a filesystem of the local S3 whose operations fail when a test wants them to, and what makes them."""
    from failing_storage import Failures, failing  # noqa: PLC0415 (comes with s3fs)

    failures = Failures()
    return failing(pytest.importorskip("s3fs").S3FileSystem, failures)(**s3_options(s3_endpoint)), failures


@pytest.fixture
def open_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that opens a folder on a kind of storage, which fails when a test wants it to."""
    from failing_storage import Failures, attach, failing  # noqa: PLC0415 (comes with s3fs)
    from fsspec.implementations.local import LocalFileSystem  # noqa: PLC0415
    from fsspec.implementations.memory import MemoryFileSystem  # noqa: PLC0415

    # Airflow caches filesystems by connection id, so one stands for all folders of a test.
    conn_id, failures = tmp_path.name, Failures()

    def open_folder(make: Callable[..., Any], kind: str, name: str) -> Any:
        match kind:
            case "disk":
                protocol, outside, path = "file", LocalFileSystem(), f"{tmp_path}/{name}"
                inside, fails = failing(LocalFileSystem, failures)(), failures
            case "memory":
                protocol, outside, path = "memory", MemoryFileSystem(), f"/{tmp_path.name}/{name}"
                inside, fails = failing(MemoryFileSystem, failures)(), failures
            case _:
                protocol, outside, path = "s3", request.getfixturevalue("s3"), f"bucket/{tmp_path.name}/{name}"
                inside, fails = request.getfixturevalue("failing_s3")
                fails.arm(None)
                inside.invalidate_cache()
                outside.mkdirs("bucket", exist_ok=True)
        attach(protocol, conn_id=conn_id, fs=inside)
        return make(f"{protocol}://{conn_id}@{path}", path, outside, fails)

    return open_folder


def s3_options(endpoint: str) -> dict[str, Any]:
    return {"key": "testing", "secret": "testing", "endpoint_url": endpoint, "skip_instance_cache": True}


@pytest.fixture
def aws(s3_endpoint: str, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the filesystem of a local S3, which the connection ``aws_local`` reaches."""
    extra = {"endpoint_url": s3_endpoint, "region_name": "us-east-1"}
    fields = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_LOCAL", json.dumps(fields))
    s3.invalidate_cache()
    return s3


class Supervisor:
    """The process that tasks and triggers of Airflow 3 ask; it answers with its Variables, or with a failure."""

    def __init__(self) -> None:
        self.variables: dict[str, str | None] = {}
        self.fails: Any = None

    def send(self, message: Any) -> Any:
        """Answer a question for a Variable, and take all else."""
        from airflow.sdk.exceptions import ErrorType  # noqa: PLC0415 (Airflow 3 only)
        from airflow.sdk.execution_time.comms import (  # noqa: PLC0415 (Airflow 3 only)
            ErrorResponse,
            GetVariable,
            PutVariable,
            VariableResult,
        )

        if isinstance(message, PutVariable):
            self.variables[message.key] = message.value or ""
        asks_for_keys = type(message).__name__ == "GetVariableKeys"  # since 3.3
        if not (isinstance(message, GetVariable) or asks_for_keys):
            return None
        if self.fails == "DATABASE_ERROR" and not asks_for_keys:  # Airflow's API takes it for "there is none"
            return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
        if self.fails == "DATABASE_ERROR":
            return ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500})
        if isinstance(self.fails, Exception):
            raise self.fails
        if self.fails is not None:
            return ErrorResponse(error=ErrorType[self.fails], detail={"status_code": 500})
        if asks_for_keys:
            from airflow.sdk.execution_time.comms import VariableKeysResult  # noqa: PLC0415 (3.3)

            keys = [key for key in self.variables if key.startswith(message.prefix)]
            return VariableKeysResult(keys=keys, total_entries=len(keys))
        if self.variables.get(message.key) is None:
            return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
        return VariableResult(key=message.key, value=self.variables[message.key])


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """The supervisor of this process, as if it were a task's."""
    supervisor = Supervisor()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor
