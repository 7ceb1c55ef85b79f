"""The connections of the benchmarks' Airflow: read from the environment, with a count of the reads."""

from __future__ import annotations

import os
from typing import ClassVar

from airflow.secrets.environment_variables import EnvironmentVariablesBackend


class CountingBackend(EnvironmentVariablesBackend):
    """Read connections from the environment, and count."""

    count: ClassVar[int] = 0

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:  # noqa: ARG002 (Airflow's)
        """Return the connection, if the environment has it."""
        type(self).count += 1
        return os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}")
