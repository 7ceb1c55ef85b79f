"""The errors of a policy. Their classes are Airflow's too, and so are imported when there is one to raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_retell.errors import RetellInputError, RetellTimeZoneError


def input_error(message: str) -> RetellInputError:
    """Return the error for an argument that cannot be read."""
    from airflow_provider_retell.errors import RetellInputError  # noqa: PLC0415 (as said above)

    return RetellInputError(message)


def time_zone_error(message: str) -> RetellTimeZoneError:
    """Return the error for a person whose time zone is not known."""
    from airflow_provider_retell.errors import RetellTimeZoneError  # noqa: PLC0415 (as said above)

    return RetellTimeZoneError(message)
