"""Checks of arguments, made when the DAG is parsed: durations, flags, lists of words. Pure: no I/O.

======================  ==============================================  =======================================
check                   accepted                                        refused
======================  ==============================================  =======================================
``seconds``             0 to 366 days, as seconds or a timedelta        text, bool, NaN, infinity, below 0
``flag``                ``True``, ``False``                             everything else, text included
``rendered_flag``       the same; what Airflow's own booleans may be:   everything else, an empty text included
                        ``true``, ``t``, ``1``, ``false``, ``f``, ``0``
``choice``              one of the words                                everything else
``words``               one of the words, or an iterable of them;       everything else: other words, an empty
                        ``None`` for none                               text, None in a list
======================  ==============================================  =======================================

These raise ``RetellInputError``, which names the argument.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar

from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError

LONGEST_DURATION: Final = timedelta(days=366)
"""Upper bound of a duration. No call, wait or pause of a task lasts longer: more is a mistake of units."""

Choice = TypeVar("Choice", bound=str)

_TRUE: Final = frozenset({"true", "t", "1"})
_FALSE: Final = frozenset({"false", "f", "0"})
"""The words of Airflow's ``conf.getboolean``."""


def seconds(argument: str, value: float | timedelta) -> float:
    """Return a duration in seconds.

    >>> seconds("timeout", timedelta(minutes=1)), seconds("timeout", 5)
    (60.0, 5.0)
    """
    given = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:
        raise RetellInputError(
            f"{argument} must be a non-negative number of seconds or a timedelta, not {shown(value)}."
        )
    if given > LONGEST_DURATION.total_seconds():
        raise RetellInputError(
            f"{argument} must be at most {LONGEST_DURATION.days} days, in seconds or as a timedelta, "
            f"not {shown(value)}."
        )
    return float(given)


def number(argument: str, value: Any, *, above: float, whole: bool = False) -> Any:
    """Return a number, else raise ``RetellInputError``; ``whole`` allows integers only."""
    kind = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kind) or not above < value < math.inf:
        what = "a whole number" if whole else "a number"
        raise RetellInputError(f"{argument} must be {what} above {above:g}, not {shown(value)}.")
    return value


def flag(argument: str, value: bool) -> bool:
    """Return a flag; text is refused, because ``"False"`` would count as true."""
    if not isinstance(value, bool):
        raise RetellInputError(f"{argument} must be True or False, not {shown(value)}.")
    return value


def rendered_flag(argument: str, value: object) -> bool:
    """Return a flag that a template may have rendered to text.

    >>> rendered_flag("dry_run", "False"), rendered_flag("dry_run", "1")
    (False, True)
    """
    try:
        return truth(value)
    except ValueError as error:
        raise RetellInputError(f"{argument} {error}, got {shown(value)}. Nothing was sent.") from None


def truth(value: object) -> bool:
    """Return the boolean in a rendered value, read as Airflow reads its own.

    Raises:
        ValueError: It is not a boolean.

    See https://airflow.apache.org/docs/apache-airflow/stable/howto/set-config.html
    """
    match value:
        case bool():
            return value
        case int() | str() if (word := str(value).strip().lower()) in _TRUE | _FALSE:
            return word in _TRUE
    raise ValueError("must be True or False, or a template that renders to true, t, 1, false, f or 0")


def choice(argument: str, given: Choice, allowed: Sequence[str]) -> Choice:
    """Return the word that was given if it is one of those allowed.

    >>> choice("outside_hours", "skip", ["wait", "skip"])
    'skip'
    """
    if not isinstance(given, str) or given not in allowed:
        raise RetellInputError(f"{argument} takes {', '.join(map(repr, allowed))}, not {shown(given)}.")
    return given


def words(argument: str, given: object, *, allowed: Container[str], takes: str) -> tuple[str, ...]:
    """Return the words of an argument that takes one word or several; None stands for no words.

    Args:
        argument: Its name.
        given: What the user wrote.
        allowed: The allowed words.
        takes: The allowed words as a message describes them.

    >>> words("fail_on", "busy", allowed={"busy"}, takes="outcomes (busy)")
    ('busy',)
    """
    items: tuple[object, ...] | None = None
    match given:
        case None:
            items = ()
        case str():
            items = (given,)
        case bytes() | bytearray() | Mapping():
            pass
        case Iterable():
            with suppress(TypeError):  # the output of a task claims to be iterable, and is not
                items = tuple(given)
    for item in (given,) if items is None else items:
        if items is None or not isinstance(item, str) or item not in allowed:
            raise RetellInputError(f"{argument} takes {takes}, not {shown(item)}.")
    return tuple(map(str, items or ()))
