"""Calls read as the rows that tasks pass on, without a model of each. Pure: no I/O.

Making a model of a call takes thirty times as long as making its row. A model is made only of a call with a value
that it would convert, such as a number written as text, so that both ways give the same row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, cast

from msgspec import Meta, Struct, ValidationError, convert

from airflow_provider_retell.api.pages import page_of
from airflow_provider_retell.api.sweeps import Projection
from airflow_provider_retell.outcomes import CallStatus, Outcome, is_connected
from airflow_provider_retell.rows import Cost, Row, into_row, row

if TYPE_CHECKING:
    from airflow_provider_retell.api.endpoints import Request
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.api.pages import Page

_STATUSES: Final[Mapping[str | None, CallStatus]] = {status.value: status for status in CallStatus}
_OUTCOMES: Final[Mapping[str | None, Outcome]] = {outcome.value: outcome for outcome in Outcome}


class CallRow(Struct, frozen=True, gc=False):
    """A call as a row, with the attributes of ``Call`` that tasks decide by.

    Attributes:
        row: The row.
    """

    row: Row

    @classmethod
    def read(cls, body: Any, include: Collection[str] = ()) -> Self:
        """Return the call in the body of a response; the body itself becomes the row.

        Args:
            body: The decoded body.
            include: Heavy fields to keep.

        Raises:
            ValueError: The body holds no call, as for ``Call.read``.
        """
        try:
            convert(body, _Plain)
        except ValidationError:
            # Imported here: most processes never meet a call that needs it.
            from airflow_provider_retell.api.models import Call  # noqa: PLC0415

            body = Call.read(body).json_dict()
        return cls(into_row(body, include))

    @classmethod
    def of(cls, call: Call, include: Collection[str] = ()) -> Self:
        """Return a call that was read as a model."""
        return cls(row(call, include))

    @property
    def call_id(self) -> str:
        """Its id."""
        return self.row["call_id"]

    @property
    def call_status(self) -> CallStatus | str | None:
        """Its status; one that this package does not know is a plain string."""
        status = self.row.get("call_status")
        return _STATUSES.get(status, status)

    @property
    def disconnection_reason(self) -> str | None:
        """The reason why it ended."""
        return self.row.get("disconnection_reason")

    @property
    def outcome(self) -> Outcome | None:
        """The end of the call in one plain word; None while it is not over."""
        return _OUTCOMES.get(self.row["outcome"])

    @property
    def is_terminal(self) -> bool:
        """True if it is over."""
        return self.row["outcome"] is not None

    @property
    def connected(self) -> bool:
        """True if a person or a machine answered."""
        return is_connected(self.row.get("call_status"), self.start_timestamp)

    @property
    def analyzed(self) -> bool:
        """True if it has an analysis; an empty one does not count."""
        return bool(self.row.get("call_analysis"))

    @property
    def to_number(self) -> str | None:
        """The number that was called."""
        return self.row.get("to_number")

    @property
    def agent_id(self) -> str | None:
        """The agent that speaks."""
        return self.row.get("agent_id")

    @property
    def metadata(self) -> dict[str, Any] | None:
        """The user's own data."""
        return self.row.get("metadata")

    @property
    def start_timestamp(self) -> int | None:
        """The time at which it was answered, in milliseconds since the epoch."""
        return self.row.get("start_timestamp")

    @property
    def end_timestamp(self) -> int | None:
        """The time at which it ended, likewise."""
        return self.row.get("end_timestamp")

    @property
    def duration_ms(self) -> int | None:
        """The time for which it was connected, in milliseconds."""
        return self.row.get("duration_ms")

    @property
    def call_cost(self) -> Cost | None:
        """Its cost in US cents, by part."""
        return self.row.get("call_cost")


class _Analysis(Struct, gc=False):
    in_voicemail: bool | None = None
    call_successful: bool | None = None


class _Cost(Struct, gc=False):
    combined_cost: float | None = None
    total_duration_seconds: float | None = None
    total_duration_unit_price: float | None = None


class _Plain(Struct, gc=False):
    """The fields whose values a model may convert; a call that passes as this needs no model."""

    call_id: Annotated[str, Meta(min_length=1)]
    call_status: str | None = None
    agent_version: int | None = None
    start_timestamp: int | None = None
    end_timestamp: int | None = None
    transfer_end_timestamp: int | None = None
    duration_ms: int | None = None
    opt_in_signed_url: bool | None = None
    opt_out_sensitive_data_storage: bool | None = None
    call_analysis: _Analysis | None = None
    call_cost: _Cost | None = None


def _read_all(items: list[Any], *, include: Collection[str]) -> dict[str, CallRow]:
    """Return the calls of a page, whose items become the rows; raise ``ValueError`` if one needs a model."""
    try:
        convert(items, list[_Plain])
    except ValidationError as error:
        raise ValueError(str(error)) from None
    return {fields["call_id"]: CallRow(into_row(fields, include)) for fields in items}


def row_projection(include: Collection[str] = ()) -> Projection[CallRow]:
    """Return the projection with which calls are read as rows.

    Args:
        include: Heavy fields to keep.
    """
    read = partial(CallRow.read, include=include)
    read_page = page_of(read, read_all=partial(_read_all, include=include))

    def one(request: Request[Call]) -> Request[CallRow]:
        return replace(cast("Request[Any]", request), read=read)

    def page(request: Request[Page[Call]]) -> Request[Page[CallRow]]:
        return replace(cast("Request[Any]", request), read=read_page)

    return Projection(one=one, page=page)
