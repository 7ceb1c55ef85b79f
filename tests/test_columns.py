from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from types import NoneType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_retell.api.models import Call, CallAnalysis
from airflow_provider_retell.files.columns import (
    COLUMNS,
    OTHER_FIELDS,
    SCHEMA_VERSION,
    Column,
    Kind,
    json_lines,
    json_text,
    table,
    whole_cents,
)

MAX_INTEGER = 2**63 - 1
YEAR_10000_MS = 253_402_300_800_000


def lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the values of all columns for each row."""
    columns: dict[str, list[Any]] = {column.name: [None] * len(rows) for column in COLUMNS}
    columns |= dict(table(rows))
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def fitting(column: Column, value: Any) -> Any:
    """Return the value of a column by the rule for its kind, None if the value does not fit."""
    match column.kind, value:
        case _, None:
            return None
        case Kind.JSON, _:
            return json_text(value)
        case Kind.BOOLEAN, bool():
            return value
        case Kind.TEXT, str() if value == value.encode(errors="ignore").decode():
            return value
        case ((Kind.INTEGER | Kind.TIMESTAMP), int() | float()) if not isinstance(value, bool) and value % 1 == 0:
            limits = (0, YEAR_10000_MS - 1) if column.kind is Kind.TIMESTAMP else (-MAX_INTEGER, MAX_INTEGER)
            return int(value) if limits[0] <= int(value) <= limits[1] else None
    return None


def by_rule(row: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all columns for one row, by the rules and value by value."""
    values: dict[str, Any] = dict.fromkeys(column.name for column in COLUMNS)
    rest = {name: value for name, value in row.items() if value is not None and name != "call_analysis"}
    analysis = row.get("call_analysis")
    left: Any = analysis
    if isinstance(analysis, dict):
        left = {name: value for name, value in analysis.items() if value is not None}
    for column in COLUMNS:
        name = column.name
        if name in {OTHER_FIELDS, "cost_cents"}:
            continue
        fields, others = (row, rest) if len(column.path) == 1 else (analysis, left)
        if isinstance(fields, dict) and (fits := fitting(column, fields.get(name))) is not None:
            values[name] = fits
            del others[name]
    if left not in (None, {}):
        rest["call_analysis"] = left
    cost = row.get("call_cost")
    cents = cost.get("combined_cost") if isinstance(cost, dict) else None
    if isinstance(cents, int | float) and not isinstance(cents, bool) and abs(cents) < MAX_INTEGER:
        values["cost_cents"] = int(Decimal(str(cents)).quantize(Decimal(1), ROUND_HALF_UP))
    values[OTHER_FIELDS] = json_text(rest) if rest else None
    return values


ODD = [
    *(None, True, False, 0, 7, -1, 1.0, 2.5, -0.5, 1e300, float("inf"), "", "a", "é", "\ud83d", "\ude00", "a\nb"),
    *(MAX_INTEGER, -MAX_INTEGER, MAX_INTEGER + 1, -MAX_INTEGER - 1, 2**70, YEAR_10000_MS - 1, YEAR_10000_MS),
]
KINDS = [(int,), (int, bool), (int, float), (bool, NoneType), (int, NoneType), (str,), (str, NoneType)]
LEAVES = st.sampled_from(ODD)
PARTS = st.sampled_from(["combined_cost", "call_summary", "call_successful", "custom_analysis_data", "new"])
VALUES = LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(PARTS, LEAVES, max_size=3)
NAMES = st.sampled_from(
    [
        *("call_id", "agent_version", "start_timestamp", "call_cost", "call_analysis", "opt_in_signed_url"),
        *("metadata", "other_fields", "cost_cents", "call_summary", "new", "newer"),
    ]
)
# Most pages have a column of one type, with few values that are odd.
POOLS = st.sampled_from(
    [VALUES, LEAVES, *(st.sampled_from([value for value in ODD if type(value) in kinds]) for kinds in KINDS)]
)
ROWS = st.tuples(st.lists(NAMES, min_size=1, max_size=5, unique=True), POOLS).flatmap(
    lambda drawn: st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(drawn[0], drawn[1])), max_size=5)
)


