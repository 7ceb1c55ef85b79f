"""Test people from mappings and files: who is called, who is refused, and what is a mistake in the DAG."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_retell.campaign.people import columns as columns_module
from airflow_provider_retell.campaign.people.columns import (
    OWN_FIELDS,
    RESULT_COLUMNS,
    as_variable,
    check_columns,
    from_csv,
    nearly,
    separator,
)
from airflow_provider_retell.campaign.people.person import (
    Person,
    Refusal,
    own_columns,
    read_person,
    request_fields,
)
from airflow_provider_retell.errors import RetellInputError

NUMBER = "+14155550100"


def read(to_number: Any = NUMBER, *, region: str | None = None, **fields: Any) -> Person:
    """Read a person from a mapping."""
    return read_person(0, {"to_number": to_number, **fields}, region=region)


# -- numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "+14155550100",
        " +1 (415) 555-0100 ",
        "0014155550100",
        "001 415 555 0100",
        "+1.415.555.0100",
        "\ufeff+14155550100",
        "+1\u00a0415\u00a0555\u00a00100",
        "\u202a+14155550100\u202c",
    ],
)
def test_one_number_in_many_spellings_is_one_person(written: str) -> None:
    """Marks that spreadsheets and address books leave in a cell are no part of a number."""
    person = read(written)
    assert (person.to_number, person.person_id, person.refused) == (NUMBER, NUMBER, None)


@pytest.mark.parametrize(
    ("written", "detail"),
    [
        ("14155550100.0", "quantity"),
        ("+14155550100.0", "quantity"),
        (14155550100.0, "quantity"),
        ("1.41555501E+10", "quantity"),
        ("1e10", "quantity"),
        ("+14155550100 ext. 5", "extension"),
        ("+14155550100x5", "extension"),
        ("+14155550100;ext=5", "extension"),
        ("+1 415 555 0100 #5", "extension"),
        ("(415) 555-0100", "region"),
        (14155550100, "region"),
        ("tel:+14155550100", "international"),
        ("+14155550100, +14155550101", "international"),
        ("nobody", "international"),
        (True, "international"),
        (None, "no to_number"),
        ("", "no to_number"),
        ("  ", "no to_number"),
        (math.nan, "no to_number"),
    ],
)
def test_a_number_that_cannot_be_dialed_refuses_the_person(written: Any, detail: str) -> None:
    """One of them among ten thousand is no reason to call none; its reason is in the row, its number is not."""
    person = read(written)
    assert person.refused == Refusal.BAD_NUMBER
    assert detail in person.detail
    assert "5550100" not in person.detail.split("Write it with")[0]


def test_a_region_says_whose_national_numbers_are() -> None:
    """A guess would ring a stranger in another country."""
    assert read("(415) 555-0100", region="US").to_number == NUMBER
    assert read(4155550100, region="US").to_number == NUMBER
    assert read("020 7946 0018", region="GB").to_number == "+442079460018"


def test_a_row_without_a_number_is_refused() -> None:
    """A row without a number is refused like one with an empty cell."""
    assert read_person(3, {"person_id": "ada"}) == Person(
        row=3,
        to_number="",
        person_id="ada",
        given=b'{"person_id":"ada"}',
        refused=Refusal.BAD_NUMBER,
        detail="no to_number is given",
    )


# -- fields --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "person_id"),
    [("ada", "ada"), (" 17 ", "17"), (17, "17"), (17.0, "17"), (None, NUMBER), ("", NUMBER)],
)
def test_a_person_id_is_a_text(written: Any, person_id: str) -> None:
    """A table that makes 17.0 of 17 must not make a new person of it; without an id the number is one."""
    assert read(person_id=written).person_id == person_id


@pytest.mark.parametrize(
    ("written", "time_zone", "moment"),
    [
        ("2026-07-06T10:00:00-07:00", None, datetime(2026, 7, 6, 17, tzinfo=UTC)),
        ("2026-07-06T17:00:00Z", "Europe/Berlin", datetime(2026, 7, 6, 17, tzinfo=UTC)),
        ("2026-07-06 10:00", "America/Los_Angeles", datetime(2026, 7, 6, 17, tzinfo=UTC)),
        ("2026-07-06 10:00", None, datetime(2026, 7, 6, 10, tzinfo=UTC)),
        (datetime(2026, 7, 6, 10, tzinfo=timezone(timedelta(hours=2))), None, datetime(2026, 7, 6, 8, tzinfo=UTC)),
        (datetime(2026, 7, 6, 10), "Asia/Kathmandu", datetime(2026, 7, 6, 4, 15, tzinfo=UTC)),  # noqa: DTZ001
    ],
)
def test_a_time_without_an_offset_is_the_persons(written: Any, time_zone: str | None, moment: datetime) -> None:
    """Ten o'clock in a row is ten o'clock where the person lives; without a zone it is UTC."""
    person = read(not_before=written, time_zone=time_zone)
    assert (person.not_before, person.refused) == (moment.timestamp(), None)


@pytest.mark.parametrize("written", ["2026-07-06", "20260706", "tomorrow", 1783339200, date(2026, 7, 6), "25:00"])
@pytest.mark.parametrize("field", ["not_before", "not_after"])
def test_what_is_no_time_refuses_the_person(field: str, written: Any) -> None:
    """A date alone leaves open whether its day is meant."""
    person = read(**{field: written})
    assert person.refused == Refusal.BAD_REQUEST
    assert person.detail.startswith(field)


@pytest.mark.parametrize(
    ("field", "written", "refused"),
    [
        ("not_before", "0001-01-01T00:00+14:00", Refusal.BAD_REQUEST),
        ("not_before", "1999-12-31T23:59Z", Refusal.BAD_REQUEST),
        ("not_before", "2000-01-01T00:00Z", None),
        ("not_before", "2099-12-31T23:59Z", None),
        ("not_before", "2100-01-01T00:00Z", Refusal.BAD_REQUEST),
        ("not_after", "0001-01-01T00:00+14:00", Refusal.BAD_REQUEST),
        ("not_after", "2099-12-31T23:59Z", None),
        ("not_after", "2100-01-01T00:00Z", None),
        ("not_after", "9999-12-31T23:59:59-12:00", None),
    ],
)
def test_a_time_in_another_century_refuses_the_person(field: str, written: str, refused: Refusal | None) -> None:
    """No call is placed at such a time, but databases write 9999 for an end that is open."""
    person = read(**{field: written})
    assert person.refused == refused
    assert person.not_after is None or person.not_after < datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert refused is None or person.detail.startswith(field)


def test_times_the_wrong_way_round_refuse_the_person() -> None:
    """There is no moment at which this person could be called."""
    person = read(not_before="2026-07-06T12:00Z", not_after="2026-07-06T12:00Z")
    assert person.refused == Refusal.BAD_REQUEST


def test_a_time_in_a_zone_that_does_not_exist_refuses_the_person() -> None:
    """A time in an unknown zone refuses the person, because the moment is unknown."""
    person = read(not_before="2026-07-06T12:00", time_zone="America/Atlantis")
    assert person.refused == Refusal.NO_TIME_ZONE


@pytest.mark.parametrize(
    "field", ["metadata", "agent_override", "retell_llm_dynamic_variables", "custom_sip_headers"]
)
@pytest.mark.parametrize(
    ("written", "fine"), [({"a": "b"}, True), ('{"a": "b"}', True), ("[1]", False), ("a", False)]
)
def test_objects_may_be_json_cells(field: str, written: Any, *, fine: bool) -> None:
    """A cell that holds no object refuses the person."""
    person = read(**{field: written})
    assert person.refused == (None if fine else Refusal.BAD_REQUEST)
    if fine:
        assert request_fields(person) == {"to_number": NUMBER, field: {"a": "b"}}
    else:
        assert field in person.detail


def test_an_empty_object_is_an_object() -> None:
    """It is sent as one, and replaces the default for all people."""
    assert request_fields(read(metadata="{}")) == {"to_number": NUMBER, "metadata": {}}


@pytest.mark.parametrize("value", [{(1, 2): "a"}, {"a": "\ud800"}])
def test_what_is_no_json_refuses_the_person(value: Any) -> None:
    """A row from a task may hold anything."""
    assert read(metadata=value).refused == Refusal.BAD_REQUEST


@pytest.mark.parametrize(
    ("name", "hint"),
    [("phone", "to_number"), ("to_numer", "to_number"), ("dynamic_variables", "retell_llm"), ("x", "retell_llm")],
)
def test_a_field_that_no_person_has_is_a_mistake_of_the_dag(name: str, hint: str) -> None:
    """It stands in every row, and what was meant by it would be missing in every call."""
    with pytest.raises(RetellInputError, match=hint):
        read_person(7, {"to_number": NUMBER, name: "x"})


def test_what_is_no_mapping_is_a_mistake_of_the_dag() -> None:
    """A row that is not a mapping, such as a bare number, is a mistake in the DAG."""
    with pytest.raises(RetellInputError, match="mappings"):
        read_person(0, NUMBER)  # type: ignore[arg-type]


def test_a_request_has_the_persons_own_fields_only() -> None:
    """Fields that only the campaign needs are not sent."""
    fields = {
        "person_id": "ada",
        "time_zone": "UTC",
        "not_before": "2026-07-06T10:00Z",
        "honor_internal_dnc": True,
    }
    person = read("001 415 555 0100", **fields)
    assert request_fields(person) == {"to_number": NUMBER, "honor_internal_dnc": True}
    assert own_columns(person) == {"to_number": "001 415 555 0100", **fields}


# -- files ---------------------------------------------------------------------------------------------------


def test_other_columns_are_dynamic_variables() -> None:
    """As in Retell's batch files; a column wins over the object of the same name."""
    cells = {
        "to_number": NUMBER,
        "name": "Ada",
        "retell_llm_dynamic_variables": '{"name": "?", "at": "ten"}',
        "n": 3.0,
    }
    person = read_person(0, cells, from_file=True)
    assert request_fields(person)["retell_llm_dynamic_variables"] == {"name": "Ada", "at": "ten", "n": "3"}
    assert own_columns(person)["name"] == "Ada"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ada", "Ada"),
        (" Ada ", " Ada "),
        (17, "17"),
        (17.0, "17"),
        (17.5, "17.5"),
        (True, "true"),
        (Decimal("1.50"), "1.50"),
        (date(2026, 7, 6), "2026-07-06"),
        (datetime(2026, 7, 6, 10, tzinfo=UTC), "2026-07-06T10:00:00+00:00"),
        (["a", 1], '["a", 1]'),
    ],
)
def test_a_variable_is_a_text(value: Any, text: str) -> None:
    """Variables become text, because Retell takes only strings."""
    assert as_variable(value) == text


