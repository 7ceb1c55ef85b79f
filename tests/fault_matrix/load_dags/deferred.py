"""Many tasks that defer while their calls are about to end: the worst case for the scheduler."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_retell.operators import RetellCreatePhoneCallOperator

with DAG("deferred", schedule=None, params={"numbers": []}):
    RetellCreatePhoneCallOperator.partial(
        task_id="call",
        from_number="+12025550199",
        to_number="{{ params.numbers[ti.map_index] }}",
        wait_for="ended",
        deferrable=True,
        poll_interval=1,
        retries=0,
    ).expand(metadata=[{"place": place} for place in range(20)])
