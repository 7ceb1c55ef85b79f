"""The files of a campaign: complete, by name, and with each attempt, whatever fails and whenever."""

from __future__ import annotations

import json
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell.campaign.results.parts import PARTS, Parts
from airflow_provider_retell.campaign.results.results import LONGEST_FINISH, Results
from airflow_provider_retell.errors import RetellError, RetellExportError, RetellInputError
from airflow_provider_retell.files.columns import row_of, table
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.files.manifest import MANIFEST
from airflow_provider_retell.operators.campaign_process import Process
from airflow_provider_retell.simulator import ManualClock
from airflow_provider_retell.testing import SteppingClock

pytest.importorskip("s3fs")
pq = pytest.importorskip("pyarrow.parquet")
from failing_storage import Failures, Folder, KilledError, attach, failing  # noqa: E402 (comes with what is looked for above)
from fsspec.implementations.local import LocalFileSystem  # noqa: E402

HOLDS = "the campaign of task call of DAG dag, run 1"
FORMATS = ("jsonl", "parquet")


def attempt(number: int, **more: Any) -> dict[str, Any]:
    """Return the row of a call that is over."""
    return {
        "call_id": f"call_{number}",
        "call_status": "ended",
        "outcome": "answered",
        "start_timestamp": 1_767_225_600_123 + number,
        "call_analysis": {"call_summary": "Grüße", "custom_analysis_data": {"rating": number}},
        "call_cost": {"combined_cost": 4.5},
        "metadata": {"number": number},
        "person_id": str(number),
        "to_number": f"+1415555{100 + number % 100:04}",
        "attempt": 1,
        "placed_at": "2026-01-01T00:00:00.123000+00:00",
        "seen_over_at": "2026-01-01T00:01:00+00:00",
        **more,
    }


def refusal(number: int, **more: Any) -> dict[str, Any]:
    """Return the row of a refusal."""
    return {
        "call_id": None,
        "person_id": str(number),
        "to_number": f"+1415555{100 + number % 100:04}",
        "refused": "do_not_call",
        "detail": "on the do_not_call list",
        "refused_at": "2026-01-01T00:00:00+00:00",
        **more,
    }


def person(number: int, **more: Any) -> dict[str, Any]:
    """Return the row of a person."""
    return {
        "name": f"Ada {number}",
        "retell_llm_dynamic_variables": {"city": "Zürich"},
        "person_id": str(number),
        "to_number": f"+1415555{100 + number % 100:04}",
        "outcome": "answered",
        "attempts": 1,
        "call_id": f"call_{number}",
        "refused": None,
        "detail": None,
        "not_called": False,
        **more,
    }


PEOPLE = [person(number) for number in range(3)]


