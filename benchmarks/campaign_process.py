"""A campaign in a process of its own, as a worker has it, but for Airflow's machinery around the task."""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

from airflow_provider_retell.simulator import Simulator
from benchmarks.retell import RetellProcess

P = ParamSpec("P")
T = TypeVar("T")

POLL_INTERVAL = 2.0
TALK_SECONDS = 3.0
NAMES = {"dag_id": "campaign", "run_id": "run", "task_id": "call", "map_index": -1}


FILMS = ("19900", "26191", "35301")


def numbers(count: int) -> list[str]:
    """Return up to 100,000 fictional numbers: those reserved for films in North America, then in France."""
    america = [f"+1{300 + place // 100}55501{place % 100:02}" for place in range(min(count, 70_000))]
    return america + [f"+33{FILMS[place // 10_000]}{place % 10_000:04}" for place in range(count - len(america))]


@contextmanager
def people_file(count: int) -> Iterator[tuple[str, str]]:
    """Yield the path of a file of so many people, and a folder for results."""
    with tempfile.TemporaryDirectory(prefix="benchmark-campaign-") as folder:
        path = Path(folder) / "people.csv"
        lines = (f"{number},person-{place},Ada\n" for place, number in enumerate(numbers(count)))
        path.write_text("to_number,person_id,name\n" + "".join(lines))
        yield str(path), str(Path(folder) / "results")


@dataclass(frozen=True, kw_only=True)
class Work:
    """The resources that a try took.

    Attributes:
        seconds: From its begin to its end.
        cpu: CPU seconds of its process.
        peak_mb: The most memory that the process had.
        before_mb: What it had before, Airflow and this package being loaded.
        result: The task's result.
    """

    seconds: float
    cpu: float
    peak_mb: float
    before_mb: float
    result: Mapping[str, Any]


def alone(task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function of a module in a new process, and return what it returns."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as pool:
        return pool.submit(task, *args, **kwargs).result()


def one_try(connection: str, people: str, path: str, *, number: int, lines: int, calls_per_second: float) -> Work:
    """Run one try of a campaign."""
    os.environ["AIRFLOW_CONN_RETELL_DEFAULT"] = connection
    from airflow_provider_retell.campaign.run import campaign_run  # noqa: F401, PLC0415 (Airflow's home must be set before)
    from airflow_provider_retell.operators import RetellCampaignOperator  # noqa: PLC0415

    pushed: dict[str, Any] = {}
    ti = SimpleNamespace(
        **NAMES, try_number=number, max_tries=2, xcom_push=lambda key, value: pushed.update({key: value})
    )
    # What the process that made this one had at most counts as this one's, until that is set back.
    Path("/proc/self/clear_refs").write_text("5")
    before_mb, before, began = peak_mb(), cpu_seconds(), time.perf_counter()
    operator = RetellCampaignOperator(
        task_id="call",
        people=people,
        path=path,
        from_number="+12025550199",
        lines=lines,
        calls_per_second=calls_per_second,
        poll_interval=POLL_INTERVAL,
    )
    result = operator.execute({"ti": ti, "dag_run": SimpleNamespace(start_date=datetime.now(UTC))})  # type: ignore[typeddict-item]
    return Work(
        seconds=time.perf_counter() - began,
        cpu=cpu_seconds() - before,
        peak_mb=peak_mb(),
        before_mb=before_mb,
        result=result,
    )


def cpu_seconds() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """Return the most memory that this process had, in MB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def resumed(count: int) -> Work:
    """Let a killed try have called so many people, all calls being over; return what the next try took."""
    with (
        people_file(count) as (people, path),
        RetellProcess(scenario="agent_hangup", ring_seconds=0, talk_seconds=0, concurrency_limit=count) as process,
    ):
        process.ask(call_everybody, count)
        work = alone(one_try, process.connection, people, path, number=2, lines=400, calls_per_second=400)
        placed = process.ask(calls)
    return checked(work, count, placed)


def placed(count: int, *, lines: int, calls_per_second: float) -> Work:
    """Let one try call so many people itself; return what it took."""
    options: dict[str, Any] = {"ring_seconds": 0, "talk_seconds": TALK_SECONDS, "list_registered": True}
    options |= {"numbers": dict.fromkeys(numbers(count), "agent_hangup"), "concurrency_limit": lines + 100}
    with people_file(count) as (people, path), RetellProcess(dial_delay=0, **options) as process:
        pace: dict[str, Any] = {"lines": lines, "calls_per_second": calls_per_second}
        work = alone(one_try, process.connection, people, path, number=1, **pace)
        called = process.ask(calls)
    return checked(work, count, called)


def checked(work: Work, count: int, placed: int) -> Work:
    """Return what a try took; raise unless each person was called once."""
    if work.result["outcomes"] != {"answered": count} or placed != count:
        raise RuntimeError(f"Of {count} people, {placed} calls: {work.result}")
    return work


def call_everybody(simulator: Simulator, count: int) -> None:
    """Place what the killed try placed, without a request for each."""
    from airflow_provider_retell.campaign.people.identity import CampaignIdentity  # noqa: PLC0415 (as above)

    identity = CampaignIdentity.of(**NAMES)  # type: ignore[arg-type]
    for place, number in enumerate(numbers(count)):
        simulator.play(number, "agent_hangup")
        person = identity.person(to_number=number, person_id=f"person-{place}")
        body = {
            "from_number": "+12025550199",
            "to_number": number,
            "metadata": {"airflow_call": identity.tag(person, 1)},
            "idempotency_key": identity.key(person, 1),
        }
        simulator.create(body)


def calls(simulator: Simulator) -> int:
    """Return how many calls there are."""
    return len(simulator.calls)
