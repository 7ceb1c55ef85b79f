"""Read a person of a campaign from a mapping or a row of a file, and refuse one who cannot be called. Pure.

A row that cannot be called is a refused person, not an error: nine thousand others are still to be called.

=================================================  =============================================================
``to_number``                                      the person
=================================================  =============================================================
``+1 415 555 0100``, ``001 (415) 555-0100``        ``+14155550100``
``(415) 555-0100``                                 ``bad_number``, unless ``region`` names the country
``14155550100.0``, ``1.4155550100E+10``, a float   ``bad_number``: a spreadsheet has turned it into a quantity
``+14155550100 ext. 5``                            ``bad_number``: an extension cannot be dialed
empty, null, NaN                                   ``bad_number``
=================================================  =============================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from airflow_provider_retell._masking import shown
from airflow_provider_retell.campaign.people.columns import (
    OBJECTS,
    OWN_FIELDS,
    REQUEST_FIELDS,
    VARIABLES,
    absent,
    as_object,
    as_variable,
    nearly,
    result_columns,
)
from airflow_provider_retell.errors import RetellInputError, RetellTimeZoneError
from airflow_provider_retell.policy.numbers import e164
from airflow_provider_retell.policy.zones import check_zone

T = TypeVar("T")

_FIRST_YEAR, _LAST_YEAR = 2000, 2100
"""The years of calls: others stand for "open" or "never", are mistakes, and are more than a datetime can hold."""


class Refusal(StrEnum):
    """The reason why a person is not called at all."""

    DO_NOT_CALL = "do_not_call"
    OUTSIDE_HOURS = "outside_hours"
    """The hours never opened before ``until``, or the person's ``not_after``."""
    ATTEMPT_LIMIT = "attempt_limit"
    NOT_ELIGIBLE = "not_eligible"
    NO_TIME_ZONE = "no_time_zone"
    BAD_NUMBER = "bad_number"
    BAD_REQUEST = "bad_request"
    """One of the person's own fields cannot be sent, or Retell refuses it."""
    DUPLICATE = "duplicate"
    """An earlier row has the same number, or the same id."""
    CHANGED = "changed"
    """This id was called at another number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One row of the people.

    Attributes:
        row: The index of the row, counted from 0.
        to_number: In E.164 form; as given if ``refused``.
        person_id: The number if none was given.
        time_zone: The person's own, None to use those of the number.
        not_before: Seconds since the epoch.
        not_after: Seconds since the epoch.
        given: The row as JSON, for the request and for the results: compact, because there may be 100,000.
        refused: Why this row cannot be called, if the row itself is the reason.
        detail: The reason in words.
    """

    row: int
    to_number: str
    person_id: str
    time_zone: str | None = None
    not_before: float | None = None
    not_after: float | None = None
    given: bytes = b"{}"
    refused: Refusal | None = None
    detail: str = ""


def read_person(
    row: int, given: Mapping[str, Any], *, region: str | None = None, from_file: bool = False
) -> Person:
    """Return the person in a row; one who cannot be called is refused, with the reason.

    Args:
        row: The index of the row, counted from 0.
        given: The fields: those of the create operator, ``person_id``, ``time_zone``, ``not_before``,
            ``not_after``.
        region: The country of numbers in a national form, such as ``"US"``.
        from_file: Whether other fields are dynamic variables.

    Raises:
        RetellInputError: The row is not a mapping, or has an unknown field: a mistake in the DAG.
    """
    if not isinstance(given, Mapping):
        raise RetellInputError(f"people takes mappings, such as {{'to_number': '+1...'}}, not {shown(given)}.")
    results = result_columns(given)
    fields = {name: value for name, value in given.items() if not absent(value) and name not in results}
    if not from_file:
        _check_names(row, fields)
    fields |= {name: _text(fields[name]) for name in ("person_id", "time_zone") if name in fields}
    problems: list[tuple[Refusal, str]] = []
    if results and Refusal.DO_NOT_CALL in {given["outcome"], given["refused"]}:
        problems.append(
            (Refusal.DO_NOT_CALL, "refused, or asked never to be called again, in an earlier campaign")
        )
    raw, time_zone = fields.get("to_number"), fields.get("time_zone")
    number = _attempt(problems, Refusal.BAD_NUMBER, lambda: _number(raw, region)) or _text(raw or "")
    times = _attempt(problems, Refusal.BAD_REQUEST, lambda: _times(fields, time_zone)) or (None, None)
    for name in sorted(OBJECTS & fields.keys()):
        found = _attempt(problems, Refusal.BAD_REQUEST, partial(as_object, name, fields[name]))
        fields[name] = fields[name] if found is None else found
    text = _attempt(problems, Refusal.BAD_REQUEST, lambda: _json(fields)) or b"{}"
    refused, detail = problems[0] if problems else (None, "")
    return Person(
        row=row,
        to_number=_encodable(number),
        person_id=_encodable(fields.get("person_id") or number),
        time_zone=time_zone,
        not_before=times[0],
        not_after=times[1],
        given=text,
        refused=refused,
        detail=detail,
    )


