from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_retell.api.models import Call, CallAnalysis
from airflow_provider_retell.files.columns import COLUMNS, SCHEMA_VERSION, Kind, line, whole_cents


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
    assert list(line({"call_id": "call_1"})) == [column.name for column in COLUMNS]


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
    values = line({"call_id": "call_1", **row})
    assert (None if values["other_fields"] is None else json.loads(values["other_fields"])) == other
    for name in (other or {}).keys() & values.keys() - {"other_fields"}:
        assert values[name] is None


def test_values_are_where_they_belong() -> None:
    """The analysis is flattened, objects are JSON, cents and floats without a fraction are integers."""
    values = line(
        {
            "call_id": "call_1",
            "duration_ms": 61000.0,
            "call_cost": {"combined_cost": 12.5, "product_costs": []},
            "call_analysis": {"call_successful": True, "custom_analysis_data": {"ü": "é"}},
            "metadata": {"n": [1, None]},
        }
    )
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
