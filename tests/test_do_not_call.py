"""Those who are never to be called: from values and from a file that changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from failing_storage import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_retell.campaign.people.do_not_call import LOOKED_AT_EVERY, DoNotCall
from airflow_provider_retell.errors import RetellError, RetellInputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NUMBER, OTHER = "+14155550100", "+14155550101"


def csv(path: Path, *numbers: str) -> Path:
    path.write_text("to_number,phone,why\n" + "".join(f"{number},x,y\n" for number in numbers))
    return path


def read(path: object, **more: Any) -> DoNotCall:
    made = DoNotCall(str(path), **more)
    made.refresh(0)
    return made


@pytest.mark.parametrize("written", [NUMBER, "001 (415) 555-0100", " +1 415.555.0100 "])
def test_a_number_is_on_the_list_in_any_spelling(tmp_path: Path, written: str) -> None:
    """As values and in a file."""
    for made in (DoNotCall([written]), read(csv(tmp_path / "dnc.csv", written))):
        assert made.listed(NUMBER)
        assert not made.listed(OTHER)


def test_national_numbers_are_those_of_the_region(tmp_path: Path) -> None:
    """National numbers are read as those of the region, as among the people."""
    pytest.importorskip("phonenumbers")
    path = csv(tmp_path / "dnc.csv", "(415) 555-0100")
    assert read(path, region="US").listed(NUMBER)
    assert DoNotCall(["(415) 555-0100"], region="US").listed(NUMBER)
    with pytest.raises(RetellInputError, match=r"dnc\.csv', line 2: '…0100' is no phone .*Nobody is called"):
        read(path)


def test_the_list_may_be_empty() -> None:
    """An empty list is allowed."""
    assert not DoNotCall(()).listed(NUMBER)


def table(path: Path, number: str) -> None:
    pq.write_table(pa.table({"to_number": [number, None], "phone": ["x", "y"]}), path)


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        ("csv", csv),
        (
            "jsonl",
            lambda path, number: path.write_text(f'{{"to_number": "{number}"}}\n{{"phone": 2}}\n'),
        ),
        ("parquet", table),
    ],
)
def test_other_columns_do_not_matter(tmp_path: Path, suffix: str, write: Callable[[Path, str], object]) -> None:
    """A column that looks like a misspelt field is allowed here; a row without a number is ignored."""
    path = tmp_path / f"dnc.{suffix}"
    write(path, NUMBER)
    assert read(path).listed(NUMBER)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dnc.csv", "phone\n+14155550199\n", "'phone', which is nearly to_number. Rename it"),
        ("dnc.csv", "who\nAda\n", "no column to_number. Its columns: 'who'"),
        ("dnc.csv", "", "its first line is empty"),
        ("dnc.csv", "to_number\n+14155550199\n12345\n", "line 3: '12345' is no phone number"),
        ("dnc.csv", "to_number\n14155550199.0\n", "was made a quantity"),
        ("dnc.jsonl", '{"phone": "+14155550199"}', "no row has a to_number"),
        ("dnc.jsonl", "{", "line 1 is not JSON"),
        ("dnc.parquet", "", "it is not a Parquet file"),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error(tmp_path: Path, name: str, content: str, message: str) -> None:
    """A person might be on the line that cannot be read, so nothing may be placed."""
    (tmp_path / name).write_text(content)
    with pytest.raises(RetellInputError) as raised:
        read(tmp_path / name)
    assert message in str(raised.value)
    assert "5550199" not in str(raised.value)


def test_values_that_are_no_numbers_are_errors() -> None:
    """The message says which; a text by itself is a file, and must look like one."""
    with pytest.raises(RetellInputError, match=r"do_not_call\[1\]: 'nobody' is no phone number"):
        DoNotCall([NUMBER, "nobody"])
    with pytest.raises(RetellInputError, match=r"takes numbers, or a file that ends in \.csv"):
        DoNotCall("s3://bucket/dnc.txt")


def test_a_missing_file_is_an_error_each_time(tmp_path: Path) -> None:
    """Also if it was there before, and also if asked again at once."""
    path = csv(tmp_path / "dnc.csv", NUMBER)
    made = read(path)
    path.unlink()
    for _ in range(2):
        with pytest.raises(RetellInputError, match=r"do_not_call='.*dnc\.csv': there is no such file"):
            made.refresh(LOOKED_AT_EVERY)
    with pytest.raises(RetellInputError, match="there is no such file"):
        read(path)


def test_a_list_that_was_not_read_lets_no_person_be_called(tmp_path: Path) -> None:
    """An answer before the first reading would be a guess."""
    with pytest.raises(RetellError, match="not read yet"):
        DoNotCall(str(csv(tmp_path / "dnc.csv"))).listed(NUMBER)


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """The file is checked once a minute, and read only if it has changed."""
    path = csv(tmp_path / "dnc.csv", OTHER)
    made = read(path)
    csv(path, OTHER, NUMBER)
    made.refresh(LOOKED_AT_EVERY - 1)
    assert not made.listed(NUMBER)
    made.refresh(LOOKED_AT_EVERY)
    assert made.listed(NUMBER)
    csv(path, OTHER)
    os.utime(path, (0, 0))
    made.refresh(0)  # the clock was set back
    assert not made.listed(NUMBER)


def test_a_file_of_a_storage_without_times_is_read_at_each_look() -> None:
    """Of a file of equal size nothing else may say that a number in it was replaced."""
    memory = MemoryFileSystem()
    attach("memory", conn_id="lists", fs=memory)
    memory.pipe_file("/lists/dnc.csv", f"to_number\n{NUMBER}\n".encode())
    made = read("memory://lists@/lists/dnc.csv")
    memory.pipe_file("/lists/dnc.csv", f"to_number\n{OTHER}\n".encode())
    made.refresh(LOOKED_AT_EVERY)
    assert (made.listed(NUMBER), made.listed(OTHER)) == (False, True)


def test_a_failed_reading_leaves_the_list_as_it_was(tmp_path: Path) -> None:
    """The next check reads it again."""
    path = csv(tmp_path / "dnc.csv", NUMBER)
    made = read(path)
    path.write_text("to_number\nnobody\n")
    for _ in range(2):
        with pytest.raises(RetellInputError):
            made.refresh(LOOKED_AT_EVERY)
        assert made.listed(NUMBER)


def test_a_list_on_s3_is_read_again_when_it_changes(aws: Any) -> None:
    """S3 behaves like a disk here."""
    aws.mkdir("dnc")
    aws.pipe_file("dnc/dnc.csv", b"to_number\n+14155550101\n")
    made = read("s3://aws_local@dnc/dnc.csv")
    assert made.listed(OTHER)
    aws.pipe_file("dnc/dnc.csv", b"to_number\n+14155550100\n")
    made.refresh(LOOKED_AT_EVERY)
    assert (made.listed(NUMBER), made.listed(OTHER)) == (True, False)
    aws.rm_file("dnc/dnc.csv")
    with pytest.raises(RetellInputError, match="there is no such file"):
        made.refresh(2 * LOOKED_AT_EVERY)