def results(path: object, process: str = "1-a", *, holds: str = HOLDS, **more: Any) -> Results:
    """Return results that are open."""
    made = Results(str(path), holds=holds, token=process, **{"file_format": "jsonl", **more})
    made.open(began_at=0.0)
    return made


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def read(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the rows of all files of a kind, without the code under test."""
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob(f"{kind}-*")):
        rows += lines(path) if path.suffix == ".jsonl" else pq.read_table(path).to_pylist()
    return rows


def names(folder: Path) -> set[str]:
    """Return the names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# -- what is written ------------------------------------------------------------------------------------------


def test_the_files_hold_the_people_in_order_and_each_attempt(tmp_path: Path) -> None:
    """Lines are the rows as they were given, and nothing else is left in the folder."""
    made = results(tmp_path)
    made.add([attempt(2), refusal(7)])
    assert made.write_part() == 2
    made.add([attempt(1)])
    paths = made.finish(lambda: reversed(PEOPLE))
    assert paths == [f"{tmp_path}/people-00000.jsonl", f"{tmp_path}/attempts-00000.jsonl"]
    assert read(tmp_path, "people") == PEOPLE[::-1]
    assert read(tmp_path, "attempts") == [attempt(2), refusal(7), attempt(1)]
    assert names(tmp_path) == {"people-00000.jsonl", "attempts-00000.jsonl", MANIFEST}


def test_a_table_has_types_that_do_not_depend_on_the_people(tmp_path: Path) -> None:
    """Own columns are text, objects as JSON; a call's columns are those of an export; times are timestamps."""
    made = results(tmp_path, file_format="parquet")
    made.add([attempt(1), refusal(7)])
    made.finish(lambda: [person(0), person(1, name=7, age=36)])
    people = pq.read_table(tmp_path / "people-00000.parquet")
    assert {name: str(people.schema.field(name).type) for name in people.schema.names} == {
        "name": "string",
        "retell_llm_dynamic_variables": "string",
        "age": "string",
        "person_id": "string",
        "to_number": "string",
        "outcome": "string",
        "attempts": "int64",
        "call_id": "string",
        "refused": "string",
        "detail": "string",
        "not_called": "bool",
    }
    assert [(row["name"], row["age"]) for row in people.to_pylist()] == [("Ada 0", None), ("7", "36")]
    assert json.loads(people["retell_llm_dynamic_variables"][0].as_py()) == {"city": "Zürich"}
    attempts = pq.read_table(tmp_path / "attempts-00000.parquet")
    assert str(attempts.schema.field("placed_at").type) == "timestamp[ms, tz=UTC]"
    first, second = attempts.to_pylist()
    assert (first["call_id"], first["call_summary"], first["attempt"]) == ("call_1", "Grüße", 1)
    assert (second["call_id"], second["refused"], str(second["refused_at"])[:10]) == (
        None,
        "do_not_call",
        "2026-01-01",
    )


@pytest.mark.parametrize("file_format", FORMATS)
def test_no_people_are_files_without_rows(tmp_path: Path, file_format: str) -> None:
    """A campaign without people succeeds, and what reads its files finds them."""
    paths = results(tmp_path, file_format=file_format).finish(list)
    assert [posixpath.basename(path) for path in paths] == [
        f"{k}-00000.{file_format}" for k in ("people", "attempts")
    ]
    assert read(tmp_path, "people") == read(tmp_path, "attempts") == []


@pytest.mark.parametrize("file_format", FORMATS)
def test_many_rows_are_several_files(tmp_path: Path, file_format: str) -> None:
    """A file ends once it has its size, and the next one goes on."""
    made = results(tmp_path, file_format=file_format, max_bytes=100_000)
    for first in range(0, 3000, 500):
        made.add(attempt(number) for number in range(first, first + 500))
        made.write_part()
    paths = made.finish(lambda: map(person, range(2500)))
    assert len(paths) > 4
    assert [row["person_id"] for row in read(tmp_path, "people")] == [str(number) for number in range(2500)]
    assert [row["call_id"] for row in read(tmp_path, "attempts")] == [f"call_{number}" for number in range(3000)]


# -- what is known ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_later_try_knows_the_attempts_of_parts_and_of_finished_files(tmp_path: Path, file_format: str) -> None:
    """Attempts come back as they were given, and refusals too: they must not be counted again."""
    first = results(tmp_path, file_format=file_format)
    first.add([attempt(1), refusal(1)])
    first.finish(lambda: PEOPLE)
    second = results(tmp_path, "2-b", file_format=file_format)
    second.add([attempt(2)])
    second.write_part()
    third = results(tmp_path, "3-c", file_format=file_format)
    known = [{name: value for name, value in row.items() if value is not None} for row in third.known()]
    refused = {name: value for name, value in refusal(1).items() if value is not None}
    assert known == [attempt(1), refused, attempt(2)]


def placed(number: int, **more: Any) -> dict[str, Any]:
    """Return the row of a call in progress."""
    row = {"call_id": f"call_{number}", "call_status": "ongoing", "outcome": None, "person_id": str(number)}
    return {**row, "to_number": "+14155550100", "attempt": 1, "placed_at": "2026-01-01T00:00:00+00:00", **more}


def test_a_call_in_progress_is_known_until_its_row_is_complete(tmp_path: Path) -> None:
    """Its row is written over and over, and leaves the file a part later than the complete row is in a part."""
    made = results(tmp_path)
    made.note(placed(1))
    made.write_placed()
    made.note(placed(1, outcome="answered"))
    made.note(placed(2))
    made.write_placed()
    (file,) = (tmp_path / name for name in names(tmp_path) if "placed" in name)
    assert lines(file) == [placed(1, outcome="answered"), placed(2)]
    assert list(results(tmp_path, "2-b").known()) == lines(file)
    made.add([attempt(1)])
    made.write_part()
    made.write_placed()
    assert [row["call_id"] for row in lines(file)] == ["call_1", "call_2"]
    made.add([attempt(3)])
    made.write_part()
    made.write_placed()
    assert lines(file) == [placed(2)]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_call_in_progress_has_one_row_at_the_end(tmp_path: Path, file_format: str) -> None:
    """The complete row wins, whichever process wrote it; a call without one keeps the row it has."""
    first, second = results(tmp_path, "2-a", file_format=file_format), results(tmp_path, file_format=file_format)
    second.add([attempt(1)])
    second.write_part()
    first.note(placed(1))
    first.note(placed(2))
    first.write_placed()
    second.finish(lambda: PEOPLE)
    rows = {row["call_id"]: row["outcome"] for row in read(tmp_path, "attempts")}
    assert rows == {"call_1": attempt(1)["outcome"], "call_2": None}
    assert len(read(tmp_path, "attempts")) == 2
    assert not [name for name in names(tmp_path) if "placed" in name]


def test_a_clear_in_another_format_keeps_what_there_was(tmp_path: Path) -> None:
    """The files of the other format go, and their rows are in the new ones."""
    first = results(tmp_path, file_format="parquet")
    first.add([attempt(1), refusal(1)])
    first.finish(lambda: PEOPLE)
    second = results(tmp_path, "2-b")
    second.add([attempt(2)])
    second.finish(lambda: PEOPLE)
    known = {name: value for name, value in refusal(1).items() if value is not None}
    assert read(tmp_path, "attempts") == [attempt(1), known, attempt(2)]
    assert names(tmp_path) == {"people-00000.jsonl", "attempts-00000.jsonl", MANIFEST}


def test_of_two_rows_about_one_call_the_newer_one_is_kept(tmp_path: Path) -> None:
    """A row of a later part replaces one that is finished; a refusal that is there already is none more."""
    first = results(tmp_path)
    first.add([attempt(1, outcome="unknown"), attempt(2), refusal(3)])
    first.finish(lambda: PEOPLE)
    second = results(tmp_path, "10-b")
    second.add([attempt(1, outcome="answered"), refusal(3), refusal(3, refused="bad_number")])
    second.finish(lambda: PEOPLE)
    assert read(tmp_path, "attempts") == [
        attempt(2),
        attempt(1, outcome="answered"),
        refusal(3),
        refusal(3, refused="bad_number"),
    ]


def test_parts_of_the_tenth_try_are_newer_than_those_of_the_second(tmp_path: Path) -> None:
    """Tries are compared as numbers."""
    for token in ("10-a", "2-b"):
        made = results(tmp_path, token)
        made.add([attempt(1, detail=token)])
        made.write_part()
    results(tmp_path, "11-c").finish(lambda: PEOPLE)
    assert [row["detail"] for row in read(tmp_path, "attempts")] == ["10-a"]


@given(st.data())
def test_the_parts_of_a_later_process_are_newer_whatever_is_random(data: st.DataObject) -> None:
    """A try has several processes if it is deferred, and each numbers its parts; nothing depends on a clock."""
    numbers = st.sampled_from([0, 1, 2, 9, 10, 11, 100])
    words = st.text("0123456789abcdef", min_size=8, max_size=8)
    keys = data.draw(st.lists(st.tuples(numbers, numbers), unique=True, min_size=2, max_size=5))
    turns = data.draw(st.permutations([key for key in keys for _ in range(2)]))
    with tempfile.TemporaryDirectory() as folder:
        made = {key: Parts(folder, holds=HOLDS, token=Process(*key, word=data.draw(words)).token) for key in keys}
        for turn, key in enumerate(turns):
            made[key].write(json.dumps([*key, turn]).encode())
        read = [json.loads((Path(folder) / name).read_text()) for name in made[keys[0]].names()]
        assert read == sorted(read)
        assert len(read) == len(turns)


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    """Both write parts under names of their own; the one that ends later has the rows of both."""
    one, two = results(tmp_path, "1-a"), results(tmp_path, "1-b")
    one.add([attempt(1)])
    two.add([attempt(2)])
    one.write_part()
    two.write_part()
    two.add([attempt(3)])
    one.finish(lambda: PEOPLE)
    two.write_part()
    assert {row["call_id"] for row in results(tmp_path, "2-c").known()} == {"call_1", "call_2", "call_3"}
    two.finish(lambda: PEOPLE)
    assert {row["call_id"] for row in read(tmp_path, "attempts")} == {"call_1", "call_2", "call_3"}


def test_opening_touches_nothing_of_a_process_that_writes_the_results(tmp_path: Path) -> None:
    """A retry begins while a frozen process is at its end: that one goes on where it was."""
    one = results(tmp_path, "1-a")
    one.add([attempt(1)])

    def people() -> Iterator[Mapping[str, Any]]:
        yield from PEOPLE
        before = names(tmp_path)
        results(tmp_path, "2-b")
        assert names(tmp_path) == before

    one.finish(people)
    assert read(tmp_path, "people") == PEOPLE


def test_files_that_are_kept_twice_are_both_there(tmp_path: Path) -> None:
    """The second time some of them may be new, with rows at other places."""
    parts = Parts(tmp_path, holds=HOLDS, token="1-a")
    for number in range(2):
        (tmp_path / "attempts-00000.jsonl").write_text(json.dumps(attempt(number)) + "\n")
        parts.keep(["attempts-00000.jsonl"])
    assert [row for name in parts.names() for row in parts.rows(name)] == [attempt(0), attempt(1)]


class Turning(SteppingClock):
    """A clock that lets another process act when this one sleeps for the first time."""

    def __init__(self, other: Callable[[], Any]) -> None:
        super().__init__(ManualClock())
        self.other = other

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.slept) == 1:
            self.other()


