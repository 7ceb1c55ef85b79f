"""Test exports of lists that the simulator does not have: very long ones, and some with overlapping pages."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.export.listing import Selection
from airflow_provider_retell.export.progress import Progress
from airflow_provider_retell.export.run import Export
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.files.formats import FileFormat, open_format

ON_A_PAGE = 100


class Pages(httpx.BaseTransport):
    """A Retell that makes up a number of pages and keeps none in memory."""

    def __init__(self, count: int) -> None:
        self.count = count

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        gc.collect()  # httpx's responses are in reference cycles; only memory that stays in use counts
        number = int(json.loads(request.read()).get("pagination_key", 0))
        calls = [
            {
                "call_id": f"call_{number}_{position}",
                "call_status": "ended",
                "disconnection_reason": "user_hangup",
                "start_timestamp": 1000 * number + position,
                "metadata": {"text": "x" * 500},
            }
            for position in range(ON_A_PAGE)
        ]
        more = number + 1 < self.count
        return httpx.Response(
            200, json={"items": calls, "has_more": more} | ({"pagination_key": str(number + 1)} if more else {})
        )


def peak(pages: int, file_format: FileFormat, folder: Path) -> int:
    """Return the most bytes that Python has allocated while it exports this many pages."""
    destination = Destination(str(folder), token=f"run{pages}", holds="calls")
    destination.claim()
    with RetellClient(ConnectionSettings(api_key="key_1"), transport=Pages(pages)) as client:
        selection = Selection(start=0, end=10**9, filters={})
        export = Export(client, selection, destination, open_format(file_format, None))
        gc.freeze()  # the collector need not look at all of Airflow after each page
        tracemalloc.start()
        summary = export.run()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        gc.unfreeze()
    assert summary["calls"] == pages * ON_A_PAGE
    return most


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_memory_does_not_grow_with_the_number_of_calls(file_format: FileFormat, tmp_path: Path) -> None:
    """Ten times the calls need only a few kilobytes more: a cursor and a file name per page."""
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    peak(2, file_format, tmp_path)  # imports and compiles what the first export needs
    few, many = (peak(pages, file_format, tmp_path) for pages in (10, 100))
    bytes_a_page, bytes_a_call = (many - few) / (100 - 10), 600
    assert bytes_a_page < ON_A_PAGE * bytes_a_call / 10  # Parquet remembers the offset of each row group


class OverlappingPages(httpx.BaseTransport):
    """A Retell with five pages, of which each begins with the last call of the page before."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        number = int(json.loads(request.read()).get("pagination_key", 0))
        calls = [
            {"call_id": f"call_{position}", "start_timestamp": position} for position in range(number, number + 2)
        ]
        more = {"has_more": number < 4} | ({"pagination_key": str(number + 1)} if number < 4 else {})
        return httpx.Response(200, json={"items": calls, **more})


@pytest.mark.parametrize("saves", range(5))
def test_a_retry_after_an_overlapping_page_writes_each_call_once(tmp_path: Path, saves: int) -> None:
    """Each call is one row, whether the first try dies before or after it wrote down its progress."""
    written: list[str] = []

    class DiedError(Exception):
        pass

    def save(progress: Progress) -> None:
        if len(written) == saves:
            raise DiedError
        written.append(json.dumps(progress.to_json()))

    def export(client: RetellClient, progress: Progress | None) -> dict[str, Any]:
        destination = Destination(str(tmp_path), token="run", holds="calls")
        destination.claim(keeping=None if progress is None else progress.names())
        selection = Selection(start=0, end=10**9, filters={})
        given = {"progress": progress or Progress(), "save": save if progress is None else lambda _: None}
        return Export(client, selection, destination, open_format("jsonl", None), **given).run()

    with RetellClient(ConnectionSettings(api_key="key_1"), transport=OverlappingPages()) as client:
        with pytest.raises(DiedError):
            export(client, None)
        summary = export(client, Progress.from_json(json.loads(written[-1])) if written else Progress())
    rows = [json.loads(line)["call_id"] for line in (tmp_path / "calls-00000.jsonl").read_text().splitlines()]
    assert rows == [f"call_{position}" for position in range(6)]
    assert summary["calls"] == 6


@pytest.mark.parametrize("before", [False, True], ids=["not frozen before", "frozen before"])
def test_the_heap_is_frozen_only_while_an_export_lists(tmp_path: Path, before: bool) -> None:
    """Afterwards everything is collected again, unless the process itself had frozen its heap."""
    counts = []

    class Counting(OverlappingPages):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            counts.append(gc.get_freeze_count())
            return super().handle_request(request)

    gc.unfreeze()
    if before:
        gc.freeze()
    destination = Destination(str(tmp_path), token="run", holds="calls")
    destination.claim()
    with RetellClient(ConnectionSettings(api_key="key_1"), transport=Counting()) as client:
        Export(client, Selection(start=0, end=10**9, filters={}), destination, open_format("jsonl", None)).run()
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    assert min(counts) > 0
    assert (frozen > 0) is before
