"""Files of people: what is read, what is refused, and that a message says where and what to do."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_retell.campaign.people.files import read_people_file
from airflow_provider_retell.campaign.people.person import own_columns, read_person
from airflow_provider_retell.campaign.results.results import Results
from airflow_provider_retell.errors import RetellError, RetellInputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ADA = {"to_number": "+14155550100", "name": "Ada"}
BOB = {"to_number": "+14155550101", "name": "Bob"}


def rows(path: object) -> list[dict[str, Any]]:
    return [dict(row) for row in read_people_file(str(path))]


def written(folder: Path, content: bytes, suffix: str = "csv") -> Path:
    path = folder / f"people.{suffix}"
    path.write_bytes(content)
    return path


# -- what is read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_of_every_spreadsheet_are_read(tmp_path: Path, separator: str, mark: bytes, end: str) -> None:
    """Separators, ends of lines and byte order marks differ from one program to the next."""
    table = [["name", "to_number"], ["Ada", "+14155550100"], ["", ""], ["Bob", "+14155550101"]]
    text = end.join(separator.join(cells) for cells in table)
    assert rows(written(tmp_path, mark + text.encode())) == [ADA, BOB]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("said", ["sep=;", "SEP=;\r", '"sep=;"', "sep="])
def test_the_line_that_names_the_separator_to_excel_is_no_row(tmp_path: Path, mark: bytes, said: str) -> None:
    """It is skipped, and the lines after it keep their numbers."""
    table = f"{said}\nname;to_number\nAda;+14155550100\n"
    assert rows(written(tmp_path, mark + table.encode())) == [ADA]
    with pytest.raises(RetellInputError, match="Line 4 of the file has 3 cells"):
        rows(written(tmp_path, mark + f"{table}Bob;+14155550101;x\n".encode()))


def test_a_cell_in_quotes_may_hold_anything(tmp_path: Path) -> None:
    """Separators, quotes, lines and JSON are part of a cell in quotes."""
    content = 'to_number,name,metadata\n+14155550100,"Ada, ""the\nfirst""","{""a"": 1}"\n+14155550101,Bob,\n'
    assert rows(written(tmp_path, content.encode())) == [
        {"to_number": "+14155550100", "name": 'Ada, "the\nfirst"', "metadata": '{"a": 1}'},
        BOB,
    ]


def test_lines_are_read_without_blank_ones(tmp_path: Path) -> None:
    """A byte order mark and blank lines are skipped."""
    content = b"\xef\xbb\xbf" + f"{json.dumps(ADA)}\n\n{json.dumps(BOB)}".encode()
    assert rows(written(tmp_path, content, "jsonl")) == [ADA, BOB]


def test_a_table_is_read_without_nulls(tmp_path: Path) -> None:
    """Null and NaN are empty cells."""
    table = pa.table(
        {"to_number": ["+14155550100", "+14155550101"], "age": [36.0, float("nan")], "name": ["Ada", None]}
    )
    pq.write_table(table, tmp_path / "people.parquet")
    assert rows(tmp_path / "people.parquet") == [{**ADA, "age": 36.0}, {"to_number": "+14155550101"}]


@pytest.mark.parametrize(("suffix", "content"), [("csv", b"to_number,name\n"), ("jsonl", b"")])
def test_a_file_without_people_is_a_list_too(tmp_path: Path, suffix: str, content: bytes) -> None:
    """A query that finds no people writes a file without rows."""
    assert rows(written(tmp_path, content, suffix)) == []


def test_a_file_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a folder is one in the working directory; a letter of the suffix may be a capital."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "#1 people?.CSV").write_text("to_number\n+14155550100\n")
    assert rows("#1 people?.CSV") == [{"to_number": "+14155550100"}]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_the_people_of_a_campaign_can_be_those_of_the_next(
    tmp_path: Path, file_format: Any, *, dry_run: bool
) -> None:
    """Their own columns come back, and the results of the earlier campaign are none of them."""
    person = read_person(0, {**ADA, "metadata": {"a": [1, "ü"]}, "person_id": "7"}, from_file=True)
    row = own_columns(person) | {"person_id": "7", "to_number": person.to_number, "outcome": None, "attempts": 2}
    row |= {"call_id": "call_1", "refused": None, "detail": None, "not_called": True}
    row |= {"earliest_call_at": "2026-07-06T12:00:00+00:00"} if dry_run else {}
    results = Results(str(tmp_path), holds="a campaign", token="1", file_format=file_format)
    results.open()
    [people, _] = results.finish(lambda: [row])
    [again] = [read_person(n, given, from_file=True) for n, given in enumerate(read_people_file(people))]
    assert json.loads(again.given) == json.loads(person.given)
    assert (again.person_id, again.to_number, again.refused) == ("7", "+14155550100", None)


