"""Read only the fields of calls that a poll needs, straight from the bytes of a response. Pure: no I/O.

A thousand calls are two megabytes, and a poll needs a few fields of each. Reading them as models would take
several times as long, and keep them in memory for as long as the wait lasts.

Page: https://docs.retellai.com/api-references/list-calls
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, NamedTuple, Self, cast

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict  # pydantic takes the standard library's only from Python 3.12 on

from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.pages import Page, page_of
from airflow_provider_retell.api.sweeps import Form
from airflow_provider_retell.outcomes import CallStatus, is_connected


class CallState(NamedTuple):
    """The fields of a call that a poll keeps, named as in ``Call``.

    It is a tuple, because making a thousand frozen dataclasses takes as long as reading their fields.
    """

    call_id: str
    call_status: CallStatus | str | None
    connected: bool
    analyzed: bool
    end_timestamp: Any

    @property
    def is_terminal(self) -> bool:
        """True if the call is over."""
        return isinstance(self.call_status, CallStatus) and self.call_status.is_terminal

    @classmethod
    def of(cls, call: Call) -> Self:
        """Return the state of a call."""
        return cls(
            call_id=call.call_id,
            call_status=call.call_status,
            connected=call.connected,
            analyzed=call.analyzed,
            end_timestamp=call.end_timestamp,
        )


_STATUSES: Final[Mapping[str | None, CallStatus]] = {status.value: status for status in CallStatus}


class _Fields(TypedDict, total=False):
    call_id: Annotated[str, Field(min_length=1)]
    call_status: str | None
    start_timestamp: int | None
    end_timestamp: int | None
    call_analysis: dict[str, Any] | None


class _List(TypedDict, total=False):
    items: list[_Fields]
    pagination_key: Any
    has_more: Any


_CALL: Final = TypeAdapter(_Fields)
_CALLS: Final = TypeAdapter(_List)


def _state_in(fields: _Fields) -> CallState:
    """Return the state in some fields of a call, as ``CallState.of`` returns it for the complete call."""
    status = fields.get("call_status")
    return CallState(
        fields["call_id"],
        _STATUSES.get(status, status),
        is_connected(status, fields.get("start_timestamp")),
        bool(fields.get("call_analysis")),
        fields.get("end_timestamp"),
    )


_read_fields = page_of(_state_in)
_read_calls = page_of(lambda body: CallState.of(Call.read(body)))


def _state(content: bytes) -> CallState:
    try:
        return _state_in(_CALL.validate_json(content))
    except (KeyError, ValueError):
        # Anything unexpected is read as tolerantly as a complete call, with the same errors.
        return CallState.of(Call.read(json.loads(content)))


def _states(content: bytes) -> Page[CallState]:
    try:
        page = _read_fields(_CALLS.validate_json(content))
    except ValueError:
        page = None
    return _read_calls(json.loads(content)) if page is None or page.unreadable else page


def state_of(request: Request[Call]) -> Request[CallState]:
    """Return the same request for one call, which reads only its state."""
    return replace(cast("Request[Any]", request), decode=bytes, read=_state)


def states_of(request: Request[Page[Call]]) -> Request[Page[CallState]]:
    """Return the same request for a page of calls, which reads only their states."""
    return replace(cast("Request[Any]", request), decode=bytes, read=_states)


STATES: Final = Form[CallState](one=state_of, page=states_of)
