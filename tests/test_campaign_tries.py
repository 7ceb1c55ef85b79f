"""The tries of one campaign: kills, time-outs, faults of the storage, clears, changed lists, two processes."""

from __future__ import annotations

import inspect
import json
import logging
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, Stats
from conftest import AIRFLOW_2, SteppingClock, Store, TaskInstance
from failing_storage import Failures, attach, failing
from fsspec.implementations.local import LocalFileSystem
from test_campaign import KilledTaskInstance, operator, people

from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellCallTimeoutError,
    RetellError,
    RetellExportError,
    RetellInputError,
)
from airflow_provider_retell.files.manifest import MANIFEST
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.policy import AttemptLimit
from airflow_provider_retell.simulator import Simulator
from airflow_provider_retell.testing import clock_replaced_by

if AIRFLOW_2:
    from airflow.utils.context import OutletEventAccessors
else:
    from airflow.sdk.execution_time.context import OutletEventAccessors

pytestmark = pytest.mark.usefixtures("connect")


@pytest.fixture(autouse=True)
def _plain_calls(simulator: Simulator) -> None:
    """Let every number answer, even those that stand for a scenario."""
    for each in people(20):
        simulator.play(each["to_number"], "agent_hangup")


def dials(simulator: Simulator) -> Counter[str]:
    """Return how often each number was called."""
    return Counter(str(call.request["to_number"]) for call in simulator.placed)


