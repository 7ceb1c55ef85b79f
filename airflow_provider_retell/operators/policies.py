"""Checks of the policies that an operator is given, made when the DAG is parsed."""

from __future__ import annotations

from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.policy import CallingHours


def check_calling_hours(given: object) -> CallingHours | None:
    """Return the calling hours, else raise ``RetellInputError``."""
    if given is None or isinstance(given, CallingHours):
        return given
    raise RetellInputError(
        f'calling_hours takes CallingHours, such as CallingHours("09:00", "20:00"), not {shown(given)}.'
    )