@pytest.mark.parametrize("absent", [None, "", "  ", math.nan, Decimal("NaN"), type("NAType", (), {})()])
def test_an_empty_cell_is_absent(absent: Any) -> None:
    """The default for all people holds, and the variable is not there."""
    person = read_person(0, {"to_number": NUMBER, "from_number": absent, "name": absent}, from_file=True)
    assert request_fields(person) == {"to_number": NUMBER}


def test_an_id_that_no_file_can_hold_is_refused_and_escaped() -> None:
    """Half of a surrogate pair, as of an emoji that was cut off, must not stop the results from being written."""
    person = read_person(0, {"to_number": NUMBER, "person_id": "x\ud83d"})
    assert (person.refused, person.person_id) == (Refusal.BAD_REQUEST, "x\\ud83d")
    assert read_person(0, {"to_number": "12\ud83d"}).to_number == "12\\ud83d"


@pytest.mark.parametrize(
    "names",
    [(NUMBER, "to_number", NUMBER), ("to_number", "to_number", NUMBER), (f"to_number {NUMBER}", NUMBER)],
)
def test_a_number_in_place_of_a_column_is_not_shown(names: tuple[str, ...]) -> None:
    """A file without a header has people in its first line."""
    with pytest.raises(RetellInputError) as raised:
        check_columns(names)
    assert NUMBER not in str(raised.value)


