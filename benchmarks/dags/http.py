"""Airflow's HTTP provider: an operator and a sensor for each call."""

import json

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG
from people import INTERVAL, NUMBERS, OVER

with DAG("http", schedule=None):
    registered = HttpOperator.partial(
        task_id="register",
        http_conn_id="retell_http",
        endpoint="v2/register-phone-call",
        headers={"Content-Type": "application/json"},
        response_filter=lambda response: response.json()["call_id"],
    ).expand(data=[json.dumps({"agent_id": "agent_1", "to_number": number}) for number in NUMBERS])
    HttpSensor.partial(
        task_id="wait",
        http_conn_id="retell_http",
        method="GET",
        response_check=lambda response: response.json()["call_status"] in OVER,
        poke_interval=INTERVAL,
    ).expand(endpoint=registered.output.map(lambda call_id: f"v2/get-call/{call_id}"))
