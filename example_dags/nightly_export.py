"""Every night: yesterday's calls as a Parquet file, a summary by DuckDB, and a plot of outcomes by hour."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task  # on Airflow 3: from airflow.sdk import ...
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_retell.transfers import RetellCallsToObjectStorageOperator

FOLDER = os.environ.get("RETELL_EXPORTS", f"{tempfile.gettempdir()}/retell_exports")
BY_HOUR = """
SELECT hour(start_timestamp AT TIME ZONE 'UTC'), outcome, count(*), sum(duration_ms) / 60000,
sum((call_cost->>'combined_cost')::DOUBLE) / 100 FROM read_parquet($files) GROUP BY ALL ORDER BY ALL"""

with DAG(
    dag_id="retell_nightly_export",
    description=__doc__,
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["retell"],
) as dag:
    export = RetellCallsToObjectStorageOperator(
        task_id="export",
        path=f"{FOLDER}/{{{{ data_interval_start | ds }}}}",
        file_format="parquet",
        mask_numbers=True,
        deferrable=True,
        outlets=[Asset("retell://retell_default/exports")],
    )

    @task
    def summarise(exported: dict[str, Any]) -> list[list[Any]]:
        """Return hour, outcome, calls, minutes and dollars."""
        import duckdb  # noqa: PLC0415 (a DAG file should not import what only a task needs)

        return [list(row) for row in duckdb.connect().execute(BY_HOUR, {"files": exported["paths"]}).fetchall()]

    @task
    def plot(rows: list[list[Any]], folder: str) -> None:
        """Plot the outcomes of each hour."""
        from matplotlib.figure import Figure  # noqa: PLC0415 (as above)

        axes = (figure := Figure(figsize=(10, 5), layout="constrained")).add_subplot()
        below = [0] * 24
        for outcome in sorted({row[1] for row in rows}):
            calls = [sum(row[2] for row in rows if row[:2] == [hour, outcome]) for hour in range(24)]
            axes.bar(range(24), calls, bottom=below, label=outcome)
            below = [low + high for low, high in zip(below, calls, strict=True)]
        axes.set(title=folder, xlabel="hour (UTC)", ylabel="calls", xticks=range(24))
        axes.legend(ncols=2)
        figure.savefig(f"{folder}/outcomes.png")

    plot(summarise(export.output), str(export.path))