def test_results_of_an_earlier_campaign_are_no_variables() -> None:
    """A people-* file can be the people of the next campaign, and a column of one of these names a variable."""
    results = dict.fromkeys(RESULT_COLUMNS, "x")
    person = read_person(0, {"to_number": NUMBER, "name": "Ada", **results}, from_file=True)
    assert request_fields(person) == {"to_number": NUMBER, "retell_llm_dynamic_variables": {"name": "Ada"}}
    one = read_person(0, {"to_number": NUMBER, "attempts": "3"}, from_file=True)
    assert request_fields(one)["retell_llm_dynamic_variables"] == {"attempts": "3"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("phone", "to_number"),
        ("Phone Number", "to_number"),
        ("to_numer", "to_number"),
        ("ToNumber", "to_number"),
        ("to number", "to_number"),
        ("timezone", "time_zone"),
        ("Time-Zone", "time_zone"),
        ("personid", "person_id"),
        ("meta_data", "metadata"),
        ("form_number", "from_number"),
        ("dynamic_variables", "retell_llm_dynamic_variables"),
        ("name", None),
        ("company", None),
        ("from_name", None),
        ("order_number", None),
        ("person", None),
        ("not_before_noon", None),
        *((field, None) for field in OWN_FIELDS),
    ],
)
def test_near_misses_of_own_names_are_found(name: str, meant: str | None) -> None:
    """A number must not become a word that the agent speaks."""
    assert nearly(name) == meant


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["to_number", "name", "name"], "'name' 2 times"),
        (["to_number", ""], "without a name"),
        (["to_number", "phone"], "'phone', which is nearly to_number"),
        (["to_number", "idempotency_key"], "idempotency_key"),
        (["name"], "no column to_number"),
        ([], "no column to_number"),
    ],
)
def test_columns_that_cannot_be_read_are_named(names: list[str], message: str) -> None:
    """Columns that cannot be read are named before anybody is called."""
    with pytest.raises(RetellInputError, match=message):
        check_columns(names)


