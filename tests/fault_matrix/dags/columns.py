"""A DAG per column of the fault matrix: four of this package, and two that users would write instead.

Each has three siblings: `..._mapped` places three calls at once, `..._limited` has a dag-run time-out, `..._timed`
an `execution_timeout`. A run is given its connections, so that the fault of one is not another's.
"""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG, BaseHook, task

from airflow_provider_retell.operators import RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator
from airflow_provider_retell.retry_policy import RetellRetryPolicy

NUMBER = "+12025550100"
FROM = "+12025550199"
ONE = "{{ params.conns[0] }}"
EACH = "{{ params.conns[ti.map_index] }}"
OURS: dict[str, Any] = {
    "task_id": "call",
    "from_number": FROM,
    "wait_for": "ended",
    "poll_interval": 1,
    "timeout": 600,
    "retry_policy": RetellRetryPolicy(first_delay=timedelta(seconds=2)),
}
OVER = ("ended", "error", "not_connected")
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=2)}


def register(*, mapped: bool, deferrable: bool = False) -> None:
    """Register with this package, and wait."""
    arguments = OURS | {"agent_id": "agent_1", "deferrable": deferrable}
    if mapped:
        RetellRegisterPhoneCallOperator.partial(retell_conn_id=EACH, **arguments).expand(to_number=[NUMBER] * 3)
    else:
        RetellRegisterPhoneCallOperator(retell_conn_id=ONE, to_number=NUMBER, **arguments)


def create(*, mapped: bool, deferrable: bool = False) -> None:
    """Create with this package, and wait."""
    arguments = OURS | {"deferrable": deferrable}
    if mapped:
        RetellCreatePhoneCallOperator.partial(retell_conn_id=EACH, **arguments).expand(to_number=[NUMBER] * 3)
    else:
        RetellCreatePhoneCallOperator(retell_conn_id=ONE, to_number=NUMBER, **arguments)


def with_http(*, mapped: bool) -> None:
    """Create with HttpOperator, and wait with HttpSensor."""
    data = json.dumps({"from_number": FROM, "to_number": NUMBER})
    post: dict[str, Any] = {
        "task_id": "call",
        "endpoint": "v2/create-phone-call",
        "headers": {"Content-Type": "application/json"},
        "response_filter": lambda response: response.json()["call_id"],
    }
    poll: dict[str, Any] = {
        "task_id": "wait",
        "method": "GET",
        "response_check": lambda response: response.json()["call_status"] in OVER,
        "poke_interval": 1,
        "timeout": 600,
    }
    if mapped:
        call = HttpOperator.partial(http_conn_id=EACH, **post).expand(data=[data] * 3)
        path = call.output.map(lambda call_id: f"v2/get-call/{call_id}")
        HttpSensor.partial(http_conn_id=EACH, **poll).expand(endpoint=path)
    else:
        one = HttpOperator(http_conn_id=ONE, data=data, **post)
        one >> HttpSensor(http_conn_id=ONE, endpoint="v2/get-call/{{ ti.xcom_pull('call') }}", **poll)


def with_sdk(*, mapped: bool) -> None:
    """Register with Retell's own SDK in a @task, and wait in a loop."""

    @task
    def call(index: int, params: Any = None, ti: Any = None) -> str:
        from retell import Retell  # noqa: PLC0415 (as users do, to keep the DAG file light)

        conn = BaseHook.get_connection(params["conns"][index])
        client = Retell(api_key=conn.password, base_url=conn.host, timeout=conn.extra_dejson["timeout"])
        registered = client.call.register_phone_call(agent_id="agent_1", to_number=NUMBER)
        ti.xcom_push(key="call_id", value=registered.call_id)
        while client.call.retrieve(registered.call_id).call_status not in OVER:
            time.sleep(1)
        return registered.call_id

    if mapped:
        call.expand(index=[0, 1, 2])
    else:
        call(0)


COLUMNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "register_blocking": (register, {}),
    "register_deferrable": (register, {"deferrable": True}),
    "create_blocking": (create, {}),
    "create_deferrable": (create, {"deferrable": True}),
    "http": (with_http, {}),
    "sdk": (with_sdk, {}),
}
SIBLINGS: dict[str, dict[str, Any]] = {
    "": {"default_args": RETRIES},
    # Airflow would take up mapped tasks after all others.
    "_mapped": {"default_args": RETRIES | {"priority_weight": 10}},
    # Its time runs even while it waits for a worker.
    "_limited": {"default_args": RETRIES | {"priority_weight": 100}, "dagrun_timeout": timedelta(seconds=45)},
    # Without retries: one would find the call, and stop it.
    "_timed": {"default_args": {"execution_timeout": timedelta(seconds=60)}},
}
for name, (place, arguments) in COLUMNS.items():
    for suffix, more in SIBLINGS.items():
        with DAG(name + suffix, schedule=None, params={"conns": []}, **more) as dag:
            place(mapped=suffix == "_mapped", **arguments)
        globals()[dag.dag_id] = dag