# -- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        ("csv", b"", "its first line is empty, and must name the columns"),
        ("csv", b"sep=;\n", "its first line is empty, and must name the columns"),
        ("csv", b"\n\n", "its first line is empty, and must name the columns"),
        ("csv", b"\xef\xbb\xbf", "its first line is empty, and must name the columns"),
        ("csv", b"name,phone\nAda,+14155550100\n", "column 'phone', which is nearly to_number. Rename it"),
        ("csv", b"name,mail\nAda,a@b\n", "no column to_number. Its columns: 'name', 'mail'"),
        ("csv", b"Ada;+14155550100\nBob;+14155550101\n", "no column to_number. Its columns: 'Ada', '\u20260100'"),
        ("csv", b"to_number,name,name\n", "the column 'name' 2 times. Keep only one of them"),
        ("csv", b"to_number,timezone\n", "column 'timezone', which is nearly time_zone"),
        ("csv", b"to_number,\n+14155550100,Ada\n", "a column without a name"),
        ("csv", b"to_number,name\n+14155550100,Ada\n+14155550101,Bob,x\n", "Line 3 of the file has 3 cells"),
        ("csv", b'to_number,name\n+14155550100,"Ada\n+14155550101,Bob\n', "line 2 is not CSV"),
        (
            "csv",
            "to_number,name\n+14155550100,J\u00f6rg\n".encode("latin-1"),
            "line 2 is not in UTF-8 (byte 0xf6)",
        ),
        ("csv", "to_number,name\n+14155550100,Ada\n".encode("utf-16"), "it is in UTF-16: save it as CSV in UTF-8"),
        ("jsonl", b'{"to_number": "+14155550100"}\n{"to_number"\n', "line 2 is not JSON"),
        ("jsonl", b'[{"to_number": "+14155550100"}]', "line 1 is not a JSON object"),
        ("jsonl", b'{"to_number": "+14155550100", "tz": "UTC"}\n', "column 'tz', which is nearly time_zone"),
        ("parquet", b"", "it is not a Parquet file"),
        ("parquet", b"to_number\n", "it is not a Parquet file"),
        ("txt", b"", r"a file must end in .csv, .jsonl, .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_place(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    """The message names argument, file, line and column, and no number in full."""
    with pytest.raises(RetellInputError) as raised:
        rows(written(tmp_path, content, suffix))
    text = str(raised.value)
    assert message in text
    assert text.startswith("people='")
    assert f"people.{suffix}'" in text
    assert "4155550" not in text


def test_a_table_cut_short_is_refused(tmp_path: Path) -> None:
    """A Parquet file without its end, or with a hole, is damaged."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"to_number": ["+14155550100"] * 100}), sink)
    content = sink.getvalue()
    with pytest.raises(RetellInputError, match="it is not a Parquet file"):
        rows(written(tmp_path, content[:-10], "parquet"))
    with pytest.raises(RetellInputError, match="it cannot be read after row 0"):
        rows(written(tmp_path, content[:4] + b"\xff" * 40 + content[44:], "parquet"))


def test_a_table_without_numbers_is_refused(tmp_path: Path) -> None:
    """A table without to_number is refused, as in the other formats."""
    pq.write_table(pa.table({"name": ["Ada"], "to_numer": ["+14155550100"]}), tmp_path / "people.parquet")
    with pytest.raises(RetellInputError, match="'to_numer', which is nearly to_number"):
        rows(tmp_path / "people.parquet")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """No call is placed, and it is no storage in trouble: a retry would find the same."""
    for path in (tmp_path / "people.csv", tmp_path / "no folder" / "people.jsonl"):
        with pytest.raises(RetellInputError, match="there is no such file"):
            rows(path)
    (tmp_path / "people.csv").mkdir()
    with pytest.raises(RetellInputError, match="there is no such file"):
        rows(tmp_path / "people.csv")


def test_an_unknown_storage_is_an_error() -> None:
    """The message names what was asked for."""
    with pytest.raises(RetellError, match=r"people='nowhere://bucket/people\.csv' cannot be read"):
        rows("nowhere://bucket/people.csv")


# -- size ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_long_file_is_a_stream(tmp_path: Path, suffix: str) -> None:
    """The memory in use does not grow with the file."""
    path = tmp_path / f"people.{suffix}"
    numbers = [f"+1415555{number % 10000:04}" for number in range(20_000)]
    if suffix == "parquet":
        pq.write_table(pa.table({"to_number": numbers, "name": numbers}), path, row_group_size=1000)
    elif suffix == "csv":
        path.write_text("to_number,name\n" + "".join(f"{number},{number}\n" for number in numbers))
    else:
        path.write_text("".join(json.dumps({"to_number": number, "name": number}) + "\n" for number in numbers))
    next(iter(read_people_file(str(path))))  # imports
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_people_file(str(path))) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


# -- S3 --------------------------------------------------------------------------------------------------------


def test_people_are_read_from_s3(aws: Any) -> None:
    """People are read from S3 through the connection in the URL."""
    aws.mkdir("lists")
    aws.pipe_file("lists/people.csv", b"to_number,name\n+14155550100,Ada\n+14155550101,Bob\n")
    assert rows("s3://aws_local@lists/people.csv") == [ADA, BOB]
    with pytest.raises(RetellInputError, match="there is no such file"):
        rows("s3://aws_local@lists/others.csv")