@settings(max_examples=300)
@given(ROWS)
def test_columns_are_those_of_each_row_by_itself(rows: list[dict[str, Any]]) -> None:
    """A page makes of each value what the rules make of it in a row alone: type, nulls, and order of the rest."""
    assert list(map(repr, lines(rows))) == [repr(by_rule(row)) for row in rows]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("agent_version", [0, True, 7]),
        ("agent_version", [7, MAX_INTEGER + 1]),
        ("agent_version", [7, -MAX_INTEGER - 1]),
        ("agent_version", [7, 2.0]),
        ("start_timestamp", [7, -1]),
        ("start_timestamp", [7, YEAR_10000_MS]),
        ("opt_in_signed_url", [True, 1]),
        ("agent_name", ["a", "\ud83d"]),
    ],
)
def test_one_odd_value_of_a_column_is_found(name: str, values: list[Any]) -> None:
    """A column that is taken at a glance has no value that would not fit by itself."""
    rows = [{name: value} for value in values]
    assert list(map(repr, lines(rows))) == [repr(by_rule(row)) for row in rows]


@given(st.lists(VALUES, max_size=5))
def test_lines_are_those_of_each_value_by_itself(values: list[Any]) -> None:
    """A value that must be escaped changes no other line."""
    assert json_lines(values) == b"".join(json_text(value).encode() + b"\n" for value in values)


@given(
    st.floats(-(2.0**64), 2.0**64)
    | st.integers(-(2**64), 2**64)
    | st.integers(-(2**54), 2**54).map(lambda n: n / 2)
)
def test_whole_cents_are_the_decimals_rounded(cost: float) -> None:
    """Cents are what the decimals of a cost give, up to the largest that a column holds."""
    exact = Decimal(str(cost))
    rounded = int(exact.quantize(Decimal(1), ROUND_HALF_UP)) if abs(exact) < MAX_INTEGER else None
    assert whole_cents(cost) == rounded


def test_the_schema_is_the_one_that_was_promised() -> None:
    """Tables were made with these names, types and order: changing them needs a new version of the schema."""
    assert SCHEMA_VERSION == 1
    assert [f"{column.name} {column.kind}" for column in COLUMNS] == [
        "call_id text",
        "call_status text",
        "outcome text",
        "disconnection_reason text",
        "call_type text",
        "direction text",
        "agent_id text",
        "agent_name text",
        "agent_version integer",
        "agent_tag text",
        "from_number text",
        "to_number text",
        "start_timestamp timestamp",
        "end_timestamp timestamp",
        "transfer_end_timestamp timestamp",
        "duration_ms integer",
        "transfer_destination text",
        "cost_cents integer",
        "call_cost json",
        "call_summary text",
        "user_sentiment text",
        "call_successful boolean",
        "in_voicemail boolean",
        "custom_analysis_data json",
        "metadata json",
        "retell_llm_dynamic_variables json",
        "collected_dynamic_variables json",
        "custom_attributes json",
        "custom_sip_headers json",
        "telephony_identifier json",
        "data_storage_setting text",
        "opt_in_signed_url boolean",
        "latency json",
        "llm_token_usage json",
        "recording_url text",
        "recording_multi_channel_url text",
        "scrubbed_recording_url text",
        "scrubbed_recording_multi_channel_url text",
        "public_log_url text",
        "knowledge_base_retrieved_contents_url text",
        "recording_path text",
        "transcript text",
        "transcript_object json",
        "transcript_with_tool_calls json",
        "scrubbed_transcript_with_tool_calls json",
        "pre_session_transcript_with_tool_calls json",
        "post_session_transcript_with_tool_calls json",
        "scrubbed_pre_session_transcript_with_tool_calls json",
        "scrubbed_post_session_transcript_with_tool_calls json",
        "other_fields json",
    ]


