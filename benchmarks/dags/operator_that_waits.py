"""This package: an operator for each call, which waits for its end."""

from airflow.sdk import DAG
from people import INTERVAL, NUMBERS

from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator

with DAG("operator_that_waits", schedule=None):
    RetellRegisterPhoneCallOperator.partial(
        task_id="call", agent_id="agent_1", wait_for="ended", poll_interval=INTERVAL, deferrable=True
    ).expand(to_number=NUMBERS)