def test_objects_of_a_json_lines_file_may_leave_the_number_out() -> None:
    """That row is refused then, and no other."""
    check_columns(["name"], to_number=False)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("to_number", ","),
        ("name,to_number", ","),
        ("to_number;name", ";"),
        ("a\tto_number", "\t"),
        ('"to_number","a;b"', ","),
    ],
)
def test_the_separator_is_seen_in_the_header(header: str, found: str) -> None:
    """Spreadsheets of half of Europe write semicolons."""
    assert separator(header) == found


@pytest.mark.parametrize(
    ("header", "message"),
    [("phone;name", "nearly to_number"), ("name,company", "'name', 'company'"), ("", "none")],
)
def test_a_header_without_a_number_says_what_there_is(header: str, message: str) -> None:
    """A header without to_number is refused with its columns, whatever the separator."""
    with pytest.raises(RetellInputError, match=message):
        separator(header)


def test_a_line_with_too_many_cells_stops_the_reading() -> None:
    """Its cells may be in the wrong columns: a word where the number belongs, or another person's number."""
    names = ["to_number", "name"]
    assert from_csv(names, [NUMBER], line=2) == {"to_number": NUMBER}
    assert from_csv(names, [NUMBER, "Ada", ""], line=3) == {"to_number": NUMBER, "name": "Ada"}
    with pytest.raises(RetellInputError, match=r"Line 4 .* 3 cells, and there are 2"):
        from_csv(names, [NUMBER, "Lovelace", "Ada"], line=4)


def test_the_columns_of_results_are_those_of_the_table() -> None:
    """The docstring says how a file of results is known."""
    assert "``people-*``" in (columns_module.__doc__ or "")


CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cells=st.dictionaries(st.sampled_from([*OWN_FIELDS, "name"]), CELLS, max_size=5))
def test_no_row_of_a_file_breaks_the_campaign(cells: dict[str, Any]) -> None:
    """A row is a person or a refusal, whatever is in its cells, and can be written to the results."""
    person = read_person(0, cells, from_file=True)
    assert isinstance(json.loads(person.given), dict)
    assert person.refused or request_fields(person)["to_number"].startswith("+")
