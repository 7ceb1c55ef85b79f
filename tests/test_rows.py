from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_retell.api.models import Call
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.rows import (
    HEAVY_FIELDS,
    LATENCY_FIELDS,
    cents,
    check_include,
    in_seconds,
    moment,
    row,
)

SPREAD = {"p50": 600, "num": 2, "values": [500, 700]}
WITHOUT_VALUES = {"p50": 600, "num": 2}


def call(**fields: object) -> Call:
    return Call.model_validate({"call_id": "call_1", **fields})


def test_a_row_is_the_call_as_retell_names_it_plus_its_outcome() -> None:
    """Fields keep Retell's names and values, unknown ones too; those that Retell left out stay out."""
    sent = {
        "call_id": "call_1",
        "call_status": "ended",
        "disconnection_reason": "dial_busy",
        "metadata": {"order": 7},
        "call_analysis": {"call_summary": "Fine.", "mood": "new"},
        "field_of_tomorrow": [1, None],
    }
    assert row(call(**sent)) == sent | {"outcome": "busy"}


def test_the_outcome_of_a_call_that_is_not_over_is_none() -> None:
    """A row of a registered call has the key too."""
    assert row(call(call_status="registered"))["outcome"] is None


def test_the_outcome_is_this_package_s() -> None:
    """A field of that name that Retell may add one day does not change what DAGs branch on."""
    assert row(call(call_status="ended", disconnection_reason="dial_busy", outcome="great"))["outcome"] == "busy"


@pytest.mark.parametrize("field", sorted(HEAVY_FIELDS))
def test_heavy_fields_are_left_out_unless_named(field: str) -> None:
    """Transcripts, token usage and URLs of logs do not go through XCom, but for those that ``include`` names."""
    heavy = call(**dict.fromkeys(HEAVY_FIELDS, "long"))
    assert HEAVY_FIELDS.isdisjoint(row(heavy))
    assert HEAVY_FIELDS.intersection(row(heavy, include=(field,))) == {field}


def test_the_heavy_fields_are_those_of_the_contract() -> None:
    """Transcripts, token usage, log and knowledge-base URLs; everything else of a call stays in its row."""
    kinds = ("transcript", "token_usage", "log_url", "contents_url")
    assert {name for name in Call.model_fields if any(kind in name for kind in kinds)} == HEAVY_FIELDS


@pytest.mark.parametrize(
    ("field", "sent", "kept"),
    [
        ("latency", {"e2e": SPREAD, "tts": SPREAD}, {"e2e": WITHOUT_VALUES, "tts": WITHOUT_VALUES}),
        ("e2e_latency", SPREAD, WITHOUT_VALUES),
        ("llm_latency", SPREAD, WITHOUT_VALUES),
        ("llm_websocket_network_rtt_latency", SPREAD, WITHOUT_VALUES),
    ],
)
def test_a_latency_keeps_its_percentiles(field: str, sent: object, kept: object) -> None:
    """The list of values per turn grows with the call and is left out, in today's form and in the older ones."""
    assert field in LATENCY_FIELDS
    assert row(call(**{field: sent}))[field] == kept
    assert row(call(**{field: sent}), include=(field,))[field] == sent


def test_only_latencies_lose_their_values() -> None:
    """``values`` in the user's own data is the user's."""
    assert row(call(metadata={"values": [1]}, latency="n/a")) == {
        "call_id": "call_1",
        "metadata": {"values": [1]},
        "latency": "n/a",
        "outcome": None,
    }


def test_a_row_is_json() -> None:
    """Any XCom backend keeps it: enums are plain strings, nested models plain dicts."""
    sent = call(call_status="ended", direction="outbound", call_analysis={"user_sentiment": "Positive"})
    assert json.loads(json.dumps(row(sent))) == row(sent)
    assert {type(value) for value in row(sent).values()} == {str, dict}


@pytest.mark.parametrize(
    ("include", "checked"), [("transcript", ("transcript",)), (["latency", "call_id"], ("latency", "call_id"))]
)
def test_include_takes_fields_of_a_call(include: str | list[str], checked: tuple[str, ...]) -> None:
    """One name or many; a field that a row has anyway does no harm."""
    assert check_include(include) == checked


def test_include_refuses_what_is_no_field() -> None:
    """A misspelt field is found when the DAG is parsed, and the message lists the right ones."""
    with pytest.raises(RetellInputError, match=r"include takes .*transcript_object.*, not 'transcripts'"):
        check_include(("transcript", "transcripts"))


@pytest.mark.parametrize("given", ["", [None], ("",), False, {"transcript": True}, [["transcript"]]])
def test_include_refuses_what_names_no_field(given: Any) -> None:
    """An empty text or a flag is a mistake, not an empty list."""
    with pytest.raises(RetellInputError, match=r"^include takes fields of a call"):
        check_include(given)


try:
    from airflow.sdk.serde import deserialize, serialize
except ImportError:  # before 3.2
    from airflow.serialization.serde import deserialize, serialize


def test_a_row_goes_through_an_xcom() -> None:
    """The next task reads a returned row unchanged, whatever Airflow's configuration."""
    call = Call.model_validate(
        {"call_id": "call_1", "call_status": "ended", "call_analysis": {"call_summary": "x"}}
    )
    assert deserialize(json.loads(json.dumps(serialize(row(call))))) == row(call)


def test_a_call_does_not_go_through_an_xcom() -> None:
    """The page on trouble says so, with Airflow's own words, and leads to what to return instead."""
    words = "was not found in allow list for deserialization imports"
    stored = json.loads(json.dumps(serialize(Call.model_validate({"call_id": "call_1", "call_status": "ended"}))))
    with pytest.raises(ImportError, match=words):
        deserialize(stored)
    assert words in (Path(__file__).parent.parent / "docs" / "troubleshooting.md").read_text().replace("\n", " ")


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [
        (1_800_000_000_500, 1_800_000_000.5),
        (1_800_000_000_500.0, 1_800_000_000.5),
        (946_684_800_000, 946_684_800.0),
        (946_684_799_999, None),
        (4_102_444_800_000, None),
        (253_402_300_799_000, None),
        (1_800_000_000, None),
        (1_800_000_000_500_000_000, None),
        (0, None),
        (-5, None),
        pytest.param(10**400, None, id="huge"),
        (float("inf"), None),
        (float("nan"), None),
        (True, None),
        ("1800000000500", None),
        (None, None),
    ],
)
def test_a_time_is_one_that_a_call_can_have(milliseconds: Any, seconds: float | None) -> None:
    """Zero, another unit or too many digits count as no time, and break nothing."""
    assert moment(milliseconds) == seconds


@pytest.mark.parametrize(
    "huge", [pytest.param(10**400, id="huge"), pytest.param(-(10**400), id="-huge"), float("inf")]
)
def test_a_number_that_no_float_can_hold_is_none(huge: float) -> None:
    """A call with such a number is read all the same."""
    assert in_seconds(huge) is None
    assert cents({"combined_cost": huge}) is None
