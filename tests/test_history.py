"""Test the history of calls in the results of other campaigns: what counts, for how long, and what is an error."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell.campaign.people.person import Person
from airflow_provider_retell.campaign.results.history import READ_EVERY, History
from airflow_provider_retell.campaign.results.past_calls import PastCall, merge, read_attempt
from airflow_provider_retell.campaign.results.results import Results
from airflow_provider_retell.errors import RetellError, RetellInputError
from airflow_provider_retell.policy import Attempt, AttemptLimit
from airflow_provider_retell.simulator import ManualClock
from airflow_provider_retell.testing import SteppingClock

pytest.importorskip("moto.server")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
from failing_storage import attach  # noqa: E402 (comes with what is looked for above)
from fsspec.implementations.local import LocalFileSystem  # noqa: E402

NOON = datetime(2026, 7, 6, 12, tzinfo=UTC)
NOW = NOON.timestamp()
WEEK = timedelta(days=7)
ADA = Person(row=0, to_number="+14155550100", person_id="ada")
BOB = Person(row=1, to_number="+14155550101", person_id="+14155550101")


def attempt(call_id: str = "call_1", **more: Any) -> dict[str, Any]:
    """Return the row of a call an hour ago."""
    return {
        "call_id": call_id,
        "outcome": "no_answer",
        "to_number": ADA.to_number,
        "person_id": ADA.person_id,
        "placed_at": (NOON - timedelta(hours=1)).isoformat(),
        "seen_over_at": (NOON - timedelta(minutes=59)).isoformat(),
        **more,
    }


def put(folder: Path, *rows: dict[str, Any], name: str = "run1/attempts-00000.jsonl") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def history(url: object, *, memory: timedelta = WEEK, now: float = NOW, **more: Any) -> History:
    made = History(str(url), memory=memory, **{"clock": SteppingClock(ManualClock()), **more})
    made.refresh(now)
    return made


# -- what counts -----------------------------------------------------------------------------------------------


def test_an_attempt_is_known_by_number_and_by_id(tmp_path: Path) -> None:
    """An attempt counts once, whether it is found by number, by id or by both."""
    put(tmp_path, attempt(end_timestamp=NOW * 1000 - 3_570_000, disconnection_reason="dial_no_answer"))
    known = history(tmp_path)
    expected = Attempt(
        placed_at=NOON - timedelta(hours=1),
        ended_at=NOON - timedelta(seconds=3570),
        outcome="no_answer",
        disconnection_reason="dial_no_answer",
    )
    for person in (
        ADA,
        Person(row=0, to_number=ADA.to_number, person_id="another id"),
        Person(row=0, to_number="+14155550199", person_id=ADA.person_id),
    ):
        assert known.of(person) == {"call_1": expected}
    assert known.of(BOB) == {}


@pytest.mark.parametrize(
    "row",
    [
        attempt(call_id=None, refused="do_not_call"),
        attempt(outcome="dry_run"),
        attempt(call_id=None, outcome="dry_run"),
        attempt(outcome="capacity"),
        attempt(outcome=None, call_status="ended", disconnection_reason="concurrency_limit_reached"),
        attempt(to_number=None, person_id=None),
        attempt(placed_at="2026-06-29T11:00:00Z", seen_over_at="2026-06-29T11:59:59Z"),
    ],
)
def test_what_was_no_call_or_is_long_ago_does_not_count(tmp_path: Path, row: dict[str, Any]) -> None:
    """Refusals, dry runs, calls that found no line, those to people unknown, and those out of every window."""
    put(tmp_path, row)
    assert history(tmp_path).of(ADA) == {}


@pytest.mark.parametrize("ending", [{"outcome": "do_not_call"}, {"disconnection_reason": "user_requested_dnc"}])
def test_who_asked_never_to_be_called_again_is_remembered_for_ever(tmp_path: Path, ending: dict[str, Any]) -> None:
    """A person who asked never to be called again is remembered however short the rules look back."""
    put(tmp_path, attempt(placed_at="2019-01-01T00:00:00Z", seen_over_at=None, **ending))
    [known] = history(tmp_path, memory=timedelta(0)).of(ADA).values()
    assert known.asked_never_again


def test_a_call_that_is_not_over_counts(tmp_path: Path) -> None:
    """A call that is not over counts, because its phone rang."""
    put(tmp_path, attempt(outcome=None, call_status="ongoing", seen_over_at=None))
    [known] = history(tmp_path).of(ADA).values()
    assert (known.outcome, known.ended_at) == (None, None)


def test_a_call_in_two_files_is_one(tmp_path: Path) -> None:
    """The row that saw the call over counts, with the earlier of the times."""
    put(tmp_path, attempt(outcome=None, seen_over_at=None), name="a/attempts-00000.jsonl")
    put(tmp_path, attempt(placed_at=NOON.isoformat()), attempt("call_2"), name="b/attempts-00000.jsonl")
    known = history(tmp_path).of(ADA)
    assert set(known) == {"call_1", "call_2"}
    assert (known["call_1"].outcome, known["call_1"].placed_at) == ("no_answer", NOON - timedelta(hours=1))


@pytest.mark.parametrize("outcome", ["capacity", "no_answer"])
def test_a_call_counts_from_its_placing_until_it_turns_out_to_have_found_no_line(
    tmp_path: Path, outcome: str
) -> None:
    """The row without an ending may be older than the one that says that no phone rang."""
    results = Results(str(tmp_path / "run1"), holds="a campaign", token="1-a", file_format="jsonl")
    results.open(began_at=None)
    results.note(attempt(outcome=None, call_status="ongoing", seen_over_at=None))
    results.write_placed()
    known = history(tmp_path)
    assert set(known.of(ADA)) == {"call_1"}
    results.add([attempt(outcome=outcome)])
    results.write_part()
    known.refresh(NOW + READ_EVERY)
    assert set(known.of(ADA)) == (set() if outcome == "capacity" else {"call_1"})


CALLS = st.builds(
    PastCall,
    call_id=st.just("call_1"),
    to_number=st.sampled_from([None, "+14155550100"]),
    person_id=st.sampled_from([None, "ada"]),
    placed_at=st.sampled_from([1.0, 2.0]),
    ended_at=st.sampled_from([None, 3.0]),
    outcome=st.sampled_from([None, "answered", "do_not_call"]),
    reason=st.sampled_from([None, "user_requested_dnc"]),
)


@given(CALLS, CALLS)
def test_no_order_of_files_forgets_a_wish_or_an_end(one: PastCall, other: PastCall) -> None:
    """A person who asked never to be called again did so, whichever file is read first."""
    for merged in (merge(one, other), merge(other, one)):
        assert merged.asked_never_again == (one.asked_never_again or other.asked_never_again)
        assert (merged.placed_at, merged.to_number) == (
            min(one.placed_at, other.placed_at),
            one.to_number or other.to_number,
        )
        assert (merged.outcome is None) <= (None in {one.outcome, other.outcome})


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_the_results_of_a_campaign_are_history_at_each_moment(tmp_path: Path, file_format: Any) -> None:
    """While it runs by its parts, and then by its files; either way the limit says the same."""
    results = Results(str(tmp_path / "run1"), holds="a campaign", token="1-a", file_format=file_format)
    results.open(began_at=None)
    results.add([attempt(), {**attempt(None), "refused": "do_not_call"}])  # type: ignore[arg-type]
    results.write_part()
    known = history(tmp_path)
    before = known.of(ADA)
    assert set(before) == {"call_1"}
    results.finish(list)
    known.refresh(NOW + READ_EVERY)
    assert known.of(ADA) == before
    limit = AttemptLimit(1, per=WEEK)
    assert limit.next_allowed(known.of(ADA).values(), NOON) == NOON - timedelta(hours=1) + WEEK


# -- imports from other systems --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "placed_at"),
    [
        ({"to_number": "001 (415) 555-0100", "placed_at": "2026-07-06 11:00"}, NOON - timedelta(hours=1)),
        ({"to_number": "+14155550100", "placed_at": "2026-07-06T13:00:00+02:00"}, NOON - timedelta(hours=1)),
        ({"person_id": "ada", "start_timestamp": NOW * 1000}, NOON),
        ({"person_id": "ada", "end_timestamp": int(NOW * 1000)}, NOON),
        ({"person_id": "ada", "seen_over_at": NOON}, NOON),
        ({"person_id": "ada", "placed_at": NOON.replace(tzinfo=None)}, NOON),
    ],
)
def test_little_is_needed_of_a_row(row: dict[str, Any], placed_at: datetime) -> None:
    """An id of the call, a number or a person, and a time; times without an offset are UTC."""
    call = read_attempt({"call_id": 17, **row}, now=NOW)
    assert call is not None
    assert (call.call_id, call.placed_at) == ("17", placed_at.timestamp())


def test_a_table_of_another_system_is_read(tmp_path: Path) -> None:
    """A table of another system is read with its own types."""
    who = {"call_id": [1, 2], "to_number": ["+14155550100", None], "person_id": [None, 7.0]}
    table = pa.table({**who, "placed_at": [NOON, NOON], "metadata": [{"a": 1}] * 2})
    pq.write_table(table, tmp_path / "attempts-import.parquet")
    known = history(tmp_path)
    assert set(known.of(ADA)) == {"1"}
    assert set(known.of(Person(row=0, to_number="+14155550199", person_id="7"))) == {"2"}


# -- what is an error ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"call_id": "1", "phone": "+14155550100", "placed_at": "2026-07-06"}, "neither to_number nor person_id"),
        (attempt(outcome="DNC"), "outcome takes answered, transferred,"),
        ({"call_id": "1", "to_number": "+14155550100"}, "it has no time: none of placed_at, start_timestamp"),
        (
            {"call_id": "1", "to_number": "+14155550100", "placed_at": "6.7.2026"},
            "placed_at must be a time in ISO",
        ),
        (
            {"call_id": "1", "to_number": "+14155550100", "placed_at": 1751803200},
            "placed_at must be a time in ISO",
        ),
        *(
            ({"call_id": "1", "person_id": "ada", **times}, f"{next(iter(times))} is {message}")
            for times, message in (
                ({"start_timestamp": int(NOW * 1e9)}, "1783339200000000000, when no call was placed"),
                ({"start_timestamp": int(NOW)}, "1783339200, when no call was placed: before 2000"),
                ({"end_timestamp": NOW, "placed_at": "2026-07-06"}, "1783339200.0, when no call"),
                ({"start_timestamp": float("inf")}, "inf, when no call was placed"),
                ({"start_timestamp": -1}, "-1, when no call was placed"),
                ({"placed_at": "9999-12-31T23:59:59Z"}, "9999-12-31T23:59:59Z, when no call was placed"),
                ({"placed_at": "0001-01-01T00:00:00+14:00"}, "0001-01-01T00:00:00+14:00, when no call"),
                ({"seen_over_at": "2026-07-08T00:00:00Z", "placed_at": "2026-07-06"}, "2026-07-08T00:00:00Z, "),
            )
        ),
        (
            {"call_id": "1", "to_number": "0415 555 0100", "placed_at": "2026-07-06"},
            "'\u20260100' is no phone number",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_an_error(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    """A budget that cannot be read is none; the message names file and row, and no number in full."""
    put(tmp_path, attempt(), row)
    with pytest.raises(RetellInputError) as raised:
        history(tmp_path)
    text = str(raised.value)
    assert message in text
    assert "run1/attempts-00000.jsonl cannot be read: row 2" in text
    assert "5550100" not in text
    assert "555 0100" not in text


@pytest.mark.parametrize("odd", [-1, 0, 10**18, 1e300])
def test_an_odd_time_of_retell_beside_one_of_ours_stops_nothing(tmp_path: Path, odd: float) -> None:
    """The row was written by this package, and has the time at which the call was seen over."""
    put(tmp_path, attempt(start_timestamp=odd, end_timestamp=odd))
    [known] = history(tmp_path).of(ADA).values()
    assert (known.placed_at, known.ended_at) == (NOON - timedelta(hours=1), NOON - timedelta(minutes=59))


@given(
    st.sampled_from(["placed_at", "start_timestamp", "seen_over_at", "end_timestamp"]),
    st.integers() | st.just(10**400) | st.floats() | st.datetimes() | st.datetimes().map(str) | st.text(),
)
def test_any_time_is_one_that_a_call_can_have_or_an_error(name: str, value: Any) -> None:
    """Whatever another system wrote, no later step meets a time that it cannot compute with."""
    try:
        call = read_attempt({"call_id": "1", "person_id": "ada", name: value}, now=NOW)
    except ValueError:
        return
    assert call is not None
    at = call.attempt()
    assert datetime(2000, 1, 1, tzinfo=UTC) <= at.placed_at <= NOON + timedelta(days=1)
    AttemptLimit(1, per=WEEK, gap=WEEK).next_allowed([at], NOON)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("attempts-00000.jsonl", b'{"call_id": "call', "line 1 is not JSON"),
        ("attempts-00000.jsonl.gz", b"{}", "it is not a gzip file"),
        ("attempts-00000.parquet", b"PAR1", "it is not a Parquet file"),
    ],
)
def test_a_damaged_file_is_an_error_each_time(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """A damaged file is an error until it is repaired; then it is read at once."""
    (tmp_path / name).write_bytes(content)
    made = History(str(tmp_path), memory=WEEK, clock=SteppingClock(ManualClock()))
    for _ in range(2):
        with pytest.raises(RetellInputError, match=message):
            made.refresh(NOW)
    (tmp_path / name).unlink()
    put(tmp_path, attempt())
    made.refresh(NOW)
    assert set(made.of(ADA)) == {"call_1"}


def test_files_of_others_are_left_alone_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The files of campaigns and exports are known, unfinished ones are not looked at."""
    put(tmp_path, attempt())
    for name in ("notes.txt", "run1/more.csv", "attempts-1.csv"):
        (tmp_path / name).write_text("mine")
    for name in ("run1/people-00000.jsonl", "run1/_retell_manifest", "calls-00000.jsonl"):
        (tmp_path / name).write_text("known")
    put(tmp_path, attempt("call_2"), name="run2/_retell_unfinished/1/complete/attempts-00000.jsonl")
    put(tmp_path, {}, name="run2/_retell_parts/abc/unfinished-1")
    made = history(tmp_path)
    made.refresh(NOW + READ_EVERY)
    assert set(made.of(ADA)) == {"call_1"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'attempts-1.csv' is not an attempts-* file" in caplog.text


def test_no_history_yet_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first campaign has none; a folder with a slip of the pen has none either."""
    caplog.set_level(logging.WARNING)
    assert history(tmp_path / "calls").of(ADA) == {}
    assert "holds no attempts-* file yet" in caplog.text


def test_an_unknown_storage_is_an_error() -> None:
    """The message names what was asked for."""
    with pytest.raises(RetellError, match="history='nowhere://bucket/calls' cannot be opened"):
        History("nowhere://bucket/calls", memory=WEEK)


# -- when it is read -------------------------------------------------------------------------------------------


def test_it_is_read_again_every_ten_minutes_and_only_what_changed(tmp_path: Path) -> None:
    """A file with the size and the time that it had is not opened."""
    unchanged, changed = put(tmp_path, attempt()), put(tmp_path, attempt("call_2"), name="attempts-2.jsonl")
    made = history(tmp_path)
    times = unchanged.stat()
    unchanged.write_bytes(b"x" * times.st_size)  # would be an error
    os.utime(unchanged, ns=(times.st_atime_ns, times.st_mtime_ns))
    put(tmp_path, attempt("call_2"), attempt("call_3"), name="attempts-2.jsonl")
    put(tmp_path, attempt("call_4"), name="attempts-4.jsonl")
    made.refresh(NOW + READ_EVERY - 1)
    assert set(made.of(ADA)) == {"call_1", "call_2"}
    made.refresh(NOW + READ_EVERY)
    assert set(made.of(ADA)) == {"call_1", "call_2", "call_3", "call_4"}
    changed.unlink()
    made.refresh(NOW + 2 * READ_EVERY)
    assert set(made.of(ADA)) == {"call_1", "call_4"}


@pytest.mark.parametrize(("takes", "again"), [(0.0, 10.0), (0.4, 10.0), (1.0, 20.0), (9.0, 60.0)])
def test_a_folder_that_is_slow_to_read_is_read_less_often(tmp_path: Path, takes: float, again: float) -> None:
    """A small one is read every ten seconds; the readings take up one second in twenty, or a minute passes."""

    class Slow(SteppingClock):
        def monotonic(self) -> float:
            self.sleep(takes)
            return super().monotonic()

    put(tmp_path, attempt())
    made = history(tmp_path, clock=Slow(ManualClock()))
    put(tmp_path, attempt("call_2"), name="attempts-2.jsonl")
    made.refresh(NOW + again - 0.1)
    assert set(made.of(ADA)) == {"call_1"}
    made.refresh(NOW + again)
    assert set(made.of(ADA)) == {"call_1", "call_2"}


class Moving(LocalFileSystem):  # type: ignore[misc]
    """A disk on which an action runs after each listing."""

    cachable = False
    after: Iterator[Callable[[], object]] = iter(())

    def find(self, *args: Any, **kwargs: Any) -> Any:
        found = super().find(*args, **kwargs)
        next(self.after, lambda: None)()
        return found


def test_a_campaign_that_ends_meanwhile_is_read_all_the_same(tmp_path: Path) -> None:
    """Its parts go when its results are there: the folder is listed once more, and not forever."""
    part, disk = put(tmp_path, attempt(), name="run1/_retell_parts/abc/attempts-1-00000.jsonl"), Moving()
    attach("file", conn_id=tmp_path.name, fs=disk)
    url = f"file://{tmp_path.name}@{tmp_path}"
    disk.after = iter([lambda: part.rename(tmp_path / "run1" / "attempts-00000.jsonl")])
    assert set(history(url).of(ADA)) == {"call_1"}
    names = [tmp_path / "run1" / f"attempts-{number:05}.jsonl" for number in range(9)]
    disk.after = iter([partial(old.rename, new) for old, new in pairwise(names)])
    with pytest.raises(RetellError, match="files disappear while they are read"):
        history(url)


# -- S3 --------------------------------------------------------------------------------------------------------


def test_a_folder_of_s3_is_read_like_one_of_a_disk(aws: Any) -> None:
    """Below the folder and not beside it; changed files are noticed."""
    lines = f"{json.dumps(attempt())}\n".encode()
    aws.mkdir("calls")
    aws.pipe_file("calls/a/run1/attempts-00000.jsonl", lines)
    aws.pipe_file("calls/ab/attempts-00000.jsonl", lines.replace(b"call_1", b"call_2"))
    made = history("s3://aws_local@calls/a/")
    assert set(made.of(ADA)) == {"call_1"}
    aws.pipe_file("calls/a/run1/attempts-00000.jsonl", lines.replace(b"call_1", b"call_3"))
    made.refresh(NOW + READ_EVERY)
    assert set(made.of(ADA)) == {"call_3"}


# -- the page --------------------------------------------------------------------------------------------------


def test_the_import_of_the_page_is_history(tmp_path: Path) -> None:
    """The code of docs/policy.md, as it stands, makes a file that counts."""
    page = (Path(__file__).parents[1] / "docs" / "policy.md").read_text()
    _, _, rest = page.partition("## Import a history from another system")
    written: dict[str, Any] = {}
    exec(rest.partition("```python\n")[2].partition("```")[0], written)  # noqa: S102 (our own documentation)
    (tmp_path / "dialer.csv").write_text(
        "id,number,started,status\n"
        "1,+14155550100,2026-07-06T04:00:00-07:00,NO ANSWER\n"
        "2,+14155550101,2026-01-01T10:00:00-08:00,DNC\n"
    )
    written["import_calls"](tmp_path / "dialer.csv", tmp_path / "calls" / "dialer")
    known = history(tmp_path / "calls")
    assert known.of(ADA) == {"dialer-1": Attempt(placed_at=NOON - timedelta(hours=1), outcome="no_answer")}
    assert known.of(BOB)["dialer-2"].asked_never_again
