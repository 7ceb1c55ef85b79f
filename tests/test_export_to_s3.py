"""Exports of thousands of calls over a bad network, to disk and S3, have each row that the simulator has."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import SteppingClock, TaskInstance, run_task

from airflow_provider_retell.errors import RetellExportError, RetellServerError
from airflow_provider_retell.files.manifest import MANIFEST
from airflow_provider_retell.rows import TRANSCRIPT_FIELDS
from airflow_provider_retell.simulator import Fault, Simulator
from airflow_provider_retell.transfers import RetellCallsToObjectStorageOperator

duckdb = pytest.importorskip("duckdb")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("s3fs")

BUCKET = "warehouse"
CALLS = 6_000
CALLS_WITH_DETAILS = 1_000
"""Each of them is a request of its own."""


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A folder on a disk, or one in a bucket that the amazon provider's filesystem writes to."""
    if request.param == "disk":
        return Store(f"file://{tmp_path}/calls", str(tmp_path / "calls"), None)
    files = request.getfixturevalue("aws")
    files.mkdirs(BUCKET, exist_ok=True)
    folder = f"{BUCKET}/{tmp_path.name}"
    return Store(f"s3://aws_local@{folder}", folder, files)


class Store:
    """The folder of an export, read without the code under test."""

    def __init__(self, url: str, folder: str, files: Any) -> None:
        self.url, self.folder, self.files = url, folder, files

    def names(self) -> list[str]:
        """Return the names of all files in the folder and below it, but for the manifest."""
        if self.files is None:
            folder = Path(self.folder)
            paths = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
            return sorted(str(path.relative_to(folder)) for path in paths)
        self.files.invalidate_cache()
        names = {path.removeprefix(f"{self.folder}/") for path in self.files.find(self.folder)}
        return sorted(names - {MANIFEST})

    def download(self, folder: Path) -> list[Path]:
        """Copy all files to a local folder, and return their paths."""
        paths = []
        for name in self.names():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            source = f"{self.folder}/{name}"
            path.write_bytes(Path(source).read_bytes() if self.files is None else self.files.cat_file(source))
            paths.append(path)
        return paths


@pytest.fixture
def export(connect: Callable[..., None], clock: SteppingClock, store: Store) -> Callable[..., dict[str, Any]]:
    """Export the last three days to the store."""

    def export(ti: TaskInstance | None = None, **given: Any) -> dict[str, Any]:
        now = datetime.fromtimestamp(int(clock.now()), UTC)
        arguments = {"path": store.url, "start": now - timedelta(days=3), "end": now, "late_arrivals": 0} | given
        calls_per_page = arguments.pop("calls_per_page", 200)

        class SmallPages(RetellCallsToObjectStorageOperator):
            calls_per_page_with_details = calls_per_page

        SmallPages.calls_per_page = calls_per_page
        return run_task(lambda: SmallPages(task_id="export", **arguments), ti, clock)

    return export


