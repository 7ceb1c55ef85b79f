"""Retell's own SDK in a Python task for each call."""

import time

from airflow.sdk import DAG, BaseHook, task
from people import INTERVAL, NUMBERS, OVER

with DAG("sdk", schedule=None):

    @task
    def call(number: str) -> str:
        """Register the call, and read it until it is over."""
        from retell import Retell  # noqa: PLC0415 (as users do, to keep the DAG file light)

        connection = BaseHook.get_connection("retell_default")
        client = Retell(api_key=connection.password, base_url=connection.host)
        call_id = client.call.register_phone_call(agent_id="agent_1", to_number=number).call_id
        while client.call.retrieve(call_id).call_status not in OVER:
            time.sleep(INTERVAL)
        return call_id

    call.expand(number=NUMBERS)