def test_a_process_waits_for_the_one_that_began_to_finish_later(tmp_path: Path) -> None:
    """Then it writes the results again, with the rows of both; both return the paths, and nothing is left."""
    two = results(tmp_path, "1-b")
    clock = Turning(lambda: ended.append(two.finish(lambda: PEOPLE)))
    one = results(tmp_path, "1-a", clock=clock)
    one.add([attempt(1)])
    two.add([attempt(2)])
    ended: list[list[str]] = []
    takes_over = iter([Destination(str(tmp_path), token="1-b", holds=HOLDS).claim])

    def people() -> Iterator[Mapping[str, Any]]:
        yield from PEOPLE
        for act in takes_over:
            act()

    ended.append(one.finish(people))
    assert len(clock.slept) == 1
    assert ended == [[f"{tmp_path}/people-00000.jsonl", f"{tmp_path}/attempts-00000.jsonl"]] * 2
    assert read(tmp_path, "people") == PEOPLE
    assert {row["call_id"] for row in read(tmp_path, "attempts")} == {"call_1", "call_2"}
    assert names(tmp_path) == {"people-00000.jsonl", "attempts-00000.jsonl", MANIFEST}


def test_a_process_that_was_killed_while_it_wrote_the_results_is_waited_for_ten_minutes(tmp_path: Path) -> None:
    """Then another one writes them, and clears away what is left of it."""
    killed = Destination(str(tmp_path), token="1-b", holds=HOLDS)
    clock = Turning(lambda: None)
    one = results(tmp_path, "1-a", clock=clock)
    one.add([attempt(1)])

    def people() -> Iterator[Mapping[str, Any]]:
        yield from PEOPLE
        if not clock.slept:
            killed.claim()
            with killed.writing("people-00000.jsonl") as file:
                file.write(b"half")

    one.finish(people)
    assert sum(clock.slept) == pytest.approx(LONGEST_FINISH, abs=2)
    assert read(tmp_path, "people") == PEOPLE
    assert names(tmp_path) == {"people-00000.jsonl", "attempts-00000.jsonl", MANIFEST}


