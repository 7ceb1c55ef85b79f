"""The typed columns of an export's table, and the places of their values in a call. Pure: no I/O.

Within a version of the schema the table always has the same columns, whatever a run includes and whatever fields
Retell adds: values that fit no column go into ``other_fields``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any, Final, TypeAlias

from msgspec.json import Encoder

SCHEMA_VERSION: Final = 1
"""Incremented when a column changes its name, type or meaning, but not for a new column at the end."""

VERSION_KEY: Final = "retell_schema_version"
"""The key of the version in the metadata of a Parquet file."""

OTHER_FIELDS: Final = "other_fields"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_INTEGER: Final = 2**63 - 1
_YEAR_10000: Final = 253_402_300_800_000
"""In milliseconds. Many readers of the files cannot show a later time."""


class Kind(StrEnum):
    """The type of a column."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    """Milliseconds, in UTC."""
    JSON = "json"
    """JSON as text."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: Its name in the table.
        kind: Its type.
        path: The keys that lead to its value in a row.
        required: Whether each row has a value.
    """

    name: str
    kind: Kind
    path: tuple[str, ...]
    required: bool = False


def _columns(kind: Kind, *names: str, under: tuple[str, ...] = ()) -> list[Column]:
    return [Column(name=name, kind=kind, path=(*under, name)) for name in names]


_ANALYSIS: Final = ("call_analysis",)

COLUMNS: Final[tuple[Column, ...]] = (
    Column(name="call_id", kind=Kind.TEXT, path=("call_id",), required=True),
    *_columns(Kind.TEXT, "call_status", "outcome", "disconnection_reason", "call_type", "direction"),
    *_columns(Kind.TEXT, "agent_id", "agent_name"),
    *_columns(Kind.INTEGER, "agent_version"),
    *_columns(Kind.TEXT, "agent_tag", "from_number", "to_number"),
    *_columns(Kind.TIMESTAMP, "start_timestamp", "end_timestamp", "transfer_end_timestamp"),
    *_columns(Kind.INTEGER, "duration_ms"),
    *_columns(Kind.TEXT, "transfer_destination"),
    Column(name="cost_cents", kind=Kind.INTEGER, path=("call_cost", "combined_cost")),
    *_columns(Kind.JSON, "call_cost"),
    *_columns(Kind.TEXT, "call_summary", "user_sentiment", under=_ANALYSIS),
    *_columns(Kind.BOOLEAN, "call_successful", "in_voicemail", under=_ANALYSIS),
    *_columns(Kind.JSON, "custom_analysis_data", under=_ANALYSIS),
    *_columns(Kind.JSON, "metadata", "retell_llm_dynamic_variables", "collected_dynamic_variables"),
    *_columns(Kind.JSON, "custom_attributes", "custom_sip_headers", "telephony_identifier"),
    *_columns(Kind.TEXT, "data_storage_setting"),
    *_columns(Kind.BOOLEAN, "opt_in_signed_url"),
    *_columns(Kind.JSON, "latency", "llm_token_usage"),
    *_columns(Kind.TEXT, "recording_url", "recording_multi_channel_url"),
    *_columns(Kind.TEXT, "scrubbed_recording_url", "scrubbed_recording_multi_channel_url"),
    *_columns(Kind.TEXT, "public_log_url", "knowledge_base_retrieved_contents_url", "recording_path"),
    *_columns(Kind.TEXT, "transcript"),
    *_columns(Kind.JSON, "transcript_object", "transcript_with_tool_calls"),
    *_columns(Kind.JSON, "scrubbed_transcript_with_tool_calls"),
    *_columns(Kind.JSON, "pre_session_transcript_with_tool_calls", "post_session_transcript_with_tool_calls"),
    *_columns(Kind.JSON, "scrubbed_pre_session_transcript_with_tool_calls"),
    *_columns(Kind.JSON, "scrubbed_post_session_transcript_with_tool_calls"),
    *_columns(Kind.JSON, OTHER_FIELDS),
)
"""Every column, in its order."""

_EMPTY: Final[Mapping[str, Any]] = dict.fromkeys(column.name for column in COLUMNS)


def line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all columns for a row; values that fit no column are in ``other_fields``, as JSON.

    A value fits its column only if it has the column's type. Timestamps are milliseconds since the epoch.

    >>> values = line({"call_id": "call_1", "agent_version": "two", "call_cost": {"combined_cost": 4.5}})
    >>> values["cost_cents"], values["agent_version"], values["other_fields"]
    (5, None, '{"agent_version":"two"}')
    """
    values = dict(_EMPTY)
    rest = _fill(values, _PLAIN, row)
    rest.pop("call_analysis", None)
    analysis = row.get("call_analysis")
    if isinstance(analysis, Mapping):
        if left := _fill(values, _IN_ANALYSIS, analysis):
            rest["call_analysis"] = left
    elif analysis is not None:
        rest["call_analysis"] = analysis
    cost = row.get("call_cost")
    values["cost_cents"] = whole_cents(cost.get("combined_cost")) if isinstance(cost, Mapping) else None
    if rest:
        values[OTHER_FIELDS] = json_text(rest)
    return values


