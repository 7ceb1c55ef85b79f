"""Make the errors of a policy. Their classes import Airflow, so they are imported only when an error is raised."""

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
