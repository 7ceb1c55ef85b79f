"""Campaigns of people from a file: blocking and deferrable, for some hundreds and for ten thousand.

A run is given its connection, its people and its folder.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.retry_policy import RetellRetryPolicy

GIVEN: dict[str, Any] = {"conn": "", "people": "", "path": ""}
# The delay of a retry after an error, and of one after a worker that died.
POLICY = {"retry_policy": RetellRetryPolicy(first_delay=timedelta(seconds=2))}
RETRIES: dict[str, Any] = {"retries": 6, "retry_delay": timedelta(seconds=2)} | POLICY

for deferrable, name in ((False, "campaign_blocking"), (True, "campaign_deferrable")):
    for many, suffix in ((False, ""), (True, "_many")):
        with DAG(name + suffix, schedule=None, default_args=RETRIES, params=GIVEN):
            RetellCampaignOperator(
                task_id="call",
                retell_conn_id="{{ params.conn }}",
                people="{{ params.people }}",
                path="{{ params.path }}",
                from_number="+12025550199",
                lines=400 if many else 20,
                calls_per_second=400 if many else 20,
                poll_interval=1,
                deferrable=deferrable,
            )
