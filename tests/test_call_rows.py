"""Test that calls read as rows are those that models would give, whatever Retell sends."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_retell.api.call_rows import CallRow, row_projection
from airflow_provider_retell.api.endpoints import get_call, list_calls
from airflow_provider_retell.api.models import Call, CallAnalysis, CallCost
from airflow_provider_retell.api.responses import Response, read
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import RetellResponseError
from airflow_provider_retell.outcomes import CallStatus, DisconnectionReason
from airflow_provider_retell.rows import HEAVY_FIELDS, LATENCY_FIELDS, cents, row

SETTINGS = ConnectionSettings(api_key="key_1")
SEEN = ("call_id", "call_status", "disconnection_reason", "outcome", "is_terminal", "connected", "analyzed")
ALSO_SEEN = ("to_number", "metadata", "start_timestamp", "end_timestamp", "duration_ms")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
ODD = st.sampled_from(["17", "17.0", 17.0, 17, 0, 1, 1.0, True, False, "true", "no", "n/a", "", None, [], {}])
NAMES = [*Call.model_fields, "new", "outcome"]
"""Every field of a call, one that Retell may add, and one of our own name."""


def objects(model: type[Call | CallAnalysis | CallCost], inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return objects with some of a model's fields."""
    return st.dictionaries(st.sampled_from([*model.model_fields, "new"]), inside, max_size=4)


VALUES = ODD | JSON | objects(CallAnalysis, ODD) | objects(CallCost, ODD)
LATENCIES = st.fixed_dictionaries(
    {
        "p50": st.integers(),
        "values": st.lists(st.integers()),
        "e2e": st.dictionaries(st.just("values"), ODD) | JSON,
    }
)
BODIES = st.fixed_dictionaries(
    {"call_id": st.sampled_from(["call_1", "call_2", "", 5, None])},
    optional={
        **{name: VALUES for name in NAMES if name != "call_id"},
        "call_status": st.sampled_from([*CallStatus, "paused", None, 5]),
        "disconnection_reason": st.sampled_from([*DisconnectionReason, "new", None]) | JSON,
        **dict.fromkeys(LATENCY_FIELDS, LATENCIES | JSON),
        "call_analysis": objects(CallAnalysis, ODD) | VALUES,
        "call_cost": objects(CallCost, ODD) | VALUES,
    },
)
INCLUDES = st.lists(st.sampled_from(sorted(HEAVY_FIELDS | LATENCY_FIELDS)), max_size=3).map(tuple)


def result(request: Any, content: bytes) -> Any:
    """Return the value in a response, or the words of the error."""
    try:
        return read(request, Response(status_code=200, content=content, retry_after=None), SETTINGS)
    except RetellResponseError as error:
        return str(error)


@given(body=BODIES | JSON, include=INCLUDES)
@example(body={"call_id": "call_1", "duration_ms": 17.0, "call_cost": {"combined_cost": 4}}, include=())
@example(body={"call_id": "call_1", "call_analysis": {"in_voicemail": "yes"}}, include=())
@example(body={"call_id": ""}, include=())
def test_a_call_read_as_a_row_is_the_row_of_its_model(body: Any, include: tuple[str, ...]) -> None:
    """The same fields, the same values if a model would convert them, and the same errors."""
    content = json.dumps(body).encode()
    model, found = (
        result(get_call("call_1"), content),
        result(row_projection(include).one(get_call("call_1")), content),
    )
    if not isinstance(model, Call):
        assert found == model
        return
    assert found.row == row(model, include) == CallRow.of(model, include).row
    assert {type(value) for value in found.row.values()} <= {str, int, float, bool, dict, list, type(None)}
    for name in (*SEEN, *ALSO_SEEN):
        assert getattr(found, name) == getattr(model, name)
        assert type(getattr(found, name)) in {type(getattr(model, name)), str}
    assert cents(found.call_cost) == cents(model.call_cost)


@given(items=st.lists(BODIES | JSON, max_size=4), include=INCLUDES)
@example(items=[{"call_id": "call_1", "call_status": "ended"}, {"call_id": "call_1"}], include=())
def test_a_page_of_rows_is_that_of_the_models(items: list[Any], include: tuple[str, ...]) -> None:
    """One bad call hides no other, and the first of two with one id counts."""
    content = json.dumps({"items": items, "has_more": True, "pagination_key": "next"}).encode()
    models = result(list_calls(), content)
    page = result(row_projection(include).page(list_calls()), content)
    assert [call.row for call in page.calls] == [row(call, include) for call in models.calls]
    assert (page.cursor, page.has_more, page.unreadable) == (models.cursor, models.has_more, models.unreadable)


def test_the_row_of_a_model_leaves_the_model_alone() -> None:
    """A user may make a row of a call, and still read the values per turn of its latencies."""
    sent = {"call_id": "call_1", "latency": {"e2e": {"p50": 600, "values": [600]}}, "transcript": "Hello"}
    call = Call.model_validate(deepcopy(sent))
    assert row(call)["latency"] == {"e2e": {"p50": 600}}
    assert call.json_dict() == sent


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ({"combined_cost": 4}, 4.0),
        ({"combined_cost": 4.5}, 4.5),
        (CallCost(combined_cost=4.5), 4.5),
        ({"combined_cost": "n/a"}, None),
        ({"combined_cost": True}, None),
        ({}, None),
        (None, None),
        ("4.5", None),
    ],
)
def test_the_cost_of_a_call_is_read_if_it_is_a_number(cost: object, expected: float | None) -> None:
    """Reports and results count cents; a price that is no number counts as none."""
    assert cents(cost) == expected
