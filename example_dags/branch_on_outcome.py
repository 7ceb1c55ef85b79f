"""Branch on the outcome of a call: answered, voicemail, no answer, or anything else."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task  # on Airflow 3: from airflow.sdk import ...

from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator

BRANCHES = {
    "answered": "thank_them",
    "voicemail": "send_a_message",
    "no_answer": "try_tomorrow",
    "busy": "try_tomorrow",
}

with DAG(
    dag_id="retell_branch_on_outcome",
    description=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"to_number": Param("+14155550110", type="string", pattern=r"^\+[1-9]\d{6,14}$")},
    tags=["retell"],
) as dag:
    # The operator can wait by itself, without a sensor.
    call = RetellRegisterPhoneCallOperator(
        task_id="call",
        agent_id=os.environ.get("RETELL_AGENT_ID", "agent_example"),
        to_number="{{ params.to_number }}",
        wait_for="ended",
        poll_interval=5,
        deferrable=True,
    )

    @task.branch
    def choose(row: dict[str, Any]) -> str:
        """Return the task for this outcome."""
        return BRANCHES.get(row["outcome"], "look_into_it")

    chosen = choose(call.output)
    for task_id in sorted({*BRANCHES.values(), "look_into_it"}):

        @task(task_id=task_id)
        def follow_up(row: dict[str, Any]) -> str:
            """Placeholder for what your DAG does next."""
            return row["call_id"]

        chosen >> follow_up(call.output)
