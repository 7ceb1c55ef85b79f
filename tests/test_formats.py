from __future__ import annotations

import gzip
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.files.columns import COLUMNS, Kind
from airflow_provider_retell.files.formats import COMPRESSIONS, open_format

ROWS: list[dict[str, Any]] = [
    {
        "call_id": f"call_{number}",
        "start_timestamp": 1_767_225_600_123 + number,
        "metadata": {"number": number, "text": "Grüße, 你好"},
        "call_cost": {"combined_cost": number + 0.5},
        "new": {"field": number},
    }
    for number in range(25)
]


def written(file_format: str, compression: str | None, chunks: int) -> bytes:
    """Return the rows as a file made of this many chunks."""
    fmt = open_format(file_format, compression)  # type: ignore[arg-type]
    size = -(-len(ROWS) // chunks) if chunks else len(ROWS)
    parts = [fmt.chunk(ROWS[first : first + size]) for first in range(0, len(ROWS), size)] if chunks else []
    file = io.BytesIO()
    fmt.write(iter(parts), file)
    return file.getvalue()


@pytest.mark.parametrize("compression", COMPRESSIONS["jsonl"])
@pytest.mark.parametrize("chunks", [1, 7])
def test_lines_are_the_rows(compression: str | None, chunks: int) -> None:
    """Each row is a line, whatever the number of chunks."""
    content = written("jsonl", compression, chunks)
    text = gzip.decompress(content) if compression else content
    assert [json.loads(line) for line in text.decode().splitlines()] == ROWS
    assert "Grüße" in text.decode()


def test_half_of_a_surrogate_pair_can_be_written() -> None:
    """Half of a surrogate pair, which cannot be encoded, is written as an escape and read back the same."""
    row = {"call_id": "call_1", "agent_name": "\ud83d"}
    assert json.loads(open_format("jsonl", None).chunk([row])) == row


@pytest.mark.parametrize("compression", COMPRESSIONS["parquet"])
def test_a_table_has_the_promised_types(compression: str | None) -> None:
    """Timestamps are timestamps in UTC, cents are integers, JSON is text, the version is in the metadata."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(io.BytesIO(written("parquet", compression, 3)))
    types = {
        Kind.TEXT: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TIMESTAMP: pa.timestamp("ms", tz="UTC"),
        Kind.JSON: pa.string(),
    }
    assert [(field.name, field.type) for field in table.schema] == [
        (each.name, types[each.kind]) for each in COLUMNS
    ]
    assert table.schema.metadata[b"retell_schema_version"] == b"1"
    rows = table.to_pylist()
    assert [row["call_id"] for row in rows] == [row["call_id"] for row in ROWS]
    assert rows[0]["start_timestamp"] == datetime(2026, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)
    assert json.loads(rows[2]["other_fields"]) == {"new": {"field": 2}}


def test_duckdb_reads_the_types(tmp_path: Path) -> None:
    """DuckDB reads the same columns and types as pyarrow."""
    pytest.importorskip("pyarrow")
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "calls.parquet"
    path.write_bytes(written("parquet", "zstd", 2))
    table = duckdb.read_parquet(str(path))
    types = dict(zip(table.columns, map(str, table.types), strict=True))
    assert types["start_timestamp"] == "TIMESTAMP WITH TIME ZONE"
    assert types["cost_cents"] == "BIGINT"
    assert types["in_voicemail"] == "BOOLEAN"
    query = "SELECT count(*), sum(cost_cents), sum((metadata->>'number')::INT) FROM calls"
    assert table.query("calls", query).fetchall() == [(25, sum(range(1, 26)), sum(range(25)))]


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_a_file_of_no_rows_can_be_read(file_format: str) -> None:
    """An interval without calls is an empty file, in Parquet with all columns."""
    if file_format == "jsonl":
        assert written("jsonl", None, 0) == b""
        return
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(io.BytesIO(written("parquet", None, 0)))
    assert (table.num_rows, table.num_columns) == (0, len(COLUMNS))


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow, the error names the extra, before anything is sent."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RetellInputError, match=r"airflow-provider-retell\[export\]"):
        open_format("parquet", None)