class Meanwhile(Failures):
    """Let something else happen right before the n-th operation of a storage."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0
        self.act: Callable[[], Any] = tuple

    def run(self, operation: Callable[[], Any]) -> Any:
        self.operations += 1
        if self.operations == self.at:
            self.act()
        return operation()


def opens(path: Path) -> None:
    results(path, "2-b").add([])


def writes_a_part(path: Path) -> None:
    made = results(path, "2-b")
    made.add([attempt(2)])
    made.write_part()


def finishes(path: Path) -> None:
    made = results(path, "2-b", max_bytes=1)
    made.add([attempt(2), attempt(1)])
    made.finish(lambda: PEOPLE)


def is_killed(path: Path) -> None:
    made = results(path, "2-b")
    made.add([attempt(2)])

    def people() -> Iterator[Mapping[str, Any]]:
        yield PEOPLE[0]
        raise KilledError

    with pytest.raises(KilledError):
        made.finish(people)


@pytest.mark.parametrize(("act", "step"), [(opens, 4), (writes_a_part, 4), (finishes, 1), (is_killed, 3)])
def test_a_process_ends_well_whatever_another_one_does_and_whenever(
    tmp_path: Path, act: Callable[[Path], None], step: int
) -> None:
    """Before each operation of the storage in turn: what is known and what is written has the rows of all."""
    at, reached = 1, True
    while reached:
        folder, meanwhile = tmp_path / f"{at}", Meanwhile()
        before = results(folder, "1-c")
        before.add([attempt(0)])
        before.finish(lambda: PEOPLE)
        before.add([attempt(3)])
        before.write_part()
        attach("file", conn_id=f"{folder.name}-{act.__name__}", fs=failing(LocalFileSystem, meanwhile)())
        meanwhile.act, meanwhile.at = partial(act, folder), at
        url = f"file://{folder.name}-{act.__name__}@{folder}"
        one = results(url, "1-a", clock=SteppingClock(ManualClock()))
        assert {row["call_id"] for row in one.known()} >= {"call_0", "call_3"}, at
        one.add([attempt(1)])
        one.write_part()
        paths = one.finish(lambda: PEOPLE)
        reached = meanwhile.operations >= at
        calls = {"call_0", "call_1", "call_3"} | ({"call_2"} if reached and act is not opens else set())
        assert [posixpath.basename(path) for path in paths] == ["people-00000.jsonl", "attempts-00000.jsonl"]
        assert read(folder, "people") == PEOPLE, at
        written = {row["call_id"] for row in read(folder, "attempts")}
        written |= {row["call_id"] for row in results(folder, "3-d").known()}
        assert written == calls, at
        results(folder, "3-d").finish(lambda: PEOPLE)
        assert names(folder) == {"people-00000.jsonl", "attempts-00000.jsonl", MANIFEST}, at
        assert {row["call_id"] for row in read(folder, "attempts")} == calls, at
        at += step
    assert at > 60


@pytest.mark.parametrize("content", [b'{"call_id": "call_1"', b"[1]\n", b"\xff\n"])
def test_a_damaged_part_is_an_error(tmp_path: Path, content: bytes) -> None:
    """A person who was called may be in it, so no call is placed, and the message names file and line."""
    first = results(tmp_path)
    first.add([attempt(1)])
    first.write_part()
    [part] = (tmp_path / PARTS).rglob("attempts-*")
    part.write_bytes(part.read_bytes() + content)
    with pytest.raises(RetellInputError, match=r"attempts-1-a-00000\.jsonl is damaged: line 2 is not (a )?JSON"):
        list(results(tmp_path, "2-b").known())


def test_a_damaged_table_is_an_error(tmp_path: Path) -> None:
    """As with lines."""
    first = results(tmp_path, file_format="parquet")
    first.add([attempt(1)])
    first.finish(lambda: PEOPLE)
    (tmp_path / "attempts-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(RetellInputError, match=r"attempts-00000\.parquet is damaged: it is not a Parquet file"):
        list(results(tmp_path, "2-b").known())


LEAF = st.sampled_from([None, True, 0, 7, -1, 2**70, 1.5, 2.0, "", "a", "\ud83d", "7", [], {}])
WORD = st.sampled_from(["call_summary", "call_successful", "combined_cost", "new"])
JSON = LEAF | st.lists(LEAF, max_size=2) | st.dictionaries(WORD, LEAF, max_size=2)
FIELDS = st.sampled_from(
    ["call_id", "start_timestamp", "call_cost", "call_analysis", "agent_version", "new", "metadata"]
)


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_a_row_comes_back_from_a_table_as_it_was(row: dict[str, Any]) -> None:
    """Whatever Retell sends: what fits no column included, except for nulls."""
    values = {name: column[0] for name, column in table([row])}
    if (started := values.get("start_timestamp")) is not None:  # pyarrow reads a datetime
        values["start_timestamp"] = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=started)
    again = row_of(values)
    analysis = row.get("call_analysis")
    kept = {name: value for name, value in row.items() if value is not None}
    if isinstance(analysis, dict):
        kept["call_analysis"] = {name: value for name, value in analysis.items() if value is not None}
        if not kept["call_analysis"]:
            del kept["call_analysis"]
    assert again == kept


# -- whose folder it is ----------------------------------------------------------------------------------------


def test_another_campaigns_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Before the first call, even if that one has not finished; the message names both."""
    results(tmp_path)
    before = names(tmp_path)
    with pytest.raises(RetellInputError, match=r"run 1, and this task writes .*run 2.* path of its own"):
        results(tmp_path, holds="the campaign of task call of DAG dag, run 2")
    assert names(tmp_path) == before