def _attempt(problems: list[tuple[Refusal, str]], reason: Refusal, read: Callable[[], T]) -> T | None:
    """Return the value of a field; if it cannot be read, note the problem and return None."""
    try:
        return read()
    except RetellTimeZoneError as error:
        problems.append((Refusal.NO_TIME_ZONE, str(error)))
    except (TypeError, ValueError) as error:
        problems.append((reason, str(error)))
    return None


def request_fields(person: Person) -> dict[str, Any]:
    """Return the request fields in a person's row, with the number in E.164 form.

    Columns of a file that are not fields are dynamic variables. A column overrides a key of the same name in the
    object ``retell_llm_dynamic_variables``.
    """
    given = json.loads(person.given)
    fields = {name: given[name] for name in REQUEST_FIELDS if name in given}
    columns = {name: as_variable(value) for name, value in given.items() if name not in OWN_FIELDS}
    if columns:
        fields[VARIABLES] = {**fields.get(VARIABLES, {}), **columns}
    return fields | {"to_number": person.to_number}


def own_columns(person: Person) -> dict[str, Any]:
    """Return a person's row as it was given, for the results."""
    columns: dict[str, Any] = json.loads(person.given)
    return columns


def _check_names(row: int, fields: Mapping[str, Any]) -> None:
    for name in fields:
        if name in OWN_FIELDS:
            continue
        meant = nearly(str(name))
        hint = f"Did you mean {meant}?" if meant else f"Dynamic variables go into {VARIABLES}."
        raise RetellInputError(
            f"people[{row}] has an unknown field {shown(name)}. {hint} The fields: {', '.join(OWN_FIELDS)}."
        )


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, default=as_variable, ensure_ascii=False, separators=(",", ":")).encode()


def _text(value: object) -> str:
    return as_variable(value).strip()


def _encodable(text: str) -> str:
    """Return a text that every file can hold: half of a surrogate pair, as a cut emoji leaves it, is escaped."""
    return text.encode(errors="backslashreplace").decode()


def _number(value: object, region: str | None) -> str:
    if value is None:
        raise ValueError("no to_number is given")
    return e164(value, region)


def _times(fields: Mapping[str, Any], time_zone: str | None) -> tuple[float | None, float | None]:
    not_before, not_after = (_moment(name, fields.get(name), time_zone) for name in ("not_before", "not_after"))
    if not_before is not None and not_after is not None and not_before >= not_after:
        raise ValueError("not_before is not before not_after")
    return not_before, not_after


def _moment(name: str, value: object, time_zone: str | None) -> float | None:
    """Return seconds since the epoch; a time without an offset is in the person's zone, or in UTC without one."""
    if value is None:
        return None
    try:
        # A date alone is not a time, because it does not say whether the day itself is included.
        dated = isinstance(value, str) and len(value.strip()) <= len("2026-07-06")
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) and not dated else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError(  # noqa: TRY004 (one error for everything wrong with a row)
            f"{name} must be a time in ISO 8601, such as 2026-07-06T10:00:00-07:00, not {shown(value)}"
        )
    if name == "not_after" and moment.year >= _LAST_YEAR:
        return None  # as databases write that there is no end
    if not _FIRST_YEAR <= moment.year < _LAST_YEAR:
        raise ValueError(f"{name} must be in the years {_FIRST_YEAR} to {_LAST_YEAR - 1}, not {shown(value)}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC if time_zone is None else ZoneInfo(check_zone(time_zone)))
    return moment.timestamp()
