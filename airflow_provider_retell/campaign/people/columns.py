"""Check the columns of a file of people, and read its cells. Pure: the caller reads the file.

===================================================  ===========================================================
a column                                             is
===================================================  ===========================================================
named as a field of a person                         that field; objects are JSON, such as ``{"name": "Ada"}``
named nearly so, such as ``phone`` or ``to_numer``   refused, with the name that was probably meant
``idempotency_key``                                  refused: each attempt has a key of its own
there twice                                          refused
of the results in a ``people-*`` file                left out, if all of them are there; who asked never to be
                                                     called again is refused
of any other name                                    a dynamic variable, as in Retell's own batch files
===================================================  ===========================================================

An empty cell is absent, and so are null and NaN.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.requests import CreatePhoneCallRequest
from airflow_provider_retell.errors import RetellInputError

REQUEST_FIELDS: Final = tuple(name for name in CreatePhoneCallRequest.model_fields if name != "idempotency_key")
"""Fields of the request that a person may have; see https://docs.retellai.com/api-references/create-phone-call."""

VARIABLES: Final = "retell_llm_dynamic_variables"
OBJECTS: Final = frozenset({"agent_override", "metadata", VARIABLES, "custom_sip_headers"})
OWN_FIELDS: Final = (*REQUEST_FIELDS, "person_id", "time_zone", "not_before", "not_after")
DRY_RUN_COLUMN: Final = "earliest_call_at"
"""The column that ``people-*`` has only after a dry run."""

RESULT_COLUMNS: Final = frozenset({"outcome", "attempts", "call_id", "refused", "detail", "not_called"})
"""The columns of ``people-*`` besides the person's own."""

_ALIASES: Final = {
    **dict.fromkeys(("phone", "phonenumber", "telephone", "tel", "msisdn", "recipient"), "to_number"),
    **dict.fromkeys(("timezone", "tz", "zone"), "time_zone"),
    **dict.fromkeys(("agent", "agentid"), "override_agent_id"),
    **dict.fromkeys(("agentversion",), "override_agent_version"),
    **dict.fromkeys(("dynamicvariables", "variables", "llmdynamicvariables"), VARIABLES),
    **dict.fromkeys(("sipheaders", "customheaders"), "custom_sip_headers"),
    **dict.fromkeys(("personid", "pid"), "person_id"),
    **dict.fromkeys(("callafter", "earliest"), "not_before"),
    **dict.fromkeys(("callbefore", "latest"), "not_after"),
}
_ALIKE: Final = 0.88
"""The least similarity of a typo to the name that was meant: one wrong letter in nine."""

SEPARATORS: Final = ",;\t|"


def separator(header: str) -> str:
    """Return the separator of a CSV file, found in its first line.

    >>> separator("to_number;name")
    ';'

    Raises:
        RetellInputError: There is no column ``to_number``, whatever the separator.
    """
    for each in SEPARATORS:
        if "to_number" in (name.strip() for name in next(csv.reader([header], delimiter=each), [])):
            return each
    named = max((next(csv.reader([header], delimiter=each), []) for each in SEPARATORS), key=len)
    check_columns([name.strip() for name in named])
    raise _no_number(named)


def check_columns(names: Sequence[str], *, to_number: bool = True) -> None:
    """Raise ``RetellInputError`` unless the columns of a file can be read.

    Args:
        names: The columns.
        to_number: Whether the column ``to_number`` must be there; objects of a JSON Lines file may leave it out.
    """
    _check(tuple(names))
    if to_number and "to_number" not in names:
        raise _no_number(names)


def _no_number(names: Sequence[str]) -> RetellInputError:
    columns = ", ".join(shown(name) for name in names[:20]) or "none"
    return RetellInputError(f"The file has no column to_number. Its columns: {columns}.")


@lru_cache(maxsize=1024)
def _check(names: tuple[str, ...]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise RetellInputError(f"The file has the column {shown(name)} {times} times. Keep only one of them.")
        if not name.strip():
            raise RetellInputError("The file has a column without a name. Name it, or leave it out.")
        if name == "idempotency_key":
            raise RetellInputError("The file has a column idempotency_key. Remove it: each attempt has its own.")
        meant = nearly(name)
        if meant is not None:
            raise RetellInputError(
                f"The file has a column {shown(name)}, which is nearly {meant}. Rename it to {meant}; or, if "
                "it is a dynamic variable, to something else."
            )


def nearly(name: str) -> str | None:
    """Return the field that a name probably means; None if the name is a field, or resembles none.

    >>> nearly("to_numer")
    'to_number'
    """
    if name in OWN_FIELDS:
        return None
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    fields = {field.replace("_", ""): field for field in OWN_FIELDS}
    if meant := fields.get(plain) or _ALIASES.get(plain):
        return meant
    alike = difflib.get_close_matches(plain, fields, n=1, cutoff=_ALIKE)
    return fields[alike[0]] if alike else None


def from_csv(names: Sequence[str], cells: Sequence[str], *, line: int) -> dict[str, Any]:
    """Return a line of a CSV file as a row.

    Args:
        names: The columns.
        cells: The cells of the line; missing ones at its end are empty.
        line: The number of the line, for the error.

    Raises:
        RetellInputError: The line has more cells than there are columns, so some are in the wrong column.
    """
    if any(cell.strip() for cell in cells[len(names) :]):
        raise RetellInputError(
            f"Line {line} of the file has {len(cells)} cells, and there are {len(names)} columns. A "
            "cell that contains a separator must be in quotes."
        )
    return row(dict(zip(names, cells, strict=False)))


def row(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a file without empty cells; the results of an earlier campaign stay for ``read_person``."""
    results = result_columns(given)
    return {name: value for name, value in given.items() if name in results or not absent(value)}


def result_columns(names: Collection[str]) -> frozenset[str]:
    """Return which columns are results of an earlier campaign; none unless all of them are there."""
    return RESULT_COLUMNS | {DRY_RUN_COLUMN} if RESULT_COLUMNS.issubset(names) else frozenset()


def absent(value: object) -> bool:
    """Return whether a cell is empty: null, blank, or NaN, as pandas and Parquet write it."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    not_a_value = isinstance(value, float | datetime | Decimal) and value != value  # noqa: PLR0124 (NaN, NaT)
    return not_a_value or type(value).__name__ == "NAType"


def as_variable(value: object) -> str:
    """Return a cell as the text of a dynamic variable.

    A whole number that Parquet or pandas turned into a float is written as a whole number, ``true`` and ``false``
    as in JSON, times in ISO 8601.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case int() | float() | Decimal():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
    return json.dumps(value, default=str, ensure_ascii=False)


def as_object(name: str, value: object) -> Mapping[str, Any]:
    """Return a cell that must be a JSON object; raise ``ValueError`` if it is not."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f'{name} must be a JSON object, such as {{"name": "Ada"}}') from None
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a JSON object, not {type(value).__name__}")  # noqa: TRY004
    return value
