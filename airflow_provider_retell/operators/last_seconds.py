"""The last seconds of a killed task: the limits, and the client that stops its calls."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell.provider.ownership import owns_task

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.api.settings import ConnectionSettings

log = logging.getLogger(__name__)

_ONE_RESPONSE: Final = 2.0
"""Seconds for one response, because Airflow gives a killed task five for everything."""

LAST_SECONDS: Final = 4.0
"""Maximum seconds for which a killed task waits until its calls are stopped."""


def last_client(context: Mapping[str, Any], settings: ConnectionSettings) -> RetellClient | None:
    """Return a client for the last requests of a killed task; None if another process has the task by now.

    The task's own client may be in the middle of a request. On Airflow 3, call this in a thread, never in a signal
    handler.

    Args:
        context: Airflow's context.
        settings: The connection of the calls.
    """
    # Imported here: every process that parses a DAG imports this module, and few tasks are killed.
    from airflow_provider_retell.api.client import RetellClient  # noqa: PLC0415

    if owns_task(context["ti"], context.get("task_state_store")) is False:
        return None
    return RetellClient(replace(settings, timeout=_ONE_RESPONSE, max_attempts=1))