@pytest.mark.parametrize("name", ["people-00000.parquet", "attempts-00003.jsonl"])
def test_files_of_another_program_are_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    """Files with our names that no manifest lists are not ours, whatever their format."""
    (tmp_path / name).write_text("mine")
    with pytest.raises(RetellInputError, match="which no run of this package has written"):
        results(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_taken_by_another_campaign_meanwhile_is_noticed(tmp_path: Path) -> None:
    """Two that open an empty folder at one moment do not mix: the loser stops at its next part."""
    made = results(tmp_path)
    (tmp_path / MANIFEST).unlink()
    other = results(tmp_path, holds="another campaign")
    other.add([attempt(9)])
    other.write_part()
    made.add([attempt(1)])
    with pytest.raises(RetellInputError, match="another campaign"):
        made.write_part()
    (tmp_path / MANIFEST).unlink()
    assert list(results(tmp_path, "2-b").known()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error_before_the_first_call(tmp_path: Path) -> None:
    """If nothing can be recorded, no call is placed."""
    tmp_path.chmod(0o500)
    with pytest.raises(RetellExportError, match="cannot be written"):
        results(tmp_path / "calls")


def test_a_file_where_the_folder_should_be_is_an_error_before_the_first_call(tmp_path: Path) -> None:
    """As above, for a user who may write everywhere."""
    (tmp_path / "calls").write_text("mine")
    with pytest.raises(RetellError, match="calls cannot be"):
        results(tmp_path / "calls")


# -- whatever fails --------------------------------------------------------------------------------------------


class Store(Folder):
    """The folder of a campaign, in which a user has files of their own."""

    def __init__(self, url: str, folder: str, outside: Any, failures: Failures) -> None:
        super().__init__(url, folder, outside, failures)
        self.put("notes.txt", b"mine")
        self.put(f"{PARTS}/mine.txt", b"mine")

    def calls(self) -> set[str]:
        """Return the calls in all complete files."""
        rows = [
            json.loads(text)
            for name, content in self.content().items()
            if posixpath.basename(name).startswith("attempts-")
            for text in content.splitlines()
        ]
        return {row["call_id"] for row in rows}


def first_try(store: Store, wrote: list[str]) -> None:
    """Write parts, and remember what was certainly written."""
    made = results(store.url)
    made.add([attempt(1), attempt(2)])
    made.write_part()
    wrote += ["call_1", "call_2"]
    made.finish(lambda: PEOPLE)


def second_try(store: Store, wrote: list[str]) -> None:
    """Go on, with small files, so that rows move from one to another."""
    made = results(store.url, "2-b", max_bytes=1)
    assert {row["call_id"] for row in made.known()}.issuperset(wrote)
    made.add([attempt(1, outcome="unknown"), attempt(3)])
    made.write_part()
    wrote.append("call_3")
    made.finish(lambda: PEOPLE)


TRIES: tuple[Callable[[Store, list[str]], None], ...] = (first_try, second_try)


def operations(store: Store) -> int:
    """Return how many operations of the storage two tries need."""
    store.failures.arm(None)
    for each in TRIES:
        each(store, [])
    return store.failures.operations


@pytest.mark.parametrize(
    ("kind", "kill", "after", "step"),
    [("disk", False, False, 1), ("disk", False, True, 1), ("disk", True, True, 1), ("s3", True, True, 17)],
    ids=["error before", "error after", "kill", "kill on S3"],
)
def test_nothing_is_lost_whichever_operation_fails(
    open_folder: Callable[..., Store], kind: str, kill: bool, after: bool, step: int
) -> None:
    """At each moment each row that was written is in a complete file, and the next try goes on from there."""
    needed = operations(open_folder(Store, kind, "0"))
    for at in range(1, needed + 1, step):
        store, wrote = open_folder(Store, kind, f"{at}"), list[str]()
        store.failures.arm(at, kill=kill, after=after)
        try:
            for each in TRIES:
                each(store, wrote)
        except (RetellExportError, KilledError):
            pass
        store.failures.arm(None)
        assert store.calls().issuperset(wrote), at
        last = results(store.url, "3-c")
        assert {row["call_id"] for row in last.known()}.issuperset(wrote), at
        last.finish(lambda: PEOPLE)
        content = store.content()
        assert store.calls().issuperset(wrote), at
        assert len(content["attempts-00000.jsonl"].splitlines()) == len(store.calls()), at
        assert set(content) == {
            "people-00000.jsonl",
            "attempts-00000.jsonl",
            MANIFEST,
            "notes.txt",
            f"{PARTS}/mine.txt",
        }, at
        assert content["notes.txt"] == content[f"{PARTS}/mine.txt"] == b"mine", at


def test_a_part_that_could_not_be_written_is_written_later(open_folder: Callable[..., Store]) -> None:
    """After an error the rows are still there."""
    store = open_folder(Store, "disk", "0")
    made = results(store.url)
    made.add([attempt(1)])
    store.failures.arm(3)
    with pytest.raises(RetellExportError, match=r"cannot be written \(OSError"):
        made.write_part()
    store.failures.arm(None)
    assert made.write_part() == 1
    assert made.write_part() == 0
    assert store.calls() == {"call_1"}
