"""Test the page's figures of calls as Retell lists them: pure, and without a complete number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell.calls.intent import digest, numbered, person_prefix, task_prefix
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.page.entries import Entry, merge, task_digest
from airflow_provider_retell.page.figures import (
    BARS,
    MOST_PER_PAGE,
    Scope,
    newest_first,
    one_page,
    outcomes,
    over_time,
    totals,
)

NAMES = {"namespace": "", "dag_id": "dag", "run_id": "run"}
NUMBER = "+14155550100"


def call(call_id: str = "call_1", **fields: Any) -> dict[str, Any]:
    """Return a call as Retell lists it: one of a task that is not mapped."""
    tag = numbered(person_prefix(task_prefix(**NAMES, task_id="call", map_index=-1)), generation=0, ordinal=0)
    listed = {"call_id": call_id, "call_status": "ended", "disconnection_reason": "user_hangup"}
    return {**listed, "to_number": NUMBER, "direction": "outbound", "metadata": {"airflow_call": tag}, **fields}


def entry(call_id: str = "call_1", **fields: Any) -> Entry:
    """Return a call as the page keeps it."""
    return Entry(call_id=call_id, **{"outcome": Outcome.ANSWERED, **fields})


def test_a_tag_says_whose_call_it_is() -> None:
    """A task counts its calls from 0, a campaign from 1; both are attempts from 1 on."""
    prefix = task_prefix(**NAMES, task_id="call", map_index=7)
    one = Entry.read(call(metadata={"airflow_call": numbered(person_prefix(prefix), generation=2, ordinal=1)}))
    assert (one.task, one.map_index, one.person, one.attempt) == (task_digest("call"), 7, "", 2)
    person = digest("number", length=12) + digest("id", length=12)
    many = Entry.read(
        call(metadata={"airflow_call": numbered(person_prefix(prefix, person), generation=0, ordinal=1)})
    )
    assert (many.map_index, many.person, many.attempt) == (7, person[:12], 1)


def test_one_number_under_two_ids_is_one_person() -> None:
    """An upstream task may make new ids; and a campaign knows people over all its map indexes."""
    keys = [
        person_prefix(task_prefix(**NAMES, task_id="call", map_index=index), "a" * 12 + half * 12)
        for index, half in enumerate("bc")
    ]
    calls = [
        Entry.read(call(f"call_{key}", metadata={"airflow_call": numbered(key, generation=0, ordinal=1)}))
        for key in keys
    ]
    assert totals(calls)["people"] == 1
    assert Scope.of_person(calls[0]).select(calls) == calls


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": None},
        {"metadata": "text"},
        {"metadata": {"airflow_call": 7}},
        {"metadata": {"airflow_call": "<script>"}},
        {"call_status": {"a": 1}, "disconnection_reason": ["b"]},
        {"to_number": 14155550100, "call_cost": "free", "duration_ms": "long", "start_timestamp": True},
    ],
)
def test_a_field_of_another_type_hides_no_call(fields: dict[str, Any]) -> None:
    """Unexpected values from Retell or in a user's metadata do not break the page."""
    read = Entry.read(call(**fields))
    assert read.call_id == "call_1"
    assert totals([read])["calls"] == 1


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "…0100"),
        ({"direction": "inbound", "from_number": "+14155550123"}, "…0123"),
        ({"to_number": None}, ""),
        ({"to_number": "0100"}, ""),
    ],
)
def test_a_number_is_shown_by_its_last_digits(fields: dict[str, Any], shown: str) -> None:
    """Of the other side's number, four digits leave the server; of a short one, none."""
    assert Entry.read(call(**fields)).number == shown


def test_a_name_holds_no_number() -> None:
    """An agent may be named after a number; the name is masked like any text."""
    assert Entry.read(call(agent_name="Line +1 415 555 0100")).agent == "Line …0100"


def test_nothing_that_leaves_the_server_can_be_turned_into_a_number() -> None:
    """Not the number, not a digest of it: a phone number has too few digits to be hidden by a digest."""
    person = digest("number", length=12)
    key = person_prefix(task_prefix(**NAMES, task_id="call", map_index=-1), person + "b" * 12)
    read = Entry.read(call(metadata={"airflow_call": numbered(key, generation=0, ordinal=1), "x": NUMBER}))
    shown = str(one_page([read], outcome=None, offset=0, limit=10, tasks={task_digest("call"): "call"}))
    assert "4155550100" not in shown
    assert person not in shown