def row_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row from which ``line`` made these values, as pyarrow reads them; columns may be missing.

    >>> row_of({"call_id": "call_1", "call_summary": "Ada will come.", "other_fields": '{"agent_version":"two"}'})
    {'agent_version': 'two', 'call_id': 'call_1', 'call_analysis': {'call_summary': 'Ada will come.'}}
    """
    row: dict[str, Any] = json.loads(values.get(OTHER_FIELDS) or "{}")
    for column in COLUMNS:
        value = values.get(column.name)
        if value is None or column.name in {OTHER_FIELDS, "cost_cents"}:
            continue
        if column.kind is Kind.JSON:
            value = json.loads(value)
        elif column.kind is Kind.TIMESTAMP:
            value = (value - _EPOCH) // timedelta(milliseconds=1)
        *outside, name = column.path
        target = row
        for each in outside:
            target = target.setdefault(each, {})
        target[name] = value
    return row


_Fits: TypeAlias = Mapping[str, Callable[[Any], Any]]
"""By the name of a field, what returns the value for its column, or None if it does not fit."""


def _fill(values: dict[str, Any], columns: _Fits, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Put the values that fit into their columns, and return the others."""
    rest = {}
    for name, value in fields.items():
        if value is None:
            continue
        fit = columns.get(name)
        if fit is None or (fitting := fit(value)) is None:
            rest[name] = value
        else:
            values[name] = fitting
    return rest


def whole_cents(cost: Any) -> int | None:
    """Return a cost rounded to whole cents, half up; None if it is not a number."""
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return None
    exact = Decimal(str(cost))
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP)) if abs(exact) < _MAX_INTEGER else None


_ENCODER: Final = Encoder()


def json_bytes(value: Any) -> bytes:
    """Return a value as compact JSON in UTF-8."""
    try:
        return _ENCODER.encode(value)  # a third of the time of the standard library
    except (TypeError, ValueError):
        # JSON can hold half of a surrogate pair, which can only be escaped.
        return json.dumps(value, separators=(",", ":")).encode()


def json_text(value: Any) -> str:
    """Return a value as compact JSON that can be encoded in UTF-8."""
    return json_bytes(value).decode()


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
    return value


def _integer(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_INTEGER
    return value if fits else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _timestamp(value: Any) -> int | None:
    whole = _integer(value)
    return whole if whole is not None and 0 <= whole < _YEAR_10000 else None


_FIT: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.TIMESTAMP: _timestamp,
    Kind.JSON: json_text,
}
_PLAIN: Final[_Fits] = {
    column.name: _FIT[column.kind] for column in COLUMNS if len(column.path) == 1 and column.name != OTHER_FIELDS
}
_IN_ANALYSIS: Final[_Fits] = {column.name: _FIT[column.kind] for column in COLUMNS if column.path[:1] == _ANALYSIS}
