"""Check times and numbers in the arguments of a policy."""

from __future__ import annotations

from datetime import timedelta

from airflow_provider_retell.policy.refusals import input_error


def check_duration(argument: str, given: object, *, zero: bool = False) -> timedelta:
    """Return a positive time (or zero, if that is allowed), else raise ``RetellInputError``."""
    if not isinstance(given, timedelta) or given < timedelta(0) or (not given and not zero):
        least = "of zero or more" if zero else "over zero"
        raise input_error(f"{argument} must be a time {least}, such as timedelta(hours=2), not {given!r}.")
    # A subclass, such as pendulum's, has its own repr and arithmetic.
    return timedelta(days=given.days, seconds=given.seconds, microseconds=given.microseconds)


def check_count(argument: str, given: object) -> int:
    """Return a whole number of 1 or more, else raise ``RetellInputError``."""
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise input_error(f"{argument} must be a whole number of 1 or more, not {given!r}.")
    return given


def code(time: timedelta) -> str:
    """Return a time as one writes it in a DAG.

    >>> code(timedelta(minutes=90))
    'timedelta(hours=1, minutes=30)'
    """
    minutes, seconds = divmod(time.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = {
        "days": time.days,
        "hours": hours,
        "minutes": minutes,
        "seconds": seconds,
        "microseconds": time.microseconds,
    }
    return f"timedelta({', '.join(f'{name}={value}' for name, value in parts.items() if value)})"
