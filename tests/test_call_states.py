"""Test that a poll reads the same states as complete calls have, whatever Retell sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_retell.api.call_states import CallState, state_of, states_of
from airflow_provider_retell.api.endpoints import Request, get_call, list_calls
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.responses import Response, read
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import RetellResponseError
from airflow_provider_retell.outcomes import CallStatus

SETTINGS = ConnectionSettings(api_key="key_1")
LIST = list_calls()
GET = get_call("call_1")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
TIMES = st.none() | st.integers() | st.sampled_from(["1767225600000", 1767225600000.0, "soon", True])
CALLS = st.fixed_dictionaries(
    {"call_id": st.sampled_from(["call_1", "call_2", "call_3"])},
    optional={
        "call_status": st.sampled_from([*CallStatus, "paused", None]),
        "start_timestamp": TIMES,
        "end_timestamp": TIMES,
        "call_analysis": st.none() | st.dictionaries(st.text(), JSON, max_size=2) | JSON,
        "call_cost": JSON,
        "transcript": JSON,
        "new": JSON,
    },
)
ITEMS = CALLS | st.dictionaries(st.sampled_from(["call_id", "call_status", "end_timestamp"]), JSON) | JSON


SEEN = ("call_id", "call_status", "is_terminal", "connected", "analyzed", "end_timestamp")
"""The attributes of a call by which a wait decides."""


def seen(call: Call | CallState) -> dict[str, Any]:
    """Return what a wait sees of a call."""
    return {name: getattr(call, name) for name in SEEN}


def response(body: Any) -> Response:
    """Return a response with a body, given as bytes or as what JSON says."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status_code=200, content=content, retry_after=None)


def result(request: Request[Any], body: Any) -> Any:
    """Return the value in a response, or the words of the error."""
    try:
        return read(request, response(body), SETTINGS)
    except RetellResponseError as error:
        return str(error)


@given(body=ITEMS)
@example(body={"call_id": ""})
def test_a_state_is_what_the_whole_call_says(body: Any) -> None:
    """Both readings of one response are the same, and so are the errors of one that cannot be read."""
    whole, state = result(GET, body), result(state_of(GET), body)
    assert (seen(state) if isinstance(state, CallState) else state) == (
        seen(whole) if isinstance(whole, Call) else whole
    )


@given(
    items=st.lists(ITEMS, max_size=4),
    more=st.fixed_dictionaries({}, optional={"has_more": JSON, "pagination_key": JSON}),
)
@example(items=[{"call_id": "call_1", "call_status": "ended"}, {"call_id": "call_1"}], more={})
@example(items=[{"call_id": ""}, {"call_id": "call_1"}], more={})
def test_a_page_of_states_is_what_the_page_of_calls_says(items: list[Any], more: dict[str, Any]) -> None:
    """One bad call hides no other, the first of two with one id counts, and the walk goes on at the same place."""
    body = response({"items": items, **more})
    whole = read(LIST, body, SETTINGS)
    states = read(states_of(LIST), body, SETTINGS)
    assert [*states.items] == [*whole.items]
    assert [*map(seen, states.calls)] == [*map(seen, whole.calls)]
    for name in ("cursor", "has_more", "unreadable"):
        assert getattr(states, name) == getattr(whole, name)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'{"items": {}}', b'{"items": null}', b"\xff", b"[" * 100_000],
    ids=["empty", "half", "null", "list", "no list", "null list", "no text", "deep"],
)
def test_what_is_no_list_is_the_same_error(content: bytes) -> None:
    """The error says what is wrong, as it does for whole calls."""
    whole = result(LIST, content)
    assert isinstance(whole, str)
    assert result(states_of(LIST), content) == whole


@pytest.mark.parametrize("text", [rb"\ud800", rb"\ud83d\ude00", b"\xc3\xbc", rb"\u0000"])
def test_every_text_that_python_reads_is_read(text: bytes) -> None:
    """Half of a pair of surrogates is no reason to lose sight of a thousand calls."""
    body = response(b'{"items": [{"call_id": "call_1", "call_status": "ended", "transcript": "' + text + b'"}]}')
    (state,) = read(states_of(LIST), body, SETTINGS).calls
    assert state.call_status is CallStatus.ENDED


def test_nothing_else_is_kept() -> None:
    """A state holds the fields that decide, and neither numbers nor transcripts."""
    call = {"call_id": "call_1", "call_status": "ended", "to_number": "+14155550100", "transcript": "Hello"}
    state = read(state_of(GET), response(call), SETTINGS)
    assert repr(state) == (
        "CallState(call_id='call_1', status='ended', start_timestamp=None, end_timestamp=None, analysis=None)"
    )
    assert CallState.of(Call.read(call)) == state
