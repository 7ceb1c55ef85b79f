"""The filters, the order and the page size of a list request. Pure.

See https://docs.retellai.com/api-references/list-calls
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError

MAX_PAGE_SIZE: Final = 1000
"""The most calls that Retell lists in one response; its default is 50."""


def any_of(values: str | Sequence[str]) -> dict[str, Any]:
    """Return the filter that passes any of the given words: a sequence, or one word."""
    # A single word is a sequence too, of letters.
    return {"type": "enum", "op": "in", "value": [values] if isinstance(values, str) else list(values)}


def text(value: str) -> dict[str, Any]:
    """Return the filter for a text."""
    return {"type": "string", "op": "eq", "value": value}


def metadata_filter(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the filters for values of top-level metadata.

    Raises:
        RetellInputError: A value is not a string, a number or a boolean.
    """
    return [{"key": key, **_equal(key, value)} for key, value in metadata.items()]


def _equal(key: str, value: Any) -> dict[str, Any]:
    kind = {bool: "boolean", int: "number", float: "number", str: "string"}.get(type(value))
    if kind is None:
        raise RetellInputError(
            f"list_calls compares metadata with strings, numbers and booleans, "
            f"but {shown(key)} is of type {type(value).__name__}."
        )
    return {"type": kind, "op": "eq", "value": value}


def between(first: int | None, before: int | None) -> dict[str, Any] | None:
    """Return the filter for an integer from ``first`` to just below ``before``, None without either."""
    if first is None and before is None:
        return None
    if before is None:
        return {"type": "number", "op": "ge", "value": first}
    if first is None:
        return {"type": "number", "op": "lt", "value": before}
    return {"type": "range", "op": "bt", "value": [first, before - 1]}


def criteria(
    given: Mapping[str, Any], named: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the part of a body that holds the filters; empty if there are none.

    Args:
        given: Filters in Retell's own form.
        named: Filters made from arguments, by Retell's name; None for those that were not given.
        arguments: The values given, by argument. An empty value is refused: it would filter nothing.

    Raises:
        RetellInputError: An argument is empty, or a filter is given in both ways.
    """
    for argument, value in arguments.items():
        if value is not None and not isinstance(value, bool | int) and not value:
            raise RetellInputError(
                f"{argument} is empty and would filter nothing. Leave it out to list without it. Nothing was sent."
            )
    made = {name: criterion for name, criterion in named.items() if criterion is not None}
    if twice := sorted(made.keys() & given.keys()):
        raise RetellInputError(
            f"filter_criteria has {', '.join(twice)}, which another argument gives too. Nothing was sent."
        )
    found = {**made, **given}
    return {"filter_criteria": found} if found else {}


def page_body(page_size: int, sort_order: str | None) -> dict[str, Any]:
    """Return the part of a body that asks for a page.

    Raises:
        RetellInputError: The page size is not 1 to 1000.
    """
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise RetellInputError(f"page_size must be 1 to {MAX_PAGE_SIZE}, got {page_size}.")
    return {"limit": page_size} | ({} if sort_order is None else {"sort_order": sort_order})