def test_totals() -> None:
    """People who spoke are counted once, lines are live calls, and a peak is when most calls overlapped."""
    calls = [
        entry("1", map_index=0, started_at=100.0, ended_at=160.0, talk_seconds=60.0, cost_cents=1.5),
        entry("2", map_index=0, started_at=150.0, ended_at=170.0, talk_seconds=20.0, attempt=2),
        entry("3", map_index=1, outcome=Outcome.BUSY),
        entry("4", map_index=2, outcome=None, started_at=170.0),
    ]
    assert totals(calls) == {
        "calls": 4,
        "people": 3,
        "reached": 1,
        "lines": 1,
        "lines_peak": 2,
        "talk_seconds": 80.0,
        "cost_cents": 1.5,
        "undated": 1,
    }
    assert outcomes(calls) == {"answered": 2, "busy": 1, "live": 1}


def test_calls_that_follow_each_other_share_a_line() -> None:
    """One that ends as another begins makes no peak of two."""
    calls = [entry("1", started_at=1.0, ended_at=2.0), entry("2", started_at=2.0, ended_at=3.0)]
    assert totals(calls)["lines_peak"] == 1


@given(st.lists(st.floats(min_value=1, max_value=4e9), max_size=50))
def test_each_dated_call_is_in_one_bar(times: list[float]) -> None:
    """However far apart: there are few bars, none is lost, and each lies where its time is."""
    chart = over_time([entry(str(n), started_at=time) for n, time in enumerate(times)])
    assert len(chart["bars"]) <= BARS
    assert sum(map(sum, chart["bars"])) == len(times)
    if times:
        assert chart["begin"] <= min(times)
        assert max(times) < chart["begin"] + len(chart["bars"]) * chart["width"] + 1e-3


def test_a_bar_tells_conversations_from_the_rest() -> None:
    """First those who spoke, then the others."""
    calls = [entry("1", started_at=100.0), entry("2", started_at=101.0, outcome=Outcome.VOICEMAIL)]
    assert over_time(calls)["bars"] == [[1, 1]]


def test_scopes() -> None:
    """A scope can be a task, one of its map indexes, or the calls to one person."""
    calls = [
        entry("1", task="a", map_index=0),
        entry("2", task="a", map_index=1),
        entry("3", task="b"),
        entry("4", task="a", map_index=1, attempt=2),
    ]
    ids = [
        [each.call_id for each in scope.select(calls)]
        for scope in (Scope(), Scope(task="a"), Scope(task="a", map_index=1), Scope.of_person(calls[1]))
    ]
    assert ids == [["1", "2", "3", "4"], ["1", "2", "4"], ["2", "4"], ["2", "4"]]


def test_live_calls_come_first_then_the_newest() -> None:
    """Live calls are on the first page."""
    calls = [
        entry("old", started_at=1.0),
        entry("undated"),
        entry("new", started_at=2.0),
        entry("live", outcome=None),
    ]
    assert [each.call_id for each in newest_first(calls)] == ["live", "new", "old", "undated"]


@given(st.integers(0, 500), st.integers(-10, 1000), st.integers(-10, 1000))
def test_pages_are_bounded_and_never_empty_beyond_the_end(count: int, offset: int, limit: int) -> None:
    """A list that became shorter shows its last page; no request gets more than a page at once."""
    page = one_page([entry(str(n)) for n in range(count)], outcome=None, offset=offset, limit=limit, tasks={})
    assert page["matching"] == count
    assert len(page["rows"]) <= min(max(limit, 1), MOST_PER_PAGE)
    assert bool(page["rows"]) == bool(count)


def test_a_page_is_filtered_by_outcome() -> None:
    """A page can be filtered by outcome, and by ``live``."""
    calls = [entry("1"), entry("2", outcome=None), entry("3", outcome=Outcome.BUSY)]
    for word, call_id in (("live", "2"), ("busy", "3")):
        page = one_page(calls, outcome=word, offset=0, limit=10, tasks={})
        assert [row["call_id"] for row in page["rows"]] == [call_id]


def test_no_call_comes_back_to_life() -> None:
    """An answer that is late does not make a call live again; else the newer one counts."""
    over, live = entry(), entry(outcome=None)
    assert merge(over, live) is over
    assert merge(live, over) is over
    assert merge(over, costly := replace(over, cost_cents=3.0)) is costly
