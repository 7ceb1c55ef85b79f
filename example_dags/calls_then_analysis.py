"""Two DAGs: one calls people, the other starts by itself when the calls are over, and counts the outcomes."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, AssetAlias, task  # on Airflow 3: from airflow.sdk import ...

from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.sensors import RetellCallSensor

FINISHED = AssetAlias("retell_finished_calls")  # an alias gets one event per call, an asset one per task

with DAG(
    dag_id="retell_campaign",
    description="Call people.",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    tags=["retell"],
) as dag:
    numbers = ["+14155550100", "+14155550110", "+14155550120"]
    register = RetellRegisterPhoneCallOperator.partial(
        task_id="register",
        agent_id=os.environ.get("RETELL_AGENT_ID", "agent_example"),
        map_index_template="{{ last_digits }}",
    ).expand(to_number=numbers)
    RetellCallSensor(task_id="wait", call_id=register.output, poke_interval=5, deferrable=True, outlets=[FINISHED])

with DAG(
    dag_id="retell_analysis",
    description="Count the outcomes of finished calls.",
    schedule=[FINISHED],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    tags=["retell"],
):

    @task
    def analyse(triggering_asset_events: Any = None) -> dict[str, int]:
        """Count the outcomes of the calls that started this run."""
        return dict(Counter(event.extra["outcome"] for event in triggering_asset_events[FINISHED]))

    analyse()
