"""Read only the fields of calls that a poll needs, straight from the bytes of a response. Pure: no I/O.

A thousand calls are two megabytes, and a poll needs a few fields of each. Reading them as models would take
thirty times as long, and keep them in memory for as long as the wait lasts.

Page: https://docs.retellai.com/api-references/list-calls
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Self, cast

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder

from airflow_provider_retell.api.decoding import decode_json
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.pages import Page, page, page_of
from airflow_provider_retell.api.sweeps import Projection
from airflow_provider_retell.outcomes import CallStatus, is_connected


class CallState(Struct, frozen=True, gc=False, rename={"status": "call_status", "analysis": "call_analysis"}):
    """The fields of a call that a poll keeps.

    Attributes:
        status: ``call_status`` as Retell sends it.
        analysis: ``call_analysis``.
    """

    call_id: Annotated[str, Meta(min_length=1)]
    status: str | None = None
    start_timestamp: int | None = None
    end_timestamp: int | None = None
    analysis: dict[str, Any] | None = None

    @property
    def call_status(self) -> CallStatus | str | None:
        """The status, as in ``Call``."""
        return _STATUSES.get(self.status, self.status)

    @property
    def is_terminal(self) -> bool:
        """True if the call is over."""
        status = _STATUSES.get(self.status)
        return status is not None and status.is_terminal

    @property
    def connected(self) -> bool:
        """True if a person or a machine answered."""
        return is_connected(self.status, self.start_timestamp)

    @property
    def analyzed(self) -> bool:
        """True if the call has an analysis; an empty one does not count."""
        return bool(self.analysis)

    @classmethod
    def of(cls, call: Call) -> Self:
        """Return the state of a call."""
        sent = call.json_dict()
        return cls(
            call_id=call.call_id,
            status=sent.get("call_status"),
            start_timestamp=call.start_timestamp,
            end_timestamp=call.end_timestamp,
            analysis=sent.get("call_analysis"),
        )


_STATUSES: Final[Mapping[str | None, CallStatus]] = {status.value: status for status in CallStatus}


class _List(Struct):
    items: list[CallState]
    pagination_key: Any = None
    has_more: Any = None


_CALL: Final = Decoder(CallState)
_CALLS: Final = Decoder(_List)

_read_tolerantly = page_of(lambda body: CallState.of(Call.read(body)))


def _state(content: bytes) -> CallState:
    try:
        return _CALL.decode(content)
    except (DecodeError, ValueError):
        # Anything unexpected is read as tolerantly as a complete call, with the same errors.
        return CallState.of(Call.read(decode_json(content)))


def _states(content: bytes) -> Page[CallState]:
    try:
        found = _CALLS.decode(content)
    except (DecodeError, ValueError):
        return _read_tolerantly(decode_json(content))
    states = {state.call_id: state for state in found.items}
    if len(states) < len(found.items):
        return _read_tolerantly(decode_json(content))
    return page(states, found.pagination_key, found.has_more)


def state_of(request: Request[Call]) -> Request[CallState]:
    """Return the same request for one call, which reads only its state."""
    return replace(cast("Request[Any]", request), decode=bytes, read=_state)


def states_of(request: Request[Page[Call]]) -> Request[Page[CallState]]:
    """Return the same request for a page of calls, which reads only their states."""
    return replace(cast("Request[Any]", request), decode=bytes, read=_states)


STATES: Final = Projection[CallState](one=state_of, page=states_of)
