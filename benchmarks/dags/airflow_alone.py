"""The floor of Airflow: tasks that do nothing, one for each call, and triggers that only wait."""

from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, task
from people import CALLS, TALK_SECONDS

LONG = timedelta(seconds=TALK_SECONDS)


@task
def nothing(number: int) -> int:
    """Do nothing."""
    return number


with DAG("airflow_a_task_each_and_one_wait", schedule=None):
    nothing.expand(number=list(range(CALLS))) >> TimeDeltaSensor(task_id="wait", delta=LONG, deferrable=True)

with DAG("airflow_one_task_and_one_wait", schedule=None):
    nothing(1) >> TimeDeltaSensor(task_id="wait", delta=LONG, deferrable=True)

with DAG("airflow_a_wait_each", schedule=None):
    TimeDeltaSensor.partial(task_id="wait", deferrable=True).expand(delta=[LONG] * CALLS)
