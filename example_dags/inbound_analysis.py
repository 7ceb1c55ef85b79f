"""Inbound calls into a table within a minute of their analysis, without a schedule: Airflow 3 watches for them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_retell.errors import RetellNotFoundError
from airflow_provider_retell.events import FinishedCall, finished_calls
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.triggers import RetellFinishedCallsTrigger

INBOUND = "retell://retell_default/inbound"
trigger = RetellFinishedCallsTrigger(INBOUND, direction="inbound", wait_for="analyzed", poll_interval=15)
inbound = Asset(INBOUND, watchers=[AssetWatcher(name="inbound", trigger=trigger)])

CREATE = "CREATE TABLE IF NOT EXISTS inbound (call_id PRIMARY KEY, outcome, seconds, summary, sentiment, said)"
LOAD = """INSERT OR REPLACE INTO inbound
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(:rows)"""

with DAG(
    dag_id="retell_inbound_analysis",
    description=__doc__,
    schedule=[inbound],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,  # one run at a time, so that a call announced twice is not written twice at once
    tags=["retell"],
) as dag:

    @task
    def read(triggering_asset_events: Any = None) -> list[FinishedCall]:
        """Return the calls that started this run, each once."""
        return finished_calls(triggering_asset_events)

    @task(retries=3, show_return_value_in_logs=False)  # keep what people say out of the log
    def extract(calls: list[FinishedCall]) -> list[list[Any]]:
        """Return a row of the table for each call."""
        rows = []
        with RetellHook() as hook:
            for announced in calls:
                with suppress(RetellNotFoundError):  # deleted since
                    call = hook.get_call(announced["call_id"])
                    found = call.model_dump()["call_analysis"] or {}
                    summary, sentiment = found.get("call_summary"), found.get("user_sentiment")
                    said = [turn["content"] for turn in call.transcript_object or [] if turn["role"] == "user"]
                    seconds = (call.duration_ms or 0) / 1000
                    rows.append([call.call_id, announced["outcome"], seconds, summary, sentiment, " ".join(said)])
        return rows

    SQLExecuteQueryOperator(
        task_id="load",
        conn_id="sqlite_default",
        sql=[CREATE, LOAD],
        parameters={"rows": "{{ ti.xcom_pull(task_ids='extract') | tojson }}"},
    ).set_upstream(extract(read()))
