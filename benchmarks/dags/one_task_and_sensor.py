"""This package: one task that registers all calls through the hook, a sensor for all."""

from airflow.sdk import DAG, task
from people import INTERVAL, NUMBERS

from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.sensors import RetellCallSensor

with DAG("one_task_and_sensor", schedule=None):

    @task
    def register() -> list[str]:
        """Register one after the other."""
        with RetellHook() as hook:
            requests = [{"agent_id": "agent_1", "to_number": number} for number in NUMBERS]
            return [hook.register_phone_call(request).call_id for request in requests]

    RetellCallSensor(task_id="wait", call_id=register(), poke_interval=INTERVAL, deferrable=True)
