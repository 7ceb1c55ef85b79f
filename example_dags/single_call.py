"""Call one person per day; the trigger form asks for the number, the name and the agent."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG, Param  # on Airflow 3: from airflow.sdk import ...

from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.sensors import RetellCallSensor

with DAG(
    dag_id="retell_single_call",
    description=__doc__,
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # catching up would call people about past days
    params={
        "agent_id": Param(
            os.environ.get("RETELL_AGENT_ID", "agent_example"),
            type="string",
            minLength=1,
            title="Agent",
            description="The id of the Retell agent that speaks.",
        ),
        "to_number": Param(
            "+14155550100",
            type="string",
            pattern=r"^\+[1-9]\d{6,14}$",
            title="Number",
            description="The number to call, in E.164 form: + and digits, such as +14155550100.",
        ),
        "name": Param(
            "Ada",
            type="string",
            title="Name",
            description="How the agent addresses the person: {{name}} in its prompt.",
        ),
    },
    tags=["retell"],
) as dag:
    register = RetellRegisterPhoneCallOperator(
        task_id="register",
        agent_id="{{ params.agent_id }}",
        to_number="{{ params.to_number }}",
        direction="outbound",
        retell_llm_dynamic_variables={"name": "{{ params.name }}"},
        metadata={"dag_run": "{{ run_id }}"},
    )
    RetellCallSensor(task_id="wait", call_id=register.output["call_id"], poke_interval=10, deferrable=True)
