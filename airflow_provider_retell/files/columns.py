"""The typed columns of an export's table, and the places of their values in a call. Pure: no I/O.

Within a version of the schema the table always has the same columns, whatever a run includes and whatever fields
Retell adds: values that fit no column go into ``other_fields``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from types import NoneType
from typing import Any, Final

from msgspec.json import Encoder

SCHEMA_VERSION: Final = 1
"""Incremented when a column changes its name, type or meaning, but not for a new column at the end."""

VERSION_KEY: Final = "retell_schema_version"
"""The key of the version in the metadata of a Parquet file."""

OTHER_FIELDS: Final = "other_fields"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_INTEGER: Final = 2**63 - 1
_MAX_FRACTION: Final = 2**52
"""Floats of this size or larger have no fraction."""
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


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the name of each column with its values, one for each row, in no particular order.

    A value fits its column only if it has the column's type; those that fit no column are in ``other_fields``, as
    JSON. Timestamps are milliseconds since the epoch. Columns without a value may be missing.

    >>> values = dict(table([{"call_id": "call_1", "agent_version": "two", "call_cost": {"combined_cost": 4.5}}]))
    >>> values["cost_cents"], values["agent_version"], values["other_fields"]
    ([5], [None], ['{"agent_version":"two"}'])

    Args:
        rows: The rows, as JSON has them.
    """
    rest = yield from _fill(_PLAIN, rows)
    analyses = [row.get("call_analysis") for row in rows]
    left = yield from _fill(_IN_ANALYSIS, [each if isinstance(each, dict) else {} for each in analyses])
    for number, analysis in enumerate(analyses):
        if analysis is not None and not isinstance(analysis, dict):
            left[number] = analysis
    for number, analysis in left.items():
        rest.setdefault(number, {})["call_analysis"] = analysis
    costs = [row.get("call_cost") for row in rows]
    yield (
        "cost_cents",
        [whole_cents(cost.get("combined_cost")) if isinstance(cost, dict) else None for cost in costs],
    )
    if rest:
        yield OTHER_FIELDS, json_texts([rest.get(number) for number in range(len(rows))])


def row_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row from which ``table`` made these values, as pyarrow reads them; columns may be missing.

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


def _fill(
    kinds: Mapping[str, Kind], rows: Sequence[Mapping[str, Any]]
) -> Generator[tuple[str, list[Any]], None, dict[int, Any]]:
    """Yield the columns with the values that fit, and return the other fields of each row that has any."""
    left: dict[str, list[Any]] = {}
    for name in set[str]().union(*rows) - {"call_analysis"}:
        values = [row.get(name) for row in rows]
        if name not in kinds:
            left[name] = values
            continue
        fitting = _fitting(kinds[name], values)
        if fitting is not values and fitting.count(None) > values.count(None):
            left[name] = [None if fits is not None else value for value, fits in zip(values, fitting, strict=True)]
        yield name, fitting
    if not left:
        return {}
    rest = {
        number: {name: value for name, value in row.items() if name in left and left[name][number] is not None}
        for number, row in enumerate(rows)
    }
    return {number: fields for number, fields in rest.items() if fields}


def _fitting(kind: Kind, values: list[Any]) -> list[Any]:
    """Return the values of a column, None in place of those that do not fit."""
    if kind is Kind.JSON:
        return json_texts(values)
    fits = _FIT[kind]
    return values if _all_fit(kind, values) else [None if value is None else fits(value) for value in values]


def _all_fit(kind: Kind, values: list[Any]) -> bool:
    """Return whether a quick check is enough to see that all values fit as they are."""
    types = set(map(type, values)) - {NoneType}
    if not types:
        return True
    match kind:
        case Kind.TEXT:
            return types == {str} and _text("".join(filter(None, values))) is not None
        case Kind.INTEGER | Kind.TIMESTAMP:
            numbers = [value for value in values if value is not None]
            fits = _FIT[kind]
            return types == {int} and fits(min(numbers)) is not None and fits(max(numbers)) is not None
        case Kind.BOOLEAN:
            return types == {bool}
        case _:
            return False


def whole_cents(cost: Any) -> int | None:
    """Return a cost rounded to whole cents, half up; None if it is not a number."""
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return None
    if abs(cost) < _MAX_FRACTION:
        whole = int(cost)
        return whole + int((cost - whole) * 2)  # exact, in a fraction of the time of a decimal
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


def json_lines(values: Sequence[Any]) -> bytes:
    """Return each value as compact JSON in UTF-8, with the end of a line after it."""
    try:
        return _ENCODER.encode_lines(values)
    except (TypeError, ValueError):
        return b"".join(json_bytes(value) + b"\n" for value in values)


def json_texts(values: Sequence[Any]) -> list[str | None]:
    """Return each value as compact JSON, None for None."""
    texts = json_lines(values).decode().split("\n")  # in JSON, an end of a line is always escaped
    return [None if value is None else text for value, text in zip(values, texts, strict=False)]


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
}
"""By kind, the function that returns a value for a column, or None if it does not fit. Any value fits as JSON."""

_PLAIN: Final[Mapping[str, Kind]] = {
    column.name: column.kind for column in COLUMNS if len(column.path) == 1 and column.name != OTHER_FIELDS
}
_IN_ANALYSIS: Final[Mapping[str, Kind]] = {
    column.name: column.kind for column in COLUMNS if column.path[:1] == _ANALYSIS
}
