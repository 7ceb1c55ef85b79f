"""Confirm appointments: from a table to a campaign, and back into the table; ten people first, then the rest."""

from __future__ import annotations

import json
import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseHook, ObjectStoragePath, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.policy import Redial

FOLDER = os.environ.get("RETELL_CAMPAIGNS", "retell_campaigns")  # yours: s3://bucket/calls
CREATE = """CREATE TABLE IF NOT EXISTS appointments
(id INTEGER PRIMARY KEY, name TEXT, phone TEXT, at TEXT, outcome TEXT, call_id TEXT)"""
SOME = """WITH RECURSIVE n(i) AS (VALUES (151) UNION ALL SELECT i + 1 FROM n WHERE i < 164)
INSERT OR IGNORE INTO appointments SELECT i, 'Ada ' || i, '+12065550' || i, '10:30', NULL, NULL FROM n"""
SELECT = "SELECT id, name, phone, at FROM appointments WHERE outcome IS NULL"
UPDATE = "UPDATE appointments SET outcome = :outcome, call_id = :call_id WHERE id = :person_id"

with DAG(
    "retell_appointments", description=__doc__, start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None
) as dag:
    read = SQLExecuteQueryOperator(task_id="read", conn_id="sqlite_default", sql=[CREATE, SOME, SELECT])

    @task(show_return_value_in_logs=False)  # no phone numbers in the log
    def people(results: Any) -> list[dict[str, Any]]:
        """Return the arguments that differ from call to call; the words for the agent are variables."""
        return [
            {"person_id": key, "to_number": phone, "retell_llm_dynamic_variables": {"name": name, "at": at}}
            for key, name, phone, at in results[-1]
        ]

    call = RetellCampaignOperator(
        task_id="call",
        from_number="+14155550199",
        people=people(read.output),
        path=f"{FOLDER}/{{{{ run_id }}}}",
        limit="{{ var.value.get('retell_limit', 10) }}",  # then set it to None, and clear this task for the rest
        redial=[Redial("no_answer", "busy", after=timedelta(minutes=10), times=1)],
        until=timedelta(hours=11),
        poll_interval=5,
    )

    @task
    def write_back(result: Any) -> None:
        """Write the outcome of each person's last call; people who were not called keep none."""
        with closing(BaseHook.get_hook("sqlite_default").get_conn()) as database, database:
            for path in result["paths"]:
                if "people-" in path:
                    with ObjectStoragePath(path).open("rb") as file:
                        database.executemany(UPDATE, map(json.loads, file.read().splitlines()))

    write_back(call.output)
