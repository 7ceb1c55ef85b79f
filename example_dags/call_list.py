"""Call a list of people: one mapped task per call, one sensor for all of them, then a report."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task  # on Airflow 3: from airflow.sdk import ...

from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.sensors import RetellCallSensor

with DAG(
    dag_id="retell_call_list",
    description=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={
        "people": Param(
            [
                {"name": "Ada", "number": "+14155550100"},
                {"name": "Grace", "number": "+14155550110"},
                {"name": "Alan", "number": "+14155550120"},
                {"name": "Edsger", "number": "+14155550146"},
            ],
            type="array",
            description="The people to call. Your own DAG reads them from a table.",
        ),
    },
    tags=["retell"],
) as dag:

    @task(show_return_value_in_logs=False)  # no phone numbers in the log
    def people(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the arguments that differ from call to call."""
        listed = (params or {})["people"]
        return [
            {"to_number": person["number"], "retell_llm_dynamic_variables": {"name": person["name"]}}
            for person in listed
        ]

    register = RetellRegisterPhoneCallOperator.partial(
        task_id="register",
        agent_id=os.environ.get("RETELL_AGENT_ID", "agent_example"),
        map_index_template="{{ last_digits }}",
    ).expand_kwargs(people())
    wait = RetellCallSensor(task_id="wait", call_id=register.output, poke_interval=5, deferrable=True)

    @task
    def report(rows: list[dict[str, Any]]) -> dict[str, int]:
        """Count the outcomes."""
        return dict(Counter(row["outcome"] for row in rows))

    report(wait.output)