def once(count: int) -> Counter[str]:
    """Return what ``dials`` is if each of the first so many people was called once."""
    return Counter(each["to_number"] for each in people(count))


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the rows of all files of a kind, in their order."""
    texts = [path.read_text() for path in sorted(folder.glob(f"{kind}-*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


# -- kills and time-outs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [False, True])
def test_a_clear_while_calls_are_live_goes_on_with_them(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, *, stops: bool
) -> None:
    """The task that is cleared is killed; the next try calls the others, and knows how the live calls ended."""
    for each in people(2):
        simulator.play(each["to_number"], "user_hangup")
    killed = operator(path=str(tmp_path), lines=2, cancel_on_kill=stops)
    ti = KilledTaskInstance()
    ti.killed = killed.on_kill
    with pytest.raises(RetellCallError, match="killed"):
        killed.execute(ti.context(task_state_store=Store()))
    result = operator(path=str(tmp_path), lines=2).execute(TaskInstance(try_number=2).context())
    assert dials(simulator) == once(4)
    assert result["attempts"] == 4
    assert len(rows(tmp_path, "attempts")) == 4
    assert all(row["outcome"] in {"answered", "stopped"} for row in rows(tmp_path, "people"))


@pytest.mark.parametrize("stops", [False, True])
def test_execution_timeout_ends_the_task_in_time_and_a_retry_goes_on(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, *, stops: bool
) -> None:
    """Shortly before Airflow would: what was done is in the files, and live calls are stopped only if wanted."""
    for each in people(2):
        simulator.play(each["to_number"], "talks_forever")
    began = clock.now()
    task = operator(path=str(tmp_path), lines=3, cancel_on_kill=stops, execution_timeout=timedelta(minutes=10))
    with pytest.raises(RetellCallTimeoutError, match="execution_timeout"):
        task.execute(TaskInstance(max_tries=1).context(task_state_store=Store()))
    assert 500 < clock.now() - began < 600
    talking = [call for call in simulator.placed if call.request["to_number"] in once(2)]
    assert [bool(call.stops) for call in talking] == [stops, stops]
    assert list(tmp_path.rglob("attempts-1.*"))
    with RetellHook() as hook:
        for call in talking if not stops else ():
            hook.stop_call(call.call_id)
    result = operator(path=str(tmp_path)).execute(TaskInstance(try_number=2).context())
    assert dials(simulator) == once(4)
    assert result["attempts"] == 4


def test_progress_is_logged_counted_and_pushed(
    simulator: Simulator, clock: SteppingClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts only, every half minute: in the log, as metrics, and as the XCom ``progress``."""
    gauges: dict[str, list[float]] = {}
    monkeypatch.setattr(Stats, "gauge", lambda name, value, *_, **__: gauges.setdefault(name, []).append(value))
    pushed: list[tuple[float, Any]] = []

    class Watched(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            assert key == "progress"
            pushed.append((clock.now(), value))

    caplog.set_level(logging.INFO, "airflow_provider_retell")
    operator(people=people(8), lines=2, until=timedelta(hours=11)).execute(Watched().context())
    assert len(pushed) >= 3
    assert all(29 < later[0] - earlier[0] < 42 for earlier, later in pairwise(pushed[:-1]))
    first, last = pushed[0][1], pushed[-1][1]
    assert set(first) == {
        "people",
        "done",
        "reached",
        "lines_busy",
        "lines_allowed",
        "calls_per_second",
        "redials_due",
        "seconds_left",
    }
    assert (first["people"], first["lines_busy"], first["lines_allowed"]) == (8, 2, 2)
    assert first["done"] < 8
    assert 0 < first["seconds_left"] <= 11 * 3600
    assert (last["done"], last["reached"]) == (8, 8)
    assert "of 8 people done" in caplog.text
    assert {name.removeprefix("retell.campaign.") for name in gauges} == set(first)
    assert gauges["retell.campaign.done"] == [each["done"] for _, each in pushed]
    assert "+1206" not in caplog.text


# -- storage -----------------------------------------------------------------------------------------------------


def test_whichever_operation_of_the_storage_fails_no_person_is_called_twice(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """Before the first call it is an error and no call is placed; later the task fails, and a clear goes on."""
    before = during = 0
    for at in range(1, 200, 3):
        failures = Failures()
        attach("file", conn_id=f"{tmp_path.name}-{at}", fs=failing(LocalFileSystem, failures)())
        path = f"file://{tmp_path.name}-{at}@{tmp_path}/{at}"
        placed = len(simulator.placed)

        def run(number: int, *, run_id: str = f"run {at}", path: str = path) -> dict[str, Any]:
            ti = TaskInstance(try_number=number)
            ti.run_id = run_id
            return operator(people=people(3), path=path).execute(ti.context())

        failures.arm(at)
        try:
            run(1)
        except RetellExportError:
            before += len(simulator.placed) == placed
            during += len(simulator.placed) > placed
        else:
            if failures.operations < at:
                break
        failures.arm(None)
        assert run(2)["outcomes"] == {"answered": 3}, at
        assert Counter(str(c.request["to_number"]) for c in simulator.placed[placed:]) == once(3), at
        assert [row["outcome"] for row in rows(tmp_path / str(at), "people")] == ["answered"] * 3
        assert len({row["call_id"] for row in rows(tmp_path / str(at), "attempts")}) == 3
    assert before > 3
    assert during > 3


@pytest.mark.parametrize("holds", ["another campaign", "another program's files", "a file"])
def test_a_path_that_cannot_be_used_is_an_error_before_the_first_call(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, holds: str
) -> None:
    """Existing rows are left alone."""
    match holds:
        case "another campaign":
            operator(people=[], path=str(tmp_path)).execute(TaskInstance().context())
        case "another program's files":
            (tmp_path / "people-00000.jsonl").write_text("{}\n")
    path = str(tmp_path) if holds != "a file" else str(Path(__file__))
    ti = TaskInstance()
    ti.run_id = "another run"
    with pytest.raises((RetellInputError, RetellExportError)):
        operator(path=path).execute(ti.context())
    assert not simulator.placed


# -- another process ---------------------------------------------------------------------------------------------


class TakenOver(SteppingClock):
    """A clock by which another process of the same campaign runs while this one sleeps."""

    def __init__(self, clock: SteppingClock, *, after: int) -> None:
        super().__init__(clock.time)
        self.after = after
        self.other: Any = None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.slept) == self.after and self.other is not None:
            self.other()


@pytest.mark.parametrize("after", [1, 3, 6, 20])
def test_another_process_that_runs_meanwhile_calls_no_person_again(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, after: int
) -> None:
    """The first one stands still, and finds afterwards whom the other one called; both have the right result."""
    results: list[dict[str, Any]] = []

    def other() -> None:
        results.append(
            operator(people=people(8), path=str(tmp_path)).execute(TaskInstance(try_number=2).context())
        )

    taken_over = TakenOver(clock, after=after)
    taken_over.other = other
    task = operator(people=people(8), lines=2, calls_per_second=1, path=str(tmp_path))
    with clock_replaced_by(taken_over):
        results.append(task.execute(TaskInstance().context()))
    assert dials(simulator) == once(8)
    assert len(results) == 2
    assert [result["outcomes"] for result in results] == [{"answered": 8}] * 2
    assert len(rows(tmp_path, "attempts")) == len(rows(tmp_path, "people")) == 8
    assert not list(tmp_path.rglob("attempts-1.*"))


class Yielding(SteppingClock):
    """A clock that stands still until the other threads have had a turn."""

    def sleep(self, seconds: float) -> None:
        sleep(0.01)
        super().sleep(seconds)


def test_two_processes_at_once_call_no_person_twice(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """In any order of work each key places one call, and both processes end with the same result."""
    ended: list[dict[str, Any]] = []

    def process(number: int) -> None:
        task = operator(people=people(12), path=str(tmp_path))
        execute = inspect.unwrap(type(task).execute)  # Airflow 2 forbids any other thread than the first
        ended.append(execute(task, TaskInstance(try_number=number).context()))

    with clock_replaced_by(Yielding(clock.time)):
        threads = [Thread(target=process, args=(number,)) for number in (1, 2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(timeout=120)
    assert dials(simulator) == once(12)
    assert [result["outcomes"] for result in ended] == [{"answered": 12}] * 2
    assert len(rows(tmp_path, "attempts")) == len(rows(tmp_path, "people")) == 12
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"people-00000.jsonl", "attempts-00000.jsonl", MANIFEST}


# -- another list ------------------------------------------------------------------------------------------------


def test_a_list_that_changed_between_two_tries(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New people are called, removed ones reported, and called ones not called again, even under a new id."""
    numbers = [each["to_number"] for each in people(6)]

    def listed(*entries: tuple[str, str]) -> str:
        lines = ["to_number,person_id", *(f"{number},{key}" for number, key in entries)]
        (tmp_path / "people.csv").write_text("\n".join(lines))
        return str(tmp_path / "people.csv")

    first = listed((numbers[0], "ada"), (numbers[1], "grace"), (numbers[2], "alan"), (numbers[3], "edsger"))
    path = str(tmp_path / "out")
    operator(people=first, path=path).execute(TaskInstance().context())
    second = listed(
        (numbers[4], "barbara"),  # new
        (numbers[0], "ada"),  # as before
        (numbers[1], "hopper"),  # a new id for a number that was called
        (numbers[5], "alan"),  # an id that was called at another number
    )  # and Edsger is gone
    result = operator(people=second, path=path).execute(TaskInstance(try_number=2).context())
    assert dials(simulator) == once(5)
    assert [(row["person_id"], row["outcome"], row["refused"]) for row in rows(tmp_path / "out", "people")] == [
        ("barbara", "answered", None),
        ("ada", "answered", None),
        ("hopper", "answered", None),
        ("alan", None, "changed"),
    ]
    assert result["refused"] == {"changed": 1}
    called = {row["to_number"] for row in rows(tmp_path / "out", "attempts") if row["call_id"]}
    assert called == set(numbers[:5])
    assert "2 people who were called are not on the list any more" in caplog.text


def test_a_person_who_moved_to_another_map_index_is_not_called_again(
    simulator: Simulator, clock: SteppingClock
) -> None:
    """Under ``.expand()`` who was called is known over all map indexes of the task."""
    ada, grace, alan = people(3)
    operator(people=[ada, grace]).execute(TaskInstance(map_index=0).context())
    moved = operator(people=[grace, alan]).execute(TaskInstance(map_index=1).context())
    assert dials(simulator) == once(3)
    assert moved["outcomes"] == {"answered": 2}
    assert moved["attempts"] == 1


# -- outlets and history -----------------------------------------------------------------------------------------


def test_an_outlet_gets_one_event_with_the_paths(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """At the end, with counts and files, and nothing about a person."""
    asset = Asset("s3://bucket/calls")
    events = OutletEventAccessors()
    task = operator(path=str(tmp_path), outlets=[asset])
    result = task.execute(TaskInstance().context(outlet_events=events))
    assert events[asset].extra == result
    assert len(result["paths"]) == 2
    assert "+1206" not in json.dumps(result)


def test_attempts_of_earlier_campaigns_count(simulator: Simulator, clock: SteppingClock, tmp_path: Path) -> None:
    """A budget of one call a week: the next run refuses those whom the first one called, and calls the others."""
    budget = {"attempts": AttemptLimit(1, per=timedelta(days=7)), "history": str(tmp_path)}

    def run(run_id: str, count: int) -> dict[str, Any]:
        ti = TaskInstance()
        ti.run_id = run_id
        task = operator(people=people(count), path=f"{tmp_path}/{run_id}", **budget)
        return task.execute(ti.context())

    assert run("monday", 2)["outcomes"] == {"answered": 2}
    clock.sleep(86_400)
    tuesday = run("tuesday", 3)
    assert (tuesday["refused"], tuesday["outcomes"]) == ({"attempt_limit": 2}, {"answered": 1})
    clock.sleep(7 * 86_400)
    assert run("next-week", 3)["outcomes"] == {"answered": 3}
    assert sum(dials(simulator).values()) == 6


# -- people who cannot be called ---------------------------------------------------------------------------------


def test_one_whom_eligible_fails_for_is_not_called_and_all_fail_the_task(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """The reason is in the row; the campaign goes on with the others."""

    def eligible(person: Any) -> bool:
        return bool(1 / (person["to_number"] != people()[1]["to_number"]))

    result = operator(path=str(tmp_path), eligible=eligible).execute(TaskInstance().context())
    assert (result["refused"], result["outcomes"]) == ({"not_eligible": 1}, {"answered": 3})
    assert "ZeroDivisionError" in rows(tmp_path, "people")[1]["detail"]
    ti = TaskInstance()
    ti.run_id = "another run"
    with pytest.raises(RetellCallFinalError, match="eligible failed"):
        operator(eligible=lambda _person: 1 / 0).execute(ti.context())
    assert sum(dials(simulator).values()) == 3


@pytest.fixture
def bad_files(tmp_path: Path) -> dict[str, Path]:
    """Files that cannot be lists of people."""
    content = {
        "empty": b"",
        "latin": "to_number,name\n+12065550100,J\xfcrgen\n".encode("latin-1"),
        "without": b"name,age\nAda,36\n",
        "twice": b"to_number,name,name\n+12065550100,Ada,Ada\n",
        "nearly": b"to_number,timezone\n+12065550100,UTC\n",
    }
    for name, data in content.items():
        (tmp_path / f"{name}.csv").write_bytes(data)
    return {name: tmp_path / f"{name}.csv" for name in [*content, "missing"]}


@pytest.mark.parametrize("name", ["empty", "latin", "without", "twice", "nearly", "missing"])
def test_a_file_that_is_no_list_is_an_error_before_the_first_call(
    simulator: Simulator, clock: SteppingClock, bad_files: dict[str, Path], name: str
) -> None:
    """The error names the file or the column."""
    with pytest.raises(RetellError, match=rf"{name}\.csv|column"):
        operator(people=str(bad_files[name])).execute(TaskInstance().context())
    assert not simulator.placed