def test_every_field_of_a_call_today_has_a_column() -> None:
    """Each field that Retell documents today has a column; deprecated ones are among the other fields."""
    older = {
        "opt_out_sensitive_data_storage",
        "e2e_latency",
        "llm_latency",
        "llm_websocket_network_rtt_latency",
    }
    named = {part for column in COLUMNS for part in column.path}
    assert {*Call.model_fields, *CallAnalysis.model_fields} - older <= named


def test_a_row_has_a_value_for_every_column() -> None:
    """Every row has the same columns in the same order, whatever fields the call has."""
    assert list(lines([{"call_id": "call_1"}])[0]) == [column.name for column in COLUMNS]


@pytest.mark.parametrize(
    ("row", "other"),
    [
        ({"brand_new": {"a": 1}}, {"brand_new": {"a": 1}}),
        ({"agent_version": "two"}, {"agent_version": "two"}),
        ({"agent_version": True}, {"agent_version": True}),
        ({"duration_ms": 1.5}, {"duration_ms": 1.5}),
        ({"duration_ms": 2**64}, {"duration_ms": 2**64}),
        ({"start_timestamp": -1}, {"start_timestamp": -1}),
        ({"start_timestamp": 10**18}, {"start_timestamp": 10**18}),
        ({"opt_in_signed_url": "yes"}, {"opt_in_signed_url": "yes"}),
        ({"agent_name": {"first": "Ada"}}, {"agent_name": {"first": "Ada"}}),
        ({"agent_name": "half of a pair: \ud83d"}, {"agent_name": "half of a pair: \ud83d"}),
        ({"call_analysis": {"mood": "blue", "call_summary": "x"}}, {"call_analysis": {"mood": "blue"}}),
        ({"call_analysis": "none yet"}, {"call_analysis": "none yet"}),
        ({"other_fields": {"a": 1}}, {"other_fields": {"a": 1}}),
        ({"agent_name": None}, None),
    ],
)
def test_what_fits_in_no_column_is_not_lost(row: dict[str, Any], other: dict[str, Any] | None) -> None:
    """New fields, and values of another type than documented, are in ``other_fields`` and in no column."""
    (values,) = lines([{"call_id": "call_1", **row}])
    assert (None if values["other_fields"] is None else json.loads(values["other_fields"])) == other
    for name in (other or {}).keys() & values.keys() - {"other_fields"}:
        assert values[name] is None


def test_values_are_where_they_belong() -> None:
    """The analysis is flattened, objects are JSON, cents and floats without a fraction are integers."""
    row = {
        "call_id": "call_1",
        "duration_ms": 61000.0,
        "call_cost": {"combined_cost": 12.5, "product_costs": []},
        "call_analysis": {"call_successful": True, "custom_analysis_data": {"ü": "é"}},
        "metadata": {"n": [1, None]},
    }
    (values,) = lines([row])
    assert values["duration_ms"] == 61000
    assert values["cost_cents"] == 13
    assert json.loads(values["call_cost"]) == {"combined_cost": 12.5, "product_costs": []}
    assert values["call_successful"] is True
    assert values["custom_analysis_data"] == '{"ü":"é"}'
    assert values["metadata"] == '{"n":[1,null]}'
    assert values["other_fields"] is None


@pytest.mark.parametrize(
    ("cost", "cents"),
    [(0.4, 0), (0.5, 1), (2.5, 3), (7, 7), (-1.5, -2), (None, None), ("7", None), (True, None), (1e30, None)],
)
def test_cents_are_rounded_half_up(cost: Any, cents: int | None) -> None:
    """Cents are rounded half up, as on an invoice; a value that is no number has no cents."""
    assert whole_cents(cost) == cents


def test_each_kind_is_used() -> None:
    """Each kind is the type of a column: a kind without one would be untested."""
    assert {column.kind for column in COLUMNS} == set(Kind)
