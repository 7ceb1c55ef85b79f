"""From call to table: register, wait for the analysis, extract what was said, load one row per call."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task  # on Airflow 3: from airflow.sdk import ...
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.sensors import RetellCallSensor

CREATE = """
CREATE TABLE IF NOT EXISTS calls
(call_id TEXT PRIMARY KEY, outcome TEXT, seconds REAL, summary TEXT, sentiment TEXT, said_by_person TEXT)"""
LOAD = """
INSERT OR REPLACE INTO calls
VALUES (:call_id, :outcome, :seconds, :summary, :sentiment, :said_by_person)"""

with DAG(
    dag_id="retell_call_to_table",
    description=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    tags=["retell"],
) as dag:
    register = RetellRegisterPhoneCallOperator(
        task_id="register",
        agent_id=os.environ.get("RETELL_AGENT_ID", "agent_example"),
        to_number="+14155550100",
    )
    wait = RetellCallSensor(
        task_id="wait",
        call_id=register.output,
        wait_for="analyzed",
        include=("transcript_object",),
        poke_interval=5,
        deferrable=True,
    )

    @task(show_return_value_in_logs=False)  # keep what people say out of the log
    def extract(row: dict[str, Any]) -> dict[str, Any]:
        """Return what the table needs; an unanswered call has neither transcript nor analysis."""
        said = [turn["content"] for turn in row.get("transcript_object") or [] if turn["role"] == "user"]
        analysis = row.get("call_analysis") or {}
        return {
            "call_id": row["call_id"],
            "outcome": row["outcome"],
            "seconds": (row.get("duration_ms") or 0) / 1000,
            "summary": analysis.get("call_summary"),
            "sentiment": analysis.get("user_sentiment"),
            "said_by_person": " ".join(said),
        }

    SQLExecuteQueryOperator(
        task_id="load", conn_id="sqlite_default", sql=[CREATE, LOAD], parameters=extract(wait.output)
    )
