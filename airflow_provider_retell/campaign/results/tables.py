"""The tables of a campaign's files, as JSON Lines and as Parquet. Pure.

================  ===================================================  ============================================
column            JSON Lines                                           Parquet
================  ===================================================  ============================================
a call's          as Retell names it                                   as in an export's table
a time of ours    ISO 8601 in UTC                                      timestamp, in milliseconds
a person's own    as given                                             text as it is, anything else as JSON
================  ===================================================  ============================================

A person's own columns are always text in Parquet, so that the type of a column does not depend on the people of a
run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from airflow_provider_retell.files.columns import COLUMNS, Column, Kind, json_text, row_of, table
from airflow_provider_retell.files.formats import FileFormat, Format, JsonLines, Parquet, open_format

_COMPRESSION: Final = "snappy"


def _column(name: str, kind: Kind) -> Column:
    return Column(name=name, kind=kind, path=(name,))


_OURS: Final = (
    _column("person_id", Kind.TEXT),
    _column("attempt", Kind.INTEGER),
    _column("placed_at", Kind.TIMESTAMP),
    _column("seen_over_at", Kind.TIMESTAMP),
    _column("refused", Kind.TEXT),
    _column("detail", Kind.TEXT),
    _column("refused_at", Kind.TIMESTAMP),
)
"""The columns of ``attempts-*`` besides the call's fields."""

ATTEMPT_COLUMNS: Final = (_column("call_id", Kind.TEXT), *(each for each in COLUMNS if not each.required), *_OURS)
"""The columns of ``attempts-*``. A refusal has no call, and so no ``call_id``."""

_RESULTS: Final = (
    _column("person_id", Kind.TEXT),
    _column("to_number", Kind.TEXT),
    _column("outcome", Kind.TEXT),
    _column("attempts", Kind.INTEGER),
    _column("call_id", Kind.TEXT),
    _column("refused", Kind.TEXT),
    _column("detail", Kind.TEXT),
    _column("not_called", Kind.BOOLEAN),
)
"""The columns of ``people-*`` besides the person's own."""

_RESULT_NAMES: Final = frozenset(column.name for column in _RESULTS)
_OUR_NAMES: Final = frozenset(column.name for column in _OURS)
_TIMES: Final = frozenset(column.name for column in _OURS if column.kind is Kind.TIMESTAMP)


def attempts_format(file_format: FileFormat) -> Format:
    """Return the format of attempts and refusals.

    Raises:
        RetellInputError: The format needs a package that is not installed.
    """
    if file_format == "jsonl":
        return JsonLines()
    open_format(file_format, _COMPRESSION)
    return Parquet(_COMPRESSION, columns=ATTEMPT_COLUMNS, table=_attempt_table)


def people_format(file_format: FileFormat, own: Iterable[str]) -> Format:
    """Return the format of people.

    Args:
        file_format: The task's ``file_format``.
        own: The people's own columns, in their order; those that are also columns of the results are written once.
    """
    if file_format == "jsonl":
        return JsonLines()
    texts = [_column(name, Kind.TEXT) for name in dict.fromkeys(own) if name not in _RESULT_NAMES]

    def people_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
        for each in texts:
            yield each.name, [_text(row.get(each.name)) for row in rows]
        for each in _RESULTS:
            yield each.name, [row.get(each.name) for row in rows]

    return Parquet(_COMPRESSION, columns=(*texts, *_RESULTS), table=people_table)


def attempt_of(values: Mapping[str, Any], *, parquet: bool) -> dict[str, Any]:
    """Return a row read from ``attempts-*`` in the form it was written from, without empty columns."""
    if not parquet:
        return dict(values)
    ours = {each.name: values[each.name] for each in _OURS if values.get(each.name) is not None}
    return row_of(values) | {name: _iso(value) if name in _TIMES else value for name, value in ours.items()}


def _attempt_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    yield from table([{name: value for name, value in row.items() if name not in _OUR_NAMES} for row in rows])
    for name in _OUR_NAMES:
        values = [row.get(name) for row in rows]
        yield name, [_moment(value) for value in values] if name in _TIMES else values


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json_text(value)


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(value)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _iso(value: datetime) -> str:
    return value.isoformat()
