"""This package: an operator for each call, a sensor for all."""

from airflow.sdk import DAG
from people import INTERVAL, NUMBERS

from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.sensors import RetellCallSensor

with DAG("register_and_sensor", schedule=None):
    registered = RetellRegisterPhoneCallOperator.partial(task_id="register", agent_id="agent_1").expand(
        to_number=NUMBERS
    )
    RetellCallSensor(task_id="wait", call_id=registered.output, poke_interval=INTERVAL, deferrable=True)
