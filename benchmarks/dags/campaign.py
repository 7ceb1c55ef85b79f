"""This package: one task that calls all people of a file."""

from airflow.sdk import DAG

from airflow_provider_retell.operators import RetellCampaignOperator

LINES = 400
POLL_INTERVAL = 2

with DAG("campaign", schedule=None, params={"people": "", "path": ""}):
    RetellCampaignOperator(
        task_id="call",
        people="{{ params.people }}",
        path="{{ params.path }}",
        from_number="+12025550199",
        lines=LINES,
        calls_per_second=LINES,
        poll_interval=POLL_INTERVAL,
    )