def bad_network(simulator: Simulator) -> None:
    """Let some requests of each kind fail, in each way."""
    for endpoint, between in (("list-calls", 3), ("get-call", CALLS_WITH_DETAILS // 14)):
        for number, damage in enumerate((503, "drop", "truncate", "reset", 429, "empty", 502)):
            simulator.fail(Fault(endpoint=endpoint, answer=damage, skip=between * (number + 1)))
        simulator.fail(Fault(endpoint=endpoint, answer=504, html=True, skip=between * 9))


def faults_met(simulator: Simulator) -> set[tuple[str, str]]:
    """Return the kinds of requests that met a fault, each with the fault."""
    return {(request.endpoint, request.fault) for request in simulator.requests if request.fault}


def held(simulator: Simulator) -> dict[str, dict[str, Any]]:
    """Return every call of the simulator, as get-call shows it."""
    return {call_id: simulator.call(call_id) for call_id in simulator.calls}


def rebuilt(values: dict[str, Any]) -> dict[str, Any]:
    """Return the call from which a row of columns was made."""
    call = {name: value for name, value in values.items() if value is not None}
    for name in ("outcome", "cost_cents"):
        call.pop(name, None)
    for name, value in list(call.items()):
        if isinstance(value, datetime):
            call[name] = round(value.timestamp() * 1000)
    text = [name for name in call if isinstance(call[name], str) and call[name][:1] in "{["]
    for name in text:
        call[name] = json.loads(call[name])
    names = ("call_summary", "in_voicemail", "user_sentiment", "call_successful", "custom_analysis_data")
    analysis = {name: call.pop(name) for name in names if name in call}
    other = call.pop("other_fields", {})
    analysis |= other.pop("call_analysis", {})
    return call | other | ({"call_analysis": analysis} if analysis else {})


def test_lines_are_what_retell_holds(
    export: Callable[..., dict[str, Any]], simulator: Simulator, store: Store, tmp_path: Path
) -> None:
    """After faults of every kind, each of six thousand calls is one line in one of the files."""
    simulator.seed(CALLS)
    bad_network(simulator)
    summary = export(undated=True, max_file_bytes=2_400_000)
    paths = store.download(tmp_path / "read")
    assert len(paths) == len(summary["paths"]) > 3
    rows = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    for row in rows:
        assert row.pop("outcome")
    wanted = {i: {k: v for k, v in c.items() if k not in TRANSCRIPT_FIELDS} for i, c in held(simulator).items()}
    assert len(rows) == CALLS
    assert {row["call_id"]: row for row in rows} == wanted
    assert len(faults_met(simulator)) == 8


def test_a_table_is_what_retell_holds(
    export: Callable[..., dict[str, Any]], simulator: Simulator, store: Store, tmp_path: Path
) -> None:
    """With transcripts, as Parquet: pyarrow and DuckDB read in each row the call as Retell has it."""
    simulator.seed(CALLS_WITH_DETAILS)
    bad_network(simulator)
    summary = export(
        calls_per_page=CALLS_WITH_DETAILS // 50,
        undated=True,
        include=tuple(TRANSCRIPT_FIELDS),
        file_format="parquet",
        compression="zstd",
    )
    paths = store.download(tmp_path / "read")
    assert [path.name for path in paths] == ["calls-00000.parquet", "undated-00000.parquet"]
    wanted = held(simulator)
    by_arrow = [row for path in paths for row in pq.read_table(path).to_pylist()]
    assert len(by_arrow) == summary["calls"] == CALLS_WITH_DETAILS
    assert {row["call_id"]: rebuilt(row) for row in by_arrow} == wanted
    by_duckdb = duckdb.read_parquet([str(path) for path in paths])
    names = by_duckdb.columns
    assert {row[0]: rebuilt(dict(zip(names, row, strict=True))) for row in by_duckdb.fetchall()} == wanted
    assert len(faults_met(simulator)) == 16


def test_a_rerun_leaves_no_file_of_before(
    export: Callable[..., dict[str, Any]], simulator: Simulator, store: Store
) -> None:
    """A rerun with fewer files, another format and one recording fewer removes the earlier files."""
    simulator.recording_link_seconds = 600
    simulator.seed(40)
    # One fault for each of seven recordings: several are read at a time, and one alone must not meet all faults.
    recorded = [call_id for call_id, call in held(simulator).items() if "recording_url" in call]
    for call_id, damage in zip(recorded, (503, "drop", "truncate", "reset", 429, 502, 403), strict=False):
        simulator.fail(Fault(endpoint=f"/recordings/{call_id}/*", answer=damage))
    export(max_file_bytes=1, calls_per_page=10, recordings=True)
    before = store.names()
    assert sum(name.startswith("calls-") for name in before) > 1
    recordings = {name for name in before if name.startswith("recordings/")}
    assert len(recordings) == sum("recording_url" in call for call in held(simulator).values())
    assert len(faults_met(simulator)) == 7
    simulator.delete(min(recordings).removeprefix("recordings/").removesuffix(".wav"))
    export(file_format="parquet", recordings=True)
    assert store.names() == ["calls-00000.parquet", *sorted(recordings)[1:]]


def test_a_failure_leaves_nothing_half_written(
    export: Callable[..., dict[str, Any]], simulator: Simulator, store: Store
) -> None:
    """A run that fails half-way leaves the files of the run before, and no others."""
    simulator.seed(100)
    export(calls_per_page=20)
    before = store.names()
    simulator.fail(Fault(endpoint="list-calls", answer=500, skip=3, times=None))
    with pytest.raises(RetellServerError):
        export(calls_per_page=20, file_format="parquet")
    assert store.names() == before == ["calls-00000.jsonl"]


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_bucket_that_is_not_there_is_not_made(
    export: Callable[..., dict[str, Any]], simulator: Simulator, store: Store
) -> None:
    """A mistyped bucket fails before the first request, and no bucket of that name appears."""
    with pytest.raises(RetellExportError, match="cannot be written"):
        export(path="s3://aws_local@warehuose/calls")
    assert not simulator.requests
    assert not store.files.exists("warehuose")
