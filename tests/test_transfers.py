"""Test the export against the simulator, over a real socket, to real files."""

from __future__ import annotations

import gzip
import json
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import CirclingList, SteppingClock, Store, TaskInstance, run_task
from failing_storage import Failures, KilledError, attach, failing
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_retell.errors import (
    RetellConnectionError,
    RetellExportError,
    RetellExportOvertakenError,
    RetellInputError,
    RetellNotFoundError,
    RetellResponseError,
    RetellServerError,
)
from airflow_provider_retell.files.manifest import MANIFEST
from airflow_provider_retell.rows import TRANSCRIPT_FIELDS
from airflow_provider_retell.simulator import Fault, ManualClock, Request, Response, Simulator
from airflow_provider_retell.transfers import RetellCallsToObjectStorageOperator

pytestmark = pytest.mark.usefixtures("connect")

SEEDED = 300


class SmallPages(RetellCallsToObjectStorageOperator):
    """An export whose few calls are on several pages."""

    calls_per_page = calls_per_page_with_details = 50


@pytest.fixture
def export(simulator: Simulator, clock: SteppingClock, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Export the last three days, which are over, unless other arguments are given."""

    def export(ti: TaskInstance | None = None, store: Store | None = None, **given: Any) -> dict[str, Any]:
        now = datetime.fromtimestamp(int(clock.now()), UTC)
        arguments = {
            "path": f"file://{tmp_path}/calls",
            "start": now - timedelta(days=3),
            "end": now,
            "late_arrivals": 0,
        } | given
        more = {} if store is None else {"task_state_store": store}
        return run_task(lambda: SmallPages(task_id="export", **arguments), ti, clock, **more)

    return export


def held(simulator: Simulator, *, dated: bool = True, transcripts: bool = False) -> list[dict[str, Any]]:
    """Return the calls of the simulator, earliest first, as rows without the outcome."""
    calls = [simulator.call(call_id) for call_id in simulator.calls]
    calls = [call for call in calls if ("start_timestamp" in call) is dated]
    left_out = frozenset() if transcripts else TRANSCRIPT_FIELDS
    return [
        {name: value for name, value in call.items() if name not in left_out}
        for call in sorted(calls, key=lambda call: (call.get("start_timestamp", 0), call["call_id"]))
    ]


def lines(folder: Path, pattern: str = "calls-*.jsonl") -> list[dict[str, Any]]:
    """Return the rows in the files of a folder, in order."""
    return [json.loads(line) for path in sorted(folder.glob(pattern)) for line in path.read_text().splitlines()]


def without_outcome(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "outcome"} for row in rows]


def fail_at_the_fourth_page(simulator: Simulator) -> None:
    """Let each request for a further page fail, as often as it is repeated."""
    simulator.fail(Fault(endpoint="list-calls", answer=500, skip=3, times=None))


def broken_off(export: Callable[..., dict[str, Any]], simulator: Simulator) -> Store:
    """Let a first try fail at its fourth page, and Retell recover; return Airflow's state store."""
    store = Store()
    fail_at_the_fourth_page(simulator)
    with pytest.raises(RetellServerError):
        export(TaskInstance(try_number=1, max_tries=1), store)
    simulator.recover()
    return store


def everything(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, except the manifest."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


# -- what is written -------------------------------------------------------------------------------------------


def test_every_call_of_the_interval_is_a_line(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """Each call that has a start is a line, as list-calls shows it, with its outcome, from oldest to newest."""
    simulator.seed(SEEDED)
    summary = export()
    rows = lines(tmp_path / "calls")
    assert without_outcome(rows) == held(simulator)
    assert all(row["outcome"] for row in rows)
    assert summary["calls"] == len(rows)
    assert summary["paths"] == [f"file://{tmp_path}/calls/calls-00000.jsonl"]
    assert set(everything(tmp_path / "calls")) == {"calls-00000.jsonl"}


def test_the_summary_says_what_was_written(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """The summary has counts by outcome, seconds of talk, cents, first and last start, and no phone number."""
    simulator.seed(SEEDED)
    summary = export()
    rows = lines(tmp_path / "calls")
    outcomes = [row["outcome"] for row in rows]
    assert summary["outcomes"] == {word: outcomes.count(word) for word in outcomes}
    assert summary["talk_seconds"] == pytest.approx(sum(row["duration_ms"] for row in rows) / 1000)
    assert summary["cost_cents"] == pytest.approx(sum(row["call_cost"]["combined_cost"] for row in rows))
    first, last = (datetime.fromisoformat(summary[name]) for name in ("first_start", "last_start"))
    assert [round(moment.timestamp() * 1000) for moment in (first, last)] == [
        rows[0]["start_timestamp"],
        rows[-1]["start_timestamp"],
    ]
    assert "55501" not in json.dumps({**summary, "paths": []})


def test_transcripts_cost_one_request_a_call(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """Fields that the list leaves out are read call by call, and only those that are named are written."""
    simulator.seed(SEEDED)
    export(include=["transcript", "transcript_object"])
    rows = lines(tmp_path / "calls")
    assert rows
    for row, call in zip(rows, held(simulator, transcripts=True), strict=True):
        assert row["transcript"] == call["transcript"]
        assert row["transcript_object"] == call["transcript_object"]
        assert TRANSCRIPT_FIELDS & row.keys() == {"transcript", "transcript_object"}
    endpoints = [request.endpoint for request in simulator.requests]
    assert endpoints.count("get-call") == len(rows)
    assert endpoints.count("list-calls") == -(-len(rows) // 50)
    assert len(endpoints) == endpoints.count("get-call") + endpoints.count("list-calls")


def test_requests_keep_the_pace(
    export: Callable[..., dict[str, Any]], simulator: Simulator, clock: SteppingClock
) -> None:
    """Pages and calls together are not requested faster than allowed."""
    simulator.seed(60)
    export(include="transcript", requests_per_second=10)
    assert sum(clock.slept) >= (len(simulator.requests) - 2) / 10


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_lines_are_split_by_size(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path, compression: str | None
) -> None:
    """A file ends with the page that makes it too large; together the files have all rows."""
    simulator.seed(SEEDED)
    summary = export(max_file_bytes=1 if compression is None else 5_000, compression=compression)
    paths = [Path(path.removeprefix("file://")) for path in summary["paths"]]
    assert len(paths) > 1
    texts = [gzip.decompress(path.read_bytes()).decode() if compression else path.read_text() for path in paths]
    assert without_outcome([json.loads(line) for text in texts for line in text.splitlines()]) == held(simulator)


def test_filters_reach_the_request(export: Callable[..., dict[str, Any]], simulator: Simulator) -> None:
    """Agent, direction, status, batch and metadata choose the calls."""
    simulator.seed(SEEDED)
    export(
        agent_id="agent_surveys",
        direction="outbound",
        call_status=["ended"],
        metadata={"campaign": "spring"},
        batch_call_id="batch_1",
    )
    criteria = simulator.requests[0].json["filter_criteria"]
    assert criteria["agent"] == [{"agent_id": "agent_surveys"}]
    assert criteria["direction"]["value"] == ["outbound"]
    assert criteria["call_status"]["value"] == ["ended"]
    assert criteria["metadata"] == [{"key": "campaign", "type": "string", "op": "eq", "value": "spring"}]
    assert criteria["batch_call_id"] == {"type": "string", "op": "eq", "value": "batch_1"}


def test_an_interval_ends_before_its_end(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """Adjacent intervals have each call once: an interval includes its start and excludes its end."""
    simulator.seed(SEEDED)
    middle = datetime.fromtimestamp(held(simulator)[100]["start_timestamp"] / 1000, UTC)
    export(path=f"{tmp_path}/1", end=middle)
    export(path=f"{tmp_path}/2", start=middle)
    assert len(lines(tmp_path / "1")) == 100
    assert without_outcome([*lines(tmp_path / "1"), *lines(tmp_path / "2")]) == held(simulator)


def test_calls_without_a_start_are_written_if_wanted(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """Calls that were not answered have no start and belong to no interval: they get files of their own."""
    simulator.seed(SEEDED)
    summary = export(undated=True)
    undated = without_outcome(lines(tmp_path / "calls", "undated-*.jsonl"))
    assert undated
    by_id = {call["call_id"]: call for call in held(simulator, dated=False)}
    assert {call["call_id"]: call for call in undated} == by_id
    assert summary["undated"] == len(undated)
    assert summary["calls"] == SEEDED
    assert summary["cannot_contain"] == ["calls that are still registered"]
    assert export()["cannot_contain"] == ["calls without a start", "calls that are still registered"]


def test_an_empty_interval_is_an_empty_file(export: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """An interval without calls has a file too."""
    assert export()["calls"] == 0
    assert everything(tmp_path / "calls") == {"calls-00000.jsonl": b""}


def test_the_data_interval_is_the_default(simulator: Simulator, clock: SteppingClock, tmp_path: Path) -> None:
    """Without start and end, the interval is that of the DAG run."""
    simulator.seed(SEEDED)
    now = datetime.fromtimestamp(int(clock.now()), UTC)
    task = RetellCallsToObjectStorageOperator(task_id="export", path=str(tmp_path / "calls"))
    interval = {"data_interval_start": now - timedelta(days=1), "data_interval_end": now - timedelta(hours=6)}
    summary = task.execute(TaskInstance().context(**interval))
    began = [call["start_timestamp"] / 1000 for call in held(simulator)]
    low, high = (moment.timestamp() for moment in interval.values())
    assert summary["calls"] == sum(low <= moment < high for moment in began) > 0


def test_sqlite_takes_the_lines(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """A table that is loaded by call id, once or twice, adds up to the summary."""
    simulator.seed(SEEDED)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE calls (call_id TEXT PRIMARY KEY, call TEXT)")
        for _ in range(2):
            summary = export(undated=True)
            rows = [(row["call_id"], json.dumps(row)) for row in lines(tmp_path / "calls", "*.jsonl")]
            database.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?)", rows)
        query = "SELECT call->>'outcome', count(*), sum(call->>'$.call_cost.combined_cost') FROM calls GROUP BY 1"
        found = database.execute(query).fetchall()
    assert {outcome: calls for outcome, calls, _ in found} == summary["outcomes"]
    assert sum(cents or 0 for *_, cents in found) == pytest.approx(summary["cost_cents"])


# -- once and complete -----------------------------------------------------------------------------------------


def test_a_rerun_replaces_the_files(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """A rerun with fewer or other files removes the earlier ones; other people's files stay."""
    simulator.seed(SEEDED)
    export(max_file_bytes=1, undated=True)
    assert len(everything(tmp_path / "calls")) > 3
    (tmp_path / "calls" / "notes.txt").write_text("mine")
    export(compression="gzip")
    assert set(everything(tmp_path / "calls")) == {"calls-00000.jsonl.gz", "notes.txt"}


def test_the_same_run_again_writes_the_same(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """The same calls give the same bytes."""
    simulator.seed(SEEDED)
    export(compression="gzip")
    before = everything(tmp_path / "calls")
    export(compression="gzip")
    assert everything(tmp_path / "calls") == before


@pytest.mark.parametrize("damage", ["truncate", "drop", 500, "empty"])
def test_a_failure_in_the_middle_leaves_the_files_as_they_were(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path, damage: Any
) -> None:
    """A page that cannot be read fails the run; the files of the run before stay, and no others are there."""
    simulator.seed(SEEDED)
    export()
    before = everything(tmp_path / "calls")
    simulator.delete(next(iter(simulator.calls)))
    simulator.fail(Fault(endpoint="list-calls", answer=damage, skip=2, times=None))
    with pytest.raises(Exception, match="list-calls"):
        export()
    assert everything(tmp_path / "calls") == before


@pytest.mark.parametrize("damage", ["truncate", "drop", "reset", 503, 429, "empty"])
def test_a_page_that_fails_once_is_read_again(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path, damage: Any
) -> None:
    """After a broken response the page is requested again, and no call is missing."""
    simulator.seed(SEEDED)
    simulator.fail(Fault(endpoint="list-calls", answer=damage, skip=2), Fault(endpoint="get-call", answer=damage))
    export(include=["transcript"])
    assert [row["call_id"] for row in lines(tmp_path / "calls")] == [call["call_id"] for call in held(simulator)]


def test_a_retry_continues_after_the_last_page(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """With Airflow's state store, pages that an earlier try has finished are not read again."""
    simulator.seed(SEEDED)
    whole = export(path=f"{tmp_path}/whole")
    pages, store = len(simulator.requests), broken_off(export, simulator)
    summary = export(TaskInstance(try_number=2, max_tries=1), store)
    # The page that was being read when the run failed may be one more.
    assert sum(request.fault is None for request in simulator.requests) - pages <= pages + 1
    assert without_outcome(lines(tmp_path / "calls")) == held(simulator)
    assert {**summary, "paths": []} == {**whole, "paths": []}
    assert set(everything(tmp_path / "calls")) == {"calls-00000.jsonl"}


def test_a_clear_reads_everything_again(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """A clear reads everything again, because calls may have changed since."""
    simulator.seed(SEEDED)
    store = broken_off(export, simulator)
    simulator.delete(held(simulator)[0]["call_id"])
    export(TaskInstance(try_number=2, max_tries=2), store)
    assert without_outcome(lines(tmp_path / "calls")) == held(simulator)


def test_a_retry_starts_over_if_its_pages_are_gone(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """If another run has removed what the first try put aside, everything is read again."""
    simulator.seed(SEEDED)
    store = broken_off(export, simulator)
    export()
    export(TaskInstance(try_number=2, max_tries=1), store)
    assert without_outcome(lines(tmp_path / "calls")) == held(simulator)


def test_the_last_try_leaves_nothing_beside(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """Files that no further try can use are removed, with a state store and without."""
    simulator.seed(SEEDED)
    fail_at_the_fourth_page(simulator)
    with pytest.raises(RetellServerError):
        export(TaskInstance(try_number=2, max_tries=1), Store())
    assert not everything(tmp_path / "calls")


def test_of_two_runs_at_once_the_later_one_writes(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """The earlier one notices that it was overtaken, and fails without a retry; the files are the later one's."""
    simulator.seed(SEEDED)

    class Overtaking(Store):
        """A store that lets the later run start and end when the earlier one writes down its second page."""

        later: dict[str, Any] | None = None

        def set(self, key: str, value: Any) -> None:
            super().set(key, value)
            if self.later is None and value["progress"]["chunks"]["calls"] == 2:
                self.later = {}
                self.later = export()

    store = Overtaking()
    with pytest.raises(RetellExportOvertakenError, match="started later"):
        export(TaskInstance(try_number=1, max_tries=1), store)
    assert store.later
    assert without_outcome(lines(tmp_path / "calls")) == held(simulator)
    assert set(everything(tmp_path / "calls")) == {"calls-00000.jsonl"}


# -- late arrivals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
def test_calls_still_going_on_at_the_edge_are_waited_for(
    export: Callable[..., dict[str, Any]],
    simulator: Simulator,
    clock: SteppingClock,
    tmp_path: Path,
    deferrable: bool,
) -> None:
    """A call that started before the end of the interval is written with its end and its analysis."""
    simulator.seed(20)
    edge = {"from_number": "+12025550199", "to_number": "+14155550100"}
    call_id = _create(simulator, edge)
    clock.time.advance(10)
    summary = export(late_arrivals=timedelta(hours=2), deferrable=deferrable, poll_interval=5)
    (row,) = [row for row in lines(tmp_path / "calls") if row["call_id"] == call_id]
    assert row["outcome"] == "answered"
    assert row["call_analysis"]
    assert summary["unfinished"] == 0
    assert without_outcome([row]) == [
        {k: v for k, v in simulator.call(call_id).items() if k not in TRANSCRIPT_FIELDS}
    ]


class OddStatus(Simulator):
    """A Retell whose list shows all calls with a status that is no text."""

    def respond(self, request: Request, wait: Any) -> Response | None:
        reply = super().respond(request, wait)
        if reply is None or request.path != "/v3/list-calls":
            return reply
        body = json.loads(reply.body)
        for item in body["items"]:
            item["call_status"] = {"value": "ended", "who": item.get("to_number")}
        return replace(reply, body=json.dumps(body).encode())


def test_a_call_with_an_odd_status_does_not_stop_an_export(
    time: ManualClock, clock: SteppingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """It is written as it is and not waited for; the warning quotes nothing of it."""
    odd = OddStatus(clock=time)
    odd.seed(5)
    with odd.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", odd.connection(url))
        now = datetime.fromtimestamp(int(clock.now()), UTC)
        given = {"start": now - timedelta(days=3), "end": now, "late_arrivals": timedelta(days=2)}
        path = f"file://{tmp_path}/calls"
        make = lambda: RetellCallsToObjectStorageOperator(task_id="export", path=path, **given)  # noqa: E731
        summary = run_task(make, None, clock)
    assert summary["calls"] == len(lines(tmp_path / "calls")) > 0
    assert "is not waited for: it is a call whose call_status is missing or of another type" in caplog.text
    assert "+1" not in caplog.text


def test_late_arrivals_are_waited_for_only_so_long(
    export: Callable[..., dict[str, Any]], simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """A call that still goes on after the window is written as it is, and counted as unfinished."""
    call_id = _create(simulator, {"from_number": "+12025550199", "to_number": "+14155550191"})
    clock.time.advance(10)
    end = clock.now()
    summary = export(late_arrivals=timedelta(hours=2), poll_interval=600)
    assert clock.now() - end == pytest.approx(7200, abs=1)
    (row,) = lines(tmp_path / "calls")
    assert (row["call_id"], row["call_status"], row["outcome"]) == (call_id, "ongoing", None)
    assert summary["unfinished"] == 1


def test_a_wait_without_an_interval_keeps_to_the_shortest_one(
    export: Callable[..., dict[str, Any]],
    simulator: Simulator,
    clock: SteppingClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``poll_interval=0`` means as often as ``[retell] shortest_poll_interval`` allows, here as everywhere."""
    monkeypatch.setenv("AIRFLOW__RETELL__SHORTEST_POLL_INTERVAL", "600")
    _create(simulator, {"from_number": "+12025550199", "to_number": "+14155550191"})
    clock.time.advance(10)
    export(late_arrivals=timedelta(hours=2), poll_interval=0)
    assert clock.slept[:-1] == [600.0] * (len(clock.slept) - 1)
    assert len(clock.slept) == 12


def test_only_the_edge_of_the_interval_is_looked_at(
    export: Callable[..., dict[str, Any]], simulator: Simulator, clock: SteppingClock
) -> None:
    """Only the calls of the last two hours are listed to find late arrivals, not those of three days."""
    simulator.seed(20)
    export(late_arrivals=timedelta(hours=2))
    low, high = simulator.requests[0].json["filter_criteria"]["start_timestamp"]["value"]
    assert (low, high) == (int(clock.now() - 7200) * 1000, int(clock.now()) * 1000 - 1)


class LateList(Simulator):
    """A Retell whose list shows calls as ongoing that get-call shows as over."""

    def respond(self, request: Request, wait: Any) -> Response | None:
        reply = super().respond(request, wait)
        if reply is None or request.path != "/v3/list-calls":
            return reply
        body = json.loads(reply.body)
        for call in body["items"]:
            call["call_status"] = "ongoing"
        return replace(reply, body=json.dumps(body).encode())


def test_two_endpoints_that_disagree_do_not_make_a_task_defer_without_a_pause(
    time: ManualClock, clock: SteppingClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each deferral after the first lasts half a minute at least, until the window is over."""
    simulator = LateList(clock=time)
    _create(simulator, {"from_number": "+12025550199", "to_number": "+14155550100"})
    time.advance(300)
    with simulator.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        now = datetime.fromtimestamp(int(clock.now()), UTC)
        times = {"start": now - timedelta(days=1), "end": now, "late_arrivals": 600}
        export = partial(
            RetellCallsToObjectStorageOperator, task_id="export", path=str(tmp_path), deferrable=True, **times
        )
        summary = run_task(export, clock=clock)
    assert summary["unfinished"] == 1
    assert clock.now() >= now.timestamp() + 600
    assert 2 < sum(request.endpoint == "get-call" for request in simulator.requests) <= 600 / 30 + 2


def test_nothing_is_asked_about_late_arrivals_of_long_ago(
    export: Callable[..., dict[str, Any]], simulator: Simulator, clock: SteppingClock
) -> None:
    """A backfill sends no requests except for the pages."""
    simulator.seed(20)
    end = datetime.fromtimestamp(int(clock.now()) - 7200, UTC)
    export(late_arrivals=timedelta(hours=2), end=end)
    assert len(simulator.requests) == 1


def _create(simulator: Simulator, body: dict[str, Any]) -> str:
    import httpx  # noqa: PLC0415 (used here alone)

    headers = {"authorization": "Bearer key_simulator"}
    with httpx.Client(transport=simulator, base_url="http://simulator", headers=headers) as client:
        return str(client.post("/v2/create-phone-call", json=body).json()["call_id"])


# -- privacy ---------------------------------------------------------------------------------------------------


def test_numbers_are_masked_if_wanted(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """Files have only the last four digits of phone numbers."""
    simulator.seed(SEEDED)
    export(mask_numbers=True, include=["transcript"])
    text = (tmp_path / "calls" / "calls-00000.jsonl").read_text()
    assert "+1" not in text
    assert {row["from_number"][:1] for row in lines(tmp_path / "calls")} == {"…"}


def test_no_log_line_holds_a_number_or_a_word(
    export: Callable[..., dict[str, Any]], simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Transcripts, numbers and links to recordings are in the files only."""
    caplog.set_level(logging.DEBUG)
    simulator.recording_link_seconds = 600
    simulator.seed(50)
    simulator.fail(Fault(endpoint="list-calls", answer=503), Fault(endpoint="get-call", answer=503, times=3))
    export(include=["transcript"], recordings=True)
    # httpcore's lines at DEBUG are not this package's.
    text = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpcore"))
    assert text
    for secret in ("+1", "55501", "appointment", "recording.wav", "key_simulator"):
        assert secret not in text


def test_recordings_are_kept_if_wanted(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """Each recording is a file, named in its row; a rerun without them removes them."""
    simulator.recording_link_seconds = 600
    simulator.seed(60)
    summary = export(recordings=True)
    rows = lines(tmp_path / "calls")
    recorded = [row for row in rows if "recording_url" in row]
    assert summary["recordings"] == len(recorded) > 0
    for row in recorded:
        assert row["recording_path"] == f"recordings/{row['call_id']}.wav"
        content = (tmp_path / "calls" / row["recording_path"]).read_bytes()
        assert content.startswith(b"RIFF")
        assert row["call_id"].encode() in content
    assert {r.headers.get("authorization") for r in simulator.requests if r.endpoint == "recording"} == {None}
    export()
    assert not list((tmp_path / "calls").glob("recordings/*"))


def test_an_expired_link_is_asked_for_again(
    export: Callable[..., dict[str, Any]], simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """A link that has expired since the page was read is replaced by a new one, with one more request."""
    simulator.recording_link_seconds = 600
    simulator.seed(10)
    simulator.fail(Fault(endpoint="recording", answer=403))
    summary = export(recordings=True)
    assert summary["recordings"] == sum("recording_path" in row for row in lines(tmp_path / "calls")) > 0
    assert [request.endpoint for request in simulator.requests].count("get-call") == 1


def test_a_recording_that_is_gone_is_no_reason_to_fail(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """If a recording is gone, its row has no path, and there is no part of a file."""
    simulator.recording_link_seconds = 600
    simulator.seed(10)
    simulator.fail(Fault(endpoint="recording", answer=404, times=None))
    assert export(recordings=True)["recordings"] == 0
    assert set(everything(tmp_path / "calls")) == {"calls-00000.jsonl"}


def test_a_recording_that_breaks_off_is_fetched_again(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """A recording that breaks off is fetched again, and never saved in part."""
    simulator.recording_link_seconds = 600
    simulator.seed(10)
    simulator.fail(Fault(endpoint="recording", answer="truncate", times=2))
    export(recordings=True)
    sizes = {path.stat().st_size for path in (tmp_path / "calls").glob("recordings/*")}
    assert len(sizes) == 1


@pytest.mark.parametrize("kill", [False, True], ids=["error", "kill"])
def test_whichever_operation_of_the_storage_fails_the_retry_makes_it_whole(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path, kill: bool
) -> None:
    """With recordings: nothing is lost, and the files are those of an undisturbed run."""
    simulator.recording_link_seconds = 600
    simulator.seed(60)
    export(path=f"{tmp_path}/undisturbed", recordings=True)
    wanted = everything(tmp_path / "undisturbed")
    assert sum(name.startswith("recordings/") for name in wanted) > 10
    failures = Failures()
    attach("file", conn_id=tmp_path.name, fs=failing(LocalFileSystem, failures)())
    at, step, failed = 1, 13, 0
    while True:
        folder = tmp_path / str(at)
        arguments = {"path": f"file://{tmp_path.name}@{folder}", "recordings": True}
        export(**arguments, max_file_bytes=1)
        (folder / "recordings" / "mine.wav").write_bytes(b"mine")
        store = Store()
        failures.arm(at, kill=kill)
        try:
            export(TaskInstance(try_number=1, max_tries=1), store, **arguments)
        except (KilledError, RetellExportError):
            failures.arm(None)
            failed += 1
            assert everything(folder)["recordings/mine.wav"] == b"mine"
            assert {name for name in wanted if name.startswith("recordings/")} <= everything(folder).keys()
            export(TaskInstance(try_number=2, max_tries=1), store, **arguments)
        reached = failures.operations >= at
        failures.arm(None)
        assert everything(folder) == wanted | {"recordings/mine.wav": b"mine"}
        if not reached:
            break
        at += step
    assert failed > 5


# -- bad input -------------------------------------------------------------------------------------------------

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"start": NOW - timedelta(days=1), "end": NOW - timedelta(days=2)}, "end must be later than start"),
        ({"start": NOW - timedelta(days=1), "end": NOW - timedelta(days=1)}, "end must be later than start"),
        ({"end": NOW + timedelta(days=1)}, "end must not be in the future"),
        ({"start": "yesterday"}, "start must be a datetime"),
        ({"start": None}, "start must be given"),
        ({"path": None}, "path must be given"),
        ({"path": ""}, "path must be given"),
        ({"metadata": {"tags": ["a"]}}, "compares metadata with"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(
    export: Callable[..., dict[str, Any]],
    simulator: Simulator,
    tmp_path: Path,
    given: dict[str, Any],
    complaint: str,
) -> None:
    """An impossible interval or argument fails without a retry, a request or a file."""
    with pytest.raises(RetellInputError, match=complaint):
        export(**given)
    assert not simulator.requests
    assert not everything(tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        {"agent_id": ""},
        {"agent_id": "None"},
        {"agent_id": " "},
        {"direction": ""},
        {"batch_call_id": ""},
        {"call_status": []},
        {"call_status": ""},
        {"call_status": [""]},
        {"metadata": {}},
        {"metadata": {"customer": ""}},
        {"metadata": {"": "7"}},
        {"metadata": ""},
        {"metadata": "customer"},
    ],
)
def test_an_empty_filter_does_not_pass_for_none(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path, given: dict[str, Any]
) -> None:
    """A template that renders to nothing must not put all calls of the account in one agent's file."""
    with pytest.raises(
        RetellInputError, match=rf"{next(iter(given))} (is empty|must be a mapping).*Nothing was sent"
    ):
        export(**given)
    assert not simulator.requests
    assert not everything(tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        {"file_format": "csv"},
        {"compression": "zstd"},
        {"file_format": "parquet", "compression": "lz77"},
        {"include": ["words"]},
        {"requests_per_second": -1},
        {"max_file_bytes": 0},
        {"late_arrivals": -1},
    ],
)
def test_arguments_are_checked_when_the_dag_is_parsed(given: dict[str, Any]) -> None:
    """Arguments that are not templates are checked in the DAG file."""
    with pytest.raises(RetellInputError):
        RetellCallsToObjectStorageOperator(task_id="export", path="/tmp/calls", **given)  # noqa: S108 (not written)


def test_an_empty_data_interval_is_explained(clock: SteppingClock, tmp_path: Path) -> None:
    """Cron schedules of Airflow 3 make data intervals of length zero: the message says what to do."""
    task = RetellCallsToObjectStorageOperator(task_id="export", path=str(tmp_path))
    moment = datetime.fromtimestamp(int(clock.now()), UTC)
    with pytest.raises(RetellInputError, match="CronDataIntervalTimetable"):
        task.execute(TaskInstance().context(data_interval_start=moment, data_interval_end=moment))


def test_a_destination_that_cannot_be_written_fails_before_the_first_request(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """The destination is claimed first."""
    (tmp_path / "calls").write_text("a file where a folder should be")
    with pytest.raises(RetellExportError, match="cannot be written"):
        export()
    assert not simulator.requests


@pytest.mark.parametrize("path", ["nonsense://bucket/calls", "s3://no_such_connection@bucket/calls"])
def test_an_unknown_destination_fails_before_the_first_request(
    export: Callable[..., dict[str, Any]], simulator: Simulator, path: str
) -> None:
    """A storage that is not installed, or has no connection, is an error that names the destination."""
    with pytest.raises(RetellExportError, match="cannot be"):
        export(path=path)
    assert not simulator.requests


def test_a_repeated_cursor_is_an_error(
    export: Callable[..., dict[str, Any]], circling_list: CirclingList, tmp_path: Path
) -> None:
    """A list that leads round in circles is not taken for complete."""
    circling_list.seed(SEEDED)
    with pytest.raises(RetellResponseError, match="leads back"):
        export()
    assert circling_list.second_page
    assert not everything(tmp_path / "calls")


def test_a_call_deleted_between_list_and_get_is_left_out(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """A call that was deleted meanwhile is left out; the summary counts it."""
    simulator.seed(SEEDED)
    simulator.fail(Fault(endpoint="get-call", answer=422, skip=3))
    summary = export(include=["transcript"])
    assert summary["deleted"] == 1
    assert summary["calls"] == len(lines(tmp_path / "calls")) == len(held(simulator)) - 1


def test_an_unknown_agent_is_an_error(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """An agent that Retell does not know is an error; an agent without calls is not."""
    simulator.seed(SEEDED)
    with pytest.raises(RetellNotFoundError, match="get-agent"):
        export(agent_id="agent_mistyped")
    assert not everything(tmp_path / "calls")
    now = simulator.clock()
    long_ago = datetime.fromtimestamp(now, UTC) - timedelta(days=300)
    assert export(agent_id="agent_surveys", start=long_ago, end=long_ago + timedelta(days=1))["calls"] == 0


@pytest.mark.parametrize("answer", [429, 502, 503, 504, "drop", "reset", "truncate", "empty"])
def test_a_bad_network_hides_no_agent(
    export: Callable[..., dict[str, Any]], simulator: Simulator, answer: Any
) -> None:
    """The request for the agent is repeated if its response is lost, and then decides."""
    simulator.seed(SEEDED)
    long_ago = datetime.fromtimestamp(simulator.clock(), UTC) - timedelta(days=300)
    when = {"start": long_ago, "end": long_ago + timedelta(days=1)}
    simulator.fail(Fault(endpoint="GET /get-agent/*", answer=answer, times=2))
    assert export(agent_id="agent_surveys", **when)["calls"] == 0
    simulator.fail(Fault(endpoint="GET /get-agent/*", answer=answer, times=2))
    with pytest.raises(RetellNotFoundError, match="get-agent"):
        export(agent_id="agent_mistyped", **when)


def test_retell_that_is_gone_is_an_error(
    export: Callable[..., dict[str, Any]], simulator: Simulator, tmp_path: Path
) -> None:
    """No answer at all is a transient error, and leaves no files."""
    simulator.fail(Fault(endpoint="*", answer="drop", times=None))
    with pytest.raises(RetellConnectionError):
        export()
    assert not everything(tmp_path / "calls")
